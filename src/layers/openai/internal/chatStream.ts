/** The Chat Completions API's streams: parts made of chunks as they come. */
import type * as Response from "effect/ai/Response"
import {
  callIdIn,
  callMetadata,
  contentOf,
  detailsOf,
  errorOfVendor,
  finishOf,
  functionOf,
  noChoice,
  reasoningOf,
  toolCallsOf,
  usageIn,
  usageOf
} from "./chat.ts"
import { errorIn, errorInPlaceOf, malformed, type Problem, quote, unfinished } from "../../internal/model/problems.ts"
import type { LeftOut } from "./decoding.ts"
import { ChunkParser, TextChunk } from "./textChunks.ts"
import { serverAt } from "./servers.ts"
import { Thinking } from "./thinkTags.ts"
import { Blocks } from "../../internal/model/blocks.ts"
import { ArgumentDeltas } from "../../internal/model/argumentDeltas.ts"
import { isWhole } from "../../internal/model/toolArguments.ts"
import {
  callIds,
  callParts,
  distinctCalls,
  type Fields,
  finish,
  isFields,
  list,
  metadataOf,
  sourcesOf,
  text,
  textOfArguments
} from "../../internal/model/wire.ts"

type Parts = Array<Response.StreamPartEncoded>

interface OpenCall {
  readonly id: string
  /** The id that the server gave it, which may come late. */
  given: string | undefined
  name: string
  readonly deltas: ArgumentDeltas
  /** True for a call under the id of another one: it may be that one again. */
  readonly isSuspect: boolean
  metadata: Response.ProviderMetadata | undefined
}

/** Reads a stream of chunks, in order; `end` gives what is left when the stream is over. */
export class StreamDecoder {
  readonly #host: string
  readonly #newId: () => string
  readonly #idOf: (given: string | undefined) => string
  readonly #chunks = new ChunkParser()
  readonly #thinking: Thinking
  readonly #blocks = new Blocks()
  readonly #calls: Array<OpenCall> = []
  readonly #details: Array<unknown> = []
  readonly #byIndex = new Map<number, OpenCall>()
  #hasMetadata = false
  #hasChoice = false
  #hasDeltas = false
  /** The text of messages that came for deltas. */
  #snapshot = ""
  /** Reasoning that came with nothing in it. */
  #emptyThought: Response.ProviderMetadata | undefined
  #hasThought = false
  #reason: string | undefined
  #hasEmptyReason = false
  #refused = false
  #usage: unknown = undefined
  /** The last chunk that held nothing of an answer. */
  #passedOver: Fields | undefined
  /** The usage comes after the finish, so only `[DONE]` or the end of the body ends an answer. */
  readonly finished = false

  readonly #leftOut: LeftOut

  constructor(newId: () => string, host: string, leftOut: LeftOut = () => {}) {
    this.#leftOut = leftOut
    this.#host = host
    this.#newId = newId
    this.#thinking = new Thinking(serverAt(host).thoughtTag)
    this.#idOf = callIds(newId)
  }

  get complete(): boolean {
    return this.#reason !== undefined
  }

  parse(data: string): unknown {
    return this.#chunks.parse(data)
  }

