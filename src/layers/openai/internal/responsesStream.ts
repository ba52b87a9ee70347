/** The Responses API's streams: parts made of events as they come. Pure; it does no I/O. */
import type * as Response from "effect/ai/Response"
import { errorIn, malformed, ofErrorObject, type Problem } from "./errors.ts"
import {
  callOf,
  extrasOf,
  failureOf,
  finishOf,
  givenId,
  isRefusal,
  messageMetadata,
  metadataOf,
  reasoningMetadata,
  reasoningTexts,
  textsOf,
  usageOf
} from "./responses.ts"
import { isProblem } from "./sse.ts"
import { callIds, type Fields, finish, isFields, list, text } from "./wire.ts"

/** A call that has been announced and is not yet whole. */
interface OpenCall {
  readonly item: unknown
  readonly place: unknown
  readonly given: string | undefined
  readonly id: string
  readonly name: string
  arguments: string
}

/** Reads a stream of events, in order; `end` gives what is left when the stream is over. */
export class StreamDecoder {
  readonly #newId: () => string
  readonly #idOf: (given: string | undefined) => string
  readonly #open = new Map<string, "text" | "reasoning">()
  readonly #calls: Array<OpenCall> = []
  /** The items that something was told of, by place and by id: not every server keeps to its ids. */
  readonly #told = new Set<unknown>()
  #items = 0
  #callCount = 0
  #refused = false
  #metadata = false
  #finish: Response.FinishPartEncoded | undefined

  constructor(newId: () => string) {
    this.#newId = newId
    this.#idOf = callIds(newId)
  }

  get finished(): boolean {
    return this.#finish !== undefined
  }

