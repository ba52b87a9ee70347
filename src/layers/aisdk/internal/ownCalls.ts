/** Calls of our tools, each once: some servers send a call again, whole, or first without its arguments. */
import type * as Response from "effect/ai/Response"
import { agree, isNothing } from "../../internal/model/toolArguments.ts"

type Call = Response.ToolCallPartEncoded

const textOf = ({ params }: Call): string => JSON.stringify(params) ?? ""

/**
 * Reads parts of one answer in their order. A call under the id and the name of an earlier one, with the same arguments or none, is
 * that one; otherwise it is another, and gets an id of its own, by which its result is known. A call without arguments waits for the
 * next part, which may have them.
 */
export class OwnCalls<A extends Response.PartEncoded | Response.StreamPartEncoded> {
  readonly #known = new Map<string, Call>()
  readonly #dropped = new Set<string>()
  #held: (A & Call) | undefined

  /** The parts that this one leads to. */
  read(part: A): ReadonlyArray<A> {
    switch (part.type) {
      case "tool-call":
        return part.providerExecuted === true ? [...this.end(), part] : this.#call(part as A & Call)
      case "tool-params-start":
        if (!this.#known.has(part.id)) return [...this.end(), part]
        this.#dropped.add(part.id)
        return []
      case "tool-params-delta":
        return this.#dropped.has(part.id) ? [] : [part]
      case "tool-params-end":
        return this.#dropped.delete(part.id) ? [] : [part]
      default:
        return [...this.end(), part]
    }
  }

  /** The call that was waiting. */
  end(): ReadonlyArray<A> {
    const held = this.#held
    this.#held = undefined
    return held === undefined ? [] : [held]
  }

  #call(call: A & Call): ReadonlyArray<A> {
    const earlier = this.#known.get(call.id)
    const [now, before] = [textOf(call), earlier === undefined ? "" : textOf(earlier)]
    const isAgain = earlier?.name === call.name && agree(before, now)
    if (isAgain && (isNothing(now) || !isNothing(before))) return []
    const isWaiting = isAgain && earlier === this.#held
    if (isWaiting) this.#held = undefined
    const waiting = this.end()
    const own = earlier === undefined || isWaiting ? call : { ...call, id: this.#freeId(call.id) }
    this.#known.set(own.id, own)
    if (!isNothing(now)) return [...waiting, own]
    this.#held = own
    return waiting
  }

  #freeId(id: string): string {
    let n = 2
    while (this.#known.has(`${id}_${n}`)) n++
    return `${id}_${n}`
  }
}
