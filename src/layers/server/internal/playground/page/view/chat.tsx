/** A conversation: what was asked, and what comes of it. */
import type { VNode } from "preact"
import { useEffect, useRef } from "preact/hooks"
import { type Chat, lastRun, type Sent, type Turn, waitingOf } from "../model/chat.ts"
import { counted, cut, duration, pretty } from "../model/format.ts"
import type { RunModel } from "../model/run.ts"
import type { Span } from "../model/spans.ts"
import type { Store } from "../store.ts"
import { Answers } from "./answers.tsx"
import { Composer } from "./composer.tsx"
import { Markdown } from "./markdown.tsx"
import { Bill, Dot, Json, Problem, statusName } from "./parts.tsx"

/** The conversation that is open. */
export const ChatView = ({ chat, store }: { readonly chat: Chat; readonly store: Store }): VNode => {
  const list = useRef<HTMLDivElement>(null)
  const isAtEnd = useRef(true)
  useEffect(() => {
    const { current } = list
    if (current !== null && isAtEnd.current) current.scrollTop = current.scrollHeight
  })
  const scrolled = () => {
    const { current } = list
    if (current === null) return
    isAtEnd.current = current.scrollHeight - current.scrollTop - current.clientHeight < 60
  }
  const turn = chat.turns.at(-1)
  const run = turn === undefined ? undefined : lastRun(turn)
  const waiting = waitingOf(turn)
  return (
    <section class="chat" aria-label={`Conversation with ${chat.runner.name}`}>
      <div class="turns" ref={list} onScroll={scrolled} role="log" aria-live="off" tabIndex={0}>
        {chat.turns.length === 0 && <Welcome chat={chat} />}
        {chat.dropped > 0 && <p class="hint">{chat.dropped} earlier turns are not kept by this page.</p>}
        {chat.turns.map((one) => (
          <TurnView key={one.key} turn={one} store={store} isChosen={store.chosenTurn === one} />
        ))}
        {turn !== undefined && run !== undefined && waiting.length > 0 && (
          <Answers key={run.runId} turn={turn} waitingFor={waiting} store={store} />
        )}
      </div>
      <p class="unseen" role="status">
        {run === undefined ? "" : `${chat.runner.name}: ${statusName(run.status)}`}
      </p>
      <Composer key={chat.runner.name} chat={chat} store={store} isWaiting={waiting.length > 0} />
    </section>
  )
}

const Welcome = ({ chat: { runner } }: { readonly chat: Chat }): VNode => (
  <div class="welcome">
    <h2>{runner.name}</h2>
    <p>{runner.description ?? "Give it an input to begin a run."}</p>
  </div>
)

interface TurnProps {
  readonly turn: Turn
  readonly store: Store
  readonly isChosen: boolean
}

const TurnView = ({ isChosen, store, turn }: TurnProps): VNode => (
  <article class={isChosen ? "turn chosen" : "turn"}>
    <div class="asked">
      {typeof turn.input === "string" ? <p>{cut(turn.input, 20_000)}</p> : <pre>{pretty(turn.input, 5000)}</pre>}
    </div>
    {turn.runs.map((run, index) => (
      <RunView key={run.runId} run={run} isLast={index === turn.runs.length - 1} />
    ))}
    {turn.sent.map((sent) => (
      <SentView key={sent.key} sent={sent} />
    ))}
    {turn.isStreaming && turn.runs.length === 0 && <p class="pending">Waiting for the server…</p>}
    <Problem text={turn.problem} />
    {turn.runs.length > 0 && (
      <button
        type="button"
        class="foot"
        aria-pressed={isChosen}
        title="Show this turn in the timeline and the graph"
        onClick={() => {
          store.chosenTurn = turn
          store.changed()
        }}
      >
        <Bill runs={turn.runs} />
      </button>
    )}
  </article>
)

const SentView = ({ sent: { delivery, state, text } }: { readonly sent: Sent }): VNode => (
  <div class="asked sent" data-state={state}>
    <p>{cut(text, 20_000)}</p>
    <small role="status">{fateOf(delivery, state)}</small>
  </div>
)

const fateOf = (delivery: Sent["delivery"], state: Sent["state"]): string => {
  switch (state) {
    case "waiting":
      return delivery === "steer" ? "waits for the next model call" : "waits for the end of the run"
    case "delivered":
      return "taken by the run"
    case "undelivered":
      return "not taken: the run ended without it"
    case "refused":
      return "refused by the server"
  }
}

/** How many parts of a run the conversation shows. */
const maxParts = 200

