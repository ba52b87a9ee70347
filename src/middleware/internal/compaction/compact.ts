/** Compacts what is sent at one step, and remembers it for the steps that follow. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as AiError from "effect/ai/AiError"
import { memoize } from "effect/Function"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import * as ContextLength from "../../../internal/contextLength.ts"
import type * as Middleware from "../../../Middleware.ts"
import { ModelError } from "../../../RunError.ts"
import * as Count from "./count.ts"
import { emit } from "../emit.ts"
import { brokenBy, type Keeping } from "./units.ts"
import * as View from "./view.ts"

type Messages = ReadonlyArray<Prompt.Message>

/** What a policy may ask about what it is given: how many tokens messages and texts have, and how large the window is. */
export interface PolicyInfo {
  readonly count: (messages: ReadonlyArray<Prompt.Message>) => number
  readonly countText: (text: string) => number
  readonly window: number
}

/** What a policy of ours is given. */
export interface OwnInfo extends PolicyInfo {
  readonly keeping: Keeping
}

/** A policy without its types. */
export interface AnyPolicy {
  readonly name: string
  readonly apply: (prompt: Prompt.Prompt, over: number, info: OwnInfo) => Effect.Effect<Prompt.Prompt, unknown, unknown>
}

/** How an agent's conversation is compacted. */
export interface Settings {
  readonly window: number
  /** In tokens: what is longer is compacted. */
  readonly limit: number
  /** The part of the window to compact to. */
  readonly to: number
  readonly policies: ReadonlyArray<AnyPolicy>
  readonly keeping: Keeping
  readonly counter: Count.Counter | undefined
}

/** What is known in one run. */
export class State {
  view: View.View | undefined
  /** Whether the notes of the conversation were looked at. */
  isRead = false
  /** The size of the window, where a server has said that it is smaller. */
  window = Number.POSITIVE_INFINITY
  /** What was sent last, and the tokens that its provider has counted. */
  #sent: { readonly messages: Messages; readonly tokens: number } | undefined

  /** Finds the view of the conversation. */
  viewOf(rest: Messages): View.View | undefined {
    const isKnown = this.view !== undefined && View.isOf(this.view, rest)
    if (!isKnown && (this.view !== undefined || !this.isRead)) this.view = View.noted(rest)
    this.isRead = true
    return this.view
  }

  onAnswer(messages: Messages, { usage }: Middleware.Turn): void {
    const tokens = usage.inputTokens.total
    this.#sent = tokens === undefined || tokens === 0 ? undefined : { messages, tokens }
  }

  /** How many tokens the messages have: what the provider has counted, and what is new. */
  sizeOf(messages: Messages, counter: Count.Counter, others: number): number {
    const estimated = counter.messages(messages) + others
    const sent = this.#sent
    if (sent === undefined || sent.messages.length > messages.length) return estimated
    if (sent.messages.some((message, index) => message !== messages[index])) return estimated
    const counted = sent.tokens + counter.messages(messages.slice(sent.messages.length))
    // Some servers count only a part, such as what was not in their cache.
    return counted * 3 < estimated ? estimated : counted
  }
}

/** What is about to be sent, and what of it was compacted now. */
export interface Prepared {
  /** The step that it is sent at. */
  readonly step: number
  readonly head: Messages
  readonly rest: Messages
  readonly messages: Messages
  readonly isNew: boolean
}

/** How many tokens the tools of a request take that the model is shown. */
const toolTokens = memoize((tools: Middleware.ModelRequest["tools"]): number => {
  const shown = tools.filter(({ isDeferred }) => isDeferred !== true)
  return shown.length === 0 ? 0 : Count.estimate.text(JSON.stringify(shown))
})

