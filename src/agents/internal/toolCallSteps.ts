/**
 * One tool call, in five steps over one context: decide whether it is made, run the tool, classify how it ended, record
 * that, and emit it. A call that is interrupted ends the same way, with what is known of it by then.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import type * as Semaphore from "effect/Semaphore"
import type { Any as AgentTool } from "../../AgentTool.ts"
import { type Attempt, CurrentAttempt, idIn } from "../../internal/attempts.ts"
import type { ToolCallEntry } from "../../internal/bill.ts"
import { mark } from "../../internal/fingerprint.ts"
import { journalOf, plain } from "../../internal/journaled.ts"
import { toJson } from "../../internal/json.ts"
import { CurrentPlace, type Place, shortened } from "../../internal/place.ts"
import * as Resumption from "../../internal/resumption.ts"
import type { RunState } from "../../internal/runState.ts"
import { isAsleep } from "../../internal/sleep.ts"
import { ClientFailure, clientFailure, type Resumed, type Waiting } from "../../internal/suspension.ts"
import * as Spans from "../../internal/telemetry.ts"
import { markOf, Resumable, RunsAtClient } from "../../internal/toolMarks.ts"
import { CurrentRoom, type Room, RoomFailure, RoomSuspension } from "../../internal/toolRoom.ts"
import { exitOf, interruptAfterRegion, interruptThroughSource } from "../../internal/trueExit.ts"
import { RunSuspended, CannotResume, InvalidApproval, type ToolFailure } from "../../RunError.ts"
import type { ToolCallStatus } from "../../RunEvent.ts"
import { CurrentRun, type RunInfo } from "../../services/CurrentRun.ts"
import { CurrentWaiting } from "../../services/Waiting.ts"
import { keptTool } from "./keptTool.ts"
import type { Stage } from "./middlewareStages.ts"
import type { Answering } from "./modelBudget.ts"
import * as Approval from "./toolApproval.ts"
import { callDirect, callToolkit, type Value } from "./toolCall.ts"
import { codecsOf } from "./toolCodecs.ts"
import { brokenOff, Denied, Failure, failureOf, isForProgram, toFailure } from "./toolFailure.ts"
import { type Retry, retrying } from "./toolRetry.ts"
import * as Transcript from "./transcript.ts"
import type { Call } from "./turnCollector.ts"

/** The tools of an agent in one run, handlers resolved. */
export interface Tools {
  readonly byName: ReadonlyMap<string, Tool.Any | AgentTool>
  readonly toolkit: Toolkit.WithHandler<Record<string, Tool.Any>> | undefined
  readonly concurrency: number
  readonly timeout: Duration.Duration | undefined
  /** For tools that do not say themselves. */
  readonly retry: Retry | undefined
  /** The conversation up to the calls, for a tool that decides by it whether it needs approval. */
  readonly messages: () => ReadonlyArray<Prompt.Message>
  /** Decisions on calls before the run was resumed, by the id of the call. */
  readonly resumed: ReadonlyMap<string, Resumed>
  /** The middleware around the calls, outermost first; `undefined` without any. */
  readonly middleware: ReadonlyArray<Stage> | undefined
  /** The budgets of the run that are answered for when they are used up. */
  readonly answering: Answering | undefined
  /** The room for calls inside of a call. */
  readonly makeRoom: (context: ToolCallContext) => Room
  /** Counts a call inside of a call; returns why it is not made, where it is beyond a limit. */
  readonly countCall: () => string | undefined
}

/** The outcomes of the calls of one step so far. Each call adds its own as soon as it has ended. */
export interface StepRecord {
  readonly failures: Array<ToolFailure>
  /** What a middleware has failed the run with, when that came first. */
  stopped?: Cause.Cause<never> | undefined
  /** The conversation up to the calls, once a middleware is called. */
  prompt?: Prompt.Prompt | undefined
  readonly results: Map<Call, Prompt.ToolResultPart>
}

