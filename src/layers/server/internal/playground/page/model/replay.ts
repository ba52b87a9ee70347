/** A run that was kept, at any moment of it. */
import type { ClientEvent } from "./events.ts"
import { RunModel } from "./run.ts"

/** How many characters of events are kept to be looked at again. */
const maxChars = 16_000_000

/** The events of a run, and the run as it was at a moment. */
export class Replay {
  readonly #name: string
  #events: Array<ClientEvent> = []
  #chars = 0
  #model: RunModel | undefined
  #taken = 0

  constructor(name: string) {
    this.#name = name
  }

  /** Adds the next event. */
  add(event: ClientEvent): void {
    this.#chars += JSON.stringify(event).length
    this.#events.push(event)
    // A run too large to be kept twice is not looked at again.
    if (this.#chars > maxChars) this.#events = []
  }

  /** Whether there is anything to look at again. */
  get isPossible(): boolean {
    return this.#chars <= maxChars && this.durationMs > 0
  }

  get durationMs(): number {
    const [first, last] = [this.#events[0], this.#events.at(-1)]
    return first === undefined || last === undefined ? 0 : last.at - first.at
  }

  /** The run as it was so many milliseconds after its start. */
  at(ms: number): RunModel {
    const first = this.#events[0]
    const until = (first?.at ?? 0) + ms
    if (this.#model === undefined || (this.#events[this.#taken - 1]?.at ?? 0) > until) {
      this.#model = new RunModel(this.#name)
      this.#taken = 0
    }
    const model = this.#model
    for (let event = this.#events[this.#taken]; event !== undefined && event.at <= until;) {
      model.apply(event)
      event = this.#events[++this.#taken]
    }
    model.now = until
    return model
  }
}
