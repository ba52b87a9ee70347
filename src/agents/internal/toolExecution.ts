/**
 * Runs the tool calls of one step: the one way in which a tool is ever called. How a call reaches its tool is in
 * `callTool.ts`. Internal to the agents; it touches the run's bookkeeping and the errors.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import type { Any as AgentTool } from "../../AgentTool.ts"
import { type Attempt, CurrentAttempt, idIn } from "../../internal/attempts.ts"
import { hash } from "../../internal/fingerprint.ts"
import { toJson } from "../../internal/json.ts"
import type { RunState } from "../../internal/runState.ts"
import * as Resumption from "../../internal/resumption.ts"
import type { Resumed, Waiting } from "../../internal/suspension.ts"
import * as Spans from "../../internal/telemetry.ts"
import { CannotWait } from "../../internal/toolFunction.ts"
import { EndsRun, markOf, Resumable } from "../../internal/toolMarks.ts"
import {
  ApprovalRequired,
  AsyncToolError,
  CannotResume,
  InvalidApproval,
  StuckSyncEdge,
  ToolError,
  type ToolFailure
} from "../../RunError.ts"
import type { ToolCallReport } from "../../RunEvent.ts"
import { CurrentRun, type RunInfo } from "../../services/CurrentRun.ts"
import { CaptureContent } from "../../services/Telemetry.ts"
import * as Approval from "./toolApproval.ts"
import { callDirect, callToolkit, type Value } from "./toolCall.ts"
import type { Call } from "./turnCollector.ts"
import { codecsOf } from "./toolCodecs.ts"
import { brokenOff, Denied, Failure, failureOf, toFailure } from "./toolFailure.ts"
import * as Transcript from "./transcript.ts"

/** The tools of an agent in one run, handlers resolved. */
export interface Tools {
  readonly byName: ReadonlyMap<string, Tool.Any | AgentTool>
  readonly toolkit: Toolkit.WithHandler<Record<string, Tool.Any>> | undefined
  readonly concurrency: number
  readonly timeout: Duration.Duration | undefined
  /** The conversation up to the calls, for a tool that decides by it whether it needs approval. */
  readonly messages: () => ReadonlyArray<Prompt.Message>
  /** What was decided of calls before the run was resumed, by the id of the call. */
  readonly resumed: ReadonlyMap<string, Resumed>
}

/** What became of one call, for the model and for `stopWhen`. */
export interface Settled {
  readonly call: Call
  readonly result: Schema.Json
  readonly isFailure: boolean
  readonly part: Prompt.ToolResultPart
}

/** What became of one call, or what it waits for. */
export type Outcome = Settled | { readonly call: Call; readonly waiting: Waiting }

/**
 * Runs the calls at once, at most `tools.concurrency` at a time, and gives their outcomes in the order asked. Each
 * outcome is recorded when it is there. Fails with `ToolError` when a tool with `failureMode: "error"` fails; then its
 * siblings have been interrupted, their finalizers have run, and what failed meanwhile is listed too.
 */
