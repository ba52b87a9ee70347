/**
 * Redaction: secrets and personal data do not leave for the model. Each is sent as a placeholder such as `[EMAIL_1]`, the same for
 * the same value, and can be put back in the arguments of tools. Those of the agent's instructions are apart, such as `[SYSTEM_EMAIL_1]`,
 * and so are those of what middleware further in adds to a request, such as a memory that is recalled: `[ADDED_EMAIL_1]`.
 *
 * It changes what is sent; the transcript keeps everything. Tools get what the model has written, placeholders included, unless `restore`
 * names them: so `remember` of `Memory.tools` keeps placeholders, which mean nothing in another conversation, unless it is named. What the model says itself stays as it says it, placeholders included.
 * Put it before other middleware that calls models, such as `Compaction`, `Replan` or `Guardrail.input`: what is further in sees
 * placeholders only. The judge of a `Goal` and checks of tools are given what the run has, so give those that are agents one of their own.
 */
import { remade } from "../internal/input.ts"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import { memoize } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import { assertOptions, invalid, kindOf, namesOf } from "../internal/definition.ts"
import { toJson } from "../internal/json.ts"
import { CurrentState } from "../internal/runState.ts"
import * as Middleware from "../Middleware.ts"
import * as Patterns from "./internal/redaction/patterns.ts"
import * as RunScoped from "./internal/runScoped.ts"
import * as WrappedModel from "./internal/wrappedModel.ts"

/** A kind of data that is recognised by its form. Card and bank numbers are recognised by their check digits too. */
export type Kind = "email" | "phone" | "card" | "iban" | "key"

/** Options of {@link make}. */
export interface Options {
  /** Values that are not to be sent, each at least 4 characters long. */
  readonly secrets?: ReadonlyArray<string | Redacted.Redacted> | undefined
  /**
   * Which data is recognised by its form. Default: all of it. `key`: API keys and tokens of well-known services, and values next to names
   * such as `apiKey`, `authorization` or `password`, in texts and in the arguments and results of tools. A tool that is to be called with
   * what another one gave under such a name has to be in `restore`.
   */
  readonly kinds?: ReadonlyArray<Kind> | undefined
  /** More forms, by the name of their placeholders. */
  readonly patterns?: Readonly<Record<string, RegExp>> | undefined
  /**
   * Whether placeholders in the arguments of a tool are replaced by what they stand for, before the tool is called and before an
   * approver sees them: for no tool (default), for all, or for those that are named.
   */
  readonly restore?: boolean | ReadonlyArray<string> | undefined
}

const kinds: ReadonlyArray<Kind> = ["email", "phone", "card", "iban", "key"]

/** Where a value stands in data. */
interface Leaf {
  /** The name of the field that it is the value of, or one of the values. */
  readonly name?: string | undefined
  readonly isNumber?: boolean | undefined
}

const noLeaf: Leaf = {}

/** The placeholders of texts. */
class Placeholders {
  readonly #byValue = new Map<string, string>()
  readonly #values = new Map<string, string>()
  /** Those that stand in texts already: what an agent further out has redacted, or what a user has written. */
  readonly #foreign = new Set<string>()
  /** Those that stand for a value that was a number where it was found. */
  readonly #numbers = new Set<string>()
  readonly #counts = new Map<string, number>()
  readonly #find: Patterns.Finder
  readonly #prefix: string
  readonly #others: Placeholders | undefined

  /** A value that `others` have a placeholder for keeps that one. */
  constructor(find: Patterns.Finder, prefix: string, others?: Placeholders) {
    this.#find = find
    this.#prefix = prefix
    this.#others = others
  }

