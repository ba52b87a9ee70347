/**
 * Gathers: many runs at once whose outcomes come back together. One input to many runners, one runner over many inputs,
 * each runner its own input, or a run alongside the others.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { at } from "../internal/place.ts"
import { placesHere } from "../internal/runState.ts"
import { assertOptions, kindOf, namesOf } from "../internal/definition.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import { dieWithInterruptFailures } from "../internal/interruptFailures.ts"
import type { RunnerSlots } from "../internal/wiring.ts"
import { InvalidDefinition } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import { defaultConcurrency } from "./internal/gatherStream.ts"
import * as Group from "./internal/branchGroup.ts"
import { WrongNumberOfInputs } from "./internal/errors.ts"
import * as Kept from "./internal/keptBranches.ts"
import * as Parallel from "./Parallel.ts"

export {
  mapStream,
  type MapStreamOptions,
  stream,
  type StreamError,
  type StreamMode,
  type StreamOptions,
  type StreamOutput
} from "./internal/gatherStream.ts"

export { WrongNumberOfInputs } from "./internal/errors.ts"

type Runners = ReadonlyArray<Runner.Member>
type Unchecked = ReadonlyArray<unknown>

/** Options of {@link broadcast} and {@link scatter}. */
export interface Options<M extends Parallel.Mode> {
  readonly description?: string | undefined
  /** `Parallel.failFast` (default), `settle`, `race`, `quorum(n)`. */
  readonly mode?: M | undefined
  /** How many run at once. Default: all. */
  readonly concurrency?: number | "unbounded" | undefined
}

/**
 * One input to many runners. The output is an array in the order of the runners: of outputs, or of `Result`s in mode
 * `settle`. Mode `race` gives the winner's output, `quorum(n)` those of the `n` winners. Where names are wanted instead of
 * positions, it is `Parallel.make`.
 *
 * Each is a nested run, named after its runner (numbered where two have one name), and emits an `ItemCompleted` when it
 * ends. When the mode is decided, the others are interrupted, and are over, before the outcome is seen.
 *
 * Fails with `ParallelError` (never in mode `settle`). Throws `InvalidDefinition` for no runners, or a quorum that they
 * cannot reach.
 *
 * @example
 * import { Agent, Gather, Parallel } from "troupe"
 *
 * const optimist = Agent.make("optimist", { instructions: "Say what is good about it." })
 * const pessimist = Agent.make("pessimist", { instructions: "Say what is bad about it." })
 * const views = Gather.broadcast("views", [optimist, pessimist])
 * const settled = Gather.broadcast("settled", [optimist, pessimist], { mode: Parallel.settle })
 */
export const broadcast: {
  <const T extends Runners, M extends Parallel.Mode = Parallel.FailFast>(
    name: string,
    runners: T,
    options?: Options<M>
  ): Runner.Runner<Parallel.Input<T>, Parallel.Output<T, M>, Parallel.Error<T, M>, Parallel.Services<T>>
  // For its error only: the compiler shows that of the last overload.
  <const T extends Unchecked>(name: string, runners: T & RunnerSlots<T>, options?: Options<Parallel.Mode>): Runner.Any
} = (name: string, runners: Unchecked, options: Options<Parallel.Mode> = {}) =>
  inOrder("broadcast", name, runners, options, (input) => Parallel.sameInput(runners.length)(input))

/** The input of {@link scatter}: that of each runner, in order. */
export type Inputs<T extends Runners> = { readonly [K in keyof T]: Runner.Input<T[K]> }

/**
 * As many inputs as runners: the first gets the first, the second the second. Otherwise it is {@link broadcast}.
 *
 * Fails with `WrongNumberOfInputs` before anything is begun, and with `ParallelError` (never in mode `settle`). Throws
 * `InvalidDefinition` for no runners, or a quorum that they cannot reach.
 *
 * @example
 * import { Agent, Gather } from "troupe"
 *
 * const translator = Agent.make("translator", { instructions: "Translate to French." })
 * const critic = Agent.make("critic", { instructions: "Say what the text lacks." })
 * const both = Gather.scatter("both", [translator, critic])
 * const run = both.run(["Good morning", "A draft of my letter"])
 */
