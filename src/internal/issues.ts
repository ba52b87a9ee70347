/** What is wrong with a value, for a model that has to mend it, or to know that a tool is broken. Pure. */

/** For decoding: with the first issue only, a model would need a round for each. */
export const allIssues = { errors: "all" } as const

const maxChars = 2000

/** What does not fit, in whole lines, as much of it as anybody reads. */
export const issuesOf = ({ message }: { readonly message: string }): string =>
  message.length <= maxChars
    ? message
    : `${message.slice(0, message.lastIndexOf("\n", maxChars)).slice(0, maxChars)}\nand more`

/** What is told of a tool whose result is not what it says it gives, wherever it runs. */
export const misfitOf = (error: { readonly message: string }): string =>
  `the tool gave a result that does not fit its success schema: ${issuesOf(error)}`
