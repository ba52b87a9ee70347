/** Makes an input replayable, for runners that read it more than once. */
import * as Predicate from "effect/Predicate"

/**
 * The input in a form that can be read more than once. A conversation may be any iterable, such as a generator, which
 * can be read only once: its messages are copied to an array. Other iterables are returned as they are.
 */
export const replayable = <I>(input: I): I => {
  if (typeof input === "string" || Array.isArray(input) || !Predicate.isIterable(input)) return input
  const items: Iterator<unknown> = input[Symbol.iterator]()
  const isOnce = (items as unknown) === input
  const first = items.next()
  // A runner that accepts one iterable of messages accepts any other, so an array can replace it.
  if (first.done !== true && isMessage(first.value)) return (isOnce ? [first.value, ...input] : [...input]) as I
  return isOnce && first.done !== true ? (resumed(first.value, input) as I) : input
}

/** True for a message. */
export const isMessage = (value: unknown): boolean =>
  Predicate.hasProperty(value, "role") && Predicate.hasProperty(value, "content")

function* resumed(first: unknown, rest: Iterable<unknown>) {
  yield first
  yield* rest
}