export const scatter: {
  <const T extends Runners, M extends Parallel.Mode = Parallel.FailFast>(
    name: string,
    runners: T,
    options?: Options<M>
  ): Runner.Runner<Inputs<T>, Parallel.Output<T, M>, Parallel.Error<T, M> | WrongNumberOfInputs, Parallel.Services<T>>
  // For its error only: the compiler shows that of the last overload.
  <const T extends Unchecked>(name: string, runners: T & RunnerSlots<T>, options?: Options<Parallel.Mode>): Runner.Any
} = (name: string, runners: Unchecked, options: Options<Parallel.Mode> = {}) =>
  inOrder("scatter", name, runners, options, (inputs: ReadonlyArray<never>) =>
    inputs.length === runners.length
      ? Effect.succeed(inputs)
      : Effect.fail(new WrongNumberOfInputs({ name, needed: runners.length, orMore: false, given: inputs.length }))
  )

const known = namesOf<Options<Parallel.Mode>>({ description: true, mode: true, concurrency: true })

/** Programs without types can give names, which are those of `Parallel`. */
const assertList = (subject: string, runners: unknown): void => {
  if (Array.isArray(runners)) return
  const remedy = "Write [a, b]; where names are wanted, it is Parallel.make"
  throw new InvalidDefinition({ subject, problem: `its runners are ${kindOf(runners)}, not a list`, remedy })
}

const inOrder = (
  kind: "broadcast" | "scatter",
  name: string,
  runners: Unchecked,
  options: Options<Parallel.Mode>,
  inputsOf: (input: never) => Effect.Effect<ReadonlyArray<never>, WrongNumberOfInputs>
): Runner.Runner<unknown, never, never, never> => {
  const subject = `${kind} "${name}"`
  assertOptions(subject, options, known)
  assertList(subject, runners)
  const entries = Parallel.withKeys(Runner.membersOf(subject, runners).map(([, runner]) => runner))
  return Parallel.together(name, { kind, entries, isArray: true, ...options }, inputsOf)
}

/** Options of {@link map}. */
export interface MapOptions<M extends Parallel.Mode> {
  readonly description?: string | undefined
  /** `Parallel.failFast` (default), `settle`, `race`, `quorum(n)`. */
  readonly mode?: M | undefined
  /** How many inputs are worked on at once. Default 8. */
  readonly concurrency?: number | "unbounded" | undefined
}

/** The output of {@link map}. */
export type MapOutput<A, E, M extends Parallel.Mode> = M extends Parallel.Settle
  ? ReadonlyArray<Result.Result<A, E | Parallel.BranchDefect>>
  : M extends Parallel.Race
    ? A
    : ReadonlyArray<A>

/** The errors of {@link map}. An input whose run waits suspends the map, in every mode. */
// Conditional, so that an editor shows the errors in place of this type's name.
export type MapError<E, M extends Parallel.Mode> = M extends Parallel.Settle
  ? Runner.Waiting<E>
  : M extends Parallel.FailFast
    ? Runner.Waiting<E> | Parallel.ParallelError<E>
    : Runner.Waiting<E> | Parallel.ParallelError<E> | WrongNumberOfInputs

/**
 * One runner over many inputs. The output is an array in the order of the inputs: of outputs, or of `Result`s in mode
 * `settle`. Mode `race` gives the output of the first input that succeeds, `quorum(n)` those of the first `n`.
 *
 * Inputs and outputs are held in memory; for inputs that are many, or that come one by one, there are `stream` and
 * `mapStream`. Each input is a nested run, and emits an `ItemCompleted` with its index when it ends. When the mode
 * is decided, the others are interrupted, and are over, before the outcome is seen; those not begun never begin.
 *
 * Fails with `ParallelError`, whose branches are indices (never in mode `settle`), and with `WrongNumberOfInputs` when
 * there are fewer than `race` or `quorum` needs. No inputs give no outputs. Throws `InvalidDefinition` for a concurrency
 * below 1 or a quorum that is not a whole number.
 *
 * @example
 * import { Agent, Chain, Gather, Runner } from "troupe"
 *
 * const planner = Runner.map(Agent.make("planner", { instructions: "One question per line." }), (text) => text.split("\n"))
 * const researcher = Agent.make("researcher", { instructions: "Answer the question." })
 * const study = Chain.make("study", [planner, Gather.map("research", researcher, { concurrency: 4 })])
 */
