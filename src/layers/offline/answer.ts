/** Answers in plain text: from tool results, as a review, a merged report, a summary, an answer or a sum. Pure. */
import { arithmetic } from "./arithmetic.ts"
import { asks, type Conversation, content, type Document } from "./conversation.ts"
import { merge, reportsIn } from "./merge.ts"
import { answering, central, keywords, prepare } from "./rank.ts"
import { report } from "./results.ts"
import { aspectsOf, report as reviewReport } from "./review.ts"
import { sentiment } from "./sentiment.ts"
import { clip, enumerate, plural, sentences, words } from "./text.ts"

export type Intent = "merge" | "review" | "summary" | "question" | "keywords" | "sentiment" | "count" | "none"

const intents: ReadonlyArray<readonly [Intent, RegExp]> = [
  [
    "merge",
    /\b(?:merg\w+|consolidat\w+|combin(?:e|es|ed|ing)\b|synthesi[sz]\w*|aggregat\w+|unif(?:y|ied)|into one (?:report|review|text|answer)|final report)/i
  ],
  [
    "review",
    /\b(?:review\w*|critiqu\w+|critic\b|proofread\w*|check(?:s|ed|er|ing)?\b|find (?:the )?(?:problems|issues|bugs|errors|typos)|audit\w*|lint\w*|inspect\w*|feedback|spelling|code smells?|vulnerabilit\w+)/i
  ],
  ["keywords", /\b(?:keywords?|key ?phrases|main topics|tags? (?:for|of))\b/i],
  ["count", /\b(?:how many|count (?:the )?|number of) (?:words|sentences|lines|characters|paragraphs)\b/i],
  ["sentiment", /\b(?:sentiment|positive or negative|mood of)\b/i],
  [
    "summary",
    /\b(?:summar\w+|tl;?dr|condens\w+|shorten\w*|abstract|in short|key points|main points|gist|digest|recap|outline|brief\b|bullet points|resum\w+|résum\w+|zusammenfass\w+)/i
  ]
]

