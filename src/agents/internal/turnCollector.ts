/**
 * Assembles the parts of a model's answer: deltas to texts, calls to a list, usage and metadata.
 */
import { type AnsweredBy, readAnsweredBy } from "../../internal/answeredBy.ts"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import { makeUsage, noUsage } from "../../internal/usage.ts"

/** A part as effect/ai decodes it, or as a provider of ours emits it: well-formed, with fields left out. */
export type AnyPart = Response.AnyPart | Response.PartEncoded | Response.StreamPartEncoded

const decodePart = Schema.decodeUnknownSync(Response.Part()) as (part: unknown) => Response.AnyPart

/** Parts with bytes, links and results are few, so the schema may do them. */
const whole = (part: AnyPart): Response.AnyPart => (Response.isPart(part) ? part : decodePart(part))

/** A tool call as the model asked for it; its parameters are not validated yet. */
export interface Call {
  readonly id: string
  readonly name: string
  readonly params: unknown
  /** If set, why no tool is called; the model sees it. The name and parameters have been cut. */
  readonly refused?: string | undefined
}

/** A model's whole answer. */
export interface Turn {
  /** Whole parts in the order they began: no deltas. */
  readonly content: ReadonlyArray<Response.AnyPart>
  readonly text: string
  /** The calls that are ours to run. */
  readonly calls: ReadonlyArray<Call>
  readonly hasFiles: boolean
  readonly finishReason: Response.FinishReason
  readonly usage: Response.Usage
  readonly responseId: string | undefined
  readonly responseModel: string | undefined
  /** Which of several models answered; `undefined` for the one that was asked. */
  readonly answeredBy: AnsweredBy | undefined
  /** What middleware has noted on it. */
  readonly notes?: Schema.JsonObject | undefined
}

interface Block {
  readonly type: "text" | "reasoning"
  text: string
  metadata: Response.ProviderMetadata
}

const usageOf = (usage: Response.Usage | typeof Response.Usage.Encoded): Response.Usage =>
  usage instanceof Response.Usage ? usage : makeUsage(usage)

/** The longest name that a tool can have; a longer one that a model makes up is cut. */
const maxName = 64
/** The longest id of a call that is kept. */
const maxId = 256
/** The cost of a part in addition to its texts, so that empty parts are limited too. */
const partSize = 16

/** The characters of the texts of a part, and the bytes of its file. */
const sizeOf = (part: AnyPart): number => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return part.text.length
    case "text-delta":
    case "reasoning-delta":
    case "tool-params-delta":
      return part.delta.length
    case "tool-call":
      return part.name.length + (maxDepthExceeded(part.params) ? 0 : JSON.stringify(part.params ?? null).length)
    case "file":
      return part.data.length
    default:
      return 0
  }
}

/** A call whose name no tool can have, or whose arguments no request could hold, is refused and cut. */
const checked = ({ name, params }: { readonly name: string; readonly params: unknown }): Omit<Call, "id"> => {
  if (name.length > maxName) {
    const refused = `there is no tool with this name, which has ${name.length} characters; a name has at most ${maxName}`
    return { name: `${name.slice(0, maxName - 3)}___`, params: {}, refused }
  }
  if (!maxDepthExceeded(params)) return { name, params }
  return {
    name,
    params: {},
    refused: `its arguments are nested more than ${maxDepth} levels deep. Send flatter arguments and call the tool again.`
  }
}

/** How deep arguments may be nested. Writing deeper ones as JSON would overflow the stack sooner or later. */
const maxDepth = 64

const maxDepthExceeded = (value: unknown, depth = 0): boolean => {
  if (typeof value !== "object" || value === null) return false
  if (depth === maxDepth) return true
  const inner: ReadonlyArray<unknown> = Array.isArray(value) ? value : Object.values(value)
  for (const one of inner) if (maxDepthExceeded(one, depth + 1)) return true
  return false
}

export class Collector {
  readonly #parts: Array<Response.AnyPart | Block> = []
  readonly #open = new Map<string, Block>()
  readonly #calls: Array<Call> = []
  readonly #ids = new Set<string>()
  /** Of the whole answer, in characters and bytes. */
  readonly maxSize: number
  #size = 0
  #files = false
  #finish: { readonly reason: Response.FinishReason; readonly usage: Response.Usage } | undefined
  #metadata:
    | { readonly id?: string | undefined; readonly modelId?: string | undefined; readonly metadata?: unknown }
    | undefined
  readonly #hasCall: (id: string) => boolean
  /** The calls whose arguments stream, by the id that their pieces have. */
  readonly #announced = new Map<string, Pick<Call, "id" | "name">>()
  /** By an id that several calls have, the number that makes the id of the next one of them. */
  readonly #numbers = new Map<string, number>()