  push(event: unknown): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (isFields(event) && event["type"] === undefined) {
      const failure = errorIn(event)
      if (failure !== undefined) return failure
    }
    if (!isFields(event) || typeof event["type"] !== "string")
      return malformed('the server sent an event without a "type"')
    const out: Array<Response.StreamPartEncoded> = []
    switch (event["type"]) {
      case "response.created":
      case "response.in_progress":
        this.#begin(event["response"], out)
        return out
      case "response.output_text.delta":
        return this.#delta("text", event, event["content_index"], out)
      case "response.refusal.delta":
        this.#refused = true
        return this.#delta("text", event, event["content_index"], out)
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_text.delta":
        return this.#delta("reasoning", event, event["summary_index"] ?? event["content_index"], out)
      case "response.output_item.added":
        return this.#added(event["item"], event["output_index"], out)
      case "response.function_call_arguments.delta": {
        const call = this.#find(event["item_id"], event["output_index"])
        if (call !== undefined && typeof event["delta"] === "string") {
          call.arguments += event["delta"]
          out.push({ type: "tool-params-delta", id: call.id, delta: event["delta"] })
        }
        return out
      }
      case "response.output_item.done":
        return this.#done(event["item"], event["output_index"], out)
      case "response.completed":
      case "response.incomplete":
        return this.#complete(event["response"], out)
      case "response.failed":
        return (
          (isFields(event["response"]) ? failureOf(event["response"]) : undefined) ?? malformed("the response failed")
        )
      case "error":
        return ofErrorObject(isFields(event["error"]) ? event["error"] : event)
      default:
        return out
    }
  }

  #begin(response: unknown, out: Array<Response.StreamPartEncoded>): void {
    if (this.#metadata || !isFields(response)) return
    this.#metadata = true
    out.push(metadataOf(response))
  }

  #delta(
    type: "text" | "reasoning",
    event: Fields,
    index: unknown,
    out: Array<Response.StreamPartEncoded>
  ): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    const { delta, item_id: item = "", output_index: place } = event
    if (typeof delta !== "string") return malformed("the server sent a delta that is not a text")
    this.#told.add(item)
    if (place !== undefined) this.#told.add(place)
    const named = `${String(item)}:${String(index)}`
    // A server that names no items gives reasoning and text the same place.
    const id = (this.#open.get(named) ?? type) === type ? named : `${type}:${named}`
    if (!this.#open.has(id)) {
      this.#open.set(id, type)
      out.push({ type: `${type}-start`, id })
    }
    out.push({ type: `${type}-delta`, id, delta })
    return out
  }

  /** Some servers send items whole; and reasoning without a summary still has to go back with the conversation. */
  #whole(item: Fields, itemId: string, out: Array<Response.StreamPartEncoded>): void {
    const isReasoning = item["type"] === "reasoning"
    const texts = isReasoning ? [reasoningTexts(item).join("\n\n")] : textsOf(item)
    if (isRefusal(item)) this.#refused = true
    texts.forEach((delta, index) => {
      const id = `${itemId}:${index}`
      const type = isReasoning ? "reasoning" : "text"
      this.#open.set(id, type)
      out.push({ type: `${type}-start`, id })
      if (delta !== "") out.push({ type: `${type}-delta`, id, delta })
    })
  }

  #added(
    item: unknown,
    place: unknown,
    out: Array<Response.StreamPartEncoded>
  ): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (!isFields(item)) return malformed("the server sent an item that is not an object")
    if (item["type"] !== "function_call" || this.#find(item["id"], place) !== undefined) return out
    const given = givenId(item)
    const name = text(item, "name") ?? ""
    const call: OpenCall = { item: item["id"], place, given, id: this.#idOf(given), name, arguments: "" }
    this.#calls.push(call)
    out.push({ type: "tool-params-start", id: call.id, name })
    return out
  }

  /** The open call of an item, by its id, its place, or the id that results refer to it by. */
  #find(item: unknown, place: unknown, given?: string): OpenCall | undefined {
    const by = (is: (call: OpenCall) => boolean) => this.#calls.find(is)
    return (
      (typeof item === "string" && item !== "" ? by((call) => call.item === item) : undefined) ??
      (typeof place === "number" ? by((call) => call.place === place) : undefined) ??
      (given === undefined ? undefined : by((call) => call.given === given))
    )
  }

  #finishCall(call: OpenCall, out: Array<Response.StreamPartEncoded>, item: Fields): void {
    this.#calls.splice(this.#calls.indexOf(call), 1)
    out.push({ type: "tool-params-end", id: call.id })
    const whole = { ...item, arguments: item["arguments"] ?? call.arguments, name: text(item, "name") ?? call.name }
    out.push(callOf(whole, () => call.id))
  }

  #done(
    item: unknown,
    place: unknown,
    out: Array<Response.StreamPartEncoded>
  ): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (!isFields(item)) return malformed("the server sent an item that is not an object")
    this.#items++
    const itemId = text(item, "id") ?? ""
    if (!this.#told.has(itemId) && !this.#told.has(place)) this.#whole(item, itemId, out)
    for (const [id, type] of this.#open) {
      if (!id.startsWith(`${itemId}:`)) continue
      this.#open.delete(id)
      out.push(
        type === "reasoning"
          ? { type: "reasoning-end", id, metadata: reasoningMetadata(item) }
          : { type: "text-end", id, ...messageMetadata(item) }
      )
    }
    if (item["type"] === "function_call") {
      this.#callCount++
      const open = this.#find(item["id"], place, givenId(item))
      if (open === undefined) out.push(callOf(item, this.#idOf))
      else this.#finishCall(open, out, item)
    }
    out.push(...extrasOf(item, this.#newId))
    return out
  }

  #complete(
    response: unknown,
    out: Array<Response.StreamPartEncoded>
  ): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (!isFields(response)) return malformed("the server ended the answer without a response")
    const failure = failureOf(response)
    if (failure !== undefined) return failure
    this.#begin(response, out)
    // Nothing was told on the way, so all of it comes now.
    if (this.#items === 0 && this.#told.size === 0) {
      for (const item of list(response, "output")) {
        const made = this.#done(item, undefined, out)
        if (isProblem(made)) return made
      }
    }
    while (this.#calls[0] !== undefined) {
      this.#callCount++
      this.#finishCall(this.#calls[0], out, {})
    }
    this.#finish = finish(finishOf(response, this.#callCount, this.#refused), usageOf(response["usage"]))
    return out
  }

  end(): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (this.#finish === undefined) {
      return { kind: "network", message: "the stream ended before the answer was finished", code: undefined }
    }
    const out: Array<Response.StreamPartEncoded> = []
    for (const [id, type] of this.#open) out.push({ type: `${type}-end`, id })
    out.push(this.#finish)
    return out
  }
}
