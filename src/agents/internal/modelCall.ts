/**
 * One step's model call: whole or streamed, retried, traced.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import { ResponseIdTracker } from "effect/ai/ResponseIdTracker"
import * as AiTelemetry from "effect/ai/Telemetry"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import { memoize } from "effect/Function"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import type { Draft } from "../../internal/eventSink.ts"
import { journalOf, keep } from "../../internal/journaled.ts"
import { toJson } from "../../internal/json.ts"
import { refuseUnread } from "../../internal/lacking.ts"
import * as ModelRetry from "../../internal/modelRetry.ts"
import { MissingModel, oneLine } from "../../RunError.ts"
import type { RunState } from "../../internal/runState.ts"
import { charging } from "../../internal/stepAccount.ts"
import * as Spans from "../../internal/telemetry.ts"
import type { Journal } from "../../services/Journal.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { chargeAttempt, priceOf } from "./modelBudget.ts"
import type { OutputSpec } from "./structuredOutput.ts"
import {
  type KeptFailure,
  keptFailure,
  type KeptSpent,
  type KeptTurn,
  keptTurn,
  partsOf,
  RawAnswer,
  spentSince,
  withRefusals
} from "./keptTurn.ts"
import { noUsage } from "../../internal/usage.ts"
import { isProviders, ProviderCalls } from "./providerCalls.ts"
import { type AnyPart, Collector, type Turn } from "./turnCollector.ts"

/** The request of one step. */
export interface Request {
  readonly step: number
  /** The prompt of the run, whose messages grow from step to step. */
  readonly prompt: Prompt.Prompt
  /** Whether the conversation has a tool call with an id. */
  readonly hasCall: (id: string) => boolean
  /** The tools the model may call; `undefined` for none. Its handlers are never called by the model's side. */
  readonly toolkit: Toolkit.WithHandler<Record<string, Tool.Any>> | undefined
  readonly toolChoice: LanguageModel.ToolChoice<string>
  readonly output: OutputSpec | undefined
  readonly retry: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
  /** How large the answer may be, in characters and bytes. */
  readonly maxAnswerSize: number
  /** Set where middleware is around the call. */
  readonly watch?: Watch | undefined
}

/** Sees the parts of an answer as they come. */
export interface Watch {
  /** What takes the place of a text or a thought. Unset where none is looked at. */
  readonly see: ((part: AnyPart) => Sight) | undefined
  /** Called as an attempt begins: what was held of the one before is void. */
  readonly onAttempt: () => void
  /** False once another call has taken the place of this one: then it emits nothing. */
  readonly isCurrent: () => boolean
  /** Called before a delta is emitted. */
  readonly onDelta: () => void
}

/** What happens to the text of a part. */
export interface Sight {
  /** The text in its place; `undefined` drops it. */
  readonly text: string | undefined
  /** True where it is not to be emitted yet. */
  readonly isHeld: boolean
}

/** A model and what is known of it, looked up once a run. */
export interface ResolvedModel {
  /** What metrics are kept with: the model itself, also where middleware has put something around it for one call. */
  readonly service: object
  readonly model: LanguageModel.LanguageModel
  readonly info: ModelInfo.ModelInfo | undefined
  readonly direct: ModelInfo.Direct | undefined
  readonly memory: ModelInfo.RunMemory
  readonly provider: string | undefined
  readonly modelName: string | undefined
}

/** The model in the context; `path` is that of the run that needs it. */
export const resolveModel = (
  path: ReadonlyArray<string>
): Effect.Effect<ResolvedModel, MissingModel, LanguageModel.LanguageModel> =>
  Effect.flatMap(Effect.context<LanguageModel.LanguageModel>(), (context) => {
    const model = Context.getOrUndefined(context, LanguageModel.LanguageModel)
    if (model === undefined) return Effect.fail(new MissingModel({ path }))
    const known = ModelInfo.describe(context)
    const info = known?.info
    return Effect.succeed({
      service: model,
      model,
      info,
      direct: known?.direct,
      memory: { kept: undefined },
      provider: info?.provider ?? Context.getOrUndefined(context, Model.ProviderName),
      modelName: info?.model ?? Context.getOrUndefined(context, Model.ModelName)
    })
  })

/** A model call that failed for good, and how often it was made. */
export interface Failed {
  readonly error: AiError.AiError
  readonly attempts: number
}

