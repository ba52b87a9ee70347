/** Makes calls inside of a tool call, the loop's one way. What a room is for is in `internal/toolRoom.ts`. */
import * as Effect from "effect/Effect"
import type { Any as AgentTool } from "../../AgentTool.ts"
import { toJson } from "../../internal/json.ts"
import { type Room, RoomFailure, type RoomOutcome } from "../../internal/toolRoom.ts"
import { executeWithin } from "./modelBudget.ts"
import type { Outcome, StepRecord, ToolCallContext } from "./toolCallSteps.ts"
import { execute } from "./toolExecution.ts"
import { crashed, Failure } from "./toolFailure.ts"
import type { Call } from "./turnCollector.ts"

/** The room of one tool call. */
export const makeRoom = (context: ToolCallContext): Room => {
  let count = 0
  return {
    toolCallId: context.call.id,
    call: (tool, params) =>
      Effect.suspend(() => {
        const id = `${context.call.id}/${++count}`
        return callIn(context, tool, { id, name: typeof tool === "string" ? tool : tool.name, params })
      })
  }
}

const callIn = (
  context: ToolCallContext,
  tool: AgentTool | string,
  call: Call
): Effect.Effect<RoomOutcome, RoomFailure> => {
  const { state, step, tools } = context
  const outcome = (result: RoomOutcome["result"], isFailure: boolean): RoomOutcome => ({
    tool: call.name,
    toolCallId: call.id,
    result,
    isFailure
  })
  if (context.isOver) {
    return Effect.succeed(outcome({ error: "not executed: the call that it belongs to has ended" }, true))
  }
  const beyond = tools.countCall()
  const own = beyond === undefined ? call : { ...call, refused: beyond }
  const byName = typeof tool === "string" ? tools.byName : new Map(tools.byName).set(tool.name, tool)
  const make = (call: Call) => {
    const report = state.bill.addToolCall(step, call.id, call.name)
    const record: StepRecord = { failures: [], results: new Map() }
    const inner = { ...tools, byName, resumed: new Map<string, never>() }
    const given = { call, step, tools: inner, state, record, report, parent: context.call.id }
    const announced = state.events.emit({ ...eventOf(context, call), _tag: "ToolCalled", params: toJson(call.params) })
    const ended = Effect.onInterrupt(execute(given), () =>
      record.results.has(call) ? Effect.void : broken(context, call)
    )
    return Effect.andThen(announced, ended).pipe(
      Effect.matchEffect({
        onSuccess: (made) => settled(context, made, outcome),
        onFailure: (failure: unknown) => {
          // A middleware of the call has failed the run.
          if (record.stopped !== undefined) context.record.stopped ??= record.stopped
          const { cause, result } = failure instanceof Failure ? failure : crashed(failure)
          return Effect.fail(new RoomFailure(outcome(result, true), cause))
        }
      })
    )
  }
  const { budget, info } = state
  if (budget === undefined) return make(own)
  return executeWithin(budget, tools.answering, [own], info, (calls) => make(calls[0]!))
}

const eventOf = ({ call, step }: ToolCallContext, { id, name }: Call) => ({
  step,
  toolCallId: id,
  tool: name,
  parentToolCallId: call.id
})

/** A call that was interrupted with its tool has an outcome, because the run may go on: the tool may only be late. */
const broken = (context: ToolCallContext, call: Call): Effect.Effect<void> => {
  const result = { error: "interrupted with the call that it belongs to" }
  return context.state.events.emit({ ...eventOf(context, call), _tag: "ToolFailed", result, durationMs: 0 }, false)
}

const settled = (
  context: ToolCallContext,
  made: Outcome,
  outcome: (result: RoomOutcome["result"], isFailure: boolean) => RoomOutcome
): Effect.Effect<RoomOutcome> => {
  if ("part" in made) return Effect.succeed(outcome(made.result, made.isFailure))
  const error =
    "not executed: it waits for a decision from elsewhere, and a call inside of another tool cannot wait for one. Provide Approvals.layer, which answers while it runs, or call the tool directly."
  const { call } = made
  return Effect.as(
    context.state.events.emit({ ...eventOf(context, call), _tag: "ToolFailed", result: { error }, durationMs: 0 }),
    outcome({ error }, true)
  )
}
