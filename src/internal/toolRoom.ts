/**
 * Room for calls inside of a tool: what a tool that runs a program, such as code of the model's, calls other tools through. Such
 * a call goes the loop's one way, as one that the model has asked for: middleware, approval, budgets, journal, limits, events
 * and spans. Its events have the `parentToolCallId` of the tool's own call, and its id is that one and a number.
 *
 * A tool's code reads {@link CurrentRoom}, which is `undefined` outside of a tool call of an agent, as where an MCP server serves
 * the tool. It must begin its calls in the same order whenever it is run with the same arguments, because they are counted.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Any as AgentTool } from "../AgentTool.ts"

/** The outcome of a call. */
export interface RoomOutcome {
  readonly tool: string
  readonly toolCallId: string
  /** What a model would see of it. */
  readonly result: Schema.Json
  /** True for a tool that failed, was denied or was not called. */
  readonly isFailure: boolean
}

/** Makes calls of tools inside of a tool call. */
export interface Room {
  /** The id of the call that they are made in. */
  readonly toolCallId: string
  /**
   * Calls a tool: one that carries its handler, or one of the agent's own by its name. Succeeds with the outcome also where the
   * tool failed, was denied, does not exist, or is beyond a limit. A call that would have to wait for an approval from elsewhere
   * is refused, because the tool could not go on in its middle. Fails with a {@link RoomFailure} where the failure is one of the
   * run (`failureMode: "error"`): a tool that fails with it, too, fails the run.
   */
  readonly call: (tool: AgentTool | string, params: unknown) => Effect.Effect<RoomOutcome, RoomFailure>
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

/** The room of the tool call that the fiber works for. */
export const CurrentRoom: Context.Reference<Room | undefined> = Context.Reference<Room | undefined>(
  "troupe/internal/ToolRoom",
  { defaultValue: () => undefined }
)