/** A call that has ended, for the model and for `stopWhen`. */
export interface Settled {
  readonly call: Call
  readonly result: Schema.Json
  readonly isFailure: boolean
  readonly part: Prompt.ToolResultPart
}

/** A call that has ended, or what it waits for. */
export type Outcome = Settled | { readonly call: Call; readonly waiting: Waiting }

/** The step of a call. */
export interface Given {
  readonly call: Call
  readonly step: number
  readonly tools: Tools
  readonly state: RunState
  readonly record: StepRecord
  readonly report: ToolCallEntry
  /** The id of the call that it is made inside of. */
  readonly parent?: string | undefined
  /** The tools whose results the call that it is made inside of has received. */
  readonly received?: ReadonlySet<Tool.Any> | undefined
}

/** One call, and all that its steps need. */
export interface ToolCallContext extends Given {
  readonly entry: Tool.Any | AgentTool | undefined
  readonly tool: Tool.Any | undefined
  readonly info: RunInfo & { readonly step: number; readonly toolCallId: string; readonly idempotencyKey: string }
  /** Where the runs inside of it begin. */
  readonly place: Place
  readonly resumed: Resumed | undefined
  readonly startedAt: number
  /** How the tool ended that was interrupted, by a timeout too: with a value where its work was done all the same. */
  late: Exit.Exit<Value, Failure> | undefined
  /** How often the tool was called, where its call may be made again. */
  attempts: number
  isOver: boolean
  /** Whether the tool was begun: a call that is refused or denied is not made. */
  isMade: boolean
  /** Whether the tool was begun, and not kept by a journal; `undefined` where nothing is kept of the call as a whole. */
  isNew: boolean | undefined
  /** How many steps had been made in the run, and not been kept before, when the call began. */
  readonly stepsBefore: number
  /** The fiber of a toolkit's handler. */
  handler: Fiber.Fiber<unknown, unknown> | undefined
  /** Opened when a call of a toolkit's handler is interrupted: from then on it does not wait for slow readers of events. */
  stopped: Latch.Latch | undefined
  /** What happens when the call is interrupted, where a middleware may go on without it; else it is ended. */
  readonly onInterrupted: ((context: ToolCallContext, decision: Made) => Effect.Effect<void>) | undefined
}

type Decision =
  | { readonly _tag: "Run"; readonly edited: Schema.Json | undefined }
  | { readonly _tag: "Refuse"; readonly failure: Failure }
  /** The caller has run the tool. */
  | { readonly _tag: "Given"; readonly result: Schema.Json; readonly edited: Schema.Json | undefined }
  | { readonly _tag: "Wait"; readonly waiting: Waiting }

/** A decision after which the call comes to an end at once. */
export type Made = Exclude<Decision, { readonly _tag: "Wait" }>

/** How a call ends, or what it waits for. */
export type End =
  | { readonly _tag: "Completed"; readonly value: Value }
  | { readonly _tag: "Failed"; readonly failure: Failure; readonly isFatal: boolean }
  | { readonly _tag: "Suspended"; readonly waiting: Waiting }

/** Makes one call. Fails when its failure is one of the run. */
export const executeOne = (given: Given): Effect.Effect<Outcome, Failure> =>
  Effect.flatMap(begin(given), (context) => concluded(context, attempt(context)))

/** The outcome of a call, by how it ends. Fails when its failure is one of the run. */
export const concluded = <E>(
  context: ToolCallContext,
  ending: Effect.Effect<End, E>
): Effect.Effect<Outcome, E | Failure> =>
  Effect.flatMap(ending, (end) =>
    end._tag === "Suspended" ? Effect.succeed(suspend(context, end.waiting)) : finish(context, end)
  )

/** Records and emits how a call has ended. Fails when its failure is one of the run. */
export const finish = (context: ToolCallContext, end: Ended): Effect.Effect<Outcome, Failure> => {
  const settled = record(context, end)
  const isFatal = end._tag === "Failed" && end.isFatal
  // A slow reader of events must not delay the stop of the siblings.
  return Effect.flatMap(emit(context, end, !isFatal), () =>
    isFatal ? Effect.fail(end.failure) : Effect.succeed(settled)
  )
}

