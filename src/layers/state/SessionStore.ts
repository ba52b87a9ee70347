/**
 * Sessions: conversations that outlive their runs. `Session.of` makes a runner of one; the functions here read and manage
 * them; a Layer keeps them in memory or in a database.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type { StoreError } from "../../RunError.ts"
import { SessionStore } from "../../services/SessionStore.ts"
import { checkedSessions } from "./internal/checkedIds.ts"
import * as InMemory from "./internal/sessionMemory.ts"
import { make } from "./internal/sessionSql.ts"
import { SqlClientTag } from "./internal/sqlClient.ts"

export {
  type Acquired,
  type Addition,
  fork,
  giveUp,
  history,
  type Info,
  Lease,
  list,
  pending,
  prune,
  Record,
  remove,
  rename,
  type Service,
  SessionStore,
  type Stored,
  version
} from "../../services/SessionStore.ts"

/**
 * Keeps sessions in the memory of this process, for as long as the Layer lives: for tests, and for programs whose
 * conversations end with them. Removed are only those that `remove` or `prune` removes.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Session, SessionStore } from "troupe"
 *
 * const chat = Session.of(Agent.make("clerk", {}), "user-42")
 * const program = Effect.andThen(chat.run("My name is Ada."), chat.run("What is 2 + 40?")).pipe(
 *   Effect.provide([SessionStore.layerMemory, DemoModel.layer])
 * )
 */
export const layerMemory: Layer.Layer<SessionStore> = Layer.effect(SessionStore)(
  Effect.sync(() => checkedSessions(InMemory.make()))
)

/**
 * Keeps sessions in a SQLite or PostgreSQL database: that of the `SqlClient` which is provided, by `Sqlite.layer` or by
 * `PgClient.layer` of `@effect/sql-pg`. Any number of processes can share it.
 *
 * Its tables, whose names begin with `troupe_`, are made or brought up to date when the Layer is built, by one process where
 * several start at once. Fails with `SqlError` when the database cannot be used then, and with `StoreError` when its tables
 * are of a newer version than this one knows.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, DemoModel, Session, SessionStore, Sqlite } from "troupe"
 *
 * const chat = Session.of(Agent.make("clerk", {}), "user-42")
 * const Store = SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: "troupe.db" })))
 * const program = chat.run("What is 2 + 40?").pipe(Effect.provide([Store, DemoModel.layer]))
 */
export const layerSql: Layer.Layer<SessionStore, SqlError.SqlError | StoreError, SqlClient.SqlClient> = Layer.effect(
  SessionStore
)(Effect.map(Effect.flatMap(SqlClientTag, make), checkedSessions))
