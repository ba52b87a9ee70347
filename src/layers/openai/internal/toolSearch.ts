/**
 * The Responses API's own tool search: tools whose schemas the model does not see until its search has found them. What it
 * searched and found has to go back in the requests that follow.
 */
import { toJson } from "../../../internal/json.ts"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import { type Fields, isFields, list, openaiOf, text } from "../../internal/model/wire.ts"

/** The tool as it is offered. */
export const tool: Fields = { type: "tool_search" }

/** The name that its calls have in a conversation. */
const name = "tool_search"

type Part = Response.ToolCallPartEncoded | Response.ToolResultPartEncoded

/** Reads the items of searches. A result is that of the search before it. */
export const reader = (newId: () => string, server: string): ((item: Fields) => ReadonlyArray<Part>) => {
  let last: string | undefined
  return (item) => {
    const itemId = text(item, "id") ?? null
    const given = text(item, "call_id") ?? text(item, "id")
    if (item["type"] === "tool_search_call") {
      last = given ?? newId()
      const params = isFields(item["arguments"]) ? item["arguments"] : {}
      const metadata = { openai: { server, itemId, search: toJson(pickedCall(item)) } }
      return [{ type: "tool-call", id: last, name, params, providerExecuted: true, metadata }]
    }
    if (item["type"] !== "tool_search_output") return []
    const search = pickedOutput(item)
    const tools = search.tools.map((one) => one["name"])
    const id = last ?? given ?? newId()
    const metadata = { openai: { server, itemId, search: toJson(search) } }
    return [{ type: "tool-result", id, name, result: { tools }, isFailure: false, providerExecuted: true, metadata }]
  }
}

const pickedCall = (item: Fields) => ({
  type: "tool_search_call",
  arguments: isFields(item["arguments"]) ? item["arguments"] : {}
})

/** The fields of a function that was found; others are not ours to send. */
const ofFunction = ["name", "description", "parameters", "strict", "defer_loading"] as const

const pickedOutput = (item: Fields) => ({
  type: "tool_search_output",
  tools: list(item, "tools").flatMap((one): ReadonlyArray<Fields> => {
    if (!isFields(one) || one["type"] !== "function" || typeof one["name"] !== "string") return []
    const fields = ofFunction.flatMap((key) => (one[key] === undefined ? [] : [[key, one[key]] as const]))
    return [{ type: "function", ...Object.fromEntries(fields) }]
  })
})

/** The item that a part of a conversation goes back as; `undefined` for one that is not of a search. */
export const itemOf = (part: Prompt.ToolCallPart | Prompt.ToolResultPart): Fields | undefined => {
  const { search } = openaiOf(part.options)
  if (!part.providerExecuted || !isFields(search)) return undefined
  const shared = { execution: "server", call_id: null, status: "completed" }
  if (search["type"] === "tool_search_call") return { ...shared, ...pickedCall(search) }
  return search["type"] === "tool_search_output" ? { ...shared, ...pickedOutput(search) } : undefined
}