/** Decides on a call, makes it and gives its end, which is neither recorded nor emitted yet. */
export const attempt = (context: ToolCallContext): Effect.Effect<End> =>
  Effect.flatMap(decide(context), (decision) =>
    decision._tag === "Wait"
      ? Effect.succeed<End>({ _tag: "Suspended", waiting: decision.waiting })
      : Effect.flatMap(run(context, decision), (exit) =>
          Effect.flatMap(isAsleep(exit), (asleep): Effect.Effect<End> =>
            // One that goes to sleep has no end yet.
            asleep ? (exit as Exit.Exit<never>) : Effect.succeed(classify(context, decision, exit))
          )
        )
  )

/** The tool of an entry, with or without its own handler. */
export const toolOf = (entry: Tool.Any | AgentTool | undefined): Tool.Any | undefined =>
  entry === undefined ? undefined : "kind" in entry ? entry.tool : entry

/** Leaves a call waiting. */
export const suspend = (
  { call, report, state }: Pick<Given, "call" | "report" | "state">,
  waiting: Waiting
): Outcome => {
  report.mark("waiting")
  state.budget?.giveBack("toolCalls", 1)
  return { call, waiting }
}

/** The context of a call that begins. */
export const begin = Effect.fnUntraced(function* (given: Given): Effect.fn.Return<ToolCallContext> {
  const { call, report, state, step, tools } = given
  const entry = tools.byName.get(call.name)
  const resumed = tools.resumed.get(call.id)
  report.mark("interrupted")
  return {
    ...given,
    entry,
    tool: toolOf(entry),
    info: {
      ...state.info,
      step,
      toolCallId: call.id,
      idempotencyKey: keyOf(call, state, step, resumed, yield* CurrentAttempt)
    },
    place: state.place.within(step, call.id),
    resumed,
    startedAt: yield* Clock.currentTimeMillis,
    late: undefined,
    attempts: 0,
    isOver: false,
    isMade: false,
    isNew: undefined,
    stepsBefore: state.newSteps,
    handler: undefined,
    stopped: undefined,
    onInterrupted: undefined
  }
})

/**
 * The same for every attempt at one call: for a transcript that is resumed twice by the id of the request, and in attempts at
 * one piece of work by the place of the call and by what is called.
 */
const keyOf = (
  call: Call,
  { info }: RunState,
  step: number,
  resumed: Resumed | undefined,
  attempt: Attempt | undefined
): string => {
  if (resumed?.request !== undefined) return resumed.request.id
  if (attempt === undefined) return shortened(`${info.runId}/${step}/${call.id}`, info.rootId)
  return shortened(idIn(attempt, mark([info.path, call.name, toJson(call.params)])), info.rootId)
}

// -- decide ------------------------------------------------------------------------------------------------------------

/** Whether the call is made. One that could reach no tool, or is beyond a limit, is put to no approver. */
const decide = (context: ToolCallContext): Effect.Effect<Decision> => {
  const { call, parent, place, received, resumed, state, step, tool, tools } = context
  if (call.refused !== undefined) return refuse(call.refused)
  if (tool === undefined) return refuse(unknownTool(call.name, tools.byName))
  if (tools.answering?.reason !== undefined) return refuse(`not executed: ${tools.answering.reason}; ${answerNow}`)
  const { messages } = tools
  const toolNamed = (name: string) => toolOf(tools.byName.get(name))
  const decode = (params: unknown) => codecsOf(tool).decode(params)
  return Effect.flatMap(
    Approval.decide({ call, tool, decode, messages, toolNamed, parent, received, state, step, place, resumed }),
    (decided): Effect.Effect<Decision> => {
      if (decided === "allowed") return allowed(context, tool, undefined)
      if (decided._tag === "Approved") return allowed(context, tool, decided.params)
      return Effect.succeed(
        decided._tag === "Denied"
          ? { _tag: "Refuse", failure: new Denied(decided.reason) }
          : { _tag: "Wait", waiting: { _tag: "Decision", request: decided.request } }
      )
    }
  )
}

