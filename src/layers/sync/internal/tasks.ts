/** The tasks that fibers have scheduled, in the order of Effect's own dispatchers. */

const none: ReadonlyArray<() => void> = []

/** Tasks run in batches: what a batch schedules comes after it, so timers and messages get their turn in between. */
export class Tasks {
  #buckets: Array<[priority: number, tasks: Array<() => void>]> = []
  #batch: ReadonlyArray<() => void> = none
  #next = 0

  get isEmpty(): boolean {
    return this.#next >= this.#batch.length && this.#buckets.length === 0
  }

  push(task: () => void, priority: number): void {
    const buckets = this.#buckets
    let index = buckets.length
    while (index > 0 && buckets[index - 1]![0] > priority) index--
    const bucket = buckets[index - 1]
    if (bucket !== undefined && bucket[0] === priority) bucket[1].push(task)
    else buckets.splice(index, 0, [priority, [task]])
  }

  /** Runs one batch. Called from within a task it goes on with the batch that the task is part of. */
  run(): void {
    if (this.#next >= this.#batch.length) {
      const buckets = this.#buckets
      this.#batch = buckets.length === 1 ? buckets[0]![1] : buckets.flatMap(([, tasks]) => tasks)
      this.#buckets = []
      this.#next = 0
    }
    const batch = this.#batch
    while (batch === this.#batch && this.#next < batch.length) batch[this.#next++]!()
    if (batch === this.#batch) this.#batch = none
  }
}
