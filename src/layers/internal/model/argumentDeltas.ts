/** The arguments of a call as they stream. */
import type * as Response from "effect/ai/Response"
import { isWhole, ObjectScan } from "./toolArguments.ts"

type Parts = Array<Response.StreamPartEncoded>

/** The deltas of one call, from when it is announced. */
export class ArgumentDeltas {
  readonly #id: string
  readonly #scan = new ObjectScan()
  /** What was emitted; `undefined` before the call was announced. */
  #emitted: string | undefined
  /** All pieces so far. */
  text = ""

  constructor(id: string) {
    this.#id = id
  }

  /** True when the pieces are a whole object, so that more of them is a repetition or another call. */
  get isWhole(): boolean {
    return this.#scan.isWhole
  }

  /** Announces the call, unless it is already. */
  announce(name: string, out: Parts): void {
    if (this.#emitted !== undefined) return
    out.push({ type: "tool-params-start", id: this.#id, name })
    this.#emitted = ""
  }

  /** Adds a piece. */
  add(piece: string): void {
    this.text += piece
    this.#scan.push(piece)
  }

  /** Emits what was not emitted yet. */
  emit(all: string, out: Parts): void {
    if (this.#emitted === undefined || all.length === this.#emitted.length) return
    out.push({ type: "tool-params-delta", id: this.#id, delta: all.slice(this.#emitted.length) })
    this.#emitted = all
  }

  /** Ends the deltas, with the rest of the arguments where these go on from what was emitted. */
  end(all: string, out: Parts): void {
    if (this.#emitted === undefined) return
    if (all.startsWith(this.#emitted) && isWhole(all)) this.emit(all, out)
    out.push({ type: "tool-params-end", id: this.#id })
  }
}