export const map = <I, A, E, R, M extends Parallel.Mode = Parallel.FailFast>(
  name: string,
  runner: Runner.Runner<I, A, E, R>,
  options: MapOptions<M> = {}
): Runner.Runner<Iterable<I>, MapOutput<A, E, M>, MapError<E, M>, R> => {
  assertOptions(`map "${name}"`, options, known)
  const mode: Parallel.Mode = options.mode ?? Parallel.failFast
  const concurrency = options.concurrency ?? defaultConcurrency
  Runner.membersOf(`map "${name}"`, { runner })
  Group.check(`map "${name}"`, undefined, mode, concurrency)
  const needed = mode._tag === "race" ? 1 : mode._tag === "quorum" ? mode.n : 0
  const branchOf = (key: string): Kept.Branch => ({ key, run: runner.run, output: Schemas.outputOf(runner) })
  return Runner.erasedWorkflow(name, {
    description: options.description,
    structure: () => ({
      kind: "gather",
      note: Parallel.noteWith("map", mode),
      members: [{ name: runner.name, runner }]
    }),
    input: () => Schemas.arrayOf(Schemas.inputOf(runner)),
    output: () => {
      if (mode._tag === "settle") return undefined
      const output = Schemas.outputOf(runner)
      return mode._tag === "race" ? output : Schemas.arrayOf(output)
    },
    run: (inputs: Iterable<I>, state): Effect.Effect<unknown, unknown, unknown> => {
      const branches = Array.from(inputs, (input, index) => ({ ...branchOf(String(index)), input: input as unknown }))
      if (branches.length < needed) {
        return Effect.fail(new WrongNumberOfInputs({ name, needed, orMore: true, given: branches.length }))
      }
      return Effect.map(Kept.run(branches, { name, mode, concurrency, state }, undefined), (outputs) =>
        Parallel.shape(outputs, mode, true)
      )
    },
    restore: (saved, _input, state) => {
      const outputs = Kept.resume(saved, branchOf, () => ({ name, mode, concurrency, state }))
      return outputs && Effect.map(outputs, (outputs) => Parallel.shape(outputs, mode, true))
    }
  })
}

/** A run that continues in the background of the run that started it. */
export interface Handle<out A, out E> {
  /** The name of its runner. */
  readonly name: string
  /** Waits for its end: succeeds with its output, or fails with its error. Is interrupted when the run is. */
  readonly await: Effect.Effect<A, E>
  /** How it ended; `None` while it runs. */
  readonly poll: Effect.Effect<Option.Option<Exit.Exit<A, E>>>
  /** Interrupts it, and waits until it is over. Without effect once it has ended. */
  readonly interrupt: Effect.Effect<void>
}

/**
 * Begins a run and goes on without waiting for it. It belongs to the scope: when that closes, the run is interrupted, and
 * the closing waits until it is over. Inside of a run it is nested in it: its events carry the longer path, its usage is
 * summed into the bill. Close the scope within the run then (`Effect.scoped`), as in the example: when the scope lives
 * longer, so does the spawned run, and its events after the end of the run above are not emitted.
 *
 * Its failure interrupts no other run: it is in its own `RunFailed`, and `await` and `poll` return it.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Gather, Runner } from "troupe"
 *
 * const researcher = Agent.make("researcher", { instructions: "Find facts." })
 * const writer = Agent.make("writer", { instructions: "Write about it." })
 * const report = Runner.make("report", {
 *   run: (topic: string) =>
 *     Effect.scoped(
 *       Effect.gen(function* () {
 *         const facts = yield* Gather.spawn(researcher, topic)
 *         const draft = yield* writer.run(topic)
 *         return `${draft}\n\n${yield* facts.await}`
 *       })
 *     )
 * })
 */
export const spawn: <I, A, E, R>(
  runner: Runner.Runner<I, A, E, R>,
  input: I
) => Effect.Effect<Handle<A, E>, never, R | Scope.Scope> = Effect.fnUntraced(function* <I, A, E, R>(
  runner: Runner.Runner<I, A, E, R>,
  input: I
) {
  let fiber: Fiber.Fiber<A, E> | undefined
  // Registered first, so it runs last: when the run is over that the closing of the scope interrupts.
  yield* Effect.addFinalizer((exit) => dieWithInterruptFailures(fiber?.pollUnsafe(), exit))
  const placeOf = yield* placesHere
  const run = placeOf === undefined ? runner.run(input) : at(runner.run(input), placeOf(runner.name))
  const spawned = yield* Effect.forkScoped(run, { startImmediately: true })
  fiber = spawned
  return {
    name: runner.name,
    await: Fiber.join(spawned),
    poll: Effect.sync(() => Option.fromUndefinedOr(spawned.pollUnsafe())),
    interrupt: Fiber.interrupt(spawned)
  }
})
