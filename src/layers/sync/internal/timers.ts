/** Timers in the order in which they are due: a binary heap, so that adding and removing one of n costs log n. */
import type * as Fiber from "effect/Fiber"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** One wait. `index` is its place in the heap, -1 when it is not in there. */
export interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
  /** The fiber that waits. */
  readonly fiber: AnyFiber
  /** The fiber was forked to outlive the one that forked it. */
  readonly background: boolean
  index: number
}

const isBefore = (one: Timer, other: Timer): boolean =>
  one.at < other.at || (one.at === other.at && one.order < other.order)

export class Timers {
  readonly #heap: Array<Timer> = []
  #count = 0
  #foreground = 0

  get isEmpty(): boolean {
    return this.#heap.length === 0
  }

  /** Whether every timer is one of a background fiber. */
  get areBackground(): boolean {
    return this.#foreground === 0
  }

  /** Milliseconds until the next timer is due, never negative; infinite without timers. */
  get wait(): number {
    const first = this.#heap[0]
    return first === undefined ? Number.POSITIVE_INFINITY : Math.max(0, first.at - performance.now())
  }

  /** All of them, in no order. */
  get all(): ReadonlyArray<Timer> {
    return this.#heap
  }

  add(ms: number, fiber: AnyFiber, background: boolean, run: () => void): Timer {
    const at = performance.now() + ms
    const timer: Timer = { at, order: this.#count++, run, fiber, background, index: this.#heap.length }
    if (!background) this.#foreground++
    this.#heap.push(timer)
    this.#rise(timer)
    return timer
  }

  remove(timer: Timer): void {
    const { index } = timer
    if (index < 0) return
    if (!timer.background) this.#foreground--
    timer.index = -1
    const last = this.#heap.pop()!
    if (last === timer) return
    this.#put(last, index)
    this.#rise(last)
    this.#sink(last)
  }

  /** Runs those that are due and returns how many there were. */
  runDue(ran: (timer: Timer) => void = () => {}): number {
    if (this.#heap.length === 0) return 0
    const now = performance.now()
    let count = 0
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      this.remove(first)
      count++
      ran(first)
      first.run()
    }
    return count
  }

  #put(timer: Timer, index: number): void {
    this.#heap[index] = timer
    timer.index = index
  }

  #rise(timer: Timer): void {
    while (timer.index > 0) {
      const parent = this.#heap[(timer.index - 1) >> 1]!
      if (!isBefore(timer, parent)) return
      this.#swap(parent, timer)
    }
  }

  #sink(timer: Timer): void {
    while (true) {
      const left = this.#heap[2 * timer.index + 1]
      const right = this.#heap[2 * timer.index + 2]
      const child = right !== undefined && left !== undefined && isBefore(right, left) ? right : left
      if (child === undefined || !isBefore(child, timer)) return
      this.#swap(timer, child)
    }
  }

  /** Exchanges a timer with one below it. */
  #swap(above: Timer, below: Timer): void {
    const { index } = above
    this.#put(above, below.index)
    this.#put(below, index)
  }
}
