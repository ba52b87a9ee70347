/** Runs that went on with answers, and did nothing but refuse one of them. */
import type { RunEvent } from "../RunEvent.ts"
import { tagOf } from "./clientError.ts"

/** The events of a run that has called no model and no tool. */
const idle: ReadonlySet<RunEvent["_tag"]> = new Set([
  "RunStarted",
  "StepStarted",
  "ItemCompleted",
  "RunFailed",
  "RunInterrupted"
])

/**
 * Reads the events of a run one by one. A run that ended because an answer does not count, and had done nothing, can be made again
 * with another answer.
 */
export class Refusal {
  #isRefused = false
  #hasWorked = false

  /** True once the run cannot be one that only refused. */
  get hasWorked(): boolean {
    return this.#hasWorked
  }

  /** Whether what was read is a whole run that only refused an answer. */
  get isOne(): boolean {
    return this.#isRefused && !this.#hasWorked
  }

  read(event: RunEvent): void {
    if (event._tag === "RunFailed" && tagOf(event.error) === "InvalidApproval") this.#isRefused = true
    else if (!idle.has(event._tag)) this.#hasWorked = true
  }
}
