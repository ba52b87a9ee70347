/** Makes one step's model call through the middleware that is around model calls. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { Bill } from "../../internal/bill.ts"
import { withInstruction } from "../../internal/input.ts"
import { type Caller, type Entry, middlewareError } from "../../internal/middleware.ts"
import { CurrentWrappers, type Wrapped, type Wrapper } from "../../internal/modelWrappers.ts"
import type { Place } from "../../internal/place.ts"
import type { RunState } from "../../internal/runState.ts"
import { noUsage } from "../../internal/usage.ts"
import * as Middleware from "../../Middleware.ts"
import { MiddlewareError } from "../../RunError.ts"
import { type CallSettings, CurrentSettings } from "../../services/ModelInfo.ts"
import { merged } from "./callSettings.ts"
import { compose, type Stages } from "./middlewareStages.ts"
import { priceOf } from "./modelBudget.ts"
import * as ModelCall from "./modelCall.ts"
import * as ToolSet from "./toolSet.ts"
import type { AnyPart, Call, Turn } from "./turnCollector.ts"
import { fromData, originalOf, partOf, toData, toolsOf, toShown } from "./turnData.ts"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** What a step asks of the model, and how it is asked without middleware. */
export interface Step {
  readonly stages: Stages
  readonly state: RunState
  readonly model: ModelCall.ResolvedModel
  readonly request: ModelCall.Request
  readonly maxSteps: number
  /** Those of the agent itself. */
  readonly settings: CallSettings | undefined
  readonly ask: (model: ModelCall.ResolvedModel, request: ModelCall.Request) => Effect.Effect<Turn, unknown>
}

/** Calls the model through middleware. The usage of the turn is that of all calls that were made. */
export const callThrough = (self: Step): Effect.Effect<Turn, unknown> =>
  Effect.withFiber((fiber) => {
    // Those of a call around this run, such as one whose guardrail it is, count for that call alone.
    if (fiber.getRef(CurrentWrappers).length > 0) {
      return Effect.provideService(callThrough(self), CurrentWrappers, [])
    }
    const { info } = self.state
    const { step, toolChoice, toolkit } = self.request
    // The loop's own goes on growing, and a middleware can keep what it is given.
    const prompt = Prompt.fromMessages([...self.request.prompt.content])
    const calls = new Calls(self, prompt)
    const { path, runId } = info
    const tools = toolsOf(toolkit)
    const options = merged(fiber.getRef(CurrentSettings), self.settings)
    const { maxSteps } = self
    const request: Middleware.ModelRequest = Number.isFinite(maxSteps)
      ? { path, runId, step, maxSteps, prompt, tools, toolChoice, options }
      : { path, runId, step, prompt, tools, toolChoice, options }
    const through = compose(self.stages.model, calls, (changed, context) =>
      calls.next(changed as Middleware.ModelRequest, context)
    )
    return Effect.matchCauseEffect(through(request, fiber.context), {
      onSuccess: (turn) => calls.end(turn as Middleware.Turn),
      onFailure: (cause) => Effect.andThen(calls.refused(), Effect.failCause(cause))
    }) as Effect.Effect<Turn, unknown>
  })

const isTurn = Schema.is(Middleware.Turn)
const ofRequest = ({ options, toolChoice, tools }: typeof Middleware.ModelRequest.fields) =>
  Schema.Struct({ options, toolChoice, tools })
const isRequest = Schema.is(ofRequest(Middleware.ModelRequest.fields))

const nothingHeld: { readonly text: string; readonly reasoning: string } = { text: "", reasoning: "" }

/** The model calls of one step, and what of them was emitted. */
class Calls implements Caller {
  readonly #self: Step
  /** As middleware is given it. */
  readonly #prompt: Prompt.Prompt
  readonly #discardFrom: number
  readonly #usages: Array<Response.Usage> = []
  #count = 0
  /** The turn that the emitted deltas are of. */
  #emitted: Turn | undefined
  #hasDeltas = false
  /** The deltas of the last call that are to be emitted once the turn is known. */
  #held = nothingHeld
  #offered: ReadonlyArray<string> | undefined
  /** The middleware that called again, or replaced the turn. */
  #by: Entry | undefined
  /** The middleware that failed the step itself, and not because the model did. */
  #failedBy: Entry | undefined
  #replacedAt = -1

  constructor(self: Step, prompt: Prompt.Prompt) {
    this.#self = self
    this.#prompt = prompt
    this.#discardFrom = self.state.events.nextSeq
  }

