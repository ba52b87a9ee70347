/**
 * The agent loop: a step is one model call and the tool calls it asks for; the loop ends when a step asks for none.
 * `run`, `result` and `stream` all come here. What an answer leads to is in `turnResolution.ts`. Internal to the agents.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import { loopMessage } from "../../internal/input.ts"
import type { RunState } from "../../internal/runState.ts"
import * as Noted from "../../internal/notes.ts"
import { decided, text, truth } from "../../internal/decided.ts"
import { journalOf } from "../../internal/journaled.ts"
import * as Resumption from "../../internal/resumption.ts"
import { countIn, note, type Resumed, savedIn, waitingForOf } from "../../internal/suspension.ts"
import * as Spans from "../../internal/telemetry.ts"
import { ListedFor, type Listing } from "../../internal/toolListing.ts"
import { leave, unlessLeaving } from "../../internal/trueExit.ts"
import { noUsage } from "../../internal/usage.ts"
import * as RunError from "../../RunError.ts"
import { CurrentSigning } from "../../services/Approver.ts"
import { isSyncFiber, SyncBridge } from "../../services/SyncBridge.ts"
import type { Any as ToolSource } from "../../ToolSource.ts"
import { TurnResolver, continueLoop, type Next } from "./turnResolution.ts"
import { resumedCalls } from "./toolApproval.ts"
import type { Call, Turn } from "./turnCollector.ts"
import { executeAll, type Outcome, type StepError, toolOf, type Tools } from "./toolExecution.ts"
import { around, type Stages } from "./middlewareStages.ts"
import { type Answering, answeringOf, executeWithin, priceOf, withinBudgets } from "./modelBudget.ts"
import * as ModelCall from "./modelCall.ts"
import { callThrough } from "./modelMiddleware.ts"
import { withOwn } from "./callSettings.ts"
import { Listener, listening } from "./received.ts"
import { runThrough } from "./runMiddleware.ts"
import type { AgentSpec, StepInfo } from "./agentSpec.ts"
import { makeRoom } from "./toolRoom.ts"
import * as ToolSet from "./toolSet.ts"
import * as Transcript from "./transcript.ts"

const nothingResumed: ReadonlyMap<string, Resumed> = new Map()

/** Runs the loop for one input. Its errors and services are those of the spec. */
export const run = (
  spec: AgentSpec,
  input: Prompt.RawInput,
  state: RunState
): Effect.Effect<unknown, unknown, LanguageModel.LanguageModel> =>
  Effect.flatMap(ModelCall.resolveModel(state.info.path), (model) =>
    Spans.invoke(
      {
        path: state.info.path,
        conversationId: state.info.conversationId,
        description: spec.description,
        model: model.modelName,
        output: spec.output === undefined ? "text" : "json",
        spent: () => state.bill,
        isNew: () => state.isNew
      },
      through(spec, input, state, model)
    )
  ) as Effect.Effect<unknown, unknown, LanguageModel.LanguageModel>

/** The loop, within the middleware around the run. */
const through = (
  spec: AgentSpec,
  input: Prompt.RawInput,
  state: RunState,
  model: ModelCall.ResolvedModel
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const stages = around(spec.middleware, fiber)
    return listening(fiber, state, (listener) => {
      const make = (model: ModelCall.ResolvedModel) => new Loop(spec, state, { model, stages, listener })
      const run = (input: Prompt.RawInput, loop: Loop) =>
        Effect.catchCause(loop.run(input), (cause) => failWith(cause, () => loop.transcript()))
      if (stages === undefined || stages.run.length === 0) return run(input, make(model))
      let last: Loop | undefined
      // A middleware can have provided another model.
      const again = (input: Prompt.RawInput) =>
        Effect.flatMap(ModelCall.resolveModel(state.info.path), (model) => {
          const one = (last = make(model))
          return Effect.map(run(input, one), (value) => ({ value, transcript: one.transcript() }))
        })
      return Effect.catchCause(runThrough(stages.run, spec, input, state, again), (cause) =>
        failWith(cause, () => last?.transcript() ?? Transcript.givenOf(input))
      )
    })
  })

