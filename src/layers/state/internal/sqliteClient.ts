/** A `SqlClient` on one connection of `node:sqlite`. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Client from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import { messageOf } from "../../../internal/message.ts"
import { isSyncFiber, SyncBridge } from "../../../services/SyncBridge.ts"
import type { SqlModules } from "./sqlModules.ts"

/** Options with their defaults. */
export interface Settings {
  readonly filename: string
  readonly busyTimeout: Duration.Duration
  readonly synchronous: "full" | "normal"
  readonly extensions: ReadonlyArray<string>
}

/** How long SQLite itself waits for a lock, which blocks the thread, before other fibers get their turn. */
const blockingMs = 50
/** Prepared statements that are kept. */
const maxPrepared = 500
/** Rows of a stream that are read at once. */
const rowsAtOnce = 128

type Rows = ReadonlyArray<Readonly<Record<string, unknown>>>
type Mode = "rows" | "values" | "raw"

interface Prepared {
  readonly statement: StatementSync
  readonly hasRows: boolean
}

/** Opens the database; closed with the scope. */
export const make = Effect.fnUntraced(function* (
  modules: SqlModules,
  settings: Settings
): Effect.fn.Return<Client.SqlClient, SqlError, Scope.Scope> {
  const { SqlClient, Statement } = modules
  const canSleep = yield* Effect.withFiber((fiber) => Effect.succeed(sleeps(fiber)))
  const errors = failing(modules, settings)
  const database = yield* Effect.acquireRelease(open(settings, canSleep, errors), (opened) =>
    Effect.sync(() => opened.close())
  )
  const connection = connectionOf(modules, database, settings, errors, canSleep)
  const semaphore = yield* Semaphore.make(1)
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore,
    isTransaction: () => database.isTransaction
  })
  return yield* Effect.provideServiceEffect(
    SqlClient.make({
      ...acquirers,
      driver: "sqlite-node",
      compiler: Statement.makeCompilerSqlite(),
      // A transaction that reads first and is refused the lock later could not be tried again in its middle.
      beginTransaction: "BEGIN IMMEDIATE",
      prepareTransactionControls: true,
      spanAttributes: [["db.system.name", "sqlite"]]
    }),
    modules.Reactivity.Reactivity,
    modules.Reactivity.make
  )
})

/** Without the sync edge nothing can wait under `Effect.runSync` but SQLite itself. */
const sleeps = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  !isSyncFiber(fiber) || fiber.getRef(SyncBridge) !== undefined

type Fail = (cause: unknown, operation: string, message?: string) => SqlError

const failing =
  ({ SqlError }: SqlModules, { filename }: Settings): Fail =>
  (cause, operation, message = `SQLite could not ${operation} on "${filename}": ${messageOf(cause)}`) => {
    // The name by which effect/sql finds the number of an error.
    if (Predicate.hasProperty(cause, "errcode")) Object.assign(cause, { errno: cause.errcode })
    return new SqlError.SqlError({ reason: SqlError.classifySqliteError(cause, { message, operation }) })
  }

const isBusy = ({ reason }: SqlError): boolean => reason._tag === "LockTimeoutError"

/** Tries again while the file is locked, for `busyTimeout`, and lets other fibers run in between. */
const whileBusy = <A>(
  attempt: Effect.Effect<A, SqlError>,
  canRetry: () => boolean,
  { busyTimeout }: Settings
): Effect.Effect<A, SqlError> =>
  Effect.catch(attempt, (first) =>
    isBusy(first) && canRetry()
      ? Effect.retry(Effect.delay(attempt, 5), {
          while: isBusy,
          schedule: Schedule.jittered(Schedule.spaced(10)).pipe(Schedule.upTo({ duration: busyTimeout }))
        })
      : Effect.fail(first)
  )

interface Module {
  readonly DatabaseSync: typeof DatabaseSync
}

/** It is asked for here, because importing it would keep troupe from being loaded where it does not exist. */
const moduleOf = (): Module | undefined => process.getBuiltinModule("node:sqlite") as Module | undefined