/** True when the instructions have to contain the schema, because the model's Layer has no other way to ask for it. */
export const needsInstruction = (self: ResolvedModel, output: OutputSpec | undefined, hasTools: boolean): boolean =>
  output !== undefined && self.info?.structuredOutput !== true && hasTools

/** Calls the model, unless a journal has kept the turn. */
export const call = (self: ResolvedModel, request: Request, state: RunState): Effect.Effect<Turn, Failed> =>
  Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    return journal === undefined ? callNow(self, request, state) : callKept(journal, self, request, state)
  })

/** Calls the model as a step of the journal. What is kept is the provider's turn, which then passes `part` as a whole answer. */
const callKept = (
  journal: Journal,
  self: ResolvedModel,
  request: Request,
  state: RunState
): Effect.Effect<Turn, Failed> =>
  Effect.suspend(() => {
    const key = state.place.key(`${request.step}/model`)
    const name = self.modelName ?? "model"
    const before = state.bill.moment
    const raw = new RawAnswer(request)
    let live: Turn | undefined
    const called = charging(state, (charged) =>
      Effect.mapBoth(callNow(self, raw.request, state), {
        onSuccess: (turn): KeptTurn => {
          live = turn
          return { turn: raw.turn ?? turn, ...spentSince(state, before, charged()) }
        },
        onFailure: (failed): KeptFailure => ({ ...failed, ...spentSince(state, before, charged()) })
      })
    )
    const step = { key, kind: "model", name, idempotent: true } as const
    return Effect.matchEffect(keep(journal, step, called, keptTurn, keptFailure), {
      onSuccess: (kept) => (live === undefined ? again(kept, self, request, state) : Effect.succeed(live)),
      onFailure: ({ attempts, error, ...spent }) =>
        live === undefined && !raw.isBegun
          ? Effect.andThen(count(spent, self, state), Effect.fail({ error, attempts }))
          : Effect.fail({ error, attempts })
    })
  })

/** A kept turn, as if the provider gave it now as a whole. */
const again = (
  { turn, ...spent }: KeptTurn,
  self: ResolvedModel,
  request: Request,
  state: RunState
): Effect.Effect<Turn, Failed> =>
  Effect.suspend(() => {
    state.bill.beginCall()
    request.watch?.onAttempt()
    const collector = new Collector(request.hasCall, request.maxAnswerSize)
    const emitted = Effect.andThen(count(spent, self, state), emitParts(partsOf(turn), request, collector, state))
    return Effect.mapBoth(emitted, {
      onSuccess: () => withRefusals(collector.turn(), turn),
      onFailure: (error): Failed => ({ error, attempts: 1 })
    })
  })

/** Counts what failed attempts, and runs within the call, have used. */
const count = (
  { charged, cost, steps, usage }: KeptSpent,
  self: ResolvedModel,
  state: RunState
): Effect.Effect<void> => {
  if (steps > 0) state.bill.addStep(steps)
  if (usage === undefined) return Effect.void
  state.bill.addUsage(usage, cost)
  if (charged === undefined) return chargeAttempt(state, self, usage)
  state.budget?.restore(charged)
  return Effect.void
}

/**
 * Calls the model and retries transient failures. The text of a failed attempt is void: a `StepRetried` event has the
 * number of the first event to discard.
 */
const callNow = (self: ResolvedModel, request: Request, state: RunState): Effect.Effect<Turn, Failed> =>
  Effect.suspend(() => {
    const discardFrom = state.events.nextSeq
    let attempts = 0
    let last: AiError.AiError | undefined
    const once = Effect.suspend(() => {
      attempts++
      state.bill.beginCall()
      request.watch?.onAttempt()
      const attempt = traced(self, request, state)
      if (last === undefined) return attempt
      const retried = state.events.emit({
        _tag: "StepRetried",
        step: request.step,
        attempt: attempts,
        discardFrom,
        reason: oneLine(last)
      })
      return Effect.andThen(retried, attempt)
    })
    const failed = (error: AiError.AiError): Failed => ({ error, attempts })
    const schedule = request.retry ?? self.info?.retry ?? ModelRetry.defaultSchedule
    if (schedule === "none") return Effect.mapError(once, failed)
    // Most calls succeed, so the schedule is onFirstChunk only with a failure: the first one, which it is given.
    return Effect.catch(once, (first) => {
      let given = false
      const attempt = Effect.suspend((): Effect.Effect<Turn, AiError.AiError> => {
        if (given) return once
        given = true
        return Effect.fail(first)
      })
      const noted = Effect.tapError(attempt, (error) =>
        Effect.sync(() => {
          last = error
        })
      )
      return Effect.mapError(Effect.retry(noted, ModelRetry.policy(schedule)), failed)
    })
  })

