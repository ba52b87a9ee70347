/**
 * Hands what one fiber emits to the one that reads it, without a turn of the event loop for each: the reader is resumed as
 * soon as the writer's fiber pauses, and gets all that has come until then.
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

type Next<A, E> = Effect.Effect<Arr.NonEmptyReadonlyArray<A>, E | Cause.Done>

/** One writer, one reader. */
export interface Mailbox<A, E> {
  /** How many values wait for the reader. */
  readonly size: () => number
  readonly push: (value: A) => void
  /** The reader sees how it ended after the last value. */
  readonly end: (exit: Exit.Exit<unknown, E>) => void
  /** Drops what waits, and what is still pushed. */
  readonly close: () => void
  /** The values that have come, or else those that come next. */
  readonly pull: Next<A, E>
}

/** A mailbox for a reader in the fiber. `onTake` is called each time the reader takes what waits. */
export const make = <A, E>(reader: Fiber.Fiber<unknown, unknown>, onTake: () => void): Mailbox<A, E> => {
  let values: Array<A> = []
  let ended: Exit.Exit<unknown, E> | undefined
  let isClosed = false
  let isScheduled = false
  let resume: ((next: Next<A, E>) => void) | undefined
  const take = (): Next<A, E> | undefined => {
    const taken = values
    if (isFilled(taken)) {
      values = []
      onTake()
      return Effect.succeed(taken)
    }
    if (ended === undefined) return undefined
    return Exit.isSuccess(ended) ? Cause.done() : Effect.failCause(ended.cause)
  }
  const deliver = (): void => {
    isScheduled = false
    const waiting = resume
    const next = waiting === undefined ? undefined : take()
    if (waiting === undefined || next === undefined) return
    resume = undefined
    waiting(next)
  }
  // Where promises cannot be awaited there are no microtasks either, and a test clock goes on when all that its own scheduler
  // knows of has paused.
  const scheduler = reader.getRef(Scheduler.Scheduler)
  const isPlain = scheduler instanceof Scheduler.MixedScheduler && scheduler.executionMode === "async"
  const notify = (): void => {
    if (resume === undefined || isScheduled) return
    isScheduled = true
    if (isPlain) queueMicrotask(deliver)
    else reader.currentDispatcher.scheduleTask(deliver, 0)
  }
  const forget = Effect.sync(() => {
    resume = undefined
  })
  const wait: Next<A, E> = Effect.callback((waiting) => {
    resume = waiting
    return forget
  })
  return {
    size: () => values.length,
    push: (value) => {
      if (isClosed || ended !== undefined) return
      values.push(value)
      notify()
    },
    end: (exit) => {
      ended ??= exit
      notify()
    },
    close: () => {
      isClosed = true
      values = []
    },
    pull: Effect.suspend(() => take() ?? wait)
  }
}

const isFilled = <A>(values: ReadonlyArray<A>): values is Arr.NonEmptyReadonlyArray<A> => values.length > 0
