/**
 * Compaction: keeps what is sent to a model within its window. It changes what is sent; the transcript keeps everything, and
 * notes on the answer that follows what was compacted, so that later steps and runs send the same.
 *
 * Policies are applied in their order until the conversation fits. None of them parts a tool call from its result, or leaves out
 * the system message, the first message of the user and what the user said last, pinned messages, or the step under way.
 *
 * Tokens are those that the provider has counted, and for what is new those of `gpt-tokenizer` where it is installed
 * (`npm install gpt-tokenizer`), or of your own tokenizer; otherwise, and under `Effect.runSync`, four bytes count as one. Long
 * texts are counted by samples.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Agent from "../agents/Agent.ts"
import { assertName, assertOptions, countOf, invalid, inWords, kindOf, namesOf } from "../internal/definition.ts"
import { loopMessage, remade, toPrompt } from "../internal/input.ts"
import * as Middleware from "../Middleware.ts"
import * as Notes from "../internal/notes.ts"
import * as Runner from "../Runner.ts"
import * as Compact from "./internal/compaction/compact.ts"
import * as Count from "./internal/compaction/count.ts"
import * as Offloaded from "./internal/compaction/offloaded.ts"
import * as Summary from "./internal/compaction/summary.ts"
import * as Units from "./internal/compaction/units.ts"
import * as View from "./internal/compaction/view.ts"
import * as RunScoped from "./internal/runScoped.ts"

const TypeId = "~troupe/Compaction"

export type { PolicyInfo } from "./internal/compaction/compact.ts"

/** A way to make a conversation shorter. `E` and `R` are what it can fail with and what it needs. */
export interface Policy<out E = never, out R = never> {
  readonly [TypeId]: "Policy"
  readonly name: string
  /** Returns a shorter conversation. `over` is by how many tokens it is too long. */
  readonly apply: (prompt: Prompt.Prompt, over: number, info: Compact.PolicyInfo) => Effect.Effect<Prompt.Prompt, E, R>
  /** @internal */
  readonly brings?: NonNullable<Middleware.Any["tools"]> | undefined
}

type AnyPolicy = Policy<unknown, unknown>
type ErrorOf<P> = P extends Policy<infer E, infer _R> ? E : never
type ServicesOf<P> = P extends Policy<infer _E, infer R> ? R : never

/** Options of {@link make}. */
export interface Options<Policies extends ReadonlyArray<AnyPolicy>> {
  /** How many tokens the model's window has. */
  readonly window: number
  /** The part of the window from which on the conversation is compacted, 0 to 1. Default 0.8. */
  readonly at?: number | undefined
  /** The part of the window to compact to, below `at`, so that it does not happen at every step. Default: three quarters of `at`. */
  readonly to?: number | undefined
  readonly policies: Policies
  /** Whether the first message of the user is always kept. Default true. */
  readonly keepFirst?: boolean | undefined
  /** Messages that are always kept, in addition to those of {@link pin}. */
  readonly pinned?: ((message: Prompt.Message) => boolean) | undefined
  /** Counts the tokens of a text. Default: see the module. */
  readonly tokenizer?: ((text: string) => number) | undefined
}

const known = namesOf<Options<ReadonlyArray<AnyPolicy>>>({
  window: true,
  at: true,
  to: true,
  policies: true,
  keepFirst: true,
  pinned: true,
  tokenizer: true
})

/**
 * Makes the middleware that compacts. A conversation that a server refuses as too long is compacted once more and sent again,
 * also where it is shorter than `window`: the size that the server says is used from then on.
 *
 * What is sent changes only when it is compacted: until then each request begins with the one before it, so that a provider's
 * cache is of use. Fails with what its policies fail with. Throws `InvalidDefinition` for a `window` below 1, for an `at` or
 * `to` that is not a part of it, and for what is not a policy.
 *
 * @example
 * import { Agent, Compaction } from "troupe"
 *
 * const compaction = Compaction.make({
 *   window: 128_000,
 *   at: 0.8,
 *   policies: [Compaction.offload({ above: 8_000 }), Compaction.summarise({ keepTurns: 4 }), Compaction.dropOldest]
 * })
 * const agent = Agent.make("agent", { middleware: [compaction] })
 */
