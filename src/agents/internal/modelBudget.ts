/** Makes model calls within the budgets around a run: estimates what a call may use, and counts what it has used. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import { memoize } from "effect/Function"
import * as Predicate from "effect/Predicate"
import { type Amount, type Estimate, type Ledger, usedUp } from "../../internal/budget.ts"
import type { RunState } from "../../internal/runState.ts"
import { providerName } from "../../internal/runnerModel.ts"
import { makeUsage } from "../../internal/usage.ts"
import type { RunInfo } from "../../services/CurrentRun.ts"
import { CurrentSettings, MaxOutputTokens } from "../../services/ModelInfo.ts"
import { CurrentPrices } from "../../services/Prices.ts"
import type { Request, ResolvedModel } from "./modelCall.ts"
import type { Call, Turn } from "./turnCollector.ts"

/** Makes a model call within the budgets of its run. Without any it is the call itself. */
export const withinBudgets = <E, R>(
  state: RunState,
  model: ResolvedModel,
  request: Request,
  call: Effect.Effect<Turn, E, R>
): Effect.Effect<Turn, E, R> => {
  const { budget } = state
  if (budget === undefined) return call
  return Effect.withFiber((fiber) => {
    const meter = meterOf(fiber, model)
    return budget.call(state.info, estimateOf(fiber, model, request, meter), call, {
      amountOf: (turn) => {
        const { inputTokens, outputTokens } = turn.usage
        const isUnknown = inputTokens.total === undefined && outputTokens.total === undefined
        const usage = isUnknown && !isOfRunner(model, turn) ? guessed(request, turn) : turn.usage
        return meter.amountOf(usage, turn)
      },
      // The loop does not come to note it.
      onHalt: (turn) => state.bill.addAnswer(turn, priceIn(fiber, state, model, turn))
    })
  })
}

/** Counts what a failed attempt of a model call has used. */
export const chargeAttempt = (state: RunState, model: ResolvedModel, usage: Response.Usage): Effect.Effect<void> => {
  const { budget } = state
  if (budget === undefined) return Effect.void
  return Effect.withFiber((fiber) => {
    budget.charge(meterOf(fiber, model).amountOf(usage, noAnswerer), state.info.path)
    return Effect.void
  })
}

/**
 * What an answer has cost, in US dollars; `undefined` where its usage or the price of its model is not known, and in a run of which
 * only the output is asked for, for which no table of prices is loaded.
 */
export const priceOf = (state: RunState, model: ResolvedModel, turn: Turn): Effect.Effect<number | undefined> =>
  state.events.recording
    ? Effect.withFiber((fiber) => Effect.succeed(priceIn(fiber, state, model, turn)))
    : Effect.undefined

const priceIn = (
  fiber: Fiber.Fiber<unknown, unknown>,
  { events }: RunState,
  model: ResolvedModel,
  turn: Turn
): number | undefined => {
  const { inputTokens, outputTokens } = turn.usage
  if (!events.recording || (inputTokens.total === undefined && outputTokens.total === undefined)) return undefined
  const { cost, isUnpriced } = meterOf(fiber, model).amountOf(turn.usage, turn)
  return isUnpriced ? undefined : cost
}

/** True for the answer of a model that is a runner: its own calls are counted. */
const isOfRunner = ({ info }: ResolvedModel, { answeredBy }: Answerer): boolean =>
  (answeredBy?.provider ?? info?.provider) === providerName

/** The model that gave an answer, as far as it is known. */
type Answerer = Pick<Turn, "answeredBy" | "responseModel">
const noAnswerer: Answerer = { answeredBy: undefined, responseModel: undefined }

interface Meter {
  readonly amountOf: (usage: Response.Usage, answer: Answerer) => Amount
  readonly costOf: Estimate["costOf"]
}

const meterOf = (fiber: Fiber.Fiber<unknown, unknown>, { modelName, provider }: ResolvedModel): Meter => {
  const prices = fiber.getRef(CurrentPrices)
  const cost = (usage: Response.Usage, { answeredBy, responseModel }: Answerer = noAnswerer) => {
    const asked = answeredBy ?? { provider, model: modelName }
    const named = { provider: asked.provider, model: responseModel, usage }
    return (responseModel === undefined ? undefined : prices.cost(named)) ?? prices.cost({ ...asked, usage })
  }
  return {
    costOf: ({ input, output }) => cost(usageOf(input, output)),
    amountOf: (usage, answer) => {
      const known = cost(usage, answer)
      return {
        tokens: (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0),
        cost: known ?? 0,
        isUnpriced: known === undefined
      }
    }
  }
}

const usageOf = (input: number, output: number): Response.Usage =>
  makeUsage({ inputTokens: { total: input }, outputTokens: { total: output } })

const estimateOf = (
  fiber: Fiber.Fiber<unknown, unknown>,
  model: ResolvedModel,
  { prompt }: Request,
  { costOf }: Meter
): Estimate => {
  const limits = [fiber.getRef(CurrentSettings).maxOutputTokens, fiber.getRef(MaxOutputTokens)]
  const known = limits.filter((limit) => limit !== undefined)
  const name = [model.provider, model.modelName].filter((part) => part !== undefined).join(":")
  return {
    input: isOfRunner(model, noAnswerer) ? 0 : tokensOf(prompt.content),
    output: known.length === 0 ? undefined : Math.min(...known),
    costOf,
    model: name === "" ? "unknown" : name
  }
}

