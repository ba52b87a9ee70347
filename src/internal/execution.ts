/**
 * Runs a definition: how `run`, `result` and `stream` come of one body, and how a run begins and ends.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Latch from "effect/Latch"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Decision, RunEvent } from "../RunEvent.ts"
import { CurrentRun } from "../services/CurrentRun.ts"
import { SyncBridge } from "../services/SyncBridge.ts"
import { CurrentRecorder, CurrentSampler, type Recorder } from "../services/TraceStore.ts"
import { CaptureContent, LogFailures } from "../services/Telemetry.ts"
import { WaitingFor } from "../services/Waiting.ts"
import type { Observer } from "./eventSink.ts"
import * as Compensation from "./compensation.ts"
import { encodeBy, encodeError, isJsonObject } from "./json.ts"
import * as Mailbox from "./mailbox.ts"
import { withUnread } from "./interruptFailures.ts"
import { journalOf } from "./journaled.ts"
import { messageOf } from "./message.ts"
import { isWaiting } from "./resumption.ts"
import { CurrentPlace, placeIn } from "./place.ts"
import { CurrentState, guarded, type Options, RunState } from "./runState.ts"
import { transcriptIn } from "./runTranscript.ts"
import type { Lazy, Schemas } from "./runnerSchemas.ts"
import { isAsleep } from "./sleep.ts"
import { aFunction, type Structure } from "./structure.ts"
import { errorType } from "./telemetry.ts"
import { oneLine } from "./text.ts"
import { onOwnStack, unlessLeaving } from "./trueExit.ts"

/** The conversation of one agent of a run. */
export interface MemberTranscript {
  /** The names of the runners from the root to the agent. */
  readonly path: ReadonlyArray<string>
  readonly transcript: Prompt.Prompt
}

/** An output with its bill and its transcript. */
export interface Result<out Output> {
  readonly output: Output
  /** The id of the run. */
  readonly runId: string
  /** Summed over the run and every run nested in it. */
  readonly usage: Response.Usage
  /**
   * What that cost in US dollars, by `Prices`; `undefined` where the price of a part of it is not known, or no usage is reported.
   */
  readonly cost: number | undefined
  /** Steps taken, nested runs included. */
  readonly steps: number
  /**
   * The conversation, for the next run to go on from: the input, every answer, tool call and tool result; without the
   * agent's own instructions. Of a workflow it is the transcript of the member that had the whole input and gave the
   * output; otherwise what its members said, in the order they began, each message once. So a conversation grows from turn
   * to turn by what is new. What a tool's nested run said is not part of it.
   */
  readonly transcript: Prompt.Prompt
  /**
   * The conversation of every agent in the run, in the order in which they began, those that ran as tools included; an
   * agent that ran several times is there several times. Of the runs nested in one run, the last 1000.
   */
  readonly transcripts: ReadonlyArray<MemberTranscript>
  readonly duration: Duration.Duration
  /** The decisions of the workflows in the run, in order: routes taken, verdicts, plans, handoffs, early answers. */
  readonly decisions: ReadonlyArray<Decision>
  /** Why the last model call ended; `undefined` for a run without a model call of its own. */
  readonly finishReason: Response.FinishReason | undefined
}

/** The definition of a runner. */
export interface Definition<in Input, out Output, out Error, out Services> extends Schemas {
  readonly body: (input: Input, state: RunState) => Effect.Effect<Output, Error, Services>
  readonly observers: ReadonlyArray<(event: RunEvent) => Effect.Effect<void>>
  readonly structure: () => Structure
  /** The session that its runs are turns of. Their transcripts are always kept. */
  readonly session?: string | undefined
  /** True for one that only waits for a run which is recorded itself, such as a durable one. */
  readonly unrecorded?: boolean | undefined
}

/** How many events wait for a slow consumer of `stream` before the run waits too. Default 64. */
export const StreamBuffer: Context.Reference<number> = Context.Reference<number>("troupe/StreamBuffer", {
  defaultValue: () => 64
})

/** A run that is nested this deep, or a multiple of it, has a stack of its own. */
const depthOfStack = 64

