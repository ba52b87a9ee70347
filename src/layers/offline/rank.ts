/**
 * Ranks the sentences of a text: by what the text is about, and by what a question asks. Frequencies are counted once,
 * so the work is linear in the text (Luhn, "The Automatic Creation of Literature Abstracts", 1958; TF-IDF).
 */
import { concept } from "./concepts.ts"
import { countBy, inverseFrequency, keyStems, type Sentence, sentences, words } from "./text.ts"

/** A text made ready for ranking. */
export interface Ranked {
  readonly sentences: ReadonlyArray<Sentence>
  readonly stems: ReadonlyArray<ReadonlyArray<string>>
  readonly weight: (stem: string) => number
  readonly frequency: ReadonlyMap<string, number>
}

/** Counts the stems of every sentence. */
export const prepare = (text: string): Ranked => {
  const list = sentences(text)
  const stems = list.map((sentence) => keyStems(sentence.text))
  return { sentences: list, stems, weight: inverseFrequency(stems), frequency: new Map(countBy(stems.flat())) }
}

/** The indexes of the `count` most telling sentences, in the order of the text. */
export const central = (ranked: Ranked, count: number, about = ""): ReadonlyArray<number> => {
  const wanted = new Set(keyStems(about))
  const total = Math.max(1, ranked.sentences.length)
  const seen = new Set<string>()
  const opening = ranked.sentences.findIndex(
    (sentence, i) => (ranked.stems[i]?.length ?? 0) >= 4 || /[.!?]$/.test(sentence.text)
  )
  const scores = ranked.sentences.map((sentence, i) => {
    const own = ranked.stems[i] ?? []
    if (own.length === 0) return 0
    let sum = 0
    for (const item of new Set(own)) {
      const often = ranked.frequency.get(item) ?? 0
      sum += Math.log(1 + often) * (often > 1 || total < 4 ? 1 : 0.45)
      if (wanted.has(item)) sum += 2 * ranked.weight(item)
    }
    const length = own.length
    const shape = length < 3 ? 0.3 : length < 5 ? 0.7 : length > 45 ? 0.6 : 1
    const place = i === opening ? 1.5 : i < total * 0.1 ? 1.15 : i >= total * 0.95 ? 1.08 : 1
    const question = /[?？]$/.test(sentence.text) ? 0.7 : 1
    return (sum / Math.sqrt(length + 4)) * shape * place * question
  })
  const order = scores.map((score, i) => ({ score, i })).toSorted((a, b) => b.score - a.score || a.i - b.i)
  const chosen: Array<number> = []
  for (const { i } of order) {
    if (chosen.length >= count) break
    // The same words in another order say the same thing.
    const key = [...new Set(ranked.stems[i])].toSorted().join(" ") || (ranked.sentences[i]?.text ?? "")
    if (seen.has(key)) continue
    seen.add(key)
    chosen.push(i)
  }
  return chosen.toSorted((a, b) => a - b)
}

const asked: ReadonlyArray<readonly [question: RegExp, answer: RegExp]> = [
  [
    /\b(?:when|what (?:date|day|year|time)|since when)\b/i,
    /\b(?:\d{4}|\d{1,2}:\d{2}|\d+(?:st|nd|rd|th)|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*|(?:mon|tues|wednes|thurs|fri|satur|sun)day|today|tomorrow|yesterday)\b/i
  ],
  [
    /\b(?:how (?:many|much|long|old|far|often|big|tall|fast)|what (?:number|amount|price|cost|percentage))\b/i,
    /\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million|half|double|twice)\b/i
  ],
  [/\bwho(?:se|m)?\b/i, /\b\p{Lu}\p{Ll}+\s\p{Lu}\p{Ll}+|\b(?:he|she|they|team|company)\b/u],
  [/\bwhere\b/i, /\b(?:in|at|near|from|to)\s+\p{Lu}/u],
  [/\bwhy\b/i, /\b(?:because|since|due to|so that|in order to|therefore|reason|caused?)\b/i],
  [/\bhow\b/i, /\b(?:by|using|with|via|through|first|then|run|click|use)\b/i]
]

/** How well each sentence answers `question`, best first; sentences that share nothing with it are left out. */
export const answering = (
  ranked: Ranked,
  question: string
): ReadonlyArray<{ readonly index: number; readonly score: number }> => {
  const wanted = new Map<string, number>()
  for (const item of keyStems(question)) wanted.set(item, 1)
  if (wanted.size === 0) for (const word of words(question)) wanted.set(word, 1)
  for (const item of keyStems(question)) for (const near of concept(item)) if (!wanted.has(near)) wanted.set(near, 0.6)
  const kind = asked.find(([pattern]) => pattern.test(question))?.[1]
  const out: Array<{ index: number; score: number }> = []
  ranked.sentences.forEach((sentence, index) => {
    let score = 0
    const own = new Set(ranked.stems[index])
    for (const item of own) {
      const weight = wanted.get(item)
      if (weight !== undefined) score += weight * (0.3 + ranked.weight(item))
    }
    if (score === 0) return
    if (/[?？]$/.test(sentence.text)) score *= 0.4
    if (kind?.test(sentence.text) === true) score *= 1.5
    out.push({ index, score: score / Math.pow(own.size + 4, 0.25) })
  })
  return out.toSorted((a, b) => b.score - a.score || a.index - b.index)
}

/** The words that a text is about: the most frequent words with meaning, as they are written most often. */
export const keywords = (text: string, count: number): Array<string> => {
  const surface = new Map<string, Map<string, number>>()
  const totals = new Map<string, number>()
  for (const word of words(text.slice(0, 400_000))) {
    const [item] = keyStems(word)
    if (item === undefined || item.length < 2 || /^\d+$/.test(item)) continue
    totals.set(item, (totals.get(item) ?? 0) + 1)
    const forms = surface.get(item) ?? new Map<string, number>()
    forms.set(word, (forms.get(word) ?? 0) + 1)
    surface.set(item, forms)
  }
  return [...totals]
    .toSorted((a, b) => b[1] - a[1])
    .slice(0, count)
    .map(([item]) => [...(surface.get(item) ?? [])].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? item)
}
