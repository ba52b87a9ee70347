/**
 * The bookkeeping of one run: who it is, where its events go, what it has spent. Mutable, owned by the run's fibers,
 * never handed to users. It may touch `RunEvent` and `services/CurrentRun`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Response from "effect/ai/Response"
import * as Random from "effect/Random"
import type { Decision, RunEvent, Spent, ToolCallReport, ToolCallStatus } from "../RunEvent.ts"
import { isTerminal, version } from "../RunEvent.ts"
import { ConversationId, type RunInfo } from "../services/CurrentRun.ts"
import { RunTranscript } from "./runTranscript.ts"
import { makeUsage } from "./usage.ts"

/** Receives events. The run waits until the Effect has ended. */
export type Observer = (event: RunEvent) => Effect.Effect<void>

/** Takes events where they cannot be late: `push` at once and in order, then the run waits for `room`. */
export interface Outlet {
  readonly push: (event: RunEvent) => void
  readonly room: Effect.Effect<void>
}

/** Where the events of a run go. */
interface Sinks {
  readonly observers: ReadonlyArray<Observer>
  readonly outlets: ReadonlyArray<Outlet>
}

const joined = (above: Sinks, own: Sinks): Sinks => {
  if (own.observers.length === 0 && own.outlets.length === 0) return above
  return {
    observers: [...above.observers, ...own.observers],
    outlets: [...above.outlets, ...own.outlets]
  }
}

type Common = "v" | "seq" | "runId" | "path" | "at"
type Distribute<E> = E extends unknown ? Omit<E, Common> : never
/** An event without the fields that {@link RunState.emit} fills in. */
export type Draft = Distribute<RunEvent>
type DecisionDraft = Extract<Draft, { readonly _tag: Decision["_tag"] }>

interface Tree {
  seq: number
}

interface MutableToolCall {
  readonly step: number
  readonly toolCallId: string
  readonly tool: string
  status: ToolCallStatus
}

interface Totals {
  input: number | undefined
  cacheRead: number | undefined
  cacheWrite: number | undefined
  output: number | undefined
  reasoning: number | undefined
}

const plus = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : a + b
const minus = (a: number | undefined, b: number | undefined, c: number | undefined): number | undefined =>
  a === undefined ? undefined : Math.max(0, a - (b ?? 0) - (c ?? 0))

const none: ReadonlyArray<never> = []

/** What `Runner` asks for when it begins a run. */
export interface Options {
  readonly observers?: ReadonlyArray<Observer> | undefined
  /** Where the events of a `stream` go; agents of its tree stream their model calls. */
  readonly outlet?: Outlet | undefined
  /** Whether transcripts are kept for `result`. A run with observers always keeps them. */
  readonly recording?: boolean | undefined
  /** What the run is given, for its transcript. */
  readonly input?: unknown
}

