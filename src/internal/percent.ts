/** Lenient percent-decoding, for text from outside. */

/** The text decoded, or as it is: a stray percent sign means itself. */
export const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
