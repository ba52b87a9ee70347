/** What a run waits for: calls to approve, tools of the client, events from outside. */
import type { VNode } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import type { Answer, Chat, Turn } from "../model/chat.ts"
import type { Waiting } from "../model/events.ts"
import { cut, pretty } from "../model/format.ts"
import { parse } from "../model/input.ts"
import type { RunModel } from "../model/run.ts"
import type { Store } from "../store.ts"
import { isFocusFree } from "./parts.tsx"

interface Props {
  readonly chat: Chat
  readonly turn: Turn
  readonly run: RunModel
  readonly store: Store
}

/** Asks for an answer to each, and goes on with the run when all are there. */
export const Answers = ({ chat, run, store, turn }: Props): VNode => {
  const [answers, setAnswers] = useState<ReadonlyMap<string, Answer>>(new Map())
  const answer = (id: string, given: Answer) => {
    const all = new Map(answers).set(id, given)
    setAnswers(all)
    if (all.size === run.waitingFor.length) void store.answer(chat, turn, run, all)
  }
  return (
    <div class="answers">
      {run.waitingFor.map((waiting) => (
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
  const shown = waiting.params === undefined ? undefined : pretty(waiting.params, Number.MAX_SAFE_INTEGER)
  const [text, setText] = useState(shown ?? "")
  const [reason, setReason] = useState("")
  const [problem, setProblem] = useState<string>()
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    if (isFocusFree()) area.current?.focus({ preventScroll: true })
  }, [])
  const isChanged = text.trim() !== (shown ?? "")
  const approve = () => {
    if (!isChanged) return onAnswer({ approved: true })
    const parsed = parse(text)
    if ("problem" in parsed) return setProblem(parsed.problem)
    onAnswer({ approved: true, params: parsed.value })
  }
  const id = `approval-${waiting.id}`
  return (
    <form
      class="card"
      aria-labelledby={`${id}-title`}
      onSubmit={(event) => {
        event.preventDefault()
        approve()
      }}
    >
      <h3 id={`${id}-title`}>
        May <code>{cut(waiting.tool, 100)}</code> be called?
      </h3>
      <label for={`${id}-params`}>{isChanged ? "Arguments, changed" : "Arguments"}</label>
      <textarea
        id={`${id}-params`}
        ref={area}
        class="code"
        spellcheck={false}
        rows={Math.min(14, Math.max(3, text.split("\n").length))}
        value={text}
        placeholder="Hidden by this server. JSON here replaces the arguments."
        onInput={(event) => {
          setText(event.currentTarget.value)
          setProblem(undefined)
        }}
      />
      {shown === undefined && (
        <p class="hint">
          The arguments are hidden. To see them, give the server <code>expose: ["arguments"]</code>.
        </p>
      )}
      {problem !== undefined && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="actions">
        <button type="submit" class="primary">
          {isChanged ? "Approve with changes" : "Approve"}
        </button>
        <input
          aria-label="Reason to reject"
          placeholder="Reason to reject (optional)"
          value={reason}
          maxLength={2000}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        <button
          type="button"
          class="danger"
          onClick={() => onAnswer({ approved: false, ...(reason.trim() === "" ? {} : { reason: reason.trim() }) })}
        >
          Reject
        </button>
      </div>
    </form>
  )
}

interface ValueProps {
  readonly waiting: Exclude<Waiting, ApprovalOf>
  readonly onAnswer: (answer: Answer) => void
}

/** A result of a tool that this client runs, or the value of an event. */
const Value = ({ onAnswer, waiting }: ValueProps): VNode => {
  const [text, setText] = useState("")
  const [problem, setProblem] = useState<string>()
  const id = `value-${waiting.id}`
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault()
        const parsed = parse(text)
        if ("problem" in parsed) return setProblem(parsed.problem)
        onAnswer({ value: parsed.value })
      }}
    >
      <h3>
        {waiting.kind === "event" ? "The run waits for " : "The result of "}
        <code>{cut(nameOf(waiting), 100)}</code>
      </h3>
      {waiting.kind === "client-tool" && <pre>{pretty(waiting.params, 5000)}</pre>}
      <label for={id}>JSON</label>
      <textarea
        id={id}
        class="code"
        rows={3}
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value)
          setProblem(undefined)
        }}
      />
      {problem !== undefined && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="actions">
        <button type="submit" class="primary">
          Send
        </button>
      </div>
    </form>
  )
}
