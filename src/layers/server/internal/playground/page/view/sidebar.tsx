/** What there is to look at: runners, and runs that were kept. */
import type { VNode } from "preact"
import type { TraceRow } from "../api.ts"
import { clock, count, cut, duration } from "../model/format.ts"
import type { Store } from "../store.ts"
import { Dot } from "./parts.tsx"

/** Both lists. `onChosen`: what a choice closes, where there is room for little. */
export const Sidebar = ({ onChosen, store }: { readonly store: Store; readonly onChosen: () => void }): VNode => {
  const { info, runners, view } = store
  return (
    <div class="lists">
      {info?.runners === true && (
        <nav aria-label="Runners">
          <h2>Runners</h2>
          <ul>
            {runners.map((runner) => (
              <li>
                <button
                  type="button"
                  aria-current={view.kind === "chat" && store.chat?.runner.name === runner.name ? "page" : undefined}
                  onClick={() => {
                    store.openChat(runner)
                    onChosen()
                  }}
                >
                  <span class="name">{runner.name}</span>
                  {runner.description !== undefined && <span class="about">{cut(runner.description, 90)}</span>}
                </button>
              </li>
            ))}
          </ul>
        </nav>
      )}
      <Traces store={store} onChosen={onChosen} />
    </div>
  )
}

const Traces = ({ onChosen, store }: { readonly store: Store; readonly onChosen: () => void }): VNode | null => {
  const { hasMoreTraces, info, traces, tracesProblem, view } = store
  if (info === undefined) return null
  const chosen = view.kind === "trace" ? view.trace.row.runId : undefined
  return (
    <nav aria-label="Past runs">
      <h2>
        Past runs
        {info.traces && (
          <button type="button" class="link" onClick={() => void store.loadTraces()}>
            Refresh
          </button>
        )}
      </h2>
      {!info.traces && (
        <p class="hint">
          This server keeps none. Provide <code>TraceStore.layerMemory</code> to it.
        </p>
      )}
      {tracesProblem !== undefined && <p class="hint">{tracesProblem}</p>}
      {info.traces && tracesProblem === undefined && traces.length === 0 && <p class="hint">No run is kept yet.</p>}
      <ul>
        {traces.map((row) => (
          <li key={row.runId}>
            <TraceLine
              row={row}
              isChosen={row.runId === chosen}
              onChoose={() => {
                void store.openTrace(row)
                onChosen()
              }}
            />
          </li>
        ))}
      </ul>
      {hasMoreTraces && (
        <button type="button" class="link" onClick={() => void store.loadTraces(true)}>
          Older runs
        </button>
      )}
    </nav>
  )
}

interface LineProps {
  readonly row: TraceRow
  readonly isChosen: boolean
  readonly onChoose: () => void
}

const TraceLine = ({ isChosen, onChoose, row }: LineProps): VNode => {
  const tokens = row.inputTokens + row.outputTokens
  return (
    <button type="button" class="past" aria-current={isChosen ? "page" : undefined} onClick={onChoose}>
      <Dot status={row.status} />
      <span class="name">{cut(row.runner, 60)}</span>
      <span class="about">
        {clock(row.startedAt, Date.now())}
        {row.durationMs === undefined ? "" : ` · ${duration(row.durationMs)}`}
        {tokens === 0 ? "" : ` · ${count(tokens)} tokens`}
        {row.error === undefined ? "" : ` · ${cut(row.error, 40)}`}
      </span>
    </button>
  )
}
