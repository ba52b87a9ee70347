/**
 * Evaluations: a data set, one or more runners, and scorers of what they answer and of what they do. Scores inform; a gate makes
 * an evaluation fail.
 *
 * The form (data, task, scorers) is that of Braintrust's `Eval` and of Evalite; scorers take what `autoevals` gives; trajectories
 * are compared as in Google's ADK, and gates are kept apart from scores as Mastra does.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Duration from "effect/Duration"
import type * as FileSystem from "effect/FileSystem"
import type * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { assertName, assertOptions, assertText, countOf, durationOf, kindOf } from "../internal/definition.ts"
import type { ServicesIn } from "../internal/wiring.ts"
import { InvalidDefinition } from "../RunError.ts"
import type { StoreError } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import type { TraceStore } from "../services/TraceStore.ts"
import * as Cache from "./internal/cache.ts"
import * as Compare from "./internal/compare.ts"
import * as Data from "./internal/data.ts"
import { type Definition, execute, type Progress } from "./internal/execute.ts"
import * as OutputScorers from "./internal/outputScorers.ts"
import { Report } from "./internal/report.ts"
import * as Scorers from "./internal/scorer.ts"
import * as Table from "./internal/table.ts"
import type { Case, Gate, Scored, ScorerFunction } from "./internal/types.ts"

export {
  type Change,
  type Comparison,
  compareRunners,
  type RunnerComparison,
  type ScorerComparison
} from "./internal/compare.ts"
export { Conversation, type Members, Scenario, UserTurn } from "./internal/conversation.ts"
export { DataError, type FileOptions, type TraceOptions } from "./internal/data.ts"
export type {
  ExpectedCall,
  Limits,
  OfEvents,
  Params,
  ToolCalledOptions,
  TrajectoryMode
} from "./internal/eventScorers.ts"
export type { Progress } from "./internal/execute.ts"
export type { JudgeOptions } from "./internal/outputScorers.ts"
export { CaseReport, Report, RunnerReport, ScorerReport } from "./internal/report.ts"
export type { Sample, SamplingOptions } from "./internal/sampling.ts"
export type { Scorer, ScorerOptions } from "./internal/scorer.ts"
export type { Case, Gate, Scored, ScorerFunction, Spending, Verdict } from "./internal/types.ts"

const TypeId = "~troupe/Eval"

/** An evaluation. `E`: how its data can fail. `R`: the services of its data, runners and scorers. */
export interface Eval<out E = never, out R = never> {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  /** @internal */
  readonly definition: Definition
  /** Holds the types. */
  readonly "~types"?: { readonly _E: () => E; readonly _R: () => R }
}

/** True for an evaluation. */
export const isEval = (u: unknown): u is Eval<unknown, unknown> => Predicate.hasProperty(u, TypeId)

/** One runner, or several by the names that the report has for them. */
export type Runners = Runner.Member | Readonly<Record<string, Runner.Member>>
type RunnerOf<T> = T extends Runner.Member ? T : T[keyof T]
/** What is not a runner, checked where it does not keep the compiler from inferring what is. */
type Slots<T> = unknown extends T
  ? unknown
  : T extends Runners
    ? unknown
    : {
        readonly runner: "The second argument is not a runner, nor a record of runners. Make one with Agent.make or Runner.make"
      }
/** The input that all runners take. */
export type InputOf<T> = (
  RunnerOf<T> extends infer M ? (M extends unknown ? (input: Runner.Input<M>) => void : never) : never
) extends (input: infer I) => void
  ? I
  : never
/** The output of any of the runners. */
export type OutputOf<T> = Runner.Output<RunnerOf<T>>

/** A data set: a list of cases, or a Stream of them. */
export type DataSet<I> = ReadonlyArray<Case<I>> | Stream.Stream<Case<I>, unknown, unknown>
type CaseOf<D> = D extends ReadonlyArray<infer C> ? C : D extends Stream.Stream<infer C, infer _E, infer _R> ? C : never
/** What the cases of a data set expect. */
export type ExpectedOf<D> =
  CaseOf<D> extends infer C ? (C extends { readonly expected?: infer X } ? Exclude<X, undefined> : never) : never
type DataError<D> = D extends Stream.Stream<infer _A, infer E, infer _R> ? E : never
type DataServices<D> = D extends Stream.Stream<infer _A, infer _E, infer R> ? R : never

