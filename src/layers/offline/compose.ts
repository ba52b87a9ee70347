/**
 * Values that are not written in a text and can be worked out from it: summaries, reasons, scores, judgements, lists.
 * Pure; every value comes from something that was counted.
 */
import { enumeration } from "./facts.ts"
import { answering, central, keywords } from "./rank.ts"
import { readability } from "./readability.ts"
import { num, type Schema, str } from "./schema.ts"
import { sentiment } from "./sentiment.ts"
import { type Property, roleOf, type Source } from "./source.ts"
import { clip, enumerate, identifierWords, keyStems, lines, plural, sentences, words } from "./text.ts"

const sentencesAt = (source: Source, indexes: ReadonlyArray<number>): string =>
  indexes.map((i) => clip(source.ranked().sentences[i]?.text ?? "", 400)).join(" ")

const isMood = (property: Property, source: Source): boolean =>
  /sentiment|mood|polarity|feeling|emotion|tone/i.test(
    `${property.name} ${property.description} ${property.siblings.join(" ")} ${source.instructions.slice(0, 2_000)}`
  )

/** A text for a property that no single fact fills; `undefined` when a fact should. */
export const composeText = (property: Property, schema: Schema, source: Source): string | undefined => {
  const format = str(schema, "format")
  const role = roleOf(property, format)
  const about = `${identifierWords(property.name).join(" ")} ${property.description}`
  const max = num(schema, "maxLength") ?? 2_000
  switch (role) {
    case "summary":
      return sentencesAt(
        source,
        central(
          source.ranked(),
          max < 200 ? 1 : Math.min(5, 2 + Math.floor(source.ranked().sentences.length / 40)),
          source.task
        )
      )
    case "reason": {
      if (isMood(property, source)) {
        const mood = sentiment(source.text)
        if (mood.positive.length + mood.negative.length > 0) {
          const parts = [
            ...(mood.positive.length > 0
              ? [`positive words: ${[...new Set(mood.positive)].slice(0, 5).join(", ")}`]
              : []),
            ...(mood.negative.length > 0
              ? [`negative words: ${[...new Set(mood.negative)].slice(0, 5).join(", ")}`]
              : [])
          ]
          return `By word list, ${enumerate(parts)}.`
        }
      }
      if (judges(source)) return judgement(source)
      return sentencesAt(source, central(source.ranked(), 1, about)) || plural(words(source.text).length, "word")
    }
    case "finding":
      return judgement(source)
    case "answer":
      return source.answer()
    case "keyword":
      return keywords(source.text, 1)[0]
    case "title": {
      const heading = /^[ \t]{0,3}#{1,6}[ \t]+(\S.*)$/m.exec(source.text.slice(0, 20_000))?.[1]
      const first = sentences(source.text.slice(0, 5_000))[0]?.text ?? ""
      return labelledLine(source.text, property.name) ?? heading ?? clip(first, Math.min(max, 80))
    }
    case "language":
      return language(source.text)
    case "query":
    case "body":
      return /task|request|question|query|prompt|goal|instruction/i.test(property.name) && source.task !== ""
        ? source.task
        : role === "body"
          ? (labelledLine(source.text, property.name) ?? source.text.trim().slice(0, Math.min(max, 20_000)))
          : clip(source.text, max)
    case "none": {
      const found = labelledLine(source.text, property.name)
      if (found !== undefined) return found
      if (/^(?:value|text|output|result|content)$/i.test(property.name) && property.siblings.length === 0)
        return source.answer()
      const hit = answering(source.ranked(), about)[0]
      return hit === undefined ? undefined : clip(source.ranked().sentences[hit.index]?.text ?? "", 400)
    }
    default:
      return undefined
  }
}