/** A call that is made, or that the caller is asked to make. */
const allowed = (
  context: ToolCallContext,
  tool: Tool.Any,
  edited: Schema.Json | undefined
): Effect.Effect<Decision> => {
  const { call, info, resumed } = context
  if (!markOf(tool, RunsAtClient)) return Effect.succeed({ _tag: "Run", edited: edited ?? resumed?.inside?.edited })
  const client = resumed?.client
  if (client?.given !== undefined) {
    const { given, request } = client
    return Effect.succeed({ _tag: "Given", result: given.value, edited: client.edited ? request.params : undefined })
  }
  const request = {
    id: client?.request.id ?? shortened(`${info.runId}/${info.step}/${call.id}`, info.rootId),
    path: info.path,
    step: info.step,
    toolCallId: call.id,
    tool: call.name,
    ...(tool.description === undefined ? {} : { description: tool.description }),
    params: edited ?? client?.request.params ?? toJson(call.params)
  }
  const isEdited = edited !== undefined || client?.edited === true
  return Effect.flatMap(CurrentWaiting, (wait): Effect.Effect<Decision> => {
    if (wait === undefined) {
      return Effect.succeed({ _tag: "Wait", waiting: { _tag: "Client", request, edited: isEdited } })
    }
    const given = Approval.kept(context.place, "client", wait({ kind: "client-tool", ...request }), plain)
    return Effect.flatMap(given, (value) =>
      Effect.map(Approval.misfitOfResult(value, tool), (misfit): Decision => ({
        _tag: "Given",
        // The approver cannot be asked again, so the model is shown what is wrong.
        result: misfit === undefined ? value : clientFailure(misfit.problem),
        edited: isEdited ? request.params : undefined
      }))
    )
  })
}

const refuse = (error: string): Effect.Effect<Decision> =>
  Effect.succeed({ _tag: "Refuse", failure: new Failure(undefined, { error }, true) })

/** How many tool names a model sees when it calls an unknown tool. */
const maxNamed = 50

const unknownTool = (name: string, byName: Tools["byName"]): string => {
  const names = [...byName.keys()]
  const more = names.length > maxNamed ? `, and ${names.length - maxNamed} more` : ""
  const listed = names.slice(0, maxNamed).join(", ") || "none"
  return `there is no tool "${name}"; the tools are: ${listed}${more}`
}

// -- run ---------------------------------------------------------------------------------------------------------------

/** Runs the tool and returns its exit. A call that is interrupted itself ends with what is known of its outcome. */
const run = (context: ToolCallContext, decision: Made): Effect.Effect<Exit.Exit<Value, Failure>> => {
  const { info, place, resumed, state } = context
  context.isMade = decision._tag === "Run"
  if (decision._tag === "Given") {
    context.isOver = true
    return Effect.succeed(exitOfGiven(decision.result))
  }
  const reached = decision._tag === "Refuse" ? Effect.fail(decision.failure) : reach(context, decision.edited)
  const own = Effect.provideContext(
    reached,
    Context.make(CurrentRun, info).pipe(
      Context.add(CurrentPlace, place),
      Context.add(CurrentRoom, context.tools.makeRoom(context))
    )
  )
  const resuming = resumed?.run === undefined ? own : continueRun(own, resumed.run, state)
  const exit = Effect.map(Effect.exit(traced(context, resuming)), (exit) => {
    context.isOver = true
    return exit
  })
  return Effect.onExit(exit, () => {
    if (context.isOver) return Effect.void
    return (context.onInterrupted ?? endInterrupted)(context, decision)
  })
}

/** The end of a tool that the caller ran. That the result fits the tool was checked before the step began. */
const exitOfGiven = (result: Schema.Json): Exit.Exit<Value, Failure> =>
  isClientFailure(result)
    ? Exit.fail(new Failure(undefined, result.failure, true))
    : Exit.succeed({ result, modelOutput: undefined })

