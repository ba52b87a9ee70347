/** The words of a text, for searches. */

/** The most words of a query that count. */
const maxWords = 32

/** Letters with their marks: without them words of many scripts would fall apart. */
const word = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu

const partsOf = (text: string): ReadonlyArray<string> => text.normalize("NFC").match(word) ?? []

/** The words of a text, in small letters. */
export const wordsOf = (text: string): ReadonlyArray<string> => partsOf(text.toLowerCase())

/** The words of a query, each once, as they were written: each database has its own small letters. */
export const queryWords = (query: string): ReadonlyArray<string> => [...new Set(partsOf(query))].slice(0, maxWords)
