/**
 * Handoffs: agents of which one has the conversation at a time, and gives it over to another when that one should go on.
 * The agent loop ends a run whose state says that it was handed over.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as AgentTool from "../AgentTool.ts"
import { lenient, readBy } from "../internal/reading.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import { countsOf } from "../internal/resumption.ts"
import { CurrentState, type RunState } from "../internal/runState.ts"
import { asView } from "../internal/runTranscript.ts"
import { annotate, define, isToolName } from "../internal/toolDefinition.ts"
import { EndsRun, HandsOff } from "../internal/toolMarks.ts"
import type { RunnerSlot } from "../internal/wiring.ts"
import { assertOneOf, assertOptions, invalid, limitOf, namesOf } from "../internal/definition.ts"
import * as Runner from "../Runner.ts"

/**
 * The part of the conversation that the next agent gets, before the message of the handoff:
 *
 * - `"all"`: everything, tool calls and results included;
 * - `"messages"`: the texts, without tool calls, results and reasoning;
 * - `"none"`: nothing;
 * - a function of the whole transcript;
 * - `"choose"`: the model chooses one of the first three.
 */
export type History = "all" | "messages" | "none" | "choose" | ((transcript: Prompt.Prompt) => Prompt.Prompt)

/** Options of {@link to}. */
export interface ToOptions<Name extends string = string> {
  /** The tool's name. Default: `transfer_to_` and the agent's name, which providers must accept. */
  readonly name?: Name | undefined
  /** When to hand over: guides the model. Default: by the agent's name. */
  readonly description?: string | undefined
  /** Default `"all"`. */
  readonly history?: History | undefined
  /** Hints for approvers about a handoff. Default: read-only, because it only changes which agent answers. */
  readonly hints?: AgentTool.Hints | undefined
  /** Whether handing over needs approval, see `Approvals`. Default `false`. */
  readonly needsApproval?: boolean | undefined
}

const known = namesOf<ToOptions>({ name: true, description: true, history: true, hints: true, needsApproval: true })

interface Request {
  /** The run of the agent that hands over. */
  readonly by: RunState
  readonly to: string
  readonly reason: string
  readonly message: string
  readonly history: Exclude<History, "choose">
}

/** The state that the agents of one run share: their request to hand over. */
interface HandoffState {
  readonly state: RunState
  readonly names: ReadonlyArray<string>
  readonly exhausted: string | undefined
  request: Request | undefined
}

const CurrentHandoffState: Context.Reference<HandoffState | undefined> = Context.Reference<HandoffState | undefined>(
  "troupe/Handoffs/HandoffState",
  {
    defaultValue: () => undefined
  }
)

const fields = {
  reason: Schema.String.annotate({ description: "Why you hand over, in a few words" }),
  message: Schema.String.annotate({ description: "What the next agent needs to know and should do" })
}
/** The reason is for the record only, so a call without one is accepted. */
const Reasonless = lenient(Schema.String, "")
const Choice = Schema.Literals(["all", "messages", "none"]).annotate({
  description: "What of the conversation the next agent sees: all of it, what was said without tool calls, or nothing"
})

/**
 * Makes the tool by which an agent hands the conversation over to the agent called `target` in {@link make}. Its run ends
 * with the step that calls it; of several such calls in one step the first counts. Outside of `Handoffs.make` the call
 * fails with a text for the model.
 *
 * @example
 * import { Agent, Handoffs } from "troupe"
 *
 * const triage = Agent.make("triage", {
 *   instructions: "Find out what it is about, and hand over.",
 *   tools: [Handoffs.to("billing", { description: "For invoices and payments", history: "messages" })]
 * })
 */
