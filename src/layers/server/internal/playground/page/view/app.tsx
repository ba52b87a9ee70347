/** The page as a whole. */
import type { VNode } from "preact"
import { useEffect, useState } from "preact/hooks"
import { lastRun } from "../model/chat.ts"
import { clock, cut } from "../model/format.ts"
import type { RunModel } from "../model/run.ts"
import type { Panel, Store, Trace } from "../store.ts"
import { ChatView, RunView } from "./chat.tsx"
import { GraphView } from "./graph.tsx"
import { submitting } from "./parts.tsx"
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
      const turn = store.view.kind === "chat" ? store.chat?.turns.at(-1) : undefined
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
  if (view.kind === "trace") return <TraceView trace={view.trace} />
  if (view.kind === "chat" && chat !== undefined) return <ChatView chat={chat} store={store} />
  return (
    <div class="welcome">
      <h2>{info?.runners === false ? "Past runs" : "Troupe"}</h2>
      <p>{info?.runners === false ? "Choose a run to see what happened in it." : "Loading…"}</p>
    </div>
  )
}

/** A run that was kept, as a conversation shows it. */
const TraceView = ({ trace: { isLoading, model, problem, row } }: { readonly trace: Trace }): VNode => (
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
      {problem !== undefined && <p class="problem">{problem}</p>}
      <RunView run={model} isLast />
    </div>
  </section>
)

/** The runs that are shown beside the conversation. */
const subject = (store: Store): { readonly runs: ReadonlyArray<RunModel>; readonly runner: string | undefined } => {
  const { chat, chosenTurn, view } = store
  if (view.kind === "trace") return { runs: [view.trace.model], runner: view.trace.row.runner }
  if (chat === undefined) return { runs: [], runner: undefined }
  const turn = chosenTurn !== undefined && chat.turns.includes(chosenTurn) ? chosenTurn : chat.turns.at(-1)
  return { runs: turn === undefined || lastRun(turn) === undefined ? [] : turn.runs, runner: chat.runner.name }
}

const Inspector = ({ store }: { readonly store: Store }): VNode => {
  const { runner, runs } = subject(store)
  const expose = store.info?.expose ?? []
  return (
    <aside class="inspector" aria-label="What happens">
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