const isClientFailure = Schema.is(ClientFailure)

/** The way to the tool, unless a journal has kept what it gave. */
const reach = (context: ToolCallContext, edited: Schema.Json | undefined): Effect.Effect<Value, Failure> => {
  const reached = inTurn(context, reachNow(context, edited))
  if (context.entry === undefined) return reached
  return keptTool(context.entry, context.place, reached, (isMade) => {
    context.isNew = isMade
  })
}

/** The tools whose calls the fiber works in, each by what their calls wait for. */
const CurrentTurns = Context.Reference<ReadonlyArray<Semaphore.Semaphore>>("troupe/internal/ToolTurns", {
  defaultValue: () => []
})

/** Waits until fewer calls of the tool are under way than it allows at once. A call within one of them does not wait for it. */
const inTurn = (
  { entry, report }: ToolCallContext,
  work: Effect.Effect<Value, Failure>
): Effect.Effect<Value, Failure> => {
  const turns = entry !== undefined && "kind" in entry ? entry.turns : undefined
  if (turns === undefined) return work
  return Effect.flatMap(CurrentTurns, (held) => {
    if (held.includes(turns)) return work
    report.mark("not-started")
    const begun = Effect.suspend(() => {
      report.mark("interrupted")
      return Effect.provideService(work, CurrentTurns, [...held, turns])
    })
    return turns.withPermit(begun)
  })
}

/** The way to the tool, as often as it may be tried. */
const reachNow = (context: ToolCallContext, edited: Schema.Json | undefined): Effect.Effect<Value, Failure> => {
  const { call, entry, tool, tools } = context
  const retry = (entry !== undefined && "kind" in entry ? entry.retry : undefined) ?? tools.retry
  if (retry === undefined || retry === "none" || tool === undefined) return reachOnce(context, edited)
  const { idempotent, readOnly } = Approval.hintsOf(tool)
  const attempt = Effect.suspend(() => {
    context.late = undefined
    context.attempts++
    return reachOnce(context, edited)
  })
  return retrying(attempt, call, idempotent || readOnly, retry)
}

/** The way to the tool, within its timeout. */
const reachOnce = (context: ToolCallContext, edited: Schema.Json | undefined): Effect.Effect<Value, Failure> => {
  const { entry, tools } = context
  const call = edited === undefined ? context.call : { ...context.call, params: edited }
  const known = exitOf(
    invoke(context, call),
    (exit) =>
      Effect.sync(() => {
        context.late = exit
      }),
    (fiber, by) => {
      context.stopped?.openUnsafe()
      if (context.handler === undefined) interruptAfterRegion(fiber, by)
      else interruptThroughSource(fiber, context.handler, by)
    }
  )
  const timeout = (entry !== undefined && "kind" in entry ? entry.timeout : undefined) ?? tools.timeout
  const { answering } = tools
  const ended = answering === undefined ? known : untilUsedUp(context, answering, known)
  if (timeout === undefined) return Effect.flatten(ended)
  return Effect.flatten(
    Effect.timeoutOrElse(ended, { duration: timeout, orElse: () => Effect.succeed(timedOut(context, timeout)) })
  )
}

/** A call that is interrupted when a budget is used up, or not made where its time was over before the run was made again. */
const untilUsedUp = (
  context: ToolCallContext,
  answering: Answering,
  known: Effect.Effect<Exit.Exit<Value, Failure>>
): Effect.Effect<Exit.Exit<Value, Failure>> =>
  Effect.withFiber((fiber) => {
    const instead = () => Effect.succeed(usedUp(context, answering))
    // A step that a journal keeps runs without a journal inside.
    const isLate = journalOf(fiber) === undefined && answering.stopLate(context.state.info)
    return isLate ? instead() : answering.until(known, instead)
  })