export const to = <const Target extends string, const Name extends string = `transfer_to_${Target}`>(
  target: Target,
  options: ToOptions<Name> = {}
): AgentTool.AgentTool<Name, never> => {
  const subject = `the handoff to "${target}"`
  assertOptions(subject, options, known)
  // Without the option, `Name` is its default.
  const name = options.name ?? (`transfer_to_${target}` as Name)
  if (!isToolName(name)) {
    throw invalid(
      subject,
      `providers refuse its tool's name "${name}"`,
      'Give it one of 1 to 64 letters, digits, underscores or hyphens: Handoffs.to(agent, { name: "..." })'
    )
  }
  const { history = "all" } = options
  if (typeof history !== "function") assertOneOf(subject, "history", history, ["all", "messages", "none", "choose"])
  const description = `Give the conversation over to "${target}", who answers instead of you. ${options.description ?? ""}`
  const parameters =
    history === "choose"
      ? readBy(
          Schema.Struct({ ...fields, history: Choice }),
          Schema.Struct({ ...fields, reason: Reasonless, history: Schema.optionalKey(Choice) })
        )
      : readBy(Schema.Struct(fields), Schema.Struct({ ...fields, reason: Reasonless }))
  const defined = define(name, description.trim(), parameters, Schema.String, "return")
  const hints = { readOnly: options.hints?.destructive !== true, openWorld: false, ...options.hints }
  const tool = annotate(defined, { hints, needsApproval: options.needsApproval })
    .annotate(EndsRun, true)
    .annotate(HandsOff, { to: target, isOffered })
  return AgentTool.make(name, "effect", tool, (params) =>
    Effect.withFiber((fiber) => {
      const state = fiber.getRef(CurrentState)
      const handoff = fiber.getRef(CurrentHandoffState)
      const {
        message,
        reason = "",
        ...chosen
      } = params as {
        readonly reason?: string
        readonly message: string
        readonly history?: typeof Choice.Type
      }
      const refused = refusal(target, handoff, state)
      if (refused !== undefined) return Effect.fail(refused)
      const given = history === "choose" ? (chosen.history ?? "all") : history
      handoff!.request = { by: state!, to: target, reason, message, history: given }
      state!.handOver()
      return Effect.succeed(`handed over to ${target}`)
    })
  )
}

/** After `maxHandoffs` the model does not see the tools any more. */
const isOffered = Effect.map(CurrentHandoffState, (handoff) => handoff?.exhausted === undefined)

/** The request of the current agent. A request of a failed attempt is void. */
const asked = ({ request }: HandoffState): Request | undefined =>
  request?.by.handedOver === true ? request : undefined

const refusal = (
  target: string,
  handoff: HandoffState | undefined,
  state: RunState | undefined
): string | undefined => {
  if (handoff === undefined || state === undefined) return "there is no agent to hand over to: answer yourself"
  if (state.parent !== handoff.state)
    return "only the agent that has the conversation can hand it over: answer yourself"
  if (!handoff.names.includes(target)) return `there is no "${target}"; there are: ${handoff.names.join(", ")}`
  const before = asked(handoff)
  if (before !== undefined) return `the conversation was already handed over to ${before.to}`
  return handoff.exhausted
}

type Agents = Readonly<Record<string, unknown>>

/** Options of {@link make}. */
export interface Options<Start extends string> {
  readonly description?: string | undefined
  /** The name of the first agent. */
  readonly start: Start
  /** How often the conversation may change hands in one run; after that the last agent has no tools to hand it over. Default 8. */
  readonly maxHandoffs?: number | undefined
}

const knownOfTeam = namesOf<Options<string>>({ description: true, start: true, maxHandoffs: true })

type TakesConversation<Members extends Agents> = {
  readonly [K in keyof Members]: Members[K] extends Runner.Runner<infer I, infer _A, infer _E, infer _R>
    ? [Prompt.RawInput] extends [I]
      ? unknown
      : "A handoff gives an agent a conversation. Make it a runner of Prompt.RawInput with Runner.mapInput"
    : RunnerSlot<Members[K]>
}

/**
 * Makes a runner of agents that hand the conversation over to one another. The answer is that of the agent which has it
 * at the end. Each turn is a nested run, named by the agent's name here; `HandedOff` and `result(...).decisions` say who
 * handed it over to which agent, and why.
 *
 * Fails with what the agents fail with. Throws `InvalidDefinition` for no such start, or an agent that hands over to a
 * name that is not there. Interrupting it interrupts the agent at work.
 *
 * @example
 * import { Agent, Handoffs } from "troupe"
 *
 * const triage = Agent.make("triage", { tools: [Handoffs.to("billing"), Handoffs.to("technical")] })
 * const billing = Agent.make("billing", { instructions: "You know the invoices." })
 * const technical = Agent.make("technical", { tools: [Handoffs.to("billing")] })
 * const desk = Handoffs.make("desk", { triage, billing, technical }, { start: "triage" })
 */
