/**
 * Readers of a conversation: tool calls with their results, answers, turns. They take a transcript of a result, of an error
 * or of a terminal event, or any other input of an agent.
 */
import * as Prompt from "effect/ai/Prompt"
import { toPrompt } from "./internal/input.ts"
import { openCalls } from "./internal/suspension.ts"

/** A tool call of a conversation, and its result. */
export interface ToolCall {
  readonly id: string
  readonly tool: string
  readonly params: unknown
  /**
   * - `completed`, `failed`: it has a result.
   * - `waiting`: the run is suspended until it is approved.
   * - `unanswered`: the conversation ends before its result.
   */
  readonly status: "completed" | "failed" | "waiting" | "unanswered"
  /** What the model sees; `undefined` without a result. */
  readonly result: unknown
  /** True for a call that the model's provider has made, such as a web search. */
  readonly providerExecuted: boolean
}

/** A turn of a conversation: what the user said, and the answer to it. */
export interface Turn {
  /** The texts of the user's messages, in their order. */
  readonly user: string
  /** The text of the last answer; empty for a turn without one. */
  readonly answer: string
  readonly toolCalls: ReadonlyArray<ToolCall>
  /** All messages of the turn, to go on from or to edit. */
  readonly messages: ReadonlyArray<Prompt.Message>
}

type Messages = ReadonlyArray<Prompt.Message>

/** A conversation: an input of an agent, or an encoded transcript, as terminal events have it. */
export type Conversation = Prompt.RawInput | typeof Prompt.Prompt.Encoded

/**
 * The tool calls of a conversation with their results, in the order of the calls. Throws for an input that is not a
 * conversation, as `Prompt.make` does.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Transcript } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const program = Effect.gen(function* () {
 *   const { transcript } = yield* clerk.result("What is 2 + 40?")
 *   return Transcript.toolCalls(transcript).map(({ tool, status }) => `${tool}: ${status}`)
 * }).pipe(Effect.provide(DemoModel.layer))
 */
export const toolCalls = (transcript: Conversation): ReadonlyArray<ToolCall> => callsIn(messagesOf(transcript))

/** The text of the last answer; empty where the conversation has no answer. */
export const answer = (transcript: Conversation): string => answerIn(messagesOf(transcript))

/**
 * The conversation in turns: each begins with what the user said after an answer. Messages before the first one of the
 * user belong to the first turn.
 */
export const turns = (transcript: Conversation): ReadonlyArray<Turn> => {
  const all: Array<Array<Prompt.Message>> = []
  let before: Prompt.Message["role"] | undefined
  for (const message of messagesOf(transcript)) {
    const isAnswered = before === "assistant" || before === "tool"
    if (all.length === 0 || (message.role === "user" && isAnswered)) all.push([])
    all.at(-1)!.push(message)
    before = message.role
  }
  return all.map((messages) => ({
    user: messages.flatMap((message) => (message.role === "user" ? textsOf(message) : [])).join("\n"),
    answer: answerIn(messages),
    toolCalls: callsIn(messages),
    messages
  }))
}

/** The model's reasoning, one text for each answer that has some. Not all providers return it. */
export const reasoning = (transcript: Conversation): ReadonlyArray<string> =>
  messagesOf(transcript).flatMap((message) => {
    if (message.role !== "assistant") return []
    const text = message.content.flatMap((part) => (part.type === "reasoning" ? [part.text] : [])).join("")
    return text === "" ? [] : [text]
  })

/** The files of a conversation, those of the user and those of answers. */
export const files = (transcript: Conversation): ReadonlyArray<Prompt.FilePart> =>
  messagesOf(transcript).flatMap((message) =>
    message.role === "user" || message.role === "assistant"
      ? (message.content as ReadonlyArray<Prompt.Part>).filter((part) => part.type === "file")
      : []
  )

const messagesOf = (transcript: Conversation): Messages => toPrompt(transcript).content

const textsOf = (message: Prompt.Message): ReadonlyArray<string> =>
  typeof message.content === "string"
    ? [message.content]
    : (message.content as ReadonlyArray<Prompt.Part>).flatMap((part) => (part.type === "text" ? [part.text] : []))

const answerIn = (messages: Messages): string =>
  textsOf(messages.findLast((one) => one.role === "assistant" && textsOf(one).length > 0) ?? emptyAnswer).join("")

const emptyAnswer = Prompt.assistantMessage({ content: [] })

const callsIn = (messages: Messages): ReadonlyArray<ToolCall> => {
  const calls: Array<ToolCall> = []
  // A server can give calls of later answers the same ids, so a result belongs to the last call before it.
  const open = new Map<string, number>()
  const waiting = new Set(openCalls(messages).map(({ call }) => call))
  for (const message of messages) {
    if (message.role !== "assistant" && message.role !== "tool") continue
    for (const part of message.content as ReadonlyArray<Prompt.Part>) {
      if (part.type === "tool-call") {
        const status = waiting.has(part) ? "waiting" : "unanswered"
        const { id, name, params, providerExecuted } = part
        open.set(id, calls.push({ id, tool: name, params, status, result: undefined, providerExecuted }) - 1)
      } else if (part.type === "tool-result") {
        const at = open.get(part.id)
        if (at === undefined) continue
        calls[at] = { ...calls[at]!, status: part.isFailure ? "failed" : "completed", result: part.result }
        open.delete(part.id)
      }
    }
  }
  return calls
}
