/** A store of memories in memory, ranked by BM25. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Kept, Service } from "../../../services/MemoryStore.ts"
import { queryWords, wordsOf } from "./words.ts"

interface Entry {
  readonly kept: Kept
  readonly counts: ReadonlyMap<string, number>
  readonly length: number
}

/** One namespace, with the entries that hold each word. */
interface Space {
  readonly entries: Map<string, Entry>
  readonly having: Map<string, Set<Entry>>
  /** The words of all entries. */
  length: number
}

const take = (space: Space, key: string): void => {
  const entry = space.entries.get(key)
  if (entry === undefined) return
  space.entries.delete(key)
  space.length -= entry.length
  for (const word of entry.counts.keys()) {
    const others = space.having.get(word)
    others?.delete(entry)
    if (others?.size === 0) space.having.delete(word)
  }
}

const add = (space: Space, kept: Kept): void => {
  take(space, kept.key)
  const counts = new Map<string, number>()
  const words = wordsOf(kept.text)
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  const entry = { kept, counts, length: words.length }
  space.entries.set(kept.key, entry)
  space.length += words.length
  for (const word of counts.keys()) {
    const others = space.having.get(word)
    if (others === undefined) space.having.set(word, new Set([entry]))
    else others.add(entry)
  }
}

/** The usual constants of BM25. */
const k1 = 1.2
const b = 0.75

/** A new, empty store. */
export const make = (): Service => {
  const spaces = new Map<string, Space>()
  return {
    put: (items) =>
      Effect.map(Clock.currentTimeMillis, (updatedAt) => {
        for (const item of items) {
          const space = spaces.get(item.namespace) ?? { entries: new Map(), having: new Map(), length: 0 }
          add(space, { ...item, updatedAt })
          spaces.set(item.namespace, space)
        }
      }),
    get: (namespace, key) => Effect.sync(() => spaces.get(namespace)?.entries.get(key)?.kept),
    search: (query, namespace, limit) =>
      Effect.sync(() => {
        const space = spaces.get(namespace)
        if (space === undefined) return []
        const count = space.entries.size
        const mean = space.length / Math.max(count, 1)
        const scores = new Map<Entry, number>()
        for (const word of queryWords(query.toLowerCase())) {
          const having = space.having.get(word)
          if (having === undefined) continue
          const rarity = Math.log(1 + (count - having.size + 0.5) / (having.size + 0.5))
          for (const entry of having) {
            const times = entry.counts.get(word)!
            const weight = (times * (k1 + 1)) / (times + k1 * (1 - b + (b * entry.length) / mean))
            scores.set(entry, (scores.get(entry) ?? 0) + rarity * weight)
          }
        }
        return [...scores]
          .toSorted(([, one], [, other]) => other - one)
          .slice(0, limit)
          .map(([{ kept }, score]) => ({ ...kept, score }))
      }),
    list: (namespace, limit, after) =>
      Effect.sync(() =>
        [...(spaces.get(namespace)?.entries.values() ?? [])]
          .map(({ kept }) => kept)
          .filter(({ key }) => after === undefined || key > after)
          .toSorted((one, other) => (one.key < other.key ? -1 : 1))
          .slice(0, limit)
      ),
    remove: (namespace, keys) =>
      Effect.sync(() => {
        const space = spaces.get(namespace)
        if (keys === undefined || space === undefined) spaces.delete(namespace)
        else for (const key of keys) take(space, key)
      })
  }
}
