/**
 * The port to runs as things of their own: started, followed, asked for input, interrupted and resumed by their id, by a
 * caller that need not be the one that started them. `layers/server/Runs.ts` is the public module, with a Layer.
 *
 * A run is known by the `runId` of its root. Its events are numbered by `seq`, so a reader can go on after the last one that
 * it has seen.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { RunEvent } from "../RunEvent.ts"
import type { Runner } from "../Runner.ts"

/** Why an engine of runs refuses. */
export class RunsError extends Schema.TaggedError<RunsError>()("RunsError", {
  /**
   * - `unknown-run`: there is no such run, or it has expired;
   * - `full`: the engine takes no further run now;
   * - `events-lost`: the events from there on are not kept any more;
   * - `not-waiting`: the run does not wait for these answers;
   * - `not-listening`: the run takes no input;
   * - `engine`: the engine is out of reach.
   */
  reason: Schema.Literals(["unknown-run", "full", "events-lost", "not-waiting", "not-listening", "engine"]),
  runId: Schema.String,
  problem: Schema.String,
  /** The next step. */
  remedy: Schema.String
}) {
  override get message(): string {
    const which = this.runId === "" ? "" : `run ${this.runId}: `
    return `${which}${this.problem}. ${this.remedy}`
  }
}

/** The state of a run. `suspended`: it waits for answers, see {@link Service.resume}. */
export const Status = Schema.Literals(["running", "suspended", "completed", "failed", "interrupted"])
/** The state of a run. */
export type Status = typeof Status.Type

/** A terminal event. */
export type Ended = Extract<RunEvent, { readonly spent: unknown }>

/** A run as it is now. */
export interface Info {
  readonly runId: string
  /** The name of its runner. */
  readonly runner: string
  readonly status: Status
  /** See {@link StartOptions.owner}. */
  readonly owner: string | undefined
  /** In milliseconds since the epoch. */
  readonly startedAt: number
  /** The `seq` of the first event that is kept. */
  readonly firstSeq: number
  /** The `seq` that the next event will have. */
  readonly nextSeq: number
  /** Its terminal event; `undefined` while it runs. */
  readonly ended: Ended | undefined
  /** The run that went on when this one, suspended, was resumed. */
  readonly resumedAs: string | undefined
}

/** How a run is started. */
export interface StartOptions {
  /** Whom the run belongs to, for those who decide who may see it. It means nothing to the engine. */
  readonly owner?: string | undefined
  /** Whether it goes on when the one who started it is gone. `false`: an engine need not keep it beyond its process. Default true. */
  readonly detached?: boolean | undefined
  /** Whether model calls are streamed, so that the text comes as it is written. Default true. */
  readonly deltas?: boolean | undefined
  /**
   * Whether the run waits for its readers: it is at most some events ahead of the slowest, and waits while it has none.
   * Default false: events that no reader has taken in time are dropped. An engine that cannot wait keeps them.
   */
  readonly paced?: boolean | undefined
}

/** How a run is followed. */
export interface FollowOptions {
  /** The `seq` of the first event; `"now"`: only what comes, the terminal event in any case. Default 0. */
  readonly from?: number | "now" | undefined
}

/** How an input reaches a run: before its next model call, or when it would end. */
export type Delivery = "steer" | "queue"

/** Starts and keeps runs. */
export interface Service {
  /** Starts a run in the engine and gives its id once it has begun. It sees the services and references of the caller. */
  readonly start: <I, A, E, R>(
    runner: Runner<I, A, E, R>,
    input: I,
    options?: StartOptions
  ) => Effect.Effect<string, RunsError, R>
  /** The events of a run up to its terminal one. Ending the stream leaves the run as it is. */
  readonly follow: (runId: string, options?: FollowOptions) => Stream.Stream<RunEvent, RunsError>
  readonly poll: (runId: string) => Effect.Effect<Info, RunsError>
  /** All runs that are kept, the newest first. */
  readonly list: Effect.Effect<ReadonlyArray<Info>, RunsError>
  /** Gives a running conversation a further input. */
  readonly input: (
    runId: string,
    prompt: Prompt.RawInput,
    delivery: Delivery
  ) => Effect.Effect<"delivered" | "undelivered", RunsError>
  /** Interrupts a run, and waits until its finalizers have run. Nothing happens to a run that has ended. */
  readonly interrupt: (runId: string) => Effect.Effect<void, RunsError>
  /**
   * Gives a suspended run up: it takes no answers any more, in any process, and its status is `"interrupted"`. Nothing happens to
   * one that does not wait.
   */
  readonly giveUp: (runId: string) => Effect.Effect<void, RunsError>
  /**
   * Goes on with a suspended run, with a run of its own whose id is returned. `answered` is the transcript of the suspended
   * run with answers in it.
   */
  readonly resume: (runId: string, answered: Prompt.Prompt, options?: StartOptions) => Effect.Effect<string, RunsError>
}

/** Starts runs and keeps them, by their ids. */
export class Runs extends Context.Service<Runs, Service>()("troupe/Runs") {}
