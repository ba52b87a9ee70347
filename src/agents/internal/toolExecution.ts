/**
 * Runs the tool calls of one step: concurrently where that is allowed, and with the failures that fail the run.
 * `toolCallSteps.ts` makes one call.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Prompt from "effect/ai/Prompt"
import type { ToolCallEntry } from "../../internal/bill.ts"
import { thereAgain } from "../../internal/compensation.ts"
import { journalOf } from "../../internal/journaled.ts"
import { toJson } from "../../internal/json.ts"
import { shortened } from "../../internal/place.ts"
import type { RunState } from "../../internal/runState.ts"
import { isAsleep, sleep } from "../../internal/sleep.ts"
import { EndsRun, InSandbox, markOf } from "../../internal/toolMarks.ts"
import { exitOf, unlessLeaving } from "../../internal/trueExit.ts"
import {
  AsyncToolError,
  type MissingModel,
  type MissingSyncEdge,
  type NestedSyncEdge,
  ToolError
} from "../../RunError.ts"
import type { ToolCalled } from "../../RunEvent.ts"
import { Sandbox } from "../../services/Sandbox.ts"
import { executeOne, type Given, type Outcome, type StepRecord, suspend, toolOf, type Tools } from "./toolCallSteps.ts"
import { executeThrough } from "./toolMiddleware.ts"
import { type Failure, isAsync, isSetup } from "./toolFailure.ts"
import * as Transcript from "./transcript.ts"
import type { Call } from "./turnCollector.ts"

export { type Outcome, toolOf, type Tools } from "./toolCallSteps.ts"

/** The errors of the calls of a step. */
export type StepError = ToolError | AsyncToolError | MissingModel | MissingSyncEdge | NestedSyncEdge

/** The calls of one step, and what their results are for. */
export interface Step {
  readonly calls: ReadonlyArray<Call>
  readonly tools: Tools
  readonly state: RunState
  readonly step: number
  /** Adds what is known of the calls to the conversation, and gives it. */
  readonly transcript: (results: ReadonlyArray<Prompt.ToolResultPart>) => Prompt.Prompt
}

/**
 * Runs the calls at once, at most `tools.concurrency` at a time, and gives their outcomes in the order asked. Each
 * outcome is recorded when it is there. Fails with `ToolError` when a tool with `failureMode: "error"` fails; then its
 * siblings have been interrupted, their finalizers have run, and what failed meanwhile is listed too. When the step is
 * interrupted, what is known of its calls stands in the conversation.
 */
export const executeAll = (self: Step): Effect.Effect<ReadonlyArray<Outcome>, StepError> =>
  Effect.suspend(() => {
    const { calls, state, step } = self
    const reports = new Map(calls.map((call) => [call, state.bill.addToolCall(step, call.id, call.name)] as const))
    const record: StepRecord = { failures: [], results: new Map() }
    return Effect.andThen(announce(self), unlessLeaving(inOrder(self, reports, record))).pipe(
      Effect.onInterrupt(() => Effect.sync(() => self.transcript(knownOf(reports, record)))),
      // Effect makes defects of failures that meet a defect, so what has failed is known by our own list.
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const { failures, stopped } = record
        if (stopped === undefined && failures.length === 0) return Effect.failCause(cause as Cause.Cause<never>)
        if (stopped === undefined) return Effect.fail(errorOf(self, reports, record))
        self.transcript(knownOf(reports, record))
        return Effect.failCause(stopped)
      })
    )
  })

const announce = ({ calls, state, step, tools }: Step): Effect.Effect<void> =>
  state.events.silent
    ? Effect.void
    : Effect.forEach(
        calls,
        (call) =>
          calledIn(tools.byName.get(call.name), (where) =>
            state.events.emit({
              _tag: "ToolCalled",
              step,
              toolCallId: call.id,
              tool: call.name,
              params: toJson(call.params),
              ...where
            })
          ),
        { discard: true }
      )

/** Says where a tool works, and what that keeps apart. */
export const calledIn = (
  entry: Parameters<typeof toolOf>[0],
  emit: (where: Pick<ToolCalled, "sandbox">) => Effect.Effect<void>
): Effect.Effect<void> => {
  const tool = toolOf(entry)
  if (tool === undefined || !markOf(tool, InSandbox)) return emit({})
  return Effect.withFiber(({ context }) => {
    const sandbox = context.mapUnsafe.get(Sandbox.key) as Sandbox["Service"] | undefined
    return emit(sandbox === undefined ? {} : { sandbox: { name: sandbox.info.name, isolates: sandbox.info.isolates } })
  })
}

type Reports = ReadonlyMap<Call, ToolCallEntry>

