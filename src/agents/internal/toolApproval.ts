/** Decides whether a tool call is made: by the policy and the approver around the run, and by what was decided before. */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { truth } from "../../internal/decided.ts"
import { messageOf } from "../../internal/message.ts"
import { canonical, exactJson, hash } from "../../internal/fingerprint.ts"
import { allIssues, issuesOf } from "../../internal/issues.ts"
import { toJson } from "../../internal/json.ts"
import { decide as decideOnce, type Form, formOf, journalOf } from "../../internal/journaled.ts"
import { patiently } from "../../internal/patience.ts"
import { type Place, shortened } from "../../internal/place.ts"
import type { RunState } from "../../internal/runState.ts"
import { ClientFailure, type OpenCall, type Resumed, resumedOf } from "../../internal/suspension.ts"
import { EndsRun, GoesOn, Holds, markOf, Resumable, RunsAtClient, ServerName } from "../../internal/toolMarks.ts"
import { toEffect } from "../../internal/wiring.ts"
import { InvalidApproval } from "../../RunError.ts"
import {
  type About,
  type Approved,
  type Approver,
  CurrentApprover,
  type Decision,
  type Denied,
  floorsOf,
  type ReadTool,
  type Request
} from "../../services/Approver.ts"
import type { Call } from "./turnCollector.ts"

/** A call that is about to be made, and what is needed to decide on it. */
export interface Question {
  readonly call: Call
  readonly tool: Tool.Any
  /** Decodes arguments as the tool will. */
  readonly decode: (params: unknown) => Effect.Effect<unknown, unknown>
  /** The conversation up to the call. */
  readonly messages: () => ReadonlyArray<Prompt.Message>
  /** The tools that the agent has now. */
  readonly toolNamed: (name: string) => Tool.Any | undefined
  readonly state: RunState
  readonly step: number
  /** The place of the call. */
  readonly place: Place
  /** The decision about the call in the transcript of a suspended run; `undefined` for a call that did not wait. */
  readonly resumed: Resumed | undefined
  /** The call of a tool that this call is made inside of. */
  readonly parent?: string | undefined
  /** The tools whose results that tool has received. */
  readonly received?: ReadonlySet<Tool.Any> | undefined
}

/** The outcome of a question. */
export type Decided = "allowed" | Approved | Denied | { readonly _tag: "Waiting"; readonly request: Request }

/** The approver of a run without one: a tool that needs approval suspends the run. */
const suspending: Approver = {
  rule: (_, declared) => (declared ? "ask" : "allow"),
  decide: () => Effect.succeed({ _tag: "Later" })
}

/**
 * Whether the call may be made. A single denial wins. An approver that is provided is always asked, also about a
 * call that was decided before; its `Later` leaves that decision in place. Arguments that do not fit are not put to anyone,
 * because the call will fail with them.
 */
export const decide = (question: Question): Effect.Effect<Decided> =>
  Effect.withFiber((fiber): Effect.Effect<Decided> => {
    const { resumed, tool } = question
    const approver = fiber.getRef(CurrentApprover)
    const floors = floorsOf(fiber.context)
    const isDeclared = tool.needsApproval !== undefined && tool.needsApproval !== false
    if (approver === undefined && floors.length === 0 && resumed === undefined && !isDeclared) {
      return Effect.succeed("allowed")
    }
    return decideBy(question, [approver ?? suspending, ...floors])
  })

const decideBy = Effect.fnUntraced(function* (
  question: Question,
  approvers: ReadonlyArray<Approver>
): Effect.fn.Return<Decided> {
  const { call, decode, resumed } = question
  const decoded = yield* Effect.option(decode(call.params))
  if (Option.isNone(decoded)) return "allowed"
  if (exactJson(call.params ?? null) === undefined) return unshowable
  const isClient = resumed?.client !== undefined
  const declared = (resumed !== undefined && !isClient) || (yield* isNeeded(question, decoded.value))
  // A nested run that waits has begun, and the caller was asked to run its tool: the call itself was allowed.
  const isUnderWay = resumed?.run !== undefined || resumed?.inside !== undefined || isClient
  const known = isUnderWay ? approved : resumed?.decision
  const edited = known?._tag === "Approved" ? known.params : undefined
  const request = requestOf(question, edited)
  const rules = approvers.map((approver) => approver.rule(request, declared, aboutOf(question)))
  const forbidden = rules.find((rule) => typeof rule !== "string")
  if (forbidden !== undefined) return forbidden
  const asked = approvers.filter((_, index) => rules[index] === "ask")
  if (asked.length === 0 && (known === undefined || isUnderWay)) return "allowed"
  return yield* settle(question, request, known, asked)
})

