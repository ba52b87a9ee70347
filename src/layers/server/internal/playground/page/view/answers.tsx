/** What a run waits for: calls to approve, tools of the client, events from outside. */
import type { VNode } from "preact"
import { useState } from "preact/hooks"
import type { Answer, Turn } from "../model/chat.ts"
import type { Waiting } from "../model/events.ts"
import { cut, pretty } from "../model/format.ts"
import type { Store } from "../store.ts"
import { JsonField, useWritten } from "./editor.tsx"
import { submitting } from "./parts.tsx"

interface Props {
  readonly turn: Turn
  readonly waitingFor: ReadonlyArray<Waiting>
  readonly store: Store
}

/** Asks for an answer to each, and goes on with the run when all are there. */
export const Answers = ({ store, turn, waitingFor }: Props): VNode => {
  const [answers, setAnswers] = useState<ReadonlyMap<string, Answer>>(new Map())
  const answer = (id: string, given: Answer) => {
    const all = new Map(answers).set(id, given)
    setAnswers(all)
    if (all.size === waitingFor.length) void store.answer(turn, all)
  }
  return (
    <div class="answers">
      {waitingFor.map((waiting) => (
        <Card
          key={waiting.id}
          waiting={waiting}
          given={answers.get(waiting.id)}
          onAnswer={(given) => answer(waiting.id, given)}
        />
      ))}
    </div>
  )
}

interface CardProps {
  readonly waiting: Waiting
  readonly given: Answer | undefined
  readonly onAnswer: (answer: Answer) => void
}

const Card = ({ given, onAnswer, waiting }: CardProps): VNode => {
  if (given !== undefined) {
    const what = "value" in given ? "answered" : given.approved ? "approved" : "rejected"
    return (
      <p class="note">
        {cut(nameOf(waiting), 100)}: {what}. Answer the others to go on.
      </p>
    )
  }
  return waiting.kind === "approval" ? (
    <Approval waiting={waiting} onAnswer={onAnswer} />
  ) : (
    <Value waiting={waiting} onAnswer={onAnswer} />
  )
}

const nameOf = (waiting: Waiting): string => (waiting.kind === "event" ? waiting.name : waiting.tool)

type ApprovalOf = Extract<Waiting, { readonly kind: "approval" }>

interface ApprovalProps {
  readonly waiting: ApprovalOf
  readonly onAnswer: (answer: Answer) => void
}

/** A call that may be approved as it is, changed, or rejected. */
const Approval = ({ onAnswer, waiting }: ApprovalProps): VNode => {
  const shown = waiting.params === undefined ? "" : pretty(waiting.params, Number.MAX_SAFE_INTEGER)
  const written = useWritten(shown)
  const isChanged = written.text.trim() !== shown
  const approve = () => {
    if (!isChanged) return onAnswer({ approved: true })
    const parsed = written.read()
    if (parsed !== undefined) onAnswer({ approved: true, params: parsed.value })
  }
  const id = `approval-${waiting.id}`
  return (
    <form class="card" aria-labelledby={`${id}-title`} onSubmit={submitting(approve)}>
      <h3 id={`${id}-title`}>
        May <code>{cut(waiting.tool, 100)}</code> be called?
      </h3>
      <JsonField
        id={`${id}-params`}
        label={isChanged ? "Arguments, changed" : "Arguments"}
        written={written}
        placeholder="Hidden by this server. JSON here replaces the arguments."
      />
      {waiting.params === undefined && (
        <p class="hint">
          The arguments are hidden. To see them, give the server <code>expose: ["arguments"]</code>.
        </p>
      )}
      <div class="actions">
        <button type="submit" class="primary">
          {isChanged ? "Approve with changes" : "Approve"}
        </button>
        <Rejection onAnswer={onAnswer} />
      </div>
    </form>
  )
}

const Rejection = ({ onAnswer }: Pick<ApprovalProps, "onAnswer">): VNode => {
  const [text, setText] = useState("")
  const reason = text.trim()
  return (
    <>
      <input
        aria-label="Reason to reject"
        placeholder="Reason to reject (optional)"
        value={text}
        maxLength={2000}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button
        type="button"
        class="danger"
        onClick={() => onAnswer({ approved: false, ...(reason === "" ? {} : { reason }) })}
      >
        Reject
      </button>
    </>
  )
}

interface ValueProps {
  readonly waiting: Exclude<Waiting, ApprovalOf>
  readonly onAnswer: (answer: Answer) => void
}

/** A result of a tool that this client runs, or the value of an event. */
const Value = ({ onAnswer, waiting }: ValueProps): VNode => {
  const written = useWritten("")
  const send = () => {
    const parsed = written.read()
    if (parsed !== undefined) onAnswer({ value: parsed.value })
  }
  return (
    <form class="card" onSubmit={submitting(send)}>
      <h3>
        {waiting.kind === "event" ? "The run waits for " : "The result of "}
        <code>{cut(nameOf(waiting), 100)}</code>
      </h3>
      {waiting.kind === "client-tool" && <pre>{pretty(waiting.params, 5000)}</pre>}
      <JsonField id={`value-${waiting.id}`} label="JSON" written={written} />
      <div class="actions">
        <button type="submit" class="primary">
          Send
        </button>
      </div>
    </form>
  )
}
