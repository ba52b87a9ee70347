/** Judges by its heartbeat whether a thread that is waited for hangs, or has ended without saying so. */

/** How often the heartbeat is looked at, in milliseconds. */
export const lookMs = 1000
/** How many looks, each in its time, have to find that the heartbeat has not moved. A thread that ends says so at once. */
const deadAfterLooks = 30

/**
 * Looks are counted and not time, as all of the process may have been halted. Where the machine is too busy to let us look in
 * time, it has not let the thread beat either, and the look counts for nothing.
 */
export class Pulse {
  #beat = 0
  #looks = 0
  #lookedAt = 0

  /** Begins to look, at a time. */
  begin(now: number): void {
    this.#looks = 0
    this.#lookedAt = now
  }

  /** Whether the thread is dead by now. Called as often as there is occasion. */
  isDead(beat: number, now: number): boolean {
    const since = now - this.#lookedAt
    // A timer may be early by a little.
    if (since < 0.9 * lookMs) return false
    this.#lookedAt = now
    if (beat !== this.#beat) {
      this.#beat = beat
      this.#looks = 0
    } else if (since < 2 * lookMs) this.#looks++
    return this.#looks >= deadAfterLooks
  }
}
