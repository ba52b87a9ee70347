/** The page as a whole. */
import type { VNode } from "preact"
import { useEffect, useState } from "preact/hooks"
import { lastRun, waitingOf } from "../model/chat.ts"
import { clock, cut } from "../model/format.ts"
import type { Panel, Store, Trace } from "../store.ts"
import { Answers } from "./answers.tsx"
import { ChatView, RunView } from "./chat.tsx"
import { GraphView } from "./graph.tsx"
import { Bill, Problem, submitting } from "./parts.tsx"
import { ReplayBar } from "./replay.tsx"
import { Sidebar } from "./sidebar.tsx"
import { ThemeButton } from "./theme.tsx"
import { Timeline } from "./timeline.tsx"

/** All of it. It is drawn again whenever something changes. */
export const App = ({ store }: { readonly store: Store }): VNode => {
  const [isOpen, setOpen] = useState(false)
  useEffect(() => {
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return
      setOpen(false)
      const turn = store.view.kind === "chat" ? store.chat?.turns.at(-1) : store.turn
      if (turn?.isStreaming === true) void store.cancel(turn)
    }
    addEventListener("keydown", escape)
    return () => removeEventListener("keydown", escape)
  }, [store])
  if (store.tokenAsked !== undefined) return <TokenForm store={store} />
  return (
    <div class={isOpen ? "app open" : "app"} data-panel={store.panel}>
      <aside class="sidebar" id="sidebar">
        <header class="brand">
          <h1>Troupe</h1>
          <ThemeButton />
        </header>
        <Sidebar store={store} onChosen={() => setOpen(false)} />
      </aside>
      <button type="button" class="shade" aria-label="Close the lists" tabIndex={-1} onClick={() => setOpen(false)} />
      <header class="topbar">
        <button
          type="button"
          class="menu"
          aria-expanded={isOpen}
          aria-controls="sidebar"
          onClick={() => setOpen(!isOpen)}
        >
          <span aria-hidden="true">☰</span> {titleOf(store)}
        </button>
        <ThemeButton />
      </header>
      <main>
        {store.problem !== undefined && (
          <p class="problem" role="alert">
            {store.problem}{" "}
            <button type="button" class="link" onClick={() => void store.load()}>
              Try again
            </button>
          </p>
        )}
        <Main store={store} />
      </main>
      <Inspector store={store} />
      <Tabs store={store} />
    </div>
  )
}

const titleOf = ({ chat, view }: Store): string =>
  view.kind === "trace" ? cut(view.trace.row.runner, 40) : view.kind === "chat" ? (chat?.runner.name ?? "") : "Troupe"

const Main = ({ store }: { readonly store: Store }): VNode => {
  const { chat, info, view } = store
  if (view.kind === "trace") return <TraceView trace={view.trace} store={store} />
  if (view.kind === "chat" && chat !== undefined) return <ChatView chat={chat} store={store} />
  return (
    <div class="welcome">
      <h2>{info?.runners === false ? "Past runs" : "Troupe"}</h2>
      <p>{info?.runners === false ? "Choose a run to see what happened in it." : "Loading…"}</p>
    </div>
  )
}

/** A run that was kept, as a conversation shows it. It goes on from here where it waits for answers. */
const TraceView = ({ store, trace }: { readonly trace: Trace; readonly store: Store }): VNode => {
  const { isLoading, isWaiting, problem, row, turn } = trace
  const waitingFor = isWaiting ? waitingOf(turn) : []
  return (
    <section class="chat" aria-label={`Run of ${row.runner}`}>
      <div class="turns" tabIndex={0}>
        <header class="trace">
          <h2>{cut(row.runner, 80)}</h2>
          <p class="hint">
            {clock(row.startedAt, Date.now())} · <code>{row.runId}</code>
            {row.session === undefined ? "" : ` · session ${cut(row.session, 60)}`}
          </p>
        </header>
        {isLoading && <p class="pending">Loading…</p>}
        <Problem text={problem} />
        <article class="turn">
          {turn.runs.map((run, index) => (
            <RunView key={run.runId} run={run} isLast={index === turn.runs.length - 1} />
          ))}
          <Problem text={turn.problem} />
          {turn.runs.length > 1 && <Bill runs={turn.runs} />}
        </article>
        {waitingFor.length > 0 && (
          <Answers key={lastRun(turn)?.runId} turn={turn} waitingFor={waitingFor} store={store} />
        )}
      </div>
    </section>
  )
}

const Inspector = ({ store }: { readonly store: Store }): VNode => {
  const { chat, runs, view } = store
  const runner = view.kind === "trace" ? view.trace.row.runner : chat?.runner.name
  const expose = store.info?.expose ?? []
  return (
    <aside class="inspector" aria-label="What happens">
      {view.kind === "trace" && !view.trace.isLoading && view.trace.replay.isPossible && (
        <ReplayBar key={view.trace.row.runId} trace={view.trace} store={store} />
      )}
      <section class="pane timeline-pane">
        <h2>Timeline</h2>
        {store.info !== undefined && <Timeline runs={runs} expose={expose} />}
      </section>
      <section class="pane graph-pane">
        <h2>Graph</h2>
        <GraphView graph={runner === undefined ? undefined : store.graphs.get(runner)} runs={runs} />
      </section>
    </aside>
  )
}

const panels: ReadonlyArray<readonly [Panel, string]> = [
  ["chat", "Run"],
  ["timeline", "Timeline"],
  ["graph", "Graph"]
]

/** Which part is in front, where there is room for one. */
const Tabs = ({ store }: { readonly store: Store }): VNode => (
  <nav class="tabs" aria-label="Parts of the page">
    {panels.map(([panel, label]) => (
      <button type="button" aria-current={store.panel === panel ? "page" : undefined} onClick={() => store.show(panel)}>
        {label}
      </button>
    ))}
  </nav>
)

const TokenForm = ({ store }: { readonly store: Store }): VNode => {
  const [token, setToken] = useState("")
  return (
    <form
      class="token"
      onSubmit={submitting(() => {
        if (token.trim() !== "") void store.authorize(token.trim())
      })}
    >
      <h1>Troupe</h1>
      <p>{store.tokenAsked}</p>
      <label for="token">Bearer token</label>
      <input
        id="token"
        type="password"
        autocomplete="off"
        value={token}
        onInput={(event) => setToken(event.currentTarget.value)}
      />
      <p class="hint">This page keeps it in memory only: it is gone when the page is closed or loaded again.</p>
      <button type="submit" class="primary">
        Go on
      </button>
    </form>
  )
}
