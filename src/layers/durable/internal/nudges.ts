/** Wakes the fibers of this process that wait for something to be written of a run, and no others. */
import * as Effect from "effect/Effect"

/** What is written of a run: its state and events, or its messages. */
export type Subject = "run" | "mail"

/** Wakes those who wait for a run. */
export interface Nudges {
  /** Says that something of a run was written. */
  readonly nudge: (id: string, subject?: Subject) => Effect.Effect<void>
  /** Waits until something of a run is written in this process, or a moment for other processes to write. */
  readonly changes: (id: string, subject?: Subject) => Effect.Effect<void>
}

/** `pollMillis` is the moment. */
export const make = (pollMillis: number): Nudges => {
  const waiting = new Map<string, Set<() => void>>()
  const keyOf = (id: string, subject: Subject) => `${subject} ${id}`
  return {
    nudge: (id, subject = "run") =>
      Effect.sync(() => {
        const key = keyOf(id, subject)
        const all = waiting.get(key)
        waiting.delete(key)
        for (const wake of all ?? []) wake()
      }),
    changes: (id, subject = "run") =>
      Effect.raceFirst(
        Effect.callback<void>((resume) => {
          const key = keyOf(id, subject)
          const own = waiting.get(key) ?? new Set()
          const wake = () => resume(Effect.void)
          waiting.set(key, own.add(wake))
          return Effect.sync(() => {
            own.delete(wake)
            if (own.size === 0 && waiting.get(key) === own) waiting.delete(key)
          })
        }),
        Effect.sleep(pollMillis)
      )
  }
}
