/**
 * What a prompt asks for: the instructions, the task, the document it is about, and the tool results since the last
 * user message. Pure.
 */
import type * as Prompt from "effect/ai/Prompt"
import { isText, decodeFile } from "./files.ts"
import { lines } from "./text.ts"

/** The most text of one conversation that is read, in UTF-16 units. The rest is left out, and the answer says so. */
export const readLimit = 1_000_000

/** One document given by the user. */
export interface Document {
  readonly name: string | undefined
  readonly text: string
}

export interface Call {
  readonly id: string
  readonly name: string
  readonly params: unknown
}
export interface Result {
  readonly call: Call
  readonly isFailure: boolean
  readonly result: unknown
}

export interface Conversation {
  /** The system messages: they say how to work and are never worked on. */
  readonly instructions: string
  /** The words of the last user message that ask for something; empty when it is a document alone. */
  readonly task: string
  /** What the task is about, the longest document first; empty when there is none. */
  readonly documents: ReadonlyArray<Document>
  /** All of the last user message's own text. */
  readonly message: string
  /** Earlier messages, oldest first. */
  readonly earlier: ReadonlyArray<string>
  /** The tool calls since the last user message, and those of their results that arrived. */
  readonly calls: ReadonlyArray<Call>
  readonly results: ReadonlyArray<Result>
  /** Attachments that cannot be read by rule, named. */
  readonly unreadable: ReadonlyArray<string>
  /** How much of the last message was given and not read, in UTF-16 units. */
  readonly unread: number
  /** The number of messages. */
  readonly length: number
}

/** Reads a prompt. */
export const read = (prompt: Prompt.Prompt): Conversation => {
  const instructions: Array<string> = []
  const earlier: Array<string> = []
  const unreadable: Array<string> = []
  const files: Array<Document> = []
  let message = ""
  let calls: Array<Call> = []
  let results: Array<Result> = []
  for (const item of prompt.content) {
    switch (item.role) {
      case "system":
        instructions.push(item.content)
        break
      case "user": {
        if (message !== "") earlier.push(message)
        for (const file of files) earlier.push(file.text)
        files.length = 0
        unreadable.length = 0
        calls = []
        results = []
        const texts: Array<string> = []
        for (const part of item.content) {
          if (part.type === "text") {
            texts.push(part.text)
          } else {
            const name = part.fileName ?? `an attachment of type ${part.mediaType}`
            const text = isText(part.mediaType, part.fileName) ? decodeFile(part.data) : undefined
            if (text === undefined) unreadable.push(name)
            else files.push({ name: part.fileName, text })
          }
        }
        message = texts.join("\n\n")
        break
      }
      case "assistant":
        for (const part of item.content) {
          if (part.type === "text") earlier.push(part.text)
          else if (part.type === "tool-call") calls.push({ id: part.id, name: part.name, params: part.params })
          else if (part.type === "tool-result") results.push(toResult(part, calls))
        }
        break
      case "tool":
        for (const part of item.content) if (part.type === "tool-result") results.push(toResult(part, calls))
        break
    }
  }
  const given = message.length + files.reduce((sum, file) => sum + file.text.length, 0)
  message = message.slice(0, readLimit)
  let left = readLimit - message.length
  const readFiles = files.map((file) => {
    const text = file.text.slice(0, left)
    left -= text.length
    return { ...file, text }
  })
  const { task, document } =
    readFiles.length > 0 ? { task: message.slice(0, 20_000), document: undefined } : split(message)
  const documents = [...readFiles, ...(document === undefined ? [] : [document])]
  return {
    instructions: instructions.join("\n\n").slice(0, 100_000),
    task,
    documents: documents.toSorted((a, b) => b.text.length - a.text.length),
    message,
    earlier: earlier.map((text) => text.slice(0, readLimit)),
    calls,
    results,
    unreadable,
    unread: Math.max(0, given - readLimit),
    length: prompt.content.length
  }
}

const toResult = (part: Prompt.ToolResultPart, calls: ReadonlyArray<Call>): Result => ({
  call: calls.findLast((call) => call.id === part.id) ?? { id: part.id, name: part.name, params: undefined },
  isFailure: part.isFailure,
  result: part.result
})

const imperative =
  /^(?:please\s+|can you\s+|could you\s+|would you\s+|kindly\s+|now\s+)?(?:summari[sz]e|review|critique|check|proofread|analy[sz]e|extract|classify|categori[sz]e|label|list|find|answer|explain|describe|translate|rewrite|improve|edit|merge|combine|consolidate|compare|evaluate|judge|rate|score|grade|assess|read|use|give|tell|write|count|identify|highlight|outline|condense|shorten|convert|what|who|when|where|why|which|how|is|are|does|do|did|can|tl;?dr)\b/i

