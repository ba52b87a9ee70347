/**
 * What a text states: numbers, dates, addresses, quotes, names. Pure; reads at most the first 20,000 characters, because
 * the libraries for names and dates are slow on long texts.
 */
import { chrono, compromise } from "./libraries.ts"

/** The longest text that facts are taken from, in UTF-16 units. */
export const factLimit = 20_000

/** One thing stated, and where. */
export interface Fact {
  readonly text: string
  readonly start: number
  readonly end: number
}
export interface NumberFact extends Fact {
  readonly value: number
  readonly unit: string | undefined
}
export interface DateFact extends Fact {
  readonly date: Date
  readonly hasTime: boolean
  readonly hasDate: boolean
}

/** The facts of one text, each list found when first asked for. */
export interface Facts {
  readonly text: string
  readonly numbers: ReadonlyArray<NumberFact>
  readonly dates: ReadonlyArray<DateFact>
  readonly emails: ReadonlyArray<Fact>
  readonly urls: ReadonlyArray<Fact>
  readonly paths: ReadonlyArray<Fact>
  readonly quotes: ReadonlyArray<Fact>
  readonly codes: ReadonlyArray<Fact>
  readonly people: ReadonlyArray<Fact>
  readonly places: ReadonlyArray<Fact>
  readonly organizations: ReadonlyArray<Fact>
  readonly names: ReadonlyArray<Fact>
  readonly phones: ReadonlyArray<Fact>
}

/** The facts of `text`. `now` is what "tomorrow" counts from, in milliseconds since the epoch. */
export const facts = (text: string, now: number): Facts => {
  const source = text.length > factLimit ? text.slice(0, factLimit) : text
  const found: { [key: string]: ReadonlyArray<Fact> } = {}
  const lazy = <A extends Fact>(key: string, find: () => ReadonlyArray<A>): ReadonlyArray<A> =>
    (found[key] ??= find()) as ReadonlyArray<A>
  const self: Facts = {
    text: source,
    get numbers() {
      return lazy("numbers", () => findNumbers(source, [...self.urls, ...self.emails, ...self.paths, ...self.codes]))
    },
    get dates() {
      return lazy("dates", () => findDates(source, now))
    },
    get emails() {
      return lazy("emails", () =>
        matches(source, /[\p{L}\p{N}._%+-]{1,64}@[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})+/gu)
      )
    },
    get urls() {
      return lazy("urls", () =>
        matches(source, /\b(?:https?|ftp|wss?|file):\/\/[^\s<>"'`)\]}]+|\bwww\.[^\s<>"'`)\]}]+/gi, /[.,;:!?]+$/)
      )
    },
    get paths() {
      return lazy("paths", () => outside(findPaths(source), [...self.urls, ...self.emails]))
    },
    get quotes() {
      return lazy("quotes", () => findQuotes(source))
    },
    get codes() {
      return lazy("codes", () => findCodes(source))
    },
    get people() {
      return lazy("people", () => named(source, "people"))
    },
    get places() {
      return lazy("places", () => named(source, "places"))
    },
    get organizations() {
      return lazy("organizations", () => named(source, "organizations"))
    },
    get names() {
      return lazy("names", () => findNames(source))
    },
    get phones() {
      return lazy("phones", () =>
        matches(
          source,
          /(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,4}\)[ .-]?)?\d{2,6}(?:[ .-]\d{2,6}){1,4}(?![\w])/g
        ).filter((fact) => fact.text.replace(/\D/g, "").length >= 7 && !/^\d{4}-\d{2}-\d{2}$/.test(fact.text))
      )
    }
  }
  return self
}

const matches = (text: string, pattern: RegExp, trim?: RegExp): Array<Fact> => {
  const out: Array<Fact> = []
  for (const match of text.matchAll(pattern)) {
    const value = trim === undefined ? match[0] : match[0].replace(trim, "")
    out.push({ text: value, start: match.index, end: match.index + value.length })
  }
  return out
}

/** True when two facts share text. */
export const overlaps = (a: { readonly start: number; readonly end: number }, b: typeof a): boolean =>
  a.start < b.end && b.start < a.end

const outside = <A extends Fact>(items: ReadonlyArray<A>, taken: ReadonlyArray<Fact>): ReadonlyArray<A> =>
  items.filter((item) => !taken.some((other) => overlaps(item, other)))

