/** Stores that refuse ids and keys which some database would not keep, so that each of them refuses the same. */
import * as Effect from "effect/Effect"
import type { JsonObject } from "effect/Schema"
import { problemOfKey, storable } from "../../../internal/storable.ts"
import { StoreError } from "../../../RunError.ts"
import type { Item, Service as Memories } from "../../../services/MemoryStore.ts"
import type { Service as Sessions } from "../../../services/SessionStore.ts"

/** In bytes. A row of an index of PostgreSQL has at most 2,704, and there is an index of two of these. */
const maxId = 1536
const maxKey = 1024

const checking =
  (store: StoreError["store"], what: string, limit: number) =>
  (...texts: ReadonlyArray<string>): Effect.Effect<void, StoreError> => {
    for (const text of texts) {
      const problem = problemOfKey(what, text, limit)
      if (problem !== undefined) {
        return Effect.fail(new StoreError({ store, reason: "invalid", subject: storable(text.slice(0, 80)), problem }))
      }
    }
    return Effect.void
  }

const after = <A, E>(check: Effect.Effect<void, StoreError>, then: () => Effect.Effect<A, E>) =>
  Effect.andThen(check, Effect.suspend(then))

const start = (text: string | undefined): string | undefined => (text === undefined ? undefined : storable(text))

/** A store of sessions that checks ids. */
export const checkedSessions = (store: Sessions): Sessions => {
  const check = checking("sessions", "the id of a session", maxId)
  return {
    ...store,
    acquire: (id, owner, lease) => after(check(id), () => store.acquire(id, owner, lease)),
    renew: (id, owner, lease) => after(check(id), () => store.renew(id, owner, lease)),
    want: (id) => after(check(id), () => store.want(id)),
    release: (id, owner) => after(check(id), () => store.release(id, owner)),
    read: (id, from) => after(check(id), () => store.read(id, from)),
    append: (id, addition) => after(check(id), () => store.append(id, addition)),
    fork: (from, to, before) => after(check(from, to), () => store.fork(from, to, before)),
    rename: (from, to) => after(check(from, to), () => store.rename(from, to)),
    remove: (id) => after(check(id), () => store.remove(id)),
    list: (limit, id) => store.list(limit, start(id))
  }
}

/** As every database gives it back. What is kept is a copy, so that it stays as it was put. */
const kept = ({ metadata, text, ...names }: Item): Item => ({
  ...names,
  text: storable(text),
  ...(metadata === undefined ? {} : { metadata: JSON.parse(JSON.stringify(metadata)) as JsonObject })
})

/** A store of memories that checks namespaces and keys, and keeps of texts what every database keeps. */
export const checkedMemories = (store: Memories): Memories => {
  const checkSpace = checking("memory", "the namespace", maxKey)
  const checkKeys = checking("memory", "the key", maxKey)
  const check = (namespace: string, ...keys: ReadonlyArray<string>) =>
    Effect.andThen(checkSpace(namespace), checkKeys(...keys))
  return {
    put: (items) =>
      after(
        Effect.forEach(items, ({ key, namespace }) => check(namespace, key), { discard: true }),
        () => store.put(items.map(kept))
      ),
    get: (namespace, key) => after(check(namespace, key), () => store.get(namespace, key)),
    search: (query, namespace, limit) => after(check(namespace), () => store.search(query, namespace, limit)),
    list: (namespace, limit, key) => after(check(namespace), () => store.list(namespace, limit, start(key))),
    remove: (namespace, keys) => after(check(namespace, ...(keys ?? [])), () => store.remove(namespace, keys))
  }
}