export class RunState {
  readonly info: RunInfo
  readonly parent: RunState | undefined
  readonly #own: Sinks
  readonly #sinks: Sinks
  /** True when there is no observer, so that events need not be made. */
  readonly silent: boolean
  readonly streaming: boolean
  readonly recording: boolean
  readonly startedAt: number
  readonly tree: Tree
  readonly toolCalls: Array<MutableToolCall> = []
  /** The text of the step under way, or of the last one. */
  text = ""
  /** Steps begun in this run and the runs nested in it. */
  steps = 0
  /** The `seq` of this run's `RunStarted`. */
  startSeq = 0
  #ended = false
  finishReason: Response.FinishReason | undefined = undefined
  /** Set by a tool that has given the conversation over to another runner: the run ends without an answer of its own. */
  handedOver = false
  /** Called whenever usage of the run or of a run nested in it has been counted. */
  onUsage: (() => void) | undefined = undefined
  /** What was said in the run, when recording. */
  readonly transcript: RunTranscript | undefined
  /** What this run and the runs nested in it have decided, when recording. */
  readonly decisions: Array<Decision> = []
  readonly #totals: Totals = {
    input: undefined,
    cacheRead: undefined,
    cacheWrite: undefined,
    output: undefined,
    reasoning: undefined
  }

  constructor(fiber: Fiber.Fiber<unknown, unknown>, name: string, parent: RunState | undefined, options: Options) {
    const runId = makeId(fiber)
    const rootId = parent?.info.rootId ?? runId
    this.info = {
      runId,
      rootId,
      path: parent === undefined ? [name] : [...parent.info.path, name],
      conversationId: fiber.getRef(ConversationId) ?? parent?.info.conversationId ?? rootId,
      step: undefined,
      toolCallId: undefined,
      idempotencyKey: undefined
    }
    this.parent = parent
    const { observers = none, outlet } = options
    this.#own = { observers, outlets: outlet === undefined ? none : [outlet] }
    this.#sinks = parent === undefined ? this.#own : joined(parent.#sinks, this.#own)
    this.silent = this.#sinks.observers.length === 0 && this.#sinks.outlets.length === 0
    this.streaming = outlet !== undefined || parent?.streaming === true
    this.recording = options.recording === true || parent?.recording === true || (parent === undefined && !this.silent)
    this.startedAt = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    this.tree = parent?.tree ?? { seq: 0 }
    this.transcript = this.recording ? new RunTranscript(options.input) : undefined
    if (this.transcript !== undefined) parent?.transcript?.add(this.transcript)
  }

  /**
   * Emits an event. A numbered event is always delivered: an interruption ends only the wait for a slow stream. Without
   * `waits`, the events that follow do the waiting.
   */
  emit(draft: Draft, waits = true): Effect.Effect<void> {
    if (this.silent) return Effect.void
    return Effect.withFiber((fiber) => {
      const event = {
        ...draft,
        v: version,
        seq: this.tree.seq++,
        runId: this.info.runId,
        path: this.info.path,
        at: fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      } as RunEvent
      if (event._tag === "RunStarted") this.startSeq = event.seq
      const { observers, outlets } = this.#listening()
      if (isTerminal(event)) this.#ended = true
      for (const outlet of outlets) outlet.push(event)
      // Do not wait after the event of an end: a slow reader must not delay the interruption of the siblings.
      const ends = !waits || this.#ended || event._tag === "ItemCompleted"
      const room = ends
        ? Effect.void
        : outlets.length === 1
          ? outlets[0]!.room
          : Effect.forEach(outlets, (outlet) => outlet.room, { discard: true })
      if (observers.length === 0) return room
      return Effect.andThen(
        Effect.uninterruptible(Effect.forEach(observers, (observer) => observer(event), { discard: true })),
        room
      )
    })
  }

  /** Tells what a workflow has decided, and keeps it for `result`. */
  decide(draft: DecisionDraft): Effect.Effect<void> {
    return Effect.suspend(() => {
      const decision = { ...draft, path: this.info.path }
      for (let state: RunState | undefined = this; state?.recording === true; state = state.parent) {
        state.decisions.push(decision)
      }
      return this.emit(draft)
    })
  }

  /** When a run outlives the run that it was detached from, only its own observers receive its events. */
  #listening(): Sinks {
    let detached = this.#ended
    for (let above = this.parent; above !== undefined && !detached; above = above.parent) detached = above.#ended
    return detached ? this.#whileDetached() : this.#sinks
  }

  #whileDetached(): Sinks {
    if (this.#ended) return { observers: none, outlets: none }
    return this.parent === undefined ? this.#own : joined(this.parent.#whileDetached(), this.#own)
  }

  /** Counts a step in this run and every run above it. */
  addStep(): void {
    for (let state: RunState | undefined = this; state !== undefined; state = state.parent) state.steps++
  }

  /** Counts usage in this run and every run above it. */
  addUsage(usage: Response.Usage): void {
    for (let state: RunState | undefined = this; state !== undefined; state = state.parent) {
      const totals = state.#totals
      totals.input = plus(totals.input, usage.inputTokens.total)
      totals.cacheRead = plus(totals.cacheRead, usage.inputTokens.cacheRead)
      totals.cacheWrite = plus(totals.cacheWrite, usage.inputTokens.cacheWrite)
      totals.output = plus(totals.output, usage.outputTokens.total)
      totals.reasoning = plus(totals.reasoning, usage.outputTokens.reasoning)
      state.onUsage?.()
    }
  }

  get usage(): Response.Usage {
    const { input, cacheRead, cacheWrite, output, reasoning } = this.#totals
    return makeUsage({
      inputTokens: { uncached: minus(input, cacheRead, cacheWrite), total: input, cacheRead, cacheWrite },
      outputTokens: { total: output, text: minus(output, reasoning, undefined), reasoning }
    })
  }

  /** What was spent so far. Tool calls still marked as running count as `interrupted`. */
  spent(): Spent {
    return {
      usage: this.usage,
      steps: this.steps,
      text: this.text,
      toolCalls: this.toolCalls.map((call): ToolCallReport => ({ ...call }))
    }
  }
}

const makeId = (fiber: Fiber.Fiber<unknown, unknown>): string => {
  const random = fiber.getRef(Random.Random)
  const part = () =>
    Math.floor(random.nextDoubleUnsafe() * 2 ** 52)
      .toString(36)
      .padStart(11, "0")
  return `run_${part()}${part()}`
}

/** The state of the run that the current fiber works for. */
export const CurrentState: Context.Reference<RunState | undefined> = Context.Reference<RunState | undefined>(
  "troupe/internal/RunState",
  { defaultValue: () => undefined }
)
