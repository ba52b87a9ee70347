/** Files that are loaded in this process. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Unsupported } from "../../internal/model/problems.ts"
import { isSync } from "../../../services/SyncBridge.ts"
import type { Ask } from "./engine.ts"
import { keyOf, type Source } from "./protocol.ts"
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

/** A file, for the scope. */
export const weights = (source: Source): Effect.Effect<Ask, unknown, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => take(keyOf(source), source)),
    (entry) => Effect.promise(() => leave(keyOf(source), entry))
  ).pipe(
    Effect.flatMap(({ loading }) => Effect.tryPromise({ try: () => loading, catch: (error) => error })),
    Effect.map(asking)
  )

const blocked =
  "llama.cpp was loaded in this process by Effect.runPromise, and gives promises, which Effect.runSync cannot wait for: build its Layer under Effect.runSync too"

const asking =
  (session: Session): Ask =>
  // A session answers with what the question asks for.
  (question, onChunk = () => {}) =>
    Effect.flatMap(isSync, (is) =>
      is
        ? Effect.fail(new Unsupported(blocked))
        : Effect.callback<never, unknown>((resume) => {
            const controller = new AbortController()
            const making = session.ask(question, { onChunk, signal: controller.signal }).then(
              (answer) => resume(Effect.succeed(answer as never)),
              (error: unknown) => resume(Effect.fail(error))
            )
            return Effect.andThen(
              Effect.sync(() => controller.abort()),
              // What it is about is free once the answer has come.
              Effect.promise(() => making)
            )
          })
    )
