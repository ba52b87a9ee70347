/** Makes one tool call through the middleware that is around tool calls. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { issuesOf } from "../../internal/issues.ts"
import { toJson } from "../../internal/json.ts"
import { type Caller, type Entry, middlewareError } from "../../internal/middleware.ts"
import type { Place } from "../../internal/place.ts"
import { waitingForOf } from "../../internal/suspension.ts"
import { takesNothing } from "../../internal/toolDefinition.ts"
import * as Middleware from "../../Middleware.ts"
import { GuardrailTripped, RunSuspended, InvalidApproval, MiddlewareError, ToolError } from "../../RunError.ts"
import { compose, type Stage } from "./middlewareStages.ts"
import * as Approval from "./toolApproval.ts"
import * as Steps from "./toolCallSteps.ts"
import { codecsOf } from "./toolCodecs.ts"
import { badArguments, Failure, failureOf, isForProgram } from "./toolFailure.ts"

/**
 * Makes one call through middleware. One that reaches no tool, or is beyond a limit, does not pass it. Fails when its failure
 * is one of the run.
 */
export const executeThrough = (
  given: Steps.Given,
  stages: ReadonlyArray<Stage>
): Effect.Effect<Steps.Outcome, unknown> => {
  const tool = Steps.toolOf(given.tools.byName.get(given.call.name))
  if (tool === undefined || given.call.refused !== undefined) return Steps.executeOne(given)
  const params = argumentsOf(tool, given.call.params)
  if (params === undefined) return withoutObject(given, tool)
  return Effect.flatMap(Steps.begin(given), (context) =>
    Steps.concluded(context, new CallThrough(context, tool, stages, params).end())
  )
}

/** Ends a call whose arguments are not an object: they do not fit the tool, or middleware cannot be given them. */
const withoutObject = (given: Steps.Given, tool: Tool.Any): Effect.Effect<Steps.Outcome, unknown> =>
  Effect.flatMap(Effect.exit(codecsOf(tool).decode(given.call.params)), (decoded) => {
    if (Exit.isFailure(decoded)) return Steps.executeOne(given)
    const failure = badArguments(undefined, "They are not an object.")
    return Effect.flatMap(Steps.begin(given), (context) =>
      Steps.finish(context, { _tag: "Failed", failure, isFatal: false })
    )
  })

/** Arguments as middleware has them; `undefined` where they are not an object. */
const argumentsOf = (tool: Tool.Any, params: unknown): Schema.JsonObject | undefined => {
  if (Predicate.isObject(params)) return toJson(params) as Schema.JsonObject
  return takesNothing(tool) ? {} : undefined
}

const isOutcome = Schema.is(Middleware.Outcome)
const isParams = Schema.is(Middleware.ToolCall.fields.params)

/** One call, and what its attempts have come to: a middleware can make more than one. */
class CallThrough implements Caller {
  readonly #context: Steps.ToolCallContext
  readonly #tool: Tool.Any
  readonly #stages: ReadonlyArray<Stage>
  readonly #request: Middleware.ToolCall
  /** What the outcomes and errors that middleware was given stand for. */
  readonly #ends = new Map<object, Steps.End>()
  #last: Steps.Ended | undefined
  #attempts = 0
  #isNoted = false
  #interrupted: { readonly context: Steps.ToolCallContext; readonly decision: Steps.Made } | undefined
  #changedBy: Entry | undefined

  constructor(context: Steps.ToolCallContext, tool: Tool.Any, stages: ReadonlyArray<Stage>, params: Schema.JsonObject) {
    this.#context = context
    this.#tool = tool
    this.#stages = stages
    this.#request = requestOf(context, tool, params)
  }

