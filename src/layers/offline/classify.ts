/**
 * Chooses among labels for a text: by the labels' words, what is said of each, words that mean the same, and feeling
 * where the labels are about feeling. Pure.
 */
import { concept } from "./concepts.ts"
import { sentiment } from "./sentiment.ts"
import { countBy, identifierWords, keyStems, lines, stem, stopWords } from "./text.ts"

export interface Choice {
  readonly value: unknown
  readonly description: string
}
export interface Scored {
  readonly choice: Choice
  readonly score: number
}

const positive =
  /^(?:very[ _-]?)?(?:positive|pos|good|happy|satisfied|favou?rable|great|excellent|promoter|joy|love|optimistic)$/i
const negative =
  /^(?:very[ _-]?)?(?:negative|neg|bad|unhappy|angry|dissatisfied|unfavou?rable|poor|terrible|detractor|sad|hate|pessimistic|frustrated)$/i
const neutral = /^(?:neutral|mixed|ok|okay|none|indifferent|passive|objective)$/i
const rest =
  /^(?:other|others|general|misc|miscellaneous|unknown|unclear|none|default|fallback|uncategori[sz]ed|n\/?a|undefined|normal)$/i
const urgent = /^(?:urgent|critical|high|highest|severe|p0|p1|blocker|emergency|immediate)$/i
const calm = /^(?:low|lowest|minor|trivial|p3|p4|p5)$/i
const middle = /^(?:medium|moderate|normal|p2|average)$/i
const yes = /^(?:yes|true|pass|passed|accept|accepted|approve|approved|ok|valid|correct|spam)$/i
const no = /^(?:no|false|fail|failed|reject|rejected|deny|denied|revise|invalid|incorrect|not[ _-]?spam|ham)$/i

const urgency =
  /\b(?:urgent(?:ly)?|asap|immediately|emergency|critical|right now|production (?:is )?down|outage|data loss|security breach|cannot (?:work|log ?in)|all (?:users|customers)|severe|blocked|deadline|life[- ]threatening|not breathing|fire)\b|!!/gi
const calmness =
  /\b(?:whenever|no rush|no hurry|minor|typo|cosmetic|someday|when you have time|nice to have|low priority|small)\b/gi