  /** `hasCall` says whether the conversation has a call with an id. */
  constructor(hasCall: (id: string) => boolean, maxSize: number) {
    this.#hasCall = hasCall
    this.maxSize = maxSize
  }

  /** Takes a part. False once the answer is larger than it may be: then the part is dropped, unless it says what was used. */
  push(part: AnyPart): boolean {
    this.#size += partSize + sizeOf(part)
    const fits = this.#size <= this.maxSize
    if (fits || part.type === "finish") this.#add(part)
    return fits
  }

  #add(part: AnyPart): void {
    switch (part.type) {
      case "text-start":
      case "reasoning-start":
        this.#block(part.type === "text-start" ? "text" : "reasoning", part.id).metadata = part.metadata ?? {}
        return
      case "text-delta":
      case "reasoning-delta": {
        // A delta without a start is still a part of the answer.
        const block = this.#block(part.type === "text-delta" ? "text" : "reasoning", part.id)
        block.text += part.delta
        if (part.metadata !== undefined) block.metadata = { ...block.metadata, ...part.metadata }
        return
      }
      case "text-end":
      case "reasoning-end": {
        const key = `${part.type === "text-end" ? "text" : "reasoning"}:${part.id}`
        const block = this.#open.get(key)
        if (block !== undefined) block.metadata = { ...block.metadata, ...part.metadata }
        this.#open.delete(key)
        return
      }
      case "tool-params-start":
        if (part.providerExecuted !== true) this.#announce(part)
        return
      case "tool-params-delta":
      case "tool-params-end":
        return
      case "finish":
        this.#finish = { reason: part.reason, usage: usageOf(part.usage) }
        return
      case "response-metadata":
        this.#metadata = part
        return
      case "text":
      case "reasoning":
        this.#parts.push({ type: part.type, text: part.text, metadata: part.metadata ?? {} })
        return
      case "tool-call":
        this.#parts.push(part.providerExecuted === true ? whole(part) : this.#call(part))
        return
      case "file":
        this.#files = true
        this.#parts.push(whole(part))
        return
      case "error":
        return
      default:
        this.#parts.push(whole(part))
    }
  }

  /** The call whose arguments a piece is of, as it will be called; `undefined` for a piece of no call of ours. */
  announced(id: string): Pick<Call, "id" | "name"> | undefined {
    return this.#announced.get(id)
  }

  /** A call that is announced has its id from then on. */
  #announce({ id, name }: { readonly id: string; readonly name: string }): void {
    const own = this.#take(id)
    this.#announced.set(id, { id: own, name: checked({ name, params: {} }).name })
  }

  /** Some servers give two calls the same id, in one answer or in each; every call needs a result of its own. */
  #call(part: Response.ToolCallPartEncoded | Response.ToolCallPart<string, unknown>): Response.AnyPart {
    const id = this.#announced.get(part.id)?.id ?? this.#take(part.id)
    this.#announced.delete(part.id)
    const call = { id, ...checked(part) }
    this.#calls.push(call)
    const { name, params } = call
    return Response.makePart("tool-call", { id, name, params, providerExecuted: false, metadata: part.metadata ?? {} })
  }

  #take(given: string): string {
    const id = this.#free(given.length > maxId ? `call_${this.#ids.size + 1}` : given)
    this.#ids.add(id)
    return id
  }

  #free(given: string): string {
    if (!this.#isTaken(given)) return given
    let number = this.#numbers.get(given) ?? 2
    while (this.#isTaken(`${given}_${number}`)) number++
    this.#numbers.set(given, number + 1)
    return `${given}_${number}`
  }

  #isTaken(id: string): boolean {
    return this.#hasCall(id) || this.#ids.has(id)
  }

  #block(type: Block["type"], id: string): Block {
    const key = `${type}:${id}`
    let block = this.#open.get(key)
    if (block === undefined) {
      block = { type, text: "", metadata: {} }
      this.#open.set(key, block)
      this.#parts.push(block)
    }
    return block
  }

  get text(): string {
    let text = ""
    for (const part of this.#parts) if (part.type === "text") text += part.text
    return text
  }

  turn(): Turn {
    const content = this.#parts.flatMap((part): ReadonlyArray<Response.AnyPart> => {
      if (Response.isPart(part)) return [part]
      const { metadata, text, type } = part
      // Providers refuse an empty text in a later request, unless they have put something of theirs on it.
      if (text === "" && Object.keys(metadata).length === 0) return []
      return [Response.makePart(type, { text, metadata })]
    })
    return {
      content,
      text: this.text,
      calls: this.#calls,
      hasFiles: this.#files,
      finishReason: this.#finish?.reason ?? "unknown",
      usage: this.#finish?.usage ?? noUsage,
      responseId: this.#metadata?.id,
      responseModel: this.#metadata?.modelId,
      answeredBy: readAnsweredBy(this.#metadata?.metadata)
    }
  }
}