/** Fails with a cause whose errors have the conversation, also those that were made where it is not known. */
const failWith = (cause: Cause.Cause<unknown>, transcript: () => Prompt.Prompt): Effect.Effect<never, unknown> =>
  asEdgeError(Cause.map(cause, (error) => (isWithout(error) ? withTranscript(error, transcript()) : error)))

type Late = RunError.MiddlewareError | RunError.GuardrailTripped | RunError.LoopDetected | RunError.GoalNotReached

const isWithout = (error: unknown): error is Late =>
  (error instanceof RunError.MiddlewareError ||
    error instanceof RunError.GuardrailTripped ||
    error instanceof RunError.LoopDetected ||
    error instanceof RunError.GoalNotReached) &&
  error.transcript.content.length === 0

const withTranscript = (error: Late, transcript: Prompt.Prompt): Late => {
  switch (error._tag) {
    case "MiddlewareError":
      // An error's cause is not among its enumerable fields.
      return new RunError.MiddlewareError({ ...error, cause: error.cause, transcript })
    case "GuardrailTripped":
      return new RunError.GuardrailTripped({ ...error, transcript })
    case "LoopDetected":
      return new RunError.LoopDetected({ ...error, transcript })
    case "GoalNotReached":
      return new RunError.GoalNotReached({ ...error, transcript })
  }
}

/** A refusal of the sync edge reaches waiting fibers as a defect; for an agent it is an expected failure. */
const asEdgeError = (cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
  const refused = cause.reasons.find(
    (reason) =>
      Cause.isDieReason(reason) &&
      (reason.defect instanceof RunError.NestedSyncEdge ||
        reason.defect instanceof RunError.StuckSyncEdge ||
        reason.defect instanceof RunError.ThreadsForbidden)
  )
  return refused !== undefined && Cause.isDieReason(refused) ? Effect.fail(refused.defect) : Effect.failCause(cause)
}

type Beyond = Pick<RunError.MaxToolCallsExceeded, "per" | "limit" | "asked">

const notMade = ({ asked, limit, per }: Beyond): string =>
  per === "step"
    ? `not executed: a step may call ${limit} tools, and this one called ${asked}. Call fewer tools at a time.`
    : `not executed: the run may call ${limit} tools, and it has called them. Answer with what you have.`

/** The messages of an answer, with what middleware has noted on it. */
const messagesOf = ({ content, notes }: Turn): ReadonlyArray<Prompt.Message> => {
  const messages = Prompt.fromResponseParts(content).content
  if (notes === undefined) return messages
  const at = messages.findIndex(({ role }) => role === "assistant")
  return messages.map((message, index) =>
    index === at && message.role === "assistant"
      ? Prompt.assistantMessage({ content: message.content, options: { ...message.options, [Noted.key]: notes } })
      : message
  )
}

const has = ({ mapUnsafe }: Context.Context<never>, { id }: Tool.Any): boolean => mapUnsafe.has(id)

/**
 * What a part of the loop yields, and returns in the end. The parts are methods: a generator function that is made again for
 * each call keeps all that it holds until the next full garbage collection.
 */
type Yields<A> = Generator<Effect.Effect<unknown, unknown, unknown>, A, never>

/** What is around a loop. */
interface Around {
  readonly model: ModelCall.ResolvedModel
  readonly stages: Stages | undefined
  /** The inbox that it listens to. */
  readonly listener: Listener | undefined
}

