/**
 * A cache of model answers, on `Persistence` of `effect/persistence`: in memory, on SQL, Redis or a key-value store. The same request
 * to the same model gives the same answer again, until its time is over.
 *
 * It stands inside of retries and of the journal, around each attempt of a call.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Exit from "effect/Exit"
import type * as Persistable from "effect/persistence/Persistable"
import type * as Persistence from "effect/persistence/Persistence"
import * as PrimaryKey from "effect/PrimaryKey"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { assertFunction, assertOptions, assertText, durationOf, namesOf } from "../internal/definition.ts"
import { hash } from "../internal/fingerprint.ts"
import { toJson } from "../internal/json.ts"
import { messageOf } from "../internal/message.ts"
import * as Middleware from "../Middleware.ts"
import { GuardrailTripped, InvalidOutput } from "../RunError.ts"
import * as ModelInfo from "../services/ModelInfo.ts"
import * as Cached from "./internal/cachedParts.ts"
import * as RunScoped from "./internal/runScoped.ts"
import * as WrappedModel from "./internal/wrappedModel.ts"

/** Options of {@link make}. */
export interface Options {
  /** How long an answer is given again. Default: 1 hour. */
  readonly ttl?: Duration.Input | undefined
  /** The name of the store, which keeps caches apart. Default `"troupe-responses"`. */
  readonly storeId?: string | undefined
  /** Which requests are looked up and kept. Default: all. */
  readonly only?: ((request: Middleware.ModelRequest) => boolean) | undefined
}

/** The service of `effect/persistence`, by its key: its module loads SQL, which this one does not need. */
const Store = Context.Service<Persistence.Persistence, Persistence.Persistence["Service"]>(
  "effect/persistence/Persistence"
)

/** An answer that is kept. */
interface Key extends Persistable.Persistable<typeof Schema.Json, typeof Schema.Never> {}

const keyOf = (id: string): Key => ({
  [PrimaryKey.symbol]: () => id,
  "~effect/persistence/Persistable": { success: Schema.Json, error: Schema.Never }
})

/**
 * Makes the middleware that caches. It needs a `Persistence`. A request is the same where messages, tools, tool choice, settings and
 * model are; answers of other agents count too. Only whole answers are kept: none that was cut off, refused or broken, nor
 * one with which a run fails because it does not fit the output schema or a guardrail trips. An answer from the cache has used no
 * tokens, and comes in one piece where it is streamed. A store that fails is passed over.
 *
 * Throws `InvalidDefinition` for a `ttl` that is not a duration.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Persistence } from "effect/persistence"
 * import { Agent, Middleware, ResponseCache } from "troupe"
 *
 * const cache = Middleware.layer(ResponseCache.make({ ttl: "1 day" })).pipe(Layer.provide(Persistence.layerMemory))
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(cache))
 */
export const make = (options: Options = {}): Middleware.Middleware<never, Persistence.Persistence> => {
  const { only = () => true, storeId = "troupe-responses" } = options
  const subject = "response cache"
  assertOptions(subject, options, namesOf<Options>({ ttl: true, storeId: true, only: true }))
  assertText(subject, "storeId", storeId)
  assertFunction(subject, "only", only)
  const ttl = durationOf(subject, "ttl", options.ttl ?? "1 hour")
  const runs = RunScoped.make<Used>("response cache")
  return Middleware.make("response cache", {
    run: (run, next) =>
      Effect.scoped(
        Effect.flatMap(Store, (persistence) =>
          Effect.flatMap(persistence.make({ storeId, timeToLive: () => ttl }), (store) => {
            const used: Used = { store, last: undefined }
            return Effect.tapError(runs.provide(next(run), used), (error) =>
              isOfAnswer(error) ? forget(used) : Effect.void
            )
          })
        )
      ),
    model: (request, next) =>
      Effect.flatMap(runs.get, (used) => {
        if (used === undefined || !only(request)) return next(request)
        return WrappedModel.provide(next(request), (source) => cached(source, request, used))
      })
  })
}

/** What a run uses of the cache. */
interface Used {
  readonly store: Persistence.PersistenceStore
  /** The answer that it was given last, from the cache or to be kept. */
  last: Key | undefined
}

/** True for a failure that the same answer would lead to again. */
const isOfAnswer = (error: unknown): boolean => error instanceof InvalidOutput || error instanceof GuardrailTripped

const forget = ({ last, store }: Used): Effect.Effect<void> =>
  last === undefined ? Effect.void : Effect.catch(store.remove(last), passOver)

const passOver = (error: unknown): Effect.Effect<void> => Effect.logDebug(`response cache: ${messageOf(error)}`)

const encodePrompt = Schema.encodeSync(Prompt.Prompt)

/** A request as it is sent, behind all other middleware. */
interface Sent {
  readonly prompt: Prompt.Prompt
  readonly tools: ReadonlyArray<string>
  readonly toolChoice: unknown
}