export const executeAll = (
  calls: ReadonlyArray<Call>,
  tools: Tools,
  state: RunState,
  step: number,
  transcript: (results: ReadonlyArray<Prompt.ToolResultPart>) => Prompt.Prompt
): Effect.Effect<ReadonlyArray<Outcome>, ToolError | AsyncToolError> =>
  Effect.suspend(() => {
    const reports = calls.map((call) => {
      const report = { step, toolCallId: call.id, tool: call.name, status: "not-started" as ToolStatus }
      state.toolCalls.push(report)
      return report
    })
    const failures: Array<ToolFailure> = []
    const results = new Map<Call, Prompt.ToolResultPart>()
    const execute = (call: Call) =>
      executeOne(call, tools, state, step, reports[calls.indexOf(call)]!, failures, results)
    const defer = (call: Call) =>
      suspend(call, reports[calls.indexOf(call)]!, { _tag: "Others", id: `${state.info.runId}/${step}` })
    const settled = inTwoParts(calls, tools, execute, defer)
    const asked = state.silent
      ? Effect.void
      : Effect.forEach(
          calls,
          (call) => state.emit({ _tag: "ToolCalled", ...of(call, step), params: toJson(call.params) }),
          {
            discard: true
          }
        )
    return Effect.andThen(asked, settled).pipe(
      // Effect makes defects of failures that meet a defect, so what has failed is known by our own list.
      Effect.catchCause((cause): Effect.Effect<never, ToolError | AsyncToolError> => {
        const [first, ...others] = failures
        if (first === undefined || Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const { path } = state.info
        const known = calls.map(
          (call, index) => results.get(call) ?? Transcript.withoutResult(call, reports[index]!.status !== "not-started")
        )
        const common = { path, step, spent: state.spent(), transcript: transcript(known) }
        const waiting = failures.find(({ cause }) => cause instanceof CannotWait || cause instanceof StuckSyncEdge)
        if (waiting !== undefined) {
          const { tool, toolCallId } = waiting
          return Effect.fail(new AsyncToolError({ ...common, tool, toolCallId }))
        }
        return Effect.fail(
          new ToolError({
            ...common,
            failures: [first, ...others],
            interrupted: reports
              .filter((report) => report.status !== "completed" && report.status !== "failed")
              .map((report) => report.toolCallId)
          })
        )
      })
    )
  })

/**
 * Runs the calls at once, and those that end the run after all others and one by one: a run that waits for a call has not
 * ended yet.
 */
const inTwoParts = (
  calls: ReadonlyArray<Call>,
  tools: Tools,
  execute: (call: Call) => Effect.Effect<Outcome, Failure>,
  defer: (call: Call) => Outcome
): Effect.Effect<ReadonlyArray<Outcome>, Failure> => {
  const ends = calls.filter((call) => endsRun(toolOf(tools.byName.get(call.name))))
  const atOnce = (some: ReadonlyArray<Call>) => Effect.forEach(some, execute, { concurrency: tools.concurrency })
  if (ends.length === 0) return atOnce(calls)
  return Effect.gen(function* () {
    const outcomes = [...(yield* atOnce(calls.filter((call) => !ends.includes(call))))]
    for (const call of ends) {
      outcomes.push(outcomes.some((outcome) => "waiting" in outcome) ? defer(call) : yield* execute(call))
    }
    return calls.map((call) => outcomes.find((outcome) => outcome.call === call)!)
  })
}

const endsRun = (tool: Tool.Any | undefined): boolean => tool !== undefined && markOf(tool, EndsRun)

/** The tool of an entry, whichever way it has its handler. */
export const toolOf = (entry: Tool.Any | AgentTool | undefined): Tool.Any | undefined =>
  entry === undefined ? undefined : "kind" in entry ? entry.tool : entry

type ToolStatus = ToolCallReport["status"]
type Report = { status: ToolStatus }

const of = (call: Call, step: number) => ({ step, toolCallId: call.id, tool: call.name })

const executeOne = (
  call: Call,
  tools: Tools,
  state: RunState,
  step: number,
  report: Report,
  failures: Array<ToolFailure>,
  results: Map<Call, Prompt.ToolResultPart>
): Effect.Effect<Outcome, Failure> =>
  Effect.gen(function* () {
    const entry = tools.byName.get(call.name)
    const tool = toolOf(entry)
    report.status = "interrupted"
    const startedAt = yield* Clock.currentTimeMillis
    const resumed = tools.resumed.get(call.id)
    const info: RunInfo & { readonly step: number; readonly toolCallId: string; readonly idempotencyKey: string } = {
      ...state.info,
      step,
      toolCallId: call.id,
      idempotencyKey: keyOf(call, state, step, resumed, yield* CurrentAttempt)
    }
    const decided = yield* approve(call, tool, tools, state, step, resumed)
    if (decided !== "allowed" && decided._tag === "Waiting") {
      return suspend(call, report, { _tag: "Decision", request: decided.request })
    }
    let ended = false
    const late: Array<ToolFailure> = []
    // A promise goes on after it was told to stop, so what it did by then cannot be known.
    const onPromise = () => {
      report.status = "unknown"
    }
    const edited = decided !== "allowed" && decided._tag === "Approved" ? decided.params : undefined
    const made = edited === undefined ? call : { ...call, params: edited }
    const ran =
      decided !== "allowed" && decided._tag === "Denied"
        ? Effect.fail(new Denied(decided.reason))
        : run(made, entry, tools, state, info, onPromise, () => ended)
    const settled = yield* ran.pipe(
      (effect) =>
        edited === undefined
          ? effect
          : Effect.map(effect, ({ result }): Value => ({ result: withEdit(result, edited), modelOutput: undefined })),
      Effect.provideService(CurrentRun, info),
      (effect) => (resumed?.run === undefined ? effect : resuming(effect, resumed.run, state)),
      (effect) => traced(call, tool, effect),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          ended = true
          // A sibling that fails while it is being interrupted is reported as well.
          if (Exit.isSuccess(exit) || !Cause.hasInterrupts(exit.cause)) return
          for (const reason of exit.cause.reasons) {
            if (Cause.isFailReason(reason)) late.push(failureOf(call, reason.error))
            if (Cause.isDieReason(reason)) late.push(failureOf(call, toFailure(reason.defect)))
          }
          failures.push(...late)
        })
      ),
      Effect.exit
    )
    // Whoever is interrupted does not come here: a tool that was interrupted from within has failed like any other.
    if (late.length > 0) failures.splice(0, failures.length, ...failures.filter((failure) => !late.includes(failure)))
    const durationMs = (yield* Clock.currentTimeMillis) - startedAt
    if (Exit.isSuccess(settled)) {
      report.status = "completed"
      const { result, modelOutput } = settled.value
      const part = Transcript.result(call, result, false, modelOutput)
      results.set(call, part)
      yield* state.emit({ _tag: "ToolCompleted", ...of(call, step), result, durationMs })
      return { call, result, isFailure: false, part }
    }
    const broken = Cause.hasInterruptsOnly(settled.cause) ? brokenOff() : toFailure(Cause.squash(settled.cause))
    const failure =
      edited === undefined ? broken : new Failure(broken.cause, withEdit(broken.result, edited), broken.always)
    const nested = failure.cause instanceof ApprovalRequired ? failure.cause : undefined
    if (nested !== undefined && tool !== undefined && canGoOn(nested, tool, state)) {
      const at = nested.path.slice(state.info.path.length)
      return suspend(call, report, { _tag: "Run", requests: nested.requests, at, transcript: nested.transcript })
    }
    report.status = failure instanceof Denied ? "denied" : "failed"
    const part = Transcript.result(call, failure.result, true)
    results.set(call, part)
    // What cannot come on the sync edge is fatal whatever the tool's failure mode: the model cannot mend it.
    const waits = failure.cause instanceof CannotWait || failure.cause instanceof StuckSyncEdge
    const isRefused = failure.cause instanceof InvalidApproval || failure.cause instanceof CannotResume
    const fatal = waits || isRefused || nested !== undefined || (tool?.failureMode === "error" && !failure.always)
    if (fatal) failures.push(failureOf(call, failure))
    yield* state.emit({ _tag: "ToolFailed", ...of(call, step), result: failure.result, durationMs })
    if (fatal) return yield* Effect.fail(failure)
    return { call, result: failure.result, isFailure: true, part }
  })