  redact(text: string, { isNumber = false, name }: Leaf = noLeaf): string {
    for (const [placeholder] of text.matchAll(Patterns.placeholders)) {
      if (!this.#values.has(placeholder)) this.#foreign.add(placeholder)
    }
    if (name !== undefined && this.#find.isSecretField(name, text)) return this.#take("KEY", text, isNumber)
    // Times and ids are numbers that can have the check digit of a card.
    return this.#find.replace(text, (kind, value) =>
      isNumber && kind === "CARD" && !/^[2-6]/.test(value) ? value : this.#take(kind, value, isNumber && value === text)
    )
  }

  #take(kind: string, found: string, isNumber: boolean): string {
    // A part of it can have been replaced before.
    const value = found.replace(Patterns.placeholders, (one) => this.#values.get(one) ?? one)
    const known = this.#others?.placeholderOf(value) ?? this.placeholderOf(value)
    if (known !== undefined) return known
    const placeholder = this.#next(kind)
    this.#byValue.set(value, placeholder)
    this.#values.set(placeholder, value)
    if (isNumber) this.#numbers.add(placeholder)
    return placeholder
  }

  #next(name: string): string {
    for (;;) {
      const count = (this.#counts.get(name) ?? 0) + 1
      this.#counts.set(name, count)
      const placeholder = `[${this.#prefix}${name}_${count}]`
      if (!this.#foreign.has(placeholder)) return placeholder
    }
  }

  placeholderOf(value: string): string | undefined {
    return this.#byValue.get(value)
  }

  valueOf(placeholder: string): string | undefined {
    return this.#values.get(placeholder)
  }

  isNumber(placeholder: string): boolean {
    return this.#numbers.has(placeholder)
  }
}

/**
 * The placeholders of one run. Those of the conversation depend on it alone, so that another run that goes on with it, maybe of
 * another agent or with other instructions, has the same.
 */
class Texts {
  readonly #system: Placeholders
  readonly #conversation: Placeholders
  /** Of what is in no conversation: another run that goes on does not have it. */
  readonly #added: Placeholders
  readonly #sent = new WeakSet<Prompt.Message>()

  constructor(find: Patterns.Finder) {
    this.#system = new Placeholders(find, "SYSTEM_")
    this.#conversation = new Placeholders(find, "")
    this.#added = new Placeholders(find, "ADDED_", this.#conversation)
  }

  /** The text with its values; a placeholder alone that stands for a number is that number. */
  restore(text: string): string | number {
    const all = [this.#conversation, this.#system, this.#added]
    const number = all.find((some) => some.isNumber(text))
    if (number !== undefined) return Number(number.valueOf(text))
    return text.replace(Patterns.placeholders, (one) => {
      for (const some of all) {
        const value = some.valueOf(one)
        if (value !== undefined) return value
      }
      return one
    })
  }

  /** The same for the same message, so that what was sent stays as it was. */
  readonly message = memoize((given: Prompt.Message): Prompt.Message => {
    const texts = given.role === "system" ? this.#system : this.#conversation
    const message = redacted(given, (text, leaf) => texts.redact(text, leaf))
    this.#sent.add(message)
    return message
  })

  readonly #addedMessage = memoize((given: Prompt.Message) =>
    redacted(given, (text, leaf) => this.#added.redact(text, leaf))
  )

  /** The prompt as it leaves, with what middleware further in has added. */
  leaving(prompt: Prompt.Prompt): Prompt.Prompt {
    const { content } = prompt
    const messages = content.map((message) => (this.#sent.has(message) ? message : this.#addedMessage(message)))
    return messages.every((message, at) => message === content[at]) ? prompt : Prompt.fromMessages(messages)
  }
}

/**
 * Makes the middleware that redacts. Throws `InvalidDefinition` for a secret that is shorter than 4 characters, for an unknown
 * kind, and for a pattern that matches the empty text.
 *
 * @example
 * import { Redacted } from "effect"
 * import { Agent, Redaction } from "troupe"
 *
 * const redaction = Redaction.make({ secrets: [Redacted.make("hunter2")], kinds: ["email", "card"], restore: ["send_mail"] })
 * const agent = Agent.make("agent", { middleware: [redaction] })
 */
export const make = (options: Options = {}): Middleware.Middleware => {
  const find = finderOf(options)
  const { restore = false } = options
  const isRestored = (tool: string) => (typeof restore === "boolean" ? restore : restore.includes(tool))
  const states = RunScoped.perRun(() => new Texts(find))
  return Middleware.make("redaction", {
    model: (request, next) =>
      Effect.flatMap(states, (state = new Texts(find)) => {
        const content = request.prompt.content.map((message) => state.message(message))
        const isSame = content.every((message, at) => message === request.prompt.content[at])
        const sent = next(isSame ? request : { ...request, prompt: Prompt.fromMessages(content) })
        return WrappedModel.provide(
          sent,
          WrappedModel.sending((prompt) => state.leaving(prompt))
        )
      }),
    tool: (call, next) => {
      if (!isRestored(call.tool)) return next(call)
      return Effect.flatMap(Effect.all([states, CurrentState]), ([state, run]) => {
        if (state === undefined) return next(call)
        // A run that goes on with an approved call has sent nothing yet.
        for (const message of [run?.instructions ?? [], call.prompt.content].flat()) state.message(message)
        const params = mapTexts(call.params, (text) => state.restore(text)) as Schema.JsonObject
        return next(params === call.params ? call : { ...call, params })
      })
    }
  })
}

const finderOf = (options: Options): Patterns.Finder => {
  const subject = "redaction"
  assertOptions(subject, options, namesOf<Options>({ secrets: true, kinds: true, patterns: true, restore: true }))
  const secrets = (options.secrets ?? []).map((secret) => {
    const value: unknown = Redacted.isRedacted(secret) ? Redacted.value(secret) : secret
    // The message says nothing of the secret.
    if (typeof value === "string" && value.length >= 4) return value
    const problem = typeof value === "string" ? "a secret is shorter than 4 characters" : `a secret is ${kindOf(value)}`
    throw invalid(subject, problem, "Give texts of at least 4 characters")
  })
  const wrong = options.kinds?.find((kind) => !kinds.includes(kind))
  if (wrong !== undefined) {
    throw invalid(subject, `there is no kind "${String(wrong)}"`, `The kinds are: ${kinds.join(", ")}`)
  }
  for (const [name, pattern] of Object.entries(options.patterns ?? {})) {
    if (pattern instanceof RegExp && !new RegExp(pattern, pattern.flags.replace("y", "")).test("")) continue
    throw invalid(
      subject,
      `its pattern "${name}" ${pattern instanceof RegExp ? "matches the empty text" : `is ${kindOf(pattern)}`}`,
      "Give a regular expression that matches at least one character"
    )
  }
  return Patterns.finder({ secrets, kinds: options.kinds ?? kinds, patterns: options.patterns ?? {} })
}

/** Gives what stands in the place of a text; data is given its place too. */
type Change<A = string> = (text: string, leaf?: Leaf) => A

/** A JSON value with other texts and numbers, names of fields included. The same value where none is another. */
const mapTexts = (value: Schema.Json, change: Change<string | number>, name?: string): Schema.Json => {
  if (typeof value === "string") return change(value, { name })
  if (typeof value === "number") {
    const text = String(value)
    const changed = change(text, { name, isNumber: true })
    return changed === text ? value : changed
  }
  if (Array.isArray(value)) {
    const items = value.map((item: Schema.Json) => mapTexts(item, change, name))
    return items.every((item, at) => item === value[at]) ? value : items
  }
  if (!Predicate.isObject(value)) return value
  const entries = Object.entries(value as Schema.JsonObject)
  const fields = entries.map(([key, item]) => [String(change(key)), mapTexts(item!, change, key)] as const)
  const isSame = fields.every(([key, item], at) => key === entries[at]![0] && item === entries[at]![1])
  return isSame ? value : Object.fromEntries(fields)
}

/** The parts, with neighbouring texts as one where something to be replaced stands across them: a model answers in pieces. */
const joined = (parts: ReadonlyArray<Prompt.Part>, change: Change): ReadonlyArray<Prompt.Part> => {
  const out: Array<Prompt.Part> = []
  for (let at = 0; at < parts.length;) {
    const texts: Array<Prompt.TextPart> = []
    for (let part = parts[at]; part?.type === "text"; part = parts[++at]) texts.push(part)
    if (texts.length < 2) out.push(texts[0] ?? parts[at++]!)
    else {
      const whole = change(texts.map(({ text }) => text).join(""))
      const isApart = texts.map(({ text }) => change(text)).join("") === whole
      out.push(...(isApart ? texts : [Prompt.textPart({ text: whole, options: texts[0]!.options })]))
    }
  }
  return out
}

/** A result with other texts, also in the form that the model is shown, which can have texts of its own. */
const redactedResult = (part: Prompt.ToolResultPart, change: Change): Prompt.ToolResultPart => {
  const given = toJson(part.result)
  const result = mapTexts(given, change)
  const modelOutput = part.modelOutput?.map((one) => {
    const text = one.type === "text" ? change(one.text) : ""
    return one.type !== "text" || text === one.text ? one : Prompt.textPart({ text, options: one.options })
  })
  const isSame = result === given && modelOutput?.every((one, at) => one === part.modelOutput?.[at]) !== false
  return isSame
    ? part
    : Prompt.toolResultPart({ ...part, result, ...(modelOutput === undefined ? {} : { modelOutput }) })
}

/** The message with other texts. Reasoning stays: providers insist on it, and it is the model's own. */
const redacted = (message: Prompt.Message, change: Change): Prompt.Message => {
  const { options } = message
  if (message.role === "system") {
    const content = change(message.content)
    return content === message.content ? message : Prompt.systemMessage({ content, options })
  }
  const parts: ReadonlyArray<Prompt.Part> = message.content
  const content = joined(parts, change).map((part): Prompt.Part => {
    if (part.type === "text") {
      const text = change(part.text)
      return text === part.text ? part : Prompt.textPart({ text, options: part.options })
    }
    if (part.type === "tool-call") {
      const given = toJson(part.params)
      const params = mapTexts(given, change)
      return params === given ? part : Prompt.toolCallPart({ ...part, params })
    }
    if (part.type === "tool-result") {
      return redactedResult(part, change)
    }
    return part
  })
  if (content.length === parts.length && content.every((part, at) => part === parts[at])) return message
  // The parts are those of the message, by kind.
  return remade(message, content as Prompt.Message["content"])
}
