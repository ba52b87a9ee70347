/**
 * Puts the parts of a model's answer together: deltas into texts, calls in a list, usage and metadata in place. Internal
 * to the agents; it touches `effect/ai` only.
 */
import * as Response from "effect/ai/Response"

/** A tool call as the model asked for it; its parameters are not validated yet. */
export interface Call {
  readonly id: string
  readonly name: string
  readonly params: unknown
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
}

interface Block {
  readonly type: "text" | "reasoning"
  text: string
  metadata: Response.ProviderMetadata
}

const noUsage = new Response.Usage({ inputTokens: {}, outputTokens: {} } as never, { disableChecks: true })

export class Collector {
  readonly #parts: Array<Response.AnyPart | Block> = []
  readonly #open = new Map<string, Block>()
  readonly #calls: Array<Call> = []
  #files = false
  #finish: Response.FinishPart | undefined
  #metadata: Response.ResponseMetadataPart | undefined

  push(part: Response.AnyPart): void {
    switch (part.type) {
      case "text-start":
      case "reasoning-start":
        this.#block(part.type === "text-start" ? "text" : "reasoning", part.id).metadata = part.metadata
        return
      case "text-delta":
      case "reasoning-delta": {
        // A delta that no start announced is part of the answer all the same.
        const block = this.#block(part.type === "text-delta" ? "text" : "reasoning", part.id)
        block.text += part.delta
        block.metadata = { ...block.metadata, ...part.metadata }
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
      case "tool-params-delta":
      case "tool-params-end":
        return
      case "finish":
        this.#finish = part
        return
      case "response-metadata":
        this.#metadata = part
        return
      case "tool-call":
        this.#parts.push(part.providerExecuted ? part : this.#call(part))
        return
      case "file":
        this.#files = true
        this.#parts.push(part)
        return
      default:
        this.#parts.push(part)
    }
  }

  /** Some servers give two calls of one answer the same id; each call needs a result of its own. */
  #call(part: Response.ToolCallPart<string, unknown>): Response.AnyPart {
    let id = part.id
    for (let n = 2; this.#calls.some((call) => call.id === id); n++) id = `${part.id}_${n}`
    this.#calls.push({ id, name: part.name, params: part.params })
    return id === part.id ? part : Response.makePart("tool-call", { ...part, id })
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
    const content = this.#parts.map((part): Response.AnyPart =>
      Response.isPart(part) ? part : Response.makePart(part.type, { text: part.text, metadata: part.metadata })
    )
    return {
      content,
      text: this.text,
      calls: this.#calls,
      hasFiles: this.#files,
      finishReason: this.#finish?.reason ?? "unknown",
      usage: this.#finish?.usage ?? noUsage,
      responseId: this.#metadata?.id,
      responseModel: this.#metadata?.modelId
    }
  }
}
