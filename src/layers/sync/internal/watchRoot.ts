/**
 * Shows the fibers that begin to wait, for as long as it takes `Effect.runSync` to start its root fiber.
 *
 * `runSync` flushes the dispatcher of its root, and of no other fiber. A root that builds several Layers at once waits for
 * them without an operation that a scheduler sees, and has no dispatcher to flush. What every wait passes is a method of
 * Effect 4.1's fibers, which is replaced for the time in between. The versions are pinned, and tests guard it.
 */
import type { AnyFiber } from "./fibers.ts"

interface Waits {
  yieldWith(this: AnyFiber, value: unknown): unknown
}

const watchers = new Set<(fiber: AnyFiber) => void>()
let restore: (() => void) | undefined

/** Calls `onWait` with each fiber that begins to wait, until the returned function is called. */
export const watchRoot = (member: AnyFiber, onWait: (fiber: AnyFiber) => void): (() => void) => {
  const prototype = Object.getPrototypeOf(member) as Waits
  if (restore === undefined) {
    const { yieldWith } = prototype
    prototype.yieldWith = function (value) {
      for (const watcher of watchers) watcher(this)
      return yieldWith.call(this, value)
    }
    restore = () => {
      prototype.yieldWith = yieldWith
      restore = undefined
    }
  }
  watchers.add(onWait)
  return () => {
    watchers.delete(onWait)
    if (watchers.size === 0) restore?.()
  }
}
