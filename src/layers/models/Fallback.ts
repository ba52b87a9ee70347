/** Several models behind one: the next one is asked where one cannot answer, in an order that a program chooses. */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { answeredBy } from "../../internal/answeredBy.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { assertOptions, countOf, namesOf, positiveDurationOf } from "../../internal/definition.ts"
import type * as ModelInfo from "../../services/ModelInfo.ts"
import { contextOf } from "../internal/model/direct.ts"
import * as Asking from "./internal/asking.ts"
import * as Members from "./internal/members.ts"
import * as Orders from "./internal/order.ts"

/** A model's Layer. */
export type Model<E = never, R = never> = Layer.Layer<LanguageModel.LanguageModel, E, R>

/** In which order models are asked. */
export type Order = Orders.Order

/** As they are given. */
export const inOrder: Order = { _tag: "InOrder" }
/** Each call begins with the next one: for several keys or endpoints of equal worth. */
export const roundRobin: Order = { _tag: "RoundRobin" }
/** By chance, each as likely as its weight. One for each model, 0 or more. */
export const weighted = (weights: ReadonlyArray<number>): Order => ({ _tag: "Weighted", weights })
/** The cheapest first, by `Prices`; those without a known price come last. */
export const cheapest: Order = { _tag: "Cheapest" }
/** Every call of one conversation begins with the same one, whose cache then has it. */
export const sticky: Order = { _tag: "Sticky" }

/** How models are chosen. */
export interface Options {
  /** Default {@link inOrder}. */
  readonly order?: Order | undefined
  /** Asks the next model too when one has not begun to answer after so long; the first answer counts. Default: never. */
  readonly hedgeAfter?: Duration.Input | undefined
  /**
   * Leaves a model out for `reset` after so many failures in a row, while there is another one. Default: 5 failures, 30
   * seconds. `"none"`: each is asked always.
   */
  readonly breaker?: { readonly failures: number; readonly reset: Duration.Input } | "none" | undefined
}

/**
 * Asks the models one after the other until one answers. The next one is asked after a rate limit, a failure of the server
 * or a lost connection, each after that model's own retries, and after a used-up quota or a wrong key. It is not asked after a
 * request that was invalid or refused, which another model should not be made to answer, and not once a part of an answer was
 * streamed. A model that is known to lack what a request asks for, such as tools, is passed over, as is one that refuses a
 * setting that it cannot be asked for, such as `reasoning`.
 *
 * `StepCompleted` events, spans and budgets have the model that answered. Fails with the last model's error. Building it
 * builds every model, and fails where one of them cannot be built.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Fallback, Models, OpenAi } from "troupe"
 *
 * const Model = Fallback.layer([OpenAi.layer({ model: "gpt-4.1-mini" }), Models.layer("ollama:qwen3")])
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(Model))
 */
export const layer = <const L extends readonly [Model<unknown, unknown>, ...ReadonlyArray<Model<unknown, unknown>>]>(
  models: L,
  options: Options = {}
): Model<Layer.Error<L[number]>, Layer.Services<L[number]>> => {
  const chosen = chosenOf(models, options)
  const made = Effect.gen(function* () {
    const contexts = yield* Effect.forEach(models, (model) => Layer.build(model))
    const members = contexts.map((context, index) => Members.make(context, index, chosen.breaker))
    return yield* contextOf(infoOf(members), directOf(members, chosen))
  })
  return Layer.effectContext(made) as Model<Layer.Error<L[number]>, Layer.Services<L[number]>>
}

interface Chosen {
  readonly order: Order
  readonly hedgeAfter: Duration.Duration | undefined
  readonly breaker: Members.Breaker | undefined
}

const refuse = (problem: string, remedy: string): InvalidDefinition =>
  new InvalidDefinition({ subject: "Fallback.layer", problem, remedy })

const durationOf = (option: string, input: Duration.Input): Duration.Duration =>
  positiveDurationOf("Fallback.layer", option, input)

const known = namesOf<Options>({ order: true, hedgeAfter: true, breaker: true })
const knownOfBreaker: ReadonlySet<string> = new Set(["failures", "reset"])