/** One run: its first event, the body, its last event. */
export const execute = <I, A, E, R>(
  name: string,
  definition: Definition<I, A, E, R>,
  input: I,
  options: Options,
  onState?: (state: RunState) => void
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const begun = unlessLeaving(begin(name, definition, input, options, onState))
    const depth = fiber.getRef(CurrentState)?.info.path.length ?? 0
    return depth > 0 && depth % depthOfStack === 0 ? onOwnStack(begun) : begun
  })

const begin = <I, A, E, R>(
  name: string,
  definition: Definition<I, A, E, R>,
  input: I,
  options: Options,
  onState?: (state: RunState) => void
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    fiber.getRef(SyncBridge)?.enter(fiber)
    const parent = fiber.getRef(CurrentState)
    const { session } = definition
    const recording = options.recording === true || session !== undefined
    const recorders = parent === undefined && definition.unrecorded !== true ? recordersOf(fiber) : none
    const observers =
      recorders.length === 0
        ? definition.observers
        : [...definition.observers, ...recorders.map((recorder) => recordBy(() => recorder(state.info)))]
    const isFunction = definition.structure === aFunction
    const given = { ...options, recording, observers, session, input, isFunction }
    const state: RunState = new RunState(fiber, name, parent, given)
    onState?.(state)
    const own = ending(definition.body(input, state), state).pipe(
      Effect.provideContext(Context.make(CurrentState, state).pipe(Context.add(CurrentRun, state.info)))
    )
    const body = Effect.onExit(own, (exit) => {
      const over = state.hasHooks ? Compensation.end(state, exit) : Effect.void
      return parent === undefined && Exit.isFailure(exit) ? Effect.andThen(over, logFailure(state, exit.cause)) : over
    })
    if (parent !== undefined && journalOf(fiber) !== undefined) {
      const place = placeIn(parent, fiber.getRef(CurrentPlace))
      const begun = { id: state.info.runId, fiber, isUnderWay: true }
      return guarded(place, "run", name, begun, observed(fiber, definition, parent, state, body))
    }
    return observed(fiber, definition, parent, state, body)
  })

const none: ReadonlyArray<never> = []

/** What keeps or scores the root runs that the fiber begins. */
const recordersOf = (fiber: Fiber.Fiber<unknown, unknown>): ReadonlyArray<Recorder> => {
  const recorder = fiber.getRef(CurrentRecorder)
  const sampler = fiber.getRef(CurrentSampler)
  if (sampler === undefined) return recorder === undefined ? none : [recorder]
  return recorder === undefined ? [sampler] : [recorder, sampler]
}

/** An observer that hands the events of a root run to a recorder. */
const recordBy = (begin: () => ReturnType<Recorder>): Observer => {
  let record: ReturnType<Recorder> | undefined
  return (event) =>
    Effect.sync(() => {
      record ??= begin()
      record(event)
    })
}

/** A run's body between its first and its last event. */
const observed = <I, A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  definition: Definition<I, A, E, R>,
  parent: RunState | undefined,
  state: RunState,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (state.events.silent) return flushed(fiber, body)
  const { events } = state
  // A run that waits for a slow reader has begun, and ends when it is interrupted.
  const waiting = events.streaming ? Effect.andThen(events.room, body) : body
  const emitting = Effect.uninterruptibleMask((restore) =>
    Effect.andThen(
      events.emit({ _tag: "RunStarted", ...(parent === undefined ? {} : { parentId: parent.info.runId }) }, false),
      // An observer of the event can have held it up until it was interrupted.
      Effect.onExit(restore(unlessLeaving(waiting)), (exit) => emitTerminal(state, definition.output, exit))
    )
  )
  return flushed(fiber, emitting)
}

/** Notes the output of a run that is recorded. */
const ending = <A, E, R>(body: Effect.Effect<A, E, R>, { transcript }: RunState): Effect.Effect<A, E, R> =>
  transcript === undefined
    ? body
    : Effect.map(body, (output) => {
        transcript.end(output)
        return output
      })

/**
 * `Effect.runSync` flushes the dispatcher of its root fiber and no other. Without the sync edge the fibers of a run share
 * that one, so that a run which waits for nothing outside of itself ends under it.
 */
const flushed = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  run: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const scheduler = fiber.getRef(Scheduler.Scheduler)
  if (scheduler.executionMode === "async" || scheduler instanceof OneDispatcher) return run
  if (fiber.getRef(SyncBridge) !== undefined) return run
  const touched = Effect.withFiber((inside) => {
    void inside.currentDispatcher
    return run
  })
  return Effect.provideService(touched, Scheduler.Scheduler, new OneDispatcher(fiber.currentDispatcher))
}

