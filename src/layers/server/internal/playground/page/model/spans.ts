/** The parts of a run: runs, texts, tool calls and decisions, each with its time. */
import type { Usage } from "./events.ts"

/** What a part is. */
export type SpanKind = "run" | "text" | "reasoning" | "tool" | "note"

/** The state of a part. `discarded`: a retry has made it void. */
export type SpanStatus =
  | "running"
  | "waiting"
  | "completed"
  | "failed"
  | "interrupted"
  | "suspended"
  | "denied"
  | "discarded"

/** A part of a run. */
export interface Span {
  /** Grows in the order in which parts began. */
  readonly key: number
  readonly kind: SpanKind
  /** The run that it belongs to; `undefined` for the root. */
  readonly parent: Span | undefined
  readonly depth: number
  /** The names of the runners below the root. */
  readonly path: ReadonlyArray<string>
  readonly label: string
  /** True for a note that a nested run says better. */
  readonly isMinor: boolean
  /** The `seq` of its first event. */
  readonly seq: number
  /** In milliseconds since the epoch, by the server's clock. */
  readonly start: number
  end: number | undefined
  status: SpanStatus
  /** Text, reasoning, or arguments as the model writes them. */
  text: string
  /** How many characters of it are not kept. */
  cut: number
  readonly toolCallId: string | undefined
  /** `undefined` where the server does not show it, or it has not come. */
  params: unknown
  result: unknown
  /** Characters that it takes. */
  size: number
  tokens: number
  cost: number | undefined
  steps: number
  children: Array<Span>
}

/** What became of the runs at one path, or of the calls of one tool. */
export interface Seen {
  count: number
  open: number
  failed: number
  interrupted: number
  waiting: number
  ms: number
}

/** A handoff that happened, and how often. */
export interface Handed {
  /** Of the workflow, below the root. */
  readonly path: ReadonlyArray<string>
  readonly from: string
  readonly to: string
  readonly count: number
}

/** A path as a key. */
export const pathKey = (path: ReadonlyArray<string>): string => JSON.stringify(path)

/** Input and output tokens. */
export const tokensOf = ({ inputTokens, outputTokens }: Usage): number =>
  (inputTokens.total ?? 0) + (outputTokens.total ?? 0)

/** The parts in the order of a tree: each run's own below it, branches one after the other. */
export const rowsOf = (root: Span): ReadonlyArray<Span> => {
  const rows: Array<Span> = []
  const left = [root]
  for (let span = left.pop(); span !== undefined; span = left.pop()) {
    rows.push(span)
    for (let i = span.children.length - 1; i >= 0; i--) left.push(span.children[i]!)
  }
  return rows
}

/** True for a part that is over. */
export const isOver = ({ end }: Span): boolean => end !== undefined

/** The state of what is seen at one path, for a graph. */
export const statusOf = ({ failed, interrupted, open, waiting }: Seen): SpanStatus =>
  open > 0
    ? "running"
    : failed > 0
      ? "failed"
      : waiting > 0
        ? "suspended"
        : interrupted > 0
          ? "interrupted"
          : "completed"
