/** Small parts that the others are made of. */
import type { VNode } from "preact"
import { count, counted, dollars, duration, pretty } from "../model/format.ts"
import type { RunModel } from "../model/run.ts"
import type { SpanStatus } from "../model/spans.ts"

/** How a state is called. */
export const statusName = (status: SpanStatus | RunModel["status"]): string => {
  switch (status) {
    case "suspended":
      return "waits for an answer"
    case "waiting":
      return "waits for approval"
    case "interrupted":
      return "cancelled"
    case "lost":
      return "connection lost"
    default:
      return status
  }
}

/**
 * Whether the focus may be moved: it is nowhere, or on what was used to come here. A device
 * without a keyboard moves none, since a field that is focused brings one up.
 */
export const isFocusFree = (): boolean => {
  const { activeElement } = document
  const isTaken = activeElement instanceof HTMLElement && activeElement.matches("input, textarea:enabled")
  return !isTaken && matchMedia("(hover: hover)").matches
}

/** A dot in the colour of a state. */
export const Dot = ({ status }: { readonly status: SpanStatus | RunModel["status"] }): VNode => (
  <span class={`dot ${status}`} role="img" aria-label={statusName(status)} title={statusName(status)} />
)

/** What is wrong, where something is. */
export const Problem = ({ id, text }: { readonly id?: string; readonly text: string | undefined }): VNode | null =>
  text === undefined ? null : (
    <p class="problem" role="alert" {...(id === undefined ? {} : { id })}>
      {text}
    </p>
  )

/** Keeps a form from being sent by the browser. */
export const submitting = (submit: () => void) => (event: { readonly preventDefault: () => void }) => {
  event.preventDefault()
  submit()
}

/** A value as JSON. */
export const Json = ({ label, value }: { readonly label: string; readonly value: unknown }): VNode => (
  <figure class="json">
    <figcaption>{label}</figcaption>
    <pre tabIndex={0}>{pretty(value)}</pre>
  </figure>
)

/** How long a run takes, in milliseconds, as far as its events say. */
const elapsedOf = ({ lastAt, now, root }: RunModel): number =>
  root === undefined ? 0 : (root.end ?? now ?? lastAt) - root.start

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

/** What runs that go on with each other took, and what the last one came to. Waiting for answers is not counted. */
export const Bill = ({ runs }: { readonly runs: ReadonlyArray<RunModel> }): VNode | null => {
  const last = runs.at(-1)
  if (last === undefined) return null
  const tokens = sum(runs.map((run) => run.tokens))
  const input = sum(runs.map(({ usage }) => usage?.inputTokens.total ?? 0))
  const output = sum(runs.map(({ usage }) => usage?.outputTokens.total ?? 0))
  const cached = sum(runs.map(({ usage }) => usage?.inputTokens.cacheRead ?? 0))
  const detail = `${count(input)} in, ${count(output)} out${cached > 0 ? `, ${count(cached)} from cache` : ""}`
  const costs = runs.flatMap(({ cost }) => cost ?? [])
  const isPartial = runs.some(({ isCostPartial }) => isCostPartial)
  const partial = "Some model calls have no known price, or this server does not show them."
  return (
    <span class="bill">
      <span class={`state ${last.status}`}>{statusName(last.status)}</span>
      <span>{duration(sum(runs.map(elapsedOf)))}</span>
      {tokens > 0 && <span title={last.isOver ? detail : undefined}>{counted(tokens, "token")}</span>}
      {costs.length > 0 && <span title={isPartial ? partial : undefined}>{dollars(sum(costs), isPartial)}</span>}
    </span>
  )
}

const names: Readonly<Record<string, string>> = {
  arguments: "arguments of tools",
  results: "results of tools",
  reasoning: "reasoning",
  nested: "nested runs",
  errors: "messages of errors"
}

/** What the server does not show, and how it would. */
export const Hidden = ({ expose }: { readonly expose: ReadonlyArray<string> }): VNode | null => {
  const hidden = Object.keys(names).filter((name) => !expose.includes(name))
  if (hidden.length === 0) return null
  return (
    <p class="hint">
      Hidden by this server: {hidden.map((name) => names[name]).join(", ")}. To show them, give it{" "}
      <code>
        expose: {JSON.stringify(Object.keys(names).filter((name) => expose.includes(name) || hidden.includes(name)))}
      </code>
      .
    </p>
  )
}
