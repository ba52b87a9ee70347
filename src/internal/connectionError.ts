/** The message and the code of a connection error, however it is wrapped. */
import * as Predicate from "effect/Predicate"

/**
 * The message and system code of a connection error: the cause says more than the error that wraps it. The address in it
 * may hold a password, with an `@` of its own, and is removed.
 */
export const describe = (error: unknown): { readonly message: string; readonly code: string | undefined } => {
  const messages: Array<string> = []
  let code: string | undefined
  for (let at: unknown = error, depth = 0; Predicate.isObject(at) && depth < 6; depth++) {
    if ("message" in at && typeof at.message === "string" && at.message !== "" && !messages.includes(at.message)) {
      messages.push(at.message)
    }
    if ("code" in at && typeof at.code === "string") code ??= at.code
    const errors: unknown = "errors" in at ? at.errors : undefined
    at =
      "cause" in at && at.cause !== undefined
        ? at.cause
        : Array.isArray(errors)
          ? (errors as Array<unknown>)[0]
          : undefined
  }
  const message = messages.join(": ") || String(error)
  return { message: message.replace(/\/\/[^/\s]*@/g, "//"), code }
}
