/** Arguments of tool calls as servers write them: whole, repeated, encoded twice, fenced. */
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"

/** A text that is not JSON, or that tries to set a prototype. */
export const unreadable: unique symbol = Symbol("unreadable")

/** The JSON value of a text; {@link unreadable} for any other text. */
export const parse = (text: string): unknown => {
  try {
    return Tool.unsafeSecureJsonParse(text)
  } catch {
    return unreadable
  }
}

/** True for a text that is a whole JSON value. */
export const isWhole = (text: string): boolean => parse(text) !== unreadable

/** True for arguments that say nothing: none at all, or an empty object. */
export const isNothing = (text: string): boolean => text.trim() === "" || /^\s*(\{\s*\}|null)\s*$/.test(text)

/** True when two texts hold the same arguments, or one of them holds none. */
export const agree = (a: string, b: string): boolean => {
  if (isNothing(a) || isNothing(b) || a === b) return true
  const [first, second] = [parse(a), parse(b)]
  return first !== unreadable && second !== unreadable && JSON.stringify(first) === JSON.stringify(second)
}

/**
 * The arguments that a text holds: one value for each call that it stands for. Some servers send a text again, whole, so
 * that one value several times is that value; others give calls one after the other no separator, so that
 * different objects are different calls. What cannot be read is passed on as the text it is: validation then tells the
 * model, and the rest of the answer is not lost.
 */
export const parseAll = (value: unknown): ReadonlyArray<unknown> => {
  if (value === undefined || value === null) return [{}]
  if (typeof value !== "string") return [value]
  if (value.trim() === "") return [{}]
  const whole = parse(value)
  // Models say null where a tool takes nothing.
  if (whole !== unreadable) return [unwrap(whole) ?? {}]
  const fenced = /^\s*```[a-z]*\s*\n?([\s\S]*?)```\s*$/i.exec(value)?.[1]
  const inside = fenced === undefined ? unreadable : parse(fenced)
  if (inside !== unreadable) return [unwrap(inside) ?? {}]
  return objectsIn(value) ?? [value]
}

/** An object that was encoded twice is the object: parameters are never a text. */
const unwrap = (value: unknown): unknown => {
  if (typeof value !== "string") return value
  const inner = parse(value)
  return Predicate.isObject(inner) ? inner : value
}

/** The different objects of a text that is nothing but objects, one after the other. Empty ones count if all are. */
const objectsIn = (text: string): ReadonlyArray<unknown> | undefined => {
  const found = new Map<string, unknown>()
  let start = 0
  while (start < text.length) {
    const open = text.slice(start).search(/\S/)
    if (open < 0) break
    start += open
    const end = text[start] === "{" ? new ObjectScan().push(text, start) : -1
    const value = end < 0 ? unreadable : parse(text.slice(start, end))
    if (!Predicate.isObject(value)) return undefined
    found.set(JSON.stringify(value), value)
    start = end
  }
  if (found.size > 1) found.delete("{}")
  return found.size === 0 ? undefined : [...found.values()]
}

/** Follows a text in pieces, to know when it is a whole object. Each character is looked at once. */
export class ObjectScan {
  #depth = 0
  #quoted = false
  #escaped = false
  /** True when the first object of the text has ended. */
  isWhole = false

  /** Reads on from `start`; where the object ended, if it did within this piece, else -1. */
  push(piece: string, start = 0): number {
    if (this.isWhole) return -1
    for (let i = start; i < piece.length; i++) {
      const char = piece[i]
      if (this.#escaped) this.#escaped = false
      else if (this.#quoted) {
        if (char === "\\") this.#escaped = true
        else if (char === '"') this.#quoted = false
      } else if (char === '"') this.#quoted = true
      else if (char === "{" || char === "[") this.#depth++
      else if ((char === "}" || char === "]") && --this.#depth <= 0) {
        this.isWhole = true
        return i + 1
      }
    }
    return -1
  }
}
