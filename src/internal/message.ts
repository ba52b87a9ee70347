/** The message of an error of any kind. */
import * as Predicate from "effect/Predicate"

/** The message of what was failed with or thrown, which need not be an `Error`. Never throws. */
export const messageOf = (error: unknown): string => {
  try {
    return Predicate.hasProperty(error, "message") ? String(error.message) : String(error)
  } catch {
    return "an error that cannot be written as text"
  }
}
