/** Events of a run as text for people: a line for what happens, and the text of the answer between the lines. */
import type { RunEvent } from "../RunEvent.ts"
import type { WaitingFor } from "../services/Waiting.ts"
import { cut, oneLine, stripControls, stripControlsPieces } from "./text.ts"

/** The line for an event, without its end; `undefined` for an event without one. It has nothing of arguments and results. */
export const lineOf = (event: RunEvent): string | undefined => {
  const said = aboutRun(event)
  return said === undefined ? undefined : `${labelOf(event.path)}: ${said}`
}

const aboutRun = (event: RunEvent): string | undefined => {
  switch (event._tag) {
    case "RunStarted":
      return event.path.length === 1 ? undefined : "started"
    case "RunRetried":
    case "StepRetried":
      return `tries again (${cut(oneLine(event.reason), 160)})`
    case "TurnReplaced":
      return `answer replaced by ${oneLine(event.by)}`
    case "ToolCalled":
      return `calls ${oneLine(event.tool)}`
    case "ToolFailed":
      return `${oneLine(event.tool)} failed`
    case "ApprovalRequested":
      return `asks whether to call ${oneLine(event.tool)}`
    case "RouteTaken":
      return `goes to ${event.routes.map(oneLine).join(", ")}`
    case "RoundCompleted":
      return `round ${event.round} ${event.accepted ? "accepted" : "not accepted"}`
    case "PlanRevised":
      return "revised its plan"
    case "Compacted":
      return `shortens what it sends, from about ${event.before} to ${event.after} tokens (${oneLine(event.policy)})`
    case "HandedOff":
      return `${oneLine(event.from)} hands over to ${oneLine(event.to)}`
    case "StoppedEarly":
      return `stops at ${oneLine(event.gate)}`
    case "RunCompleted":
      return `done in ${seconds(event.durationMs)}, ${tokensOf(event.spent.usage)} tokens`
    case "RunFailed":
      return `failed after ${seconds(event.durationMs)}`
    case "RunSuspended":
      return `waits for ${event.waitingFor.map(whatFor).join(", ")}`
    case "RunInterrupted":
      return `interrupted after ${seconds(event.durationMs)}`
    default:
      return undefined
  }
}

const whatFor = (waiting: WaitingFor): string => {
  if (waiting.kind === "event") return `the event ${oneLine(waiting.name)}`
  return `${waiting.kind === "approval" ? "approval" : "the result"} of ${oneLine(waiting.tool)}`
}

/** The names of nested runs, without that of the root. */
export const labelOf = (path: ReadonlyArray<string>): string =>
  oneLine(path.length > 1 ? path.slice(1).join(" > ") : path.join(""))

/** A duration for people. */
export const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`

interface Usage {
  readonly inputTokens: { readonly total?: number | undefined }
  readonly outputTokens: { readonly total?: number | undefined }
}

/** The tokens of a usage, input and output. */
export const tokensOf = (usage: Usage): number => (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0)

/** The answer of the root run as it comes, for an output that can only be written to. */
export const answering = () => {
  const clean = stripControlsPieces()
  let written = false
  let isMidLine = false
  const write = (text: string): string => {
    if (text === "") return ""
    written = true
    isMidLine = !text.endsWith("\n")
    return text
  }
  const end = (): string => write(isMidLine ? "\n" : "")
  return {
    /** What an event adds to the text. */
    next: (event: RunEvent): string => {
      if (event.path.length > 1) return ""
      switch (event._tag) {
        case "TextDelta":
          return write(clean.next(event.delta))
        case "RunRetried":
        case "StepRetried":
        case "TurnReplaced":
          // What was written cannot be taken back, so a new attempt begins on a line of its own.
          return write(clean.rest()) + end()
        case "RunCompleted":
          return (
            write(clean.rest()) +
            (written || typeof event.output !== "string" ? "" : write(stripControls(event.output)))
          )
        case "RunFailed":
        case "RunSuspended":
        case "RunInterrupted":
          return write(clean.rest())
        default:
          return ""
      }
    },
    /** Ends the line that was begun. */
    end
  }
}

/** Lines and text in one: what an event adds. */
export const rendering = (): ((event: RunEvent) => string) => {
  const text = answering()
  return (event) => {
    const added = text.next(event)
    const line = lineOf(event)
    return line === undefined ? added : `${added}${text.end()}${line}\n`
  }
}