/** Scorers, as functions or made. */
export type AnyScorer<I, A, X> = Scorers.Scorer<I, A, X, unknown> | ScorerFunction<I, A, X>
type ScorerServices<S> =
  S extends Scorers.Scorer<infer _I, infer _A, infer _X, infer R>
    ? R
    : S extends (...args: never) => infer Returned
      ? ServicesIn<Returned>
      : never

/** Options of {@link make} that are not part of its type. */
export interface Settings {
  /** How often each case is run, because models do not answer the same twice. Default 1. */
  readonly trials?: number | undefined
  /** How many runs are at work at once, over all runners. Default 4. */
  readonly concurrency?: number | undefined
  /** How long one run may take; a longer one is interrupted, and has failed. Default: no limit. */
  readonly timeout?: Duration.Input | undefined
  /** How many runs may fail before the evaluation fails. Default 0. */
  readonly maxFailures?: number | undefined
  /**
   * Set another one where a runner has changed in a way that its definition does not show (the code of a tool, a model of its
   * own): what {@link cache} keeps of it is then not taken.
   */
  readonly version?: string | undefined
}

const known: ReadonlySet<string> = new Set([
  "data",
  "scorers",
  "trials",
  "concurrency",
  "timeout",
  "maxFailures",
  "version"
])

/**
 * Makes an evaluation of a runner, or of a record of several, such as one agent with two models: every case of `data` is run by
 * every runner, and each run is scored by every scorer.
 *
 * A run or a scorer that fails takes nothing else down: a run that failed counts as 0 for scorers of outputs, and a scorer that
 * failed has no score and holds no gate. Nothing runs before {@link run}.
 *
 * - `data`: cases with an `input` and, for scorers that compare, what is `expected`. See {@link fromFile} and {@link fromTraces}.
 * - `scorers`: functions of `{ input, output, expected, events, spent }` that return a number from 0 to 1 or a boolean, also as a
 *   promise or an Effect; those of `autoevals` as they are; and those of this module. {@link gate} makes one decide.
 *
 * Throws `InvalidDefinition` for two scorers of one name and for limits that make no sense.
 *
 * @example
 * import { Agent, DemoModel, Eval, Runner } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const arithmetic = Eval.make("arithmetic", Runner.provide(clerk, DemoModel.layer), {
 *   data: [{ input: "What is 2 + 40?", expected: "42" }],
 *   scorers: [Eval.includes, Eval.gate(Eval.atMost({ steps: 3 })), ({ output }) => output.length < 200]
 * })
 */
export const make = <
  const T,
  D extends DataSet<InputOf<T>>,
  const S extends ReadonlyArray<AnyScorer<InputOf<T>, OutputOf<T>, ExpectedOf<D>>>
>(
  name: string,
  runner: T,
  options: { readonly data: D; readonly scorers: S } & Settings & Slots<T>
): Eval<DataError<D>, DataServices<D> | Runner.Services<RunnerOf<T>> | ScorerServices<S[number]>> => {
  assertName("an evaluation", name, 'Give it one: Eval.make("arithmetic", runner, { data, scorers })')
  const subject = `evaluation "${name}"`
  assertOptions(subject, options, known, {
    task: 'What is evaluated stands before the options: Eval.make("name", runner, { data, scorers })',
    scores: "Call it scorers"
  })
  assertText(subject, "version", options.version)
  if (!Array.isArray(options.scorers)) {
    const problem = `its scorers are ${kindOf(options.scorers)}`
    throw new InvalidDefinition({ subject, problem, remedy: "Give it a list: [Eval.exact]" })
  }
  const { concurrency = 4, maxFailures = 0, timeout, trials = 1 } = options
  const definition: Definition = {
    name,
    runners: runnersOf(subject, runner),
    data: Data.streamOf(subject, options.data),
    scorers: Scorers.scorersOf(subject, options.scorers),
    trials: countOf(subject, "trials", trials, 1),
    concurrency: countOf(subject, "concurrency", concurrency, 1),
    timeout: timeout === undefined ? undefined : durationOf(subject, "timeout", timeout),
    maxFailures: countOf(subject, "maxFailures", maxFailures, 0),
    version: options.version ?? ""
  }
  return { [TypeId]: TypeId, name, definition }
}

