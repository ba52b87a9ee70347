/** The Responses API's streams: parts made of events as they come. */
import type * as Response from "effect/ai/Response"
import {
  errorIn,
  errorInPlaceOf,
  malformed,
  ofErrorObject,
  type Problem,
  quote,
  unfinished
} from "../../internal/model/problems.ts"
import {
  approvalProblem,
  callMetadata,
  extraReader,
  failureOf,
  finishOf,
  givenId,
  isRefusal,
  messageMetadata,
  reasoningMetadata,
  reasoningTexts,
  textsOf,
  unreadIn,
  usageOf
} from "./responses.ts"
import type { LeftOut } from "./decoding.ts"
import { readNothing, type Reader } from "./ownTools.ts"
import { ArgumentDeltas } from "../../internal/model/argumentDeltas.ts"
import { isNothing, isWhole } from "../../internal/model/toolArguments.ts"
import {
  callIds,
  callParts,
  type Fields,
  finish,
  given,
  isFields,
  isRepeated,
  list,
  metadataOf,
  type RawCall,
  text,
  textOfArguments
} from "../../internal/model/wire.ts"

type Parts = Array<Response.StreamPartEncoded>
type Kind = "text" | "reasoning"

/** A text that is emitted piece by piece. */
interface Block {
  readonly id: string
  readonly kind: Kind
  /** The field and number that its events name it by. */
  readonly place: string
  readonly emitted: Emitted
  isOpen: boolean
}

/** A call on its way. */
interface OpenCall {
  readonly id: string
  readonly given: string | undefined
  name: string
  /** The arguments by source: the deltas, the event that ends them, the item, the last response. */
  readonly versions: { done?: string; item?: string; last?: string }
  /** Not announced for a call that came whole, or under the id of another: it may repeat that call. */
  readonly deltas: ArgumentDeltas
  isDone: boolean
  isSettled: boolean
  metadata: Response.ProviderMetadata | undefined
}

/** Of the characters after so many, only every 64th is looked at. */
const hashedWhole = 4096

/** A text that was emitted, by its length and a hash: it may be longer than what should be kept. */
class Emitted {
  length = 0
  #hash = 0

  add(piece: string): void {
    const end = this.length + piece.length
    let at = this.length <= hashedWhole ? this.length : Math.ceil(this.length / 64) * 64
    for (; at < end; at += at < hashedWhole ? 1 : 64) {
      this.#hash = (Math.imul(this.#hash, 31) + piece.charCodeAt(at - this.length)) | 0
    }
    this.length = end
  }

  /** The rest of `whole` that was not emitted; `undefined` if another text was. */
  restOf(whole: string): string | undefined {
    if (this.length === 0) return whole
    const same = new Emitted()
    same.add(whole.slice(0, this.length))
    return same.length === this.length && same.#hash === this.#hash ? whole.slice(this.length) : undefined
  }
}

/** One item of the answer, by what its events call it: not every server keeps to its ids. */
interface Item {
  readonly id: string | undefined
  readonly place: unknown
  type: string | undefined
  readonly blocks: Array<Block>
  /** All of its text, or of its reasoning, in one. */
  readonly emitted: { readonly text: Emitted; readonly reasoning: Emitted }
  call: OpenCall | undefined
  /** Its reasoning was given back to us encrypted. */
  isSealed: boolean
}

/**
 * Reads a stream of events, in order; `end` gives what is left when the stream is over. Pieces, the events that end a
 * part, the item and the last response are sources of one answer: what only a later one holds is added, once, and an
 * empty one overrules nothing.
 */
export class StreamDecoder {
  readonly #newId: () => string
  readonly #host: string
  readonly #idOf: (given: string | undefined) => string
  readonly #items: Array<Item> = []
  readonly #settled: Array<RawCall> = []
  readonly #extras = new Set<string>()
  readonly #extrasOf: ReturnType<typeof extraReader>
  #refused = false
  #hasMetadata = false
  #passedOver: Fields | undefined
  #finish: Response.FinishPartEncoded | undefined

