/** What an evaluation keeps: runs and scores, so that one that is begun again does only what is left. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import type { Score } from "./scorer.ts"

/** The service of `effect/persistence`, by its key: its module loads SQL, which this one does not need. */
export const Store = Context.Service<KeyValueStore.KeyValueStore, KeyValueStore.KeyValueStore>(
  "effect/persistence/KeyValueStore"
)

/** Where what was done is kept; `undefined`: nowhere. */
export const CurrentCache: Context.Reference<KeyValueStore.KeyValueStore | undefined> = Context.Reference<
  KeyValueStore.KeyValueStore | undefined
>("troupe/Eval/Cache", { defaultValue: () => undefined })

/** What is kept under a key. A store that fails has nothing. */
export const get = (key: string): Effect.Effect<string | undefined> =>
  Effect.flatMap(CurrentCache, (store) =>
    store === undefined ? Effect.succeed(undefined) : Effect.orElseSucceed(store.get(key), () => undefined)
  )

const warned = new WeakSet<object>()

/** Keeps a text. A store that fails does not fail the evaluation: one warning says so. */
export const set = (key: string, text: string): Effect.Effect<void> =>
  Effect.flatMap(CurrentCache, (store) => {
    if (store === undefined) return Effect.void
    return Effect.catch(store.set(key, text), (error) => {
      if (warned.has(store)) return Effect.void
      warned.add(store)
      return Effect.logWarning("What was evaluated cannot be kept, and would be done again.", error)
    })
  })

const KeptScore = Schema.fromJsonString(
  Schema.Struct({
    score: Schema.NullOr(Schema.Finite),
    reason: Schema.optionalKey(Schema.String),
    metadata: Schema.optionalKey(Schema.Json)
  })
)
const encode = Schema.encodeOption(KeptScore)
const decode = Schema.decodeOption(KeptScore)

/** A score that is kept, or the one that `made` makes, which is kept unless its scorer failed. */
export const score = <R>(
  key: string | undefined,
  made: Effect.Effect<Score, never, R>
): Effect.Effect<Score, never, R> =>
  key === undefined
    ? made
    : Effect.flatMap(get(key), (text) => {
        const kept = text === undefined ? undefined : decode(text)
        if (kept?._tag === "Some") return Effect.succeed<Score>(kept.value)
        return Effect.tap(made, (one) => {
          const encoded = one.error === undefined ? encode(one) : undefined
          return encoded?._tag === "Some" ? set(key, encoded.value) : Effect.void
        })
      })