/** The usage of a call whose server reports none: a budget that counted nothing would never be used up. */
const guessed = ({ prompt }: Request, { calls, text }: Turn): Response.Usage =>
  usageOf(tokensOf(prompt.content), tokensIn(text.length + sizeOf(calls)))

/** About four characters are one token. */
const tokensIn = (characters: number): number => Math.ceil(characters / 4)

/** Messages are looked at once: a prompt grows from step to step. */
const charactersOf = memoize(({ content }: Prompt.Message): number => sizeOf(content))

const tokensOf = (messages: ReadonlyArray<Prompt.Message>): number =>
  tokensIn(messages.reduce((sum, message) => sum + charactersOf(message), 0))

const isFile = (value: object): boolean => Predicate.hasProperty(value, "type") && value.type === "file"

/** The characters of all texts in a value, but for those of files. */
const sizeOf = (value: unknown): number => {
  if (typeof value === "string") return value.length
  if (typeof value !== "object" || value === null || isFile(value)) return 0
  return Object.values(value).reduce<number>((sum, one) => sum + sizeOf(one), 0)
}

/**
 * Makes the calls of a step by `execute`, with those refused that a budget which is answered for has no room for. Where another
 * budget has none, the run is interrupted here.
 */
export const executeWithin = <A, E, R>(
  budget: Ledger,
  answering: Answering | undefined,
  calls: ReadonlyArray<Call>,
  info: RunInfo,
  execute: (calls: ReadonlyArray<Call>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const open = calls.filter(({ refused }) => refused === undefined)
    const allowed = answering === undefined ? open.length : answering.roomFor(open.length)
    const full = budget.take("toolCalls", allowed, info.path)
    if (full !== undefined) return full.halt
    if (answering === undefined || allowed === open.length) return execute(calls)
    const refused = new Set(open.slice(allowed))
    const why = `not executed: ${answering.callsUsedUp}; answer with what you have`
    const cut = calls.map((call) => (refused.has(call) ? { ...call, refused: why } : call))
    return Effect.tap(execute(cut), () => Effect.sync(() => answering.stop(info)))
  })

/** The budgets of a run that answers when they are used up; `undefined` without any. */
export const answeringOf = ({ budget, info }: RunState): Answering | undefined => {
  const own: Array<Ledger> = []
  for (let ledger = budget; ledger !== undefined && ledger.owner === info; ledger = ledger.parent) {
    if (ledger.limits.onExceeded === "answer") own.push(ledger)
  }
  return own.length === 0 ? undefined : new Answering(own)
}

/** The budgets that a run has itself, and answers for. */
export class Answering {
  readonly #ledgers: ReadonlyArray<Ledger>

  constructor(ledgers: ReadonlyArray<Ledger>) {
    this.#ledgers = ledgers
  }

  /** Why the run has to answer, for its model; `undefined` as long as it need not. */
  get reason(): string | undefined {
    return this.#ledgers.find(({ hit }) => hit !== undefined)?.reason
  }

  /** Whether the run has to answer now: a budget is used up, or has no room for a step. */
  isUsedUp({ path }: RunInfo): boolean {
    for (const ledger of this.#ledgers) if (ledger.left("steps", 0) === 0) ledger.stop("steps", path)
    return this.reason !== undefined
  }

  /** Whether the time of a budget is limited: when it is over is a decision. */
  get isTimed(): boolean {
    return this.#ledgers.some(({ limits }) => limits.time !== undefined)
  }

  /** Stops at a time that was over before the run was made again: nothing of it is kept from here on. */
  stopLate({ path }: RunInfo): boolean {
    const late = this.#ledgers.filter(({ isLate }) => isLate)
    for (const ledger of late) ledger.stop("time", path)
    return late.length > 0
  }

  /** Notes that the run had to answer here before it was made again. */
  stopAgain({ path }: RunInfo): void {
    if (this.reason !== undefined) return
    this.#ledgers.find(({ limits }) => limits.time !== undefined)?.stop("time", path)
  }

  /** How many of `count` tool calls there is room for. */
  roomFor(count: number): number {
    return Math.min(count, ...this.#ledgers.map((ledger) => ledger.left("toolCalls", 0) ?? count))
  }

  /** What has no room for another tool call, for a model. */
  get callsUsedUp(): string {
    const least = Math.min(...this.#ledgers.map(({ limits }) => limits.toolCalls ?? Infinity))
    return usedUp("toolCalls", least)
  }

  /** Notes that there was no room for a tool call. */
  stop({ path }: RunInfo): void {
    for (const ledger of this.#ledgers) if (ledger.left("toolCalls", 0) === 0) ledger.stop("toolCalls", path)
  }

  /** Does a piece of work, or `instead`, when a budget is used up in its midst. */
  until<A, E, R, A2, E2, R2>(
    work: Effect.Effect<A, E, R>,
    instead: () => Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, E | E2, R | R2> {
    const replaced = Effect.suspend(instead)
    return this.#ledgers.reduce<Effect.Effect<A | A2, E | E2, R | R2>>(
      (work, ledger) => ledger.until(work, replaced),
      work
    )
  }

  /** Fails the run by the budget that it had to answer for; goes on where none is used up. */
  get giveUp(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const ledger = this.#ledgers.find(({ hit }) => hit !== undefined)
      ledger?.giveUp()
      return ledger?.halt ?? Effect.void
    })
  }

  /** Has the run answer, on top of its budgets. */
  begin(): void {
    for (const ledger of this.#ledgers) ledger.isAnswering = true
  }
}