  readonly #ran: Reader
  readonly #known = new Set<string>()

  readonly #leftOut: LeftOut

  constructor(newId: () => string, host: string, ran: Reader = readNothing, leftOut: LeftOut = () => {}) {
    this.#leftOut = leftOut
    this.#newId = newId
    this.#host = host
    this.#ran = ran
    this.#idOf = callIds(newId)
    this.#extrasOf = extraReader(newId, host)
  }

  get finished(): boolean {
    return this.#finish !== undefined
  }

  get complete(): boolean {
    return this.finished
  }

  push(event: unknown): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (!isFields(event)) return malformed(`the server sent an event that is not an object: ${quote(event)}`)
    if (typeof event["type"] !== "string") return this.#passOver(event)
    const out: Parts = []
    return this.#read(event, event["type"], out) ?? out
  }

  /** Skips an event without a type, and fails if it holds a part of an answer. */
  #passOver(event: Fields): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    const failure = errorIn(event)
    if (failure !== undefined) return failure
    const holds = ["response", "item", "delta", "output"].find((key) => event[key] !== undefined && event[key] !== null)
    if (holds !== undefined) return malformed(`the server sent an event without a "type": ${quote(event)}`)
    this.#passedOver = event
    return []
  }

  #read(event: Fields, type: string, out: Parts): Problem | undefined {
    switch (type) {
      case "response.created":
      case "response.in_progress":
        return this.#begin(event["response"], out)
      case "response.output_text.delta":
      case "response.refusal.delta":
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_text.delta":
        return this.#delta(type, event, out)
      case "response.output_text.done":
      case "response.refusal.done":
      case "response.reasoning_summary_text.done":
      case "response.reasoning_text.done":
        return this.#textDone(type, event, out)
      case "response.output_item.added":
        return this.#added(event, out)
      case "response.function_call_arguments.delta":
      case "response.function_call_arguments.done":
        return this.#arguments(type, event, out)
      case "response.output_item.done":
        return this.#done(event["item"], event["output_index"], "item", out)
      case "response.completed":
        return this.#complete(event["response"], out)
      case "response.incomplete":
        return this.#complete(event["response"], out, { status: "incomplete" })
      case "response.failed":
        return failureOf(isFields(event["response"]) ? event["response"] : {}) ?? malformed("the response failed")
      case "error":
        return ofErrorObject(isFields(event["error"]) ? event["error"] : event)
      default:
        return undefined
    }
  }

  #begin(response: unknown, out: Parts): undefined {
    if (this.#hasMetadata || !isFields(response)) return
    this.#hasMetadata = true
    out.push(metadataOf(response))
  }

  // -- items ----------------------------------------------------------------------------------------------------------

  /** The item of an event, by its id, else by its place, else by the id that results refer to its call by. */
  #find(id: unknown, place: unknown, given?: string, type?: string): Item | undefined {
    const by = (is: (item: Item) => boolean) => this.#items.find((item) => fits(item, type) && is(item))
    return (
      (typeof id === "string" && id !== "" ? by((item) => item.id === id) : undefined) ??
      (typeof place === "number" ? by((item) => item.place === place) : undefined) ??
      (given === undefined ? undefined : by(({ call }) => call?.given === given && !call.isSettled))
    )
  }

  #open(id: unknown, place: unknown, type?: string): Item {
    const item: Item = {
      id: textOrNone(id),
      place,
      type,
      blocks: [],
      emitted: { text: new Emitted(), reasoning: new Emitted() },
      call: undefined,
      isSealed: false
    }
    this.#items.push(item)
    return item
  }

  /** The item of a piece. A server that names no items has all its pieces in one. */
  #itemOf(event: Fields): Item {
    const { item_id: id, output_index: place } = event
    const found = this.#find(id, place)
    if (found !== undefined) return found
    const isNameless = textOrNone(id) === undefined && place === undefined
    return (
      (isNameless ? this.#items.find((item) => item.id === undefined && item.place === undefined) : undefined) ??
      this.#open(id, place)
    )
  }

  #block(item: Item, kind: Kind, place: string, out: Parts): Block {
    const found = item.blocks.find((block) => block.kind === kind && block.place === place)
    if (found !== undefined) return found
    const number = place.slice(place.indexOf(" ") + 1)
    const named = `${item.id ?? ""}:${number}`
    const isTaken = this.#items.some(({ blocks }) => blocks.some(({ id }) => id === named))
    const id = isTaken ? `${kind}:${this.#items.indexOf(item)}:${item.blocks.length}` : named
    const block: Block = { id, kind, place, emitted: new Emitted(), isOpen: true }
    item.blocks.push(block)
    out.push({ type: `${kind}-start`, id })
    return block
  }

  #say(item: Item, block: Block, delta: string, out: Parts): void {
    if (delta === "" || !block.isOpen) return
    block.emitted.add(delta)
    item.emitted[block.kind].add(delta)
    out.push({ type: `${block.kind}-delta`, id: block.id, delta })
  }

  // -- pieces ---------------------------------------------------------------------------------------------------------

  #delta(type: string, event: Fields, out: Parts): Problem | undefined {
    const { delta } = event
    if (typeof delta !== "string") return malformed(`the server sent a delta that is not a text: ${quote(event)}`)
    if (type === "response.refusal.delta") this.#refused = true
    const { block, item } = this.#blockOf(type, event, out)
    this.#say(item, block, delta, out)
    return undefined
  }

  #blockOf(type: string, event: Fields, out: Parts): { readonly item: Item; readonly block: Block } {
    const kind: Kind = type.startsWith("response.reasoning") ? "reasoning" : "text"
    const number = String(event["summary_index"] ?? event["content_index"])
    const place = `${event["summary_index"] === undefined ? "content" : "summary"} ${number}`
    const item = this.#itemOf(event)
    const block = this.#block(item, kind, place, out)
    return { item, block: block.isOpen ? block : this.#block(item, kind, `more ${item.blocks.length}`, out) }
  }

  /** The whole of a text, at its end: what no piece held is added. */
  #textDone(type: string, event: Fields, out: Parts): undefined {
    const whole = text(event, type === "response.refusal.done" ? "refusal" : "text")
    if (whole === undefined) return
    if (type === "response.refusal.done") this.#refused = true
    const { block, item } = this.#blockOf(type, event, out)
    this.#say(item, block, block.emitted.restOf(whole) ?? "", out)
  }

  #added({ item, output_index: place }: Fields, out: Parts): undefined {
    if (!isFields(item) || this.#find(item["id"], place) !== undefined) return
    const opened = this.#open(item["id"], place, text(item, "type"))
    if (item["type"] !== "function_call") return
    const call = this.#beginCall(opened, item)
    const isSuspect = this.#items.some(({ call: other }) => {
      return other !== undefined && other !== call && other.given === call.given && other.name === call.name
    })
    if (isSuspect && call.given !== undefined) return
    call.deltas.announce(call.name, out)
  }

  #beginCall(item: Item, fields: Fields): OpenCall {
    const given = givenId(fields)
    const id = this.#idOf(given)
    const call: OpenCall = {
      id,
      given,
      name: text(fields, "name") ?? "",
      versions: {},
      deltas: new ArgumentDeltas(id),
      isDone: false,
      isSettled: false,
      metadata: undefined
    }
    item.call = call
    return call
  }

  #arguments(type: string, event: Fields, out: Parts): undefined {
    const call = this.#find(event["item_id"], event["output_index"])?.call
    if (call === undefined) return
    if (type === "response.function_call_arguments.done") {
      call.versions.done = given(event, "arguments") ?? ""
      return
    }
    const wasWhole = call.deltas.isWhole
    call.deltas.add(given(event, "delta") ?? "")
    if (!wasWhole) call.deltas.emit(call.deltas.text, out)
  }

  // -- whole items ----------------------------------------------------------------------------------------------------

  #done(fields: unknown, place: unknown, source: "item" | "last", out: Parts): Problem | undefined {
    if (!isFields(fields)) return malformed(`the server sent an item that is not an object: ${quote(fields)}`)
    const problem = approvalProblem(fields)
    if (problem !== undefined) return problem
    this.#leftOut(unreadIn(fields))
    const type = text(fields, "type")
    const item = this.#match(fields, place, type) ?? this.#open(fields["id"], place, type)
    item.type ??= item.blocks.length > 0 ? undefined : type
    if (type === "message" || type === "reasoning") this.#settleTexts(item, fields, type, out)
    if (type === "function_call") this.#settleCall(item, fields, source, out)
    const ran = this.#ran(fields)
    if (ran.length > 0 && !this.#known.has(ran[0]!.id)) out.push(...ran)
    for (const { id } of ran) this.#known.add(id)
    for (const extra of this.#extrasOf(fields)) {
      // What a later source repeats is the same, but for the id that was made for it.
      const key = `${this.#items.indexOf(item)} ${keyOf(extra)}`
      if (!this.#extras.has(key)) out.push(extra)
      this.#extras.add(key)
    }
    return undefined
  }

  /** The item that was begun for these fields. One under another id, and at no place, is known by what it says. */
  #match(fields: Fields, place: unknown, type: string | undefined): Item | undefined {
    const found = this.#find(fields["id"], place, givenId(fields), type)
    if (found !== undefined) return found
    const kind = type === "reasoning" ? "reasoning" : "text"
    const said = (kind === "reasoning" ? reasoningTexts(fields) : textsOf(fields)).join("")
    return this.#items.find((item) => {
      const emitted = item.emitted[kind]
      return fits(item, type) && emitted.length > 0 && emitted.restOf(said) !== undefined
    })
  }

  #settleTexts(item: Item, fields: Fields, type: "message" | "reasoning", out: Parts): void {
    const kind: Kind = type === "reasoning" ? "reasoning" : "text"
    const texts = kind === "reasoning" ? reasoningTexts(fields) : textsOf(fields)
    if (isRefusal(fields)) this.#refused = true
    // Reasoning without a summary has to go back too.
    if (texts.length === 0 && kind === "reasoning" && item.blocks.length === 0)
      this.#block(item, kind, "content 0", out)
    const whole = texts.join("")
    // What was emitted cannot be taken back, so another text is not added to it.
    const rest = item.emitted[kind].restOf(whole) ?? ""
    let skip = whole.length - rest.length
    const begun = item.blocks.filter((block) => block.kind === kind)
    for (const [index, one] of texts.entries()) {
      const piece = one.slice(skip)
      skip = Math.max(0, skip - one.length)
      if (piece === "") continue
      const block = begun[index] ?? this.#block(item, kind, place(kind, fields, index), out)
      this.#say(item, block.isOpen ? block : this.#block(item, kind, `more ${index}`, out), piece, out)
    }
    this.#close(item, kind, fields, out)
  }

  #close(item: Item, kind: Kind, fields: Fields, out: Parts): void {
    const isSealed = text(fields, "encrypted_content") !== undefined
    const open = item.blocks.filter((block) => block.kind === kind && block.isOpen)
    for (const block of open) {
      block.isOpen = false
      out.push(
        kind === "reasoning"
          ? { type: "reasoning-end", id: block.id, metadata: reasoningMetadata(fields, this.#host) }
          : { type: "text-end", id: block.id, ...messageMetadata(fields) }
      )
    }
    // Some servers give the encrypted form with the last response only.
    if (kind === "reasoning" && isSealed && !item.isSealed && open.length === 0) {
      const block = this.#block(item, kind, "sealed 0", out)
      block.isOpen = false
      out.push({ type: "reasoning-end", id: block.id, metadata: reasoningMetadata(fields, this.#host) })
    }
    item.isSealed ||= isSealed
  }

  #settleCall(item: Item, fields: Fields, source: "item" | "last", out: Parts): void {
    const whole = textOfArguments(fields["arguments"])
    const raw = { given: givenId(fields), name: text(fields, "name") ?? "", arguments: whole }
    const isKnown = item.call === undefined && this.#settled.some((call) => isRepeated(call, raw))
    if (isKnown) return
    const call = item.call ?? this.#beginCall(item, fields)
    call.versions[source] = whole
    call.name = text(fields, "name") ?? call.name
    call.metadata ??= callMetadata(fields)
    call.isDone = true
    const waits = this.#items.some(({ call: other }) => other !== call && other?.isDone === true && !other.isSettled)
    const best = bestOf(call)
    // Arguments that are empty or cut off may still come, with the last response.
    if (!waits && isWhole(best) && !isNothing(best)) this.#settle(call, out)
  }

  #settle(call: OpenCall, out: Parts): void {
    if (call.isSettled) return
    call.isSettled = true
    const best = bestOf(call)
    const raw: RawCall = { given: call.given, name: call.name, arguments: best, metadata: call.metadata }
    call.deltas.end(best, out)
    if (this.#settled.some((other) => isRepeated(other, raw))) return
    this.#settled.push(raw)
    out.push(...callParts(raw, call.id, this.#newId))
  }

  // -- the end --------------------------------------------------------------------------------------------------------

  /** `known` goes before what the last response says. */
  #complete(response: unknown, out: Parts, known: Fields = {}): Problem | undefined {
    if (!isFields(response) && this.#items.length === 0) {
      return malformed("the server ended the answer without a response")
    }
    const last = { ...(isFields(response) ? response : {}), ...known }
    const failure = failureOf(last)
    if (failure !== undefined) return failure
    this.#begin(last, out)
    for (const [index, item] of list(last, "output").entries()) {
      if (item === null) continue
      const problem = this.#done(item, index, "last", out)
      if (problem !== undefined) return problem
    }
    for (const { call } of this.#items) if (call !== undefined) this.#settle(call, out)
    this.#finish = finish(finishOf(last, this.#settled.length, this.#refused), usageOf(last["usage"]))
    return undefined
  }

  /** `isDone`: the server has said that its answer is complete. */
  end(isDone: boolean): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    const out: Parts = []
    if (this.#finish === undefined) {
      if (!isDone || this.#items.length === 0) return this.#verdict()
      const problem = this.#complete({}, out)
      if (problem !== undefined) return problem
    }
    for (const { blocks } of this.#items) {
      for (const block of blocks) if (block.isOpen) out.push({ type: `${block.kind}-end`, id: block.id })
    }
    if (this.#finish !== undefined) out.push(this.#finish)
    return out
  }

  #verdict(): Problem {
    const event = this.#passedOver
    if (event === undefined || this.#items.length > 0 || this.#hasMetadata) return unfinished(undefined)
    return errorInPlaceOf(event) ?? malformed(`the server's answer has no "output": ${quote(event)}`)
  }
}

const keyOf = (extra: ReturnType<ReturnType<typeof extraReader>>[number]): unknown =>
  extra.type === "source" ? extra.url : extra.type === "file" ? extra.data : extra.type

const textOrNone = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined

const fits = (item: Item, type: string | undefined): boolean =>
  type === undefined || item.type === undefined || item.type === type

/** Where the text of a whole item would have been, had it come in pieces. */
const place = (kind: Kind, fields: Fields, index: number): string => {
  const summaries = kind === "reasoning" ? list(fields, "summary").length : 0
  return index < summaries ? `summary ${index}` : `content ${index - summaries}`
}

/** The fullest version of a call's arguments: the last one that is whole and says something, else the longest. */
const bestOf = ({ deltas, versions }: OpenCall): string => {
  const all = [versions.last, versions.item, versions.done, deltas.text].filter((one) => one !== undefined)
  const whole = all.find((one) => isWhole(one) && !isNothing(one))
  return whole ?? all.reduce((longest, one) => (one.trim().length > longest.trim().length ? one : longest), "")
}