export const make = <const Policies extends ReadonlyArray<AnyPolicy>>(
  options: Options<Policies>
): Middleware.Middleware<ErrorOf<Policies[number]>, ServicesOf<Policies[number]>> => {
  const settings = settingsOf(options)
  const states = RunScoped.make<Compact.State>("compaction")
  const brings = [...new Set(options.policies.flatMap((policy) => policy.brings ?? []))]
  const middleware = Middleware.make("compaction", {
    run: (run, next) => Effect.suspend(() => states.provide(next(run), new Compact.State())),
    model: (request, next) =>
      Effect.flatMap(states.get, (state = new Compact.State()) => through(settings, state, request, next)),
    tool:
      brings.length === 0
        ? undefined
        : (call, next) => {
            const answer = Offloaded.answer(call)
            return answer === undefined ? next(call) : Effect.succeed(answer)
          }
  })
  // The settings hold policies without their types.
  return { ...middleware, ...(brings.length === 0 ? {} : { tools: brings }) } as Middleware.Middleware<
    ErrorOf<Policies[number]>,
    ServicesOf<Policies[number]>
  >
}

type Next = (request: Middleware.ModelRequest) => Effect.Effect<Middleware.Turn, Middleware.Failure>

const through = Effect.fnUntraced(function* (
  settings: Compact.Settings,
  state: Compact.State,
  request: Middleware.ModelRequest,
  next: Next
): Effect.fn.Return<Middleware.Turn, unknown, unknown> {
  let sent = yield* Compact.prepare(settings, state, request)
  const send = ({ head, messages }: Compact.Prepared) => {
    const isSame = messages.length === sent.rest.length && messages.every((message, at) => message === sent.rest[at])
    return next(isSame ? request : { ...request, prompt: Prompt.fromMessages([...head, ...messages]) })
  }
  const turn = yield* Effect.catch(send(sent), (error) => {
    const words = Compact.overflowIn(error)
    if (words === undefined) return Effect.fail<unknown>(error)
    return Effect.flatMap(Compact.shorten(settings, state, sent, words), (shorter) => {
      if (shorter === undefined) return Effect.fail<unknown>(error)
      sent = shorter
      return send(shorter)
    })
  })
  state.onAnswer([...sent.head, ...sent.messages], turn)
  const note = sent.isNew ? Compact.noteOf(state, sent) : undefined
  return note === undefined ? turn : { ...turn, notes: { ...turn.notes, [View.note]: note } }
})

const settingsOf = (options: Options<ReadonlyArray<AnyPolicy>>): Compact.Settings => {
  const subject = "compaction"
  assertOptions(subject, options, known)
  const { at = 0.8, keepFirst = true, pinned = () => false, policies, to = at * 0.75, tokenizer, window } = options
  if (!(Number.isFinite(window) && window >= 1)) {
    throw invalid(
      subject,
      `window is ${inWords(window)}`,
      "Give the size of the model's window in tokens, such as 128_000"
    )
  }
  if (!(at > 0 && at <= 1)) throw invalid(subject, `at is ${inWords(at)}`, "Give a part of the window, such as 0.8")
  if (!(to > 0 && to <= at))
    throw invalid(subject, `to is ${inWords(to)}`, `Give a part of the window that is not above at, ${at}`)
  if (!Array.isArray(policies) || !policies.every(isPolicy)) {
    throw invalid(
      subject,
      "policies is not a list of policies",
      "Write policies: [Compaction.summarise({ keepTurns: 4 })]"
    )
  }
  return {
    window,
    limit: window * at,
    to,
    policies,
    keeping: { keepFirst, pinned: (message) => isPinned(message) || pinned(message) },
    counter: tokenizer === undefined ? undefined : Count.counter(tokenizer)
  }
}

const isPolicy = (value: unknown): value is AnyPolicy => Predicate.hasProperty(value, TypeId)

/**
 * Makes a policy of a function. What it returns has to hold what {@link make} says is always kept, and each tool call with its
 * result; otherwise the run fails with `MiddlewareError`, which names the policy.
 *
 * @example
 * import { Effect } from "effect"
 * import { Prompt } from "effect/ai"
 * import { Compaction } from "troupe"
 *
 * const noReasoning = Compaction.policy("no reasoning", (prompt) =>
 *   Effect.succeed(Prompt.fromMessages(prompt.content.filter(({ role }) => role !== "assistant")))
 * )
 */
