/** Percent-encoding in texts of others, which may be none. Pure. */

/** The text decoded, or as it is: a stray percent sign means itself. */
export const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
