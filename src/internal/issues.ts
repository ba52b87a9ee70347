/** Describes what is wrong with a value, for a model that has to correct it or has to learn that a tool is broken. */

/** For decoding: with the first issue only, a model would need a round for each. */
export const allIssues = { errors: "all" } as const

const maxChars = 2000

/** What does not fit, in whole lines, cut to a readable length. */
export const issuesOf = ({ message }: { readonly message: string }): string =>
  message.length <= maxChars
    ? message
    : `${message.slice(0, message.lastIndexOf("\n", maxChars)).slice(0, maxChars)}\nand more`

/** The message for a tool whose result does not fit its own schema, in this thread or another. */
export const encodeError = (error: { readonly message: string }): string =>
  `the tool returned a result that does not fit its success schema: ${issuesOf(error)}`