/** Of Effect's own class, which is what the sync edge knows to take over when it is provided further in. */
class OneDispatcher extends Scheduler.MixedScheduler {
  readonly #dispatcher: Scheduler.SchedulerDispatcher
  constructor(dispatcher: Scheduler.SchedulerDispatcher) {
    super("sync")
    this.#dispatcher = dispatcher
  }
  override makeDispatcher(): ReturnType<Scheduler.MixedScheduler["makeDispatcher"]> {
    return this.#dispatcher as ReturnType<Scheduler.MixedScheduler["makeDispatcher"]>
  }
}

/** One line for a root run that fails, so that no consumer of it hides that it did; see `Telemetry.LogFailures`. */
const logFailure = (state: RunState, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.void
  const error = Cause.squash(cause)
  // A run that waits for a decision has not failed.
  if (isWaiting(error)) return Effect.void
  const reason = errorType(error)
  const named = reason === "_OTHER" ? "an unexpected error" : reason
  const tag = Predicate.hasProperty(error, "_tag") ? String(error._tag) : named
  const { path, runId } = state.info
  const how = Cause.hasFails(cause) ? "failed" : "failed unexpectedly"
  const what = `run of "${path[0]}" ${how}: ${reason === tag || reason === "_OTHER" ? tag : `${tag} (${reason})`}`
  return Effect.withFiber((fiber) => {
    if (!fiber.getRef(LogFailures)) return Effect.void
    // Logs are exported as spans are: what was said goes along only when it is asked for.
    const line = fiber.getRef(CaptureContent) ? `${what}: ${oneLine(messageOf(error))}` : what
    const loggers = [...fiber.getRef(Logger.CurrentLoggers)]
    const isUnset =
      loggers.length > 0 && loggers.every((one) => one === Logger.defaultLogger || one === Logger.tracerLogger)
    if (LogLevel.isGreaterThan(fiber.getRef(References.MinimumLogLevel), "Error")) return Effect.void
    // Effect's own logger writes to standard output, which is the program's.
    return isUnset ? Console.error(`troupe: ${line} (${runId})`) : Effect.annotateLogs(Effect.logError(line), { runId })
  })
}

const emitTerminal = <A, E>(state: RunState, schema: Lazy, exit: Exit.Exit<A, E>): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const bill = { spent: state.bill.spent(), durationMs: now - state.startedAt }
    if (Exit.isSuccess(exit)) {
      // A run that has handed its conversation over has no output.
      const output = state.handedOver ? {} : { output: encodeBy(schema(), exit.value) }
      return state.events.emit({ _tag: "RunCompleted", ...output, ...bill, ...transcriptOf(state) })
    }
    if (Cause.hasInterruptsOnly(exit.cause)) {
      return Effect.flatMap(isAsleep(exit), (asleep) => {
        const tag = asleep ? ({ _tag: "RunSuspended", waitingFor: [] } as const) : ({ _tag: "RunInterrupted" } as const)
        return state.events.emit({ ...tag, ...bill, ...transcriptOf(state) })
      })
    }
    const error = Cause.squash(exit.cause)
    const said = transcriptOf(state, error)
    const waitingFor = waitingForIn(error)
    if (waitingFor !== undefined) return state.events.emit({ _tag: "RunSuspended", waitingFor, ...bill, ...said })
    const message = messageOf(error)
    return state.events.emit({ _tag: "RunFailed", error: errorFields(error, message), message, ...bill, ...said })
  })

/** What an error waits for that says that the run is suspended; `undefined` for any other one. */
const waitingForIn = (error: unknown): ReadonlyArray<WaitingFor> | undefined =>
  // Errors import the events, so the class is not there to be looked at.
  Predicate.isTagged(error, "RunSuspended") &&
  Predicate.hasProperty(error, "waitingFor") &&
  isWaitingFor(error.waitingFor)
    ? error.waitingFor
    : undefined

const isWaitingFor = Schema.is(Schema.Array(WaitingFor))

const encodeTranscript = Schema.encodeUnknownOption(Prompt.Prompt)