const traced = (self: ResolvedModel, request: Request, state: RunState): Effect.Effect<Turn, AiError.AiError> =>
  Spans.inference(
    {
      service: self.service,
      provider: self.provider,
      model: self.modelName,
      server: self.info?.server,
      conversationId: state.info.conversationId,
      output: request.output === undefined ? "text" : "json",
      prompt: request.prompt
    },
    (span, onFirstChunk) =>
      Effect.provideService(callModel(self, request, state, span, onFirstChunk), ModelInfo.CallerRetries, true)
  )

const callModel = (
  self: ResolvedModel,
  request: Request,
  state: RunState,
  span: Spans.MaybeSpan,
  onFirstChunk: () => void
): Effect.Effect<Turn, AiError.AiError> => {
  const collector = new Collector(request.hasCall, request.maxAnswerSize)
  const { output } = request
  const native = self.info?.structuredOutput === true
  const wrapped = (effect: Effect.Effect<void, AiError.AiError>) => Spans.adoptModelSpan(span, effect)
  const calling =
    output !== undefined && !native && request.toolkit === undefined
      ? wrapped(generateObject(self, request, output, collector, state))
      : Effect.withFiber((fiber) => {
          const direct = canCallDirectly(fiber.context) ? self.direct : undefined
          if (direct !== undefined) {
            const asked = providerRequest(request, span ?? Spans.unseen)
            return state.events.streaming
              ? readStream(direct.streamText(asked, self.memory), request, collector, state, onFirstChunk)
              : Effect.flatMap(direct.generateText(asked, self.memory), (parts) =>
                  emitParts(parts, request, collector, state)
                )
          }
          return wrapped(
            state.events.streaming
              ? stream(self, request, collector, state, onFirstChunk)
              : generate(self, request, collector, state)
          )
        })
  const within =
    output !== undefined && native ? Effect.provideService(calling, ModelInfo.OutputFormat, output.format) : calling
  const { info } = self
  const asked =
    info?.readsSettings === true
      ? within
      : Effect.andThen(refuseUnread("Agent", info, self.modelName, toolsIn(request)), within)
  const ended = Effect.matchEffect(asked, {
    // An answer that was too large can have said what it used.
    onFailure: (error) => billed(collector.turn(), self, state, error),
    onSuccess: () => {
      const turn = collector.turn()
      if (turn.finishReason !== "error") return Effect.succeed(turn)
      const error = AiError.make({
        module: "Agent",
        method: "step",
        reason: new AiError.InternalProviderError({ description: "the provider ended the answer with an error" })
      })
      return billed(turn, self, state, error)
    }
  })
  // An answer can be there while observers still take its deltas.
  return Effect.onInterrupt(ended, () => bill(collector.turn(), self, state))
}

/** Fails an attempt, with what it used counted as far as that is known. */
const billed = (
  turn: Turn,
  self: ResolvedModel,
  state: RunState,
  error: AiError.AiError
): Effect.Effect<never, AiError.AiError> => Effect.andThen(bill(turn, self, state), Effect.fail(error))

/** Counts what an attempt that gave no answer has used, as far as that is known. */
const bill = (turn: Turn, self: ResolvedModel, state: RunState): Effect.Effect<void> => {
  if (turn.usage === noUsage) return Effect.void
  const added = Effect.map(priceOf(state, self, turn), (cost) => state.bill.addUsage(turn.usage, cost))
  return Effect.andThen(added, chargeAttempt(state, self, turn.usage))
}

/** effect/ai's own hooks into a call are its wrapper's to serve. */
const canCallDirectly = (context: Context.Context<never>): boolean =>
  Context.getOrUndefined(context, AiTelemetry.CurrentSpanTransformer) === undefined &&
  Context.getOrUndefined(context, ResponseIdTracker) === undefined

/** The tools of a toolkit, the same list each time. */
const listOf = memoize(({ tools }: Toolkit.WithHandler<Record<string, Tool.Any>>): ReadonlyArray<Tool.Any> =>
  Object.values(tools)
)

const toolsIn = ({ toolkit }: Request): ReadonlyArray<Tool.Any> => (toolkit === undefined ? [] : listOf(toolkit))