class Loop implements Listing {
  readonly #spec: AgentSpec
  readonly #state: RunState
  readonly #model: ModelCall.ResolvedModel
  readonly #transcript: Transcript.Transcript
  #resolver: TurnResolver
  /** What the model is sent: the instructions, and of the transcript the first `#sent` messages. */
  readonly #messages: Array<Prompt.Message> = []
  readonly #prompt = Prompt.fromMessages(this.#messages)
  #sent = 0
  readonly #stages: Stages | undefined
  #listener: Listener | undefined
  /** The budgets that the run answers for when they are used up. */
  readonly #answering: Answering | undefined
  #tools: Tools | undefined
  #forModel: ToolSet.ToolSet["forModel"]
  readonly #sources: ReadonlyArray<ToolSource>
  /** What the model was offered in the step before, where that can change. */
  #offer: ToolSet.Offer | undefined
  /** The tools of the step before, where some come from sources. */
  #sourced: ToolSet.Sourced | undefined
  #step = 0
  /** The step before the first one that counts against `maxSteps`: below 0 in a run that goes on. */
  #begunAt = 0
  /** Whether the model was asked for its answer. */
  #isAsked = false
  /** How many tool calls this run has made. */
  #callCount = 0
  #last: Omit<StepInfo, "usage" | "transcript"> = { step: 0, text: "", toolCalls: [] }

  constructor(spec: AgentSpec, state: RunState, { listener, model, stages }: Around) {
    this.#spec = spec
    this.#state = state
    this.#model = model
    this.#stages = stages
    this.#listener = listener
    listener?.begin()
    const brought = stages?.sources ?? []
    this.#sources = brought.length === 0 ? spec.sources : [...brought, ...spec.sources]
    this.#answering = answeringOf(state)
    this.#transcript = new Transcript.Transcript(state)
    this.#resolver = new TurnResolver(spec, state, this.#transcript)
    this.#forModel = spec.tools.forModel
  }