/** The encoded transcript of a root run. For a suspended run it is the transcript to resume from. */
const transcriptOf = (state: RunState, error?: unknown): { readonly transcript?: typeof Prompt.Prompt.Encoded } => {
  if (state.parent !== undefined || state.transcript === undefined) return {}
  const suspended = Predicate.isTagged(error, "RunSuspended") ? transcriptIn(error) : undefined
  const encoded = encodeTranscript(suspended ?? Prompt.fromMessages(state.transcript.said.messages))
  return encoded._tag === "Some" ? { transcript: encoded.value } : {}
}

const errorFields = (error: unknown, message: string): Schema.Json => {
  const json = encodeError(error)
  if (!isJsonObject(json)) return { _tag: "Error", message, value: json }
  return { ...bare(json), message }
}

/** Without the bill, which is in the event itself, and the transcript, which earlier events hold; for branches and rounds too. */
const bare = ({ spent: _spent, transcript: _transcript, ...fields }: Schema.JsonObject): Schema.JsonObject => {
  const { failure, failures } = fields
  const bareFailure = (one: Schema.Json): Schema.Json =>
    isJsonObject(one) && isJsonObject(one["error"]) ? { ...one, error: bare(one["error"]) } : one
  return {
    ...fields,
    ...(isJsonObject(failure) ? { failure: bare(failure) } : {}),
    ...(Array.isArray(failures) ? { failures: failures.map(bareFailure) } : {})
  }
}

/** One run, recorded. */
export const resultOf = <I, A, E, R>(name: string, definition: Definition<I, A, E, R>, input: I) => {
  let state: RunState | undefined
  return execute(name, definition, input, { recording: true }, (made) => {
    state = made
  }).pipe(
    Effect.flatMap((output) =>
      Effect.map(Clock.currentTimeMillis, (now): Result<A> => ({
        output,
        runId: state!.info.runId,
        usage: state!.bill.usage,
        cost: state!.bill.cost,
        steps: state!.bill.steps,
        transcript: Prompt.fromMessages(state!.transcript!.said.messages),
        transcripts: state!.transcript!.members.map(({ messages, path }) => ({
          path,
          transcript: Prompt.fromMessages(messages)
        })),
        duration: Duration.millis(now - state!.startedAt),
        decisions: state!.events.decisions,
        finishReason: state!.bill.finishReason
      }))
    )
  )
}

/** The stream of one run's events. */
export const streamOf = <I, A, E, R>(
  name: string,
  definition: Definition<I, A, E, R>,
  input: I
): Stream.Stream<RunEvent, E, R> => Stream.unwrap(Effect.gen(() => begun(name, definition, input)))

// A function of its own: one that is made for each stream keeps what it holds until the next full garbage collection.
function* begun<I, A, E, R>(name: string, definition: Definition<I, A, E, R>, input: I) {
  const buffer = yield* StreamBuffer
  // Unbounded, so that an event has its place in the order once it has its number; the run then waits for room.
  const consumer = yield* Effect.withFiber(Effect.succeed)
  const taken = Latch.makeUnsafe(true)
  const mailbox = Mailbox.make<RunEvent, E>(consumer, () => taken.openUnsafe())
  let gone = false
  let ended: Exit.Exit<A, E> | undefined
  let isRead = false
  // Registered first, so it runs last: after the closing scope has interrupted the run.
  yield* Effect.addFinalizer((exit) => (isRead ? Effect.void : withUnread(ended, exit)))
  // The run gets a fiber of its own, which is not a child of the consumer's.
  const bridge = yield* SyncBridge
  bridge?.enter(consumer)
  const own = execute(name, definition, input, {
    outlet: {
      push: mailbox.push,
      room: Effect.suspend(() => {
        if (gone || mailbox.size() <= buffer) return Effect.void
        taken.closeUnsafe()
        return taken.await
      })
    }
  })
  yield* flushed(consumer, own).pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        ended = exit
        mailbox.end(exit)
      })
    ),
    Effect.forkScoped
  )
  // Registered last, so it runs first: a run that is being interrupted must not wait for a consumer that is gone.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      gone = true
      taken.openUnsafe()
      mailbox.close()
    })
  )
  return Stream.fromPull(Effect.succeed(mailbox.pull)).pipe(
    Stream.onError((cause) =>
      Effect.sync(() => {
        isRead = !Cause.hasInterruptsOnly(cause)
      })
    )
  )
}
