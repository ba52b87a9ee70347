/** Makes calls inside of a tool call, the loop's one way. What a room is for is in `internal/toolRoom.ts`. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import type { Any as AgentTool } from "../../AgentTool.ts"
import type { ToolCallEntry } from "../../internal/bill.ts"
import { thereAgain } from "../../internal/compensation.ts"
import { toJson } from "../../internal/json.ts"
import { notedBy } from "../../internal/resumption.ts"
import { insideWaits, type Resumed } from "../../internal/suspension.ts"
import { type Room, RoomFailure, type RoomOutcome, RoomSuspension, type RoomWait } from "../../internal/toolRoom.ts"
import { InvalidApproval } from "../../RunError.ts"
import { CurrentJournal } from "../../services/Journal.ts"
import { executeWithin } from "./modelBudget.ts"
import { resumedCalls } from "./toolApproval.ts"
import type { Outcome, StepRecord, ToolCallContext } from "./toolCallSteps.ts"
import { calledIn, execute } from "./toolExecution.ts"
import { crashed, Failure } from "./toolFailure.ts"
import type { Call } from "./turnCollector.ts"

type Resumption = ReadonlyMap<string, Resumed>
const nothingResumed: Resumption = new Map()

/** The room of one tool call. */
export const makeRoom = (context: ToolCallContext): Room => new RoomOf(context)

/** A class, because each tool call has one and few use it. */
class RoomOf implements Room {
  readonly #context: ToolCallContext
  #resumed = nothingResumed
  #received: Set<Tool.Any> | undefined

  constructor(context: ToolCallContext) {
    this.#context = context
  }

  get toolCallId(): string {
    return this.#context.call.id
  }

  get kept(): Room["kept"] {
    return this.#context.resumed?.inside?.kept
  }

