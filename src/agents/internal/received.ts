/** The inbox that a run listens to: takes messages at the places of the loop where that is possible, and emits them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import { CurrentMail, type Input, type Mail } from "../../internal/inbox.ts"
import { toJson } from "../../internal/json.ts"
import type { RunState } from "../../internal/runState.ts"
import * as Journal from "../../services/Journal.ts"

/** Inputs as a journal keeps them. */
const Inputs = Schema.Array(Schema.Struct({ when: Schema.Literals(["steer", "queue"]), prompt: Prompt.Prompt }))
const decode = Schema.decodeUnknownSync(Inputs)
const encode = Schema.encodeSync(Inputs)
const encodePrompt = Schema.encodeSync(Prompt.Prompt)

/** Takes the messages of an inbox for a run. */
export class Listener {
  readonly #mail: Mail
  readonly #state: RunState
  /** What an earlier attempt has taken, until this one has. */
  #earlier: ReadonlyArray<Input> = []
  /** What was taken when the run would have ended, for the step that follows. */
  #next: ReadonlyArray<Input> = []

  constructor(mail: Mail, state: RunState) {
    this.#mail = mail
    this.#state = state
  }

  /** An attempt begins. */
  begin(): void {
    this.#earlier = this.#mail.again(this.#state)
    this.#next = []
  }

  /** The messages for a step that begins, which are emitted. Those that the conversation has already are not taken again. */
  receive(step: number, conversation: ReadonlyArray<Prompt.Message>): Effect.Effect<ReadonlyArray<Prompt.Message>> {
    return Effect.flatMap(this.#take(false), (taken) => {
      const isNew = ({ messages }: Input) => !messages.some((message) => conversation.includes(message))
      const inputs = [...this.#earlier.filter(isNew), ...this.#next, ...taken]
      this.#earlier = this.#next = []
      return Effect.as(
        Effect.forEach(inputs, (input) => this.#emit(input, step), { discard: true }),
        inputs.flatMap(({ messages }) => messages)
      )
    })
  }

  /** Whether the run goes on with a message where it would end. */
  get goesOn(): Effect.Effect<boolean> {
    return Effect.map(this.#take(true), (taken) => {
      this.#next = taken
      return taken.length > 0
    })
  }

  /** Takes messages, or in a replay those that were taken. */
  #take(isEnd: boolean): Effect.Effect<ReadonlyArray<Input>> {
    const key = this.#mail.place(this.#state)
    return Effect.flatMap(Journal.CurrentJournal, (journal) => {
      if (journal === Journal.none) return Effect.sync(() => this.#mail.take(this.#state, isEnd))
      const step = { key, kind: "decision", name: "inbox", idempotent: true } as const
      const kept = Effect.sync(() =>
        toJson(
          encode(
            this.#mail
              .take(this.#state, isEnd)
              .map(({ messages, when }) => ({ when, prompt: Prompt.fromMessages(messages) }))
          )
        )
      )
      return Effect.map(Effect.orDie(journal.run(step, kept)), (json) =>
        decode(json).map(({ prompt, when }) => ({ when, messages: prompt.content }))
      )
    })
  }

  #emit({ messages, when }: Input, step: number): Effect.Effect<void> {
    const { events } = this.#state
    if (events.silent) return Effect.void
    return events.emit({ _tag: "InputReceived", step, when, prompt: encodePrompt(Prompt.fromMessages(messages)) })
  }
}

/** Runs the loop of an agent, which listens to the inbox around it. Nothing that the run begins does. */
export const listening = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  state: RunState,
  loop: (listener: Listener | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const mail = fiber.getRef(CurrentMail)
  if (mail === undefined) return loop(undefined)
  return Effect.suspend(() => {
    const own = mail.hold(state) ? new Listener(mail, state) : undefined
    return Effect.ensuring(
      Effect.provideService(loop(own), CurrentMail, undefined),
      Effect.sync(() => mail.release(state))
    )
  })
}