/** What approvers may ask of the conversation. */
const aboutOf = ({ messages, received = new Set(), toolNamed }: Question): About => ({
  hasResultOf: (fits) => {
    for (const tool of received) if (fits(readOf(tool))) return true
    const looked = new Set<string>()
    for (const { content, role } of messages()) {
      if (role !== "tool" && role !== "assistant") continue
      for (const part of content) {
        if (part.type !== "tool-result" || looked.has(part.name)) continue
        looked.add(part.name)
        const tool = toolNamed(part.name)
        const unknown = { tool: part.name, server: undefined, hints: undefined, holds: [] }
        if (fits(tool === undefined ? unknown : readOf(tool))) return true
      }
    }
    return false
  }
})

/** Of what a provider runs nothing is known. */
const knownOf = (tool: Tool.Any): Omit<ReadTool, "holds"> => {
  if (Tool.isProviderDefined(tool)) return { tool: tool.name, server: undefined, hints: undefined }
  const { hints, server } = identityOf(tool)
  return { tool: tool.name, server, hints }
}

/** A tool as one whose result was read. */
const readOf = memoize((tool: Tool.Any): ReadTool => {
  const within = new Set<Tool.Any>()
  const add = (outer: Tool.Any): void => {
    for (const inner of markOf(outer, Holds)()) {
      if (within.has(inner)) continue
      within.add(inner)
      add(inner)
    }
  }
  add(tool)
  return { ...knownOf(tool), holds: [...within].map(knownOf) }
})

const approved: Approved = { _tag: "Approved" }
const unshowable: Denied = {
  _tag: "Denied",
  reason: "its arguments cannot be shown in full to be approved. Use plain JSON, nested at most 64 levels deep"
}

/** Puts the request to the approvers, one after the other, and emits the question and its answer. */
const settle = Effect.fnUntraced(function* (
  { call, decode, parent, place, resumed, state, step }: Question,
  request: Request,
  known: Approved | Denied | undefined,
  approvers: ReadonlyArray<Approver>
): Effect.fn.Return<Decided> {
  const inner = parent === undefined ? {} : { parentToolCallId: parent }
  const of = { step, toolCallId: call.id, tool: call.name, ...inner }
  yield* state.events.emit({ _tag: "ApprovalRequested", ...of, approvalId: request.id, params: request.params })
  const decision =
    known?._tag === "Denied"
      ? known
      : yield* kept(place, "approval", patiently(ask(request, known, approvers)), decisionForm)
  if (decision._tag === "Later") return { _tag: "Waiting", request }
  const final = yield* checked(decision, decode, resumed)
  yield* state.events.emit({
    _tag: "ApprovalAnswered",
    ...of,
    approved: final._tag === "Approved",
    ...(final._tag === "Denied" ? { reason: final.reason } : final.params === undefined ? {} : { params: final.params })
  })
  return final
})

/** Each approver is shown the arguments as those before it have changed them. */
const ask = Effect.fnUntraced(function* (
  request: Request,
  known: Approved | undefined,
  approvers: ReadonlyArray<Approver>
): Effect.fn.Return<Decision> {
  let params = known?.params
  for (const approver of approvers) {
    const shown = params === undefined ? request : { ...request, params }
    const decision = yield* approver.decide(shown)
    if (decision._tag === "Denied") return decision
    if (decision._tag === "Later" && known === undefined) return decision
    if (decision._tag === "Approved" && decision.params !== undefined) params = decision.params
  }
  return params === undefined ? approved : { _tag: "Approved", params }
})

