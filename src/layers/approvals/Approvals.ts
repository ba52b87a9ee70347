/**
 * Approvals: who says whether a tool may run. The port is `services/Approvals.ts`; here are its Layers, and how a run
 * that waits is resumed. One of them touches Effect's Terminal.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Terminal from "effect/Terminal"
import { captured, withCaptured } from "../../internal/captured.ts"
import * as Suspension from "../../internal/suspension.ts"
import { escapeControls } from "../../internal/text.ts"
import { InvalidDefinition } from "../../RunError.ts"
import type { Approved, Decision, Denied, Later } from "../../services/Approver.ts"
import { CurrentApprover, type Request } from "../../services/Approver.ts"

export { type Approved, type Decision, type Denied, type Later, Request } from "../../services/Approver.ts"

/** The tool runs with the arguments that the model gave. */
export const approve: Approved = { _tag: "Approved" }
/** The tool runs with these arguments instead; they are checked as the model's are, and the model is told of them. */
export const approveWith = (params: Schema.Json): Approved => ({ _tag: "Approved", params })
/** The tool does not run, and the model is told why. */
export const deny = (reason: string): Denied => ({ _tag: "Denied", reason })
/** Nobody can say now: the run fails with `ApprovalRequired`, from which it can be resumed. */
export const later: Later = { _tag: "Later" }

/**
 * Puts every call of a tool with `needsApproval` to `decide`, while the run waits. Without any such Layer, and for the
 * decision {@link later}, the run is suspended: it fails with `ApprovalRequired`, whose transcript is plain JSON, and goes
 * on with {@link answer}. Interrupting the run interrupts `decide`.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Approvals, Offline } from "troupe"
 *
 * const agent = Agent.make("agent", {})
 * const program = agent.run("Hello").pipe(
 *   Effect.provide(Approvals.layer((request) =>
 *     Effect.succeed(request.hints.readOnly ? Approvals.approve : Approvals.deny("only reading is allowed here"))
 *   )),
 *   Effect.provide(Offline.layer)
 * )
 */
export const layer = <R = never>(
  decide: (request: Request) => Effect.Effect<Decision, never, R>
): Layer.Layer<never, never, R> => layerPolicy({ declared: "ask" }, decide)

/** What becomes of a call: it is made, somebody is asked, or it is denied. */
export type Rule = "allow" | "ask" | "deny"

/** Rules by what tools say of themselves; see `AgentTool.Hints`. */
export interface Policy {
  /** For tools that only read. Default `"allow"`. */
  readonly readOnly?: Rule | undefined
  /** For tools that can destroy something, which is assumed of those that say nothing. Default `"allow"`. */
  readonly destructive?: Rule | undefined
  /** For tools that change something and destroy nothing. Default `"allow"`. */
  readonly additive?: Rule | undefined
  /**
   * For tools that reach out of their own system, such as `fetch_url`, or a tool that says nothing of itself: data can
   * leave by any of them, also by one that only reads. Default `"allow"`.
   */
  readonly openWorld?: Rule | undefined
  /** For tools with `needsApproval`. Default `"ask"`. */
  readonly declared?: Rule | undefined
}

/**
 * Decides by what tools say of themselves, for all tools, those of MCP servers too; `decide` is asked where a rule says
 * `"ask"`, and without it the run is suspended (see {@link layer}).
 *
 * @example
 * import { Approvals } from "troupe"
 *
 * const careful = Approvals.layerPolicy({ destructive: "ask" })
 * const reading = Approvals.layerPolicy({ destructive: "deny", additive: "deny", declared: "deny" })
 */
export const layerPolicy = <R = never>(
  policy: Policy,
  decide?: (request: Request) => Effect.Effect<Decision, never, R>
): Layer.Layer<never, never, R> =>
  Layer.effect(
    CurrentApprover,
    Effect.map(captured<R>(), (context) => ({
      rule: (request, declared) => {
        const { kind, rule } = ruleOf(policy, request, declared)
        return rule === "deny" ? deny(`the policy forbids ${kind} tools`) : rule
      },
      decide: (request) =>
        decide === undefined
          ? Effect.succeed(later)
          : withCaptured(
              Effect.suspend(() => decide(request)),
              context
            )
    }))
  )

