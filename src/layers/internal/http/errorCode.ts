/** The code of an error of Node, such as `EADDRINUSE`. */
import * as Predicate from "effect/Predicate"

/** The error's code; the error as text where it has none. */
export const errorCodeOf = (cause: unknown): string =>
  Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : String(cause)
