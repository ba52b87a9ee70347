/**
 * What comes to a run while it is under way: messages of an inbox that it listens to, and the ends of jobs that it has begun.
 * Takes them at the places of the loop where that is possible, and emits them.
 */
import { userText } from "../../internal/input.ts"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import { CurrentMail, type Input, type Mail } from "../../internal/inbox.ts"
import { type JobEnd, messageAbout } from "../../internal/jobs.ts"
import { toJson } from "../../internal/json.ts"
import type { RunState } from "../../internal/runState.ts"
import * as Journal from "../../services/Journal.ts"

/** Inputs as a journal keeps them. */
const Inputs = Schema.Array(
  Schema.Struct({
    when: Schema.Literals(["steer", "queue", "background"]),
    prompt: Prompt.Prompt,
    job: Schema.optionalKey(Schema.String)
  })
)
const decode = Schema.decodeUnknownSync(Inputs)
const encode = Schema.encodeSync(Inputs)
const encodePrompt = Schema.encodeSync(Prompt.Prompt)

/** Takes what comes to a run. */
export class Listener {
  readonly #mail: Mail | undefined
  readonly #state: RunState
  /** How often it has taken, in all attempts. */
  #count = 0
  /** What an earlier attempt has taken, until this one has. */
  #earlier: ReadonlyArray<Input> = []
  /** What was taken when the run would have ended, for the step that follows. */
  #next: ReadonlyArray<Input> = []

  constructor(mail: Mail | undefined, state: RunState) {
    this.#mail = mail
    this.#state = state
  }

  /** An attempt begins. */
  begin(): void {
    this.#earlier = this.#mail?.again(this.#state) ?? []
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

  /** Whether the run goes on where it would end: with a message, or with the end of a job, for which it waits. */
  get goesOn(): Effect.Effect<boolean> {
    return Effect.map(this.#take(true), (taken) => {
      this.#next = taken
      return taken.length > 0
    })
  }

  /** Takes messages, or in a replay those that were taken. */
  #take(isEnd: boolean): Effect.Effect<ReadonlyArray<Input>> {
    const key = this.#state.place.key(`inbox # ${++this.#count}`)
    return Effect.flatMap(Journal.CurrentJournal, (journal) => {
      const taking = this.#takeNow(isEnd)
      if (journal === Journal.none) {
        return Effect.map(taking, (inputs) => {
          this.#mail?.deliver(this.#state, inputs)
          return inputs
        })
      }
      return this.#takeKept(journal, { key, kind: "decision", name: "inbox", idempotent: true }, taking)
    })
  }

  /** A message is delivered once that is kept. A run that is stopped before has not had it. */
  #takeKept(
    journal: Journal.Journal,
    step: Journal.Step,
    taking: Effect.Effect<ReadonlyArray<Input>>
  ): Effect.Effect<ReadonlyArray<Input>> {
    const known = journal.kept === undefined ? Effect.succeedNone : journal.kept(step)
    return Effect.flatMap(known, (kept) => {
      if (kept._tag === "Some") return Effect.sync(() => this.#takeAgain(kept.value))
      // Once it is kept, nothing comes between that and its delivery.
      return Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(taking), (taken) => {
          let isOurs = false
          const noting = Effect.sync(() => {
            isOurs = true
            return toJson(encode(taken.map(keptInput)))
          })
          return Effect.matchCauseEffect(Effect.orDie(journal.run(step, noting)), {
            onFailure: (cause) => {
              this.#mail?.giveBack(taken)
              return Effect.failCause(cause)
            },
            onSuccess: (json) => {
              if (isOurs) {
                this.#mail?.deliver(this.#state, taken)
                return Effect.succeed(taken)
              }
              this.#mail?.giveBack(taken)
              return Effect.sync(() => this.#takeAgain(json))
            }
          })
        })
      )
    })
  }

  #takeAgain(json: Schema.Json): ReadonlyArray<Input> {
    const taken = decode(json).map((input) => this.#known(input))
    this.#mail?.deliver(this.#state, taken)
    return taken
  }

  /** What was taken before the run was made again. */
  #known({ job, prompt, when }: (typeof Inputs.Type)[number]): Input {
    if (job !== undefined) this.#state.jobs?.know(job)
    return { when, messages: prompt.content, ...(job === undefined ? {} : { job }) }
  }

  #takeNow(isEnd: boolean): Effect.Effect<ReadonlyArray<Input>> {
    return Effect.suspend(() => {
      const taken = this.#mail?.take(isEnd) ?? []
      const { jobs } = this.#state
      if (jobs === undefined) return Effect.succeed(taken)
      const ends = isEnd && taken.length === 0 ? jobs.next() : Effect.sync(() => jobs.take())
      return Effect.map(ends, (ends) => [...taken, ...ends.map(inputOf)])
    })
  }

  #emit({ messages, when }: Input, step: number): Effect.Effect<void> {
    const { events } = this.#state
    if (events.silent) return Effect.void
    return events.emit({ _tag: "InputReceived", step, when, prompt: encodePrompt(Prompt.fromMessages(messages)) })
  }
}

const keptInput = ({ job, messages, when }: Input) => ({
  when,
  prompt: Prompt.fromMessages(messages),
  ...(job === undefined ? {} : { job })
})

const inputOf = (end: JobEnd): Input => ({
  when: "background",
  job: end.job,
  messages: [userText(messageAbout(end))]
})

/** Runs the loop of an agent, which listens to the inbox around it. Nothing that the run begins does. */
export const listening = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  state: RunState,
  loop: (listener: Listener | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const mail = fiber.getRef(CurrentMail)
  if (mail === undefined) return loop(undefined)
  return Effect.acquireUseRelease(
    Effect.sync(() => mail.hold(state)),
    (isHeld) => Effect.provideService(loop(isHeld ? new Listener(mail, state) : undefined), CurrentMail, undefined),
    () => Effect.sync(() => mail.release(state))
  )
}
