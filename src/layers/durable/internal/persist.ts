/** Statements that have to succeed for a run to go on: they are made again while the database is out of reach. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { hasProperty } from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import { asFailures, databaseProblem, isSqlError } from "../../internal/databaseProblem.ts"

/** Makes a statement until it succeeds. An execution that is fenced meanwhile writes nothing. */
export type Persist = <A>(statement: Effect.Effect<A, unknown>) => Effect.Effect<A>

/** When a statement is made again. */
export const persistence = Schedule.min([Schedule.exponential(50, 2), Schedule.spaced(2000)])

/** Failures that trying again does not change: the statement asks for more than the database takes. By classes of PostgreSQL's codes. */
const isForGood = (error: unknown): boolean => {
  const code = isSqlError(error) && hasProperty(error.reason.cause, "code") ? String(error.reason.cause.code) : ""
  return /^(22|54)...$/.test(code)
}

/** How often it is said that the database is waited for, in milliseconds. */
const saidEvery = 30_000

/** Makes the statements of one engine, which says that it waits, and not each of its runs. */
export const make = (): Persist => {
  let saidAt = -Infinity
  const say = (error: unknown): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now - saidAt < saidEvery) return Effect.void
      saidAt = now
      return Effect.logWarning(
        `Durable runs wait for their database, and go on when it is there: ${databaseProblem(error)}. Check that it can be reached and that its disk is not full.`
      )
    })
  return (statement) =>
    Effect.tapError(asFailures(statement), say).pipe(
      Effect.retry({ schedule: persistence, while: (error) => !isForGood(error) }),
      Effect.catch((error) => Effect.die(new Error(`the database refuses to keep it: ${databaseProblem(error)}`)))
    )
}
