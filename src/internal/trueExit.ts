/**
 * The exit of a piece of work whose fiber was interrupted. Effect drops the result of an uninterruptible region when
 * the fiber is interrupted meanwhile, although it waits for the region: a payment's receipt would be lost.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { interruptFailuresOf } from "./interruptFailures.ts"

/** A field of Effect's fibers that its interface does not have. Without it, a fiber is interrupted as usual. */
interface Interruptible {
  interruptible?: boolean
}

/** Fibers that {@link interruptAfterRegion} interrupts at their next suspension. */
const leaving = new WeakSet<Fiber.Fiber<unknown, unknown>>()

/** An effect that does not begin in a fiber which {@link interruptAfterRegion} interrupts as soon as it pauses. */
export const unlessLeaving = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => (leaving.has(fiber) ? Effect.andThen(Effect.yieldNow, effect) : effect))

/** Ends a fiber here that {@link interruptAfterRegion} interrupts as soon as it pauses. */
export const leave: Effect.Effect<void> = unlessLeaving(Effect.void)

/**
 * Interrupts a fiber at its next suspension outside of uninterruptible regions. So what the last of them gives reaches the
 * end of the fiber, as if the interruption had come a moment later.
 */
export const interruptAfterRegion = (fiber: Fiber.Fiber<unknown, unknown>, by?: number): void => {
  const self = fiber as Interruptible
  if (self.interruptible !== false) return fiber.interruptUnsafe(by)
  leaving.add(fiber)
  let value = false
  Object.defineProperty(self, "interruptible", {
    configurable: true,
    enumerable: true,
    get: () => value,
    set: (next: boolean) => {
      value = next
      if (!next) return
      Object.defineProperty(self, "interruptible", { configurable: true, enumerable: true, writable: true, value })
      fiber.currentDispatcher.scheduleTask(() => interruptAfterRegion(fiber, by), 0)
    }
  })
}

/**
 * Interrupts a fiber that reads what `source`, a fiber that it has forked, gives. The reader is interrupted only once the
 * source has been: what the source gives when its work is done all the same is read to its end.
 */
export const interruptThroughSource = (
  reader: Fiber.Fiber<unknown, unknown>,
  source: Fiber.Fiber<unknown, unknown>,
  by?: number
): void => {
  interruptAfterRegion(source, by)
  source.addObserver((exit) => {
    if (Exit.isFailure(exit)) interruptAfterRegion(reader, by)
  })
}

/** A method of Effect's fibers that their interface does not have. */
interface Parent {
  readonly children?: () => ReadonlySet<Fiber.Fiber<unknown, unknown>>
}

/** The last fiber that a fiber has forked and that is still running; `undefined` without one. */
export const lastForked = (fiber: Fiber.Fiber<unknown, unknown>): Fiber.Fiber<unknown, unknown> | undefined =>
  [...((fiber as Parent).children?.() ?? [])].at(-1)

/** Whether a fiber works for another one, over any number of fibers between them. */
export const hasForked = (above: Fiber.Fiber<unknown, unknown>, below: Fiber.Fiber<unknown, unknown>): boolean => {
  const children = [...((above as Parent).children?.() ?? [])]
  return children.includes(below) || children.some((child) => hasForked(child, below))
}

/**
 * Runs `effect` in a fiber of its own and gives its exit. When it is interrupted from outside, `onInterrupted` gets the
 * exit in place of the caller, once the fiber is over: a success where the work was done all the same. `interrupt` is how
 * the fiber is interrupted.
 */
export const exitOf = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  onInterrupted: (exit: Exit.Exit<A, E>) => Effect.Effect<void>,
  interrupt: (fiber: Fiber.Fiber<unknown, unknown>, by: number) => void = interruptAfterRegion
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  unlessLeaving(
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkChild(effect, { startImmediately: true }), (fiber) => {
        const known = fiber.pollUnsafe()
        if (known !== undefined) return Effect.succeed(known)
        return Effect.onInterrupt(restore(Fiber.await(fiber)), () =>
          Effect.withFiber((self) => {
            interrupt(fiber, self.id)
            return Effect.flatMap(Fiber.await(fiber), onInterrupted)
          })
        )
      })
    )
  )

/**
 * Runs `effect` in a fiber that begins, ends and is interrupted on a stack of its own. Effect does each of these on the stack
 * of the fiber that causes it, which overflows when some hundred fibers work for one another.
 */
export const onOwnStack = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask(
    (restore) =>
      Effect.flatMap(Effect.forkChild(effect), (fiber) => {
        const exit = Effect.onInterrupt(restore(Fiber.await(fiber)), () =>
          Effect.withFiber((self) =>
            Effect.gen(function* () {
              yield* Effect.yieldNow
              interruptAfterRegion(fiber, self.id)
              const late = interruptFailuresOf(yield* Fiber.await(fiber))
              yield* Effect.yieldNow
              if (late !== undefined) yield* Effect.failCause(late)
            })
          )
        )
        return Effect.flatMap(exit, (exit) => Effect.andThen(Effect.yieldNow, exit))
      })
    // What fails while it is interrupted fails as the effect does.
  ) as Effect.Effect<A, E, R>
