/** Gathers over streams of inputs, in bounded memory. */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { assertFunction, assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import { Blocking, refusalIn } from "../../internal/resumption.ts"
import * as Schemas from "../../internal/runnerSchemas.ts"
import { CurrentState } from "../../internal/runState.ts"
import * as Runner from "../../Runner.ts"
import type * as Parallel from "../Parallel.ts"
import * as BoundedStream from "./boundedStream.ts"
import * as KeptStream from "./keptStream.ts"

/** How many inputs are worked on at once where their number is not known. */
export const defaultConcurrency = 8

/** The modes of a stream of inputs, which may never end: no vote can be counted over it. */
export type StreamMode = Parallel.FailFast | Parallel.Settle

/** How {@link stream} and {@link mapStream} run their runner. */
export interface StreamOptions<M extends StreamMode> {
  /** `Parallel.failFast` (default) or `Parallel.settle`. */
  readonly mode?: M | undefined
  /** How many inputs are worked on, or wait to be read, at once. Default 8. */
  readonly concurrency?: number | undefined
  /**
   * Whether outputs come in the order of the inputs (default), or as soon as they are made. In order, a slow item holds
   * up those after it.
   */
  readonly ordered?: boolean | undefined
}

/** The output for each input. */
export type StreamOutput<A, E, M extends StreamMode> = M extends Parallel.Settle
  ? Result.Result<A, E | Parallel.BranchDefect>
  : A

/** How a stream fails, in addition to what its inputs fail with. */
export type StreamError<E, M extends StreamMode> = M extends Parallel.Settle ? never : Parallel.ParallelError<E>

/**
 * One runner over a stream of inputs, as a stream of outputs: 100,000 inputs, or inputs without an end, in bounded memory.
 * An input is pulled only while fewer than `concurrency` are worked on or wait to be read, so a slow reader slows
 * the inputs, and a reader that stops stops them. Ending the stream early interrupts all that is under way, and waits
 * for its finalizers.
 *
 * A function and not a runner, because an output that is still being made can be read only while it is: {@link mapStream}
 * is the runner, which has to consume the outputs. Inside of a run the items are nested in it.
 *
 * Mode `failFast`: the first failure interrupts all others, and the stream fails with `ParallelError`, whose branches are
 * indices; outputs that were not read by then are lost. Mode `settle`: every item gives a `Result`. What the inputs fail
 * with, the stream fails with too; in mode `settle` after what had begun. A run that waits is a failure too, `RunSuspended`, which
 * says that the run around it cannot go on in its middle: that fails with `CannotResume` then, and nothing of the stream begins again. It
 * can go on by itself; {@link mapStream} keeps what has ended. What fails while it is interrupted stands alongside
 * what it was interrupted by, in one cause. Throws `InvalidDefinition` for a concurrency that is not a whole number from 1.
 *
 * @example
 * import { Stream } from "effect"
 * import { Agent, Gather } from "troupe"
 *
 * const summary = Agent.make("summary", { instructions: "Sum it up." })
 * const summaries = Gather.stream(summary, Stream.make("one text", "another"), { concurrency: 4 })
 * const first = summaries.pipe(Stream.take(1), Stream.runCollect)
 */
export const stream = <I, A, E, R, E2 = never, R2 = never, M extends StreamMode = Parallel.FailFast>(
  runner: Runner.Runner<I, A, E, R>,
  inputs: Stream.Stream<I, E2, R2>,
  options: StreamOptions<M> = {}
): Stream.Stream<StreamOutput<A, E, M>, StreamError<E, M> | E2, R | R2> => {
  const subject = `stream of "${runner.name}"`
  assertOptions(subject, options, known)
  const window = settings(subject, runner.name, options)
  const outputs = Effect.map(blocking, (blocked) =>
    BoundedStream.make(inputs, (input) => blocked(runner.run(input)), window)
  )
  // It gives outputs or Results by its settings; the types say which.
  return Stream.unwrap(outputs) as Stream.Stream<StreamOutput<A, E, M>, StreamError<E, M> | E2, R | R2>
}

/**
 * Has a run that waits in a stream say that the run around it cannot go on, because what that has made of the outputs is not known.
 * Where it is to go on all the same, none begins.
 */
const blocking = Effect.flatMap(
  CurrentState,
  (state): Effect.Effect<<A, E, R>(run: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>> => {
    if (state === undefined) return Effect.succeed((run) => run)
    const around = {
      path: state.info.path,
      reason: "what it makes of the outputs of a stream is not kept; Gather.mapStream has keep"
    }
    return Effect.map(
      refusalIn(state),
      (refusal) => (run) =>
        // What waits there has `CannotResume` among its errors.
        refusal === undefined ? Effect.provideService(run, Blocking, around) : Effect.fail(refusal as never)
    )
  }
)

const streamNames = { mode: true, concurrency: true, ordered: true } as const
const known = namesOf<StreamOptions<StreamMode>>(streamNames)
const knownOfMap = namesOf<MapStreamOptions<never, never, never, never, never, never, never, never>>({
  ...streamNames,
  description: true,
  keep: true,
  inputs: true,
  into: true
})

const settings = (subject: string, name: string, options: StreamOptions<StreamMode>): BoundedStream.Settings => {
  const concurrency = countOf(subject, "concurrency", options.concurrency ?? defaultConcurrency)
  return { name, concurrency, settles: options.mode?._tag === "settle", ordered: options.ordered ?? true }
}

/** How {@link mapStream} is made. */
export interface MapStreamOptions<In, I, E2, R2, Outputs, B, E3, R3> extends StreamOptions<StreamMode> {
  readonly description?: string | undefined
  /**
   * How many outputs are kept at most, so that a run in which an item waits can go on. Default 0: it cannot, and a resume fails
   * with `CannotResume`. A run that goes on calls `inputs` and `into` again: the same inputs have to come, and `into` gets the kept
   * outputs once more, which are not made again. The input of the run and the outputs have to be data.
   */
  readonly keep?: number | undefined
  /**
   * Makes the stream of inputs of the run's input: the lines of a file by its name. For a run whose input is the stream
   * itself it is the identity, with a type: `(rows: Stream.Stream<Row, DbError>) => rows`.
   */
  readonly inputs: (input: In) => Stream.Stream<I, E2, R2>
  /**
   * Consumes the outputs: any way to run a stream, such as `Stream.runForEach(save)`, `Stream.runCount`,
   * `Stream.runFold(...)`, `Stream.run(sink)`. What it gives is the run's output.
   */
  readonly into: (outputs: Outputs) => Effect.Effect<B, E3, R3>
}

/**
 * {@link stream} as a runner, which nests, emits an `ItemCompleted` (without a total) for each input that ends, and is
 * drawn like others. A runner's output is a value, so `into` consumes the outputs; memory stays bounded when it
 * does not collect them. When `into` is done before the stream is, what is under way is interrupted.
 *
 * `result` keeps the conversation of every item: for very many inputs use `run` or `stream`, which do not.
 *
 * An item that waits keeps its place, and the others go on alongside it. When nothing else can, `into` is interrupted and the run is
 * suspended, in every mode: see `keep`.
 *
 * Fails with what `into` fails with: unless it handles them, `ParallelError` (never in mode `settle`) and the errors of the
 * inputs. Throws `InvalidDefinition` for a concurrency that is not a whole number from 1, and for a `keep` that is not one from 0.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import { Agent, Gather } from "troupe"
 *
 * declare const linesOf: (file: string) => Stream.Stream<string, "no such file">
 * declare const save: (verdict: string) => Effect.Effect<void, "disk full">
 *
 * const judge = Agent.make("judge", { instructions: "Is it spam?" })
 * const judged = Gather.mapStream("judged", judge, { inputs: linesOf, into: Stream.runForEach(save), concurrency: 16 })
 * const run = judged.run("letters.txt")
 */
export const mapStream: {
  // One for each mode: a type parameter that has only its default is unknown to the arguments of `into`.
  <In, I, E2, R2, A, E, R, B, E3, R3>(
    name: string,
    runner: Runner.Runner<I, A, E, R>,
    options: MapStreamOptions<
      In,
      NoInfer<I>,
      E2,
      R2,
      Stream.Stream<A, Parallel.ParallelError<E> | E2, R | R2>,
      B,
      E3,
      R3
    > & { readonly mode?: Parallel.FailFast | undefined }
  ): Runner.Runner<In, B, E3 | Runner.Waiting<E>, R3>
  <In, I, E2, R2, A, E, R, B, E3, R3>(
    name: string,
    runner: Runner.Runner<I, A, E, R>,
    options: MapStreamOptions<
      In,
      NoInfer<I>,
      E2,
      R2,
      Stream.Stream<StreamOutput<A, E, Parallel.Settle>, E2, R | R2>,
      B,
      E3,
      R3
    > & { readonly mode: Parallel.Settle }
  ): Runner.Runner<In, B, E3 | Runner.Waiting<E>, R3>
} = <In, I, E2, R2, A, E, R, B, E3, R3>(
  name: string,
  runner: Runner.Runner<I, A, E, R>,
  options: MapStreamOptions<In, I, E2, R2, never, B, E3, R3>
): Runner.Runner<unknown, never, never, never> => {
  const subject = `mapStream "${name}"`
  assertOptions(subject, options, knownOfMap)
  assertFunction(subject, "inputs", options.inputs)
  assertFunction(subject, "into", options.into)
  const window = settings(subject, name, options)
  const keep = countOf(subject, "keep", options.keep ?? 0, 0)
  const { inputs, into } = options
  // The overloads say whether it gives outputs or Results, by the mode.
  const spec = { window, work: runner.run, output: Schemas.outputOf(runner), inputs, into, keep }
  return Runner.erasedWorkflow(name, {
    description: options.description,
    structure: () => ({
      kind: "gather",
      note: `map of a stream, ${window.settles ? "settle" : "failFast"}`,
      members: [{ name: runner.name, runner }]
    }),
    run: (input, state) => KeptStream.run(spec, input, state),
    restore: (saved, _input, state) => KeptStream.resume(spec, saved, state)
  })
}