/**
 * Runs the calls at once, and those that end the run after all others and one by one: a run that waits for a call has not
 * ended yet.
 */
const inOrder = (
  { calls, state, step, tools }: Step,
  reports: Reports,
  record: StepRecord
): Effect.Effect<ReadonlyArray<Outcome>, Failure> => {
  const given = (call: Call) => ({ call, step, tools, state, record, report: reports.get(call)! })
  // A single call needs no fiber of its own.
  const atOnce = (some: ReadonlyArray<Call>): Effect.Effect<ReadonlyArray<Outcome>, Failure> =>
    Effect.flatMap(
      some.length === 1
        ? Effect.map(executeBeside(given(some[0]!)), (outcome) => [outcome])
        : Effect.forEach(some, (call) => executeBeside(given(call)), { concurrency: tools.concurrency }),
      awake
    )
  const ends = calls.filter((call) => endsRun(call, tools))
  if (ends.length === 0) return atOnce(calls)
  return Effect.gen(function* () {
    const outcomes = new Map(
      (yield* atOnce(calls.filter((call) => !ends.includes(call)))).map((one) => [one.call, one])
    )
    for (const call of ends) {
      const waits = [...outcomes.values()].some((outcome) => "waiting" in outcome)
      const deferred = { _tag: "Others", id: shortened(`${state.info.runId}/${step}`, state.info.rootId) } as const
      outcomes.set(
        call,
        waits ? suspend(given(call), deferred) : (yield* awake([yield* executeBeside(given(call))]))[0]!
      )
    }
    return calls.map((call) => outcomes.get(call)!)
  })
}

/** Makes one call, through the middleware around it. */
export const execute = (given: Given): Effect.Effect<Outcome, Failure> => {
  const { middleware } = given.tools
  // An error of a middleware is in the step's record.
  return middleware === undefined
    ? executeOne(given)
    : (executeThrough(given, middleware) as Effect.Effect<Outcome, Failure>)
}

/** Makes one call alongside others, which go on where it sleeps. */
const executeBeside = (given: Given): Effect.Effect<Outcome | Asleep, Failure> => {
  const own = execute(given)
  return Effect.withFiber((fiber) => {
    if (journalOf(fiber) === undefined) return own
    // A fiber that sleeps runs nothing any more, so its exit is looked at from outside.
    const exit = exitOf(own, () => Effect.void)
    return Effect.flatMap(exit, (exit) =>
      Exit.isSuccess(exit)
        ? exit
        : Effect.flatMap(isAsleep(exit), (asleep): Effect.Effect<Outcome | Asleep, Failure> =>
            asleep
              ? Effect.succeed({ call: given.call, asleep } as const)
              : // It interrupts the others.
                Effect.andThen(thereAgain([given.state.place.within(given.step)]), exit)
          )
    )
  })
}

/** A call that sleeps. */
interface Asleep {
  readonly call: Call
  readonly asleep: true
}

/** Goes to sleep once every call has ended or sleeps. */
const awake = (outcomes: ReadonlyArray<Outcome | Asleep>): Effect.Effect<ReadonlyArray<Outcome>> => {
  const ended = outcomes.filter((outcome): outcome is Outcome => !("asleep" in outcome))
  if (ended.length === outcomes.length) return Effect.succeed(ended)
  return sleep
}

const endsRun = ({ name }: Call, { byName }: Tools): boolean => {
  const tool = toolOf(byName.get(name))
  return tool !== undefined && markOf(tool, EndsRun)
}

/** A result for every call: its own, if known. */
const knownOf = (reports: Reports, { results }: StepRecord): ReadonlyArray<Prompt.ToolResultPart> =>
  [...reports].map(
    ([call, { status }]) =>
      results.get(call) ?? Transcript.withoutResult(call, status !== "not-started" && status !== "waiting")
  )

const errorOf = ({ state, step, transcript }: Step, reports: Reports, record: StepRecord): StepError => {
  const [first, ...others] = record.failures
  const setup = record.failures.find(({ cause }) => isSetup(cause))?.cause
  const common = {
    path: state.info.path,
    step,
    spent: state.bill.spent(),
    transcript: transcript(knownOf(reports, record))
  }
  if (isSetup(setup)) return setup
  const waits = record.failures.find(({ cause }) => isAsync(cause))
  if (waits !== undefined) return new AsyncToolError({ ...common, tool: waits.tool, toolCallId: waits.toolCallId })
  const interrupted = [...reports].filter(([call]) => !record.results.has(call)).map(([, { toolCallId }]) => toolCallId)
  return new ToolError({ ...common, failures: [first!, ...others], interrupted })
}
