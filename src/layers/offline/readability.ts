/** Readability figures of English prose (R. Flesch, "A New Readability Yardstick", 1948). Pure. */
import { sentences, words } from "./text.ts"

export interface Readability {
  readonly words: number
  readonly sentences: number
  readonly wordsPerSentence: number
  /** Flesch reading ease: 60 to 70 is plain English, below 30 is hard. */
  readonly ease: number
}

/** Syllables by groups of vowels; a silent final e does not count. */
const syllables = (word: string): number => {
  const groups = word
    .toLowerCase()
    .replace(/(?:[^laeiouy]es|[^td]ed|[^laeiouy]e)$/, (end) => end[0] ?? "")
    .match(/[aeiouyáéíóúàèãõâêô]+/g)
  return Math.max(1, groups?.length ?? 1)
}

/** The figures of at most the first 200,000 characters. */
export const readability = (text: string): Readability => {
  const list = sentences(text.slice(0, 200_000))
    .map((sentence) => words(sentence.text))
    .filter((items) => items.length > 0)
  const all = list.flat()
  if (all.length === 0) return { words: 0, sentences: 0, wordsPerSentence: 0, ease: 0 }
  const per = all.length / list.length
  const beats = all.reduce((sum, word) => sum + syllables(word), 0) / all.length
  const ease = 206.835 - 1.015 * per - 84.6 * beats
  return {
    words: all.length,
    sentences: list.length,
    wordsPerSentence: Math.round(per * 10) / 10,
    ease: Math.round(Math.min(100, Math.max(0, ease)))
  }
}
