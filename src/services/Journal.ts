/**
 * Port to what keeps the outcomes of a run's steps, so that the run can go on elsewhere: a durable engine provides one.
 * The default, {@link none}, runs each step and keeps nothing.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"

/** A piece of work whose outcome is kept. */
export interface Step {
  /** Names the step by its place in the tree of runs: equal in every replay, never made of time or chance. */
  readonly key: string
  readonly kind: "model" | "tool" | "decision" | "effect"
  /** The model, the tool, the decision or the effect, for people. */
  readonly name: string
  /** True when a step whose outcome is not known can be run again unasked: model calls, read-only and idempotent tools. */
  readonly idempotent: boolean
}

/** Keeps the outcomes of steps. */
export interface Journal {
  /** The id of the root run; `undefined` lets the run make one. */
  readonly rootId: string | undefined
  /**
   * Gives the kept outcome of `step`, or runs `effect` and keeps what it succeeds or fails with. Nothing is kept of an
   * exit that only suspends or is interrupted.
   */
  readonly run: (step: Step, effect: Effect.Effect<Schema.Json, Schema.Json>) => Effect.Effect<Schema.Json, Schema.Json>
  /** True while fibers are interrupted because the run goes to sleep: such an interruption is not a failure. */
  readonly suspending: Effect.Effect<boolean>
  /** Puts the run to sleep. */
  readonly suspend: Effect.Effect<never>
}

/** Runs every step and keeps nothing. */
export const none: Journal = {
  rootId: undefined,
  run: (_step, effect) => effect,
  suspending: Effect.succeed(false),
  suspend: Effect.interrupt
}

/** The journal of the current fiber. Default: {@link none}, which is also what a journaled step sees inside of it. */
export const CurrentJournal: Context.Reference<Journal> = Context.Reference<Journal>("troupe/Journal", {
  defaultValue: () => none
})
