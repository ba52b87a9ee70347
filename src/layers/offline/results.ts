/** Puts the results of tools into words. Pure. */
import type { Conversation, Result } from "./conversation.ts"
import { answering, central, prepare } from "./rank.ts"
import { clip, enumerate, identifierWords, sentences } from "./text.ts"

const scalar = (value: unknown): value is string | number | boolean | null =>
  value === null || typeof value !== "object"

const show = (value: unknown): string =>
  typeof value === "string"
    ? value
    : typeof value === "number" || typeof value === "boolean"
      ? String(value)
      : value === null || value === undefined
        ? "nothing"
        : JSON.stringify(value)

const label = (key: string): string => identifierWords(key).join(" ") || key

/** An object as `temperature 12, sky cloudy`. */
const fields = (value: object): string =>
  Object.entries(value)
    .slice(0, 30)
    .map(([key, item]) => `${label(key)} ${scalar(item) ? show(item) : clip(JSON.stringify(item), 200)}`)
    .join(", ")

/** `add (a: 2, b: 40)` */
const called = (result: Result): string => {
  const params =
    typeof result.call.params === "object" && result.call.params !== null ? Object.entries(result.call.params) : []
  const shown = params
    .filter(([, value]) => value !== undefined)
    .slice(0, 6)
    .map(([key, value]) => `${key}: ${clip(show(value), 60)}`)
  return shown.length === 0 ? result.call.name : `${result.call.name} (${shown.join(", ")})`
}

const failure = (value: unknown): string => {
  if (typeof value === "object" && value !== null) {
    for (const key of ["message", "error", "reason", "description"]) {
      const said = (value as { readonly [key: string]: unknown })[key]
      if (typeof said === "string" && said !== "") return said
      if (typeof said === "object" && said !== null) return failure(said)
    }
  }
  return show(value)
}

const sentence = (text: string): string => (/[.!?…。]["'”)]*$/.test(text) ? text : `${text}.`)

/** One result in words. A long text is cut down to what answers the question. */
export const describe = (result: Result, question: string): string => {
  if (result.isFailure) return sentence(`The tool ${called(result)} failed: ${clip(failure(result.result), 500)}`)
  const value = result.result
  if (typeof value === "string") {
    if (value.trim() === "") return `The tool ${called(result)} gave an empty text.`
    if (value.length <= 600)
      return value.includes("\n") ? `${called(result)}:\n${value}` : sentence(`${called(result)}: ${value}`)
    const ranked = prepare(value.slice(0, 400_000))
    const hits = answering(ranked, question)
      .slice(0, 3)
      .map((hit) => hit.index)
      .toSorted((a, b) => a - b)
    const chosen = hits.length > 0 ? hits : central(ranked, 3)
    return `${called(result)}: ${chosen.map((i) => clip(ranked.sentences[i]?.text ?? "", 400)).join(" ")}`
  }
  if (scalar(value) || value === undefined)
    return value === null || value === undefined
      ? `The tool ${called(result)} finished and gave nothing back.`
      : `The result of ${called(result)} is ${show(value)}.`
  if (Array.isArray(value)) {
    if (value.length === 0) return `The tool ${called(result)} found nothing: the list is empty.`
    if (value.every(scalar) && value.length <= 20)
      return `The results of ${called(result)} are ${enumerate(value.map(show))}.`
    const rows = value.slice(0, 20).map((item) => `- ${scalar(item) ? show(item) : fields(item as object)}`)
    return `${called(result)} gave ${value.length} results:\n${rows.join("\n")}${value.length > 20 ? `\n- and ${value.length - 20} more` : ""}`
  }
  const text = fields(value as object)
  return text === ""
    ? `The tool ${called(result)} finished and gave nothing back.`
    : sentence(`${called(result)}: ${text}`)
}

/** All results since the last user message, in the order asked. */
export const report = (conversation: Conversation): string => {
  const order = conversation.calls
    .map((call) => conversation.results.find((result) => result.call.id === call.id))
    .filter((result) => result !== undefined)
  const all = order.length === conversation.results.length ? order : conversation.results
  const question = sentences(conversation.task).find((item) => /[?？]$/.test(item.text))?.text ?? conversation.task
  return all.map((result) => describe(result, question)).join(all.length > 2 ? "\n" : " ")
}
