/** Files that are loaded in this process. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Unsupported } from "../../internal/model/problems.ts"
import { isSync } from "../../../services/SyncBridge.ts"
import type { Embed, Generating, Weights } from "./engine.ts"
import type { ContextOptions, Source } from "./protocol.ts"
import { load, type Package, type Session } from "./session.ts"

/** Not written as a literal, which bundlers would look for. */
const imported = (name: string): Promise<Package> =>
  import(/* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name) as Promise<Package>

interface Entry {
  users: number
  readonly loading: Promise<Session>
}

const entries = new Map<string, Entry>()
const counts = { loads: 0 }

/** How many files have been loaded, and how many are in memory now. */
export const loaded = (): { readonly loads: number; readonly now: number } => ({
  loads: counts.loads,
  now: entries.size
})

const take = (key: string, source: Source): Entry => {
  let entry = entries.get(key)
  if (entry === undefined) {
    const loading = imported("node-llama-cpp").then((library) => {
      counts.loads++
      return load(library, source)
    })
    entry = { users: 0, loading }
    entries.set(key, entry)
    loading.catch(() => {
      if (entries.get(key)?.loading === loading) entries.delete(key)
    })
  }
  entry.users++
  return entry
}

/** The last user frees the weights. */
const leave = (key: string, entry: Entry): Promise<void> => {
  entry.users--
  if (entry.users > 0) return Promise.resolve()
  if (entries.get(key) === entry) entries.delete(key)
  return entry.loading.then(
    (session) => session.dispose(),
    () => undefined
  )
}

const promised = <A>(start: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: start, catch: (error) => error })

/** A file, for the scope. */
export const weights = (source: Source): Effect.Effect<Weights, unknown, Scope.Scope> => {
  const key = `${String(source.gpu)} ${source.modelPath}`
  return Effect.acquireRelease(
    Effect.sync(() => take(key, source)),
    (entry) => Effect.promise(() => leave(key, entry))
  ).pipe(
    Effect.flatMap(({ loading }) => promised(() => loading)),
    Effect.map((session) => ({
      context: (options) => generating(session, options),
      embedding: (options) => embedding(session, options)
    }))
  )
}

const blocked =
  "llama.cpp was loaded in this process by Effect.runPromise, and gives promises, which Effect.runSync cannot wait for: build its Layer under Effect.runSync too"

const unlessBlocked = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  Effect.flatMap(isSync, (is) => (is ? Effect.fail(new Unsupported(blocked)) : effect))

const freed = (session: Session, id: number) => Effect.promise(() => session.free(id))

const generating = (session: Session, options: ContextOptions): Effect.Effect<Generating, unknown, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      promised(() => session.context(options)),
      ({ id }) => freed(session, id)
    ),
    ({ id, size }) => ({
      size,
      generate: (sequence, task, onChunk) =>
        unlessBlocked(
          Effect.callback((resume) => {
            const controller = new AbortController()
            const making = session.generate(id, sequence, task, { onChunk, signal: controller.signal }).then(
              (reply) => resume(Effect.succeed(reply)),
              (error: unknown) => resume(Effect.fail(error))
            )
            return Effect.andThen(
              Effect.sync(() => controller.abort()),
              // The sequence is free once the token is made.
              Effect.promise(() => making)
            )
          })
        )
    })
  )

const embedding = (
  session: Session,
  options: Omit<ContextOptions, "sequences">
): Effect.Effect<Embed, unknown, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      promised(() => session.embedding(options)),
      ({ id }) => freed(session, id)
    ),
    ({ id }) =>
      (text) =>
        unlessBlocked(promised(() => session.embed(id, text)))
  )
