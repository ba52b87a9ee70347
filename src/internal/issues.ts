/** Everything that is wrong with a value, for a model that has to mend it. It touches schemas only. */

/** For decoding: with the first issue only, a model would need a round for each. */
export const allIssues = { errors: "all" } as const

const maxChars = 2000

/** What does not fit, in whole lines, as much of it as anybody reads. */
export const issuesOf = ({ message }: { readonly message: string }): string =>
  message.length <= maxChars
    ? message
    : `${message.slice(0, message.lastIndexOf("\n", maxChars)).slice(0, maxChars)}\nand more`
