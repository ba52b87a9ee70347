/** Chooses tools by the words that their names and descriptions share with a request, and fills their arguments. */
import * as Tool from "effect/ai/Tool"
import * as Result from "effect/Result"
import { fill, type Missing } from "./fill.ts"
import * as literals from "./literals.ts"
import { keyWords, without } from "./words.ts"

type Calls = ReadonlyArray<{ readonly name: string; readonly params: unknown }>

const offer = (tool: Tool.Any) => {
  const nameWords = new Set(literals.nameWords(tool.name))
  const words = new Set([...nameWords, ...keyWords(Tool.getDescription(tool) ?? "")])
  const schema = Tool.getJsonSchema(tool)
  // Only a field of that name takes an arithmetic expression: a description may mean a regular one.
  if (!("expression" in Object(schema["properties"]))) words.delete("expression")
  return { name: tool.name, nameWords, words, schema, fields: JSON.stringify(schema).toLowerCase() }
}
type Offered = ReturnType<typeof offer>

/** Words that one tool serves for all. */
const sum = /^(?:[-+*/^]|expression)$/

/** The words of a request, without its literals. */
const wordsOf = (text: string): ReadonlyArray<string> => {
  const words = keyWords(without(text, [...literals.json(text), ...literals.quoted(text)]))
  return literals.arithmetic(text) === undefined ? words : [...words, "expression"]
}

/** The tool that shares most words; of two, the one named first. A further one needs a word of its name, or two. */
const best = (words: ReadonlyArray<string>, offered: ReadonlyArray<Offered>, isFirst: boolean): Offered | undefined => {
  const scored = offered.map((one) => {
    const shared = [...new Set(words.filter((word) => one.words.has(word)))]
    const counts = isFirst || shared.length > 1 || shared.some((word) => one.nameWords.has(word) || sum.test(word))
    return { one, score: counts ? shared.length : 0, first: words.indexOf(shared[0] ?? "") }
  })
  const [top] = scored.toSorted((a, b) => b.score - a.score || a.first - b.first)
  return top !== undefined && top.score > 0 ? top.one : undefined
}

/** True for a sentence with more words that the chosen tools do not have than words that they have. */
const isIdle = (sentence: string, chosen: ReadonlyArray<Offered>): boolean => {
  const words = /^\W{0,3}[\p{L}\p{N}_ -]{1,40}\W{0,3}[:=]|[{}[\]]/u.test(sentence) ? [] : wordsOf(sentence)
  const has = (word: string) => chosen.some((one) => one.words.has(word) || one.fields.includes(word) || sum.test(word))
  return words.filter(has).length * 2 < words.length
}

/** The tools that may be called, and whether one has to be. */
export type Choice = { readonly tools: ReadonlyArray<Tool.Any>; readonly required: boolean }

/** The calls that a message asks for; none when no tool fits. */
export const plan = (message: string, { required, tools }: Choice): Result.Result<Calls, Missing> => {
  const offered = tools.map(offer)
  const chosen: Array<Offered> = []
  let words = wordsOf(message)
  for (let next = best(words, offered, true); next !== undefined; next = best(words, offered, false)) {
    const taken = next.words
    chosen.push(next)
    words = words.filter((word) => !taken.has(word) && !sum.test(word))
  }
  if (required && chosen.length === 0 && offered.length === 1) chosen.push(...offered)
  if (required && chosen.length === 0) return Result.fail({ field: "tool", why: "none has a word of the request" })
  const calls = []
  for (const { name, schema, words } of chosen) {
    const filled = fill(schema, message, words)
    if (Result.isFailure(filled)) return Result.fail({ ...filled.failure, tool: name })
    calls.push({ name, params: filled.success })
  }
  const sentences = chosen.length === 0 || required ? [] : message.split(/(?<=[.?!;])\s+|\n+/)
  const idle = sentences.find((sentence) => isIdle(sentence, chosen))?.slice(0, 60)
  if (idle !== undefined) return Result.fail({ field: "tool", why: `none has most words of ${JSON.stringify(idle)}` })
  return Result.succeed(calls)
}
