/** Texts that may be secret, as they are. */
import * as Redacted from "effect/Redacted"

type Text = string | Redacted.Redacted

/** The text itself. */
export const revealed = (text: Text): string => (Redacted.isRedacted(text) ? Redacted.value(text) : text)

/** The texts themselves, without names that have none. */
export const revealedAll = (texts: Readonly<Record<string, Text | undefined>> = {}): Record<string, string> =>
  Object.fromEntries(
    Object.entries(texts).flatMap(([name, text]) => (text === undefined ? [] : [[name, revealed(text)]]))
  )