/** The request as `effect/ai`'s wrapper would pass it to the provider. */
const providerRequest = (request: Request, span: Tracer.Span): LanguageModel.ProviderOptions => {
  const { toolkit, toolChoice } = request
  const all = toolkit === undefined ? [] : listOf(toolkit)
  const allowed = typeof toolChoice === "object" && "oneOf" in toolChoice ? toolChoice.oneOf : undefined
  return {
    prompt: request.prompt,
    tools: allowed === undefined ? all : all.filter((tool) => allowed.includes(tool.name as string)),
    toolChoice: toolkit === undefined ? "none" : toolChoice,
    responseFormat: { type: "text" },
    span,
    previousResponseId: undefined,
    incrementalPrompt: undefined,
    toolCallValidation: "deferred"
  }
}

/** A prompt of its own, for one who may keep it: that of the run goes on growing. */
const copied = ({ content }: Prompt.Prompt): Prompt.Prompt => Prompt.fromMessages([...content])

// effect/ai resolves the types of a response from literal options; ours are made at run time and read part by part.
const options = (request: Request) =>
  ({
    prompt: copied(request.prompt),
    toolChoice: request.toolkit === undefined ? undefined : request.toolChoice,
    toolkit: request.toolkit,
    disableToolCallResolution: true,
    toolCallValidation: "deferred"
  }) as unknown as { readonly prompt: Prompt.Prompt }

const generate = (
  self: ResolvedModel,
  request: Request,
  collector: Collector,
  state: RunState
): Effect.Effect<void, AiError.AiError> =>
  Effect.flatMap(self.model.generateText(options(request)), (response) =>
    emitParts(response.content, request, collector, state)
  )

/** Not retried: another answer would cost as much again. */
const tooLarge = (maxSize: number): AiError.AiError =>
  AiError.make({
    module: "Agent",
    method: "step",
    reason: new AiError.InvalidResponseError({
      description: `the answer is larger than ${maxSize} characters and was given up; raise maxAnswerSize of the agent if such answers are meant`
    })
  })

/** Collects the parts of a whole answer, and emits each as one delta. */
const emitParts = (
  given: ReadonlyArray<AnyPart>,
  { step, watch }: Request,
  collector: Collector,
  state: RunState
): Effect.Effect<void, AiError.AiError> => {
  const seen = watch?.see === undefined ? undefined : given.map((part) => seenBy(watch, part))
  let isWhole = true
  for (const part of seen?.map(({ part }) => part) ?? given) isWhole = collector.push(part) && isWhole
  if (watch === undefined || (watch.isCurrent() && seen?.every(({ isHeld }) => !isHeld) !== false)) {
    state.bill.addText(collector.text)
  }
  if (!isWhole) return Effect.fail(tooLarge(collector.maxSize))
  if (state.events.silent) return Effect.void
  const ran = new ProviderCalls(step, state.events)
  return Effect.forEach(
    seen ?? given.map(asGiven),
    // A thought without text only has to go back to its provider.
    ({ part, shown }) =>
      isProviders(part)
        ? emitRan(ran, part, watch)
        : shown === undefined || shown === "" || part.type === "tool-params-delta"
          ? Effect.void
          : emitDelta(deltaOf(part, shown, step), state, watch),
    { discard: true }
  )
}

/** A part, with the text of a text, a thought or a piece of arguments as it is emitted; `undefined` for any other part, and where it is dropped. */
interface Seen {
  readonly part: AnyPart
  readonly shown: string | undefined
  readonly isHeld: boolean
}

const asGiven = (part: AnyPart): Seen => ({ part, shown: wordsIn(part), isHeld: false })

const wordsIn = (part: AnyPart): string | undefined =>
  part.type === "text" || part.type === "reasoning"
    ? part.text
    : part.type === "text-delta" || part.type === "reasoning-delta" || part.type === "tool-params-delta"
      ? part.delta
      : undefined

/** A changed text is so in the answer too; of a thought the answer keeps what the provider gave, and insists on. */
const seenBy = ({ see }: Watch, part: AnyPart): Seen => {
  if (see === undefined) return asGiven(part)
  const { isHeld, text } = see(part)
  const shown = isHeld ? undefined : text
  const kept = text ?? ""
  if (part.type === "text" && part.text !== kept) return { part: { ...part, text: kept }, shown, isHeld }
  if (part.type === "text-delta" && part.delta !== kept) return { part: { ...part, delta: kept }, shown, isHeld }
  return { part, shown, isHeld }
}

