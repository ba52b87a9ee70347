/**
 * Words, stems, sentences and word weights of a text. Pure, and linear in the length of the text whatever it holds.
 */
import { stemmer } from "./libraries.ts"

/** Words that say nothing of what a text is about. */
export const stopWords: ReadonlySet<string> = new Set(
  `a about above after again against all also am an and any are as at be because been before being below between both but
by can cannot could did do does doing down during each either else etc few for from further get give gives given got had has
have having he her here hers herself him himself his how i if in into is it its itself just let like made make makes many may
me might more most much must my myself neither no nor not now of off on once one only onto or other our ours ourselves out
over own per please same shall she should since so some such than that the their theirs them themselves then there these
they this those through thus to too two under until up upon us use used uses using very via want was we were what whatever
when where whether which while who whom whose why will with within without would yes yet you your yours yourself
d ll m re s t ve don doesn didn isn aren wasn weren won wouldn couldn shouldn`.split(/\s+/)
)

const isCjk =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Khmer}\p{Script=Lao}\p{Script=Myanmar}]/u
const wordPattern = /[\p{L}\p{M}\p{N}]+(?:['’]\p{L}+)*/gu

/** The words of a text in lower case. Runs of a script without spaces give overlapping pairs of characters. */
export const words = (text: string): Array<string> => {
  const out: Array<string> = []
  for (const match of text.matchAll(wordPattern)) {
    const word = match[0].toLowerCase().replaceAll("’", "'")
    if (isCjk.test(word)) {
      const characters = [...word]
      if (characters.length === 1) out.push(word)
      for (let i = 0; i + 1 < characters.length; i++) out.push(`${characters[i]}${characters[i + 1]}`)
    } else {
      out.push(word.length > 64 ? word.slice(0, 64) : word)
    }
  }
  return out
}

/** The words of an identifier: `getUserById`, `get_user-by.id`. */
export const identifierWords = (name: string): Array<string> =>
  words(name.replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, "$1 $2").replace(/[_\-./]+/g, " "))

const stems = new Map<string, string>()

/** The stem of a lower-case word; words of other alphabets stay as they are. */
export const stem = (word: string): string => {
  const known = stems.get(word)
  if (known !== undefined) return known
  const bare = word.endsWith("'s") ? word.slice(0, -2) : word
  const result = /^[a-z]{3,}$/.test(bare) ? stemmer()(bare) : bare
  if (stems.size > 50_000) stems.clear()
  stems.set(word, result)
  return result
}

/** The stems of the words that carry meaning. */
export const keyStems = (text: string): Array<string> =>
  words(text)
    .filter((word) => !stopWords.has(word))
    .map(stem)

/** How often each item occurs, most frequent first; ties keep the order of first occurrence. */
export const countBy = (items: Iterable<string>): Array<readonly [item: string, count: number]> => {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return [...counts].toSorted((a, b) => b[1] - a[1])
}

/** A piece of a text, and where it starts. */
export interface Sentence {
  readonly text: string
  readonly index: number
}

const abbreviations = new Set(
  `mr mrs ms dr prof sr jr st vs etc e.g i.e eg ie fig no vol approx inc ltd co corp dept est jan feb mar apr jun jul aug sep
sept oct nov dec cf al pp ca`.split(/\s+/)
)

const endPattern = /(?:[.!?…]+["'”’)\]*_]*(?=\s|$))|[。！？｡।]+["”」』)]*/gu

/** The sentences of one paragraph. */
const splitParagraph = (text: string, offset: number, out: Array<Sentence>): void => {
  let start = 0
  const push = (end: number) => {
    const piece = text.slice(start, end)
    const lead = piece.length - piece.trimStart().length
    const trimmed = piece.trim()
    if (trimmed !== "") out.push({ text: trimmed, index: offset + start + lead })
    start = end
  }
  for (const match of text.matchAll(endPattern)) {
    const end = match.index + match[0].length
    if (match[0].startsWith(".")) {
      const before = text.slice(Math.max(start, match.index - 12), match.index)
      const last = /[\p{L}.]+$/u.exec(before)?.[0].toLowerCase()
      if (last !== undefined && match[0].length === 1 && (abbreviations.has(last) || /^\p{L}$/u.test(last))) continue
      if (/^\s+\p{Ll}/u.test(text.slice(end, end + 8)) && match[0].length === 1) continue
      if (/^\s*\d+$/.test(text.slice(start, match.index))) continue
    }
    push(end)
  }
  push(text.length)
}

const bullet = /^\s*(?:[-*+•–]|\d{1,4}[.)]|\[[ xX]\])\s+/

