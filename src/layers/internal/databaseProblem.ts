/** Failures of a database: which pass by themselves, and what they say in words that a user can act on. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { SqlError } from "effect/sql/SqlError"
import { messageOf } from "../../internal/message.ts"

/** Whether this is an error of `effect/sql`. */
export const isSqlError = (error: unknown): error is SqlError => Predicate.isTagged(error, "SqlError")

/** Whether the same may succeed a moment later: the connection was lost, or the server starts or stops (PostgreSQL's codes 57P). */
export const isTransient = (error: unknown): boolean => {
  if (!isSqlError(error)) return false
  const { cause } = error.reason
  return error.isRetryable || (Predicate.hasProperty(cause, "code") && String(cause.code).startsWith("57P"))
}

/** A connection that is lost at the end of a transaction is one that `effect/sql` dies of. It is a failure like the others. */
export const asFailures = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
  Effect.catchCause(effect, (cause): Effect.Effect<never, E | SqlError> => {
    const died = cause.reasons.filter(Cause.isDieReason).map(({ defect }) => defect)
    const lost = died.find(isSqlError)
    if (lost === undefined || !died.every(isSqlError) || Cause.hasInterrupts(cause)) return Effect.failCause(cause)
    const failed = cause.reasons.filter(Cause.isFailReason).map(({ error }) => error)
    const own = failed.find((error) => !isSqlError(error)) ?? failed[0]
    return Effect.fail(own ?? lost)
  })

/** Failures of which we know more than the driver says. */
const hints: ReadonlyArray<readonly [said: RegExp, hint: string]> = [
  [
    /prepared statement .* (does not exist|already exists)/,
    "a pooler in transaction mode keeps no prepared statements, so make the client with prepare: false"
  ],
  [/exceeds maxMessageSize/, "a row is larger than the client takes, so make it with a larger maxMessageSize"],
  [/readonly database|read-only transaction/, "this process may not write it"],
  [/database is locked/, "another process has held its lock for longer than busyTimeout"]
]

/** The error of `effect/sql` that an error of the cluster was made of. */
const innermost = (error: unknown, depth = 0): unknown =>
  !isSqlError(error) && depth < 4 && Predicate.hasProperty(error, "cause") && error.cause !== undefined
    ? innermost(error.cause, depth + 1)
    : error

/** The driver's own words, which say more than those of the client around it, and what we know of them. */
export const databaseProblem = (error: unknown): string => {
  const inner = innermost(error)
  const { message, reason } = isSqlError(inner) ? inner : { message: messageOf(inner), reason: undefined }
  const said = reason?.cause === undefined ? "" : messageOf(reason.cause)
  const whole = said === "" || message.includes(said) ? message : `${message}: ${said}`
  const hint = hints.find(([pattern]) => pattern.test(whole))?.[1]
  return hint === undefined ? whole : `${whole}; ${hint}`
}
