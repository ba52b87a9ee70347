/**
 * The port to a store of memories: texts that agents put down and find again by what they say. `layers/state/MemoryStore.ts` is
 * the public module, with the Layers; `agents/Memory.ts` has the functions, the tools and the middleware.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { StoreError } from "../RunError.ts"

/** A text to be kept. */
export interface Item {
  /** Whose it is: a user, a project. Searches see one namespace. */
  readonly namespace: string
  /** Names it in its namespace; a text with the same key takes its place. */
  readonly key: string
  readonly text: string
  /** Anything else to keep with it, such as its source. It is not searched. */
  readonly metadata?: Schema.JsonObject | undefined
}

/** A text that is kept. */
export interface Kept extends Item {
  /** In milliseconds since the epoch. */
  readonly updatedAt: number
}

/** A text that was found. */
export interface Found extends Kept {
  /** How well it fits, for the order of one search only: more is better. */
  readonly score: number
}

/** A store of memories. */
export interface Service {
  readonly put: (items: ReadonlyArray<Item>) => Effect.Effect<void, StoreError>
  readonly get: (namespace: string, key: string) => Effect.Effect<Kept | undefined, StoreError>
  /** Texts of a namespace that fit `query`, the best first, at most `limit`. */
  readonly search: (query: string, namespace: string, limit: number) => Effect.Effect<ReadonlyArray<Found>, StoreError>
  /** Texts of a namespace by key, at most `limit`, after the key `after`. */
  readonly list: (
    namespace: string,
    limit: number,
    after: string | undefined
  ) => Effect.Effect<ReadonlyArray<Kept>, StoreError>
  /** Removes texts by their keys, or without keys the whole namespace. */
  readonly remove: (namespace: string, keys: ReadonlyArray<string> | undefined) => Effect.Effect<void, StoreError>
}

/** The store of memories of the program. Make one with `layerMemory`, `layerSql` or `layerSqlVectors`. */
export class MemoryStore extends Context.Service<MemoryStore, Service>()("troupe/MemoryStore") {}
