/** Scores a part of the runs of a program, in the background: no run waits for it or fails because of it. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import { assertFunction, assertOptions, countOf, durationOf, numberOf } from "../../internal/definition.ts"
import type { ServicesIn } from "../../internal/wiring.ts"
import { isTerminal, type RunEvent } from "../../RunEvent.ts"
import { CurrentSampler, type Recorder } from "../../services/TraceStore.ts"
import { inputOf } from "./data.ts"
import { type Named, scoreEach, type Scorer, scorersOf } from "./scorer.ts"
import { deltas, maxEvents, spendingOf } from "./caseRun.ts"
import { withoutVoid } from "./toolUse.ts"
import type { Scored, ScorerFunction } from "./types.ts"

/** A run that was scored. */
export interface Sample {
  readonly runId: string
  /** The name of its runner. */
  readonly runner: string
  readonly session: string
  readonly scores: ReadonlyArray<Named>
}

/** A scorer of live runs: of texts, JSON and events. */
export type SampleScorer =
  | Scorer<string | undefined, Schema.Json, unknown, unknown>
  | ScorerFunction<string | undefined, Schema.Json, unknown>

/** Which runs are scored, and how. */
export interface SamplingOptions<S extends ReadonlyArray<SampleScorer>, R> {
  /** The part of the runs that are scored, from 0 to 1. */
  readonly fraction: number
  readonly scorers: S
  /** Is given each run that was scored; what it fails with is logged. */
  readonly onScored: (sample: Sample) => Effect.Effect<void, unknown, R>
  /** Only runs of these runners, by name. Default: of all. */
  readonly runners?: ReadonlyArray<string> | undefined
  /** How many runs are scored at once. Default 2. */
  readonly concurrency?: number | undefined
  /** How many runs wait to be scored; a further one is not scored. Default 100. */
  readonly maxWaiting?: number | undefined
  /** How long the Layer waits for scores that are under way when it is released. Default: 5 seconds. */
  readonly drain?: Duration.Input | undefined
}

/** The services that scorers of live runs need. */
export type SampleServices<S extends ReadonlyArray<SampleScorer>> = S[number] extends infer One
  ? One extends Scorer<infer _I, infer _A, infer _X, infer R>
    ? R
    : One extends (...args: never) => infer Returned
      ? ServicesIn<Returned>
      : never
  : never

const known: ReadonlySet<string> = new Set([
  "fraction",
  "scorers",
  "onScored",
  "runners",
  "concurrency",
  "maxWaiting",
  "drain"
])

interface Ended {
  readonly runner: string
  readonly session: string
  readonly events: ReadonlyArray<RunEvent>
  readonly end: Extract<RunEvent, { readonly spent: unknown }>
}

/** Scores runs below it. */
export const sampling = <const S extends ReadonlyArray<SampleScorer>, R = never>(
  options: SamplingOptions<S, R>
): Layer.Layer<never, never, SampleServices<S> | R> => {
  const subject = "Eval.sampling"
  assertOptions(subject, options, known)
  assertFunction(subject, "onScored", options.onScored)
  const { concurrency = 2, fraction, maxWaiting = 100 } = options
  numberOf(subject, "fraction", fraction, 0, 1)
  countOf(subject, "concurrency", concurrency)
  countOf(subject, "maxWaiting", maxWaiting)
  const drain = durationOf(subject, "drain", options.drain ?? "5 seconds")
  const scorers = scorersOf(subject, options.scorers)
  const made = Effect.gen(function* () {
    const random = yield* Random.Random
    const queue = yield* Queue.dropping<Ended, Cause.Done>(maxWaiting)
    const work = Effect.flatMap(Queue.take(queue), (ended) => scored(ended, scorers, options.onScored))
    // A judge is a runner, whose runs are not scored.
    const worker = Effect.provideService(Effect.forever(work), CurrentSampler, undefined)
    const workers = yield* Effect.forEach(Array.from({ length: concurrency }), () => Effect.forkDetach(worker))
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        yield* Queue.end(queue)
        const ended = yield* Effect.timeoutOption(Fiber.awaitAll(workers), drain)
        if (Option.isSome(ended)) return
        yield* Effect.logWarning("Runs that were to be scored are not: the program ends.")
        yield* Fiber.interruptAll(workers)
      })
    )
    return recorder(queue, options.runners, () => random.nextDoubleUnsafe() < fraction)
  })
  return Layer.effect(CurrentSampler)(made) as Layer.Layer<never, never, SampleServices<S> | R>
}

const ignore = () => {}

/** Takes the events of the runs that are chosen, and hands each run over when it has ended. */
const recorder =
  (
    queue: Queue.Enqueue<Ended, Cause.Done>,
    runners: ReadonlyArray<string> | undefined,
    isChosen: () => boolean
  ): Recorder =>
  ({ conversationId, path }) => {
    const runner = path[0]!
    if ((runners !== undefined && !runners.includes(runner)) || !isChosen()) return ignore
    const events: Array<RunEvent> = []
    return (event) => {
      if (!deltas.has(event._tag) && events.length < maxEvents) events.push(event)
      if (!isTerminal(event) || event.path.length > 1) return
      if (events.at(-1) !== event) events.push(event)
      // A run that waits has not ended, and one that was interrupted has nothing to score.
      if (event._tag === "RunSuspended" || event._tag === "RunInterrupted") return
      Queue.offerUnsafe(queue, { runner, session: conversationId, events, end: event })
    }
  }

const scored = <R>(
  { end, events, runner, session }: Ended,
  scorers: ReadonlyArray<Scorer<never, never, never, unknown>>,
  onScored: (sample: Sample) => Effect.Effect<void, unknown, R>
): Effect.Effect<void, never, unknown> => {
  const kept = withoutVoid(events)
  const output = end._tag === "RunCompleted" ? (end.output ?? null) : null
  const given: Scored = {
    input: inputOf(end),
    output: end._tag === "RunCompleted" ? output : undefined,
    metadata: undefined,
    outputJson: output,
    events: kept,
    spent: spendingOf(kept, undefined, end.durationMs)
  }
  return Effect.flatMap(scoreEach(scorers, given, end._tag === "RunFailed"), (scores) =>
    Effect.suspend(() => onScored({ runId: end.runId, runner, session, scores }))
  ).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logWarning(`The scores of run ${end.runId} could not be handed over`, cause)
    )
  )
}