export const make = <const Members extends Agents, Start extends keyof Members & string>(
  name: string,
  members: Members & TakesConversation<Members>,
  options: Options<Start>
): Runner.Runner<
  Prompt.RawInput,
  Runner.Output<Members[keyof Members]>,
  Runner.Error<Members[keyof Members]>,
  Runner.Services<Members[keyof Members]>
> => {
  // `TakesConversation` has checked what they take.
  const agents = new Map(
    Runner.namedMembersOf(`handoffs "${name}"`, members) as ReadonlyArray<readonly [string, AnyAgent]>
  )
  assertOptions(`handoffs "${name}"`, options, knownOfTeam)
  const maxHandoffs = options.maxHandoffs ?? 8
  check(name, agents, options.start, maxHandoffs)
  const team = { agents, maxHandoffs }
  return Runner.erasedWorkflow(name, {
    description: options.description,
    converses: true,
    structure: () => ({
      kind: "handoffs",
      note: `${options.start} begins`,
      members: [...agents]
        .toSorted(([a], [b]) => Number(b === options.start) - Number(a === options.start))
        .map(([key, runner]) => ({ name: key, runner }))
    }),
    input: () => Schemas.sameOf([...agents.values()].map(Schemas.inputOf)),
    output: () => Schemas.unionOf([...agents.values()].map(Schemas.outputOf)),
    run: (input: Prompt.RawInput, state) => converse(team, options.start, input, state),
    resume: (member, input, state) => (agents.has(member) ? converse(team, member, input, state) : undefined)
  })
}

/** The conversation from the agent `first` on, until one of them answers. */
const converse = Effect.fnUntraced(function* (
  { agents, maxHandoffs }: { readonly agents: ReadonlyMap<string, AnyAgent>; readonly maxHandoffs: number },
  first: string,
  input: Prompt.RawInput,
  state: RunState
): Effect.fn.Return<unknown, unknown, unknown> {
  state.transcript?.share()
  const names = [...agents.keys()]
  let at = first
  let conversation = input
  const count = (yield* countsOf(input, state))("handoffs")
  for (; ; count.value++) {
    const exhausted =
      count.value < maxHandoffs ? undefined : "the conversation has changed hands too often: answer yourself"
    const handoff: HandoffState = { state, names, exhausted, request: undefined }
    const result = yield* Runner.named(agents.get(at)!, at)
      .result(conversation)
      .pipe(Effect.provideService(CurrentHandoffState, handoff))
    const request = asked(handoff)
    if (request === undefined) return result.output
    yield* state.events.decide({ _tag: "HandedOff", from: at, to: request.to, reason: request.reason })
    conversation = handOver(at, request, result.transcript)
    at = request.to
  }
})

type AnyAgent = Runner.Runner<Prompt.RawInput, unknown, unknown, unknown>

const check = (name: string, agents: ReadonlyMap<string, AnyAgent>, start: string, maxHandoffs: number): void => {
  const subject = `handoffs "${name}"`
  const names = [...agents.keys()].join(", ")
  if (!agents.has(start)) {
    throw invalid(subject, `there is no "${start}" to start with`, `Use one of: ${names}`)
  }
  limitOf(subject, "maxHandoffs", maxHandoffs, 0)
  for (const [key, agent] of agents) {
    for (const { handsOffTo: target } of agent.definition.structure().members) {
      if (target === undefined || agents.has(target)) continue
      const problem = `"${key}" hands over to "${target}", which is not there`
      throw invalid(subject, problem, `Add it, or use one of: ${names}`)
    }
  }
}

const handOver = (from: string, request: Request, transcript: Prompt.Prompt): Prompt.Prompt => {
  const said = `The conversation was handed over to you ("${request.to}") by "${from}"${request.reason === "" ? "." : `: ${request.reason}`}\n\n${request.message}`
  return Prompt.concat(kept(request.history, transcript), said)
}

const kept = (history: Request["history"], transcript: Prompt.Prompt): Prompt.Prompt => {
  if (typeof history === "function") return history(transcript)
  if (history === "none") return Prompt.empty
  if (history === "all") return transcript
  return Prompt.fromMessages(
    transcript.content.flatMap((message): ReadonlyArray<Prompt.Message> => {
      if (message.role === "tool") return []
      if (message.role !== "assistant") return [message]
      const content = message.content.filter((part) => part.type === "text" || part.type === "file")
      if (content.length === message.content.length) return [message]
      return content.length === 0 ? [] : [asView(Prompt.assistantMessage({ content, options: message.options }))]
    })
  )
}
