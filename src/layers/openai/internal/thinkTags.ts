/**
 * Reasoning that a server has left in the text: open models put it before the answer, between `<think>` and
 * `</think>`. Google has another name for the tag.
 */

/** A piece of an answer, and what it is. */
export type Piece = readonly [type: "text" | "reasoning", piece: string]

/** Tells the pieces of one answer apart as they come. What may be a part of a tag is held back until that is known. */
export class Thinking {
  readonly #opening: string
  readonly #closing: string
  #phase: "start" | "thinking" | "thought" | "text" = "start"
  #held = ""

  constructor(tag = "think") {
    this.#opening = `<${tag}>`
    this.#closing = `</${tag}>`
  }

  push(delta: string): ReadonlyArray<Piece> {
    if (this.#phase === "text") return [["text", delta]]
    const said = this.#held + delta
    this.#held = ""
    switch (this.#phase) {
      case "start": {
        const begun = said.trimStart()
        if (begun.startsWith(this.#opening)) {
          this.#phase = "thinking"
          return this.push(begun.slice(this.#opening.length))
        }
        if (this.#opening.startsWith(begun)) {
          this.#held = said
          return []
        }
        this.#phase = "text"
        return [["text", said]]
      }
      case "thinking": {
        const end = said.indexOf(this.#closing)
        if (end >= 0) {
          this.#phase = "thought"
          return [...pieces("reasoning", said.slice(0, end)), ...this.push(said.slice(end + this.#closing.length))]
        }
        const sure = said.length - heldBack(said, this.#closing)
        this.#held = said.slice(sure)
        return pieces("reasoning", said.slice(0, sure))
      }
      case "thought": {
        const text = said.trimStart()
        if (text !== "") this.#phase = "text"
        return pieces("text", text)
      }
    }
  }

  /** The text that was held back, at the end. */
  end(): ReadonlyArray<Piece> {
    const held = this.#held
    this.#held = ""
    return pieces(this.#phase === "thinking" ? "reasoning" : "text", held)
  }
}

/** A whole answer, its reasoning and its text. */
export const split = (said: string, tag?: string): { readonly reasoning: string; readonly text: string } => {
  const thinking = new Thinking(tag)
  const out = { reasoning: "", text: "" }
  for (const [type, piece] of [...thinking.push(said), ...thinking.end()]) out[type] += piece
  return out
}

const pieces = (type: Piece[0], piece: string): ReadonlyArray<Piece> => (piece === "" ? [] : [[type, piece]])

/** How much of the end of a text may be the beginning of the closing tag. */
const heldBack = (said: string, closing: string): number => {
  for (let length = Math.min(said.length, closing.length - 1); length > 0; length--) {
    if (closing.startsWith(said.slice(-length))) return length
  }
  return 0
}
