/**
 * The bookkeeping of one run: who it is, where its events go, what it has spent. Mutable, owned by the run's fibers,
 * never handed to users. It may touch `RunEvent` and `services/CurrentRun`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Random from "effect/Random"
import type { RunEvent, Spent, ToolCallReport, ToolCallStatus } from "../RunEvent.ts"
import { version } from "../RunEvent.ts"
import { ConversationId, type RunInfo } from "../services/CurrentRun.ts"
import { makeUsage } from "./usage.ts"

/** Takes events; it may wait, and then the run waits with it. */
export type Sink = (event: RunEvent) => Effect.Effect<void>

type Common = "v" | "seq" | "runId" | "path" | "at"
type Distribute<E> = E extends unknown ? Omit<E, Common> : never
/** An event without the fields that {@link RunState.emit} fills in. */
export type Draft = Distribute<RunEvent>

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

/** What `Runner` asks for when it begins a run. */
export interface Options {
  readonly sinks?: ReadonlyArray<Sink> | undefined
  /** Whether agents of this tree stream their model calls. */
  readonly streaming?: boolean | undefined
  /** Whether transcripts are kept for `result`. */
  readonly recording?: boolean | undefined
}

export class RunState {
  readonly info: RunInfo
  readonly parent: RunState | undefined
  readonly sinks: ReadonlyArray<Sink>
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
  finishReason: Response.FinishReason | undefined = undefined
  /** Set by an agent when it records; otherwise the transcripts of nested runs, in the order they began. */
  transcript: Prompt.Prompt | undefined = undefined
  readonly children: Array<RunState> = []
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
    const own = options.sinks ?? []
    this.sinks = parent === undefined ? own : own.length === 0 ? parent.sinks : [...parent.sinks, ...own]
    this.streaming = options.streaming === true || parent?.streaming === true
    this.recording = options.recording === true || parent?.recording === true
    this.startedAt = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    this.tree = parent?.tree ?? { seq: 0 }
    if (this.recording) parent?.children.push(this)
  }

  /** True when nobody listens, so that events need not be made. */
  get silent(): boolean {
    return this.sinks.length === 0
  }

  emit(draft: Draft): Effect.Effect<void> {
    if (this.sinks.length === 0) return Effect.void
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
      if (this.sinks.length === 1) return this.sinks[0]!(event)
      return Effect.forEach(this.sinks, (sink) => sink(event), { discard: true })
    })
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

  /** The whole conversation of the run: an agent's own, or those of the nested runs one after the other. */
  conversation(): Prompt.Prompt {
    if (this.transcript !== undefined) return this.transcript
    return this.children.reduce((all, child) => Prompt.concat(all, child.conversation()), Prompt.empty)
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
