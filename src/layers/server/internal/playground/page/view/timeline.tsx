/** Runs as waterfalls: a line for each run, text, tool call and decision, with a bar for its time. */
import type { TargetedKeyboardEvent, VNode } from "preact"
import { useEffect, useState } from "preact/hooks"
import { counted, cut, dollars, duration } from "../model/format.ts"
import type { RunModel } from "../model/run.ts"
import { rowsOf, type Span } from "../model/spans.ts"
import { Bill, Dot, Hidden, Json, statusName } from "./parts.tsx"

/** How many lines are drawn: the root and the latest. */
const maxRows = 500

interface Props {
  readonly runs: ReadonlyArray<RunModel>
  readonly expose: ReadonlyArray<string>
}

/** The runs of a turn, or one that was kept. */
export const Timeline = ({ expose, runs }: Props): VNode => {
  const [chosen, setChosen] = useState<Span>()
  const isRunning = runs.some(({ status }) => status === "running")
  useTicking(isRunning)
  const isShown = chosen !== undefined && runs.some(({ root }) => root !== undefined && rootOf(chosen) === root)
  return (
    <div class="timeline">
      {runs.length === 0 && <p class="hint">What happens in a run is shown here, as it happens.</p>}
      {runs.map((run) => (
        <Waterfall key={run.runId} run={run} chosen={isShown ? chosen : undefined} onChoose={setChosen} />
      ))}
      {isShown && <Details span={chosen} onClose={() => setChosen(undefined)} />}
      <Hidden expose={expose} />
    </div>
  )
}

const rootOf = (span: Span): Span => (span.parent === undefined ? span : rootOf(span.parent))

/** Draws again now and then, so that bars of what is under way grow. */
const useTicking = (isRunning: boolean): void => {
  const [, tick] = useState(0)
  useEffect(() => {
    if (!isRunning) return
    const timer = setInterval(() => tick((count) => count + 1), 250)
    return () => clearInterval(timer)
  }, [isRunning])
}

interface WaterfallProps {
  readonly run: RunModel
  readonly chosen: Span | undefined
  readonly onChoose: (span: Span) => void
}

/** The time that the last event came, by the clock of the page, for each run. */
const arrivals = new WeakMap<RunModel, readonly [seq: number, at: number]>()

/** What the server's clock says now, about. */
const nowOf = (run: RunModel): number => {
  if (run.isOver) return run.root?.end ?? run.lastAt
  if (run.now !== undefined) return run.now
  const known = arrivals.get(run)
  if (known === undefined || known[0] !== run.lastSeq) arrivals.set(run, [run.lastSeq, performance.now()])
  return run.lastAt + performance.now() - (arrivals.get(run)?.[1] ?? 0)
}

const Waterfall = ({ chosen, onChoose, run }: WaterfallProps): VNode | null => {
  const { root } = run
  if (root === undefined) return null
  const all = rowsOf(root)
  const rows = all.length <= maxRows ? all : [root, ...all.slice(1 - maxRows)]
  const now = nowOf(run)
  const total = Math.max(1, now - root.start)
  return (
    <section class="waterfall" aria-label={`Timeline of ${root.label}`}>
      <header>
        <Bill runs={[run]} />
      </header>
      {run.dropped.spans > 0 && (
        <p class="hint">{counted(run.dropped.spans, "older part")} of this run are not kept.</p>
      )}
      {run.dropped.chars > 0 && <p class="hint">Contents of older parts are not kept.</p>}
      {rows.length < all.length && (
        <p class="hint">{counted(all.length - rows.length, "part")} in between are not shown.</p>
      )}
      <div class="axis" aria-hidden="true">
        <span>0</span>
        <span>{duration(total / 2)}</span>
        <span>{duration(total)}</span>
      </div>
      <div class="rows" onKeyDown={move}>
        {rows.map((span) => (
          <Row
            key={span.key}
            span={span}
            from={root.start}
            total={total}
            now={now}
            isChosen={span === chosen}
            onChoose={onChoose}
          />
        ))}
      </div>
    </section>
  )
}

