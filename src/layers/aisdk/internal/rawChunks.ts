/**
 * The chunks of Chat Completions as a server sent them, alongside the parts that a package makes of them. Packages are stricter than
 * servers: they give a repeated call a new id, and end an answer at an event or at an empty error that stands alongside it.
 */
import type { LanguageModelV4FinishReason, LanguageModelV4StreamPart } from "@ai-sdk/provider"
import * as Predicate from "effect/Predicate"
import { errorIn } from "../../internal/model/problems.ts"
import { type Fields, isFields } from "../../internal/model/wire.ts"
import * as Parts from "./parts.ts"

const listOf = (value: unknown): ReadonlyArray<Fields> => (Array.isArray(value) ? value.filter(isFields) : [])

/** The chunks of one answer, in their order. */
export class RawChunks {
  #delta: Fields = {}
  #reason: string | undefined
  #texts = 0
  /** The ids of calls that the last chunk began. */
  #begun: Array<string> = []
  readonly #ids = new Set<string>()
  readonly #aliases = new Map<string, string>()

  /** Notes a chunk, which comes before the parts that are made of it. */
  read(chunk: unknown): void {
    const [choice] = listOf(Predicate.hasProperty(chunk, "choices") ? chunk.choices : undefined)
    const { delta, finish_reason: reason } = choice ?? {}
    this.#delta = isFields(delta) ? delta : {}
    if (typeof reason === "string" && reason !== "") this.#reason = reason
    this.#begun = listOf(this.#delta["tool_calls"]).flatMap(({ id }) => (typeof id === "string" ? [id] : []))
  }

  /** A part with the id that the server gave the call, where the package has replaced one that comes again. */
  named<A extends LanguageModelV4StreamPart>(part: A): A {
    switch (part.type) {
      case "tool-input-start": {
        const id = this.#begun.shift()
        if (id !== undefined && id !== part.id && this.#ids.has(id)) this.#aliases.set(part.id, id)
        this.#ids.add(part.id)
        break
      }
      case "tool-call": {
        const id = this.#aliases.get(part.toolCallId)
        return id === undefined ? part : { ...part, toolCallId: id }
      }
    }
    const id = "id" in part && part.id !== undefined ? this.#aliases.get(part.id) : undefined
    return id === undefined ? part : { ...part, id }
  }

  /** What stands in the last chunk alongside an error that says nothing; `undefined` for an error, and for what cannot be read here. */
  beside(error: unknown): ReadonlyArray<LanguageModelV4StreamPart> | undefined {
    const { content, tool_calls: calls } = this.#delta
    if (error instanceof Error || errorIn({ error }) !== undefined || listOf(calls).length > 0) return undefined
    if (typeof content !== "string" || content === "") return this.#reason === undefined ? undefined : []
    const id = `raw-${this.#texts++}`
    return [
      { type: "text-start", id },
      { type: "text-delta", id, delta: content },
      { type: "text-end", id }
    ]
  }

  /** The reason for the end in the server's words. */
  get reason(): LanguageModelV4FinishReason | undefined {
    return Parts.chatReason(this.#reason)
  }
}
