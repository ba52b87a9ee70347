/** Where an input is written: a text, or JSON that fits the runner's schema. */
import type { TargetedKeyboardEvent, VNode } from "preact"
import { useEffect, useRef } from "preact/hooks"
import { type Chat, isChat, listening, type Sent } from "../model/chat.ts"
import { pretty } from "../model/format.ts"
import { skeleton } from "../model/input.ts"
import type { Store } from "../store.ts"
import { useWritten, type Written } from "./editor.tsx"
import { isFocusFree, Problem, submitting } from "./parts.tsx"

interface Props {
  readonly chat: Chat
  readonly store: Store
  readonly isWaiting: boolean
}

/** Sends what is written. Enter sends a text; in JSON, Ctrl or Command with Enter does. */
export const Composer = (props: Props): VNode => {
  const { chat, isWaiting, store } = props
  const isText = isChat(chat.runner)
  const written = useWritten(() => (isText ? "" : pretty(skeleton(chat.runner.input))))
  const turn = chat.turns.at(-1)
  const streaming = turn?.isStreaming === true ? turn : undefined
  const isEmpty = written.text.trim() === ""
  // What takes a text may have an agent in it that listens.
  const isListening = streaming !== undefined && isText && listening(streaming) !== undefined
  const tell = (delivery: Sent["delivery"]) => {
    if (streaming === undefined || !isListening || isEmpty) return
    void store.tell(streaming, written.text, delivery)
    written.setText("")
  }
  const send = () => {
    if (streaming !== undefined) return tell("steer")
    if (isWaiting || isEmpty) return
    const parsed = isText ? { value: written.text } : written.read(chat.runner.input)
    if (parsed === undefined) return
    if (isText) written.setText("")
    void store.send(chat, parsed.value)
  }
  return (
    <form class="composer" onSubmit={submitting(send)}>
      <Problem id="input-problem" text={written.problem} />
      <div class="field">
        <Input {...props} written={written} onSend={send} />
        {streaming === undefined ? (
          <button type="submit" class="primary" disabled={isWaiting || isEmpty}>
            Send
          </button>
        ) : (
          <>
            {isText && <Telling isPossible={isListening && !isEmpty} onQueue={() => tell("queue")} />}
            <button type="button" class="danger" onClick={() => void store.cancel(streaming)}>
              Cancel
            </button>
          </>
        )}
      </div>
      <p class="keys">
        <span>
          {!isText
            ? "Ctrl+Enter sends"
            : streaming === undefined
              ? "Enter sends, Shift+Enter begins a line"
              : "Enter steers the run"}
          {streaming === undefined ? "" : ", Escape cancels"}
        </span>
        <button type="button" class="link" onClick={() => store.restart()} disabled={turn === undefined}>
          New conversation
        </button>
      </p>
    </form>
  )
}

interface TellingProps {
  readonly isPossible: boolean
  readonly onQueue: () => void
}

/** For a run under way. */
const Telling = ({ isPossible, onQueue }: TellingProps): VNode => (
  <>
    <button type="submit" class="primary" disabled={!isPossible} title="The run takes it before its next model call">
      Steer
    </button>
    <button
      type="button"
      class="secondary"
      disabled={!isPossible}
      title="The run takes it when it would end, and goes on with it"
      onClick={onQueue}
    >
      Queue
    </button>
  </>
)

interface InputProps extends Props {
  readonly written: Written
  readonly onSend: () => void
}

const Input = ({ chat, isWaiting, onSend, written }: InputProps): VNode => {
  const { name } = chat.runner
  const isText = isChat(chat.runner)
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    if (!isWaiting && isFocusFree()) area.current?.focus({ preventScroll: true })
  }, [chat, isWaiting])
  const pressed = (event: TargetedKeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key !== "Enter" || event.isComposing) return
    const isSent = isText ? !event.shiftKey : event.ctrlKey || event.metaKey
    if (!isSent) return
    event.preventDefault()
    onSend()
  }
  return (
    <textarea
      ref={area}
      class={isText ? "" : "code"}
      aria-label={isText ? `Message to ${name}` : `Input of ${name}, as JSON`}
      aria-describedby={written.problem === undefined ? undefined : "input-problem"}
      placeholder={isWaiting ? "The run waits for your answer above" : `Message ${name}`}
      rows={Math.min(10, Math.max(isText ? 1 : 4, written.text.split("\n").length))}
      spellcheck={isText}
      disabled={isWaiting}
      value={written.text}
      onInput={(event) => written.setText(event.currentTarget.value)}
      onKeyDown={pressed}
    />
  )
}