/** The strictest of the rules that apply, and the kind of tool that it is for. */
const ruleOf = (
  policy: Policy,
  { hints }: Request,
  declared: boolean
): { readonly rule: Rule; readonly kind: string } => {
  const [kind, byHint] = hints.readOnly
    ? (["read-only", policy.readOnly] as const)
    : hints.destructive
      ? (["destructive", policy.destructive] as const)
      : (["changing", policy.additive] as const)
  const applied: ReadonlyArray<{ readonly rule: Rule; readonly kind: string }> = [
    { kind, rule: byHint ?? "allow" },
    ...(hints.openWorld ? [{ kind: "open-world", rule: policy.openWorld ?? "allow" }] : []),
    ...(declared ? [{ kind: "approval-requiring", rule: policy.declared ?? "ask" }] : [])
  ]
  return applied.find(({ rule }) => rule === "deny") ?? applied.find(({ rule }) => rule === "ask") ?? applied[0]!
}

/**
 * Asks the person at the terminal, one request at a time: run it, do not run it and why, or change the arguments.
 * Quitting the prompt denies.
 *
 * @example
 * import { NodeTerminal } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { Approvals } from "troupe"
 *
 * const Approver = Approvals.layerTerminal.pipe(Layer.provide(NodeTerminal.layer))
 */
export const layerTerminal: Layer.Layer<never, never, Terminal.Terminal> = Layer.unwrap(
  Effect.gen(function* () {
    const terminal = yield* Terminal.Terminal
    const turn = yield* Semaphore.make(1)
    return layer((request) => turn.withPermits(1)(askAt(terminal, request)))
  })
)

const askAt = (terminal: Terminal.Terminal, request: Request): Effect.Effect<Decision> => {
  const say = (text: string) => Effect.ignore(terminal.display(text))
  const ask = (question: string) => Effect.andThen(say(question), terminal.readLine)
  return Effect.gen(function* (): Effect.fn.Return<Decision, Terminal.QuitError> {
    const { description, params, path, tool } = request
    const what = description === undefined ? "" : ` (${escapeControls(description)})`
    const lines = JSON.stringify(params, null, 2).split("\n").map(escapeControls)
    yield* say(
      `\n${path.map(escapeControls).join(" > ")} wants to call ${escapeControls(tool)}${what} with\n${lines.join("\n")}\n`
    )
    while (true) {
      const answer = (yield* ask("Run it? [y]es, [n]o, [e]dit: ")).trim().toLowerCase()
      if (answer === "y" || answer === "yes") return approve
      if (answer === "n" || answer === "no") {
        const reason = (yield* ask("Why not? ")).trim()
        return deny(reason === "" ? "the person at the terminal said no" : reason)
      }
      if (answer !== "e" && answer !== "edit") continue
      const edited = parse(yield* ask("Arguments, as JSON on one line: "))
      if (edited !== undefined) return approveWith(edited.value)
      yield* say("That is no JSON.\n")
    }
  }).pipe(Effect.catchTag("QuitError", () => Effect.succeed(deny("the person at the terminal left"))))
}

const parse = (text: string): { readonly value: Schema.Json } | undefined => {
  try {
    return { value: JSON.parse(text) as Schema.Json }
  } catch {
    return undefined
  }
}

/**
 * The requests that a transcript waits for, those of agents that are tools of its agent included: what to show to
 * whoever decides, in another process too.
 */
export const pending = (transcript: Prompt.Prompt): ReadonlyArray<Request> => Suspension.pending(transcript)

/**
 * Adds decisions to the transcript of an `ApprovalRequired`, by the ids of its requests. Run the agent with the result:
 * tools that are approved run now, those that ran before do not run again. A request without a decision is put to the
 * approver of the run that resumes, if there is one. Throws `InvalidDefinition` for an id that the transcript does not wait
 * for.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Prompt } from "effect/ai"
 * import { Agent, Approvals } from "troupe"
 *
 * const agent = Agent.make("agent", {})
 * declare const store: (json: unknown) => Effect.Effect<void>
 *
 * const first = agent.run("Pay the invoice").pipe(
 *   Effect.catchTag("ApprovalRequired", ({ transcript }) => store(Schema.encodeSync(Prompt.Prompt)(transcript)))
 * )
 * const second = (json: typeof Prompt.Prompt.Encoded, id: string) =>
 *   agent.run(Approvals.answer(Schema.decodeSync(Prompt.Prompt)(json), { [id]: Approvals.approve }))
 */
export const answer = (transcript: Prompt.Prompt, decisions: Readonly<Record<string, Decision>>): Prompt.Prompt => {
  const ids = pending(transcript).map(({ id }) => id)
  const unknown = Object.keys(decisions).find((id) => !ids.includes(id))
  if (unknown !== undefined) {
    throw new InvalidDefinition({
      subject: "Approvals.answer",
      problem: `the transcript waits for no request "${unknown}"`,
      remedy: ids.length === 0 ? "It waits for none" : `It waits for: ${ids.join(", ")}`
    })
  }
  return Suspension.answer(transcript, decisions)
}
