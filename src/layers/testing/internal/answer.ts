/** Makes `effect/ai` response parts of a turn of `TestModel`: whole, or as they stream. */
import type * as Response from "effect/ai/Response"
import { exactJson } from "../../../internal/fingerprint.ts"
import type { Part, Turn } from "../TestModel.ts"

/** A turn as it will be answered: a part that streams has its deltas. */
export interface Answer {
  readonly turn: Turn
  readonly pieces: ReadonlyArray<{
    readonly part: Exclude<Response.PartEncoded, Response.ReasoningDeltaPartEncoded | Response.ReasoningEndPartEncoded>
    readonly deltas?: ReadonlyArray<string>
  }>
  readonly finish: Response.FinishPartEncoded
}

/** Gives ids to tool calls without one: `call_1`, `call_2`, ..., skipping ids that are taken. */
export class Ids {
  readonly #taken = new Set<string>()
  #count = 0

  take(given: string | undefined): string {
    let id = given ?? `call_${++this.#count}`
    if (given === undefined) while (this.#taken.has(id)) id = `call_${++this.#count}`
    this.#taken.add(id)
    return id
  }
}

/** By code points, so that no delta ends in half a character. */
const split = (text: string, size: number | undefined): ReadonlyArray<string> => {
  if (size === undefined) return text === "" ? [] : [text]
  const points = Array.from(text)
  const step = Math.max(1, Math.floor(size))
  return Array.from({ length: Math.ceil(points.length / step) }, (_, n) =>
    points.slice(n * step, (n + 1) * step).join("")
  )
}

/** The answer of a turn. Takes the ids, so it is made when the call begins: delays must not change their order. */
export const answer = (given: string | Turn, ids: Ids): Answer => {
  const turn = typeof given === "string" ? { text: given } : given
  const block = (type: "reasoning" | "text", value: string | ReadonlyArray<string> | undefined) => {
    if (value === undefined) return []
    if (typeof value === "string") return [{ part: { type, text: value }, deltas: split(value, turn.chunk) }]
    return [{ part: { type, text: value.join("") }, deltas: value }]
  }
  const rest: ReadonlyArray<Part> = [
    ...(turn.parts ?? []),
    ...(turn.toolCalls ?? []).map((call): Part => ({ ...call, type: "tool-call" }))
  ]
  const calls = rest.some((part) => part.type === "tool-call" && part.providerExecuted !== true)
  const usage = {
    inputTokens: { total: 10, ...turn.usage?.inputTokens },
    outputTokens: { total: 5, ...turn.usage?.outputTokens }
  }
  return {
    turn,
    pieces: [
      ...block("reasoning", turn.reasoning),
      ...block("text", turn.text),
      ...rest.map((part) => {
        if (part.type === "tool-call") return announced({ ...part, id: ids.take(part.id) }, turn.chunk)
        return part.type === "text" || part.type === "reasoning"
          ? { part, deltas: split(part.text, turn.chunk) }
          : { part }
      })
    ],
    finish: { type: "finish", reason: turn.finishReason ?? (calls ? "tool-calls" : "stop"), usage, response: undefined }
  }
}

/** A call, whose arguments stream before it, unless they have no JSON form. */
const announced = (part: Response.ToolCallPartEncoded, chunk: number | undefined) =>
  exactJson(part.params ?? null) === undefined || part.providerExecuted === true
    ? { part }
    : { part, deltas: split(JSON.stringify(part.params ?? {}), chunk) }

/** The parts as they stream; of an answer that `stops`, those that come before. */
export const streamed = (
  { finish, pieces, turn }: Answer,
  stops: boolean
): ReadonlyArray<Response.StreamPartEncoded> => {
  const counts = { text: 0, reasoning: 0 }
  const all = pieces.flatMap(({ deltas, part }): ReadonlyArray<Response.StreamPartEncoded> => {
    if (part.type === "tool-call" && deltas !== undefined) {
      const { id, name } = part
      return [
        { type: "tool-params-start", id, name },
        ...deltas.map((delta) => ({ type: "tool-params-delta" as const, id, delta })),
        { type: "tool-params-end", id },
        part
      ]
    }
    if (part.type !== "text" && part.type !== "reasoning") return [part]
    const { metadata, type } = part
    const id = ++counts[type] === 1 ? type : `${type}_${counts[type]}`
    return [
      { type: `${type}-start`, id, ...(metadata === undefined ? {} : { metadata }) },
      ...(deltas ?? []).map((delta) => ({ type: `${type}-delta` as const, id, delta })),
      { type: `${type}-end`, id }
    ]
  })
  if (!stops) return [...all, finish]
  const after = turn.after ?? 0
  if (after <= 0) return []
  let seen = 0
  const cut = all.findIndex((part) => part.type.endsWith("-delta") && ++seen > after)
  return cut < 0 ? all : all.slice(0, cut)
}