const suspend = (call: Call, report: Report, waiting: Waiting): Outcome => {
  report.status = "waiting"
  return { call, waiting }
}

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
  if (attempt === undefined) return `${info.runId}/${step}/${call.id}`
  return idIn(attempt, hash([info.path, call.name, toJson(call.params)]))
}

/** Runs a tool so that the agent which waits in it goes on. */
const resuming = (
  effect: Effect.Effect<Value, Failure>,
  run: NonNullable<Resumed["run"]>,
  state: RunState
): Effect.Effect<Value, Failure> => {
  const { path } = state.info
  const resumption = { target: [...path, ...run.at], transcript: run.transcript, taken: false }
  return Effect.mapError(Resumption.within(effect, resumption, path), (error) =>
    error instanceof Failure ? error : new Failure(error, { error: error.message }, false)
  )
}

/** Whether the call can go on where the nested agent waits: nothing between it and the agent has to begin again. */
const canGoOn = ({ blockedBy, path }: ApprovalRequired, tool: Tool.Any, state: RunState): boolean => {
  const own = state.info.path
  const isBlocked = blockedBy !== undefined && blockedBy.length > own.length
  return !isBlocked && path.length > own.length && markOf(tool, Resumable)
}

const approve = (
  call: Call,
  tool: Tool.Any | undefined,
  tools: Tools,
  state: RunState,
  step: number,
  resumed: Resumed | undefined
): Effect.Effect<Approval.Decided> =>
  tool === undefined || call.refused !== undefined
    ? Effect.succeed("allowed")
    : Approval.decide({
        call,
        tool,
        decode: (params) => codecsOf(tool).decode(params),
        messages: tools.messages,
        state,
        step,
        resumed
      })