/** True for text that asks for something rather than being the thing worked on. */
export const asks = (text: string): boolean => {
  const trimmed = text.trim()
  return (
    trimmed.length <= 600 &&
    (/[?？][\s"'”)]*$/.test(trimmed) || imperative.test(trimmed) || (/[:：]$/.test(trimmed) && trimmed.length < 300))
  )
}

/** Parts a message into the words that ask and the document they are about. */
export const split = (message: string): { readonly task: string; readonly document: Document | undefined } => {
  const tagged = /<([a-zA-Z][\w-]{0,40})(?:\s[^<>\n]{0,200})?>\n?/.exec(message.slice(0, 20_000))
  if (tagged !== null) {
    const close = message.lastIndexOf(`</${tagged[1]}>`)
    const start = tagged.index + tagged[0].length
    const html = /^(?:html|div|p|span|a|b|i|ul|li|head|body|script|table|section|h\d)$/i.test(tagged[1] ?? "")
    if (close > start && !html && close - start > 0) {
      const around = `${message.slice(0, tagged.index)}\n${message.slice(close + (tagged[1]?.length ?? 0) + 3)}`.trim()
      if (around.length < 2_000 || close - start > around.length) {
        return { task: around, document: { name: undefined, text: message.slice(start, close).replace(/\n$/, "") } }
      }
    }
  }
  const fence = /^(`{3,8}|~{3,8}|""")[^\n]*\n/m.exec(message)
  if (fence !== null && asks(message.slice(0, fence.index).trim())) {
    const start = fence.index + fence[0].length
    const close = message.lastIndexOf(`\n${fence[1]}`)
    if (close >= start && message.slice(close + 1 + (fence[1]?.length ?? 3)).trim().length < 600) {
      const after = message.slice(close + 1 + (fence[1]?.length ?? 3)).trim()
      return {
        task: `${message.slice(0, fence.index).trim()}\n${after}`.trim(),
        document: { name: undefined, text: message.slice(start, close) }
      }
    }
  }
  const labelled =
    /^[ \t]*(?:text|document|article|input|content|passage|context|draft|message|email|ticket|code|file)[ \t]*:[ \t]*\n?/im.exec(
      message.slice(0, 5_000)
    )
  if (labelled !== null && asks(message.slice(0, labelled.index))) {
    const rest = message.slice(labelled.index + labelled[0].length)
    const { body, question } = trailing(rest)
    return { task: `${message.slice(0, labelled.index).trim()}\n${question}`.trim(), document: doc(body) }
  }
  const head = lines(message.slice(0, 2_000)).findIndex(({ text }) => text.trim() !== "")
  if (head !== -1) {
    const all = lines(message)
    const first = all[head]
    const rest = all[head + 1]
    if (first !== undefined && rest !== undefined && asks(first.text) && !/^\s*#/.test(first.text)) {
      const body = message.slice(rest.index)
      if (body.trim().length > first.text.length / 2 && body.trim() !== "") {
        return { task: first.text.trim(), document: doc(body.replace(/^\s*\n/, "")) }
      }
    }
    if (first !== undefined) {
      // "Summarise this: the text ..." on one line.
      const inline = /^([^:\n]{3,160}):\s+(\S[\s\S]{40,})$/.exec(message.trim())
      if (inline !== null && imperative.test(inline[1] ?? ""))
        return { task: inline[1] ?? "", document: doc(inline[2] ?? "") }
    }
  }
  const { body, question } = trailing(message)
  if (question !== "" && body.trim().length > 80) return { task: question, document: doc(body) }
  if (asks(message) || message.trim() === "") return { task: message.trim(), document: undefined }
  return message.length < 200 && !message.trim().includes("\n")
    ? { task: message.trim(), document: undefined }
    : { task: "", document: doc(message) }
}

const doc = (text: string): Document | undefined => (text.trim() === "" ? undefined : { name: undefined, text })

/** A question after the last line break or sentence of a text. */
const trailing = (text: string): { readonly body: string; readonly question: string } => {
  const trimmed = text.trimEnd()
  const tail = trimmed.slice(-600)
  const match = /(?:\n\s*\n?|(?<=[.!?])\s+)([^\n.!?]{3,400}[?？])$/.exec(tail)
  if (match !== null) {
    const at = trimmed.length - tail.length + match.index
    return { body: trimmed.slice(0, at), question: (match[1] ?? "").trim() }
  }
  const command = /\n\s*\n([^\n]{3,300})$/.exec(tail)
  if (command !== null && imperative.test(command[1] ?? "")) {
    return { body: trimmed.slice(0, trimmed.length - tail.length + command.index), question: (command[1] ?? "").trim() }
  }
  return { body: text, question: "" }
}

/** The text that is worked on: the documents, or else the message itself. */
export const content = (conversation: Conversation): string =>
  conversation.documents.length === 0
    ? conversation.message
    : conversation.documents.map((document) => document.text).join("\n\n")
