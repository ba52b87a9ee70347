/** Timers in the order in which they are due. It touches nothing but the monotonic clock. */

export interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class Timers {
  readonly #timers: Array<Timer> = []
  #count = 0

  get isEmpty(): boolean {
    return this.#timers.length === 0
  }

  /** Milliseconds until the next one is due, never negative; infinite when there is none. */
  get wait(): number {
    const first = this.#timers[0]
    return first === undefined ? Number.POSITIVE_INFINITY : Math.max(0, first.at - performance.now())
  }

  add(ms: number, run: () => void): Timer {
    const timer = { at: performance.now() + ms, order: this.#count++, run }
    this.#timers.splice(this.#indexOf(timer), 0, timer)
    return timer
  }

  remove(timer: Timer): void {
    const index = this.#indexOf(timer)
    if (this.#timers[index] === timer) this.#timers.splice(index, 1)
  }

  /** Runs those that are due. True when there was one. */
  runDue(): boolean {
    if (this.#timers.length === 0) return false
    const now = performance.now()
    let ran = false
    while (this.#timers.length > 0 && this.#timers[0]!.at <= now) {
      this.#timers.shift()!.run()
      ran = true
    }
    return ran
  }

  #indexOf(timer: Timer): number {
    const timers = this.#timers
    let low = 0
    let high = timers.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = timers[middle]!
      if (other.at < timer.at || (other.at === timer.at && other.order < timer.order)) low = middle + 1
      else high = middle
    }
    return low
  }
}