const digits =
  /(?<![\p{L}\p{N}_.])(?:([-−–+])\s?)?([$€£¥₹]\s?)?(\d{1,3}(?:[,'’\u00a0\u202f]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d+(?:[.,]\d+)?(?:[eE][-+]?\d{1,3})?|\.\d+)(?:(?=[kKmMbB]\b)([kKmMbB]))?(\s?%|\s?‰|°\s?[CFK]?|(?:[ -]?(?:€|£|\$)))?(?:[ -]?(\p{L}[\p{L}²³/]*))?/gu

const scale: { readonly [letter: string]: number } = { k: 1e3, m: 1e6, b: 1e9 }
const multiplier: { readonly [word: string]: number } = {
  hundred: 100,
  thousand: 1e3,
  million: 1e6,
  millions: 1e6,
  billion: 1e9,
  billions: 1e9,
  trillion: 1e12,
  dozen: 12
}

/** Numbers with a decimal comma and without one are told apart by the digits after the mark. */
const parseDigits = (text: string): number => {
  const bare = text.replace(/['’\s\u00a0\u202f]/g, "")
  if (/^\d{1,3}(,\d{3})+(\.\d+)?$/.test(bare)) return Number(bare.replaceAll(",", ""))
  if (/^\d{1,3}(\.\d{3}){2,}(,\d+)?$/.test(bare)) return Number(bare.replaceAll(".", "").replace(",", "."))
  return Number(bare.replace(",", "."))
}

const numberWord =
  /\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half|dozen)\b/i

const findNumbers = (text: string, taken: ReadonlyArray<Fact>): Array<NumberFact> => {
  const out: Array<NumberFact> = []
  for (const match of text.matchAll(digits)) {
    const [whole, sign, money, body = "", suffix, mark, word] = match
    let value = parseDigits(body) * (suffix === undefined ? 1 : (scale[suffix.toLowerCase()] ?? 1))
    const times = word === undefined ? undefined : multiplier[word.toLowerCase()]
    if (times !== undefined) value *= times
    if (!Number.isFinite(value)) continue
    const before = text.slice(Math.max(0, match.index - 6), match.index)
    const previous = before.trimEnd().slice(-1)
    // A sign after an operand is an operator, and a dash after a word or digit is a range.
    const spaced =
      /(?:^|[\s([{,;:=])$/.test(text.slice(Math.max(0, match.index - 1), match.index)) &&
      sign !== undefined &&
      /^\S/.test(whole.slice(sign.length))
    const signed =
      sign !== undefined &&
      sign !== "+" &&
      sign !== "–" &&
      (spaced ? !/[\p{N})]/u.test(previous) : !/[\p{L}\p{N})]/u.test(previous))
    const lead10 = text.slice(Math.max(0, match.index - 14), match.index)
    if (signed || (/\b(?:minus|negative)\s*$/i.test(lead10) && !/[\d)]\s*minus\s*$/i.test(lead10))) value = -value
    const numeric = whole.lastIndexOf(body) + body.length + (suffix?.length ?? 0) + (mark?.length ?? 0)
    const lead = sign !== undefined && !signed ? whole.indexOf(sign) + sign.length : 0
    const start = match.index + lead + (whole.slice(lead).length - whole.slice(lead).trimStart().length)
    const end = match.index + (times === undefined ? numeric : whole.length)
    const unit = money?.trim() ?? mark?.trim().replace(/^-/, "") ?? (times === undefined ? word : undefined)
    out.push({ text: text.slice(start, end), start, end, value, unit })
  }
  if (numberWord.test(text)) {
    const short = text.slice(0, 4_000)
    for (const item of compromise()(short).numbers().json({ offset: true }) as ReadonlyArray<NumberJson>) {
      const value = item.number?.num
      if (value === undefined || value === null || item.offset === undefined) continue
      const raw = short.slice(item.offset.start, item.offset.start + item.offset.length)
      if (!numberWord.test(raw) || /\d/.test(raw)) continue
      // "one" as a pronoun: "this one", "one of them", "the one".
      if (
        /^one$/i.test(raw.trim()) &&
        /\b(?:this|that|the|which|no|any|every|each|another)\s*$/i.test(
          short.slice(Math.max(0, item.offset.start - 10), item.offset.start)
        )
      )
        continue
      const fact = { text: raw, start: item.offset.start, end: item.offset.start + item.offset.length }
      if (out.some((other) => overlaps(other, fact))) continue
      const unit = /^[ -]?([%\p{L}]+)/u.exec(short.slice(fact.end))?.[1]
      out.push({ ...fact, value, unit: unit === "percent" ? "%" : unit })
    }
  }
  return outside(out, taken).toSorted((a, b) => a.start - b.start) as Array<NumberFact>
}

interface NumberJson {
  readonly number?: { readonly num?: number | null }
  readonly offset?: { readonly start: number; readonly length: number }
}

const findDates = (text: string, now: number): Array<DateFact> => {
  const out: Array<DateFact> = []
  const short = text.slice(0, 10_000)
  for (const result of chrono().parse(short, { instant: new Date(now), timezone: 0 })) {
    const ends = [result.start, ...(result.end === null || result.end === undefined ? [] : [result.end])]
    ends.forEach((component, i) => {
      const date = component.date()
      if (Number.isNaN(date.getTime())) return
      out.push({
        text: result.text,
        start: result.index,
        end: result.index + result.text.length,
        date,
        hasTime: component.isCertain("hour"),
        hasDate: i > 0 || component.isCertain("day") || component.isCertain("weekday") || component.isCertain("month")
      })
    })
  }
  return out
}

const findPaths = (text: string): Array<Fact> =>
  matches(
    text,
    /(?<![\p{L}\p{N}_:/.@-])(?:[A-Za-z]:\\|~\/|\.{1,2}\/|\/)?(?:[\p{L}\p{N}_@.-]{1,100}[/\\]){0,20}[\p{L}\p{N}_@-][\p{L}\p{N}_@.-]{0,100}/gu,
    /[.]+$/
  ).filter(
    ({ text: path, start }) =>
      (/[/\\]/.test(path) &&
        /\b(?:in|at|from|of|to|under|inside|path|file|dir|directory|folder|open|read|delete|list)\s+["'`]?$/i.test(
          text.slice(Math.max(0, start - 14), start)
        ) &&
        !/^(?:and|his|he|she|either)\//i.test(path) &&
        !/^\d/.test(path)) ||
      (/[/\\]/.test(path) && !/^\d+[/\\]\d+([/\\]\d+)?$/.test(path) && !/^[^./~\\]+\/[^./\\]+$/.test(path)) ||
      (/^[\p{L}\p{N}_@-][\p{L}\p{N}_@.-]*\.(?:[a-z][a-z0-9]{0,4})$/u.test(path) &&
        !/^(?:e\.g|i\.e|[a-z]\.[a-z])$/i.test(path)) ||
      /^\.[\p{L}][\p{L}\p{N}_.-]+$/u.test(path)
  )

const quotePattern =
  /"([^"\n]{1,2000})"|“([^”\n]{1,2000})”|«\s?([^»\n]{1,2000}?)\s?»|„([^“”\n]{1,2000})[“”]|「([^」\n]{1,2000})」|`([^`\n]{1,2000})`|(?<![\p{L}\p{N}])'([^'\n]{1,2000})'(?![\p{L}\p{N}])/gu

const findQuotes = (text: string): Array<Fact> => {
  const out: Array<Fact> = []
  for (const match of text.matchAll(quotePattern)) {
    const inner = match.slice(1).find((group) => group !== undefined) ?? ""
    if (inner.trim() !== "") out.push({ text: inner, start: match.index, end: match.index + match[0].length })
  }
  return out
}

/** Identifiers that hold a digit and a letter or a mark: `ORD-1234`, `#881`, a UUID, `v2.3.1`. */
const findCodes = (text: string): Array<Fact> => {
  const out: Array<Fact> = []
  for (const match of text.matchAll(
    /(?<![\p{L}\p{N}_/.@-])(#?)([\p{L}\p{N}]+(?:[-_][\p{L}\p{N}]+)*)(?![\p{L}\p{N}_@])/gu
  )) {
    const [whole, mark, body = ""] = match
    const coded = /\d/.test(body) && (/\p{Lu}/u.test(body) || /[-_]/.test(body) || /^[0-9a-f]{8,}$/.test(body))
    const ordinary =
      /^\d+[-_]\p{Ll}+$/u.test(body) ||
      /^\d+(?:-\d+)*$/.test(body) ||
      /^\d+[kKmMbB]$/.test(body) ||
      /^\d+\p{L}{1,3}$/u.test(body)
    if ((coded && !ordinary) || (mark === "#" && /\d/.test(body))) {
      out.push({ text: body, start: match.index, end: match.index + whole.length })
    }
  }
  return out
}

const named = (text: string, kind: "people" | "places" | "organizations"): Array<Fact> => {
  const short = text.slice(0, 5_000)
  const out: Array<Fact> = []
  let from = 0
  for (const item of compromise()(short)[kind]().out("array") as ReadonlyArray<string>) {
    const value = item.replace(/['’]s$/, "").replace(/^[\s"'“(]+|[\s,;:.!?)"'”]+$/g, "")
    if (!/\p{Lu}/u.test(value)) continue
    const at = short.indexOf(value, from)
    if (at === -1) continue
    out.push({ text: value, start: at, end: at + value.length })
    from = at + value.length
  }
  return out
}

const namePattern =
  /(?<![\p{L}\p{N}_])\p{Lu}[\p{L}\p{M}'’.&-]*(?:\s(?:(?:de|da|do|dos|del|van|von|der|of|the|al|bin|la|le)\s)?\p{Lu}[\p{L}\p{M}'’&-]*)*/gu

const notNames = new Set(
  `i the a an my your our his her its this that these those what when where who why how which is are was were do does did can could would
should will please if it in on at for to from and or but not no yes we they he she you monday tuesday wednesday thursday friday
saturday sunday january february march april may june july august september october november december today tomorrow yesterday find
show get give tell send create make add book set list search look convert translate write read open delete remove check compute
calculate summarize summarise explain describe compare schedule remind call email order buy cancel update hello hi hey dear thanks
thank regards ok okay also then there here now let use help need want i'm i'd i'll i've`.split(/\s+/)
)

/** Words written as names: capitalised, and not merely because a sentence starts there. */
const findNames = (text: string): Array<Fact> => {
  const out: Array<Fact> = []
  for (const match of text.slice(0, 10_000).matchAll(namePattern)) {
    let value = match[0].replace(/['’]s$/, "").replace(/[.'’&-]+$/, "")
    let start = match.index
    while (true) {
      const first = /^\S+/.exec(value)?.[0] ?? ""
      if (!notNames.has(first.toLowerCase())) break
      const rest = value.slice(first.length)
      const trimmed = rest.trimStart()
      start += first.length + (rest.length - trimmed.length)
      value = trimmed
      if (value === "") break
    }
    if (value === "") continue
    if (/^[\p{Ll}]/u.test(value)) continue
    out.push({ text: value, start, end: start + value.length })
  }
  return out
}

/** True when a name stands where any word is capitalised: at the start of a sentence or line. */
export const startsSentence = (text: string, start: number): boolean =>
  /(?:^|[.!?:\n]["'“(]?\s*|^\s*[-*#>\d.]+\s+)$/.test(text.slice(Math.max(0, start - 12), start))

/** Points and commas inside of numbers, which part nothing, as characters that no text has. */
const inNumber = /(?<=\d)(?:,(?=\d{3}(?!\d))|\.(?=\d))/g
const guard = (text: string): string => text.replace(inNumber, (mark) => (mark === "," ? "\uE000" : "\uE001"))
const unguard = (text: string): string => text.replaceAll("\uE000", ",").replaceAll("\uE001", ".")

/**
 * The items of an enumeration: list lines, `a, b and c`, or `a; b; c`. The sentence may go on after the last item,
 * which then ends at its verb; `clauses` says that the items are sentences themselves.
 */
export const enumeration = (text: string, clauses = false): Array<string> => {
  const listed = [...text.matchAll(/^[ \t]*(?:[-*+•–]|\d{1,4}[.)])[ \t]+(.+)$/gm)].map((match) =>
    (match[1] ?? "").trim()
  )
  if (listed.length > 1) return listed.slice(0, 1_000)
  const short = guard(text.slice(0, 4_000))
  const colon = /:\s*([^\n:]+?)[.?!]?\s*$/.exec(short)?.[1]
  for (const candidate of [colon, short]) {
    if (candidate === undefined) continue
    if (candidate.includes(";")) {
      const parts = candidate.split(/\s*;\s*/).filter((part) => part !== "")
      if (parts.length > 1) return parts.map(unguard)
    }
    const match =
      /(?:[^,.;:?!\n]{1,120},\s*){1,60}(?:(?:and|or|y|e|et|und|&)\s+)?[^,.;:?!\n]{1,120}|[^,.;:?!\n\s]+(?:\s[^,.;:?!\n\s]+){0,2}\s(?:and|or|&)\s[^,.;:?!\n]{1,60}/iu.exec(
        candidate
      )?.[0]
    if (match !== undefined) {
      const parts = match
        .split(/\s*,\s*(?:(?:and|or|y|e|et|und|&)\s+)?|\s+(?:and|or|&)\s+/iu)
        .map((part, at, all) =>
          (!clauses && at > 0 && at === all.length - 1
            ? (part.split(/\s+(?:is|are|was|were|has|have|had|can|will|do|does)\s/i)[0] ?? part)
            : part
          ).trim()
        )
        .filter((part) => part !== "")
      if (parts.length > 1) return parts.map(unguard)
    }
  }
  return listed
}