export const policy = <E = never, R = never>(name: string, apply: Policy<E, R>["apply"]): Policy<E, R> => {
  assertName("a compaction policy", name, 'Give it one: Compaction.policy("name", (prompt) => ...)')
  return { [TypeId]: "Policy", name, apply }
}

const internal = <E = never, R = never>(
  name: string,
  apply: (prompt: Prompt.Prompt, over: number, info: Compact.OwnInfo) => Effect.Effect<Prompt.Prompt, E, R>
): Policy<E, R> => policy(name, (prompt, over, info) => apply(prompt, over, info as Compact.OwnInfo))

/** Options of {@link shrinkToolResults} and {@link offload}. */
export interface Sizes {
  /** Results of more tokens are shortened. */
  readonly above: number
  /** How many characters of the beginning stay. */
  readonly head?: number | undefined
  /** How many characters of the end stay. */
  readonly tail?: number | undefined
}

const knownOfSizes = namesOf<Sizes>({ above: true, head: true, tail: true })

const endsOf = (name: string, options: Sizes, parts: Offloaded.Ends): Offloaded.Ends => {
  const subject = `compaction policy "${name}"`
  assertOptions(subject, options, knownOfSizes)
  const { above, head = parts.head, tail = parts.tail } = options
  if (!(Number.isFinite(above) && above >= 1)) {
    throw invalid(
      subject,
      `above is ${kindOf(above) === "a number" ? above : kindOf(above)}`,
      "Give a number of tokens, such as 8_000"
    )
  }
  return { head: countOf(subject, "head", head, 0), tail: countOf(subject, "tail", tail, 0) }
}

/**
 * Shortens large tool results to their beginning and their end. Pinned messages stay as they are.
 *
 * - `above`: in tokens. `head` and `tail`: in characters. Default: together about half of `above`.
 */
export const shrinkToolResults = (options: Sizes): Policy => {
  const ends = endsOf("shrinkToolResults", options, {
    head: Math.ceil(options.above * 1.5),
    tail: Math.ceil(options.above * 0.5)
  })
  return shortening("shrinkToolResults", options.above, (part) =>
    Offloaded.ends(Offloaded.textOf(part), ends, (count) => `[${count} characters left out]`)
  )
}

/**
 * Shortens large tool results to their beginning and their end, and gives the agent two tools to read and search the rest:
 * `read_offloaded` and `search_offloaded`. The whole result stays in the transcript, where the tools find it, also in a later run.
 *
 * - `above`: in tokens. `head` and `tail`: in characters. Default: 1,500 and 500, or less where `above` is small.
 */
export const offload = (options: Sizes): Policy => {
  const ends = endsOf("offload", options, {
    head: Math.min(1500, Math.ceil(options.above * 1.5)),
    tail: Math.min(500, Math.ceil(options.above * 0.5))
  })
  const shorten = shortening("offload", options.above, (part) => {
    const id = Offloaded.idOf(part)
    const { readName, searchName } = Offloaded
    return Offloaded.ends(
      Offloaded.textOf(part),
      ends,
      (count) => `[${count} characters left out. Read them with ${readName} or ${searchName}, id "${id}"]`
    )
  })
  return { ...shorten, brings: [Offloaded.tools] }
}

const shortening = (name: string, above: number, shorten: (part: Prompt.ToolResultPart) => string): Policy =>
  internal(name, (prompt, _over, { countText, keeping }) =>
    Effect.sync(() => {
      // Four bytes are about one token, and a token has at least one byte.
      const isLarge = (part: Prompt.ToolResultPart) => {
        const text = Offloaded.textOf(part)
        return text.length > above && countText(text) > above
      }
      const kept = new Set(Units.flat(Units.unitsOf(prompt.content, keeping).filter(({ isKept }) => isKept)))
      const messages = prompt.content.map((message) => {
        if (message.role !== "tool" || kept.has(message)) return message
        const content = message.content.map((part) => {
          if (part.type !== "tool-result" || !isLarge(part)) return part
          const text = shorten(part)
          return text === Offloaded.textOf(part) ? part : Offloaded.withText(part, text)
        })
        const isSame = content.every((part, at) => part === message.content[at])
        return isSame ? message : Prompt.toolMessage({ content, options: message.options })
      })
      return Prompt.fromMessages(messages)
    })
  )

/**
 * Leaves out the oldest messages, as many as have to be, and says so in their place. Summaries go last.
 */