  get path(): ReadonlyArray<string> {
    return this.#self.state.info.path
  }

  placeOf({ definition }: Entry): Place {
    return this.#self.state.place.middleware(definition.name, this.#self.request.step)
  }

  refuseAnswer(answer: unknown): string | undefined {
    return isTurn(answer) ? undefined : "it returned something that is not a turn; make one with Middleware.turn"
  }

  onRepeat(entry: Entry): void {
    this.#by = entry
  }

  onFailure(entry: Entry): void {
    this.#failedBy = entry
  }

  onReplace(entry: Entry): void {
    this.#by = entry
    this.#replacedAt = this.#self.stages.model.find((stage) => stage.entry === entry)?.index ?? -1
  }

  refuseRequest(request: unknown): string | undefined {
    if (!Predicate.hasProperty(request, "prompt") || !Prompt.isPrompt(request.prompt) || !isRequest(request)) {
      return "it called next with something that is not a request to a model"
    }
    const known = this.#self.request.toolkit?.tools ?? {}
    const other = request.tools.find(({ name }) => !(name in known))
    return other === undefined ? undefined : `it offers the tool "${other.name}", which the agent does not have`
  }

  /** Calls the model. What an earlier call emitted is void, and one that is still under way no longer emits. */
  next(given: Middleware.ModelRequest, context: Context.Context<never>): AnyEffect {
    const { ask, model, request, state } = this.#self
    const number = ++this.#count
    this.#emitted = undefined
    this.#replacedAt = -1
    const toolkit = toShown(given.tools, request.toolkit)
    const isWhole = toolkit === request.toolkit
    this.#offered = isWhole ? undefined : Object.keys(toolkit?.tools ?? {})
    const asked: ModelCall.Request = {
      ...request,
      prompt: given.prompt === this.#prompt ? request.prompt : given.prompt,
      toolkit,
      toolChoice: isWhole ? given.toolChoice : ToolSet.choiceAmong(given.toolChoice, toolkit),
      watch: new Watching(this, number, this.#self.stages.part.length > 0)
    }
    const calling = withSettings(askIn(context, model, asked, ask, state.info.path), given, context)
    const answered = Effect.flatMap(calling, (turn) =>
      Effect.map(priceOf(state, model, turn), (cost) => {
        state.bill.addUsage(turn.usage, cost)
        this.#usages.push(turn.usage)
        if (number === this.#count) this.#emitted = turn
        return toData(turn)
      })
    )
    return number === 1 ? answered : Effect.andThen(this.#discard(), answered)
  }

  /** The turn of the step. One that is not what was emitted is emitted in its place. */
  end(data: Middleware.Turn): Effect.Effect<Turn, MiddlewareError> {
    const shown = this.#emitted
    if (shown !== undefined && originalOf(data) === shown) return this.#release(this.#settled(shown))
    const replaced = Effect.suspend(() => this.#replace(data, shown))
    return Effect.catchDefect(replaced, (defect) => Effect.fail(this.#failure(defect)))
  }

  /** Voids what was emitted of an answer that a middleware has refused: the run is about to fail. */
  refused(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#failedBy === undefined) return Effect.void
      this.#by = this.#failedBy
      this.#self.state.bill.dropText()
      return this.#discard(false)
    })
  }

  #replace(data: Middleware.Turn, shown: Turn | undefined): Effect.Effect<Turn, MiddlewareError> {
    const before = shown === undefined ? undefined : toData(shown)
    const isSame = before !== undefined && before.text === data.text && before.reasoning === data.reasoning
    // What a model gave has passed every `part` already.
    const isSeen = isSame || originalOf(data) !== undefined
    const seen = isSeen ? { data, reasoning: data.reasoning } : this.#seeAgain(data)
    const turn = this.#made(seen.data)
    if (turn === undefined) return Effect.fail(this.#failure("the turn that it returned is larger than maxAnswerSize"))
    if (isSame) return this.#release(this.#settled(turn))
    const emitted = Effect.andThen(this.#discard(), this.#emit(seen.reasoning, turn.text))
    return Effect.as(emitted, this.#settled(turn))
  }

  /** Emits what was held of a turn that is the model's own. */
  #release(turn: Turn): Effect.Effect<Turn> {
    const { reasoning, text } = this.#held
    return reasoning === "" && text === "" ? Effect.succeed(turn) : Effect.as(this.#emit(reasoning, text), turn)
  }

  #made(data: Middleware.Turn): Turn | undefined {
    const { hasCall, maxAnswerSize } = this.#self.request
    return fromData(data, hasCall, maxAnswerSize)
  }

  #failure(cause: unknown): MiddlewareError {
    if (cause instanceof MiddlewareError) return cause
    const { path } = this.#self.state.info
    return middlewareError(path, this.#by?.definition.name ?? "", typeof cause === "string" ? new Error(cause) : cause)
  }

  /** Notes the turn, with the usage of all calls, and refuses calls of tools that the model was not offered. */
  #settled(turn: Turn): Turn {
    const { finishReason, text } = turn
    this.#self.state.bill.addAnswer({ finishReason, text, usage: noUsage })
    const usage = usageOf(this.#usages)
    const offered = this.#offered
    const calls = offered === undefined ? turn.calls : turn.calls.map((call) => this.#refuseHidden(call, offered))
    return usage === turn.usage && calls === turn.calls ? turn : { ...turn, usage, calls }
  }

  #refuseHidden(call: Call, offered: ReadonlyArray<string>): Call {
    const { toolkit } = this.#self.request
    if (toolkit === undefined || !(call.name in toolkit.tools) || offered.includes(call.name)) return call
    return { ...call, refused: `there is no tool "${call.name}" in this step` }
  }

  #discard(waits = true): Effect.Effect<void> {
    if (!this.#hasDeltas) return Effect.void
    this.#hasDeltas = false
    const by = this.#by?.definition.name ?? ""
    const { request, state } = this.#self
    const { step } = request
    return state.events.emit({ _tag: "TurnReplaced", step, discardFrom: this.#discardFrom, by }, waits)
  }

  #emit(reasoning: string, text: string): Effect.Effect<void> {
    const { events } = this.#self.state
    const { step } = this.#self.request
    return Effect.andThen(
      reasoning === "" ? Effect.void : events.emit({ _tag: "ReasoningDelta", step, delta: reasoning }),
      text === "" ? Effect.void : events.emit({ _tag: "TextDelta", step, delta: text })
    )
  }

  /** A turn that a middleware made passes the `part` of those that are further out, as one delta of each kind. */
  #seeAgain(data: Middleware.Turn): { readonly data: Middleware.Turn; readonly reasoning: string } {
    const reasoning = this.#see({ type: "reasoning", text: data.reasoning }, this.#replacedAt).text
    const text = this.#see({ type: "text", text: data.text }, this.#replacedAt).text ?? ""
    return { data: text === data.text ? data : { ...data, text }, reasoning: reasoning ?? "" }
  }

  isCurrent(number: number): boolean {
    return number === this.#count
  }

  /** An attempt at a call begins: what was held of the one before is void. */
  beginAttempt(): void {
    this.#held = nothingHeld
  }

  noteDelta(): void {
    this.#hasDeltas = true
  }

  /** A part of call `number` as it comes. */
  seeNow(part: AnyPart, number: number): ModelCall.Sight {
    const sight = this.#see(part)
    if (sight.isHeld && number === this.#count) {
      const { reasoning, text } = this.#held
      const held = sight.text ?? ""
      if (part.type.startsWith("text")) this.#held = { reasoning, text: text + held }
      else if (part.type.startsWith("reasoning")) this.#held = { reasoning: reasoning + held, text }
    }
    return sight
  }

  /** What the middleware outside of the place `within` makes of the text of a part. */
  #see(part: AnyPart, within?: number): ModelCall.Sight {
    const { part: stages } = this.#self.stages
    const isText = part.type === "text" || part.type === "reasoning"
    if (isText && part.text === "") return { text: "", isHeld: false }
    let isHeld = false
    let seen: unknown = partOf(part)
    const { type } = seen as Middleware.Part
    const isDelta = type === "text-delta" || type === "reasoning-delta" || type === "tool-params-delta"
    for (let at = stages.length - 1; at >= 0; at--) {
      const { entry, f, index } = stages[at]!
      if (within !== undefined && index >= within) continue
      const made = this.#called(entry, f, seen)
      // Arguments as they stream are not part of the answer: those that are held are never emitted.
      if (!isDelta && made === Middleware.hold) isHeld = true
      if (!isDelta) continue
      if (made === undefined) return { text: undefined, isHeld: false }
      if (made === Middleware.hold) {
        isHeld = true
        continue
      }
      const isFit = Predicate.hasProperty(made, "type") && Predicate.hasProperty(made, "delta") && made.type === type
      if (!isFit || typeof made.delta !== "string") {
        throw this.#fault(entry, new Error(`its part, which is synchronous, did not return a ${type} or undefined`))
      }
      seen = made
    }
    const isShown = isDelta || part.type === "tool-params-delta"
    return { text: isShown ? (seen as { readonly delta: string }).delta : undefined, isHeld }
  }

  #called(entry: Entry, f: (part: never) => unknown, part: unknown): unknown {
    try {
      return f(part as never)
    } catch (cause) {
      throw this.#fault(entry, cause)
    }
  }

  #fault({ definition }: Entry, cause: unknown): MiddlewareError {
    return middlewareError(this.#self.state.info.path, definition.name, cause)
  }
}

/** Watches one call of a step. */
class Watching implements ModelCall.Watch {
  readonly #calls: Calls
  readonly #number: number
  readonly see: ModelCall.Watch["see"]

  constructor(calls: Calls, number: number, sees: boolean) {
    this.#calls = calls
    this.#number = number
    this.see = sees ? (part) => calls.seeNow(part, number) : undefined
  }

  isCurrent(): boolean {
    return this.#calls.isCurrent(this.#number)
  }

  onAttempt(): void {
    if (this.isCurrent()) this.#calls.beginAttempt()
  }

  onDelta(): void {
    this.#calls.noteDelta()
  }
}

/** The call with the settings of the request. */
const withSettings = <A>(
  call: Effect.Effect<A, unknown>,
  { options }: Middleware.ModelRequest,
  context: Context.Context<never>
): Effect.Effect<A, unknown> =>
  Context.get(context, CurrentSettings) === options ? call : Effect.provideService(call, CurrentSettings, options)

/** Asks the model of the context, which a middleware can have replaced. What a `part` throws is a failure of the run. */
const askIn = (
  context: Context.Context<never>,
  model: ModelCall.ResolvedModel,
  request: ModelCall.Request,
  ask: Step["ask"],
  path: ReadonlyArray<string>
): Effect.Effect<Turn, unknown> => {
  const isSame = Context.getOrUndefined(context, LanguageModel.LanguageModel) === model.model
  const wrappers = Context.get(context, CurrentWrappers)
  const called = isSame
    ? ask(wrapped(model, wrappers), request)
    : (Effect.flatMap(ModelCall.resolveModel(path), (other) =>
        ask(wrapped(other, wrappers), instructed(model, other, request))
      ) as Effect.Effect<Turn, unknown>)
  // A model that is a runner calls models of its own.
  const asked = wrappers.length === 0 ? called : Effect.provideService(called, CurrentWrappers, [])
  return request.watch?.see === undefined ? asked : withFaults(asked)
}

/** The model, in what middleware has put around it. */
const wrapped = (model: ModelCall.ResolvedModel, wrappers: ReadonlyArray<Wrapper>): ModelCall.ResolvedModel => {
  if (wrappers.length === 0) return model
  const { info } = model
  const made = wrappers.reduceRight<Wrapped>(
    (inner, wrap) => wrap({ model: inner.model, info, direct: inner.direct }),
    model
  )
  return { ...model, model: made.model, direct: made.direct }
}

/** What a `part` has thrown is a failure, and no defect. */
const withFaults = <A>(asked: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  Effect.catchCause(asked, (cause) => {
    const fault = cause.reasons.find((reason) => Cause.isDieReason(reason) && reason.defect instanceof MiddlewareError)
    return fault !== undefined && Cause.isDieReason(fault) ? Effect.fail(fault.defect) : Effect.failCause(cause)
  })

/** The request with the shape of the answer in words, for a model that needs them where the agent's own does not. */
const instructed = (
  own: ModelCall.ResolvedModel,
  other: ModelCall.ResolvedModel,
  request: ModelCall.Request
): ModelCall.Request => {
  const { output, prompt, toolkit } = request
  const hasTools = toolkit !== undefined
  const isMissing =
    ModelCall.needsInstruction(other, output, hasTools) && !ModelCall.needsInstruction(own, output, hasTools)
  if (output === undefined || !isMissing) return request
  return { ...request, prompt: withInstruction(prompt, output.instruction) }
}

const usageOf = (usages: ReadonlyArray<Response.Usage>): Response.Usage => {
  if (usages.length < 2) return usages[0] ?? noUsage
  const sum = new Bill(undefined)
  for (const usage of usages) sum.addUsage(usage)
  return sum.usage
}
