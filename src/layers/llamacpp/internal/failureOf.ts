/** What an error says, as far as it can be sent to another process. */
import type { Failure } from "./protocol.ts"

/** The message, the name and the code of what was thrown. */
export const failureOf = (error: unknown): Failure => {
  const { code, message, name } = Object(error) as Partial<Record<keyof Failure, unknown>>
  return {
    message: typeof message === "string" ? message : String(error),
    name: typeof name === "string" ? name : undefined,
    code: typeof code === "string" ? code : undefined
  }
}
