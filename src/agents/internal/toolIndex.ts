/** Finds tools by words: the rarer a word is among all tools, the more it says (BM25). */

/** A tool, as it is searched. */
export interface Described {
  readonly name: string
  readonly description: string
  readonly parameters: string
}

/** A tool with its words. */
export interface Indexed extends Described {
  readonly words: ReadonlyMap<string, number>
  readonly size: number
  /** How much a word says, shared by all. */
  readonly weights: ReadonlyMap<string, number>
}

/** Words that say nothing of what a tool does. */
const empty = new Set(
  "a an and are as at be by can do for from get give given has have how i if in into is it its me my of on one or our please some that the their them then there these this to tool tools up use used using want was we what when where which who will with you your".split(
    " "
  )
)

/** A word without its ending, about: enough for "files" and "file", "creating" and "create". */
const stem = (word: string): string => {
  if (word.length <= 3) return word
  const plain = word.replace(/(?:ies)$/, "y").replace(/(?:ing|ed|es|s)$/, "")
  return (plain.length < 3 ? word : plain).replace(/(.)\1$/, "$1").replace(/e$/, "")
}

const synonyms: Readonly<Record<string, ReadonlyArray<string>>> = Object.fromEntries(
  [
    ["delete", "remove", "erase", "drop"],
    ["create", "add", "make", "new", "open"],
    ["list", "show", "find", "search", "look", "query"],
    ["send", "post", "write", "message", "notify"],
    ["update", "change", "edit", "modify", "set"],
    ["fetch", "read", "download", "retrieve"],
    ["issue", "ticket", "bug"],
    ["picture", "image", "photo"],
    ["mail", "email"],
    ["calendar", "event", "meeting", "appointment"]
  ].flatMap((group) => {
    const stems = group.map((word) => stem(word))
    return stems.map((word) => [word, stems.filter((other) => other !== word)])
  })
)

/** The words of a text, in any way of writing names. */
export const wordsOf = (text: string): ReadonlyArray<string> =>
  text
    .replace(/([a-z\d])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "" && !empty.has(word))
    .map(stem)

/** Makes the index. A word of the name counts three times. */
export const indexOf = (tools: ReadonlyArray<Described>): ReadonlyArray<Indexed> => {
  const counts = new Map<string, number>()
  const all = tools.map((tool) => {
    const words = new Map<string, number>()
    const count = (text: string, times: number) => {
      for (const word of wordsOf(text)) words.set(word, (words.get(word) ?? 0) + times)
    }
    count(tool.name, 3)
    count(tool.description, 1)
    count(tool.parameters, 0.3)
    for (const word of words.keys()) counts.set(word, (counts.get(word) ?? 0) + 1)
    return { ...tool, words, size: [...words.values()].reduce((sum, one) => sum + one, 0) }
  })
  const weights = new Map(
    [...counts].map(([word, count]) => [word, Math.log(1 + (tools.length - count + 0.5) / (count + 0.5))])
  )
  return all.map((tool) => ({ ...tool, weights }))
}

/** How much a word counts that is not in the query, but means the same. */
const alike = 0.4

/** The tools that fit the query best, at most `max`. */
export const search = (index: ReadonlyArray<Indexed>, query: string, max: number): ReadonlyArray<Indexed> => {
  const wanted = new Map<string, number>()
  for (const word of new Set(wordsOf(query.slice(0, 1000)))) {
    wanted.set(word, 1)
    for (const other of synonyms[word] ?? []) if (!wanted.has(other)) wanted.set(other, alike)
  }
  const mean = index.reduce((sum, { size }) => sum + size, 0) / Math.max(1, index.length)
  const score = ({ name, size, weights, words }: Indexed): number => {
    if (name === query.trim()) return Number.POSITIVE_INFINITY
    let sum = 0
    for (const [word, factor] of wanted) {
      const count = words.get(word)
      if (count === undefined) continue
      sum += (factor * weights.get(word)! * (count * 2.2)) / (count + 1.2 * (0.25 + (0.75 * size) / mean))
    }
    return sum
  }
  return index
    .map((tool, at) => ({ tool, at, score: score(tool) }))
    .filter(({ score }) => score > 0)
    .toSorted((a, b) => b.score - a.score || a.at - b.at)
    .slice(0, max)
    .map(({ tool }) => tool)
}