/** A run in the conversation. */
export const RunView = ({ isLast, run }: { readonly run: RunModel; readonly isLast: boolean }): VNode => {
  const { output, root } = run
  const parts = root?.children ?? []
  const texts = parts.filter(({ kind, status, text }) => kind === "text" && status !== "discarded" && text !== "")
  const isStructured = output !== undefined && output !== null && typeof output !== "string"
  const hidden = isStructured ? texts.at(-1) : undefined
  const hasRuns = parts.some(({ kind }) => kind === "run")
  const shown = parts.filter((span) => span !== hidden && (isLast || !isAnswered(span)) && !(span.isMinor && hasRuns))
  const isOutputShown = output !== undefined && (isStructured || texts.length === 0)
  return (
    <div class="run">
      {run.dropped.spans > 0 && <p class="hint">{run.dropped.spans} earlier parts of this run are not kept.</p>}
      {shown.length > maxParts && <p class="hint">{counted(shown.length - maxParts, "earlier part")} are not shown.</p>}
      {shown.slice(-maxParts).map((span) => (
        <Part key={span.key} span={span} />
      ))}
      {isOutputShown && typeof output === "string" && <Markdown text={output} />}
      {isOutputShown && typeof output !== "string" && <Json label="Output" value={output} />}
      {run.error !== undefined && (
        <p class="problem" role="alert">
          <strong>{run.error.tag}</strong>
          {run.error.message === undefined
            ? ' — the server does not show the message. To show it, give it expose: ["errors"].'
            : ` — ${cut(run.error.message, 4000)}`}
        </p>
      )}
      {run.problem !== undefined && <p class="problem">{run.problem}</p>}
      {isLast && run.status === "interrupted" && <p class="note">Cancelled.</p>}
    </div>
  )
}

/** A call that waited in a run stands in the one that went on as well. */
const isAnswered = ({ kind, status }: Span): boolean =>
  kind === "tool" && (status === "waiting" || status === "suspended")

const Part = ({ span }: { readonly span: Span }): VNode | null => {
  switch (span.kind) {
    case "text":
      return span.text === "" ? null : <TextPart span={span} />
    case "reasoning":
      return (
        <details class="reasoning" open={span.status === "running"}>
          <summary>{span.status === "discarded" ? "Discarded thoughts" : "Thoughts"}</summary>
          <p>{span.text}</p>
        </details>
      )
    case "tool":
      return <ToolPart span={span} />
    case "run":
      return <Branch span={span} />
    case "note":
      return <p class="note">{cut(span.label, 300)}</p>
  }
}

const TextPart = ({ span }: { readonly span: Span }): VNode => (
  <div class={span.status === "running" ? "said live" : "said"}>
    {span.cut > 0 && <p class="hint">The beginning of this text is not kept.</p>}
    <Markdown text={span.text} />
  </div>
)

const ToolPart = ({ span }: { readonly span: Span }): VNode => {
  const hasMore = span.params !== undefined || span.result !== undefined || span.text !== ""
  const time = span.end === undefined ? "" : duration(span.end - span.start)
  return (
    <details class="tool" data-status={span.status}>
      <summary>
        <Dot status={span.status} />
        <span class="name">{cut(span.label, 100)}</span>
        <span class="time">{time}</span>
      </summary>
      {span.text !== "" && <Json label="Arguments, as they come" value={span.text} />}
      {span.params !== undefined && <Json label="Arguments" value={span.params} />}
      {span.result !== undefined && (
        <Json label={span.status === "failed" ? "Failure" : "Result"} value={span.result} />
      )}
      {!hasMore && <p class="hint">Arguments and results are hidden by this server, or not there yet.</p>}
    </details>
  )
}

/** The text that a nested run has come to. */
const latest = (span: Span): string => {
  for (const child of span.children.toReversed()) {
    const text = child.kind === "run" ? latest(child) : child.kind === "text" ? child.text : ""
    if (text !== "") return text
  }
  return typeof span.result === "string" ? span.result : ""
}

/** A nested run, as a line of its own: its name, its state, and the end of its text. */
const Branch = ({ span }: { readonly span: Span }): VNode => {
  const text = latest(span)
  return (
    <details class="branch" data-status={span.status}>
      <summary>
        <Dot status={span.status} />
        <span class="name">{cut(span.label, 60)}</span>
        <span class="preview">{text.slice(-160).replaceAll(/[\s*`#]+/g, " ")}</span>
      </summary>
      {text === "" ? <p class="hint">It has no text yet.</p> : <Markdown text={text} />}
    </details>
  )
}