const labelledLine = (text: string, name: string): string | undefined => {
  const label = identifierWords(name)
    .map((word) => word.replace(/[^\p{L}\p{N}]/gu, ""))
    .join("[ _-]?")
  if (label === "") return undefined
  const value = new RegExp(
    `^[ \\t]*(?:[-*•][ \\t]+)?["'*_]*${label}["'*_]*[ \\t]*[:=][ \\t]*["'*_]*(\\S[^\\n]{0,400})$`,
    "imu"
  ).exec(text.slice(0, 100_000))?.[1]
  return value?.replace(/["'*_,;]+$/, "").trim()
}

/** True when the instructions ask for a judgement of a text. */
export const judges = (source: Source): boolean =>
  /\b(?:review|critique|critic|judge|evaluat|assess|grade|check|quality|rate|score|proofread|verify|feedback)/i.test(
    `${source.instructions} ${source.task}`
  )

const judgement = (source: Source): string => {
  const all = source.findings()
  if (all.length === 0) return `No problem was found by rule in ${plural(lines(source.text).length, "line")}.`
  return `${plural(all.length, "remark")} by rule: ${all
    .slice(0, 3)
    .map((finding) => `line ${finding.line}: ${finding.message}`)
    .join("; ")}.`
}

/** The strings of a list property. */
export const composeItems = (property: Property, items: Schema, source: Source): ReadonlyArray<string> => {
  const role = roleOf(property, str(items, "format"))
  const name = property.name
  if (role === "finding") {
    const all = source.findings()
    if (all.length > 0 || judges(source))
      return all.slice(0, 20).map((finding) => `line ${finding.line}: ${finding.message}`)
  }
  if (role === "keyword") return keywords(source.text, 5)
  if (/sentence/i.test(name))
    return sentences(source.text)
      .slice(0, 200)
      .map((sentence) => sentence.text)
  if (/word/i.test(name)) return [...new Set(words(source.text.slice(0, 20_000)))].slice(0, 500)
  if (/line/i.test(name))
    return lines(source.text)
      .slice(0, 500)
      .map((line) => line.text)
  if (/subtask|steps?$|tasks?$|plan|actions?|todo/i.test(name)) {
    const listed = enumeration(source.text)
    if (listed.length > 1) return listed
    return clauses(source.text).slice(0, 10)
  }
  if (/quer|question/i.test(name)) {
    const asked = sentences(source.text.slice(0, 20_000))
      .filter((sentence) => /[?？]$/.test(sentence.text))
      .map((sentence) => sentence.text)
    return asked.length > 0 ? asked : clauses(source.text).slice(0, 5)
  }
  const listed = enumeration(source.text)
  if (listed.length > 0) return listed.map((item) => item.replace(/[.;,]+$/, "")).slice(0, 100)
  return central(source.ranked(), 3, `${name} ${property.description}`).map((i) =>
    clip(source.ranked().sentences[i]?.text ?? "", 300)
  )
}

/** The parts of a request that ask for one thing each. */
export const clauses = (text: string): Array<string> =>
  sentences(text.slice(0, 20_000)).flatMap((sentence) =>
    sentence.text
      .split(
        /;\s+|,?\s+(?:and\s+)?then\s+|,\s+and\s+(?=(?:what|who|when|where|how|tell|find|show|get|send|add|convert|translate|search|calculate|write|book|create|list|give|check|compute)\b)|\s+and\s+(?=(?:what|who|when|where|how|tell|find|show|get|send|add|convert|translate|search|calculate|write|book|create|list|give|check|compute|multiply|divide|subtract|remind|delete|open|read|save)\b)/i
      )
      .map((part) => part.trim())
      .filter((part) => part !== "")
  )

/** The scale a rating is on: the schema's bounds, or one that is written, such as `1 to 5` or `out of 10`. */
const range = (property: Property, schema: Schema, source: Source): readonly [low: number, high: number] => {
  // The bounds of what a number can hold are no scale.
  const bound = (key: string) => {
    const value = num(schema, key)
    return value === undefined || Math.abs(value) >= 1e9 ? undefined : value
  }
  const low = bound("minimum") ?? bound("exclusiveMinimum")
  const high = bound("maximum") ?? bound("exclusiveMaximum")
  if (low !== undefined && high !== undefined) return [low, high]
  for (const text of [property.description, source.instructions, source.task]) {
    const out = /\b(?:out of|\/)\s*(\d{1,4})\b/i.exec(text) ?? /\bscale of\s+(\d{1,4})\b(?!\s*(?:to|-|–))/i.exec(text)
    const span = /(-?\d{1,4}(?:\.\d+)?)\s*(?:-|–|to|through|and|\.\.)\s*(\d{1,4}(?:\.\d+)?)/i.exec(text)
    if (span?.[1] !== undefined && span[2] !== undefined && Number(span[1]) < Number(span[2]))
      return [low ?? Number(span[1]), high ?? Number(span[2])]
    if (out?.[1] !== undefined) return [low ?? 0, high ?? Number(out[1])]
  }
  if (/confidence|probability|likelihood|certainty|ratio|fraction/i.test(property.name)) return [low ?? 0, high ?? 1]
  if (/percent/i.test(property.name)) return [low ?? 0, high ?? 100]
  return [low ?? (high === undefined ? 1 : 0), high ?? Math.max(10, low ?? 0)]
}

/** From 0 to 1: how good a text is by the remarks per line and its readability. */
export const quality = (source: Source): number => {
  const count = words(source.text.slice(0, 200_000)).length
  if (count === 0) return 0
  const weight = source
    .findings()
    .reduce((sum, finding) => sum + (finding.severity === "error" ? 3 : finding.severity === "warning" ? 1.5 : 1), 0)
  const clean = 1 / (1 + (weight * 60) / (count + 60))
  const { ease } = readability(source.text)
  const readable = Math.min(1, Math.max(0, ease / 70))
  const substance = Math.min(1, count / 20)
  return (0.75 * clean + 0.25 * readable) * (0.5 + 0.5 * substance)
}

/** A number that can be measured; `certain` when no number of the text is a better answer. */
export interface Measured {
  readonly value: number
  readonly certain: boolean
}

const certain = (value: number): Measured => ({ value, certain: true })

/** A count, a rating or a confidence, where the property's name asks for one. */
export const measure = (property: Property, schema: Schema, source: Source): Measured | undefined => {
  const name = identifierWords(property.name).join(" ")
  if (/\bwords?\b/.test(name)) return certain(words(source.text).length)
  if (/\bsentences?\b/.test(name)) return certain(sentences(source.text).length)
  if (/\b(?:characters?|chars|length)\b/.test(name))
    return { value: source.text.length, certain: !name.endsWith("length") }
  if (/\blines?\b/.test(name))
    return { value: source.findings()[0]?.line ?? lines(source.text).length, certain: /count|number/.test(name) }
  if (/\bparagraphs?\b/.test(name))
    return certain(source.text.split(/\n\s*\n/).filter((part) => part.trim() !== "").length)
  const rated =
    /\b(?:score|rating|grade|rank|quality|stars?|marks?|level|priority|severity|polarity|sentiment|confidence|probability|likelihood|certainty|relevance|importance|readability|clarity)\b/.test(
      name
    )
  if (!rated) {
    const counts = /count|number of|total|how many/.test(`${name} ${property.description.toLowerCase()}`)
    return counts ? { value: enumeration(source.text).length, certain: false } : undefined
  }
  return certain(rate(name, property, schema, source))
}

const rate = (name: string, property: Property, schema: Schema, source: Source): number => {
  const [low, high] = range(property, schema, source)
  const scaled = (value: number) => {
    const exact = low + (high - low) * Math.min(1, Math.max(0, value))
    return high - low >= 5 ? Math.round(exact) : Math.round(exact * 100) / 100
  }
  if (/confidence|probability|likelihood|certainty/.test(name)) {
    const stems = keyStems(source.text.slice(0, 20_000))
    return scaled(0.5 + 0.4 * (1 - 1 / (1 + stems.length / 15)))
  }
  if (/readability/.test(name)) return scaled(readability(source.text).ease / 100)
  if (isMood(property, source) || /stars?|polarity|sentiment/.test(name)) {
    const mood = sentiment(source.text)
    if (mood.positive.length + mood.negative.length > 0 || /sentiment|polarity/.test(name))
      return scaled((mood.score + 1) / 2)
  }
  if (/severity|priority/.test(name)) return scaled(Math.min(1, Math.max(0, -sentiment(source.text).score)))
  return scaled(quality(source))
}

/** A judgement for a boolean property; false when nothing speaks for it. */
export const truth = (property: Property, source: Source): boolean => {
  const name = identifierWords(property.name).join(" ")
  const about = `${name} ${property.description}`.toLowerCase()
  const text = source.text.slice(0, 100_000)
  if (
    /\b(?:accept|accepted|approve|approved|pass|passed|passes|ok|good enough|valid|acceptable|satisfied|done|complete|sufficient)\b/.test(
      name
    )
  )
    return judges(source)
      ? !source.findings().some((finding) => finding.severity === "error") && quality(source) >= 0.7
      : text.trim() !== ""
  if (/\b(?:positive|happy|satisfied)\b/.test(name)) return sentiment(text).score > 0
  if (/\b(?:negative|angry|unhappy|complaint)\b/.test(name)) return sentiment(text).score < 0
  if (/\burgent|critical\b/.test(name))
    return /\b(?:urgent(?:ly)?|asap|immediately|emergency|critical|right now|outage)\b/i.test(text)
  if (/\bquestion\b/.test(name)) return /[?？]/.test(text)
  if (/\bspam\b/.test(about))
    return /\b(?:winner|lottery|free money|click here|viagra|act now|prize|congratulations you|limited offer|wire transfer|casino)\b/i.test(
      text
    )
  if (/\bcode\b/.test(name)) return /```|[;{}]\s*$|\bfunction\b|=>|\bconst\b|\bdef\b/m.test(text)
  if (/\b(?:email)\b/.test(name)) return source.facts.emails.length > 0
  if (/\b(?:url|link)s?\b/.test(name)) return source.facts.urls.length > 0
  if (/\bdates?\b/.test(name)) return source.facts.dates.length > 0
  if (/\bnumbers?\b/.test(name)) return source.facts.numbers.length > 0
  const wanted = keyStems(name)
  const list = words(text)
  for (const [i, word] of list.entries()) {
    if (!wanted.includes(keyStems(word)[0] ?? "")) continue
    const near = list.slice(Math.max(0, i - 3), i).join(" ")
    if (/\b(?:no|not|never|without|isn't|aren't|don't|cannot|can't|non)\b/.test(near)) return false
    return !/^(?:false|no|off)\b/.test(list[i + 1] ?? "")
  }
  return false
}

const marks: ReadonlyArray<readonly [language: string, words: RegExp]> = [
  ["English", /\b(?:the|and|of|to|is|in|that|it|for|with)\b/gi],
  ["Portuguese", /\b(?:o|os|uma|de|que|não|em|para|com|é|do|da|você|são)\b/gi],
  ["Spanish", /\b(?:el|los|las|una|que|de|en|no|y|para|con|es|está|muy)\b/gi],
  ["French", /\b(?:le|les|des|une|et|est|que|dans|pour|avec|ne|pas|je|vous)\b/gi],
  ["German", /\b(?:der|die|das|und|ist|nicht|ein|eine|mit|für|zu|ich|sie)\b/gi],
  ["Italian", /\b(?:il|gli|una|che|di|non|per|con|è|sono|della|molto)\b/gi],
  ["Dutch", /\b(?:de|het|een|en|van|niet|met|voor|zijn|ik|dat)\b/gi]
]

/** The language that a text is written in, by its script and its commonest words. */
export const language = (text: string): string => {
  const short = text.slice(0, 5_000)
  for (const [name, script] of [
    ["Japanese", /[\p{Script=Hiragana}\p{Script=Katakana}]/u],
    ["Korean", /\p{Script=Hangul}/u],
    ["Chinese", /\p{Script=Han}/u],
    ["Russian", /\p{Script=Cyrillic}/u],
    ["Arabic", /\p{Script=Arabic}/u],
    ["Hebrew", /\p{Script=Hebrew}/u],
    ["Greek", /\p{Script=Greek}/u],
    ["Hindi", /\p{Script=Devanagari}/u],
    ["Thai", /\p{Script=Thai}/u]
  ] as const) {
    if (script.test(short)) return name
  }
  const counted = marks
    .map(([name, pattern]) => ({ name, count: short.match(pattern)?.length ?? 0 }))
    .toSorted((a, b) => b.count - a.count)
  return (counted[0]?.count ?? 0) > 0 ? (counted[0]?.name ?? "unknown") : "unknown"
}