const chosenOf = (models: ReadonlyArray<unknown>, options: Options): Chosen => {
  assertOptions("Fallback.layer", options, known)
  const { breaker = { failures: 5, reset: "30 seconds" }, hedgeAfter, order = inOrder } = options
  if (!Array.isArray(models) || models.length === 0 || !models.every(Layer.isLayer)) {
    throw refuse(
      "its models are not a list of Layers",
      "Write Fallback.layer([OpenAi.layer({ model }), Models.layer(name)])"
    )
  }
  if (order._tag === "Weighted") {
    const { weights } = order
    const isGood =
      weights.length === models.length &&
      weights.every((one) => Number.isFinite(one) && one >= 0) &&
      weights.some((one) => one > 0)
    if (!isGood)
      throw refuse("its weights are not one number for each model", "Write Fallback.weighted([3, 1]) for two models")
  }
  if (breaker !== "none") assertOptions("breaker of Fallback.layer", breaker, knownOfBreaker)
  return {
    order,
    hedgeAfter: hedgeAfter === undefined ? undefined : durationOf("hedgeAfter", hedgeAfter),
    breaker:
      breaker === "none"
        ? undefined
        : {
            failures: countOf("Fallback.layer", "breaker.failures", breaker.failures),
            reset: durationOf("breaker.reset", breaker.reset)
          }
  }
}

/** The first of them stands for all, until one has answered. */
const infoOf = (members: ReadonlyArray<Members.Member>): ModelInfo.ModelInfo => ({
  provider: members[0]!.provider,
  model: members[0]!.model,
  structuredOutput: true,
  readsSettings: true,
  network: members.some(({ info }) => info?.network === true),
  retry: "none"
})

const directOf = (members: ReadonlyArray<Members.Member>, { hedgeAfter, order }: Chosen): ModelInfo.Direct => {
  const ordered = Orders.make(order)
  /** Each keeps a memory of its own in that of the run. */
  const memoryOf = (
    memory: ModelInfo.RunMemory | undefined,
    { index }: Members.Member
  ): ModelInfo.RunMemory | undefined => {
    if (memory === undefined) return undefined
    const own = (memory.kept ??= members.map((): ModelInfo.RunMemory => ({ kept: undefined })))
    return (own as ReadonlyArray<ModelInfo.RunMemory>)[index]
  }
  const ask = <A>(
    request: LanguageModel.ProviderOptions,
    one: (member: Members.Member) => Effect.Effect<A, AiError.AiError>
  ): Effect.Effect<A, AiError.AiError> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const fitting = yield* Orders.capable(members, request)
      const closed = fitting.filter((member) => member.isClosed(now))
      const list = yield* ordered(closed.length === 0 ? fitting : closed)
      const call = (member: Members.Member) => Members.called(member, request, one(member))
      return yield* hedgeAfter === undefined ? Asking.inTurn(list, call) : Asking.hedged(list, call, hedgeAfter)
    })
  return {
    generateText: (request, memory) =>
      ask(request, (member) =>
        member.direct.generateText(request, memoryOf(memory, member)).pipe(
          Effect.tap(() => Members.noteEnd(member, Exit.void)),
          Effect.map((parts) => signed(parts, member))
        )
      ),
    streamText: (request, memory) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const scope = yield* Effect.scope
          const { begun, member } = yield* ask(request, (member) =>
            Effect.map(
              Asking.begin(member.direct.streamText(request, memoryOf(memory, member)), scope),
              ({ first, rest }) => ({ begun: { first: [signatureOf(member), ...first], rest }, member })
            )
          )
          return Asking.goOn(begun).pipe(
            Stream.onExit((exit) => Members.noteEnd(member, exit)),
            Stream.map((part) => (part.type === "response-metadata" ? withMember(part, member) : part))
          )
        })
      )
  }
}

type Metadata = Response.ResponseMetadataPartEncoded

const signatureOf = (member: Members.Member): Metadata => ({
  type: "response-metadata",
  metadata: answeredBy({ provider: member.provider, model: member.model })
})

const withMember = (part: Metadata, member: Members.Member): Metadata => ({
  ...part,
  metadata: { ...part.metadata, ...answeredBy({ provider: member.provider, model: member.model }) }
})

/** The parts of a whole answer, which say who gave it. */
const signed = (
  parts: ReadonlyArray<Response.PartEncoded>,
  member: Members.Member
): ReadonlyArray<Response.PartEncoded> => {
  const isKnown = parts.some((part) => part.type === "response-metadata")
  const all = parts.map((part) => (part.type === "response-metadata" ? withMember(part, member) : part))
  return isKnown ? all : [signatureOf(member), ...all]
}