/** The arrows go from line to line. */
const move = (event: TargetedKeyboardEvent<HTMLDivElement>): void => {
  const buttons = [...event.currentTarget.querySelectorAll("button")]
  const at = buttons.findIndex((button) => button === document.activeElement)
  const next =
    event.key === "ArrowDown"
      ? at + 1
      : event.key === "ArrowUp"
        ? at - 1
        : event.key === "Home"
          ? 0
          : event.key === "End"
            ? buttons.length - 1
            : undefined
  if (next === undefined) return
  event.preventDefault()
  buttons[Math.max(0, Math.min(buttons.length - 1, next))]?.focus()
}

interface RowProps {
  readonly span: Span
  readonly from: number
  readonly total: number
  readonly now: number
  readonly isChosen: boolean
  readonly onChoose: (span: Span) => void
}

const kinds: Readonly<Record<Span["kind"], string>> = {
  run: "run",
  text: "text",
  reasoning: "reasoning",
  tool: "tool call",
  note: "decision"
}

const Row = ({ from, isChosen, now, onChoose, span, total }: RowProps): VNode => {
  const end = span.end ?? now
  const left = Math.min(99.5, (Math.max(0, span.start - from) / total) * 100)
  const width = Math.max(0.6, Math.min(100 - left, ((end - span.start) / total) * 100))
  const time = span.kind === "note" ? "" : duration(end - span.start)
  const isText = span.kind === "text" || span.kind === "reasoning"
  return (
    <button
      type="button"
      class="row"
      data-kind={span.kind}
      data-status={span.status}
      aria-pressed={isChosen}
      aria-label={`${kinds[span.kind]} ${span.label}, ${statusName(span.status)}, ${time}`}
      onClick={() => onChoose(span)}
    >
      <span class="label" style={{ paddingInlineStart: `${Math.min(span.depth, 12) * 12}px` }}>
        {span.kind === "run" || span.kind === "tool" ? <Dot status={span.status} /> : <i class="tick" />}
        <span class="name">
          {cut(span.label, 80)}
          {isText && <span class="preview"> {cut(span.text.slice(0, 80), 60)}</span>}
        </span>
      </span>
      <span class="track">
        <span class="bar" style={{ left: `${left}%`, width: `${width}%` }} />
      </span>
      <span class="time">{time}</span>
    </button>
  )
}

const Details = ({ onClose, span }: { readonly span: Span; readonly onClose: () => void }): VNode => (
  <aside class="details" aria-label={`Details of ${cut(span.label, 80)}`}>
    <header>
      <h3>
        {kinds[span.kind]} <code>{cut(span.label, 120)}</code>
      </h3>
      <button type="button" class="link" onClick={onClose}>
        Close
      </button>
    </header>
    <dl>
      <dt>State</dt>
      <dd>{statusName(span.status)}</dd>
      <dt>Began after</dt>
      <dd>{duration(span.start - rootOf(span).start)}</dd>
      {span.end !== undefined && span.kind !== "note" && (
        <>
          <dt>Took</dt>
          <dd>{duration(span.end - span.start)}</dd>
        </>
      )}
      {span.tokens > 0 && (
        <>
          <dt>Used</dt>
          <dd>
            {counted(span.tokens, "token")} in {counted(span.steps, "step")}
            {span.cost === undefined ? "" : `, ${dollars(span.cost)}`}
          </dd>
        </>
      )}
    </dl>
    {span.cut > 0 && <p class="hint">{counted(span.cut, "character")} of its contents are not kept.</p>}
    {span.text !== "" && <Json label={span.kind === "tool" ? "Arguments, as they come" : "Text"} value={span.text} />}
    {span.params !== undefined && <Json label="Arguments" value={span.params} />}
    {span.result !== undefined && <Json label={span.kind === "run" ? "Output" : "Result"} value={span.result} />}
  </aside>
)
