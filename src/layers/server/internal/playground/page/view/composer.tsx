/** Where an input is written: a text, or JSON that fits the runner's schema. */
import type { TargetedKeyboardEvent, VNode } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { type Chat, isChat } from "../model/chat.ts"
import { pretty } from "../model/format.ts"
import { isFocusFree } from "./parts.tsx"
import { parse, skeleton } from "../model/input.ts"
import type { Store } from "../store.ts"

interface Props {
  readonly chat: Chat
  readonly store: Store
  readonly isWaiting: boolean
}

/** Sends what is written. Enter sends a text; in JSON, Ctrl or Command with Enter does. */
export const Composer = ({ chat, isWaiting, store }: Props): VNode => {
  const isText = isChat(chat.runner)
  const [text, setText] = useState(() => (isText ? "" : pretty(skeleton(chat.runner.input))))
  const [problem, setProblem] = useState<string>()
  const area = useRef<HTMLTextAreaElement>(null)
  const turn = chat.turns.at(-1)
  const isStreaming = turn?.isStreaming === true
  useEffect(() => {
    if (!isWaiting && isFocusFree()) area.current?.focus({ preventScroll: true })
  }, [chat, isWaiting])
  const send = () => {
    if (isStreaming || isWaiting || text.trim() === "") return
    const parsed = isText ? { value: text } : parse(text, chat.runner.input)
    if ("problem" in parsed) return setProblem(parsed.problem)
    setProblem(undefined)
    if (isText) setText("")
    void store.send(chat, parsed.value)
  }
  const pressed = (event: TargetedKeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key !== "Enter" || event.isComposing) return
    const isSent = isText ? !event.shiftKey : event.ctrlKey || event.metaKey
    if (!isSent) return
    event.preventDefault()
    send()
  }
  const hint = isText ? "Enter sends, Shift+Enter begins a line" : "Ctrl+Enter sends"
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      {problem !== undefined && (
        <p class="problem" role="alert" id="input-problem">
          {problem}
        </p>
      )}
      <div class="field">
        <textarea
          ref={area}
          class={isText ? "" : "code"}
          aria-label={isText ? `Message to ${chat.runner.name}` : `Input of ${chat.runner.name}, as JSON`}
          aria-describedby={problem === undefined ? undefined : "input-problem"}
          placeholder={isWaiting ? "The run waits for your answer above" : `Message ${chat.runner.name}`}
          rows={Math.min(10, Math.max(isText ? 1 : 4, text.split("\n").length))}
          spellcheck={isText}
          disabled={isWaiting}
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value)
            setProblem(undefined)
          }}
          onKeyDown={pressed}
        />
        {isStreaming && turn !== undefined ? (
          <button type="button" class="danger" onClick={() => void store.cancel(turn)}>
            Cancel
          </button>
        ) : (
          <button type="submit" class="primary" disabled={isWaiting || text.trim() === ""}>
            Send
          </button>
        )}
      </div>
      <p class="keys">
        <span>
          {hint}
          {isStreaming ? ", Escape cancels" : ""}
        </span>
        <button type="button" class="link" onClick={() => store.restart()} disabled={chat.turns.length === 0}>
          New conversation
        </button>
      </p>
    </form>
  )
}