/** What makes two requests the same. Notes and other options of ours are not sent. */
const idOf = (source: WrappedModel.Source, tools: Middleware.ModelRequest["tools"], sent: Sent): Effect.Effect<Key> =>
  Effect.map(
    Effect.all([ModelInfo.OutputFormat, ModelInfo.MaxOutputTokens, ModelInfo.CurrentSettings]),
    ([format, limit, settings]) =>
      keyOf(
        hash(
          toJson({
            model: WrappedModel.nameOf(source),
            server: source.info?.server ?? null,
            messages: encodePrompt(sent.prompt).content.map(({ content, role }) => ({ role, content })),
            tools: tools.filter(({ name }) => sent.tools.includes(name)),
            toolChoice: sent.toolChoice ?? null,
            format: format ?? null,
            limit: limit ?? null,
            settings
          })
        )
      )
  )

/** The arguments of a model of `effect/ai`, as far as they are looked at. */
interface Options_ {
  readonly prompt: Prompt.RawInput
  readonly toolkit?: { readonly tools?: Readonly<Record<string, unknown>> } | undefined
  readonly toolChoice?: unknown
}

const sentIn = ({ prompt, toolChoice, toolkit }: Options_): Sent => ({
  prompt: Prompt.make(prompt),
  tools: Object.keys(toolkit?.tools ?? {}),
  toolChoice
})

const sentTo = ({ prompt, toolChoice, tools }: LanguageModel.ProviderOptions): Sent => ({
  prompt,
  tools: tools.map(({ name }) => name as string),
  toolChoice
})

const cached = (source: WrappedModel.Source, { tools }: Middleware.ModelRequest, used: Used): WrappedModel.Wrapped => {
  const { store } = used
  const { direct, model } = source
  const cacheOf = (sent: Sent): Cache => {
    const key = Effect.map(idOf(source, tools, sent), (key) => (used.last = key))
    return {
      find: Effect.flatMap(key, (key) => store.get(key)).pipe(
        Effect.map((exit) => (exit !== undefined && Exit.isSuccess(exit) ? Cached.fromStored(exit.value) : undefined)),
        Effect.catch((error) => Effect.as(passOver(error), undefined))
      ),
      keep: (given) => {
        const parts = Cached.collect(given)
        if (parts === undefined) return Effect.void
        const kept = Effect.flatMap(key, (key) => store.set(key, Exit.succeed(toJson(parts))))
        return Effect.catch(kept, passOver)
      }
    }
  }
  const service = {
    ...model,
    generateText: (options: never) =>
      whole(cacheOf(sentIn(options)), model.generateText(options), (response) => response.content, Cached.toResponse),
    streamText: (options: never) =>
      streamed(cacheOf(sentIn(options)), model.streamText(options), Cached.toDecodedStream)
  }
  return {
    // The functions take and give what those of the model do.
    model: service as unknown as LanguageModel.LanguageModel,
    direct: direct === undefined ? undefined : directOf(direct, (request) => cacheOf(sentTo(request)))
  }
}

const directOf = (
  direct: ModelInfo.Direct,
  cacheOf: (request: LanguageModel.ProviderOptions) => Cache
): ModelInfo.Direct => ({
  generateText: (request, memory) =>
    whole(
      cacheOf(request),
      direct.generateText(request, memory),
      (parts) => parts,
      (parts) => parts
    ),
  streamText: (request, memory) => streamed(cacheOf(request), direct.streamText(request, memory), Cached.toStream)
})

interface Cache {
  readonly find: Effect.Effect<Cached.Parts | undefined>
  readonly keep: (parts: ReadonlyArray<unknown>) => Effect.Effect<void>
}

const whole = <A, R>(
  { find, keep }: Cache,
  call: Effect.Effect<A, AiError.AiError, R>,
  partsOf: (answer: A) => ReadonlyArray<unknown>,
  toAnswer: (parts: Cached.Parts) => unknown
): Effect.Effect<A, AiError.AiError, R> =>
  Effect.flatMap(find, (known) =>
    known === undefined ? Effect.tap(call, (answer) => keep(partsOf(answer))) : Effect.sync(() => toAnswer(known) as A)
  )

const streamed = <A, R>(
  { find, keep }: Cache,
  call: Stream.Stream<A, AiError.AiError, R>,
  toParts: (parts: Cached.Parts) => ReadonlyArray<unknown>
): Stream.Stream<A, AiError.AiError, R> =>
  Stream.unwrap(
    Effect.map(find, (known) => {
      if (known !== undefined) return Stream.fromIterable(toParts(known) as ReadonlyArray<A>)
      const seen: Array<A> = []
      return call.pipe(
        Stream.map((part) => {
          seen.push(part)
          return part
        }),
        Stream.onExit((exit) => (Exit.isSuccess(exit) ? keep(seen) : Effect.void))
      )
    })
  )
