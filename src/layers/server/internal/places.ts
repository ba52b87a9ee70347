/** Who may have a place: runs at once with a queue before them, and requests in a time. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { putLatest } from "./latest.ts"
import { problem, type Problem, refuse } from "./problem.ts"
import type { Settings } from "./settings.ts"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Places for runs. */
export interface Places {
  /** Waits for a place, and gives what frees it. Only the waiting is interruptible, by `restore`, so that no place is lost. */
  readonly take: (restore: Restore) => Effect.Effect<Effect.Effect<void>, Problem>
  /** The same, freed with the scope. A client that hangs up leaves the queue. */
  readonly hold: Effect.Effect<void, Problem, Scope.Scope>
  /** True when a further request would be refused. */
  readonly isFull: () => boolean
  /** Refuses those that wait for a place, and all that come later. */
  readonly close: Effect.Effect<void>
}

const busy = (retryAfterMs: number): Problem =>
  problem(503, "The server is busy. Try again later.", {}, { "retry-after": seconds(retryAfterMs) })

const ending = refuse(503, "The server is ending.", {}, { "retry-after": "5" })

const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1000)))

/** Places for as many runs and waiting requests as the settings say. */
export const places = ({ runs, waitMs, waiting }: Settings): Places => {
  const free = Semaphore.makeUnsafe(runs)
  const closed = Latch.makeUnsafe(false)
  let held = 0
  const isFull = () => held >= runs + waiting
  const leave = Effect.sync(() => {
    held--
  })
  const take: Places["take"] = (restore) =>
    Effect.suspend(() => {
      if (closed.isOpen()) return ending
      if (isFull()) return Effect.fail(busy(waitMs))
      held++
      const waited = Effect.timeoutOrElse(free.take(1), {
        duration: waitMs,
        orElse: () => Effect.fail(busy(waitMs))
      })
      const wait = restore(Effect.raceFirst(waited, Effect.andThen(closed.await, ending)))
      return Effect.flatMap(free.takeIfAvailable(1), (isTaken) => (isTaken ? Effect.void : wait)).pipe(
        Effect.as(Effect.andThen(free.release(1), leave)),
        Effect.onError(() => leave)
      )
    })
  const hold = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(take(restore), (release) => Effect.addFinalizer(() => release))
  )
  return { take, isFull, hold, close: Effect.asVoid(closed.open) }
}

/** How many clients are counted at once; the one that came first is forgotten for a new one. */
const maxClients = 10_000

/** Counts the requests of each client. */
export const rates = (rate: Settings["rate"]): ((client: string) => Effect.Effect<void, Problem>) => {
  if (rate === undefined) return () => Effect.void
  const { perMs, requests } = rate
  const windows = new Map<string, { readonly until: number; count: number }>()
  return (client) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const known = windows.get(client)
      const isOpen = known !== undefined && now < known.until
      const window = isOpen ? known : { until: now + perMs, count: 0 }
      if (!isOpen) putLatest(windows, client, window, maxClients)
      window.count++
      if (window.count <= requests) return Effect.void
      const after = { "retry-after": seconds(window.until - now) }
      return Effect.fail(problem(429, `More than ${requests} requests in ${perMs} ms.`, {}, after))
    })
}
