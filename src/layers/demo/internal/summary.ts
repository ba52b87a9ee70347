/** Summaries made of sentences of the text. */
import { keyWords } from "./words.ts"

const verb = /\b(?:summari[sz]e|summary|condense|shorten|tl;?dr|key points|main points)\b/i
const counts = "one two three four five six seven eight nine ten".split(" ")
const count = new RegExp(`\\b(\\d{1,2}|single|${counts.join("|")}) (?:[a-z]+ )?(?:sentence|point)s?\\b`, "i")

/** The words that a request for a summary may have. One with others asks for more than taking sentences. */
const plain = `summarise summarize summary condense shorten tl dr tldr key main point points list write brief briefly short text
  texts notes note article document file message page report story passage content sentence sentences only says single`
const known = new Set([...plain.split(/\s+/), ...counts])

let splitter: Intl.Segmenter | undefined
const sentences = (text: string): ReadonlyArray<string> => {
  // Made when it is needed: making one takes longer than loading this module.
  const segmenter = (splitter ??= new Intl.Segmenter("en", { granularity: "sentence" }))
  const blocks = text.split(/\n\s*\n|\n(?=[-*#\d])/).map((block) => block.replace(/\s+/g, " "))
  const all = blocks.flatMap((block) => Array.from(segmenter.segment(block), ({ segment }) => segment.trim()))
  return all.filter((sentence) => sentence !== "")
}

/** The first sentences of the text, two or as many as are asked for; `undefined` when something else is asked for. */
export const summarise = (message: string, instructions: string): string | undefined => {
  const head = /^[^\n]{0,400}?(?::(?=\s)|\n|$)/.exec(message)?.[0] ?? ""
  const inMessage = verb.test(head)
  const rules = sentences(instructions)
  const request = inMessage ? head : rules.filter((sentence) => verb.test(sentence)).join(" ")
  if (request === "" || /\b(?:translat|rewrit|rephras|rhym|poem)/i.test(instructions)) return undefined
  // "in French" asks for more than sentences of the text.
  if (/\bin(?:to)?\s+\p{Lu}\p{Ll}/u.test(request) || keyWords(request).some((word) => !known.has(word)))
    return undefined
  const asked = count.exec(request)?.[1]?.toLowerCase() ?? "two"
  const text = sentences(inMessage ? message.slice(head.length) : message)
  return text.slice(0, Number(asked) || counts.indexOf(asked) + 1 || 1).join(" ") || undefined
}
