/** The Chat Completions API's streams: parts made of chunks as they come. Pure; it does no I/O. */
import type * as Response from "effect/ai/Response"
import { callMetadata, contentText, detailsOf, finishOf, metadataOf, reasoningOf, usageOf } from "./chat.ts"
import { errorIn, malformed, type Problem } from "./errors.ts"
import { parseJson } from "./sse.ts"
import { Thinking } from "./thinkTags.ts"
import { callIds, type Fields, finish, isFields, list, parseArguments, sourcesOf, text } from "./wire.ts"

interface OpenCall {
  readonly id: string
  /** The id that the server gave it, which may come late. */
  serverId: string | undefined
  name: string
  arguments: string
  announced: boolean
  metadata: ReturnType<typeof callMetadata>
}

/** Reads a stream of chunks, in order; `end` gives what is left when the stream is over. */
export class StreamDecoder {
  readonly #host: string
  readonly #newId: () => string
  readonly #idOf: (given: string | undefined) => string
  readonly #thinking = new Thinking()
  readonly #calls: Array<OpenCall> = []
  readonly #details: Array<unknown> = []
  readonly #byIndex = new Map<number, OpenCall>()
  #metadata = false
  #open: "text" | "reasoning" | undefined
  #block = 0
  #reason: string | undefined
  #refused = false
  #usage: unknown = undefined
  /** The usage comes after the finish, so only `[DONE]` or the end of the body ends an answer. */
  readonly finished = false

  constructor(newId: () => string, host: string) {
    this.#host = host
    this.#newId = newId
    this.#idOf = callIds(newId)
  }

