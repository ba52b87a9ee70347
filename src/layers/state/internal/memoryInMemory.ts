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

/** The usual constants of BM25. */
const k1 = 1.2
const b = 0.75

/** A new, empty store. */
export const make = (): Service => {
  const spaces = new Map<string, Map<string, Entry>>()
  const all = (namespace: string) => [...(spaces.get(namespace)?.values() ?? [])]
  return {
    put: (items) =>
      Effect.map(Clock.currentTimeMillis, (updatedAt) => {
        for (const item of items) {
          const space = spaces.get(item.namespace) ?? new Map<string, Entry>()
          const counts = new Map<string, number>()
          const words = wordsOf(item.text)
          for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
          space.set(item.key, { kept: { ...item, updatedAt }, counts, length: words.length })
          spaces.set(item.namespace, space)
        }
      }),
    get: (namespace, key) => Effect.sync(() => spaces.get(namespace)?.get(key)?.kept),
    search: (query, namespace, limit) =>
      Effect.sync(() => {
        const entries = all(namespace)
        const mean = entries.reduce((sum, { length }) => sum + length, 0) / Math.max(entries.length, 1)
        const scores = new Map<Entry, number>()
        for (const word of queryWords(query)) {
          const having = entries.filter(({ counts }) => counts.has(word))
          const rarity = Math.log(1 + (entries.length - having.length + 0.5) / (having.length + 0.5))
          for (const entry of having) {
            const count = entry.counts.get(word)!
            const weight = (count * (k1 + 1)) / (count + k1 * (1 - b + (b * entry.length) / mean))
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
        all(namespace)
          .map(({ kept }) => kept)
          .filter(({ key }) => after === undefined || key > after)
          .toSorted((one, other) => (one.key < other.key ? -1 : 1))
          .slice(0, limit)
      ),
    remove: (namespace, keys) =>
      Effect.sync(() => {
        if (keys === undefined) spaces.delete(namespace)
        else for (const key of keys) spaces.get(namespace)?.delete(key)
      })
  }
}