/** What is said of each label in the instructions: lines such as `- billing: invoices and refunds`. */
export const glossary = (labels: ReadonlyArray<string>, text: string): ReadonlyMap<string, string> => {
  const out = new Map<string, string>()
  const wanted = new Map(labels.map((label) => [label.toLowerCase(), label]))
  for (const { text: line } of lines(text.slice(0, 50_000))) {
    const match =
      /^\s*(?:[-*•]|\d+[.)])?\s*["'`*_]*([\p{L}\p{N}][\p{L}\p{N} _/.-]{0,60}?)["'`*_]*\s*(?::|–|—|\s-\s|=>|->|\s=\s)\s*["'`*_]*(.+)$/u.exec(
        line.slice(0, 2_000)
      )
    const label = wanted.get((match?.[1] ?? "").toLowerCase())
    if (label !== undefined && !out.has(label)) out.set(label, match?.[2] ?? "")
  }
  return out
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""))

/** Scores every choice for `text`, in the order given. `about` is what the property's name and description say. */
export const score = (
  choices: ReadonlyArray<Choice>,
  text: string,
  about: string,
  instructions: string
): ReadonlyArray<Scored> => {
  const labels = choices.map((choice) => textOf(choice.value))
  const said = glossary(labels, instructions)
  const body = text.slice(0, 200_000)
  const counts = new Map(countBy([...keyStems(body)]))
  const feeling = labels.some((label) => positive.test(label)) && labels.some((label) => negative.test(label))
  const urging =
    labels.some((label) => urgent.test(label)) && labels.some((label) => calm.test(label) || middle.test(label))
  const stemsOf = choices.map((choice, i) => ({
    label: identifierWords(labels[i] ?? "")
      .filter((word) => !stopWords.has(word))
      .map(stem),
    description: keyStems(`${choice.description} ${said.get(labels[i] ?? "") ?? ""}`)
  }))
  // A word said of every label tells none of them from another.
  const spread = new Map<string, number>()
  for (const { label, description } of stemsOf)
    for (const item of new Set([...label, ...description])) spread.set(item, (spread.get(item) ?? 0) + 1)
  const lower = body.toLowerCase()
  return choices.map((choice, i) => {
    const label = labels[i] ?? ""
    const own = stemsOf[i] ?? { label: [], description: [] }
    let total = 0
    const rare = (item: string) => 1 / (spread.get(item) ?? 1)
    for (const item of new Set(own.label)) {
      if (counts.has(item)) total += 3 * rare(item) * (1 + Math.log(counts.get(item) ?? 1))
      for (const near of concept(item)) if (counts.has(near)) total += 1.2 * rare(item)
    }
    const described = new Set(own.description)
    for (const item of described) {
      if (counts.has(item)) total += 1.5 * rare(item) * (1 + 0.5 * Math.log(counts.get(item) ?? 1))
      else for (const near of concept(item)) if (counts.has(near)) total += 0.4 * rare(item)
    }
    if (own.label.length === 0 && label !== "" && lower.includes(label.toLowerCase())) total += 2
    // Said outright: "category: billing".
    if (
      label.length > 1 &&
      new RegExp(`[:=]\\s*["'*]*${label.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").slice(0, 100)}\\b`, "i").test(
        body.slice(0, 20_000)
      )
    )
      total += 1
    if (feeling) {
      const { score: mood } = sentiment(body)
      const very = /^very/i.test(label)
      if (positive.test(label)) total += mood > 0.1 ? 6 * mood + (very ? (mood > 0.75 ? 1 : -1) : 0) : 0
      if (negative.test(label)) total += mood < -0.1 ? -6 * mood + (very ? (mood < -0.75 ? 1 : -1) : 0) : 0
      if (neutral.test(label)) total += Math.abs(mood) <= 0.25 ? 2 : 0
    }
    if (urging) {
      const pressure = (body.match(urgency)?.length ?? 0) - (body.match(calmness)?.length ?? 0)
      if (urgent.test(label)) total += Math.max(0, pressure) * (/critical|p0|highest|emergency/i.test(label) ? 2.1 : 2)
      if (calm.test(label)) total += Math.max(0, -pressure) * 2
      if (middle.test(label)) total += pressure === 0 ? 0.9 : 0
    }
    if (rest.test(label)) total = Math.max(total * 0.5, 0.3)
    if (yes.test(label) || no.test(label)) {
      const { score: mood } = sentiment(body)
      total += yes.test(label) ? Math.max(0, mood) : Math.max(0, -mood)
    }
    return { choice, score: total }
  })
}

/** The best choice. Ties go to a label for the rest, then to the first. */
export const best = (
  choices: ReadonlyArray<Choice>,
  text: string,
  about: string,
  instructions: string
): Choice | undefined =>
  score(choices, text, about, instructions).reduce<Scored | undefined>(
    (top, item) => (top === undefined || item.score > top.score ? item : top),
    undefined
  )?.choice

/** The choice whose label the text names, if it names one. */
export const mentioned = (choices: ReadonlyArray<Choice>, text: string): Choice | undefined => {
  const stems = new Set(keyStems(text))
  const lower = ` ${text.toLowerCase().slice(0, 20_000)} `
  const literal = choices.filter(({ value }) => {
    const label = textOf(value).toLowerCase()
    return (
      label !== "" &&
      new RegExp(
        `(?<![\\p{L}\\p{N}])${label.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").slice(0, 200)}(?![\\p{L}\\p{N}])`,
        "u"
      ).test(lower)
    )
  })
  if (literal.length > 0) return literal.toSorted((a, b) => textOf(b.value).length - textOf(a.value).length)[0]
  return (
    choices.find(({ value }) => {
      const own = identifierWords(textOf(value))
        .filter((word) => !stopWords.has(word))
        .map(stem)
      return own.length > 0 && own.every((item) => stems.has(item))
    }) ??
    choices.find(({ value, description }) =>
      [...identifierWords(textOf(value)).map(stem), ...keyStems(description)].some(
        (item) => stems.has(item) || [...concept(item)].some((near) => stems.has(near))
      )
    )
  )
}

/** All choices that a text is about, best first. */
export const matching = (
  choices: ReadonlyArray<Choice>,
  text: string,
  about: string,
  instructions: string
): ReadonlyArray<Choice> =>
  score(choices, text, about, instructions)
    .filter((item) => item.score >= 1)
    .toSorted((a, b) => b.score - a.score)
    .map((item) => item.choice)
