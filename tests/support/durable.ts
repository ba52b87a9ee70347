/** For tests of durable runs: a file of SQLite in a folder of its own, and engines on it. */
import { join } from "node:path"
import { Effect, type Layer, type Scope } from "effect"
import * as Durable from "troupe/Durable"
import { CurrentJournal } from "../../src/services/Journal.ts"
import { scopedFolder } from "./temporaryFolder.ts"

/** A file in a folder that is removed with the scope. */
export const temporaryFile: Effect.Effect<string, never, Scope.Scope> = Effect.map(scopedFolder, (folder) =>
  join(folder, "runs.db")
)

/** An engine that is quick to notice, and that gives up at once what it must give up. */
export const engine = (
  filename: string,
  options: Durable.EngineOptions = {}
): Layer.Layer<Durable.Engine, Layer.Error<ReturnType<typeof Durable.layerSqlite>>> =>
  Durable.layerSqlite({ filename, poll: "20 millis", drain: "10 seconds", ...options })

/** A step in a function: kept under a key of its own. */
export const step = <A extends string | number | boolean | null>(
  key: string,
  effect: Effect.Effect<A>,
  options: { readonly idempotent?: boolean } = {}
): Effect.Effect<A> =>
  Effect.flatMap(CurrentJournal, (journal) =>
    Effect.orDie(journal.run({ key, kind: "effect", name: key, idempotent: options.idempotent ?? false }, effect))
  ) as Effect.Effect<A>

/** Waits for a condition that another fiber brings about. */
export const eventually = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(condition, (holds) => (holds ? Effect.void : Effect.andThen(Effect.sleep(10), eventually(condition))))