/** As a delta: one of a call that was given up is not emitted. */
const emitRan = (ran: ProviderCalls, part: AnyPart, watch: Watch | undefined): Effect.Effect<void> => {
  if (watch === undefined) return ran.take(part)
  if (!watch.isCurrent()) return Effect.void
  watch.onDelta()
  return ran.take(part)
}

type Delta = Extract<Draft, { readonly _tag: "TextDelta" | "ReasoningDelta" | "ToolParamsDelta" }>

const deltaOf = ({ type }: AnyPart, delta: string, step: number): Delta => ({
  _tag: type === "text" || type === "text-delta" ? "TextDelta" : "ReasoningDelta",
  step,
  delta
})

const emitDelta = (delta: Delta, state: RunState, watch: Watch | undefined): Effect.Effect<void> => {
  if (watch !== undefined) {
    if (!watch.isCurrent()) return Effect.void
    watch.onDelta()
  }
  return state.events.emit(delta)
}

const stream = (
  self: ResolvedModel,
  request: Request,
  collector: Collector,
  state: RunState,
  onFirstChunk: () => void
) => {
  const parts: Stream.Stream<Response.AnyPart, AiError.AiError> = self.model.streamText(options(request))
  return readStream(parts, request, collector, state, onFirstChunk)
}

const readStream = (
  parts: Stream.Stream<AnyPart, AiError.AiError>,
  { step, watch }: Request,
  collector: Collector,
  state: RunState,
  onFirstChunk: () => void
): Effect.Effect<void, AiError.AiError> => {
  let isFirst = true
  let ran: ProviderCalls | undefined
  return Stream.runForEach(parts, (part): Effect.Effect<void, AiError.AiError> => {
    if (isFirst) onFirstChunk()
    isFirst = false
    if (part.type === "error") {
      return Effect.fail(
        AiError.make({
          module: "Agent",
          method: "step",
          reason: new AiError.InternalProviderError({
            description: `the provider reported an error in the stream: ${JSON.stringify(toJson(part.error))}`
          })
        })
      )
    }
    const seen = watch?.see === undefined ? undefined : seenBy(watch, part)
    if (!collector.push(seen?.part ?? part)) return Effect.fail(tooLarge(collector.maxSize))
    const delta = seen === undefined ? wordsIn(part) : seen.shown
    if (delta === undefined) {
      return isProviders(part) ? emitRan((ran ??= new ProviderCalls(step, state.events)), part, watch) : Effect.void
    }
    if (part.type === "tool-params-delta") {
      const call = collector.announced(part.id)
      if (call === undefined || delta === "") return Effect.void
      return emitDelta({ _tag: "ToolParamsDelta", step, toolCallId: call.id, tool: call.name, delta }, state, watch)
    }
    const isText = part.type === "text-delta" || part.type === "text"
    if (isText && (watch === undefined || watch.isCurrent())) state.bill.addText(delta)
    return emitDelta(deltaOf(part, delta, step), state, watch)
  })
}

/**
 * The native structured output of a provider that is not ours. An answer that does not decode is read by us, which
 * forgives more; its usage is known through effect/ai's span hook, which sees every response.
 */
const generateObject = (
  self: ResolvedModel,
  request: Request,
  output: OutputSpec,
  collector: Collector,
  state: RunState
): Effect.Effect<void, AiError.AiError> =>
  Effect.withFiber((fiber) => {
    const outer = Context.getOrUndefined(fiber.context, AiTelemetry.CurrentSpanTransformer)
    let parts: ReadonlyArray<Response.AnyPart> = []
    return self.model
      .generateObject({
        prompt: copied(request.prompt),
        schema: output.objectSchema as Schema.Encoder<Record<string, unknown>, unknown>,
        objectName: output.format.name
      })
      .pipe(
        Effect.provideService(AiTelemetry.CurrentSpanTransformer, (options) => {
          parts = options.response
          outer?.(options)
        }),
        Effect.asVoid,
        Effect.catchIf(
          (error) => parts.length > 0 && error.reason._tag === "StructuredOutputError",
          () => Effect.void
        ),
        Effect.andThen(Effect.suspend(() => emitParts(parts, request, collector, state)))
      ) as Effect.Effect<void, AiError.AiError>
  })