/**
 * The sentences of a text in order. Headings, list items and table rows stand alone; wrapped lines are joined. Fenced
 * code and markup that shows nothing are left out.
 */
export const sentences = (text: string): Array<Sentence> => {
  const out: Array<Sentence> = []
  let paragraph = ""
  let start = 0
  const flush = () => {
    if (paragraph.trim() !== "") splitParagraph(paragraph, start, out)
    paragraph = ""
  }
  let fenced = false
  for (const { text: line, index } of lines(text)) {
    const trimmed = line.trim()
    if (/^(```|~~~)/.test(trimmed)) {
      flush()
      fenced = !fenced
      continue
    }
    if (fenced || trimmed === "" || /^(?:[-=*_]{3,}|\|?[\s:|-]+\|?)$/.test(trimmed)) {
      flush()
      continue
    }
    const item = bullet.exec(line)
    if (item !== null || /^\s*(#{1,6}\s|>|\|)/.test(line)) {
      flush()
      const lead = item?.[0].length ?? /^\s*(?:#{1,6}\s+|>\s?|\|\s*)/.exec(line)?.[0].length ?? 0
      paragraph = line.slice(lead)
      start = index + lead
      if (item === null) flush()
      continue
    }
    if (paragraph === "") {
      paragraph = line
      start = index
    } else {
      paragraph += ` ${trimmed}`
    }
  }
  flush()
  return out
}

/** The lines of a text with the index of each. */
export const lines = (text: string): Array<Sentence> => {
  const out: Array<Sentence> = []
  let index = 0
  while (true) {
    const end = text.indexOf("\n", index)
    const line = end === -1 ? text.slice(index) : text.slice(index, end)
    out.push({ text: line.endsWith("\r") ? line.slice(0, -1) : line, index })
    if (end === -1) return out
    index = end + 1
  }
}

/** At most `max` characters, cut between words where that is possible, with a mark that something was cut. */
export const clip = (text: string, max: number): string => {
  const flat = text.replace(/\s+/g, " ").trim()
  if (flat.length <= max) return flat
  const cut = flat.slice(0, Math.max(0, max - 1))
  const space = cut.lastIndexOf(" ")
  return `${wellFormed(space > max / 2 ? cut.slice(0, space) : cut).replace(/[\s,;:]+$/, "")}…`
}

/** Without half a surrogate pair at either end. */
export const wellFormed = (text: string): string => text.replace(/[\uD800-\uDBFF]$/, "").replace(/^[\uDC00-\uDFFF]/, "")

/** How rare each stem is over `documents`: ln(1 + n / (1 + documents that have it)), as in TF-IDF. */
export const inverseFrequency = (documents: ReadonlyArray<ReadonlyArray<string>>): ((stem: string) => number) => {
  const counts = new Map<string, number>()
  for (const document of documents) for (const item of new Set(document)) counts.set(item, (counts.get(item) ?? 0) + 1)
  return (item) => Math.log(1 + documents.length / (counts.get(item) ?? 0.5))
}

/** A stable 32-bit hash (FNV-1a) in base 36, for ids. */
export const hash = (text: string): string => {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    value ^= text.charCodeAt(i)
    value = Math.imul(value, 0x01000193)
  }
  return (value >>> 0).toString(36)
}

/** `a`, `a and b`, `a, b and c`. */
export const enumerate = (items: ReadonlyArray<string>): string =>
  items.length < 2 ? (items[0] ?? "") : `${items.slice(0, -1).join(", ")} and ${items[items.length - 1]}`

/** `1 line`, `2 lines`. */
export const plural = (count: number, noun: string): string =>
  `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`
