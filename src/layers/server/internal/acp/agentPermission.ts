/** Questions of an agent elsewhere, put to the approvers of this program. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { hash } from "../../../../internal/fingerprint.ts"
import { toJson } from "../../../../internal/json.ts"
import type { RunState } from "../../../../internal/runState.ts"
import { type Approver, CurrentApprover, type Decision, floorsOf, type Request } from "../../../../services/Approver.ts"
import type { Permission, ToolCall } from "./schema.ts"

/** Kinds of tools of ACP that change nothing, and those that stay on this machine. Of any other the worst is assumed. */
const reading: ReadonlySet<string> = new Set(["read", "search", "think", "fetch", "switch_mode"])
const staying: ReadonlySet<string> = new Set(["read", "search", "think", "edit", "delete", "move", "switch_mode"])

/** What an agent says about its tool: a name where it gives one, else the kind. */
export const nameOf = ({ kind, name }: Pick<ToolCall, "kind" | "name">): string =>
  (name ?? kind ?? "tool").slice(0, 200)

/** The arguments of a call as JSON, or its title where there are none. */
export const paramsOf = ({ rawInput, title }: Pick<ToolCall, "rawInput" | "title">): Schema.Json =>
  rawInput === undefined || rawInput === null ? { title: title ?? "" } : toJson(rawInput)

/** The question as approvers have it. */
export const requestOf = (state: RunState, call: ToolCall): Request => {
  const { path, runId } = state.info
  const kind = call.kind ?? "other"
  const readOnly = reading.has(kind)
  const shown = {
    tool: nameOf(call),
    ...(typeof call.title === "string" ? { description: call.title.slice(0, 2000) } : {}),
    params: paramsOf(call),
    hints: { readOnly, destructive: !readOnly, idempotent: readOnly, openWorld: !staying.has(kind) }
  }
  return {
    id: `${runId}/${call.toolCallId}`,
    path,
    step: 1,
    toolCallId: call.toolCallId,
    ...shown,
    fingerprint: hash([path.join(" > "), shown])
  }
}

/** The approver where none is provided. */
const none: Approver = {
  rule: (_, declared) => (declared ? "ask" : "allow"),
  decide: () => Effect.succeed({ _tag: "Later" })
}

const approved: Decision = { _tag: "Approved" }

/** The decision of all approvers: one that denies wins, and every one that asks has to approve. */
export const decide = (request: Request, declared: boolean): Effect.Effect<Decision> =>
  Effect.withFiber((fiber) => {
    const approvers = [fiber.getRef(CurrentApprover) ?? none, ...floorsOf(fiber.context)]
    const rules = approvers.map((approver) => approver.rule(request, declared))
    const denied = rules.find((rule) => typeof rule !== "string")
    if (denied !== undefined) return Effect.succeed<Decision>(denied)
    return askAll(
      request,
      approvers.filter((_, index) => rules[index] === "ask")
    )
  })

const askAll = Effect.fnUntraced(function* (request: Request, approvers: ReadonlyArray<Approver>) {
  for (const approver of approvers) {
    const decision = yield* approver.decide(request)
    if (decision._tag !== "Approved") return decision
    if (decision.params !== undefined) {
      const reason = "the approver changed the arguments, which an agent of another program cannot be given"
      return { _tag: "Denied", reason } satisfies Decision
    }
  }
  return approved
})

/** The option of the agent that says what was decided. Nothing is allowed or refused forever. */
export const optionOf = ({ options }: Permission, isApproved: boolean): string | undefined => {
  const kinds = isApproved ? ["allow_once"] : ["reject_once", "reject_always"]
  return kinds.map((kind) => options.find((one) => one.kind === kind)?.optionId).find((id) => id !== undefined)
}