const open = (settings: Settings, canSleep: boolean, errors: Fail): Effect.Effect<DatabaseSync, SqlError> => {
  const { busyTimeout, extensions, filename, synchronous } = settings
  const once = Effect.suspend((): Effect.Effect<DatabaseSync, SqlError> => {
    const module = moduleOf()
    if (module === undefined) {
      const problem =
        "there is no node:sqlite here. Run the program with Node 22.19 or newer, or provide another SqlClient"
      return Effect.fail(errors(new Error(problem), "open", `SQLite could not open "${filename}": ${problem}`))
    }
    let database: DatabaseSync | undefined
    try {
      const timeout = canSleep ? blockingMs : Duration.toMillis(busyTimeout)
      database = new module.DatabaseSync(filename, { timeout, allowExtension: extensions.length > 0 })
      database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; PRAGMA foreign_keys = ON`)
      for (const extension of extensions) database.loadExtension(extension)
      if (extensions.length > 0) database.enableLoadExtension(false)
      return Effect.succeed(database)
    } catch (cause) {
      database?.close()
      return Effect.fail(errors(cause, "open", notOpened(filename, cause)))
    }
  })
  return canSleep ? whileBusy(once, () => true, settings) : once
}

const notOpened = (filename: string, cause: unknown): string =>
  `SQLite could not open "${filename}": ${messageOf(cause)}. Check that its folder exists and may be written, and that it is an SQLite database.`

const connectionOf = (
  { SqlClient }: SqlModules,
  database: DatabaseSync,
  settings: Settings,
  errors: Fail,
  canSleep: boolean
): Connection => {
  const prepare = preparing(database)
  const call = <A>(
    sql: string,
    f: (prepared: Prepared) => A,
    { values = false, keep = true }: { readonly values?: boolean; readonly keep?: boolean } = {}
  ): Effect.Effect<A, SqlError> => {
    const once = Effect.withFiber((fiber): Effect.Effect<A, SqlError> => {
      try {
        const prepared = prepare(sql, keep)
        prepared.statement.setReadBigInts(Context.get(fiber.context, SqlClient.SafeIntegers))
        prepared.statement.setReturnArrays(values)
        return Effect.succeed(f(prepared))
      } catch (cause) {
        return Effect.fail(errors(cause, "execute"))
      }
    })
    // Within a transaction the lock is held already, and an earlier part of it cannot be made again.
    return canSleep ? whileBusy(once, () => !database.isTransaction, settings) : once
  }
  const all =
    (params: ReadonlyArray<unknown>, mode: Mode) =>
    ({ hasRows, statement }: Prepared): unknown => {
      if (hasRows) return statement.all(...inputs(params))
      const result = statement.run(...inputs(params))
      return mode === "raw" ? result : []
    }
  const rows = (sql: string, params: ReadonlyArray<unknown>, keep: boolean, transform?: (rows: Rows) => Rows) => {
    const found = call(sql, all(params, "rows"), { keep }) as Effect.Effect<Rows, SqlError>
    return transform === undefined ? found : Effect.map(found, transform)
  }
  const values = (sql: string, params: ReadonlyArray<unknown>, keep: boolean) =>
    call(sql, all(params, "values"), { values: true, keep }) as Effect.Effect<
      ReadonlyArray<ReadonlyArray<unknown>>,
      SqlError
    >
  return {
    execute: (sql, params, transform) => rows(sql, params, true, transform),
    executeUnprepared: (sql, params, transform) => rows(sql, params, false, transform),
    executeRaw: (sql, params) => call(sql, all(params, "raw")),
    executeValues: (sql, params) => values(sql, params, true),
    executeValuesUnprepared: (sql, params) => values(sql, params, false),
    executeStream: (sql, params, transform) => {
      const begun = call(sql, ({ statement }) => statement.iterate(...inputs(params)), { keep: false })
      return Stream.unwrap(Effect.map(begun, (iterator) => streamOf(iterator, errors, transform)))
    }
  }
}

const preparing = (database: DatabaseSync) => {
  const kept = new Map<string, Prepared>()
  return (sql: string, keep: boolean): Prepared => {
    const known = keep ? kept.get(sql) : undefined
    if (known !== undefined) return known
    const statement = database.prepare(sql)
    const prepared = { statement, hasRows: statement.columns().length > 0 }
    if (keep) {
      if (kept.size >= maxPrepared) kept.clear()
      kept.set(sql, prepared)
    }
    return prepared
  }
}

/** What `node:sqlite` binds: it has no booleans and no dates. */
const inputs = (params: ReadonlyArray<unknown>): ReadonlyArray<SQLInputValue> =>
  params.map((value) =>
    typeof value === "boolean"
      ? Number(value)
      : value instanceof Date
        ? value.toISOString()
        : value === undefined
          ? null
          : (value as SQLInputValue)
  )

type Row = Readonly<Record<string, unknown>>

const streamOf = (
  iterator: Iterator<Row>,
  errors: Fail,
  transform: ((rows: Rows) => Rows) | undefined
): Stream.Stream<Row, SqlError> =>
  Stream.paginate(iterator, (from) =>
    Effect.try({
      try: () => {
        const rows: Array<Row> = []
        let next = from.next()
        while (next.done !== true) {
          rows.push(next.value)
          if (rows.length === rowsAtOnce) break
          next = from.next()
        }
        const given = transform === undefined ? rows : transform(rows)
        return [given, next.done === true ? Option.none<Iterator<Row>>() : Option.some(from)] as const
      },
      catch: (cause) => errors(cause, "execute")
    })
  )