/** The result of a tool that could not be stopped, and has ended, is not thrown away. */
const timedOut = ({ late }: ToolCallContext, timeout: Duration.Duration): Exit.Exit<Value, Failure> => {
  if (late !== undefined && Exit.isSuccess(late)) return late
  const error = `the tool did not answer within ${Duration.format(timeout)}`
  return Exit.fail(new Failure(new Cause.TimeoutError(error), { error }, false))
}

const usedUp = ({ late }: ToolCallContext, { reason }: Answering): Exit.Exit<Value, Failure> => {
  if (late !== undefined && Exit.isSuccess(late)) return late
  return Exit.fail(new Failure(undefined, { error: `interrupted: ${reason}; ${answerNow}` }, true))
}

const answerNow = "answer with what you have"

const invoke = (context: ToolCallContext, call: Call): Effect.Effect<Value, Failure> => {
  const { entry, info, report, state, tools } = context
  const progress = (result: unknown) =>
    Effect.suspend(() =>
      state.events.silent || context.isOver
        ? Effect.void
        : state.events.emit({ _tag: "ToolProgress", ...placeOf(context), result: toJson(result) })
    )
  if (entry === undefined) return Effect.die(new Error("a call without a tool is refused before"))
  if (!("kind" in entry)) {
    const stopped = Latch.makeUnsafe(false)
    context.stopped = stopped
    return callToolkit(entry, call, tools.toolkit!, {
      progress: (result) =>
        state.events.streaming ? Effect.raceFirst(progress(result), stopped.await) : progress(result),
      onHandler: (fiber) => {
        context.handler = fiber
      }
    })
  }
  // A promise may go on after its signal has fired, so its outcome is unknown.
  return callDirect(entry, call, { ...info, progress }, () => {
    report.mark("unknown")
  })
}

/** Runs a tool so that the agent which waits in it goes on. */
const continueRun = (
  effect: Effect.Effect<Value, Failure>,
  run: NonNullable<Resumed["run"]>,
  { info }: RunState
): Effect.Effect<Value, Failure> => {
  const resumption = { target: [...info.path, ...run.at], transcript: run.transcript, taken: false }
  return Effect.mapError(Resumption.within(effect, resumption, info.path), (error) =>
    error instanceof Failure ? error : new Failure(error, { error: error.message }, false)
  )
}

const traced = (
  { call, tool }: ToolCallContext,
  effect: Effect.Effect<Value, Failure>
): Effect.Effect<Value, Failure> =>
  Spans.executeTool({ ...call, description: tool?.description }, ({ cause }: Failure) => cause, effect)

/** Ends a call whose run is interrupted, or whose sibling has failed: what its tool gave or failed with is not lost. */
export const endInterrupted = Effect.fnUntraced(function* (context: ToolCallContext, decision: Decision) {
  context.isOver = true
  const { call, late: exit } = context
  if (exit === undefined) return
  if (Exit.isFailure(exit)) {
    // A sibling that fails while it is interrupted is listed as well.
    for (const reason of exit.cause.reasons) {
      if (Cause.isFailReason(reason)) context.record.failures.push(failureOf(call, reason.error))
      if (Cause.isDieReason(reason)) context.record.failures.push(failureOf(call, toFailure(reason.defect)))
    }
    if (Cause.hasInterrupts(exit.cause)) return
  }
  const end = classify(context, decision, exit)
  if (end._tag === "Suspended") return
  yield* recordInterrupted(context, end)
})

/** Records and emits the end of a call whose run is interrupted or fails: it is not what the run fails with. */
export const recordInterrupted = (context: ToolCallContext, end: Ended): Effect.Effect<void> => {
  record(context, { ...end, ...(end._tag === "Failed" ? { isFatal: false } : {}) })
  return emit(context, end, false)
}

// -- classify, record, emit --------------------------------------------------------------------------------------------

