/** A run as a waterfall: a line for each run, step and tool call, with a bar for its time. */
import { cut, oneLine } from "../internal/text.ts"
import { isTerminal, type RunEvent } from "../RunEvent.ts"

interface Span {
  readonly depth: number
  readonly label: string
  readonly start: number
  end: number | undefined
  note: string
}

/** The parts of a run in the order in which they began. */
const spansOf = (events: ReadonlyArray<RunEvent>): ReadonlyArray<Span> => {
  const spans: Array<Span> = []
  const open = new Map<string, Span>()
  const begin = (key: string, depth: number, label: string, start: number) => {
    const span = { depth, label: oneLine(label), start, end: undefined, note: "" }
    spans.push(span)
    open.set(key, span)
  }
  const end = (key: string, at: number, note: string) => {
    const span = open.get(key)
    if (span === undefined) return
    span.end = at
    span.note = note
    open.delete(key)
  }
  for (const event of events) {
    const { at, path, runId } = event
    const depth = (path.length - 1) * 2
    const ofStep = "step" in event ? `${runId}/${event.step}` : runId
    if (event._tag === "RunStarted") begin(runId, depth, path.at(-1) ?? "", at)
    else if (event._tag === "StepStarted") begin(ofStep, depth + 1, `step ${event.step}`, at)
    else if (event._tag === "StepCompleted") end(ofStep, at, tokensOf(event.usage))
    else if (event._tag === "ToolCalled") begin(`${ofStep}/${event.toolCallId}`, depth + 2, event.tool, at)
    else if (event._tag === "ToolCompleted") end(`${ofStep}/${event.toolCallId}`, at, "")
    else if (event._tag === "ToolFailed") end(`${ofStep}/${event.toolCallId}`, at, "failed")
    else if (isTerminal(event)) end(runId, at, endOf(event))
  }
  return spans
}

type Usage = Extract<RunEvent, { readonly _tag: "StepCompleted" }>["usage"]

const tokensOf = ({ inputTokens, outputTokens }: Usage): string =>
  `${inputTokens.total ?? 0}+${outputTokens.total ?? 0} tokens`

const endOf = (event: Extract<RunEvent, { readonly durationMs: number; readonly spent: unknown }>): string => {
  switch (event._tag) {
    case "RunFailed":
      return `failed: ${cut(oneLine(event.message), 80)}`
    case "RunInterrupted":
      return "interrupted"
    case "RunSuspended":
      return `waits for ${event.waitingFor.length}`
    default:
      return ""
  }
}

const timeOf = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`)

/** Draws the events of one root run, in lines of about `width` characters. */
export const waterfall = (events: ReadonlyArray<RunEvent>, width: number): ReadonlyArray<string> => {
  const spans = spansOf(events)
  const first = events[0]
  const last = events.at(-1)
  if (first === undefined || last === undefined) return []
  const total = Math.max(last.at - first.at, 1)
  const labels = spans.map(({ depth, label }) => cut("  ".repeat(depth) + label, Math.max(Math.floor(width / 3), 16)))
  const labelWidth = Math.max(...labels.map(({ length }) => length))
  const barWidth = Math.max(width - labelWidth - 30, 10)
  const column = (at: number) => Math.min(Math.floor(((at - first.at) / total) * barWidth), barWidth - 1)
  return spans.map(({ end, note, start }, index) => {
    const from = column(start)
    const to = Math.max(column(end ?? last.at), from)
    const bar = `${" ".repeat(from)}${"█".repeat(to - from + 1)}`.padEnd(barWidth)
    const time = end === undefined ? "not ended" : timeOf(end - start)
    return `${labels[index]!.padEnd(labelWidth)} ${bar} ${time.padStart(9)}${note === "" ? "" : `  ${note}`}`
  })
}