  resume(toolNamed: Parameters<Room["resume"]>[0]): ReturnType<Room["resume"]> {
    return Effect.matchEffect(checked(this.#context, toolNamed), {
      onFailure: (error) => refused(this.#context, error),
      onSuccess: (calls) =>
        Effect.sync(() => {
          this.#resumed = calls
        })
    })
  }

  refuse(problem: string): ReturnType<Room["refuse"]> {
    const { call, info, resumed } = this.#context
    const approvalId = resumed?.approvalId ?? call.id
    const error = new InvalidApproval({ path: info.path, approvalId, tool: call.name, reason: "changed", problem })
    return refused(this.#context, error)
  }

  call(n: number, tool: AgentTool | string, params: unknown): ReturnType<Room["call"]> {
    return Effect.suspend(() => {
      const call = { id: `${this.toolCallId}/${n}`, name: typeof tool === "string" ? tool : tool.name, params }
      return callIn({ ...this.#context, received: this.#received }, tool, call, this.#resumed.get(call.id))
    })
  }

  beforeInterrupt(ns: ReadonlyArray<number>): Effect.Effect<void> {
    const { state, step } = this.#context
    return thereAgain(ns.map((n) => state.place.within(step, `${this.toolCallId}/${n}`)))
  }

  received(tool: Tool.Any): void {
    // Calls that were begun before keep what was received until then.
    if (this.#received?.has(tool) !== true) this.#received = new Set(this.#received).add(tool)
  }

  suspend(...[kept, waits]: Parameters<Room["suspend"]>): ReturnType<Room["suspend"]> {
    return Effect.withFiber((fiber) =>
      Effect.fail(new RoomSuspension(insideWaits(kept, waits, notedBy(fiber, this.#context.state))))
    )
  }
}

/** What was answered to the calls that waited, by their ids. */
const checked = (
  { info, resumed, tools }: ToolCallContext,
  toolNamed: (name: string) => Tool.Any | undefined
): Effect.Effect<Resumption, InvalidApproval> =>
  resumedCalls(resumed?.inside?.calls ?? [], toolNamed, info.path, tools.middleware !== undefined)

/** Fails the run with an error that is not one of a tool. */
const refused = ({ call, record }: ToolCallContext, error: InvalidApproval): Effect.Effect<never, RoomFailure> =>
  Effect.suspend(() => {
    record.stopped ??= Cause.fail(error) as Cause.Cause<never>
    return Effect.fail(new RoomFailure(outcomeOf(call, { error: error.message }, true), error))
  })

const outcomeOf = ({ id, name }: RoomWait["call"], result: RoomOutcome["result"], isFailure: boolean): RoomOutcome => ({
  tool: name,
  toolCallId: id,
  result,
  isFailure
})

const callIn = (
  context: ToolCallContext,
  tool: AgentTool | string,
  call: Call,
  resumed: Resumed | undefined
): Effect.Effect<RoomOutcome | RoomWait, RoomFailure> => {
  const { state, step, tools } = context
  if (context.isOver) {
    return Effect.succeed(outcomeOf(call, { error: "not executed: the call that it belongs to has ended" }, true))
  }
  const beyond = tools.countCall()
  const own = beyond === undefined ? call : { ...call, refused: beyond }
  const byName = typeof tool === "string" ? tools.byName : new Map(tools.byName).set(tool.name, tool)
  const make = (call: Call) => {
    const report = state.bill.addToolCall(step, call.id, call.name)
    const record: StepRecord = { failures: [], results: new Map() }
    const known = resumed === undefined ? nothingResumed : new Map([[call.id, resumed]])
    const inner = { ...tools, byName, resumed: known }
    const { received } = context
    const given = { call, step, tools: inner, state, record, report, parent: context.call.id, received }
    const announced = calledIn(byName.get(call.name), (where) =>
      state.events.emit({ ...eventOf(context, call), _tag: "ToolCalled", params: toJson(call.params), ...where })
    )
    const ended = Effect.onInterrupt(execute(given), () =>
      record.results.has(call) ? Effect.void : brokenOff(context, call)
    )
    return Effect.andThen(announced, ended).pipe(
      Effect.matchEffect({
        onSuccess: (made) => Effect.succeed(settled(context, made, report)),
        onFailure: (failure: unknown) => {
          // A middleware of the call has failed the run.
          if (record.stopped !== undefined) context.record.stopped ??= record.stopped
          const { cause, result } = failure instanceof Failure ? failure : crashed(failure)
          // It interrupts the others.
          const failed = Effect.fail(new RoomFailure(outcomeOf(call, result, true), cause))
          return Effect.andThen(thereAgain([state.place.within(step)]), failed)
        }
      })
    )
  }
  const { budget, info } = state
  if (budget === undefined) return make(own)
  return executeWithin(budget, tools.answering, [own], info, (calls) => make(calls[0]!))
}

const eventOf = ({ call, step }: ToolCallContext, { id, name }: RoomWait["call"]) => ({
  step,
  toolCallId: id,
  tool: name,
  parentToolCallId: call.id
})

/** A call that was interrupted with its tool has an outcome, because the run may go on: the tool may only be late. */
const brokenOff = (context: ToolCallContext, call: Call): Effect.Effect<unknown> =>
  Effect.flatMap(CurrentJournal, ({ suspending }) =>
    Effect.flatMap(suspending, (asleep) =>
      asleep ? Effect.void : end(context, call, "interrupted with the call that it belongs to")
    )
  )

/** Ends a call without an outcome of its own. */
const end = (context: ToolCallContext, call: Call, why: string): Effect.Effect<RoomOutcome> => {
  const result = { error: why }
  const ended = { ...eventOf(context, call), _tag: "ToolFailed", result, durationMs: 0 } as const
  return Effect.as(context.state.events.emit(ended, false), outcomeOf(call, result, true))
}

const settled = (context: ToolCallContext, made: Outcome, report: ToolCallEntry): RoomOutcome | RoomWait => {
  const { call } = made
  if ("part" in made) return outcomeOf(call, made.result, made.isFailure)
  const drop = (why: string) =>
    Effect.suspend(() => {
      report.mark("not-started")
      return end(context, call, why)
    })
  return { call, waiting: made.waiting, drop }
}
