/** What a run shows while it runs: a pure state fed with events, and its lines on a terminal. */
import type { RunEvent } from "../RunEvent.ts"
import { labelOf, seconds, tokensOf } from "../internal/render.ts"
import { cut, oneLine } from "../internal/text.ts"

interface Running {
  readonly label: string
  readonly startedAt: number
  step: number
  tool: string | undefined
  characters: number
}

/** The state of all runs of one tree. */
export class Progress {
  readonly #running = new Map<string, Running>()
  #tokens = 0
  #done = 0
  #failed = 0

  /** Takes an event. */
  push(event: RunEvent): void {
    switch (event._tag) {
      case "RunStarted": {
        const label = labelOf(event.path)
        this.#running.set(event.runId, { label, startedAt: event.at, step: 0, tool: undefined, characters: 0 })
        return
      }
      case "StepStarted":
        return this.#change(event.runId, (run) => {
          run.step = event.step
          run.tool = undefined
        })
      case "TextDelta":
        return this.#change(event.runId, (run) => {
          run.characters += event.delta.length
        })
      case "ToolCalled":
        return this.#change(event.runId, (run) => {
          run.tool = event.tool
        })
      case "StepCompleted":
        this.#tokens += tokensOf(event.usage)
        return
      case "RunFailed":
        this.#failed++
        return this.#end(event.runId)
      case "RunCompleted":
      case "RunInterrupted":
      case "RunSuspended":
        return this.#end(event.runId)
      default:
        return
    }
  }

  #change(runId: string, f: (run: Running) => void): void {
    const run = this.#running.get(runId)
    if (run !== undefined) f(run)
  }

  #end(runId: string): void {
    this.#running.delete(runId)
    this.#done++
  }

  /** The lines of a live display: what runs and for how long, and the tokens so far. At most `rows` lines. */
  render(now: number, columns: number, rows: number): ReadonlyArray<string> {
    const runs = [...this.#running.values()].filter((run) => run.step > 0)
    const shown = runs.slice(0, Math.max(1, rows - 2)).map((run) => {
      const doing =
        run.tool === undefined
          ? run.characters > 0
            ? `writes, ${run.characters} characters`
            : "thinks"
          : `runs ${oneLine(run.tool)}`
      return `  ${run.label}  step ${run.step}, ${doing}, ${seconds(now - run.startedAt)}`
    })
    const more = runs.length > shown.length ? [`  and ${runs.length - shown.length} more`] : []
    const failed = this.#failed > 0 ? `, ${this.#failed} failed` : ""
    return [`${runs.length} running, ${this.#done} done${failed}, ${this.#tokens} tokens`, ...shown, ...more].map(
      (line) => cut(line, columns)
    )
  }
}
