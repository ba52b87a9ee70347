/**
 * The transcript of a run: an agent's own messages or, for other runners, those of their members, each message once.
 * Kept for `result` and for the terminal event of a root run.
 */
import * as Prompt from "effect/ai/Prompt"
import * as Equal from "effect/Equal"
import * as MutableHashSet from "effect/MutableHashSet"
import * as Predicate from "effect/Predicate"
import { encodedMessages, isMessage, toPrompt } from "./input.ts"

type Messages = ReadonlyArray<Prompt.Message>

/** The messages of a run; the first `given` are its input. */
export interface Said {
  readonly messages: Messages
  readonly given: number
}

/** What one run said. */
export interface RunMessages {
  readonly path: ReadonlyArray<string>
  readonly messages: Messages
}

/** How a run ended: with an output, or without one. */
export type Ended = { readonly output: unknown } | undefined

/**
 * Nested runs that are remembered, the latest ones. A run may have any number of them, and what it gives to the next one
 * has to stay bounded.
 */
const maxNested = 1000

/** The record of one run. */
export class RunTranscript {
  readonly #path: ReadonlyArray<string>
  readonly #input: unknown
  readonly #nested: Array<RunTranscript> = []
  #said: (() => Said) | undefined
  #ended: Ended
  #isShared = false

  constructor(path: ReadonlyArray<string>, input: unknown) {
    this.#path = path
    this.#input = input
  }

  /** Remembers a nested run. */
  add(nested: RunTranscript): void {
    if (this.#nested.length === maxNested) this.#nested.shift()
    this.#nested.push(nested)
  }

  /** For a run that keeps its own messages, as agents do; `said` is asked when the transcript is wanted. */
  keep(said: () => Said): void {
    this.#said = said
  }

  /** For a run whose members have one conversation among them: what each of them said is part of it. */
  share(): void {
    this.#isShared = true
  }

  /** Notes with which output the run ended. */
  end(output: unknown): void {
    this.#ended = { output }
  }

  /** The messages so far. */
  get said(): Said {
    if (this.#said !== undefined) return this.#said()
    const given = messagesOf(this.#input)
    // Each nested run is asked once: those in it are asked by it, so that asking twice would double with each level.
    const asked = new Map<RunTranscript, Said>()
    const saidBy = (nested: RunTranscript): Said => {
      const said = asked.get(nested) ?? nested.said
      asked.set(nested, said)
      return said
    }
    const answered = this.#answered(given, saidBy)
    if (answered !== undefined) return answered
    const all = this.#ofNested(saidBy)
    return { messages: all, given: commonPrefix(all, given) }
  }

  /** The conversation so far, for an error: before anything was said it is the input. */
  get soFar(): Prompt.Prompt {
    const { messages } = this.said
    return Prompt.fromMessages(messages.length === 0 ? [...messagesOf(this.#input)] : [...messages])
  }

  /** This run and the runs nested in it that keep their own messages, in the order in which they began. */
  get members(): ReadonlyArray<RunMessages> {
    const own = this.#said === undefined ? [] : [{ path: this.#path, messages: this.#said().messages }]
    return [...own, ...this.#nested.flatMap(({ members }) => members)]
  }

  /** The nested run that had the whole input and gave the output: the conversation goes on with it. */
  #answered(given: Messages, saidBy: (nested: RunTranscript) => Said): Said | undefined {
    if (this.#isShared || this.#ended === undefined || given.length === 0) return undefined
    const { output } = this.#ended
    if (output === undefined) return undefined
    const one = this.#nested.findLast((nested) => nested.#ended?.output === output)
    if (one === undefined) return undefined
    const { messages } = saidBy(one)
    return commonPrefix(messages, given) === given.length ? { messages, given: given.length } : undefined
  }

  /** The messages of nested runs, in the order in which they started, without those that their inputs repeat. */
  #ofNested(saidBy: (nested: RunTranscript) => Said): Messages {
    const all: Array<Prompt.Message> = []
    const known = MutableHashSet.empty<Prompt.Message>()
    for (const nested of this.#nested) {
      const { given, messages } = saidBy(nested)
      const own = messages.filter(
        (message, index) => index >= given || !(views.has(message) || MutableHashSet.has(known, message))
      )
      for (const message of own) MutableHashSet.add(known, message)
      all.push(...own)
    }
    return all
  }
}

const views = new WeakSet<Prompt.Message>()

/** Marks a message as a part of an earlier one, so that it does not count as a new message. */
export const asView = <M extends Prompt.Message>(message: M): M => {
  views.add(message)
  return message
}

/** The messages of an input; none where it is not a conversation. */
const messagesOf = (input: unknown): Messages => {
  if (Prompt.isPrompt(input)) return input.content
  const messages = encodedMessages(input) ?? input
  if (typeof input !== "string" && !(Array.isArray(messages) && messages.length > 0 && messages.every(isMessage)))
    return []
  try {
    return toPrompt(input as Prompt.RawInput).content
  } catch {
    return []
  }
}

const commonPrefix = (a: Messages, b: Messages): number => {
  let length = 0
  while (length < a.length && length < b.length && Equal.equals(a[length], b[length])) length++
  return length
}

/** The transcript that an error brings to be gone on from. */
export const transcriptIn = (error: unknown): Prompt.Prompt | undefined =>
  Predicate.hasProperty(error, "transcript") && Prompt.isPrompt(error.transcript) ? error.transcript : undefined
