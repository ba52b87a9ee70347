/** The words of a text, for searches. */

/** The most words of a query that count. */
const maxWords = 32

/** The words of a text, in small letters. */
export const wordsOf = (text: string): ReadonlyArray<string> => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []

/** The words of a query, each once. */
export const queryWords = (query: string): ReadonlyArray<string> => [...new Set(wordsOf(query))].slice(0, maxWords)
