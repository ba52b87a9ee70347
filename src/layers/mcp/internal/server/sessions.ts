/**
 * The sessions of the server behind, which keeps each until it is ended: this knows their ids, when each was last used,
 * and how many may begin. It knows no transport.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** The sessions of one server. */
export interface Sessions {
  /** Reserves a place; or how many seconds to wait for one. */
  readonly reserve: Effect.Effect<{ readonly place: Reservation } | { readonly retryAfter: number }>
  /** A request of a session begins; the effect's value is to be called when it has been answered. */
  readonly enter: (id: string) => Effect.Effect<() => void>
  /** The client has ended it. */
  readonly forget: (id: string) => void
  /** Ends those that are idle for too long. */
  readonly expire: Effect.Effect<void>
}

/** A place that is reserved. It can be taken or freed once; what comes later has no effect. */
export interface Reservation {
  readonly take: (id: string) => void
  readonly free: () => void
}

/** `end` ends a session in the server behind. */
export const make = (
  limits: { readonly max: number; readonly idleMs: number },
  end: (id: string) => Effect.Effect<void>
): Effect.Effect<Sessions> =>
  Effect.map(Clock.Clock, (clock) => {
    const now = () => clock.currentTimeMillisUnsafe()
    /** When each was last used, the longest idle one first. */
    const idle = new Map<string, number>()
    /** How many requests of each are being answered. */
    const active = new Map<string, number>()
    let reserved = 0

    const makePlace = (): Reservation => {
      let isOpen = true
      reserved++
      const free = () => {
        if (isOpen) reserved--
        isOpen = false
      }
      return {
        free,
        take: (id) => {
          if (isOpen) idle.set(id, now())
          free()
        }
      }
    }
    const leave = (id: string) => {
      const left = (active.get(id) ?? 0) - 1
      if (left > 0) active.set(id, left)
      // The session may have ended in the meantime.
      else if (active.delete(id)) idle.set(id, now())
    }
    const forget = (id: string) => {
      idle.delete(id)
      active.delete(id)
    }
    const expire = Effect.suspend(() => {
      const ended: Array<string> = []
      for (const [id, since] of idle) {
        if (since + limits.idleMs > now()) break
        ended.push(id)
      }
      for (const id of ended) idle.delete(id)
      return Effect.forEach(ended, end, { discard: true })
    }).pipe(Effect.uninterruptible)

    return {
      reserve: Effect.map(expire, () => {
        if (idle.size + active.size + reserved < limits.max) return { place: makePlace() }
        const [oldest] = idle.values()
        const wait = oldest === undefined ? limits.idleMs : oldest + limits.idleMs - now()
        return { retryAfter: Math.min(3600, Math.max(1, Math.ceil(wait / 1000))) }
      }),
      enter: (id) =>
        Effect.map(expire, () => {
          const count = active.get(id)
          if (count === undefined && !idle.delete(id)) return () => {}
          active.set(id, (count ?? 0) + 1)
          return () => leave(id)
        }),
      forget,
      expire
    }
  })
