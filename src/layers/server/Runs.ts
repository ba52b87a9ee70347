/**
 * Runs as things of their own: one part of a program starts a run, and others follow, interrupt or resume it by its id. HTTP
 * servers, queues and command lines stand on it. {@link layerMemory} keeps runs in this process.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Prompt from "effect/ai/Prompt"
import * as Stream from "effect/Stream"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import type { RunEvent } from "../../RunEvent.ts"
import type { Runner } from "../../Runner.ts"
import {
  type Ended,
  type FollowOptions,
  type Info,
  Runs,
  type RunsError,
  type StartOptions
} from "../../services/Runs.ts"
import { endOf } from "./internal/ended.ts"
import { checked, type MemoryOptions } from "./internal/memoryLimits.ts"
import { make } from "./internal/memoryRuns.ts"

export {
  type Delivery,
  type Ended,
  type FollowOptions,
  type Info,
  Runs,
  RunsError,
  type Service,
  type StartOptions,
  Status
} from "../../services/Runs.ts"
export type { MemoryOptions } from "./internal/memoryLimits.ts"

/**
 * Starts a run and returns its id as soon as it has begun. The run goes on when the caller ends; it sees the services and
 * references of the caller, and is not nested in a run of the caller's. Fails with `RunsError` when there is no room.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import { Agent, DemoModel, Runs } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const program = Effect.gen(function* () {
 *   const runId = yield* Runs.start(clerk, "What is 2 + 40?")
 *   yield* Stream.runForEach(Runs.follow(runId), (event) => Effect.log(event._tag))
 * }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(DemoModel.layer))
 */
export const start = <I, A, E, R>(
  runner: Runner<I, A, E, R>,
  input: I,
  options?: StartOptions
): Effect.Effect<string, RunsError, R | Runs> => {
  if (options !== undefined) assertOptions("Runs.start", options, known)
  return Runs.use((runs) => runs.start(runner, input, options))
}

const known = namesOf<StartOptions>({ owner: true, detached: true, deltas: true, paced: true })
const knownOfFollow = namesOf<FollowOptions>({ from: true })

/**
 * The events of a run, from the first that is kept or from the `seq` that is given, up to its terminal event. Ending the
 * stream does not end the run. Fails with `RunsError` for a run that is not known, and where events are not kept any more.
 */
export const follow = (runId: string, options?: FollowOptions): Stream.Stream<RunEvent, RunsError, Runs> => {
  if (options !== undefined) assertOptions("Runs.follow", options, knownOfFollow)
  return Stream.unwrap(Runs.use((runs) => Effect.succeed(runs.follow(runId, options))))
}

/** The state of a run now. */
export const poll = (runId: string): Effect.Effect<Info, RunsError, Runs> => Runs.use((runs) => runs.poll(runId))

/** The runs that are kept, the newest first. */
export const list: Effect.Effect<ReadonlyArray<Info>, RunsError, Runs> = Runs.use((runs) => runs.list)

/** Waits until a run has ended, and returns its terminal event: `RunCompleted` with the output, or another. */
export const ended = (runId: string): Effect.Effect<Ended, RunsError, Runs> =>
  Runs.use((runs) => endOf(runs.follow(runId, { from: "now" }), runId))

/** Interrupts a run, and waits until everything that it had started has ended. Does nothing to a run that has ended. */
export const interrupt = (runId: string): Effect.Effect<void, RunsError, Runs> =>
  Runs.use((runs) => runs.interrupt(runId))

/**
 * Gives a run up that is suspended: no answers to it count any more, in any process that shares the engine, and its status is
 * `"interrupted"`. Does nothing to a run that does not wait.
 */
export const giveUp = (runId: string): Effect.Effect<void, RunsError, Runs> => Runs.use((runs) => runs.giveUp(runId))

/**
 * Goes on with a run that is suspended: `answered` is the transcript of its terminal event, with the answers. The run that
 * goes on has an id of its own, which is returned.
 */
export const resume = (
  runId: string,
  answered: Prompt.Prompt,
  options?: StartOptions
): Effect.Effect<string, RunsError, Runs> => {
  if (options !== undefined) assertOptions("Runs.resume", options, known)
  return Runs.use((runs) => runs.resume(runId, answered, options))
}

/**
 * Keeps runs in this process: those that run, and those that have ended for a while. Everything is bounded, see
 * {@link MemoryOptions}. When the Layer is released, runs are interrupted. Throws `InvalidDefinition` for a limit that is not
 * a count or a duration.
 */
export const layerMemory = (options: MemoryOptions = {}): Layer.Layer<Runs> => {
  const limits = checked(options)
  return Layer.effect(Runs, make(limits))
}
