/** Asks before a tool runs. Internal to the agents; it touches the port to whoever decides. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Option from "effect/Option"
import { toJson } from "../../internal/json.ts"
import type { RunState } from "../../internal/runState.ts"
import type { Resumed, Waiting } from "../../internal/suspension.ts"
import { markOf, ServerName } from "../../internal/toolMarks.ts"
import { type Approved, CurrentApprover, type Decision, type Denied, type Request } from "../../services/Approver.ts"
import type { Call } from "./turnCollector.ts"

/** The conversation of a nested agent that was suspended, for the run that now takes its place. */
export const Resuming: Context.Reference<{ readonly parentId: string; readonly prompt: Prompt.Prompt } | undefined> =
  Context.Reference<{ readonly parentId: string; readonly prompt: Prompt.Prompt } | undefined>(
    "troupe/agents/Resuming",
    { defaultValue: () => undefined }
  )

/** What became of the question. */
export type Decided = "allowed" | Approved | Denied | { readonly _tag: "Waiting"; readonly waiting: Waiting }

/** Whether the call may be made. Arguments that do not fit are put to nobody: the call fails by itself. */
export const decide = (
  call: Call,
  tool: Tool.Any,
  decode: (params: unknown) => Effect.Effect<unknown, unknown>,
  messages: () => ReadonlyArray<Prompt.Message>,
  state: RunState,
  step: number,
  resumed: Resumed | undefined
): Effect.Effect<Decided> =>
  Effect.withFiber((fiber) => {
    const approver = fiber.getRef(CurrentApprover)
    if (resumed?.suspended !== undefined) return Effect.succeed("allowed")
    if (approver === undefined && (tool.needsApproval === undefined || tool.needsApproval === false)) {
      return Effect.succeed("allowed")
    }
    return Effect.gen(function* (): Effect.fn.Return<Decided> {
      const decoded = yield* Effect.option(decode(call.params))
      if (Option.isNone(decoded)) return "allowed"
      const params = decoded.value
      const declared = resumed !== undefined || (yield* isNeeded(tool, call, params, messages))
      const request = requestOf(call, tool, state, step, resumed?.approvalId)
      const rule = approver?.rule(request, declared) ?? (declared ? "ask" : "allow")
      if (typeof rule !== "string") return rule
      const known = resumed?.decision
      // What somebody has decided holds, also where nobody would be asked now.
      if (rule === "allow" && known === undefined) return "allowed"
      yield* state.emit({
        _tag: "ApprovalRequested",
        step,
        toolCallId: call.id,
        tool: call.name,
        params: request.params
      })
      const decision = known ?? (approver === undefined ? later : yield* approver.decide(request))
      if (decision._tag === "Later") return { _tag: "Waiting", waiting: { requests: [request] } }
      const denied = decision._tag === "Denied"
      yield* state.emit({
        _tag: "ApprovalAnswered",
        step,
        toolCallId: call.id,
        tool: call.name,
        approved: !denied,
        ...(denied ? { reason: decision.reason } : decision.params === undefined ? {} : { params: decision.params })
      })
      return denied || decision.params === undefined ? decision : yield* checked(decision, decision.params, decode)
    })
  })

/** The model did not write these arguments: it must not be told to mend them. */
const checked = (
  decision: Approved,
  params: unknown,
  decode: (params: unknown) => Effect.Effect<unknown, unknown>
): Effect.Effect<Approved | Denied> =>
  Effect.match(decode(params), {
    onSuccess: () => decision,
    onFailure: (error) => ({
      _tag: "Denied",
      reason: `whoever approved the call changed its arguments, and they do not fit: ${error instanceof Error ? error.message : String(error)}`
    })
  })

const later: Decision = { _tag: "Later" }

const isNeeded = (
  tool: Tool.Any,
  call: Call,
  params: unknown,
  messages: () => ReadonlyArray<Prompt.Message>
): Effect.Effect<boolean> => {
  const { needsApproval } = tool
  if (typeof needsApproval !== "function") return Effect.succeed(needsApproval === true)
  return Effect.suspend(() => {
    const needed = needsApproval(params as never, { toolCallId: call.id, messages: messages() })
    return Effect.isEffect(needed) ? (needed as Effect.Effect<boolean>) : Effect.succeed(needed)
  })
}

const requestOf = (call: Call, tool: Tool.Any, state: RunState, step: number, id: string | undefined): Request => {
  const hint = (key: typeof Tool.Readonly) => markOf(tool, key)
  const server = markOf(tool, ServerName)
  return {
    id: id ?? `${state.info.runId}/${step}/${call.id}`,
    path: state.info.path,
    step,
    toolCallId: call.id,
    tool: call.name,
    ...(server === undefined ? {} : { server }),
    ...(tool.description === undefined ? {} : { description: tool.description }),
    params: toJson(call.params),
    hints: {
      readOnly: hint(Tool.Readonly),
      destructive: hint(Tool.Destructive),
      idempotent: hint(Tool.Idempotent),
      openWorld: hint(Tool.OpenWorld)
    }
  }
}
