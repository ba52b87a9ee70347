/** Decodes answers to parts, whole or streamed, in each form that servers send. */
import type * as Response from "effect/ai/Response"
import { isProblem, type Problem } from "../../internal/model/problems.ts"
import { AnswerReader, Document, done, type Event } from "./sse.ts"

/** Takes the kind of a part of an answer that is left out, as nothing here has a place for it. */
export type LeftOut = (kind: string | undefined) => void

/** Reads the events of one answer. */
export interface StreamDecoder {
  /** True when no further event belongs to the answer. */
  readonly finished: boolean
  /** True when the answer is whole, though something about it may follow. */
  readonly complete: boolean
  /** Reads the text of an event; `undefined` for one that is not JSON. Without it, events are parsed as JSON. */
  parse?(data: string): Event | undefined
  push(event: unknown): ReadonlyArray<Response.StreamPartEncoded> | Problem
  /** `isDone`: the server has said that its answer is complete. */
  end(isDone: boolean): ReadonlyArray<Response.StreamPartEncoded> | Problem
}

/** How the answers of one API are read. */
export interface Decoder {
  readonly whole: (document: unknown) => ReadonlyArray<Response.PartEncoded> | Problem
  readonly stream: () => StreamDecoder
}

/** A problem after a complete answer is ignored, unless the server reports it as an error. */
const matters = (problem: Problem, isComplete: boolean): boolean => !isComplete || problem.kind === "status"

// -- whole answers ----------------------------------------------------------------------------------------------------

/** The parts of a whole answer, which may have come as events. */
export const whole = (
  events: ReadonlyArray<Event>,
  problem: Problem | undefined,
  decoder: Decoder
): ReadonlyArray<Response.PartEncoded> | Problem => {
  const [first] = events
  if (first instanceof Document) return decoder.whole(first.json)
  const stream = decoder.stream()
  const parts: Array<Response.StreamPartEncoded> = []
  let isDone = false
  for (const event of events) {
    isDone = event === done
    if (isDone || stream.finished) break
    const made = stream.push(event)
    if (!isProblem(made)) parts.push(...made)
    else if (matters(made, stream.complete)) return made
  }
  if (problem !== undefined && matters(problem, stream.complete)) return problem
  const last = stream.end(isDone)
  return isProblem(last) ? last : joined([...parts, ...last])
}

/** The parts of a stream, each whole. */
const joined = (parts: ReadonlyArray<Response.StreamPartEncoded>): ReadonlyArray<Response.PartEncoded> => {
  const out: Array<Response.PartEncoded> = []
  const open = new Map<string, number>()
  for (const part of parts) {
    switch (part.type) {
      case "text-start":
      case "reasoning-start":
        open.set(part.id, out.length)
        out.push({ type: part.type === "text-start" ? "text" : "reasoning", text: "", ...metadataOf(part) })
        break
      case "text-delta":
      case "reasoning-delta":
      case "text-end":
      case "reasoning-end": {
        const at = open.get(part.id)
        const block = at === undefined ? undefined : out[at]
        if (at === undefined || (block?.type !== "text" && block?.type !== "reasoning")) break
        out[at] = { ...block, text: block.text + ("delta" in part ? part.delta : ""), ...metadataOf(part) }
        break
      }
      case "tool-params-start":
      case "tool-params-delta":
      case "tool-params-end":
      case "error":
        break
      default:
        out.push(part)
    }
  }
  return out.filter((part) => part.type !== "text" || part.text !== "")
}

const metadataOf = ({ metadata }: { readonly metadata?: Response.ProviderMetadata | undefined }) =>
  metadata === undefined ? {} : { metadata }

/** The parts of a whole answer, in the form of a stream's. */
const streamed = (parts: ReadonlyArray<Response.PartEncoded>): ReadonlyArray<Response.StreamPartEncoded> =>
  parts.flatMap((part, index): ReadonlyArray<Response.StreamPartEncoded> => {
    if (part.type !== "text" && part.type !== "reasoning") return [part]
    const id = String(index)
    return [
      { type: `${part.type}-start`, id, ...metadataOf(part) },
      ...(part.text === "" ? [] : [{ type: `${part.type}-delta`, id, delta: part.text } as const]),
      { type: `${part.type}-end`, id }
    ]
  })

// -- streams ----------------------------------------------------------------------------------------------------------

type Parts = ReadonlyArray<Response.StreamPartEncoded>

/** One streamed answer, as far as it has come. */
export class Body {
  readonly #reader: AnswerReader
  readonly #decoder: Decoder
  readonly #stream: StreamDecoder
  /** How it ended: its body was read to the end, or not; or what went wrong. */
  over: "read" | "early" | Problem | undefined

  constructor(contentType: string, decoder: Decoder) {
    const stream = decoder.stream()
    this.#reader = new AnswerReader(contentType, stream.parse?.bind(stream))
    this.#decoder = decoder
    this.#stream = stream
  }

  get isComplete(): boolean {
    return this.#stream.complete
  }

  /** Adds the parts of the chunk. */
  read(chunk: Uint8Array, out: Array<Response.StreamPartEncoded>): void {
    const events: Array<Event> = []
    this.#reader.push(chunk, events)
    this.#take(events, out)
  }

  /** The body has ended, or is not waited for any longer. */
  end(out: Array<Response.StreamPartEncoded>): void {
    const events: Array<Event> = []
    this.#reader.end(events)
    this.#take(events, out)
    if (this.over === undefined) this.#finish(false, "read", out)
  }

  #take(events: ReadonlyArray<Event>, out: Array<Response.StreamPartEncoded>): void {
    for (const event of events) {
      if (event === done) return this.#finish(true, "early", out)
      const made = event instanceof Document ? this.#document(event) : this.#stream.push(event)
      if (!isProblem(made)) out.push(...made)
      else if (matters(made, this.isComplete)) {
        this.over = made
        return
      }
      if (event instanceof Document) {
        this.over = "read"
        return
      }
      if (this.#stream.finished) return this.#finish(true, "early", out)
    }
    const { ended } = this.#reader
    if (ended === undefined || ended === "done") return
    if (matters(ended, this.isComplete)) this.over = ended
    else this.#finish(false, "early", out)
  }

  #document({ json }: Document): Parts | Problem {
    const parts = this.#decoder.whole(json)
    return isProblem(parts) ? parts : streamed(parts)
  }

  #finish(isDone: boolean, how: "read" | "early", out: Array<Response.StreamPartEncoded>): void {
    const last = this.#stream.end(isDone)
    if (isProblem(last)) this.over = last
    else {
      out.push(...last)
      this.over = how
    }
  }
}
