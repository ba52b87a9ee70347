/**
 * The transcript of a run: the messages so far, and a valid transcript for each input, in which every tool call has
 * exactly one result, in the order of the calls.
 */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import { kindOf } from "../../internal/definition.ts"
import { encodedMessages, toPrompt } from "../../internal/input.ts"
import { messageOf } from "../../internal/message.ts"
import type { RunState } from "../../internal/runState.ts"
import * as Suspension from "../../internal/suspension.ts"
import { InvalidApproval, InvalidTranscript } from "../../RunError.ts"
import type { Signing } from "../../services/Approver.ts"

/** The transcript of one run as it grows, for the model, for errors and for results. */
export class Transcript {
  /** All messages so far, without the agent's own instructions. */
  messages: Array<Prompt.Message> = []
  /** The ids of the calls in the messages, as far as they were looked at. */
  readonly #callIds = new Set<string>()
  #lookedAt = 0
  readonly #state: RunState

  constructor(state: RunState) {
    this.#state = state
  }

  /** The messages so far, as a prompt. */
  prompt(): Prompt.Prompt {
    return Prompt.fromMessages([...this.messages])
  }

  /** Whether a tool call in the messages has the id. */
  hasCall(id: string): boolean {
    for (; this.#lookedAt < this.messages.length; this.#lookedAt++) {
      const message = this.messages[this.#lookedAt]!
      if (message.role !== "assistant") continue
      for (const part of message.content) if (part.type === "tool-call") this.#callIds.add(part.id)
    }
    return this.#callIds.has(id)
  }

  /** The fields that every error of a run has. */
  failure() {
    return { path: this.#state.info.path, spent: this.#state.bill.spent(), transcript: this.prompt() }
  }

  /** Begins with the messages of the input. */
  begin(messages: Array<Prompt.Message>): void {
    this.messages = messages
    const given = messages.length
    this.#state.transcript?.keep(() => ({ messages: [...this.messages], given }))
  }
}

/** The result, for the model, of a call whose outcome was not recorded. */
const lost = { error: "interrupted before its result was recorded; it may or may not have happened" }

/** The result, for the model, of a call that was not made. */
const neverBegun = { error: "not executed: the run had ended before" }

/** Calls at the end of a transcript that wait, and the results of the other calls of their turn. */
export interface Open {
  readonly calls: ReadonlyArray<Prompt.ToolCallPart>
  readonly results: ReadonlyMap<string, Prompt.ToolResultPart>
  readonly waiting: ReadonlyArray<Suspension.OpenCall>
  /** What the run had used that was suspended; `undefined` where that is not known. */
  readonly used: Suspension.UsedBefore | undefined
}

/** A valid transcript of an input. */
export interface Normalised {
  readonly messages: Array<Prompt.Message>
  /** Set for the transcript of a suspended run: its last calls are not answered yet. */
  readonly open: Open | undefined
}

/**
 * The messages of an input. A call without a result gets one that says it was interrupted, unless it waits for approval
 * at the end of the transcript, and results are put in the order of their calls. Fails with `InvalidTranscript` for a
 * result without a call, two results for one call, or anything that is not a prompt; with `InvalidApproval` for a call
 * that waits and is ambiguous, or not signed although `signing` is given.
 */
export const normalise = (
  input: Prompt.RawInput,
  path: ReadonlyArray<string>,
  signing: Signing | undefined
): Effect.Effect<Normalised, InvalidTranscript | InvalidApproval> =>
  Effect.suspend((): Effect.Effect<Normalised, InvalidTranscript | InvalidApproval> => {
    const prompt = promptOf(input)
    if (typeof prompt === "string") return invalid(path, prompt)
    if (prompt.content.length === 0) return invalid(path, "it has no message")
    const waiting = Suspension.openCalls(prompt.content)
    const refusal = waiting.length === 0 ? undefined : Suspension.refusalOf(prompt.content, signing)
    if (refusal !== undefined) return Effect.fail(new InvalidApproval({ path, ...refusal }))
    const sorted = new Sorter()
    for (const message of prompt.content) {
      const problem = message.role === "tool" ? sorted.addResults(message) : sorted.addOther(message)
      if (problem !== undefined) return invalid(path, problem)
    }
    return Effect.succeed(
      waiting.length > 0 ? sorted.endOpen(waiting, Suspension.usedIn(prompt.content)) : sorted.end()
    )
  })

/** Puts the results of each turn behind its calls, in the order of the calls. */
class Sorter {
  readonly #messages: Array<Prompt.Message> = []
  #calls: Array<Prompt.ToolCallPart> = []
  #callIds = new Set<string>()
  #results = new Map<string, Prompt.ToolResultPart>()
  #answers: Array<Prompt.ToolMessage> = []
  #isAnswered = false

  /** Takes a message of results; returns what is wrong with it. */
  addResults(message: Prompt.ToolMessage): string | undefined {
    if (message.content.length > 0) this.#isAnswered = true
    for (const part of message.content) {
      if (part.type !== "tool-result") continue
      if (!this.#callIds.has(part.id)) return `the result of tool call "${part.id}" has no call before it`
      if (this.#results.has(part.id)) return `tool call "${part.id}" has two results`
      this.#results.set(part.id, part)
    }
    if (this.#calls.length === 0) this.#add(message)
    else this.#answers.push(message)
    return undefined
  }

  /** Takes any other message. */
  addOther(message: Prompt.Message): undefined {
    // An assistant's turn may span several messages, and its calls are answered after the last of them.
    if (message.role !== "assistant" || this.#isAnswered) this.#flush()
    this.#add(message)
    if (message.role !== "assistant") return
    for (const part of message.content) {
      if (part.type !== "tool-call" || part.providerExecuted) continue
      this.#calls.push(part)
      this.#callIds.add(part.id)
    }
  }

  end(): Normalised {
    this.#flush()
    return { messages: this.#messages, open: undefined }
  }

  /** The end of a transcript whose last calls wait. */
  endOpen(waiting: Open["waiting"], used: Open["used"]): Normalised {
    const [calls, results] = [this.#calls, this.#results]
    // Other calls of the step were made, or their outcome is unknown: they are not made again.
    const open = new Set(waiting.map(({ call }) => call.id))
    for (const call of calls) {
      if (results.has(call.id) || open.has(call.id)) continue
      results.set(call.id, result(call, lost, true))
    }
    return { messages: this.#messages, open: { calls, results, waiting, used } }
  }

  #add(message: Prompt.Message): void {
    const kept = Suspension.strip(message)
    if (kept !== undefined) this.#messages.push(kept)
  }

  #flush(): void {
    this.#isAnswered = false
    if (this.#calls.length === 0) return
    for (const message of settle(this.#calls, this.#results, this.#answers)) this.#add(message)
    this.#calls = []
    this.#callIds = new Set()
    this.#results = new Map()
    this.#answers = []
  }
}

/** Messages in which every call has a result: of a call without one it says that it was lost. */
export const settled = (messages: ReadonlyArray<Prompt.Message>): Effect.Effect<ReadonlyArray<Prompt.Message>> =>
  Effect.match(normalise(Prompt.fromMessages(messages), [], undefined), {
    onFailure: () => messages,
    onSuccess: (normalised) => (normalised.open === undefined ? normalised.messages : messages)
  })

/** The input as a prompt, or what is wrong with it: a program without types can give anything. */
export const promptOf = (input: unknown): Prompt.Prompt | string => {
  try {
    const isKnown = typeof input === "string" || Prompt.isPrompt(input) || Predicate.isIterable(input)
    if (!isKnown && encodedMessages(input) === undefined) {
      return `it is ${kindOf(input)}, not a text, a list of messages or a Prompt`
    }
    const prompt: unknown = toPrompt(input as Prompt.RawInput)
    const isWhole = Prompt.isPrompt(prompt) && Array.isArray(prompt.content) && prompt.content.every(isMessage)
    return isWhole ? prompt : "something in it is not a message"
  } catch (cause) {
    return messageOf(cause)
  }
}

/** The input as the conversation that a run had before it began. */
export const givenOf = (input: unknown): Prompt.Prompt => {
  const prompt = promptOf(input)
  return typeof prompt === "string" ? Prompt.empty : prompt
}

const isMessage = (message: unknown): boolean =>
  Predicate.hasProperty(message, "role") &&
  Predicate.hasProperty(message, "content") &&
  (message.role === "system" ? typeof message.content === "string" : Array.isArray(message.content))

const invalid = (path: ReadonlyArray<string>, problem: string) => Effect.fail(new InvalidTranscript({ path, problem }))

const settle = (
  calls: ReadonlyArray<Prompt.ToolCallPart>,
  results: ReadonlyMap<string, Prompt.ToolResultPart>,
  answers: ReadonlyArray<Prompt.ToolMessage>
): ReadonlyArray<Prompt.ToolMessage> => {
  const given = answers.flatMap((message) => message.content.filter((part) => part.type === "tool-result"))
  const inOrder = given.length === calls.length && given.every((part, index) => part.id === calls[index]!.id)
  // Untouched messages keep their identity, which providers use to send only what is new.
  if (inOrder) return answers
  const others = answers.flatMap((message) => message.content.filter((part) => part.type !== "tool-result"))
  const content = calls.map((call) => results.get(call.id) ?? result(call, lost, true))
  return [Prompt.toolMessage({ content: [...content, ...others] })]
}

/** The result of a call without a recorded one: its run ended while the call was under way, or before it began. */
export const withoutResult = (
  call: { readonly id: string; readonly name: string },
  begun: boolean
): Prompt.ToolResultPart => result(call, begun ? lost : neverBegun, true)

/** The result of a call, for the model. */
export const result = (
  call: { readonly id: string; readonly name: string },
  value: unknown,
  isFailure: boolean,
  modelOutput?: ReadonlyArray<Prompt.ToolModelOutputPart>
): Prompt.ToolResultPart =>
  Prompt.toolResultPart({
    id: call.id,
    name: call.name,
    isFailure,
    result: value,
    providerExecuted: false,
    ...(modelOutput === undefined ? {} : { modelOutput })
  })
