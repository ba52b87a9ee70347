/**
 * Room for calls inside of a tool: what a tool that runs a program, such as code of the model's, calls other tools through. Such
 * a call goes the loop's one way, as one that the model has asked for: middleware, approval, budgets, journal, limits, events
 * and spans. Its events have the `parentToolCallId` of the tool's own call, and its id is that one and a number.
 *
 * A tool's code reads {@link CurrentRoom}, which is `undefined` outside of a tool call of an agent, as where an MCP server serves
 * the tool. A call inside can wait for an answer from elsewhere; the tool then suspends its own call with what it needs to come to
 * the same place again, and is run again from its start, with that, when the run goes on.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import type * as Schema from "effect/Schema"
import type { Any as AgentTool } from "../AgentTool.ts"
import type { InsideWaits, Waiting } from "./suspension.ts"

/** The outcome of a call. */
export interface RoomOutcome {
  readonly tool: string
  readonly toolCallId: string
  /** What a model would see of it. */
  readonly result: Schema.Json
  /** True for a tool that failed, was denied or was not called. */
  readonly isFailure: boolean
}

/** A call that waits for an answer from elsewhere: it has no outcome yet. */
export interface RoomWait {
  readonly call: { readonly id: string; readonly name: string; readonly params: unknown }
  readonly waiting: Waiting
  /** Ends the call, which the tool no longer needs. `why` is shown where the outcomes of calls are. */
  readonly drop: (why: string) => Effect.Effect<RoomOutcome>
}

/** Makes calls of tools inside of a tool call. */
export interface Room {
  /** The id of the call that they are made in. */
  readonly toolCallId: string
  /** What the tool had kept when the run was suspended in it; `undefined` for one that begins. */
  readonly kept: Schema.Json | undefined
  /**
   * Checks, before any call is made again, that what was answered fits the tools of now. Fails with a {@link RoomFailure}, which fails
   * the run with `InvalidApproval`.
   */
  readonly resume: (toolNamed: (name: string) => Tool.Any | undefined) => Effect.Effect<void, RoomFailure>
  /** Refuses to go on, because what goes on is not what was suspended: fails the run with `InvalidApproval`. */
  readonly refuse: (problem: string) => Effect.Effect<never, RoomFailure>
  /**
   * Makes the `n`th call, counted from 1: of a tool that carries its handler, or of one of the agent's own by its name. One that
   * waited has the number that it had. Succeeds with the outcome also where the tool failed, was denied, does not exist, or is beyond
   * a limit. Fails with a {@link RoomFailure} where the failure is one of the run (`failureMode: "error"`): a tool that fails with
   * it, too, fails the run.
   */
  readonly call: (
    n: number,
    tool: AgentTool | string,
    params: unknown
  ) => Effect.Effect<RoomOutcome | RoomWait, RoomFailure>
  /**
   * Waits, where the run is made again, until what these calls had finished before is known again: then they can be interrupted, and
   * are undone where the run fails.
   */
  readonly beforeInterrupt: (ns: ReadonlyArray<number>) => Effect.Effect<void>
  /** Notes that the tool has received a result of another, which may hold what others wrote. */
  readonly received: (tool: Tool.Any) => void
  /** Suspends the tool's own call: the run waits for what these calls wait for, of which there is one at least. */
  readonly suspend: (kept: Schema.Json, waits: ReadonlyArray<RoomWait>) => Effect.Effect<never, RoomSuspension>
}

/** A failure of a call inside of a tool that fails the run. */
export class RoomFailure extends Error {
  override readonly name = "RoomFailure"
  readonly outcome: RoomOutcome

  constructor(outcome: RoomOutcome, cause: unknown) {
    super(`the tool "${outcome.tool}" (${outcome.toolCallId}) failed: ${JSON.stringify(outcome.result)}`, { cause })
    this.outcome = outcome
  }
}

/** What a tool fails with that is suspended. */
export class RoomSuspension extends Error {
  readonly _tag = "RoomSuspension"
  override readonly name = "RoomSuspension"
  readonly waits: InsideWaits

  constructor(waits: InsideWaits) {
    super("the tool waits for calls inside of it")
    this.waits = waits
  }
}

/** The room of the tool call that the fiber works for. */
export const CurrentRoom: Context.Reference<Room | undefined> = Context.Reference<Room | undefined>(
  "troupe/internal/ToolRoom",
  { defaultValue: () => undefined }
)
