/** Small readers and writers that both APIs share. Pure. */
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"

/** A JSON object whose fields are not known yet. */
export type Fields = { readonly [key: string]: unknown }

export const isFields = (u: unknown): u is Fields => typeof u === "object" && u !== null && !Array.isArray(u)

/** A field that is a text with something in it. */
export const text = (fields: Fields, key: string): string | undefined => {
  const value = fields[key]
  return typeof value === "string" && value !== "" ? value : undefined
}

/** A field that is a list; anything else is an empty one. */
export const list = (fields: Fields, key: string): ReadonlyArray<unknown> => {
  const value = fields[key]
  return Array.isArray(value) ? value : []
}

/** A field that counts something. */
export const number = (fields: unknown, key: string): number | undefined => {
  const value = isFields(fields) ? fields[key] : undefined
  // Some servers say -1 for what they have not counted.
  if (typeof value !== "number" || value < 0) return undefined
  const whole = Math.round(value)
  return Number.isSafeInteger(whole) ? whole : undefined
}

/** What a part of a conversation keeps for this Layer. */
export const openaiOf = (options: unknown): Fields => {
  const own = isFields(options) ? options["openai"] : undefined
  return isFields(own) ? own : {}
}

/** The pages that annotations cite, in the form of either API. */
export const sourcesOf = (
  annotations: ReadonlyArray<unknown>,
  newId: () => string
): ReadonlyArray<Response.UrlSourcePartEncoded> =>
  annotations.flatMap((one): ReadonlyArray<Response.UrlSourcePartEncoded> => {
    if (!isFields(one) || one["type"] !== "url_citation") return []
    const cited = isFields(one["url_citation"]) ? one["url_citation"] : one
    const url = text(cited, "url")
    if (url === undefined || !URL.canParse(url)) return []
    return [{ type: "source", sourceType: "url", id: newId(), url, title: text(cited, "title") ?? url }]
  })

/** Gives each call of an answer an id of its own: servers leave ids out, or give two calls the same. */
export const callIds = (newId: () => string): ((given: string | undefined) => string) => {
  const used = new Set<string>()
  return (given) => {
    const id = given === undefined || used.has(given) ? newId() : given
    used.add(id)
    return id
  }
}

/** Tokens as the server counted them. */
export interface Counts {
  readonly input: number | undefined
  readonly cached: number | undefined
  readonly cacheWrite: number | undefined
  readonly output: number | undefined
  readonly reasoning: number | undefined
}

const less = (total: number | undefined, ...parts: ReadonlyArray<number | undefined>): number | undefined =>
  total === undefined
    ? undefined
    : Math.max(
        0,
        parts.reduce<number>((left, part) => left - (part ?? 0), total)
      )

/** The part that ends an answer. */
export const finish = (reason: Response.FinishReason, counts: Counts): Response.FinishPartEncoded => ({
  type: "finish",
  reason,
  usage: {
    inputTokens: {
      uncached: less(counts.input, counts.cached, counts.cacheWrite),
      total: counts.input,
      cacheRead: counts.cached,
      cacheWrite: counts.cacheWrite
    },
    outputTokens: {
      total: counts.output,
      text: less(counts.output, counts.reasoning),
      reasoning: counts.reasoning
    }
  }
})

/**
 * The arguments of a call. What is not JSON, or tries to set a prototype, is passed on as the text it is: validation
 * then tells the model, and the rest of the answer is not lost.
 */
export const parseArguments = (value: unknown): unknown => {
  if (value === undefined || value === null) return {}
  if (typeof value !== "string") return value
  if (value.trim() === "") return {}
  try {
    // Models say null where a tool takes nothing.
    return Tool.unsafeSecureJsonParse(value) ?? {}
  } catch {
    return value
  }
}

/** The name of an earlier call. Models make up names that servers do not take back. */
export const callName = (name: string): string => name.replace(/[^\w-]/g, "_").slice(0, 64) || "unnamed"

/** The arguments of an earlier call, for the model to see again. Servers want them to be a JSON object. */
export const argumentsText = (params: unknown): string => {
  if (params === undefined || params === null) return "{}"
  return JSON.stringify(
    isFields(params) ? params : { [typeof params === "string" ? "invalid_json" : "invalid"]: params }
  )
}

/** The result of a call as text. What is made for the model stands for the whole of it, though it may be files only. */
export const resultText = (part: Prompt.ToolResultPart): string => {
  if (part.modelOutput !== undefined && part.modelOutput.length > 0) {
    const said = part.modelOutput.flatMap((output) => (output.type === "text" ? [output.text] : []))
    return said.length > 0 ? said.join("\n") : "The result is in the files below."
  }
  return typeof part.result === "string" ? part.result : (JSON.stringify(part.result) ?? "null")
}
