/** The words of requests that mean something. */
import type { Literal } from "./literals.ts"

const empty = new Set(
  `a an and answer are as at be by can could do does equal equals following for from give given hello hi how i if in is it
  its let like me much my no now of on or our out please result so tell thank thanks that the them then there these this
  those to tool tools two up us use using want was we were what whats when which with would you your`.split(/\s+/)
)

const operator = /(?<=\d|\))[-+*/^](?=[\d(])|(?<=(?:(?<!\p{L})\p{L}|\d|\)) )[-+*/^](?= (?:\p{L}(?!\p{L})|\d|\())/u
const token = new RegExp(`[\\p{L}\\p{M}][\\p{L}\\p{M}\\p{N}'’]*|${operator.source}`, "gu")

/** The words and operators of a text that mean something, in lower case, in order. */
export const keyWords = (text: string): ReadonlyArray<string> =>
  (text.toLowerCase().match(token) ?? [])
    .map((word) => word.replace(/['’]s?$/, "").replaceAll(/['’]/g, ""))
    .filter((word) => !/^\p{L}?$/u.test(word) && !empty.has(word))

/** The text without some of its parts. */
export const without = (text: string, parts: ReadonlyArray<Literal<unknown>>): string => {
  let [out, at] = ["", 0]
  for (const { start, end } of parts.toSorted((a, b) => a.start - b.start)) {
    if (start < at) continue
    out += `${text.slice(at, start)} `
    at = end
  }
  return out + text.slice(at)
}
