/** The directories of this machine that a program names. */
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { messageOf } from "../../../internal/message.ts"
import { InvalidDefinition } from "../../../RunError.ts"

/** The real path of a directory; `what` says what it is to its `subject`. Fails for one that is not a directory. */
export const directoryAt = (
  subject: string,
  what: string,
  directory: string | URL
): Effect.Effect<string, InvalidDefinition> =>
  Effect.try({
    try: () => {
      const real = fs.realpathSync(typeof directory === "string" ? directory : fileURLToPath(directory))
      if (!fs.statSync(real).isDirectory()) throw new Error("it is a file")
      return real
    },
    catch: (cause) =>
      new InvalidDefinition({
        subject,
        problem: `its ${what} cannot be used: ${messageOf(cause)}`,
        remedy: "Give a directory that exists"
      })
  })
