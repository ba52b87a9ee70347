/**
 * Port to what keeps the outcomes of a run's steps, so that the run can go on elsewhere: a durable engine provides one.
 * The default, {@link none}, runs each step and keeps nothing.
 *
 * A run that is made again with the same journal does again what is not a step, such as middleware and functions of users; its
 * steps give what they gave before. What is kept, and the outermost place of each: model calls (all attempts of one call
 * together; the whole turn), calls of tools that are not runners, decisions (the winner of a race or a quorum, approvals, what
 * a `ToolSource` lists, Effects in `instructions` and `stopWhen`, how a time limit ended), and `Step.run`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"

/** A piece of work whose outcome is kept. */
export interface Step {
  /** Names the step by its place in the tree of runs: equal in every replay, never made of time or chance. */
  readonly key: string
  readonly kind: "model" | "tool" | "decision" | "effect" | "compensation"
  /** The model, the tool, the decision or the effect, for people. */
  readonly name: string
  /** True when a step whose outcome is not known can be run again unasked: model calls, read-only and idempotent tools. */
  readonly idempotent: boolean
}

/** Keeps the outcomes of steps. One journal is of one root run. */
export interface Journal {
  /** The id of the root run; `undefined` lets the run make one. */
  readonly rootId: string | undefined
  /**
   * Returns the kept outcome of `step`, or runs `effect` and keeps what it succeeds or fails with. `effect` runs in the context
   * of the fiber that calls this. Nothing is kept of an exit that only suspends, is interrupted, or is a defect: a defect is
   * passed on, and the step runs again when the run is made again.
   */
  readonly run: (step: Step, effect: Effect.Effect<Schema.Json, Schema.Json>) => Effect.Effect<Schema.Json, Schema.Json>
  /** True while fibers are interrupted because the run goes to sleep: such an interruption is not a failure. */
  readonly suspending: Effect.Effect<boolean>
  /** Puts the run to sleep. */
  readonly suspend: Effect.Effect<never>
  /**
   * Returns what `step` succeeded with, if that is kept, and runs nothing. Decisions are looked up by it before what they decide
   * on begins: with it the losers of a race do not begin again, and a decision that takes days can itself sleep. It is then kept
   * by `run` of an Effect that only succeeds. Unset: a decision is made inside of `run`.
   */
  readonly kept?: ((step: Step) => Effect.Effect<Option.Option<Schema.Json>>) | undefined
  /**
   * Waits for what is sent to the run under `step.name`, and keeps it. `problemWith` says what is wrong with a payload, for a
   * journal that can refuse it and wait on; what does not fit is otherwise a defect of the run. Unset: the journal has no
   * signals, and `Step.signal` fails with `NotDurable`.
   */
  readonly signal?:
    | ((step: Step, problemWith: (payload: Schema.Json) => string | undefined) => Effect.Effect<Schema.Json>)
    | undefined
  /**
   * Returns the decisions of this name that earlier executions of the run have kept. Unset: what had finished in the run, and is not
   * made again before the run fails, is not undone.
   */
  readonly earlier?:
    | ((name: string) => ReadonlyArray<{ readonly key: string; readonly value: Schema.Json }>)
    | undefined
  /** True once the run has failed although its fibers are only interrupted. Unset: it never is. */
  readonly hasFailed?: (() => boolean) | undefined
  /** Waits as long, from the first time on that this is called for the step. Unset: the run waits in its process. */
  readonly sleep?: ((step: Step, duration: Duration.Duration) => Effect.Effect<void>) | undefined
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
