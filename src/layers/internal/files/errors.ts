/** Failures of files, described for a model. */
import * as Schema from "effect/Schema"

/** Why a file was not listed, read, searched or written. The model reads it; no path of the machine is in it. */
export class FileToolError extends Schema.TaggedError<FileToolError>()("FileToolError", {
  /** The path as it was given. */
  path: Schema.String,
  /** `Outside`: not below the root. `Denied`: the tools keep away from it. `Ambiguous`: a text occurs more than once. */
  reason: Schema.Literals([
    "Outside",
    "Denied",
    "NotFound",
    "WrongKind",
    "Binary",
    "TooLarge",
    "Ambiguous",
    "Pattern",
    "System"
  ]),
  detail: Schema.String
}) {
  override get message(): string {
    return `"${this.path}": ${this.detail}`
  }
}

/** The error for a path that leads out of the root. */
export const outside = (given: string) =>
  new FileToolError({ path: given, reason: "Outside", detail: "it is outside of the directory that the tools may use" })

/** The error for a path that nothing may be written to. */
export const belowGit = (given: string): FileToolError =>
  new FileToolError({
    path: given,
    reason: "Denied",
    detail: "files of .git name programs that git runs, and cannot be written"
  })

/** The detail of the error for a name that is taken. */
export const isThere = "it exists already"

/** Turns what Node throws into what the model reads. */
export const toError = (given: string, cause: unknown): FileToolError => {
  if (cause instanceof FileToolError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? "unknown"
  const fail = (reason: FileToolError["reason"], detail: string) => new FileToolError({ path: given, reason, detail })
  switch (code) {
    case "ENOENT":
      return fail("NotFound", "it does not exist; list the directory to see what does")
    case "ENOTDIR":
    case "EISDIR":
      return fail("WrongKind", "a file is where a directory is needed, or the other way round")
    case "EEXIST":
      return fail("System", isThere)
    case "ELOOP":
      return outside(given)
    default:
      return fail("System", `the system refused it (${code})`)
  }
}