/** Classifies an exit: a result, a failure for the model, a failure of the run, or a nested run that waits. */
const classify = (context: ToolCallContext, decision: Decision, exit: Exit.Exit<Value, Failure>): End => {
  const { state, tool } = context
  const edited = decision._tag === "Run" || decision._tag === "Given" ? decision.edited : undefined
  if (Exit.isSuccess(exit)) {
    const { value } = exit
    if (edited === undefined) return { _tag: "Completed", value }
    return { _tag: "Completed", value: { result: withEdit(value.result, edited), modelOutput: undefined } }
  }
  const broken = Cause.hasInterruptsOnly(exit.cause) ? brokenOff() : toFailure(Cause.squash(exit.cause))
  const failure =
    edited === undefined ? broken : new Failure(broken.cause, withEdit(broken.result, edited), broken.always)
  const { cause } = failure
  if (cause instanceof RoomSuspension) return { _tag: "Suspended", waiting: { ...cause.waits, edited } }
  const nested = cause instanceof RunSuspended ? cause : undefined
  if (nested !== undefined && tool !== undefined && canGoOn(nested, tool, state)) {
    const at = nested.path.slice(state.info.path.length)
    const { transcript, waitingFor } = nested
    return { _tag: "Suspended", waiting: { _tag: "Run", waitingFor, at, transcript } }
  }
  const isRefused = cause instanceof InvalidApproval || cause instanceof CannotResume
  const isInner = cause instanceof RoomFailure
  const isDeclared = tool?.failureMode === "error" && !failure.always
  return {
    _tag: "Failed",
    failure,
    isFatal: isForProgram(cause) || isRefused || nested !== undefined || isInner || isDeclared
  }
}

/** Whether the call can go on where the nested agent waits: nothing between it and the agent has to begin again. */
const canGoOn = ({ blockedBy, path }: RunSuspended, tool: Tool.Any, state: RunState): boolean => {
  const own = state.info.path
  const isBlocked = blockedBy !== undefined && blockedBy.path.length > own.length
  return !isBlocked && path.length > own.length && markOf(tool, Resumable)
}

/** The model knows only its own arguments, so it is shown those that were used. */
const withEdit = (result: Schema.Json, params: Schema.Json): Schema.Json => ({
  note: "the approver changed its arguments",
  arguments: params,
  result
})

/** How a call ends that does not wait. */
export type Ended = Exclude<End, { readonly _tag: "Suspended" }>

const record = ({ call, record, report, state }: ToolCallContext, end: Ended): Settled => {
  const isFailure = end._tag === "Failed"
  if (isFailure && end.failure instanceof Denied) state.budget?.giveBack("toolCalls", 1)
  const result = isFailure ? end.failure.result : end.value.result
  const part = Transcript.result(call, result, isFailure, isFailure ? undefined : end.value.modelOutput)
  report.mark(!isFailure ? "completed" : end.failure instanceof Denied ? "denied" : statusOf(call))
  record.results.set(call, part)
  if (isFailure && end.isFatal) record.failures.push(failureOf(call, end.failure))
  return { call, result, isFailure, part }
}

const statusOf = (call: Call): ToolCallStatus => (call.refused === undefined ? "failed" : "not-started")

/** A call that is interrupted, or fails the run, does not wait for a slow reader of events. */
const emit = (context: ToolCallContext, end: Ended, waits: boolean): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const failure = end._tag === "Failed" ? end.failure : undefined
    const result = end._tag === "Failed" ? end.failure.result : end.value.result
    const _tag = end._tag === "Failed" ? "ToolFailed" : "ToolCompleted"
    const durationMs = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() - context.startedAt
    const isNew = context.isNew ?? (journalOf(fiber) === undefined || context.state.newSteps > context.stepsBefore)
    if (context.isMade && isNew) Spans.recordTool(fiber, context.call.name, durationMs / 1000, failure)
    const attempts = context.attempts > 1 ? { attempts: context.attempts } : {}
    return context.state.events.emit({ _tag, ...placeOf(context), result, durationMs, ...attempts }, waits)
  })

const placeOf = ({ call, parent, step }: ToolCallContext) => ({
  step,
  toolCallId: call.id,
  tool: call.name,
  ...(parent === undefined ? {} : { parentToolCallId: parent })
})