/** What is sent for the request: as before where it fits, and compacted where it does not. */
export const prepare = Effect.fnUntraced(function* (
  settings: Settings,
  state: State,
  request: Middleware.ModelRequest
) {
  const { head, rest } = View.partsOf(request.prompt)
  const messages = View.shown(state.viewOf(rest), rest)
  const limit = Math.min(settings.limit, state.window * (settings.limit / settings.window))
  const others = toolTokens(request.tools)
  const rough = state.sizeOf([...head, ...messages], settings.counter ?? Count.estimate, others)
  const prepared: Prepared = { step: request.step, head, rest, messages, isNew: false }
  // The tokenizer is loaded once it can make a difference.
  if (rough * 2 < limit) return prepared
  const counter = settings.counter ?? (yield* Count.exact)
  const size = state.sizeOf([...head, ...messages], counter, others)
  if (size <= limit) return prepared
  const target = Math.min(settings.window, state.window) * settings.to
  return yield* compact(settings, state, prepared, counter, { size, target })
})

/** How many tokens what is sent has, and is to have. */
interface Aim {
  readonly size: number
  readonly target: number
}

/** Applies the policies in their order, until what is sent has the size that it is to have. */
const compact = Effect.fnUntraced(function* (
  settings: Settings,
  state: State,
  prepared: Prepared,
  counter: Count.Counter,
  { size, target }: Aim
): Effect.fn.Return<Prepared, unknown, unknown> {
  const { head, rest } = prepared
  const { keeping, policies, window } = settings
  const info: OwnInfo = {
    count: counter.messages,
    countText: counter.text,
    // Policies of users may leave it out.
    keeping: { ...keeping, keepLast: true },
    window: Math.min(window, state.window)
  }
  // What is not of the messages, such as tools, stays as it is.
  const others = size - counter.messages(prepared.messages)
  let messages = prepared.messages
  for (const policy of policies) {
    const before = others + counter.messages(messages)
    if (before <= target) break
    const given = [...head, ...messages]
    const { content } = yield* policy.apply(Prompt.fromMessages(given), before - target, info)
    const broken = brokenBy(given, content, keeping)
    if (broken !== undefined) return yield* Effect.die(new Error(`compaction policy "${policy.name}": ${broken}`))
    const made = content.slice(head.length)
    if (made.length === messages.length && made.every((message, at) => message === messages[at])) continue
    messages = made
    const after = others + counter.messages(made)
    const change = { policy: policy.name, before: Math.round(before), after: Math.max(0, Math.round(after)) }
    yield* emit((events) => events.emit({ _tag: "Compacted", step: prepared.step, ...change }))
  }
  const view = View.after(state.view, rest, messages)
  const isNew = view !== state.view
  state.view = view
  return { ...prepared, messages, isNew }
})

/** What is sent after a server has said that the conversation is too long; `undefined` where nothing can be left out. */
export const shorten = Effect.fnUntraced(function* (
  settings: Settings,
  state: State,
  prepared: Prepared,
  words: string
): Effect.fn.Return<Prepared | undefined, unknown, unknown> {
  const counter = settings.counter ?? (yield* Count.exact)
  const size = counter.messages([...prepared.head, ...prepared.messages])
  const said = ContextLength.sizeIn(words)
  if (said !== undefined && said < settings.window) state.window = Math.min(state.window, said)
  const target = Math.min(Math.min(settings.window, state.window) * settings.to, size / 2)
  const shorter = yield* compact(settings, state, prepared, counter, { size, target })
  return counter.messages(shorter.messages) < counter.messages(prepared.messages)
    ? { ...shorter, isNew: prepared.isNew || shorter.isNew }
    : undefined
})

/** The words of a model that says that the conversation is too long; `undefined` for any other error. */
export const overflowIn = (error: unknown): string | undefined => {
  const reason = error instanceof ModelError ? error.reason.reason : AiError.isAiError(error) ? error.reason : undefined
  if (reason === undefined) return undefined
  const words = `${reason.message}\n${Predicate.hasProperty(reason, "description") ? String(reason.description) : ""}`
  const isRefusal = reason._tag === "InvalidRequestError" || reason._tag === "InvalidUserInputError"
  if (isRefusal) return ContextLength.isSaidInRefusal(words) ? words : undefined
  const isOther = reason._tag === "RateLimitError" || reason._tag === "QuotaExhaustedError"
  return !isOther && ContextLength.isSaid(words) ? words : undefined
}

/** The note on the answer to what was compacted. */
export const noteOf = (state: State, { rest }: Prepared): Schema.Json | undefined =>
  state.view === undefined ? undefined : View.toNote(state.view, rest)