export const dropOldest: Policy = internal("dropOldest", (prompt, over, { count, keeping }) =>
  Effect.sync(() => {
    const units = Units.unitsOf(prompt.content, keeping)
    const end = Units.beforeTurns(units, 1)
    const candidates = units.slice(0, end).filter(({ isKept }) => !isKept)
    const isMark = ({ messages }: Units.Unit) => Units.kindOf(messages[0]!) === "left-out"
    const dropped = new Set<Units.Unit>(candidates.filter(isMark))
    let left = over + count([leftOut])
    for (const unit of candidates.toSorted((a, b) => Number(a.isSummary) - Number(b.isSummary))) {
      if (left <= 0) break
      dropped.add(unit)
      left -= count(unit.messages)
    }
    if ([...dropped].every(isMark)) return prompt
    const at = units.findIndex((unit) => dropped.has(unit))
    return Prompt.fromMessages(
      units.flatMap((unit, index) => (dropped.has(unit) ? (index === at ? [leftOut] : []) : unit.messages))
    )
  })
)

const leftOut = loopMessage("[Earlier messages were left out here.]", Units.markOf("left-out"))

/** Options of {@link summarise}. */
export interface SummariseOptions {
  /** How many of the last turns stay as they are: an answer with its tool results, and what the user said before it. */
  readonly keepTurns: number
}

/**
 * Puts a summary in the place of older messages. Summaries are kept, and only what has come since is summarised next, so nothing
 * is summarised twice.
 *
 * The summary is made by the agent's own model, or `by` a runner that is given the messages as a text. Its run is nested in the
 * agent's, and its usage counts there. Where the model fails, the conversation stays as it is, for the next policy; what a runner
 * of yours fails with fails the run.
 */
export const summarise: {
  (options: SummariseOptions): Policy<never, LanguageModel.LanguageModel>
  <E, R>(options: SummariseOptions & { readonly by: Runner.Runner<string, string, E, R> }): Policy<E, R>
} = (
  options: SummariseOptions & { readonly by?: Runner.Runner<string, string, unknown, unknown> }
): Policy<never, never> => {
  const { by, keepTurns } = options
  const subject = 'compaction policy "summarise"'
  assertOptions(subject, options, namesOf<SummariseOptions & { readonly by: unknown }>({ keepTurns: true, by: true }))
  countOf(subject, "keepTurns", keepTurns)
  if (by !== undefined && !Runner.isRunner(by)) {
    throw invalid(subject, `by is ${kindOf(by)}`, "Give it a runner, such as an agent")
  }
  // Its errors and services are those of the runner, as the overloads say.
  return internal("summarise", (prompt, _over, info) =>
    Summary.summarise(prompt, keepTurns, info, by ?? writer, by === undefined)
  ) as Policy
}

const writer = Agent.make("summary", {
  description: "Summarises a conversation",
  instructions:
    "You are given the older part of a conversation between a user and an assistant with tools. Write a summary from which the assistant can go on without it. Keep what the user wants, decisions, facts, names, numbers, file names, what was done and what is still to do. Leave out greetings and what turned out to be of no use. Do not answer the user. Write at most 400 words."
})

/**
 * A message that is never left out, summarised or shortened.
 *
 * @example
 * import { Prompt } from "effect/ai"
 * import { Compaction } from "troupe"
 *
 * const rule = Compaction.pin(Prompt.userMessage({ content: [Prompt.textPart({ text: "Always answer in French." })] }))
 */
export const pin = <M extends Prompt.Message>(message: M): M => {
  const own = (message.options as Readonly<Record<string, object | undefined>>)[Notes.key]
  const options = { ...message.options, [Notes.key]: { ...own, pinned: true } }
  return remade(message, message.content, options) as M
}

const isPinned = (message: Prompt.Message): boolean => Notes.noteOf(message, "pinned") === true

/** One compaction of a conversation. */
export interface Mark {
  /** The place of the answer that came after it, in the conversation. */
  readonly at: number
  /** How many messages before it were sent in another form from then on. */
  readonly covers: number
}

/** Where a conversation was compacted, by its transcript. Throws for what is not a conversation, as `Prompt.make` does. */
export const marks = (transcript: Prompt.RawInput): ReadonlyArray<Mark> =>
  toPrompt(transcript).content.flatMap((message, at) => {
    const found = message.role === "assistant" ? View.coversIn(Notes.noteOf(message, View.note)) : undefined
    return found === undefined ? [] : [{ at, covers: found }]
  })