  push(chunk: unknown): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (!isFields(chunk)) return malformed("the server sent a chunk that is not an object")
    const failure = errorIn(chunk)
    if (failure !== undefined) return failure
    if (chunk["type"] === "ping") return []
    // Servers written in Go say null for an empty list.
    const choices = chunk["choices"] === null ? [] : chunk["choices"]
    if (!Array.isArray(choices)) {
      return isFields(chunk["usage"]) ? this.#noteUsage(chunk) : malformed('the server sent a chunk without "choices"')
    }
    const out: Array<Response.StreamPartEncoded> = []
    // A first chunk may hold nothing but the verdicts of a filter.
    if (!this.#metadata && (choices.length > 0 || text(chunk, "id") !== undefined)) {
      this.#metadata = true
      out.push(metadataOf(chunk))
    }
    if (isFields(chunk["usage"])) this.#usage = chunk["usage"]
    for (const choice of choices) {
      if (!isFields(choice)) return malformed("the server sent a choice that is not an object")
      if (typeof choice["index"] === "number" && choice["index"] !== 0) continue
      const problem = errorIn(choice) ?? this.#delta(choice["delta"], out)
      if (problem !== undefined) return problem
      // Some servers send an empty reason with each chunk.
      this.#reason = text(choice, "finish_reason") ?? this.#reason
    }
    return out
  }

  #noteUsage(chunk: Fields): ReadonlyArray<Response.StreamPartEncoded> {
    this.#usage = chunk["usage"]
    return []
  }

  #delta(delta: unknown, out: Array<Response.StreamPartEncoded>): Problem | undefined {
    if (delta === null || delta === undefined) return undefined
    if (!isFields(delta)) return malformed("the server sent a delta that is not an object")
    const reasoning = reasoningOf(delta, this.#host)
    if (reasoning !== undefined) this.#say("reasoning", reasoning.thought, out, reasoning.metadata)
    this.#details.push(...list(delta, "reasoning_details"))
    const said = contentText(delta["content"])
    if (said !== "") for (const [type, piece] of this.#thinking.push(said)) this.#say(type, piece, out)
    const refusal = text(delta, "refusal")
    if (refusal !== undefined) {
      this.#refused = true
      this.#sayHeld(out)
      this.#say("text", refusal, out)
    }
    out.push(...sourcesOf(list(delta, "annotations"), this.#newId))
    for (const call of list(delta, "tool_calls")) {
      if (!isFields(call)) return malformed("the server sent a tool call that is not an object")
      this.#call(call, out)
    }
    return undefined
  }

  #say(
    type: "text" | "reasoning",
    delta: string,
    out: Array<Response.StreamPartEncoded>,
    metadata?: Response.ProviderMetadata
  ): void {
    if (this.#open !== type) {
      this.#close(out)
      this.#open = type
      const id = String(++this.#block)
      out.push({ type: `${type}-start`, id, ...(metadata === undefined ? {} : { metadata }) })
    }
    out.push({ type: `${type}-delta`, id: String(this.#block), delta })
  }

  #sayHeld(out: Array<Response.StreamPartEncoded>): void {
    for (const [type, piece] of this.#thinking.end()) this.#say(type, piece, out)
  }

  #close(out: Array<Response.StreamPartEncoded>): void {
    if (this.#open !== undefined) out.push({ type: `${this.#open}-end`, id: String(this.#block) })
    this.#open = undefined
  }

  #call(fragment: Fields, out: Array<Response.StreamPartEncoded>): void {
    const fn = isFields(fragment["function"]) ? fragment["function"] : {}
    const id = text(fragment, "id")
    const name = text(fn, "name")
    const piece = fn["arguments"]
    const delta = typeof piece === "string" ? piece : piece === undefined || piece === null ? "" : JSON.stringify(piece)
    const index = typeof fragment["index"] === "number" ? fragment["index"] : undefined
    let call = this.#current(index, id, name)
    if (call === undefined || startsAnother(call, id, name, delta)) {
      call = { id: this.#idOf(id), serverId: id, name: "", arguments: "", announced: false, metadata: {} }
      this.#calls.push(call)
      if (index !== undefined) this.#byIndex.set(index, call)
    }
    call.serverId ??= id
    call.metadata = { ...call.metadata, ...callMetadata(fragment, this.#host) }
    if (call.name === "") call.name = name ?? ""
    if (!call.announced && call.name !== "") {
      call.announced = true
      out.push({ type: "tool-params-start", id: call.id, name: call.name })
      if (call.arguments !== "") out.push({ type: "tool-params-delta", id: call.id, delta: call.arguments })
    }
    if (delta === "") return
    call.arguments += delta
    if (call.announced) out.push({ type: "tool-params-delta", id: call.id, delta })
  }

  /** The call that a fragment goes on with. Without an index it is the one of that id, else the last. */
  #current(index: number | undefined, id: string | undefined, name: string | undefined): OpenCall | undefined {
    if (index !== undefined) return this.#byIndex.get(index)
    const known = id === undefined ? undefined : this.#calls.find((call) => call.serverId === id)
    return known ?? (id === undefined || name === undefined ? this.#calls.at(-1) : undefined)
  }

  end(): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (this.#reason === undefined) {
      return { kind: "network", message: "the stream ended before the answer was finished", code: undefined }
    }
    const out: Array<Response.StreamPartEncoded> = []
    this.#sayHeld(out)
    this.#close(out)
    const details = detailsOf(this.#details, this.#host)
    if (details !== undefined) {
      const id = String(++this.#block)
      out.push({ type: "reasoning-start", id, metadata: details }, { type: "reasoning-end", id })
    }
    for (const call of this.#calls) {
      if (call.announced) out.push({ type: "tool-params-end", id: call.id })
      out.push({
        type: "tool-call",
        id: call.id,
        name: call.name,
        params: parseArguments(call.arguments),
        ...call.metadata
      })
    }
    out.push(finish(finishOf(this.#reason, this.#calls.length, this.#refused), usageOf(this.#usage)))
    return out
  }
}

/**
 * Some servers give every call the same index, or none: another id is another call, and so is a name after complete
 * arguments.
 */
const startsAnother = (call: OpenCall, id: string | undefined, name: string | undefined, delta: string): boolean => {
  if (name === undefined || call.name === "") return false
  if (id !== undefined && call.serverId !== undefined) return id !== call.serverId
  return id === undefined && delta !== "" && call.arguments !== "" && parseJson(call.arguments) !== undefined
}
