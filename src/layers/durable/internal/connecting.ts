/**
 * The client of PostgreSQL, which tries to connect less and less often while the server is away. All that need a connection meanwhile
 * wait for one attempt and fail with it, so that a server that shuts down or starts is not asked once for every statement.
 */
import type { PgClient, PgPoolConfig } from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Client from "effect/sql/SqlClient"
import type { Acquirer, Connection } from "effect/sql/SqlConnection"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import { databaseProblem } from "../../internal/databaseProblem.ts"

/** The module of the driver. */
type Driver = typeof import("@effect/sql-pg/PgClient")

/** The wait before the second attempt, and the longest, in milliseconds. Of each wait at least half is waited. */
const first = 50
const longest = 1000

/** The attempts to connect. */
class Attempts {
  /** Says what becomes of the server. */
  readonly #say: (said: Effect.Effect<void>) => Effect.Effect<void>
  #wasThere = false
  /** How many attempts have failed, since the last that did not. */
  #failures = 0
  #error: SqlError | undefined
  #goneAt = 0
  #nextAt = 0
  /** Opens at the end of the attempt that is due or under way. */
  #attempt: Latch.Latch | undefined

  constructor(say: (said: Effect.Effect<void>) => Effect.Effect<void>) {
    this.#say = say
  }

  /** Acquires a connection, when the server is there or an attempt is due. */
  acquire<A, R>(connection: Effect.Effect<A, SqlError, R>): Effect.Effect<A, SqlError, R> {
    return Effect.suspend(() => (this.#failures === 0 ? this.#noted(connection) : this.#waiting(connection)))
  }

  #waiting<A, R>(connection: Effect.Effect<A, SqlError, R>): Effect.Effect<A, SqlError, R> {
    const other = this.#attempt
    if (other !== undefined) {
      const failures = this.#failures
      // An attempt that was interrupted says nothing, and leaves its place to another.
      const after = Effect.suspend(() =>
        this.#failures > failures ? Effect.fail(this.#error!) : this.acquire(connection)
      )
      return Effect.andThen(other.await, after)
    }
    const own = Latch.makeUnsafe()
    this.#attempt = own
    const due = Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, this.#nextAt - now)))
    return Effect.ensuring(
      Effect.andThen(live(due), this.#noted(connection)),
      Effect.sync(() => {
        this.#attempt = undefined
        own.openUnsafe()
      })
    )
  }

  #noted<A, R>(connection: Effect.Effect<A, SqlError, R>): Effect.Effect<A, SqlError, R> {
    return Effect.tapError(
      Effect.tap(connection, () => this.#came()),
      (error) => (error.reason.operation === "connect" ? this.#gone(error) : Effect.void)
    )
  }

  #came(): Effect.Effect<void> {
    this.#wasThere = true
    if (this.#failures === 0) return Effect.void
    this.#failures = 0
    return Effect.flatMap(now, (at) => {
      const seconds = Math.round((at - this.#goneAt) / 1000)
      return this.#say(Effect.logInfo(`The database of durable runs can be reached again, after ${seconds} seconds.`))
    })
  }

  #gone(error: SqlError): Effect.Effect<void> {
    this.#error = error
    return Effect.flatMap(Effect.all([now, Random.next]), ([at, random]) => {
      const wait = Math.min(longest, first * 2 ** Math.min(this.#failures, 10))
      this.#nextAt = at + wait * (0.5 + random / 2)
      if (this.#failures++ > 0) return Effect.void
      this.#goneAt = at
      // One that was never there fails the Layer, with the same words.
      if (!this.#wasThere) return Effect.void
      return this.#say(
        Effect.logWarning(
          `The database of durable runs cannot be reached, and they go on when it is there: ${databaseProblem(error)}.`
        )
      )
    })
  }
}

/** The clock of a test does not move a server. */
const live = Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
const now = live(Clock.currentTimeMillis)

/** The client of a database, as `layer` of the driver makes it, but for when it connects. */
export const layer = (driver: Driver, options: PgPoolConfig): Layer.Layer<Client.SqlClient, SqlError> =>
  Layer.effect(Client.SqlClient)(
    Effect.gen(function* () {
      // Not with what the statement that notices it has set, such as the level of the engine's messages.
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const attempts = new Attempts((said) => Effect.sync(() => void run(said)))
      return yield* connecting(driver, yield* driver.make(options), attempts)
    })
  ).pipe(Layer.provide(Reactivity.layer))

const connecting = (driver: Driver, client: PgClient, attempts: Attempts) => {
  const acquirer: Acquirer = attempts.acquire(client.reserve)
  return Client.make({
    acquirer,
    compiler: driver.makeCompiler(),
    driver: client.driver,
    prepareTransactionControls: true,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    commit,
    spanAttributes: [
      ["db.system.name", "postgresql"],
      ["db.namespace", client.config.database ?? client.config.username ?? "postgres"]
    ]
  })
}

/** PostgreSQL answers COMMIT of a transaction that has failed with ROLLBACK. */
const commit = (connection: Connection): Effect.Effect<void, SqlError> =>
  Effect.flatMap(connection.executeRaw("COMMIT", []), (result) => {
    if (!Predicate.hasProperty(result, "command") || result.command !== "ROLLBACK") return Effect.void
    const message = "COMMIT rolled back a transaction that had failed"
    return Effect.fail(
      new SqlError({ reason: new UnknownError({ cause: new Error(message), message, operation: "commit" }) })
    )
  })