/** Checks arguments that an approver wrote. The model did not write them, so it is not asked to fix them. */
const checked = (
  decision: Approved | Denied,
  decode: Question["decode"],
  resumed: Resumed | undefined
): Effect.Effect<Approved | Denied> => {
  if (decision._tag === "Denied" || decision.params === undefined) return Effect.succeed(decision)
  if (resumed?.run !== undefined || resumed?.inside !== undefined || resumed?.client?.given !== undefined) {
    return Effect.succeed({ _tag: "Denied", reason: "the run is under way and cannot be given other arguments" })
  }
  return Effect.match(decode(decision.params), {
    onSuccess: () => decision,
    onFailure: (error) => ({
      _tag: "Denied",
      reason: `the approver changed its arguments, and they do not fit: ${messageOf(error)}`
    })
  })
}

/** A decision that is kept: when the run is made again, the approver is not asked again. */
export const kept = <A>(place: Place, what: string, effect: Effect.Effect<A>, form: Form<A>): Effect.Effect<A> =>
  Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    return journal === undefined
      ? effect
      : decideOnce(journal, { key: `${place.own}/${what}`, name: what }, effect, form)
  })

const answerForm = formOf(
  Schema.Struct({
    approved: Schema.Boolean,
    reason: Schema.optionalKey(Schema.String),
    params: Schema.optionalKey(Schema.Json)
  })
)
/** What is decided later is not decided. */
const decisionForm: Form<Decision> = {
  encode: (decision) => {
    if (decision._tag === "Later") return undefined
    if (decision._tag === "Denied") return answerForm.encode({ approved: false, reason: decision.reason })
    return answerForm.encode({ approved: true, ...(decision.params === undefined ? {} : { params: decision.params }) })
  },
  decode: (json) => {
    const { approved, params, reason = "" } = answerForm.decode(json)
    if (!approved) return { _tag: "Denied", reason }
    return params === undefined ? { _tag: "Approved" } : { _tag: "Approved", params }
  }
}

const isNeeded = ({ call, messages, place, tool }: Question, params: unknown): Effect.Effect<boolean> => {
  const { needsApproval } = tool
  if (typeof needsApproval !== "function") return Effect.succeed(needsApproval === true)
  const asked = Effect.suspend(() => toEffect(needsApproval(params, { toolCallId: call.id, messages: messages() })))
  return kept(place, "needsApproval", asked, truth)
}

const requestOf = ({ call, resumed, state, step, tool }: Question, edited: Schema.Json | undefined): Request => ({
  id:
    resumed?.request?.id ??
    resumed?.client?.request.id ??
    shortened(`${state.info.runId}/${step}/${call.id}`, state.info.rootId),
  path: state.info.path,
  step,
  toolCallId: call.id,
  ...shownOf(tool, call, edited)
})

/** The description of a tool and of the arguments of its call, for an approver, and the fingerprint of both. */
const shownOf = (tool: Tool.Any, call: Call, edited: Schema.Json | undefined) => {
  const { hash: identity, ...shown } = identityOf(tool)
  const params = edited ?? toJson(call.params)
  return { tool: call.name, ...shown, params, fingerprint: hash([identity, call.name, params]) }
}

interface Identity extends Pick<Request, "description" | "hints" | "server"> {
  /** Of the server, the name, the description, the parameters and the hints. */
  readonly hash: string
}

/** What a tool says about itself. */
export const hintsOf = (tool: Tool.Any): Request["hints"] => identityOf(tool).hints

const identityOf = memoize((tool: Tool.Any): Identity => {
  const server = markOf(tool, ServerName)
  const shown = {
    ...(server === undefined ? {} : { server }),
    ...(tool.description === undefined ? {} : { description: tool.description }),
    hints: {
      readOnly: markOf(tool, Tool.Readonly),
      destructive: markOf(tool, Tool.Destructive),
      idempotent: markOf(tool, Tool.Idempotent),
      openWorld: markOf(tool, Tool.OpenWorld)
    }
  }
  return { ...shown, hash: hash([tool.name, shown, parametersOf(tool)]) }
})

const parametersOf = (tool: Tool.Any): Schema.Json => Tool.getJsonSchema(tool) as unknown as Schema.Json

/**
 * What is known about calls that waited, by the id of the call. Fails with `InvalidApproval` when a call was approved and its
 * tool or its arguments are not those that were shown, before any call is made. Where middleware may change arguments, those
 * that were shown are known only when the call is made, which `executeThrough` does.
 */