  /** How the call ends. Fails with an error of a middleware, which is one of the run. */
  end(): Effect.Effect<Steps.End, unknown> {
    const through = compose(this.#stages, this, (changed) => this.#next((changed as Middleware.ToolCall).params))
    const ended = Effect.withFiber((fiber) =>
      Effect.matchCauseEffect(through(this.#request, fiber.context), {
        onSuccess: (outcome) => Effect.succeed(this.#endOf(outcome as Middleware.Outcome)),
        onFailure: (cause) => this.#endOfFailure(cause)
      })
    ) as Effect.Effect<Steps.End, unknown>
    return Effect.onInterrupt(ended, () => this.#endInterrupted())
  }

  get path(): ReadonlyArray<string> {
    return this.#context.info.path
  }

  placeOf({ definition }: Entry): Place {
    const { call, place, step } = this.#context
    return place.state.place.middleware(definition.name, step, call.id)
  }

  refuseRequest(changed: unknown, entry: Entry): string | undefined {
    if (!Predicate.hasProperty(changed, "params") || !isParams(changed.params)) {
      return "it called next with something that is not a call of a tool"
    }
    const { tool, toolCallId } = changed as unknown as Middleware.ToolCall
    if (tool !== this.#request.tool || toolCallId !== this.#request.toolCallId) {
      return "it called next with another call; only the arguments can be changed"
    }
    this.#changedBy = entry
    return undefined
  }

  refuseAnswer(answer: unknown): string | undefined {
    return isOutcome(answer)
      ? undefined
      : "it returned something that is not an outcome; make one with Middleware.outcome"
  }

  #next(params: Schema.JsonObject): Effect.Effect<unknown, unknown> {
    const { call } = this.#context
    const place = this.#context.place.attempt(++this.#attempts)
    const isChanged = params !== this.#request.params
    const inner: Steps.ToolCallContext = {
      ...this.#context,
      place,
      call: isChanged ? { ...call, params } : call,
      onInterrupted: (context, decision) =>
        Effect.sync(() => {
          this.#interrupted = { context, decision }
        })
    }
    const attempted = Effect.flatMap(Steps.attempt(inner), (end) => {
      this.#context.isMade ||= inner.isMade
      this.#context.isNew = inner.isNew
      return this.#shown(end)
    })
    const refused = this.#refusalOf(inner)
    const resumed = refused === undefined ? attempted : Effect.fail(refused)
    return isChanged ? Effect.andThen(this.#check(params), resumed) : resumed
  }

  /** Arguments that only do not fit since a middleware has changed them are not for the model to fix. */
  #check(params: Schema.JsonObject): Effect.Effect<void, unknown> {
    const { decode } = codecsOf(this.#tool)
    return Effect.catch(Effect.asVoid(decode(params)), (error) =>
      Effect.matchEffect(decode(this.#context.call.params), {
        onFailure: () => Effect.void,
        onSuccess: () => {
          const cause = new Error(`the arguments that it gave "${this.#tool.name}" do not fit: ${issuesOf(error)}`)
          const middleware = this.#changedBy?.definition.name ?? ""
          return Effect.fail(middlewareError(this.#context.info.path, middleware, cause))
        }
      })
    )
  }

  /** An approval counts for the arguments that were shown, which are those that come out of middleware. */
  #refusalOf({ call, info, resumed }: Steps.ToolCallContext): InvalidApproval | undefined {
    if (resumed === undefined) return undefined
    const misfit = Approval.misfitOf(call, resumed, this.#tool)
    if (misfit === undefined) return undefined
    const { approvalId } = resumed
    return new InvalidApproval({ path: info.path, approvalId, tool: call.name, ...misfit })
  }

  /** An end as middleware has it. */
  #shown(end: Steps.End): Effect.Effect<Middleware.Outcome, unknown> {
    if (end._tag === "Suspended") return this.#failWith(this.#suspension(end), end)
    this.#last = end
    if (end._tag === "Failed" && end.isFatal) return this.#failWith(this.#fatal(end.failure), end)
    const outcome: Middleware.Outcome =
      end._tag === "Completed"
        ? { result: end.value.result, isFailure: false }
        : { result: end.failure.result, isFailure: true }
    this.#ends.set(outcome, end)
    return Effect.succeed(outcome)
  }

  #failWith(error: object, end: Steps.End): Effect.Effect<never, unknown> {
    this.#ends.set(error, end)
    return Effect.fail(error)
  }

  get #common() {
    const { info, state, step, tools } = this.#context
    return { path: info.path, step, spent: state.bill.spent(), transcript: Prompt.fromMessages(tools.messages()) }
  }

  #suspension({ waiting }: Extract<Steps.End, { readonly _tag: "Suspended" }>): object {
    const [first, ...others] = waitingForOf(waiting)
    const { path, spent, transcript } = this.#common
    return new RunSuspended({ path, spent, transcript, waitingFor: [first!, ...others] })
  }

  #fatal(failure: Failure): object {
    const { cause } = failure
    if (isForProgram(cause) && Predicate.isObject(cause)) return cause
    return new ToolError({ ...this.#common, failures: [failureOf(this.#context.call, failure)], interrupted: [] })
  }

  #endOf(outcome: Middleware.Outcome): Steps.End {
    return this.#ends.get(outcome) ?? this.#copied(outcome) ?? madeOf(outcome)
  }

  #endOfFailure(cause: Cause.Cause<unknown>): Effect.Effect<Steps.End, unknown> {
    const failed = cause.reasons.find(Cause.isFailReason)
    const known = Predicate.isObject(failed?.error) ? this.#ends.get(failed.error) : undefined
    if (known !== undefined) return Effect.succeed(known)
    const refusal = cause.reasons.map(refusalIn).find((one) => one !== undefined)
    if (refusal !== undefined && this.#last !== undefined) this.#last = withheld(this.#last, refusal)
    return Effect.andThen(this.#noteLast(), this.#stop(cause))
  }

  /** The end that an outcome is a copy of: a tool's result can have a form of its own for the model, such as an image. */
  #copied({ isFailure, result }: Middleware.Outcome): Steps.End | undefined {
    const last = this.#last
    return !isFailure && last?._tag === "Completed" && last.value.result === result ? last : undefined
  }

  /** Fails the run with the error of a middleware, unless something else has failed it before. */
  #stop(cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> {
    const { record } = this.#context
    if (!Cause.hasInterruptsOnly(cause) && record.failures.length === 0) record.stopped ??= cause as Cause.Cause<never>
    return Effect.failCause(cause)
  }

