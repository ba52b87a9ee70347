/** Messages for runs that are under way: what waits for one, which agent takes it, and how its sender learns of that. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import { InvalidTranscript } from "../RunError.ts"
import { kindOf } from "./definition.ts"
import { canonical } from "./fingerprint.ts"
import { toPrompt } from "./input.ts"
import { toJson } from "./json.ts"
import { CurrentState, type RunState } from "./runState.ts"

/** What became of a message. */
export type Delivery = "delivered" | "undelivered"

/** When a message is taken: before the next model call, or when the run would end. */
export type When = "steer" | "queue"

/** A message for a run, or of a job that it has begun. */
export interface Input {
  readonly when: When | "background"
  readonly messages: ReadonlyArray<Prompt.Message>
  /** The job whose end it is. */
  readonly job?: string | undefined
}

interface Entry extends Input {
  readonly onTaken?: () => void
  readonly outcome: Deferred.Deferred<Delivery>
  /** Whether its sender has taken it back. */
  isGivenUp: boolean
}

/** Messages that an agent has taken, and which may yet turn out not to be delivered. */
export type Taken = ReadonlyArray<Input>

/** The messages for the runs that listen. */
export class Mail {
  #pending: Array<Entry> = []
  /** What the attempts of a run have taken: another attempt takes it again. */
  readonly #taken = new WeakMap<RunState, Array<Input>>()
  /** What was taken before the run was made again, and has not been posted again. */
  readonly #recalled: Array<string> = []
  #open = 0
  #isOver = false
  /** The agent that takes the messages. */
  #holder: RunState | undefined

  /** Sends messages, and waits until they are taken, or no run is left that could take them. */
  send(when: When, prompt: Prompt.RawInput): Effect.Effect<Delivery> {
    return Effect.withFiber((fiber) => {
      const messages = messagesOf(prompt)
      if (messages instanceof InvalidTranscript) return Effect.die(messages)
      if (this.#isOver) return Effect.succeed("undelivered")
      const entry: Entry = { when, messages, outcome: Deferred.makeUnsafe<Delivery>(), isGivenUp: false }
      this.#pending.push(entry)
      // The run itself would wait for its own next model call.
      const state = fiber.getRef(CurrentState)
      if (state !== undefined && state.info.rootId === this.#holder?.info.rootId) return Effect.succeed("delivered")
      return Effect.onInterrupt(Deferred.await(entry.outcome), () =>
        Effect.sync(() => {
          entry.isGivenUp = true
          this.#pending = this.#pending.filter((other) => other !== entry)
        })
      )
    })
  }

  /** Sends a text before the next model call, and does not wait. A run that is made again posts again what was taken before. */
  post(text: string, onTaken: () => void): void {
    const messages = toPrompt(text).content
    const recalled = this.#recalled.indexOf(identityOf(messages))
    if (recalled >= 0) {
      this.#recalled.splice(recalled, 1)
      onTaken()
      return
    }
    this.#pending.push({ when: "steer", messages, onTaken, outcome: Deferred.makeUnsafe<Delivery>(), isGivenUp: false })
  }

  /** A run begins to listen. */
  open(): void {
    this.#open++
    this.#isOver = false
  }

  /** A run no longer listens. After the last one, what was not taken is not delivered. */
  close(): void {
    if (--this.#open > 0) return
    this.#isOver = true
    for (const { outcome } of this.#pending) Deferred.doneUnsafe(outcome, Effect.succeed("undelivered"))
    this.#pending = []
  }

  /** Has an agent take the messages, unless another one does. */
  hold(state: RunState): boolean {
    if (this.#holder !== undefined && this.#holder !== state) return false
    this.#holder = state
    return true
  }

  /** The agent no longer takes messages. */
  release(state: RunState): void {
    if (this.#holder === state) this.#holder = undefined
  }

  /** What earlier attempts of the run have taken. */
  again(state: RunState): ReadonlyArray<Input> {
    return this.#taken.get(state) ?? []
  }

  /**
   * Takes all messages that steer. When none does and the run would end, it takes the next one that is queued. They are delivered
   * by {@link deliver}, once nothing can lose them any more, or given back by {@link giveBack}.
   */
  take(isEnd: boolean): Taken {
    const steering = this.#pending.filter(({ when }) => when === "steer")
    const taken = steering.length > 0 || !isEnd ? steering : this.#pending.slice(0, 1)
    if (taken.length > 0) this.#pending = this.#pending.filter((entry) => !taken.includes(entry))
    return taken
  }

  /** The run has these messages, also those that it had before it was made again. */
  deliver(state: RunState, inputs: Taken): void {
    if (inputs.length === 0) return
    this.#taken.set(state, [...this.again(state), ...inputs])
    for (const input of inputs) {
      if (!isEntry(input)) {
        this.#recall(input)
        continue
      }
      Deferred.doneUnsafe(input.outcome, Effect.succeed("delivered"))
      input.onTaken?.()
    }
  }

  /** A message that was taken before is the one that was posted again, or is still to be. */
  #recall({ messages, when }: Input): void {
    if (when !== "steer") return
    const own = identityOf(messages)
    const at = this.#pending.findIndex((entry) => entry.onTaken !== undefined && identityOf(entry.messages) === own)
    if (at < 0) this.#recalled.push(own)
    else this.#pending.splice(at, 1)[0]?.onTaken?.()
  }

  /** The run was stopped before it had these messages: another one can take them. */
  giveBack(taken: Taken): void {
    this.#pending = [...taken.filter(isEntry).filter(({ isGivenUp }) => !isGivenUp), ...this.#pending]
  }
}

/** The same text for the same messages: those that were kept have their fields in another order. */
const identityOf = (messages: ReadonlyArray<Prompt.Message>): string => canonical(toJson(messages))

const isEntry = (input: Input): input is Entry => "outcome" in input

const messagesOf = (prompt: Prompt.RawInput): ReadonlyArray<Prompt.Message> | InvalidTranscript => {
  const invalid = (problem: string) => new InvalidTranscript({ path: ["inbox"], problem })
  try {
    const { content } = toPrompt(prompt)
    const other = content.find(({ role }) => role !== "user")
    if (other !== undefined) return invalid(`it has a message of role "${other.role}"; only those of users can be sent`)
    return content.length === 0 ? invalid("it has no message") : content
  } catch {
    return invalid(`it is ${kindOf(prompt)}, not a text, a list of messages or a Prompt`)
  }
}

/** The inbox that the agent with the conversation listens to. */
export const CurrentMail: Context.Reference<Mail | undefined> = Context.Reference<Mail | undefined>("troupe/Inbox", {
  defaultValue: () => undefined
})

/** The same work, in which no run listens to the inbox around it. */
export const withoutMail = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    fiber.getRef(CurrentMail) === undefined ? work : Effect.provideService(work, CurrentMail, undefined)
  )
