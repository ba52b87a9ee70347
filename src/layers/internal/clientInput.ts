/** Validates input that a client wrote: accepts what a client may say, and rejects what only this program can know. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { assertOneOf, assertOptions, limitOf, namesOf } from "../../internal/definition.ts"
import { messageOf } from "../../internal/message.ts"
import { canonical } from "../../internal/fingerprint.ts"
import { toJson } from "../../internal/json.ts"

/** The input of a client holds a part that a client must not write. */
export class ForeignInput extends Schema.TaggedError<ForeignInput>()("ForeignInput", {
  /** Where it is, such as `messages[2].content[0]`. */
  part: Schema.String,
  /**
   * - `system`: a system message;
   * - `approval`: an approval request or an answer to one;
   * - `options`: provider options of a message or a part;
   * - `tool-call`, `tool-result`: of a call that is not in `history`;
   * - `shape`: it is not a message, or the input has none;
   * - `size`: there is more than the limits allow.
   */
  kind: Schema.Literals(["system", "approval", "options", "tool-call", "tool-result", "shape", "size"]),
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.part}: ${this.problem}. A client may send user messages, and texts of the assistant.`
  }
}

/** Which input of a client is accepted. */
export interface ClientInputOptions {
  /** The conversation as this program has recorded it. A message that is in it passes as it is. Default: none. */
  readonly history?: Prompt.Prompt | undefined
  /** What happens to a part that a client must not write: it fails the Effect (`"refuse"`, default), or is left out. */
  readonly foreign?: "refuse" | "strip" | undefined
  /** How many messages at most. Default 1000. */
  readonly maxMessages?: number | undefined
  /** How many characters of text and bytes of files at most, in all. Default 10,000,000. */
  readonly maxSize?: number | undefined
}

/** The input without what a client must not write, or a failure that names the first such part. */
export const check = (input: unknown, options: ClientInputOptions = {}): Effect.Effect<Prompt.Prompt, ForeignInput> => {
  assertOptions(subject, options, known)
  assertOneOf(subject, "foreign", options.foreign, ["refuse", "strip"])
  for (const limit of ["maxMessages", "maxSize"] as const) limitOf(subject, limit, options[limit] ?? 1)
  return Effect.fromResult(new Gate(options).read(input))
}

const subject = "Approvals.clientInput"
const known = namesOf<ClientInputOptions>({ history: true, foreign: true, maxMessages: true, maxSize: true })

type Kind = ForeignInput["kind"]

class Gate {
  readonly #strips: boolean
  readonly #maxMessages: number
  readonly #maxSize: number
  readonly #known: ReadonlySet<string>
  #size = 0
  #refused: ForeignInput | undefined

  constructor({ foreign = "refuse", history, maxMessages = 1000, maxSize = 10_000_000 }: ClientInputOptions) {
    this.#strips = foreign === "strip"
    this.#maxMessages = maxMessages
    this.#maxSize = maxSize
    this.#known = new Set(history?.content.map(textOf))
  }

  read(input: unknown): Result.Result<Prompt.Prompt, ForeignInput> {
    const given = messagesIn(input)
    if (given === undefined) return this.#fail("messages", "shape", "it is neither a text nor a list of messages")
    const out: Array<Prompt.Message> = []
    let index = 0
    for (const raw of given) {
      if (index === this.#maxMessages) {
        return this.#fail("messages", "size", `there are more than ${this.#maxMessages}`)
      }
      const at = `messages[${index++}]`
      const message = decode(raw)
      if (Result.isFailure(message)) return this.#fail(at, "shape", message.failure)
      const kept = this.#known.has(textOf(message.success)) ? message.success : this.#message(message.success, at)
      if (this.#refused !== undefined) return Result.fail(this.#refused)
      if (kept !== undefined) out.push(kept)
    }
    if (out.length === 0) return this.#fail("messages", "shape", "there is no message that a client may send")
    return Result.succeed(Prompt.fromMessages(out))
  }

  #message(message: Prompt.Message, at: string): Prompt.Message | undefined {
    if (Object.keys(message.options).length > 0 && !this.#strip(at, "options", "it has provider options"))
      return undefined
    if (message.role === "system") {
      this.#strip(at, "system", "it is a system message")
      return undefined
    }
    const parts: ReadonlyArray<Prompt.Part> = message.content
    const content = parts.flatMap((part, index) => this.#part(part, `${at}.content[${index}]`) ?? [])
    // An empty message stays empty; a message that becomes empty is removed.
    if (content.length === 0 && parts.length > 0) return undefined
    return decoded({ ...message, content, options: {} })
  }

  #part(part: Prompt.Part, at: string): Prompt.Part | undefined {
    const foreign = foreignKind(part)
    if (foreign !== undefined) {
      this.#strip(at, foreign[0], foreign[1])
      return undefined
    }
    this.#size += sizeOf(part)
    if (this.#size > this.#maxSize) {
      this.#refuse(at, "size", `the messages up to here are longer than ${this.#maxSize} characters`)
    }
    if (Object.keys(part.options).length === 0) return part
    return this.#strip(at, "options", "it has provider options") ? { ...part, options: {} } : undefined
  }

  /** True where the part is left out; otherwise it is refused. */
  #strip(at: string, kind: Kind, problem: string): boolean {
    if (!this.#strips) this.#refuse(at, kind, problem)
    return this.#strips
  }

  #refuse(part: string, kind: Kind, problem: string): void {
    this.#refused ??= new ForeignInput({ part, kind, problem })
  }

  #fail(part: string, kind: Kind, problem: string): Result.Result<never, ForeignInput> {
    return Result.fail(new ForeignInput({ part, kind, problem }))
  }
}

const messagesIn = (input: unknown): Iterable<unknown> | undefined => {
  if (typeof input === "string") return Prompt.make(input).content
  if (Predicate.hasProperty(input, "content") && Array.isArray(input.content)) return input.content
  return Predicate.isIterable(input) ? input : undefined
}

const decodeMessage = Schema.decodeUnknownResult(Prompt.Message)

const decode = (raw: unknown): Result.Result<Prompt.Message, string> =>
  Result.mapError(decodeMessage(raw), (error) => `it is not a message: ${messageOf(error).slice(0, 500)}`)

/** The parts that are left are parts of the same kind of message. */
const decoded = (message: unknown): Prompt.Message => message as Prompt.Message

/** The identity of a message: all of its content, as it is stored. */
const textOf = (message: Prompt.Message): string => canonical(toJson(encodeMessage(message)))
const encodeMessage = Schema.encodeSync(Prompt.Message)

const foreignKind = (part: Prompt.Part): readonly [Kind, string] | undefined => {
  switch (part.type) {
    case "tool-approval-request":
      return ["approval", "it is an approval request"]
    case "tool-approval-response":
      return ["approval", "it answers an approval request"]
    case "tool-call":
      return ["tool-call", `it is a call of "${part.name}" that this program has no record of`]
    case "tool-result":
      return ["tool-result", `it is a result of a call of "${part.name}" that this program has no record of`]
    default:
      return undefined
  }
}

const sizeOf = (part: Prompt.Part): number => {
  if (part.type === "text" || part.type === "reasoning") return part.text.length
  if (part.type !== "file") return 0
  const { data } = part
  return typeof data === "string" || data instanceof Uint8Array ? data.length : String(data).length
}