  push(chunk: unknown): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (chunk instanceof TextChunk) {
      const out: Parts = []
      this.#text(chunk.text, out)
      return out
    }
    if (saysNothing(chunk)) return []
    if (!isFields(chunk)) return malformed(`the server sent a chunk that is not an object: ${quote(chunk)}`)
    const failure = errorIn(chunk) ?? errorOfVendor(chunk)
    if (failure !== undefined) return failure
    this.#usage = usageIn(chunk) ?? this.#usage
    // Servers written in Go say null for an empty list.
    const choices = chunk["choices"] ?? []
    if (!Array.isArray(choices)) return malformed(`the server sent "choices" that are not a list: ${quote(chunk)}`)
    const out: Parts = []
    // A first chunk may hold nothing but the verdicts of a filter.
    if (!this.#hasMetadata && (choices.length > 0 || ("choices" in chunk && text(chunk, "id") !== undefined))) {
      this.#hasMetadata = true
      out.push(metadataOf(chunk))
    }
    if (choices.length === 0) return this.#passOver(chunk) ?? out
    for (const choice of choices) {
      if (saysNothing(choice)) continue
      if (!isFields(choice)) return malformed(`the server sent a choice that is not an object: ${quote(choice)}`)
      if (typeof choice["index"] === "number" && choice["index"] !== 0) continue
      const problem = errorIn(choice) ?? this.#choice(choice, out)
      if (problem !== undefined) return problem
    }
    return out
  }

  /** Skips a chunk without choices, and fails if it holds a part of an answer in an unexpected place. */
  #passOver(chunk: Fields): Problem | undefined {
    const misplaced = ["delta", "message", "content", "tool_calls", "finish_reason"].find(
      (key) => typeof chunk[key] === "object" && !saysNothing(chunk[key])
    )
    if (misplaced !== undefined)
      return malformed(`the server sent "${misplaced}" outside of "choices": ${quote(chunk)}`)
    this.#passedOver = chunk
    return undefined
  }

  #choice(choice: Fields, out: Parts): Problem | undefined {
    this.#hasChoice = true
    const { delta, message } = choice
    const problem = saysNothing(delta) && isFields(message) ? this.#message(message, out) : this.#delta(delta, out)
    this.#hasDeltas ||= !saysNothing(delta)
    // Some servers send an empty reason with each chunk.
    this.#reason = text(choice, "finish_reason") ?? this.#reason
    this.#hasEmptyReason = choice["finish_reason"] === ""
    return problem
  }

  /** Some servers send messages for deltas: pieces, or each time all that there is so far. After deltas it is a summary. */
  #message(message: Fields, out: Parts): Problem | undefined {
    if (this.#hasDeltas) return undefined
    const said = contentOf(message, this.#leftOut).text
    const content = said.startsWith(this.#snapshot) ? said.slice(this.#snapshot.length) : said
    this.#snapshot += content
    return this.#delta({ ...message, content }, out)
  }

  #delta(delta: unknown, out: Parts): Problem | undefined {
    if (saysNothing(delta)) return undefined
    if (!isFields(delta)) return malformed(`the server sent a delta that is not an object: ${quote(delta)}`)
    this.#reasoning(delta, out)
    this.#details.push(...list(delta, "reasoning_details"))
    const content = contentOf(delta, this.#leftOut)
    if (content.thought !== "") this.#blocks.say("reasoning", content.thought, out)
    this.#text(content.text, out)
    out.push(...content.files)
    const refusal = text(delta, "refusal")
    if (refusal !== undefined) {
      this.#refused = true
      this.#sayHeld(out)
      this.#blocks.say("text", refusal, out)
    }
    out.push(...sourcesOf(list(delta, "annotations"), this.#newId))
    const older = delta["function_call"]
    const calls = isFields(older) && saysNothing(delta["tool_calls"]) ? [{ index: 0, function: older }] : []
    for (const call of calls.length > 0 ? calls : toolCallsOf(delta)) {
      if (saysNothing(call)) continue
      if (!isFields(call)) return malformed(`the server sent a tool call that is not an object: ${quote(call)}`)
      this.#call(call, out)
    }
    return undefined
  }

  #reasoning(delta: Fields, out: Parts): void {
    const reasoning = reasoningOf(delta, this.#host)
    if (reasoning === undefined) return
    if (reasoning.thought === "") {
      this.#emptyThought = reasoning.metadata
      return
    }
    this.#hasThought = true
    this.#blocks.say("reasoning", reasoning.thought, out, reasoning.metadata)
  }

  #text(text: string, out: Parts): void {
    if (text === "") return
    for (const [type, piece] of this.#thinking.push(text)) this.#blocks.say(type, piece, out)
  }

  #sayHeld(out: Parts): void {
    for (const [type, piece] of this.#thinking.end()) this.#blocks.say(type, piece, out)
  }

  #call(fragment: Fields, out: Parts): void {
    const fn = functionOf(fragment) ?? {}
    const given = callIdIn(fragment)
    const name = text(fn, "name")
    const delta = textOfArguments(fn["arguments"])
    const index = typeof fragment["index"] === "number" ? fragment["index"] : undefined
    let call = this.#current(index, given, name)
    if (call === undefined || startsAnother(call, given, name, delta)) {
      call = this.#begin(given, name)
      if (index !== undefined) this.#byIndex.set(index, call)
    }
    call.given ??= given
    call.metadata = callMetadata(fragment, this.#host) ?? call.metadata
    if (call.name === "") call.name = name ?? ""
    const wasWhole = call.deltas.isWhole
    call.deltas.add(delta)
    // What comes after a whole object is looked at when all of it is there.
    if (wasWhole || call.isSuspect || call.name === "") return
    call.deltas.announce(call.name, out)
    call.deltas.emit(call.deltas.text, out)
  }

  #begin(given: string | undefined, name: string | undefined): OpenCall {
    const isSuspect = given !== undefined && this.#calls.some((other) => other.given === given && other.name === name)
    const id = this.#idOf(given)
    const call: OpenCall = { id, given, name: "", deltas: new ArgumentDeltas(id), isSuspect, metadata: undefined }
    this.#calls.push(call)
    return call
  }

  /** The call that a fragment goes on with. Without an index it is the one of that id, else the last. */
  #current(index: number | undefined, given: string | undefined, name: string | undefined): OpenCall | undefined {
    if (index !== undefined) return this.#byIndex.get(index)
    const known = given === undefined ? undefined : this.#calls.find((call) => call.given === given)
    return known ?? (given === undefined || name === undefined ? this.#calls.at(-1) : undefined)
  }

  /** `isDone`: the server has said that its answer is complete. */
  end(isDone: boolean): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    // Some servers never give a reason, but an empty one, and say at the end that this was all.
    if (!this.complete && !(isDone && this.#hasEmptyReason)) return this.#verdict(isDone)
    const out: Parts = []
    this.#sayHeld(out)
    this.#blocks.close(out)
    const details = detailsOf(this.#details, this.#host)
    if (details !== undefined) this.#blocks.silentThought(details, out)
    const calls = distinctCalls(this.#calls.map((call) => ({ ...call, arguments: call.deltas.text })))
    if (calls.length > 0 && this.#emptyThought !== undefined && !this.#hasThought) {
      this.#blocks.silentThought(this.#emptyThought, out)
    }
    for (const call of calls) {
      if (call.name !== "" && isWhole(call.arguments)) call.deltas.announce(call.name, out)
      call.deltas.end(call.arguments, out)
      out.push(...callParts(call, call.id, this.#newId))
    }
    const ended = new Set(calls.map(({ deltas }) => deltas))
    for (const { deltas } of this.#calls) if (!ended.has(deltas)) deltas.end("", out)
    out.push(finish(finishOf(this.#reason, calls.length, this.#refused), usageOf(this.#usage)))
    return out
  }

  /** The problem of a stream that ended without an answer, in the server's words if there are any. */
  #verdict(isDone: boolean): Problem {
    const chunk = this.#passedOver
    if (this.#hasChoice || chunk === undefined) return unfinished(undefined)
    return errorInPlaceOf(chunk) ?? (isDone ? noChoice(chunk) : unfinished(chunk))
  }
}

/** Nothing, in the ways that servers have for it. */
const saysNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === "" || (typeof value === "object" && isEmpty(value))

/** Without a list of its keys: this is asked several times for each token. */
const isEmpty = (value: object): boolean => {
  for (const key in value) if (Object.hasOwn(value, key)) return false
  return true
}

/**
 * Some servers give every call the same index, or none: another id is another call, and so is a name after complete
 * arguments.
 */
const startsAnother = (call: OpenCall, given: string | undefined, name: string | undefined, delta: string): boolean => {
  if (name === undefined || call.name === "") return false
  if (given !== undefined && call.given !== undefined) return given !== call.given
  return given === undefined && delta !== "" && call.deltas.isWhole
}
