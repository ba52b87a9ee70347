/** The words of an evaluation: cases, what a scorer is given, and what it gives. */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { RunEvent } from "../../RunEvent.ts"

/** One case of a data set. */
export interface Case<out I, out X = unknown> {
  readonly input: I
  /** What scorers compare the output with. */
  readonly expected?: X | undefined
  /** Shows in the report, and finds the case again in another one. Default: made of the input. */
  readonly name?: string | undefined
  /** Anything else that scorers look at; it is part of the report. */
  readonly metadata?: Schema.Json | undefined
}

/** What a run has used, nested runs included. */
export interface Spending {
  readonly inputTokens: number
  readonly outputTokens: number
  /** Input and output. */
  readonly tokens: number
  readonly steps: number
  /** Tool calls that were made, of the run and of those nested in it. */
  readonly toolCalls: number
  /** US dollars, by `Prices`; `undefined` where a model's price is not known. */
  readonly cost: number | undefined
  readonly durationMs: number
}

/** What a scorer is given: a case, and the run that was made of it. */
export interface Scored<out I = unknown, out A = unknown, out X = unknown> {
  readonly input: I
  /** What the run gave. A scorer that has `onFailure: "score"` is given `undefined` for a run that failed. */
  readonly output: A
  /** Absent for a case without one. */
  readonly expected?: X
  readonly metadata: Schema.Json | undefined
  /** The output as JSON. */
  readonly outputJson: Schema.Json
  /**
   * The events of the run and of the runs nested in it, in their order: without deltas of text, reasoning and arguments, without
   * what retries have made void, and at most 5,000.
   */
  readonly events: ReadonlyArray<RunEvent>
  readonly spent: Spending
}

/** What a scorer gives: a number from 0 to 1, whether it is right, or `null` where it cannot say. `autoevals` gives the object. */
export type Verdict =
  | number
  | boolean
  | null
  | {
      readonly score: number | boolean | null
      /** Why, for the report. */
      readonly reason?: string | undefined
      readonly metadata?: unknown
    }

/** A function that scores. It may give a promise or an Effect. */
export type ScorerFunction<in I, in A, in X> = (
  scored: Scored<I, A, X>
) => Verdict | PromiseLike<Verdict> | Effect.Effect<Verdict, unknown, unknown>

/**
 * What scores have to be for an evaluation to pass. `each`: the score of each case is at least this. `mean`: the mean over all
 * cases is at least this; a run that failed counts as 0. A scorer that fails on a case holds no gate.
 */
export interface Gate {
  readonly each?: number | undefined
  readonly mean?: number | undefined
}
