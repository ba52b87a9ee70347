/** Texts and thoughts as they stream, each in a block of its own. */
import type * as Response from "effect/ai/Response"

type Parts = Array<Response.StreamPartEncoded>

/** The blocks of one answer, one after the other. */
export class Blocks {
  #open: "text" | "reasoning" | undefined
  #count = 0

  /** Adds a piece to the block that is open, or to one that begins with it, which then has the metadata. */
  say(type: "text" | "reasoning", delta: string, out: Parts, metadata?: Response.ProviderMetadata): void {
    if (this.#open !== type) {
      this.close(out)
      this.#open = type
      out.push({ type: `${type}-start`, id: String(++this.#count), ...(metadata === undefined ? {} : { metadata }) })
    }
    out.push({ type: `${type}-delta`, id: String(this.#count), delta })
  }

  /** Adds a thought without text, for what has to go back with it. */
  silentThought(metadata: Response.ProviderMetadata, out: Parts): void {
    const id = String(++this.#count)
    out.push({ type: "reasoning-start", id, metadata }, { type: "reasoning-end", id })
  }

  /** Ends the block that is open. */
  close(out: Parts): void {
    if (this.#open !== undefined) out.push({ type: `${this.#open}-end`, id: String(this.#count) })
    this.#open = undefined
  }
}
