/** What a run shows while it runs: a pure state fed with events, and its two renderings. */
import type { RunEvent } from "../RunEvent.ts"
import { oneLine } from "../internal/text.ts"

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

  /** Takes an event; gives the line that a terminal without cursor control shows for it, if any. */
  push(event: RunEvent): string | undefined {
    const label = labelOf(event.path)
    switch (event._tag) {
      case "RunStarted":
        this.#running.set(event.runId, { label, startedAt: event.at, step: 0, tool: undefined, characters: 0 })
        return event.path.length === 1 ? undefined : `${label}: started`
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
        this.#change(event.runId, (run) => {
          run.tool = event.tool
        })
        return `${label}: calls ${oneLine(event.tool)}`
      case "ToolFailed":
        return `${label}: ${oneLine(event.tool)} failed`
      case "StepCompleted":
        this.#tokens += (event.usage.inputTokens.total ?? 0) + (event.usage.outputTokens.total ?? 0)
        return undefined
      case "StepRetried":
        return `${label}: tries again (${cut(oneLine(event.reason), 160)})`
      case "TurnReplaced":
        return `${label}: answers again (${event.by})`
      case "RunCompleted":
        return this.#end(
          event.runId,
          `${label}: done in ${seconds(event.durationMs)}, ${tokensOf(event.spent.usage)} tokens`
        )
      case "RunFailed":
        this.#failed++
        return this.#end(event.runId, `${label}: failed after ${seconds(event.durationMs)}`)
      case "RunInterrupted":
        return this.#end(event.runId, `${label}: interrupted after ${seconds(event.durationMs)}`)
      default:
        return undefined
    }
  }

  #change(runId: string, f: (run: Running) => void): undefined {
    const run = this.#running.get(runId)
    if (run !== undefined) f(run)
    return undefined
  }

  #end(runId: string, line: string): string {
    this.#running.delete(runId)
    this.#done++
    return line
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

const labelOf = (path: ReadonlyArray<string>): string =>
  oneLine(path.length > 1 ? path.slice(1).join(" > ") : path.join(""))
const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`

interface Usage {
  readonly inputTokens: { readonly total?: number | undefined }
  readonly outputTokens: { readonly total?: number | undefined }
}
const tokensOf = (usage: Usage): number => (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0)
