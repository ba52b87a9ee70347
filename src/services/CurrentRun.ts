/** The current run: the Reference that a run sets for the code inside of it, and the id of its conversation. */
import * as Context from "effect/Context"

/** Information about a run, for a tool, a middleware or any code inside of it. */
export interface RunInfo {
  /**
   * The run's own id. That of a root is random, or given by a journal; that of a nested run is made of its place, as in
   * `run_x/[left]/writer` or `run_x/2/call_1/writer#2`, and so is the same whenever the root is made again under its id.
   */
  readonly runId: string
  /** The id of the run at the root of the tree; the same as `runId` for a root. */
  readonly rootId: string
  /** The names of the runners from the root to this one. */
  readonly path: ReadonlyArray<string>
  /** The conversation the run belongs to; the root run's id unless {@link ConversationId} says otherwise. */
  readonly conversationId: string
  /** The step under way, counted from 1; `undefined` outside of an agent's step. */
  readonly step: number | undefined
  /** The tool call under way. */
  readonly toolCallId: string | undefined
  /**
   * The same for every attempt at one tool call and different for every other: hand it to systems that must not act
   * twice. It has at most 200 characters. `undefined` outside of a tool call.
   */
  readonly idempotencyKey: string | undefined
}

/** Holds the {@link RunInfo} of the current fiber. Read it through `Runner.current`. */
export const CurrentRun: Context.Reference<RunInfo | undefined> = Context.Reference<RunInfo | undefined>(
  "troupe/CurrentRun",
  { defaultValue: () => undefined }
)

/** The id that spans and sessions use for the conversation (`gen_ai.conversation.id`). Unset: the root run's id. */
export const ConversationId: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "troupe/ConversationId",
  { defaultValue: () => undefined }
)
