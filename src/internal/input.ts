/** Makes an input replayable, for runners that read it more than once, and a prompt of a conversation. */
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"

/**
 * The input in a form that can be read more than once. A conversation may be any iterable, such as a generator, which
 * can be read only once: its messages are copied to an array. Other iterables are returned as they are.
 */
export const replayable = <I>(input: I): I => {
  if (typeof input === "string" || Array.isArray(input) || !Predicate.isIterable(input)) return input
  const items: Iterator<unknown> = input[Symbol.iterator]()
  const isOnce = (items as unknown) === input
  const first = items.next()
  // A runner that accepts one iterable of messages accepts any other, so an array can replace it.
  if (first.done !== true && isMessage(first.value)) return (isOnce ? [first.value, ...input] : [...input]) as I
  return isOnce && first.done !== true ? (resumed(first.value, input) as I) : input
}

/** True for a message. */
export const isMessage = (value: unknown): boolean =>
  Predicate.hasProperty(value, "role") && Predicate.hasProperty(value, "content")

/**
 * The messages of a transcript as `JSON.parse` gives it, and as terminal events have it; `undefined` for any other value. An agent
 * takes it as it is: a transcript that was kept as JSON is of any type to the compiler.
 */
export const encodedMessages = (input: unknown): ReadonlyArray<Prompt.MessageEncoded> | undefined =>
  Predicate.hasProperty(input, "content") &&
  Array.isArray(input.content) &&
  !isMessage(input) &&
  !Prompt.isPrompt(input)
    ? input.content
    : undefined

/**
 * The prompt of an input. Throws as `Prompt.make` does for what is not a conversation. Messages that are decoded already, as
 * those of an earlier transcript are, are taken as they are: a conversation that goes on is not decoded again in each turn.
 */
export const toPrompt = (input: Prompt.RawInput | typeof Prompt.Prompt.Encoded): Prompt.Prompt => {
  if (typeof input === "string" || Prompt.isPrompt(input)) return Prompt.make(input)
  const items: ReadonlyArray<unknown> = encodedMessages(input) ?? [...(input as Iterable<Prompt.MessageEncoded>)]
  const others = items.filter((item) => !isDecoded(item)) as Array<Prompt.MessageEncoded>
  if (others.length === 0) return Prompt.fromMessages(items as ReadonlyArray<Prompt.Message>)
  if (others.length === items.length) return Prompt.make(others)
  const decoded = Prompt.make(others).content
  let next = 0
  return Prompt.fromMessages(items.map((item) => (isDecoded(item) ? item : decoded[next++]!)))
}

/** The prompt of an input; `undefined` where it is not a conversation. */
export const promptIn = (input: unknown): Prompt.Prompt | undefined => {
  try {
    return toPrompt(input as Prompt.RawInput)
  } catch {
    return undefined
  }
}

const isDecoded = (item: unknown): item is Prompt.Message =>
  Prompt.isMessage(item) && (item.role === "system" || item.content.every(isDecodedPart))

/** `JSON.stringify` of a message keeps its marks, and not the bytes of a file. */
const isDecodedPart = (part: unknown): boolean =>
  Prompt.isPart(part) && (part.type !== "file" || !Predicate.isObject(part.data) || isFileData(part.data))

const isFileData = (data: object): boolean => data instanceof Uint8Array || data instanceof URL

const ofLoop = new WeakSet<Prompt.Message>()

/** A user message of one text. */
export const userText = (text: string, options: Prompt.UserMessage["options"] = {}): Prompt.UserMessage =>
  Prompt.userMessage({ content: [Prompt.textPart({ text })], options })

/** An answer of one text. */
export const answerText = (text: string): Prompt.AssistantMessage =>
  Prompt.assistantMessage({ content: [Prompt.textPart({ text })] })

/** A user message of one text that an agent's loop or a middleware says. */
export const loopMessage = (text: string, options?: Prompt.UserMessage["options"]): Prompt.UserMessage => {
  const message = userText(text, options)
  ofLoop.add(message)
  return message
}

/** True for what the loop or a middleware has said in this process, which no user did. */
export const isOfLoop = (message: Prompt.Message): boolean => ofLoop.has(message)

/** The prompt with a text at the end of its system message, or as one where it begins with none. */
export const withInstruction = ({ content }: Prompt.Prompt, text: string): Prompt.Prompt => {
  const [first, ...others] = content
  return Prompt.fromMessages(
    first?.role === "system"
      ? [Prompt.systemMessage({ ...first, content: `${first.content}\n\n${text}` }), ...others]
      : [Prompt.systemMessage({ content: text }), ...content]
  )
}

function* resumed(first: unknown, rest: Iterable<unknown>) {
  yield first
  yield* rest
}

/**
 * The message with another content, of parts that a message of its role has, and other options. One that the loop has said stays
 * one.
 */
export const remade = (
  message: Prompt.Message,
  content: Prompt.Message["content"],
  options: Prompt.Message["options"] = message.options
): Prompt.Message => {
  const made = ofRole(message, content, options)
  if (isOfLoop(message)) ofLoop.add(made)
  return made
}

const ofRole = (
  message: Prompt.Message,
  content: Prompt.Message["content"],
  options: Prompt.Message["options"]
): Prompt.Message => {
  switch (message.role) {
    case "system":
      return Prompt.systemMessage({ content: content as Prompt.SystemMessage["content"], options })
    case "user":
      return Prompt.userMessage({ content: content as Prompt.UserMessage["content"], options })
    case "assistant":
      return Prompt.assistantMessage({ content: content as Prompt.AssistantMessage["content"], options })
    case "tool":
      return Prompt.toolMessage({ content: content as Prompt.ToolMessage["content"], options })
  }
}
