/** The report of an evaluation: plain JSON with a schema, so that it is kept, compared and rendered anywhere. */
import * as Schema from "effect/Schema"
import type { Gate } from "./types.ts"

const ScoreReport = Schema.Struct({
  scorer: Schema.String,
  /** From 0 to 1; `null` where the scorer could not say, or failed. */
  score: Schema.NullOr(Schema.Finite),
  reason: Schema.optionalKey(Schema.String),
  metadata: Schema.optionalKey(Schema.Json),
  /** The scorer failed. */
  error: Schema.optionalKey(Schema.String)
})

const GateReport = Schema.Struct({
  each: Schema.optionalKey(Schema.Finite),
  mean: Schema.optionalKey(Schema.Finite)
})

const SpendingReport = {
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  steps: Schema.Finite,
  toolCalls: Schema.Finite,
  /** US dollars; absent where a price is not known. */
  cost: Schema.optionalKey(Schema.Finite),
  durationMs: Schema.Finite
}

/** One run of one case. */
export const CaseReport = Schema.Struct({
  /** Finds the case again in another report. */
  id: Schema.String,
  name: Schema.String,
  /** Which run of the case it is, counted from 1. */
  trial: Schema.Int,
  status: Schema.Literals(["completed", "failed"]),
  input: Schema.Json,
  expected: Schema.optionalKey(Schema.Json),
  metadata: Schema.optionalKey(Schema.Json),
  output: Schema.optionalKey(Schema.Json),
  /** What the run failed with. */
  error: Schema.optionalKey(Schema.Struct({ tag: Schema.String, message: Schema.String })),
  scores: Schema.Array(ScoreReport),
  runId: Schema.optionalKey(Schema.String),
  /** Taken from what was kept, and not run again. */
  cached: Schema.Boolean,
  ...SpendingReport
})
/** One run of one case. */
export interface CaseReport extends Schema.Schema.Type<typeof CaseReport> {}

/** One scorer over all cases of a runner. */
export const ScorerReport = Schema.Struct({
  scorer: Schema.String,
  /** The mean of the scores; `null` without any. */
  mean: Schema.NullOr(Schema.Finite),
  /** How many scores there are. */
  scored: Schema.Int,
  /** On how many cases the scorer failed. */
  failed: Schema.Int,
  gate: Schema.optionalKey(GateReport),
  /** Whether the gate holds; true without one. */
  passed: Schema.Boolean
})
/** One scorer over all cases of a runner. */
export interface ScorerReport extends Schema.Schema.Type<typeof ScorerReport> {}

/** One runner over all cases. */
export const RunnerReport = Schema.Struct({
  runner: Schema.String,
  fingerprint: Schema.String,
  scorers: Schema.Array(ScorerReport),
  /** How many runs failed. */
  failed: Schema.Int,
  cases: Schema.Array(CaseReport),
  ...SpendingReport
})
/** One runner over all cases. */
export interface RunnerReport extends Schema.Schema.Type<typeof RunnerReport> {}

/** The report of an evaluation. */
export const Report = Schema.Struct({
  v: Schema.Literal(1),
  name: Schema.String,
  /** When it began, in milliseconds since the epoch. */
  at: Schema.Finite,
  durationMs: Schema.Finite,
  runners: Schema.Array(RunnerReport),
  /** How many runs may fail. */
  maxFailures: Schema.Int,
  /** Whether every gate holds, and no more runs failed than may. */
  passed: Schema.Boolean
})
/** The report of an evaluation. */
export interface Report extends Schema.Schema.Type<typeof Report> {}

type Scorer = { readonly name: string; readonly gate: Gate | undefined }

/** The report on one runner. */
export const ofRunner = (
  runner: string,
  fingerprint: string,
  cases: ReadonlyArray<CaseReport>,
  scorers: ReadonlyArray<Scorer>
): RunnerReport => {
  const sum = (field: "inputTokens" | "outputTokens" | "steps" | "toolCalls" | "durationMs") =>
    cases.reduce((total, one) => total + one[field], 0)
  const isPriced = cases.every(({ cost }) => cost !== undefined)
  return {
    runner,
    fingerprint,
    scorers: scorers.map((scorer) => ofScorer(scorer, cases)),
    failed: cases.filter(({ status }) => status === "failed").length,
    cases,
    inputTokens: sum("inputTokens"),
    outputTokens: sum("outputTokens"),
    steps: sum("steps"),
    toolCalls: sum("toolCalls"),
    ...(isPriced ? { cost: cases.reduce((total, one) => total + one.cost!, 0) } : {}),
    durationMs: sum("durationMs")
  }
}

const ofScorer = ({ gate, name }: Scorer, cases: ReadonlyArray<CaseReport>): ScorerReport => {
  const all = cases.flatMap(({ scores }) => scores.filter(({ scorer }) => scorer === name))
  const scores = all.flatMap(({ score }) => score ?? [])
  const failed = all.filter(({ error }) => error !== undefined).length
  const mean = scores.length === 0 ? null : scores.reduce((sum, one) => sum + one, 0) / scores.length
  const holds =
    failed === 0 &&
    scores.length > 0 &&
    (gate?.each === undefined || (scores.length === all.length && scores.every((one) => one >= gate.each!))) &&
    (gate?.mean === undefined || mean! >= gate.mean)
  return {
    scorer: name,
    mean,
    scored: scores.length,
    failed,
    ...(gate === undefined ? {} : { gate: gateOf(gate) }),
    passed: gate === undefined || holds
  }
}

const gateOf = ({ each, mean }: Gate): typeof GateReport.Type => ({
  ...(each === undefined ? {} : { each }),
  ...(mean === undefined ? {} : { mean })
})

/** Whether an evaluation passes. */
export const passes = (runners: ReadonlyArray<RunnerReport>, maxFailures: number): boolean =>
  runners.every(({ scorers }) => scorers.every(({ passed }) => passed)) &&
  runners.reduce((sum, { failed }) => sum + failed, 0) <= maxFailures
