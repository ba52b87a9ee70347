/** Tool results that are shown in part, and the tools that read and search the rest. */
import * as Prompt from "effect/ai/Prompt"
import * as Effect from "effect/Effect"
import { memoize } from "effect/Function"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import * as Middleware from "../../../Middleware.ts"
import * as ToolSource from "../../../ToolSource.ts"
import { toJson } from "../../../internal/json.ts"
import { fingerprint } from "./view.ts"

/** A tool result as a text with lines, for reading in parts. */
export const textOf = ({ result }: Prompt.ToolResultPart): string =>
  typeof result === "string" ? result : JSON.stringify(toJson(result), undefined, 1)

/** The id of a result, by what is in it. */
export const idOf = memoize((part: Prompt.ToolResultPart): string => `r${fingerprint(textOf(part))}`)

/** How long the beginning and the end are that stay, in characters. */
export interface Ends {
  readonly head: number
  readonly tail: number
}

/** The beginning and the end of a text, and between them what was left out of it. */
export const ends = (text: string, { head, tail }: Ends, what: (count: number) => string): string =>
  text.length <= head + tail
    ? text
    : `${text.slice(0, head)}\n${what(text.length - head - tail)}\n${tail === 0 ? "" : text.slice(-tail)}`

/** The result with another text in its place. */
export const withText = (part: Prompt.ToolResultPart, text: string): Prompt.ToolResultPart =>
  Prompt.toolResultPart({
    id: part.id,
    name: part.name,
    isFailure: part.isFailure,
    providerExecuted: part.providerExecuted,
    result: text,
    options: part.options
  })

/** How much one call of a tool gives at most, in characters. */
const maxRead = 8_000
const maxHits = 20
const around = 160

export const readName = "read_offloaded"
export const searchName = "search_offloaded"

const id = Schema.String.annotate({ description: "The id in the shortened result" })
const unreachable = () => Effect.die(new Error("its middleware answers its calls"))

const read = AgentTool.fromFunction(readName, {
  description: "Read a part of a tool result that was shortened to save room",
  parameters: Schema.Struct({
    id,
    offset: Schema.optionalKey(
      Schema.Int.annotate({ description: "The first character to read, counted from 0. Default 0" })
    ),
    length: Schema.optionalKey(Schema.Int.annotate({ description: `How many characters. At most ${maxRead}` }))
  }),
  hints: { readOnly: true, idempotent: true, openWorld: false },
  execute: unreachable
})
const search = AgentTool.fromFunction(searchName, {
  description: "Find a text in tool results that were shortened to save room. Upper and lower case are the same",
  parameters: Schema.Struct({
    text: Schema.String.annotate({ description: "The text to find, as it is" }),
    id: Schema.optionalKey(id.annotate({ description: "Search in this result only" }))
  }),
  hints: { readOnly: true, idempotent: true, openWorld: false },
  execute: unreachable
})

const list = [read, search]

/** The tools. */
export const tools: ToolSource.ToolSource<never> = ToolSource.holding(
  ToolSource.make("offloaded results", () => Effect.succeed(list), { names: [readName, searchName] }),
  () => list.map(({ tool }) => tool)
)

/** The results of a conversation that may have been shortened, each once. */
const resultsOf = (prompt: Prompt.Prompt): ReadonlyMap<string, Prompt.ToolResultPart> => {
  const found = new Map<string, Prompt.ToolResultPart>()
  for (const message of prompt.content) {
    if (message.role !== "tool") continue
    for (const part of message.content) {
      const isOwn = part.type === "tool-result" && (part.name === readName || part.name === searchName)
      if (part.type === "tool-result" && !isOwn) found.set(idOf(part), part)
    }
  }
  return found
}

const isCount = (value: unknown): value is number => typeof value === "number" && Number.isInteger(value) && value >= 0

/** What a call of one of the tools gives; `undefined` for a call of another tool. */
export const answer = (call: Middleware.ToolCall): Middleware.Outcome | undefined => {
  if (call.tool !== readName && call.tool !== searchName) return undefined
  const { id, text } = call.params
  const results = resultsOf(call.prompt)
  const one = typeof id === "string" ? results.get(id) : undefined
  if (id !== undefined && id !== null && one === undefined) {
    return Middleware.outcome(
      { error: `there is no result ${JSON.stringify(id)}; use the id in a shortened result` },
      { isFailure: true }
    )
  }
  if (call.tool === readName) return readPart(one, call.params)
  if (typeof text !== "string" || text === "") {
    return Middleware.outcome({ error: "text is empty; say what to find" }, { isFailure: true })
  }
  return Middleware.outcome(hitsIn(one === undefined ? [...results.values()] : [one], text))
}

const readPart = (part: Prompt.ToolResultPart | undefined, params: Schema.JsonObject): Middleware.Outcome => {
  if (part === undefined) return Middleware.outcome({ error: "id is missing" }, { isFailure: true })
  const all = textOf(part)
  const offset = isCount(params["offset"]) ? params["offset"] : 0
  const length = Math.min(maxRead, isCount(params["length"]) ? params["length"] : maxRead)
  const text = all.slice(offset, offset + length)
  const next = offset + text.length
  return Middleware.outcome({ text, offset, total: all.length, ...(next < all.length ? { next } : {}) })
}

const hitsIn = (parts: ReadonlyArray<Prompt.ToolResultPart>, text: string): Schema.Json => {
  const wanted = text.toLowerCase()
  const hits: Array<Schema.Json> = []
  let count = 0
  for (const part of parts) {
    const all = textOf(part)
    const lower = all.toLowerCase()
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, at + wanted.length)) {
      if (++count > maxHits) continue
      const from = Math.max(0, at - around)
      hits.push({
        id: idOf(part),
        tool: part.name,
        offset: at,
        text: all.slice(from, at + wanted.length + around).slice(0, 2000)
      })
    }
  }
  return { hits, total: count }
}