/** The model is told what was really done, as it knows only its own arguments. */
const withEdit = (result: Schema.Json, params: Schema.Json): Schema.Json => ({
  note: "the approver changed its arguments",
  arguments: params,
  result
})

const run = (
  call: Call,
  entry: Tool.Any | AgentTool | undefined,
  tools: Tools,
  state: RunState,
  info: RunInfo & { readonly step: number; readonly toolCallId: string; readonly idempotencyKey: string },
  onPromise: () => void,
  ended: () => boolean
): Effect.Effect<Value, Failure> => {
  const refused = call.refused ?? (entry === undefined ? unknownTool(call.name, tools.byName) : undefined)
  if (refused !== undefined || entry === undefined) {
    return Effect.fail(new Failure(undefined, { error: refused ?? null }, true))
  }
  const progress = (result: unknown) =>
    Effect.suspend(() =>
      state.silent || ended()
        ? Effect.void
        : state.emit({ _tag: "ToolProgress", ...of(call, info.step), result: toJson(result) })
    )
  const isDirect = "kind" in entry
  const effect = isDirect
    ? callDirect(entry, call, { ...info, progress }, onPromise)
    : callToolkit(entry, call, tools.toolkit!, progress)
  const timeout = (isDirect ? entry.timeout : undefined) ?? tools.timeout
  if (timeout === undefined) return effect
  return Effect.timeoutOrElse(effect, {
    duration: timeout,
    orElse: () => {
      const message = `the tool did not answer within ${Duration.format(timeout)}`
      return Effect.fail(new Failure(new Cause.TimeoutError(message), { error: message }, false))
    }
  })
}

/** How many tools are named to a model that calls one that there is not. */
const maxNamed = 50

const unknownTool = (name: string, byName: Tools["byName"]): string => {
  const names = [...byName.keys()]
  const more = names.length > maxNamed ? `, and ${names.length - maxNamed} more` : ""
  const listed = names.slice(0, maxNamed).join(", ") || "none"
  return `there is no tool "${name}"; the tools are: ${listed}${more}`
}

const traced = (
  call: Call,
  tool: Tool.Any | undefined,
  effect: Effect.Effect<Value, Failure>
): Effect.Effect<Value, Failure> =>
  Spans.span(
    `execute_tool ${call.name}`,
    "internal",
    {
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": call.name,
      "gen_ai.tool.type": "function",
      "gen_ai.tool.call.id": call.id,
      "gen_ai.tool.description": tool?.description
    },
    (span) =>
      Effect.withFiber((fiber) => {
        const failed = Effect.mapError(effect, (failure) => {
          span.attribute("error.type", Spans.errorType(failure.cause))
          return failure
        })
        if (!fiber.getRef(CaptureContent)) return failed
        span.attribute("gen_ai.tool.call.arguments", JSON.stringify(toJson(call.params)))
        return Effect.tap(failed, (value) =>
          Effect.sync(() => span.attribute("gen_ai.tool.call.result", JSON.stringify(value.result)))
        )
      })
  )
