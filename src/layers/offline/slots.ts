/** Finds the value of one property in a text: strings by the kind that the property's name asks for. Pure. */
import { type Fact, startsSentence } from "./facts.ts"
import { type Property, type Role, roleOf, type Source, free, take } from "./source.ts"
import { num, type Schema, str } from "./schema.ts"
import { currencyFacts, languages } from "./vocabulary.ts"
import { clip, identifierWords, stem, stopWords, words } from "./text.ts"

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** `title: X`, `title = X`, `title is X`, `titled "X"`, `the title "X"`. */
export const labelled = (property: Property, source: Source): string | undefined => {
  const parts = identifierWords(property.name)
  const last = parts[parts.length - 1]
  if (last === undefined) return undefined
  const names = [
    ...new Set(
      [
        parts.join("[ _-]?"),
        ...(parts.length > 1 && !/^(?:name|id|date|number|type|code)$/.test(last) ? [last] : [])
      ].map((name) => name.split("[ _-]?").map(escape).join("[ _-]?"))
    )
  ]
  for (const name of names) {
    if (name.length < 2) continue
    const pattern = new RegExp(
      `(?<![\\p{L}\\p{N}])${name}(?:s|d|ed)?["'*]{0,2}(?:\\s*[:=]\\s*|\\s+(?:is|are|was|should be|set to|of|as)\\s+|\\s+(?=["“'\`«]))["“'\`«*]{0,2}([^\\n"”»\`]{1,400})`,
      "iu"
    )
    const match = pattern.exec(source.facts.text)
    if (match?.[1] === undefined) continue
    const strict = /[:=]\s*["“'`«*]*$/.test(match[0].slice(0, match[0].length - match[1].length))
    const raw = match[1].replace(/^["“'`]+/, "")
    const quoted = /["“'`«]$/.test(match[0].slice(0, match[0].length - match[1].length))
    const value = (
      quoted
        ? raw
        : (raw.split(
            strict
              ? /\s*(?:[,;|]|\.\s|\.$|(?<=\S)\s+(?:[\p{L}_]+\s?[:=]))/u
              : /\s*(?:[,;.?!|](?:\s|$)|\s(?:and|with|but|for|from|to|on|at|who|which|that)\s)/u
          )[0] ?? "")
    )
      .replace(/["”'`*]+$/, "")
      .trim()
    if (value === "") continue
    const start = match.index + match[0].length - match[1].length
    take({ text: value, start, end: start + value.length }, source)
    return value
  }
  return undefined
}

/** The fact of a role that stands behind the property's label. */
export const labelledFact = (
  role: Role,
  format: string | undefined,
  property: Property,
  source: Source
): string | undefined => {
  const trial: Source = { ...source, used: [] }
  if (labelled(property, trial) === undefined) return undefined
  const span = trial.used[0]
  const fact = candidates(role, format, source, property).find(
    (item) => span !== undefined && item.start < span.end && span.start < item.end
  )
  return take(fact, source)?.text
}

/** What stands after one of the words, up to the next preposition or mark. */
export const after = (text: string, lead: string): Fact | undefined => {
  const pattern = new RegExp(
    `(?<![\\p{L}\\p{N}])(?:${lead})\\s+((?:[\\p{L}\\p{N}$€£¥][\\p{L}\\p{N}\\p{M}'’._/%°-]*\\s?){1,6})`,
    "giu"
  )
  for (const match of text.matchAll(pattern)) {
    const raw =
      (match[1] ?? "").split(
        /\s(?=(?:from|to|into|in|at|on|for|with|by|and|or|of|about|please|then|using|via|as|saying|that|until|tomorrow|today|next|this)(?:\s|$))/i
      )[0] ?? ""
    const value = raw
      .replace(/^(?:the|a|an|my|our)\s+/i, "")
      .replace(/[.,;:!?]+$/, "")
      .trim()
    if (value === "") continue
    const start = match.index + match[0].indexOf(value)
    return { text: value, start, end: start + value.length }
  }
  return undefined
}

const plain = (text: string, pattern: RegExp): Array<Fact> =>
  [...text.matchAll(pattern)].map((match) => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length
  }))

/** A date as the schema writes it. */
export const dateText = (date: Date, hasTime: boolean, format: string | undefined): string => {
  const iso = date.toISOString()
  if (format === "date-time") return hasTime ? iso : `${iso.slice(0, 10)}T00:00:00.000Z`
  if (format === "time") return `${iso.slice(11, 19)}Z`
  return format === "date" || !hasTime ? iso.slice(0, 10) : iso
}

/** The facts of the text that a role may take, in order. */
export const candidates = (
  role: Role,
  format: string | undefined,
  source: Source,
  property: Property
): ReadonlyArray<Fact> => {
  const { facts } = source
  const text = facts.text
  switch (role) {
    case "email":
      return facts.emails
    case "url":
      return facts.urls
    case "path":
      return facts.paths
    case "phone":
      return facts.phones
    case "date":
      return facts.dates
        .filter((fact) => fact.hasDate || fact.hasTime)
        .map((fact) => ({
          ...fact,
          text: dateText(fact.date, fact.hasTime, format ?? (/time/i.test(property.name) ? undefined : "date"))
        }))
    case "time":
      return facts.dates
        .filter((fact) => fact.hasTime)
        .map((fact) => ({
          ...fact,
          text: format === "time" ? dateText(fact.date, true, "time") : fact.date.toISOString().slice(11, 16)
        }))
    case "person":
      return facts.people.length > 0
        ? facts.people
        : facts.names.filter(
            (fact) => !facts.places.some((place) => place.text === fact.text) && !startsSentence(text, fact.start)
          )
    case "place": {
      const other = facts.names.filter(
        (fact) =>
          !facts.dates.some((date) => date.start <= fact.start && fact.end <= date.end) &&
          !facts.people.some((person) => person.text.includes(fact.text)) &&
          (!startsSentence(text, fact.start) || text.trim() === fact.text)
      )
      const placed = other.filter((fact) =>
        /\b(?:in|at|near|to|from|around|for|of|and|or|,)\s*$/i.test(text.slice(Math.max(0, fact.start - 8), fact.start))
      )
      if (facts.places.length > 0) {
        const known = [
          ...facts.places,
          ...placed.filter((fact) => !facts.places.some((place) => place.start < fact.end && fact.start < place.end))
        ].toSorted((a, b) => a.start - b.start)
        return known.filter((fact) => !facts.dates.some((date) => date.start <= fact.start && fact.end <= date.end))
      }
      if (placed.length > 0) return placed
      const lower = after(text, "in|at|near|to|for")
      return other.length > 0
        ? other
        : lower !== undefined && !/\d/.test(lower.text) && source.mode === "arguments"
          ? [lower]
          : []
    }
    case "organization":
      return facts.organizations.length > 0
        ? facts.organizations
        : facts.names.filter((fact) =>
            /\b(?:at|by|with|from|company|vendor|called)\s*$/i.test(
              text.slice(Math.max(0, fact.start - 10), fact.start)
            )
          )
    case "currency":
      return currencyFacts(text)
    case "language":
      return plain(text, languages).filter(
        (fact) => !facts.quotes.some((quote) => quote.start < fact.start && fact.end < quote.end)
      )
    case "symbol":
      return plain(text, /\b[A-Z]{1,5}(?:\.[A-Z])?\b/g).filter((fact) => !/^(?:I|A)$/.test(fact.text))
    case "unit":
      return facts.numbers.flatMap((fact) =>
        fact.unit === undefined ? [] : [{ text: fact.unit, start: fact.end, end: fact.end + fact.unit.length + 1 }]
      )
    case "code": {
      const bare = facts.numbers.filter(
        (fact) =>
          /^\d+$/.test(fact.text) &&
          /(?:#|\b(?:id|number|no\.?|order|ticket|invoice|account|case|user|customer|ref|reference|version|issue|code|key|is|for)\s*[:#]?\s*)$/i.test(
            text.slice(Math.max(0, fact.start - 14), fact.start)
          )
      )
      return facts.codes.length > 0 ? facts.codes : bare
    }
    case "expression":
      return plain(text, /[-(]*\d[\d.,]*(?:\s*(?:[-+*/^×÷%]|\*\*)\s*[-(]*\d[\d.,]*\)*)+/g).map((fact) => ({
        ...fact,
        text: fact.text.trim().replace(/[.,]$/, "")
      }))
    case "name":
      return [...facts.people, ...facts.names.filter((fact) => !startsSentence(text, fact.start))]
    default:
      return []
  }
}

const commandLead =
  /^(?:(?:and|then|also|next|after that|afterwards|finally|first|please|kindly|hey|hi|hello|ok|okay|can you|could you|would you|will you|i want you to|i want to|i need you to|i need to|i would like to|i'd like to|let's|help me)[,\s]+)+/i

/** The clause without the words of politeness, of command, and of the tool's own name. */
export const subject = (text: string, source: Source): string => {
  const bare = text
    .trim()
    .replace(commandLead, "")
    .replace(/[\s.!?;:,]+$/, "")
  if (/^(?:what|who|whom|whose|when|where|why|which|how|is|are|was|were|does|do|did)\b/i.test(bare)) return bare
  const lead =
    /^[\p{L}'’]+(?:\s+(?:the web|the internet|online|up|out|me|us|the docs|the documentation|the database|wikipedia|google))*\s+(?:for|about|on|regarding|of|into)\s+(?:the\s+)?/iu.exec(
      bare
    )
  if (lead !== null && lead[0].length < bare.length) return bare.slice(lead[0].length)
  const parts = bare.split(/\s+/)
  const first = parts[0]?.toLowerCase() ?? ""
  const verb =
    /^(?:search|find|look|lookup|get|fetch|show|tell|give|list|read|open|send|create|make|add|write|save|run|query|check|summari[sz]e|translate|ask|calculate|compute|count|reverse|delete|remove|schedule|book|set|post|play|say|echo|print|call|use|remember|note|store|research|investigate|analy[sz]e)$/.test(
      first
    )
  if (parts.length > 1 && (verb || source.toolStems.has(stem(first)))) {
    return parts
      .slice(1)
      .join(" ")
      .replace(/^(?:me|us|up|out|about|for|the|a|an|my)\s+(?:the\s+)?/i, "")
  }
  return bare
}

/** Finds a string for a property; `undefined` when the text has none. */
export const pickString = (property: Property, schema: Schema, source: Source): string | undefined => {
  const format = str(schema, "format")
  const role = roleOf(property, format)
  const typed = /^(?:email|url|path|phone|date|time|currency|language|code|unit)$/.test(role)
  if (!typed || role === "code") {
    const value = labelled(property, source)
    if (value !== undefined) return value
  }
  const { facts, text } = source
  if (role === "from" || role === "to") {
    const lead = role === "from" ? "from" : "to|into|in"
    const money = currencyFacts(facts.text)
    if (money.length > 1 || (money.length === 1 && property.siblings.some((name) => /amount|currency/i.test(name)))) {
      const found = take(
        money.find((fact) => !source.used.some((other) => other.start === fact.start && other.end === fact.end)),
        source
      )
      if (found !== undefined) return found.text
    }
    if (role === "to" && facts.emails.length > 0) return take(free(facts.emails, source)[0], source)?.text
    const found = after(facts.text, lead)
    if (found !== undefined) return take(found, source)?.text
    const unit = facts.numbers.find(
      (fact) =>
        fact.unit !== undefined &&
        !/^(?:to|from|in|into|and|or|by|at|on|for)$/i.test(fact.unit) &&
        !facts.dates.some((date) => date.start <= fact.start && fact.start < date.end)
    )?.unit
    if (role === "from" && unit !== undefined) return unit
    return role === "from" ? take(free(facts.names, source)[0], source)?.text : undefined
  }
  const list = candidates(role, format, source, property)
  const found = preferred(free(list, source), property, source)
  if (found !== undefined) {
    take(found, source)
    return found.text
  }
  if (role === "unit") return after(facts.text, "in|to|into")?.text
  if (role === "code" && source.mode === "arguments")
    return take(free(facts.quotes, source)[0] ?? free(facts.names, source).at(-1), source)?.text
  if (typed) return undefined
  if (role === "organization" || role === "place" || role === "person") {
    return source.mode === "arguments"
      ? (take(free(facts.quotes, source)[0], source)?.text ?? bareAnswer(text))
      : undefined
  }
  if (source.mode === "output") return undefined
  const quote = take(free(facts.quotes, source)[0], source)
  if (quote !== undefined) return quote.text
  if (role === "expression") return undefined
  if (
    role === "body" ||
    role === "query" ||
    role === "summary" ||
    role === "title" ||
    role === "answer" ||
    role === "keyword" ||
    role === "reason"
  ) {
    const said = /(?::|\b(?:saying|says|that says|with the (?:text|message)))\s+(?!\/\/)(\S[\s\S]*)$/i.exec(text)
    const value =
      role !== "query" && said?.[1] !== undefined
        ? said[1].trim()
        : role === "query" && property.name.match(/question|prompt|task|request|instruction|goal|input/i)
          ? text.trim()
          : subject(text, source)
    if (!property.required && /summary|title|answer|reason/.test(role)) return undefined
    if (!property.required && property.siblings.some((name) => /query|text|input|question|message|content/i.test(name)))
      return undefined
    return value.trim() === "" ? undefined : value.slice(0, num(schema, "maxLength") ?? 20_000)
  }
  const name = take(
    free(facts.names, source).find((fact) => !startsSentence(facts.text, fact.start)),
    source
  )
  if (name !== undefined) return name.text
  if (!property.required) return undefined
  const runs = remaining(subject(text, source), source)
  return runs[0] === undefined ? undefined : clip(runs[0], 2_000)
}

/** The runs of words that neither the tool's own words nor small words break. */
const remaining = (text: string, source: Source): ReadonlyArray<string> => {
  const runs: Array<Array<string>> = [[]]
  for (const word of text.slice(0, 4_000).split(/[\s,;]+/)) {
    const [bare] = words(word)
    const small = bare === undefined || stopWords.has(bare) || source.knownStems.has(stem(bare)) || /^\d+$/.test(bare)
    if (!small) runs.at(-1)?.push(word.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, ""))
    else if (runs.at(-1)?.length !== 0) runs.push([])
  }
  return runs.filter((run) => run.length > 0).map((run) => run.join(" "))
}

const bareAnswer = (text: string): string | undefined => {
  const trimmed = text.trim().replace(/[.?!]+$/, "")
  return trimmed.length < 40 &&
    /^\p{L}[\p{L}\s'’-]*$/u.test(trimmed) &&
    trimmed.split(/\s+/).length <= 3 &&
    !/^(?:what|who|how|hello|hi|hey|thanks|thank)\b/i.test(trimmed)
    ? trimmed
    : undefined
}

/** Of several candidates, the one that the words of the property point at; `from` and `to` included. */
const preferred = (list: ReadonlyArray<Fact>, property: Property, source: Source): Fact | undefined => {
  if (list.length < 2) return list[0]
  const wanted = new Set(identifierWords(property.name).map(stem))
  const directions: ReadonlyArray<readonly [RegExp, RegExp]> = [
    [
      /^(?:origin|from|departure|start|source|pickup|checkin|arrival)|^(?:check|start|begin)[ _-]?in?/i,
      /\b(?:from|leaving|starting|between|since|check(?:ing)? in)\s+(?:\w+\s)?$/i
    ],
    [
      /^(?:destination|to|target|end|finish|dropoff|checkout|until|due|deadline)/i,
      /\b(?:to|until|till|towards?|into|ending|by|through|for)\s+(?:\w+\s)?$/i
    ]
  ]
  const direction = directions.find(([name]) => name.test(property.name))?.[1]
  if (direction !== undefined) {
    const found = list.find((fact) => direction.test(source.facts.text.slice(Math.max(0, fact.start - 16), fact.start)))
    if (found !== undefined) return found
  }
  return (
    list.find((fact) => {
      const before = words(source.facts.text.slice(Math.max(0, fact.start - 30), fact.start)).slice(-3)
      return before.some((word) => wanted.has(stem(word)))
    }) ?? list[0]
  )
}