export const resumedCalls = Effect.fnUntraced(function* (
  waiting: ReadonlyArray<OpenCall>,
  toolNamed: (name: string) => Tool.Any | undefined,
  path: ReadonlyArray<string>,
  changesArguments: boolean
): Effect.fn.Return<ReadonlyMap<string, Resumed>, InvalidApproval> {
  const resumed = new Map<string, Resumed>()
  for (const open of waiting) {
    const { call } = open
    const tool = toolNamed(call.name)
    // It waited for the other calls of its step, and is decided on like a new call.
    if (open.note?.waitsFor._tag === "Others" && tool !== undefined && markOf(tool, EndsRun)) continue
    const given = resumedOf(open)
    const isLate = changesArguments && tool !== undefined && given.request !== undefined
    const misfit = isLate ? undefined : (misfitOf(call, given, tool) ?? (yield* misfitOfGiven(given, tool)))
    if (misfit !== undefined) {
      const { approvalId } = given
      return yield* Effect.fail(new InvalidApproval({ path, approvalId, tool: call.name, ...misfit }))
    }
    const isRunner = tool !== undefined && markOf(tool, Resumable)
    const goesOn = tool !== undefined && markOf(tool, GoesOn)
    resumed.set(call.id, {
      ...given,
      run: isRunner ? given.run : undefined,
      inside: goesOn ? given.inside : undefined
    })
  }
  return resumed
})

type Misfit = Pick<InvalidApproval, "problem" | "reason">

const misfitOfGiven = ({ client }: Resumed, tool: Tool.Any | undefined): Effect.Effect<Misfit | undefined> =>
  client?.given === undefined || tool === undefined
    ? Effect.succeed(undefined)
    : misfitOfResult(client.given.value, tool)

/** Why the result of a tool that the caller ran is not one of the tool's. */
export const misfitOfResult = (value: Schema.Json, tool: Tool.Any): Effect.Effect<Misfit | undefined> => {
  if (isClientFailure(value)) return Effect.succeed(undefined)
  // The services that schemas need are part of the agent's requirements, so they are in the fiber's context.
  const decode = Schema.decodeUnknownEffect(tool.successSchema as Schema.Codec<unknown>, allIssues)
  return Effect.match(decode(value), {
    onSuccess: () => undefined,
    onFailure: (error): Misfit => ({ reason: "invalid", problem: `it is not a result of the tool: ${issuesOf(error)}` })
  })
}

const isClientFailure = Schema.is(ClientFailure)

/** Why what was approved cannot be done with the tool of now. A denial can always be. */
export const misfitOf = (
  call: Call,
  { approvalId, client, decision, inside, request, run }: Resumed,
  tool: Tool.Any | undefined
): Misfit | undefined => {
  const isAnswered = run?.isAnswered === true || inside?.isAnswered === true || client?.given !== undefined
  const isApproved = decision?._tag === "Approved" || isAnswered
  if (!isApproved) return undefined
  if (tool === undefined) return { reason: "missing", problem: `there is no tool "${call.name}" any more` }
  if (run !== undefined) {
    return markOf(tool, Resumable)
      ? undefined
      : { reason: "changed", problem: "the tool cannot go on with a nested run" }
  }
  if (inside !== undefined && !markOf(tool, GoesOn)) {
    return { reason: "changed", problem: "the tool cannot go on with the calls inside of it" }
  }
  if (client !== undefined && !markOf(tool, RunsAtClient)) {
    return { reason: "changed", problem: "the tool is not one that the caller runs any more" }
  }
  if (request === undefined) return undefined
  const expected = { id: approvalId, toolCallId: call.id, ...shownOf(tool, call, undefined) }
  const { path: _path, step: _step, ...given } = request
  if (canonical(expected) === canonical(given)) return undefined
  if (expected.server !== given.server) {
    const problem = `it was given for a tool of ${ownerOf(given)}, and the tool belongs to ${ownerOf(expected)} now`
    return { reason: "changed", problem }
  }
  const isSameInput = canonical(expected.params) === canonical(given.params)
  const problem = isSameInput
    ? "the tool's definition is not the one that was shown"
    : "the arguments are not those that were shown"
  return { reason: "changed", problem }
}

const ownerOf = ({ server }: Pick<Request, "server">): string =>
  server === undefined ? "the program" : `the MCP server "${server}"`
