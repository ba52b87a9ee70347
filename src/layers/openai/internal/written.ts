/**
 * Parts of requests as JSON text. The messages of a run are encoded and written once, not again with each request, and so
 * are the tools of an agent.
 */
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import type { RunMemory } from "../../../services/ModelInfo.ts"
import type { Server } from "./options.ts"
import type { Fields } from "../../internal/model/wire.ts"

/** JSON that is written already: {@link write} takes it as it is. */
export class Written {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Writes a body as JSON. */
export const write = (body: object): string => {
  let text = ""
  for (const [key, value] of Object.entries(body)) {
    const json = value instanceof Written ? value.text : JSON.stringify(value)
    if (json !== undefined) text += `${text === "" ? "{" : ","}${JSON.stringify(key)}:${json}`
  }
  return text === "" ? "{}" : `${text}}`
}

/** How an API encodes messages. */
export interface MessageEncoder {
  readonly encode: (message: Prompt.Message) => ReadonlyArray<Fields>
  /** What stands in the list for an item, which is its `index`th; or what stands there for the last item and this one. */
  readonly place: (item: Fields, index: number, last: Fields | undefined) => Placed
}

/** Where a request goes, and what is kept for it. */
export interface Target {
  readonly server: Server
  /** The encoder of the API for this server, the same for each request. */
  readonly messages: MessageEncoder
  readonly memory: RunMemory | undefined
  /** Whether tools that need not be shown are left to the provider's search. */
  readonly searchesTools: boolean
}

interface Placed {
  readonly item: Fields
  /** True when the item takes the place of the last one. */
  readonly replaces: boolean
}

/** The messages of a run that were written so far. */
class MessageList {
  readonly encoder: MessageEncoder
  readonly prompt: Prompt.Prompt
  #messages = 0
  #items = 0
  /** All items but the last one. */
  #text = ""
  #last: Fields | undefined

  constructor(encoder: MessageEncoder, prompt: Prompt.Prompt) {
    this.encoder = encoder
    this.prompt = prompt
  }

  write(): Written {
    const { content } = this.prompt
    for (; this.#messages < content.length; this.#messages++) {
      for (const item of this.encoder.encode(content[this.#messages]!)) this.#add(item)
    }
    return new Written(this.#last === undefined ? "[]" : `[${this.#text}${JSON.stringify(this.#last)}]`)
  }

  #add(given: Fields): void {
    const last = this.#last
    const { item, replaces } = this.encoder.place(given, this.#items, last)
    if (!replaces) {
      if (last !== undefined) this.#text += `${JSON.stringify(last)},`
      this.#items++
    }
    this.#last = item
  }
}

/**
 * Writes the messages of a prompt. Given the memory of a run, whose prompt is one object that grows, only those are encoded
 * that are new.
 */
export const writeMessages = (
  encoder: MessageEncoder,
  prompt: Prompt.Prompt,
  memory: RunMemory | undefined
): Written => {
  const kept = memory?.kept
  if (kept instanceof MessageList && kept.prompt === prompt && kept.encoder === encoder) return kept.write()
  const list = new MessageList(encoder, prompt)
  const written = list.write()
  // Kept once it is whole: a message that cannot be encoded has to fail each time.
  if (memory !== undefined) memory.kept = list
  return written
}

/** Writes tools by `encode`, after `others`. Lists that an agent gives each time are written once. */
export const toolWriter = (
  encode: (tool: Tool.Any) => Fields,
  others: ReadonlyArray<Fields> = []
): ((tools: ReadonlyArray<Tool.Any>, memory: RunMemory | undefined) => Written) => {
  const known = new WeakMap<ReadonlyArray<Tool.Any>, Written>()
  return (tools, memory) => {
    const found = known.get(tools)
    if (found !== undefined) return found
    const written = new Written(JSON.stringify([...others, ...tools.map(encode)]))
    // Others than the agent loop make a list for each call.
    if (memory !== undefined) known.set(tools, written)
    return written
  }
}