const runnersOf = (subject: string, given: unknown): Definition["runners"] => {
  const record = Runner.isRunner(given) ? { [given.name]: given } : (given as Readonly<Record<string, unknown>>)
  // The types have made sure that each takes the inputs of the data.
  return Runner.membersOf(subject, record) as unknown as Definition["runners"]
}

/** How an evaluation is run this time. */
export interface RunOptions {
  /** In place of the evaluation's own. */
  readonly concurrency?: number | undefined
  /** Only the first cases. */
  readonly limit?: number | undefined
  /** Is called after each run that has ended, one call after the other. */
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

const runOptions: ReadonlySet<string> = new Set(["concurrency", "limit", "onProgress"])

/**
 * Runs an evaluation and succeeds with its report, also where gates fail; {@link check} fails then. Fails where its data cannot
 * be read. Interrupting it interrupts all runs under way; with {@link cache} what has ended is kept.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Eval } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const evaluation = Eval.make("arithmetic", clerk, {
 *   data: [{ input: "What is 2 + 40?", expected: "42" }],
 *   scorers: [Eval.gate(Eval.includes)]
 * })
 * const program = Eval.run(evaluation).pipe(
 *   Effect.tap((report) => Effect.log(Eval.toTable(report))),
 *   Effect.provide(DemoModel.layer)
 * )
 */
export const run = <E, R>(evaluation: Eval<E, R>, options: RunOptions = {}): Effect.Effect<Report, E, R> => {
  const subject = `Eval.run of "${evaluation.name}"`
  assertOptions(subject, options, runOptions)
  const { definition } = evaluation
  const settings = {
    concurrency: countOf(subject, "concurrency", options.concurrency ?? definition.concurrency, 1),
    limit: options.limit === undefined ? undefined : countOf(subject, "limit", options.limit, 1),
    onProgress: options.onProgress ?? (() => Effect.void)
  }
  return execute(definition, settings) as Effect.Effect<Report, E, R>
}

/** An evaluation did not pass. */
export class EvalFailed extends Schema.TaggedError<EvalFailed>()("EvalFailed", {
  name: Schema.String,
  /** The report as a table. */
  table: Schema.String
}) {
  override get message(): string {
    return `the evaluation "${this.name}" did not pass:\n${this.table}`
  }
}

/**
 * Succeeds with a report that passed, and fails with `EvalFailed` for any other, whose message has the table: for tests.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Eval } from "troupe"
 *
 * const evaluation = Eval.make("arithmetic", Agent.make("clerk", { instructions: "Answer questions." }), {
 *   data: [{ input: "What is 2 + 40?", expected: "42" }],
 *   scorers: [Eval.gate(Eval.includes)]
 * })
 * const test = Eval.run(evaluation).pipe(Effect.flatMap(Eval.check), Effect.provide(DemoModel.layer))
 */
export const check = (report: Report): Effect.Effect<Report, EvalFailed> =>
  report.passed
    ? Effect.succeed(report)
    : Effect.fail(new EvalFailed({ name: report.name, table: Table.table(report, 120) }))

/** The table of a report for people, at most `width` characters wide. Default 100. */
export const toTable = (report: Report, options: { readonly width?: number | undefined } = {}): string =>
  Table.table(report, widthOf("Eval.toTable", options))

const knownOfTable: ReadonlySet<string> = new Set(["width"])

const widthOf = (subject: string, options: { readonly width?: number | undefined }): number => {
  assertOptions(subject, options, knownOfTable)
  return countOf(subject, "width", options.width ?? 100)
}

/** The report as JUnit's XML, which most build servers show: a suite for each runner, a test for each case and each gate of a mean. */
export const toJUnit = (report: Report): string => Table.junit(report)

const reportText = Schema.fromJsonString(Report)
const encodeReport = Schema.encodeSync(reportText)
/** The report as JSON text. */
export const toJson = (report: Report): string => encodeReport(report)

/** Reads what {@link toJson} wrote. Fails with `SchemaError` for anything else. */
export const fromJson: (text: string) => Effect.Effect<Report, Schema.SchemaError> = Schema.decodeEffect(reportText)

/**
 * Compares two reports: for each runner and scorer the means over the cases that both have, what became better and worse, and how
 * likely such a change is by chance. Runners are found by name. {@link compareRunners} compares two runners of one report.
 *
 * @example
 * import type { Eval } from "troupe"
 * import { Eval as E } from "troupe"
 *
 * const shown = (before: Eval.Report, after: Eval.Report) => E.comparisonTable(E.compare(before, after))
 */
export const compare = (before: Report, after: Report): Compare.Comparison => Compare.compare(before, after)

/** The table of a comparison for people, at most `width` characters wide. Default 100. */
export const comparisonTable = (
  comparison: Compare.Comparison,
  options: { readonly width?: number | undefined } = {}
): string => Compare.comparisonTable(comparison, widthOf("Eval.comparisonTable", options))

/**
 * Makes a scorer of a function, with a name and options of its own. A plain function among `scorers` is the same, under the
 * function's name, and its argument has the types of the evaluation; here they are written down where they are needed.
 *
 * @example
 * import { Eval } from "troupe"
 *
 * const short = Eval.scorer("short", ({ output }: Eval.Scored<unknown, string>) => output.length < 200)
 * const cheap = Eval.scorer("cheap", ({ spent }) => spent.tokens < 2000, { onFailure: "score" })
 */
export const scorer = <
  I = unknown,
  A = unknown,
  X = unknown,
  Out extends ReturnType<ScorerFunction<I, A, X>> = boolean
>(
  name: string,
  f: (scored: Scored<I, A, X>) => Out,
  options: Scorers.ScorerOptions = {}
  // What the place of the scorer takes is not what the function is: inferred from there, everything would fit.
): Scorers.Scorer<NoInfer<I>, NoInfer<A>, NoInfer<X>, ServicesIn<NoInfer<Out>>> =>
  Scorers.fromFunction(name, f, options) as Scorers.Scorer<I, A, X, ServicesIn<Out>>

/** The same scorer under another name: two of one kind in one evaluation need two names. */
export const named = <I, A, X, R>(self: Scorers.Scorer<I, A, X, R>, name: string): Scorers.Scorer<I, A, X, R> => {
  assertName("a scorer", name, 'Write Eval.named(scorer, "name")')
  return Scorers.make({ ...self, name })
}

/**
 * Makes the evaluation fail unless the scores of a scorer hold: `each` is the least of every case, `mean` the least of the mean.
 * Default: `{ each: 1 }`. Throws `InvalidDefinition` for numbers beyond 0 to 1.
 *
 * @example
 * import { Eval } from "troupe"
 *
 * const gates = [Eval.gate(Eval.noToolFailures), Eval.gate(Eval.includes, { mean: 0.8 })]
 */
export const gate = <S extends Scorers.Scorer<never, never, never, unknown> | ScorerFunction<never, never, never>>(
  scorer: S,
  at: Gate = { each: 1 }
): GateOf<S> => {
  const [made] = Scorers.scorersOf("Eval.gate", [scorer])
  const subject = `gate of "${made!.name}"`
  assertOptions(subject, at, new Set(["each", "mean"]))
  const bounds = [at.each, at.mean].filter((one) => one !== undefined)
  if (bounds.length === 0 || !bounds.every((one) => one >= 0 && one <= 1)) {
    const remedy = "Give it each or mean, a number from 0 to 1: Eval.gate(scorer, { mean: 0.8 })"
    throw new InvalidDefinition({ subject, problem: "it has no bound from 0 to 1", remedy })
  }
  return Scorers.make({ ...made!, gate: at }) as GateOf<S>
}

/** A scorer with a gate. */
export type GateOf<S> =
  S extends Scorers.Scorer<never, never, never, unknown>
    ? S
    : S extends (scored: Scored<infer I, infer A, infer X>) => infer Out
      ? Scorers.Scorer<I, A, X, ServicesIn<Out>>
      : never

/**
 * Has a runner judge: an agent with an output schema, such as one of a number `score` and a text `reason`. What it fails with is
 * the failure of the scorer. Throws `InvalidDefinition` for what is not a runner.
 *
 * @example
 * import { Schema } from "effect"
 * import { Agent, Eval, OpenAi, Runner } from "troupe"
 *
 * const judge = Agent.make("judge", {
 *   instructions: "Judge whether the output answers the input politely. Give a score from 0 to 1, and the reason first.",
 *   output: Schema.Struct({ reason: Schema.String, score: Schema.Finite })
 * })
 * const polite = Eval.judge("polite", Runner.provide(judge, OpenAi.layer({ model: "gpt-4.1" })))
 */
export const judge: {
  <Judged, E, R>(
    name: string,
    runner: Runner.Runner<string, Judged, E, R>,
    options?: Omit<OutputScorers.JudgeOptions<unknown, unknown, unknown, string, Judged>, never>
  ): Scorers.Scorer<unknown, unknown, unknown, R>
  <I, A, X, Asked, Judged, E, R>(
    name: string,
    runner: Runner.Runner<Asked, Judged, E, R>,
    options: OutputScorers.JudgeOptions<I, A, X, Asked, Judged> & {
      readonly prompt: (scored: Scored<I, A, X>) => Asked
    }
  ): Scorers.Scorer<I, A, X, R>
} = OutputScorers.judge

/** Whether the output, as JSON, is what is expected. No score for a case without `expected`. */
export const exact = OutputScorers.exact
/** Whether the output, as text, holds the expected text, or each of several, in any case of letters. */
export const includes = OutputScorers.includes
/**
 * Whether the output fits a schema: its JSON, or a text that is JSON. Throws `InvalidDefinition` for a schema without a JSON form.
 *
 * @example
 * import { Schema } from "effect"
 * import { Eval } from "troupe"
 *
 * const person = Eval.matches(Schema.Struct({ name: Schema.String, age: Schema.Int }), { name: "a person" })
 */
export const matches: (
  schema: Schema.Top,
  options?: { readonly name?: string | undefined }
) => Scorers.Scorer<unknown, unknown, unknown> = OutputScorers.matches

export { atMost, noRepeatedCalls, noToolFailures, toolCalled, trajectory } from "./internal/eventScorers.ts"
export { conversation, user } from "./internal/conversation.ts"
export { sampling } from "./internal/sampling.ts"

/**
 * The cases of a file: a list in a `.json` file, or a case a line. Each has an `input` and may have `expected`, `name` and
 * `metadata`. The file is read as cases are needed. Fails with `EvalDataError`, which says the line.
 *
 * @example
 * import { Schema } from "effect"
 * import { Agent, Eval } from "troupe"
 *
 * const evaluation = Eval.make("questions", Agent.make("clerk", { instructions: "Answer questions." }), {
 *   data: Eval.fromFile("questions.ndjson", { expected: Schema.String }),
 *   scorers: [Eval.includes]
 * })
 */
export const fromFile = <I = string, X = Schema.Json>(
  file: string,
  options: Data.FileOptions<I, X> = {}
): Stream.Stream<Case<I, X>, Data.DataError, FileSystem.FileSystem> => Data.fromFile(file, options)

/**
 * Cases of the runs that a `TraceStore` has, the newest first: the text that a conversation began with, and what was answered as
 * `expected`. Runs that began with more than a text are left out. Fails with `StoreError`.
 *
 * @example
 * import { Agent, Eval } from "troupe"
 *
 * const evaluation = Eval.make("as before", Agent.make("clerk", { instructions: "Answer questions." }), {
 *   data: Eval.fromTraces({ runner: "clerk", status: "completed", limit: 50 }),
 *   scorers: [Eval.exact]
 * })
 */
export const fromTraces = (
  options: Data.TraceOptions = {}
): Stream.Stream<Case<string, Schema.Json>, StoreError, TraceStore> => Data.fromTraces(options)

/**
 * Keeps runs and scores in a `KeyValueStore` of `effect/persistence`, for evaluations below it: one that is run again, or that was
 * stopped, does only what is left. Runs that failed are run again.
 *
 * A run is the same where the case, the model in the context and the definition of the runner are: names, instructions, tools with
 * their parameters, output, limits. A score is the same where the run, what is expected and the text of the scorer are. What
 * cannot be seen (the code of a tool, a model of `Runner.provide`) is distinguished by `version`.
 *
 * @example
 * import { NodeServices } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { KeyValueStore } from "effect/persistence"
 * import { Eval } from "troupe"
 *
 * const Kept = Eval.cache.pipe(Layer.provide(KeyValueStore.layerFileSystem(".evals")), Layer.provide(NodeServices.layer))
 */
export const cache: Layer.Layer<never, never, KeyValueStore.KeyValueStore> = Layer.effect(
  Cache.CurrentCache,
  Cache.Store
)

/** How the data of an evaluation can fail. */
export type Error<V> = V extends Eval<infer E, infer _R> ? E : never
/** The services that an evaluation needs. */
export type Services<V> = V extends Eval<infer _E, infer R> ? R : never
