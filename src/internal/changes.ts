/** Wakes fibers that wait for something to change. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/** Changes of one thing. */
export class Changes {
  #next: Deferred.Deferred<void> | undefined

  /** Waits for the first change from now on. */
  get next(): Effect.Effect<void> {
    return Deferred.await((this.#next ??= Deferred.makeUnsafe<void>()))
  }

  /** Wakes all that wait. */
  notify(): void {
    const next = this.#next
    this.#next = undefined
    if (next !== undefined) Deferred.doneUnsafe(next, Effect.void)
  }
}