  /** What the tool had given before its middleware failed or was interrupted is not lost. */
  #noteLast(): Effect.Effect<void> {
    const last = this.#last
    // A call that fails the run can be interrupted while observers take its end.
    if (this.#isNoted) return Effect.void
    this.#isNoted = true
    if (last === undefined) {
      if (!this.#context.isMade && this.#interrupted === undefined) this.#context.report.mark("not-started")
      return Effect.void
    }
    return Steps.recordInterrupted(this.#context, last)
  }

  #endInterrupted(): Effect.Effect<void> {
    const { call } = this.#context
    if (this.#last !== undefined || this.#interrupted === undefined) return this.#noteLast()
    const { context, decision } = this.#interrupted
    return Steps.endInterrupted({ ...context, call }, decision)
  }
}

const requestOf = (
  { call, info, record, tools }: Steps.ToolCallContext,
  tool: Tool.Any,
  params: Schema.JsonObject
): Middleware.ToolCall => ({
  path: info.path,
  runId: info.runId,
  step: info.step,
  toolCallId: call.id,
  tool: call.name,
  params,
  hints: Approval.hintsOf(tool),
  idempotencyKey: info.idempotencyKey,
  prompt: (record.prompt ??= Prompt.fromMessages(tools.messages()))
})

/** The guardrail that has refused what the tool gave; also one of a Layer. */
const refusalIn = (reason: Cause.Reason<unknown>): GuardrailTripped | undefined => {
  const error = Cause.isFailReason(reason) ? reason.error : undefined
  const own = error instanceof MiddlewareError ? error.cause : error
  return own instanceof GuardrailTripped && own.checked === "toolOutput" ? own : undefined
}

/** An end without what the tool gave, for the run that goes on from there: it is known that the call was made. */
const withheld = (end: Steps.Ended, { guardrail }: GuardrailTripped): Steps.Ended => {
  const note = `The call was made. The guardrail "${guardrail}" withholds its result.`
  return end._tag === "Failed"
    ? { _tag: "Failed", failure: new Failure(undefined, { error: note }, true), isFatal: false }
    : { _tag: "Completed", value: { result: { note }, modelOutput: undefined } }
}

/** The end of a call that a middleware has answered. */
const madeOf = ({ isFailure, result }: Middleware.Outcome): Steps.Ended =>
  isFailure
    ? { _tag: "Failed", failure: new Failure(undefined, result, true), isFatal: false }
    : { _tag: "Completed", value: { result, modelOutput: undefined } }