  run(input: Prompt.RawInput): Effect.Effect<unknown, unknown, unknown> {
    return Effect.onExit(
      Effect.gen(() => this.#run(input)),
      (exit) => this.#state.endJobs(exit)
    )
  }

  /** The messages so far, for the sources of tools. */
  messages(): ReadonlyArray<Prompt.Message> {
    return this.#transcript.messages
  }

  /** The conversation so far. */
  transcript(): Prompt.Prompt {
    return this.#transcript.prompt()
  }

  *#run(input: Prompt.RawInput): Yields<unknown> {
    const spec = this.#spec
    if (this.#model.info?.network === true) yield* this.#assertEdge()
    const given = yield* this.#given(input)
    const { messages, open } = yield* Transcript.normalise(given, this.#state.info.path, yield* CurrentSigning)
    this.#transcript.begin(messages)
    yield* this.#prepare(input)
    if (open !== undefined && (yield* this.#resume(open)).done) return undefined
    for (;;) {
      const output = yield* this.#untilAnswered(this.#begunAt + spec.maxSteps)
      if (!(yield* this.#goesOn())) return output
      this.#begunAt = this.#step
      this.#resolver = new TurnResolver(spec, this.#state, this.#transcript)
    }
  }

  /** Whether a message has come with which the run goes on, in place of ending. */
  #goesOn(): Effect.Effect<boolean> {
    // One that was asked for its answer is at a limit.
    const listener = this.#inputs()
    if (listener === undefined || this.#isAsked || this.#state.handedOver) return Effect.succeed(false)
    return listener.goesOn
  }

  /** What comes to the run: from an inbox, or from the jobs that it has begun by now. */
  #inputs(): Listener | undefined {
    if (this.#listener === undefined && this.#state.jobs !== undefined) {
      this.#listener = new Listener(undefined, this.#state)
    }
    return this.#listener
  }

  *#untilAnswered(maxSteps: number): Yields<unknown> {
    const spec = this.#spec
    // Repair rounds come on top: they do no work of their own.
    while (this.#step < maxSteps + this.#resolver.repairs) {
      if (this.#answering !== undefined && (yield* this.#isUsedUp(this.#answering))) return yield* this.#finalAnswer()
      const next = yield* this.#takeStep(this.#toolChoice())
      if (next.done) return next.output
      if (this.#last.toolCalls.length > 0 && (yield* this.#shouldStop())) {
        // A typed answer has to be given by the model; a plain one is the text of the step that stopped.
        return spec.output === undefined ? this.#last.text : yield* this.#finalAnswer()
      }
    }
    if (spec.limits.onMaxSteps === "answer") return yield* this.#finalAnswer()
    return yield* Effect.fail(new RunError.MaxStepsExceeded({ ...this.#transcript.failure(), maxSteps: spec.maxSteps }))
  }

  /** Whether a budget has the run answer now. Where its time is limited, that is decided once. */
  #isUsedUp(answering: Answering): Effect.Effect<boolean> {
    const { info } = this.#state
    return Effect.withFiber((fiber) => {
      const isUsedUp = answering.isUsedUp(info)
      if (!answering.isTimed || journalOf(fiber) === undefined) return Effect.succeed(isUsedUp)
      const now = Effect.sync(() => answering.stopLate(info) || isUsedUp)
      return Effect.map(decided(this.#state, `${this.#step}/budget`, now, truth), (decided) => {
        if (decided) answering.stopAgain(info)
        return decided
      })
    })
  }

  /** The input, or the transcript of a suspended run that this agent is to go on with. */
  #given(input: Prompt.RawInput): Effect.Effect<Prompt.RawInput, RunError.CannotResume> {
    const { path } = this.#state.info
    return Effect.flatMap(Resumption.find(input, this.#state), (found) => {
      if (found === undefined) return Effect.succeed(input)
      const { resumption, rest } = found
      if (rest.length > 0) {
        const problem = "only the agent that waits can go on with it"
        return Effect.fail(new RunError.CannotResume({ path, waiting: resumption.target, problem }))
      }
      if (savedIn(resumption.transcript.content) !== undefined) {
        const problem = "a workflow waits in it, or an event, and not an agent"
        return Effect.fail(new RunError.CannotResume({ path, waiting: resumption.target, problem }))
      }
      resumption.taken = true
      return Effect.succeed(resumption.transcript)
    })
  }

  #assertEdge(): Effect.Effect<void, RunError.MissingSyncEdge> {
    return Effect.withFiber((fiber) => {
      const { info } = this.#model
      const isHeld = info?.network === true && isSyncFiber(fiber) && fiber.getRef(SyncBridge) === undefined
      if (!isHeld) return Effect.void
      return Effect.fail(new RunError.MissingSyncEdge({ path: this.#state.info.path, model: info.model }))
    })
  }

  *#prepare(input: Prompt.RawInput): Yields<void> {
    const spec = this.#spec
    const { instructions: given, output } = spec
    const instructions =
      typeof given === "string" ? given : yield* decided(this.#state, "instructions", given(input), text)
    const shape =
      output !== undefined &&
      ModelCall.needsInstruction(this.#model, output, spec.tools.forModel !== undefined || this.#sources.length > 0)
        ? output.instruction
        : ""
    const system = [instructions, shape].filter((text) => text !== "").join("\n\n")
    if (system !== "") {
      this.#messages.push((this.#state.instructions = Prompt.systemMessage({ content: system })))
      yield* Spans.instructions(system)
    }
    const toolkit = spec.toolkit
    if (toolkit !== undefined && Effect.isEffect(toolkit)) yield* this.#assertHandlers(toolkit.tools)
    this.#tools = {
      byName: spec.tools.byName,
      toolkit: toolkit === undefined ? undefined : Effect.isEffect(toolkit) ? yield* toolkit : toolkit,
      concurrency: spec.limits.toolConcurrency,
      timeout: spec.limits.toolTimeout,
      retry: spec.limits.toolRetry,
      messages: () => [...this.#transcript.messages],
      resumed: nothingResumed,
      middleware: this.#toolStages,
      answering: this.#answering,
      makeRoom,
      countCall: () => this.#countInnerCall()
    }
  }

  /** The types ask for handlers, and effect/ai looks for them only when the model has called. */
  #assertHandlers(tools: Readonly<Record<string, Tool.Any>>): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      const missing = Object.values(tools).find((tool) => !Tool.isProviderDefined(tool) && !has(fiber.context, tool))
      if (missing === undefined) return Effect.void
      return Effect.die(
        new RunError.InvalidDefinition({
          subject: `agent "${this.#spec.name}"`,
          problem: `no handler was provided for its tool "${missing.name}"`,
          remedy: "Provide the Layer that its toolkit's toLayer makes"
        })
      )
    })
  }

  get #hasChangingTools(): boolean {
    return this.#sources.length > 0 || this.#spec.tools.handoffs.length > 0
  }

  /** The tools of the step that begins. What a step was shown is what its calls find. */
  *#updateTools(): Yields<void> {
    const { tools, name } = this.#spec
    if (!this.#hasChangingTools) return
    const subject = `agent "${name}"`
    const before = { sourced: this.#sourced, offer: this.#offer }
    const listing = ToolSet.fromSources(subject, tools, this.#sources, before)
    const sourced = (this.#sourced = yield* Effect.provideService(listing, ListedFor, this))
    const offer = ToolSet.offerOf(sourced, this.#offer)
    const offered = (yield* decided(this.#state, `${this.#step}/tools`, offer, ToolSet.offerForm)) as ToolSet.Offer
    const set = ToolSet.offeredIn(subject, tools, sourced, offered, this.#offer)
    this.#offer = { ...offered, tools: offered.tools ?? this.#offer?.tools }
    this.#tools = { ...this.#tools!, byName: set.byName }
    const hidden = new Set(offered.hidden)
    this.#forModel = hidden.size === 0 ? set.forModel : ToolSet.forModelWithout(set, hidden)
  }

  *#takeStep(toolChoice: LanguageModel.ToolChoice<string>): Yields<Next> {
    yield* leave
    const step = ++this.#step
    const state = this.#state
    if (state.budget !== undefined) yield* this.#countStep()
    state.bill.addStep()
    if (!state.events.silent) yield* state.events.emit({ _tag: "StepStarted", step })
    if (this.#hasChangingTools) yield* this.#updateTools()
    const listener = this.#inputs()
    if (listener !== undefined) {
      const { messages } = this.#transcript
      messages.push(...(yield* listener.receive(step, messages)))
    }
    const call = this.#callModel(step, toolChoice)
    const turn = this.#answering === undefined ? yield* call : yield* this.#callUntilUsedUp(this.#answering, call, step)
    this.#transcript.messages.push(...messagesOf(turn))
    this.#last = { step, text: turn.text, toolCalls: [] }
    const resolved = yield* this.#resolver.resolveTurn(turn, step)
    const next =
      resolved === "calls" ? yield* this.#execute(turn.calls, turn.text, step, (results) => results) : resolved
    if (!state.events.silent) {
      const who = turn.answeredBy === undefined ? {} : { answeredBy: turn.answeredBy }
      const { finishReason, usage } = turn
      const cost = yield* priceOf(state, this.#model, turn)
      const price = cost === undefined ? {} : { cost }
      yield* state.events.emit({ _tag: "StepCompleted", step, finishReason, usage, ...price, ...who })
    }
    return next
  }

  /** Counts a step in the budgets of the run. Where one has no room for it, the run is interrupted here. */
  #countStep(): Effect.Effect<void> {
    const { budget, info } = this.#state
    return Effect.suspend(() => budget?.take("steps", 1, info.path)?.halt ?? Effect.void)
  }

  /** A model call that is interrupted when the budget is used up; then the model is asked for its answer. */
  *#callUntilUsedUp(answering: Answering, call: Effect.Effect<Turn, unknown>, step: number): Yields<Turn> {
    const { events } = this.#state
    const discardFrom = events.nextSeq
    const turn = (yield* answering.until(call, () => Effect.succeed(undefined))) as Turn | undefined
    if (turn !== undefined) {
      // The calls of a turn that went beyond the budget are not made.
      if (answering.reason !== undefined) this.#resolver.closed = answering.reason
      return turn
    }
    if (events.nextSeq > discardFrom) yield* events.emit({ _tag: "TurnReplaced", step, discardFrom, by: "budget" })
    this.#askForAnswer()
    return (yield* this.#callModel(step, "none")) as Turn
  }

  #callModel(step: number, toolChoice: LanguageModel.ToolChoice<string>): Effect.Effect<Turn, unknown> {
    const spec = this.#spec
    const stages = this.#stages
    const { messages } = this.#transcript
    for (; this.#sent < messages.length; this.#sent++) this.#messages.push(messages[this.#sent]!)
    const request: ModelCall.Request = {
      step,
      prompt: this.#prompt,
      hasCall: (id) => this.#transcript.hasCall(id),
      toolkit: this.#forModel,
      toolChoice: this.#possible(toolChoice),
      output: spec.output,
      retry: spec.limits.retry,
      maxAnswerSize: spec.limits.maxAnswerSize
    }
    if (stages !== undefined && (stages.model.length > 0 || stages.part.length > 0)) {
      const ask = (model: ModelCall.ResolvedModel, request: ModelCall.Request) => this.#ask(model, request)
      const maxSteps = this.#begunAt + spec.maxSteps + this.#resolver.repairs
      const { settings } = spec.limits
      return callThrough({ stages, state: this.#state, model: this.#model, request, maxSteps, settings, ask })
    }
    return Effect.flatMap(withOwn(spec.limits.settings, this.#ask(this.#model, request)), (turn) =>
      Effect.map(priceOf(this.#state, this.#model, turn), (cost) => {
        this.#state.bill.addAnswer(turn, cost)
        return turn
      })
    )
  }

  #ask(model: ModelCall.ResolvedModel, request: ModelCall.Request): Effect.Effect<Turn, RunError.ModelError> {
    const asked = Effect.mapError(
      ModelCall.call(model, request, this.#state),
      ({ error, attempts }) =>
        new RunError.ModelError({ ...this.#transcript.failure(), step: request.step, attempts, reason: error })
    )
    return unlessLeaving(withinBudgets(this.#state, model, request, asked))
  }

  get #toolStages(): Stages["tool"] | undefined {
    const stages = this.#stages?.tool ?? []
    return stages.length === 0 ? undefined : stages
  }

  /** Makes the calls that a suspended run was waiting to make: the rest of its last step. */
  *#resume(open: Transcript.Open): Yields<Next> {
    const step = ++this.#step
    // The step was counted before the run was suspended in it.
    if (open.used === undefined) yield* this.#countStep()
    this.#goOn(open)
    this.#state.bill.addStep()
    yield* this.#state.events.emit({ _tag: "StepStarted", step })
    yield* this.#updateTools()
    const calls = open.calls.filter((call) => !open.results.has(call.id))
    const inOrder = (results: ReadonlyArray<Prompt.ToolResultPart>) => {
      const byId = new Map(results.map((result) => [result.id, result]))
      return open.calls.flatMap((call) => open.results.get(call.id) ?? byId.get(call.id) ?? [])
    }
    const toolNamed = (name: string) => toolOf(this.#tools!.byName.get(name))
    const changesArguments = this.#toolStages !== undefined
    const resumed = yield* resumedCalls(open.waiting, toolNamed, this.#state.info.path, changesArguments)
    this.#tools = { ...this.#tools!, resumed }
    const next = yield* this.#execute(calls, "", step, inOrder)
    this.#tools = { ...this.#tools, resumed: nothingResumed }
    yield* this.#state.events.emit({ _tag: "StepCompleted", step, finishReason: "tool-calls", usage: noUsage })
    return next
  }

  /** Counts on what the run had used before it was suspended. */
  #goOn({ used }: Transcript.Open): void {
    this.#callCount = used?.toolCalls ?? 0
    this.#resolver.goOn((name) => countIn(used, 0, name))
    // Repairs come on top of the steps.
    this.#begunAt = this.#step - (used?.steps ?? 0) - this.#resolver.repairs
  }

  #execute(
    calls: ReadonlyArray<Call>,
    text: string,
    step: number,
    inOrder: (results: ReadonlyArray<Prompt.ToolResultPart>) => ReadonlyArray<Prompt.ToolResultPart>
  ): Effect.Effect<Next, StepError | RunError.MaxToolCallsExceeded | RunError.RunSuspended> {
    // What is known of a step that fails or is interrupted is there for the run that goes on from it.
    const transcript = (results: ReadonlyArray<Prompt.ToolResultPart>) => {
      this.#transcript.messages.push(Prompt.toolMessage({ content: inOrder(results) }))
      return this.#transcript.prompt()
    }
    const beyond = this.#beyondLimit(calls.length)
    if (beyond !== undefined && this.#spec.limits.onMaxToolCalls === "fail") {
      transcript(this.#resolver.refuse(calls, step, "the run has failed, because there are too many calls"))
      return Effect.fail(new RunError.MaxToolCallsExceeded({ ...this.#transcript.failure(), step, ...beyond }))
    }
    const allowed = beyond === undefined ? calls.length : beyond.limit - (beyond.asked - calls.length)
    this.#callCount += allowed
    const limited = calls.map((call, index) => (index < allowed ? call : { ...call, refused: notMade(beyond!) }))
    const execute = (calls: ReadonlyArray<Call>) =>
      Effect.flatMap(executeAll({ calls, tools: this.#tools!, state: this.#state, step, transcript }), (outcomes) =>
        this.#answer(outcomes, text, step, inOrder)
      )
    const { budget, info } = this.#state
    if (budget === undefined) return execute(limited)
    return executeWithin(budget, this.#answering, limited, info, execute)
  }

  /** Counts a call inside of a tool call, which has no limit of its step; returns why it is not made, beyond that of the run. */
  #countInnerCall(): string | undefined {
    const { maxToolCalls } = this.#spec.limits
    if (this.#callCount >= maxToolCalls) return notMade({ per: "run", limit: maxToolCalls, asked: this.#callCount + 1 })
    this.#callCount++
    return undefined
  }

  /** The limit that `count` more calls would exceed; where both would, the one that allows fewer calls. */
  #beyondLimit(count: number): Beyond | undefined {
    const { maxToolCalls, maxToolCallsPerStep } = this.#spec.limits
    const left = Math.max(0, maxToolCalls - this.#callCount)
    if (count <= Math.min(left, maxToolCallsPerStep)) return undefined
    return left < maxToolCallsPerStep
      ? { per: "run", limit: maxToolCalls, asked: this.#callCount + count }
      : { per: "step", limit: maxToolCallsPerStep, asked: count }
  }

  #answer(
    outcomes: ReadonlyArray<Outcome>,
    text: string,
    step: number,
    inOrder: (results: ReadonlyArray<Prompt.ToolResultPart>) => ReadonlyArray<Prompt.ToolResultPart>
  ): Effect.Effect<Next, RunError.RunSuspended> {
    const settled = outcomes.filter((outcome) => "part" in outcome)
    const waiting = outcomes.filter((outcome) => "waiting" in outcome)
    const content = inOrder(settled.map(({ part }) => part))
    if (waiting.length > 0) return this.#suspend(waiting, content)
    if (content.length > 0) this.#transcript.messages.push(Prompt.toolMessage({ content }))
    this.#last = {
      step,
      text,
      toolCalls: settled.map(({ call, result, isFailure }) => ({
        id: call.id,
        tool: call.name,
        params: call.params,
        result,
        isFailure
      }))
    }
    // After a handoff, the next agent answers.
    return Effect.succeed(this.#state.handedOver ? { done: true, output: undefined } : continueLoop)
  }

  /** Ends the run with its waiting calls noted in the transcript, from which it can go on. */
  #suspend(
    waiting: ReadonlyArray<Extract<Outcome, { readonly waiting: unknown }>>,
    results: ReadonlyArray<Prompt.ToolResultPart>
  ): Effect.Effect<never, RunError.RunSuspended> {
    return Effect.withFiber((fiber) => {
      for (const [name, count] of Object.entries(this.#resolver.counts)) this.#state.count(name, count)
      const by = Resumption.notedBy(fiber, this.#state, {
        steps: Math.max(0, this.#step - this.#begunAt - this.#resolver.repairs),
        // Those that wait are counted when they are made.
        toolCalls: Math.max(0, this.#callCount - waiting.length)
      })
      this.#transcript.messages = [...note(this.#transcript.messages, waiting, by)]
      if (results.length > 0) this.#transcript.messages.push(Prompt.toolMessage({ content: results }))
      const [first, ...others] = waiting.flatMap(({ waiting }) => waitingForOf(waiting))
      const blockedBy = Resumption.blockedHere(fiber, this.#state)
      return Effect.fail(
        new RunError.RunSuspended({
          ...this.#transcript.failure(),
          waitingFor: [first!, ...others],
          ...(blockedBy === undefined ? {} : { blockedBy })
        })
      )
    })
  }

  /** Asks for the answer without tools: the steps are used up, or `stopWhen` stopped a typed agent. */
  *#finalAnswer(): Yields<unknown> {
    this.#askForAnswer()
    // One call, the allowed corrections of a typed answer, and one more for a model that goes on calling tools.
    for (let extra = 0; extra <= this.#spec.limits.outputRepairs + 1; extra++) {
      const next = yield* this.#takeStep("none")
      if (next.done) return next.output
    }
    if (this.#answering !== undefined) yield* this.#answering.giveUp
    const { maxSteps } = this.#spec
    return yield* Effect.fail(
      new RunError.MaxStepsExceeded({ ...this.#transcript.failure(), maxSteps, wasAsked: true })
    )
  }

  #askForAnswer(): void {
    this.#resolver.closed ??= this.#answering?.reason ?? "tools cannot be called any more"
    if (this.#isAsked) return
    this.#isAsked = true
    this.#answering?.begin()
    this.#transcript.messages.push(loopMessage("You cannot call tools any more. Answer now with what you have."))
  }

  #shouldStop(): Effect.Effect<boolean, unknown, unknown> {
    const { stopWhen } = this.#spec
    if (stopWhen === undefined) return Effect.succeed(false)
    return Effect.suspend(() => {
      const stop = stopWhen(this.#info())
      return typeof stop === "boolean"
        ? Effect.succeed(stop)
        : decided(this.#state, `${this.#step}/stopWhen`, stop, truth)
    })
  }

  #toolChoice(): LanguageModel.ToolChoice<string> {
    const { toolChoice } = this.#spec
    if (typeof toolChoice === "function") return toolChoice({ ...this.#info(), step: this.#step + 1 })
    // A choice that forces a tool applies to the first step only. Otherwise the agent could never answer.
    const forces =
      typeof toolChoice === "object" ? !("mode" in toolChoice && toolChoice.mode === "auto") : toolChoice === "required"
    return forces && this.#step > 0 ? "auto" : toolChoice
  }

  /** The choice among the tools that the step is shown: nothing can be forced that is hidden. */
  #possible(choice: LanguageModel.ToolChoice<string>): LanguageModel.ToolChoice<string> {
    return this.#spec.tools.handoffs.length === 0 ? choice : ToolSet.choiceAmong(choice, this.#forModel)
  }

  #info(): StepInfo {
    return { ...this.#last, usage: this.#state.bill.usage, transcript: this.#transcript.prompt() }
  }
}
