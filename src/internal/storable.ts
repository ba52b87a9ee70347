/**
 * What databases keep of a text: PostgreSQL refuses the character NUL, and none keeps half of a surrogate pair. Texts of models, users
 * and documents have both.
 */

/** Whether every database gives the text back as it is. */
export const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes("\0")

/** The text with U+FFFD in place of each character that some database does not keep. */
export const storable = (text: string): string => text.toWellFormed().replaceAll("\0", "\uFFFD")

/** Why a text cannot be an id, a key or a name; `undefined` where it can. `limit` is in bytes of UTF-8. */
export const problemOfKey = (what: string, text: string, limit: number): string | undefined => {
  if (!isStorable(text)) return `${what} has a NUL or half of a surrogate pair in it`
  // A character has three bytes at most for each of its units.
  if (text.length * 3 <= limit) return undefined
  const bytes = new TextEncoder().encode(text).length
  return bytes <= limit ? undefined : `${what} has ${bytes} bytes, and at most ${limit} are kept`
}
