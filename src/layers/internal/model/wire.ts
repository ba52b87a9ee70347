/** Small readers and writers that both APIs share. */
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import { digest } from "../../../internal/fingerprint.ts"
import { agree, isNothing, parseAll } from "./toolArguments.ts"

/** A JSON object whose fields are not known yet. */
export type Fields = { readonly [key: string]: unknown }

export const isFields = (u: unknown): u is Fields => typeof u === "object" && u !== null && !Array.isArray(u)

/** A field that is a text with something in it. {@link given} also takes an empty one. */
export const text = (fields: Fields, key: string): string | undefined => {
  const value = fields[key]
  return typeof value === "string" && value !== "" ? value : undefined
}

/** A field that is a text, which may be empty: for readers that ask whether a field is there. */
export const given = (fields: Fields, key: string): string | undefined => {
  const value = fields[key]
  return typeof value === "string" ? value : undefined
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

/** The metadata of this Layer on a part of a conversation. */
export const openaiOf = (options: unknown): Fields => {
  const own = isFields(options) ? options["openai"] : undefined
  return isFields(own) ? own : {}
}

/** What an answer, or the first piece of one, says of itself. */
export const metadataOf = (answer: Fields): Response.ResponseMetadataPartEncoded => ({
  type: "response-metadata",
  id: text(answer, "id"),
  modelId: text(answer, "model")
})

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

/**
 * An id as a server takes it: of exactly `exact` letters and digits, or of at most `most` characters. One that does not
 * fit is replaced by the same other one each time.
 */
export const fitId = (id: string, most: number, exact: number | undefined): string => {
  if (exact === undefined) return id.length <= most ? id : `${id.slice(0, most - 12)}_${digest(id)}`
  return id.length === exact && /^[a-zA-Z0-9]+$/.test(id) ? id : digest(id).slice(-exact).padStart(exact, "0")
}

/** An id for a call that has none. `Random` makes it, so that tests can repeat it. */
export const randomId = (random: { readonly nextDoubleUnsafe: () => number }): string =>
  `call_${Math.floor(random.nextDoubleUnsafe() * 2 ** 52)
    .toString(36)
    .padStart(11, "0")}`

/** Gives each call of an answer a unique id: servers leave ids out, or use one twice. */
export const callIds = (newId: () => string): ((given: string | undefined) => string) => {
  const used = new Set<string>()
  return (given) => {
    const id = given === undefined || used.has(given) ? newId() : given
    used.add(id)
    return id
  }
}

/** A call as a server wrote it down. */
export interface RawCall {
  /** The id that results refer to it by; `undefined` where the server gave none. */
  readonly given: string | undefined
  readonly name: string
  readonly arguments: unknown
  readonly metadata?: Response.ProviderMetadata | undefined
}

/** Arguments as text, which some servers give as an object. */
export const textOfArguments = (value: unknown): string =>
  typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value)

/** True when the second call is the first one, sent again: the same id and name, and no other arguments. */
export const isRepeated = (first: RawCall, second: RawCall): boolean =>
  first.given !== undefined &&
  first.given === second.given &&
  (first.name === second.name || second.name === "") &&
  agree(textOfArguments(first.arguments), textOfArguments(second.arguments))

/** The calls of an answer, each once, with what its arguments say in the fullest of its versions. */
export const distinctCalls = <C extends RawCall>(calls: ReadonlyArray<C>): ReadonlyArray<C> => {
  const kept: Array<C> = []
  for (const call of calls) {
    const at = call.given === undefined ? -1 : kept.findIndex((other) => isRepeated(other, call))
    const earlier = kept[at]
    if (earlier === undefined) kept.push(call)
    else if (isNothing(textOfArguments(earlier.arguments))) kept[at] = { ...earlier, arguments: call.arguments }
  }
  return kept
}

/** The parts of one call: more than one where a server has run several together. */
export const callParts = (
  { arguments: said, metadata, name }: RawCall,
  id: string,
  newId: () => string
): ReadonlyArray<Response.ToolCallPartEncoded> =>
  parseAll(said).map((params, index) => ({
    type: "tool-call",
    id: index === 0 ? id : newId(),
    name,
    params,
    ...(metadata === undefined ? {} : { metadata })
  }))

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

/** The name of an earlier call. Models make up names that servers do not take back. */
export const callName = (name: string): string => name.replace(/[^\w-]/g, "_").slice(0, 64) || "unnamed"

/** The arguments of an earlier call, for the model to see again. Servers want them to be a JSON object. */
export const argumentsOf = (params: unknown): Fields => {
  if (params === undefined || params === null) return {}
  return isFields(params) ? params : { [typeof params === "string" ? "invalid_json" : "invalid"]: params }
}

/** {@link argumentsOf} as text. */
export const argumentsText = (params: unknown): string => JSON.stringify(argumentsOf(params))

/** The result of a call as text. Output made for the model replaces the whole result, even if it has files only. */
export const resultText = (part: Prompt.ToolResultPart): string => {
  if (part.modelOutput !== undefined && part.modelOutput.length > 0) {
    const said = part.modelOutput.flatMap((output) => (output.type === "text" ? [output.text] : []))
    return said.length > 0 ? said.join("\n") : "The result is in the files below."
  }
  return typeof part.result === "string" ? part.result : (JSON.stringify(part.result) ?? "null")
}