/** What a text of instructions asks for. */
export const intentOf = (text: string): Intent =>
  intents.find(([, pattern]) => pattern.test(text))?.[0] ??
  (/[?？][\s"'”)]*$/m.test(text) || /^\s*(?:what|who|when|where|why|which|how)\b/i.test(text) ? "question" : "none")

const small: { readonly [word: string]: number } = {
  a: 1,
  one: 1,
  two: 2,
  three: 3,
  four: 4,
  five: 5,
  six: 6,
  seven: 7,
  eight: 8,
  nine: 9,
  ten: 10
}

/** A length that is asked for, such as `in two sentences` or `at most 50 words`. */
export const lengthAsked = (
  text: string
): { readonly count: number; readonly unit: "sentence" | "word" | "point" } | undefined => {
  const match =
    /\b(\d{1,4}|a|one|two|three|four|five|six|seven|eight|nine|ten)[\s-]+(?:\p{L}+\s+)?(sentences?|words?|bullets?(?: points?)?|points?|lines?)\b/iu.exec(
      text
    )
  if (match?.[1] === undefined || match[2] === undefined)
    return /\bsingle sentence\b/i.test(text) ? { count: 1, unit: "sentence" } : undefined
  const count = /^\d/.test(match[1]) ? Number(match[1]) : (small[match[1].toLowerCase()] ?? 1)
  if (count === 0) return undefined
  return { count, unit: /^word/i.test(match[2]) ? "word" : /^sentence/i.test(match[2]) ? "sentence" : "point" }
}

/** The most telling sentences in the order of the text. */
export const summarize = (text: string, instructions: string): string => {
  const asked = lengthAsked(instructions)
  const ranked = prepare(text)
  const total = ranked.sentences.length
  if (total === 0) return ""
  const bullets = asked?.unit === "point" || /\b(?:bullets?|key points|main points|list)\b/i.test(instructions)
  const usual = Math.min(10, Math.max(1, Math.round(Math.sqrt(total))))
  const pick = (count: number) => central(ranked, count).map((i) => clip(ranked.sentences[i]?.text ?? "", 600))
  if (asked?.unit === "word") {
    let best = pick(1)
    for (let count = 2; count <= Math.min(total, 40); count++) {
      const next = pick(count)
      if (words(next.join(" ")).length > asked.count) break
      best = next
    }
    const list = best.join(" ").split(/\s+/)
    return list.length <= asked.count
      ? list.join(" ")
      : `${list
          .slice(0, asked.count)
          .join(" ")
          .replace(/[,;:.]+$/, "")}…`
  }
  const chosen = pick(asked?.count ?? usual)
  return bullets ? chosen.map((item) => `- ${item}`).join("\n") : chosen.join(" ")
}

/** The sentences of a text that answer a question best; `undefined` when none shares a word with it. */
export const answerFrom = (text: string, question: string): string | undefined => {
  const ranked = prepare(text)
  const hits = answering(ranked, question)
  const top = hits[0]
  if (top === undefined) return undefined
  const asked = lengthAsked(question)
  const count = asked?.unit === "sentence" ? asked.count : 3
  const close = hits.filter((hit) => hit.score >= top.score * 0.72).slice(0, count)
  return close
    .map((hit) => hit.index)
    .toSorted((a, b) => a - b)
    .map((i) => clip(ranked.sentences[i]?.text ?? "", 600))
    .join(" ")
}

const abilities =
  "it can call the tools it is offered, fill in structured answers, classify, summarise or review a text, answer a question from a text that is given, and work out stated arithmetic"

/** What is said when nothing can be done with the text. */
const nothing = (text: string): string => {
  const shown = clip(text.slice(0, 1_000).replace(/[\p{Cc}\p{Cs}\uFFFD]+/gu, " "), 60)
  return shown === ""
    ? `There is no text to work on, and the offline rules engine is no language model; ${abilities}.`
    : `The offline rules engine has no rule that answers "${shown.replaceAll('"', "'")}" and is no language model; ${abilities}.`
}

const count = (text: string, task: string): string => {
  const out: Array<string> = []
  if (/\bwords\b/i.test(task)) out.push(plural(words(text).length, "word"))
  if (/\bsentences\b/i.test(task)) out.push(plural(sentences(text).length, "sentence"))
  if (/\blines\b/i.test(task)) out.push(plural(text.split("\n").length, "line"))
  if (/\bcharacters\b/i.test(task)) out.push(plural([...text].length, "character"))
  if (/\bparagraphs\b/i.test(task))
    out.push(plural(text.split(/\n\s*\n/).filter((part) => part.trim() !== "").length, "paragraph"))
  return `The text has ${enumerate(out)}.`
}

/** What a conversation is answered with, before any note on what was not read. */
const body = (conversation: Conversation): string => {
  const { task, instructions, documents } = conversation
  if (conversation.results.length > 0) return report(conversation)
  const sum = documents.length === 0 ? arithmetic(task) : undefined
  if (sum !== undefined) return `${sum.expression} = ${sum.value}`
  const bare = task.replace(/^\W+|\W+$/g, "").split(/\s+/).length <= 12
  const past =
    documents.length === 0 &&
    asks(task) &&
    (bare || /\b(?:above|previous|earlier|that text|the text|the document|it)\b/i.test(task))
      ? earlier(conversation)
      : undefined
  const subject: ReadonlyArray<Document> = documents.length > 0 ? documents : past === undefined ? [] : [past]
  const fromTask = intentOf(task)
  const whole = subject.map((document) => document.text).join("\n\n")
  const text = subject.length > 0 ? whole : conversation.message
  const system = intentOf(instructions.replace(/[?？]/g, "."))
  const intent: Intent = fromTask !== "none" ? fromTask : system === "question" ? "none" : system
  const reports =
    intent === "merge" || (system === "merge" && intent !== "summary")
      ? reportsIn(
          documents.length > 1
            ? JSON.stringify(
                Object.fromEntries(documents.map((document, i) => [document.name ?? `report ${i + 1}`, document.text]))
              )
            : text
        )
      : []
  if (reports.length > 1) return merge(reports)
  const substance = words(text.slice(0, 10_000)).length
  if (subject.length === 0 && asks(task) && intent !== "review" && !(fromTask === "none" && substance > 60)) {
    // A question with nothing to answer it from, save for what the instructions and the conversation say.
    const known = [...conversation.earlier, instructions].join("\n\n")
    return (known.trim() === "" ? undefined : answerFrom(known.slice(-200_000), task)) ?? nothing(task)
  }
  switch (intent) {
    case "review":
      if (substance < 3) return nothing(text)
      return (subject.length > 0 ? subject : [{ name: undefined, text }])
        .map((document) => reviewReport(document.text, document.name, aspectsOf(`${task} ${instructions}`)))
        .join("\n\n")
    case "question":
      return (
        answerFrom(text, task) ??
        `The text given does not answer "${clip(task, 120)}": no sentence of it shares a telling word with the question.`
      )
    case "keywords":
      return enumerateList(keywords(text, lengthAsked(task)?.count ?? 8))
    case "count":
      return count(text, task)
    case "sentiment": {
      const mood = sentiment(text)
      const tone = mood.score > 0.1 ? "positive" : mood.score < -0.1 ? "negative" : "neutral"
      return `By word list the text is ${tone} (${mood.score.toFixed(2)} on a scale from -1 to 1)${mood.positive.length > 0 ? `; positive words: ${[...new Set(mood.positive)].slice(0, 6).join(", ")}` : ""}${mood.negative.length > 0 ? `; negative words: ${[...new Set(mood.negative)].slice(0, 6).join(", ")}` : ""}.`
    }
    default: {
      if (substance < 8) return nothing(text)
      const short = summarize(text, `${task} ${instructions}`)
      return short === "" ? nothing(text) : short
    }
  }
}

const enumerateList = (items: ReadonlyArray<string>): string =>
  items.length === 0 ? "The text has no words to take keywords from." : items.join(", ")

/** The longest earlier text of the conversation that is worth working on. */
const earlier = (conversation: Conversation): Document | undefined => {
  const text = conversation.earlier.toSorted((a, b) => b.length - a.length)[0]
  return text === undefined || text.length < 80 ? undefined : { name: undefined, text }
}

/** The answer with a note on what could not be read. */
export const answer = (conversation: Conversation): string => {
  const notes: Array<string> = []
  if (conversation.unreadable.length > 0)
    notes.push(
      `Not read, because only text can be read offline: ${enumerate(conversation.unreadable.map((name) => clip(name, 100)))}.`
    )
  if (conversation.unread > 0)
    notes.push(`The text is long; its last ${plural(conversation.unread, "character")} were not read.`)
  const empty =
    conversation.message.trim() === "" && conversation.documents.length === 0 && conversation.results.length === 0
  if (empty && notes.length > 0) return notes.join(" ")
  return [body(conversation), ...notes].join("\n\n")
}

/** The text that an answer without tools is taken from, for structured output. */
export const material = (conversation: Conversation): string => {
  const results = conversation.results.length > 0 ? `${report(conversation)}\n\n` : ""
  return `${results}${content(conversation)}`
}
