/** Where the events of a run go: to its observers and streams, and to those of the runs above it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Decision, RunEvent } from "../RunEvent.ts"
import { isTerminal, version } from "../RunEvent.ts"
import type { RunInfo } from "../services/CurrentRun.ts"

/** Receives events. The run waits until the Effect has ended. */
export type Observer = (event: RunEvent) => Effect.Effect<void>

/** Takes events where they cannot be late: `push` at once and in order, then the run waits for `room`. */
export interface Outlet {
  readonly push: (event: RunEvent) => void
  readonly room: Effect.Effect<void>
}

interface Sinks {
  readonly observers: ReadonlyArray<Observer>
  readonly outlets: ReadonlyArray<Outlet>
}

const none: ReadonlyArray<never> = []

const joined = (above: Sinks, own: Sinks): Sinks => {
  if (own.observers.length === 0 && own.outlets.length === 0) return above
  return {
    observers: [...above.observers, ...own.observers],
    outlets: [...above.outlets, ...own.outlets]
  }
}

type Common = "v" | "seq" | "runId" | "path" | "at"
type Distribute<E> = E extends unknown ? Omit<E, Common> : never
/** An event without the fields that {@link EventSink.emit} fills in. */
export type Draft = Distribute<RunEvent>
type DecisionDraft = Extract<Draft, { readonly _tag: Decision["_tag"] }>

const roomOf = ({ outlets }: Sinks): Effect.Effect<void> =>
  outlets.length === 1 ? outlets[0]!.room : Effect.forEach(outlets, (outlet) => outlet.room, { discard: true })

/** The counters that the sinks of a tree of runs share. */
interface Tree {
  seq: number
}

/** The part of a run that its sink needs. */
export interface SinkOptions {
  readonly observers?: ReadonlyArray<Observer> | undefined
  /** Where the events of a `stream` go; agents of its tree stream their model calls. */
  readonly outlet?: Outlet | undefined
  /** Whether decisions and transcripts are kept for `result`. A run with observers always keeps them. */
  readonly recording?: boolean | undefined
}

/** The sink of one run. */
export class EventSink {
  readonly #parent: EventSink | undefined
  readonly #info: RunInfo
  readonly #own: Sinks
  readonly #sinks: Sinks
  readonly #tree: Tree
  /** True without an observer, so that events need not be made. */
  readonly silent: boolean
  readonly streaming: boolean
  readonly recording: boolean
  #startSeq = 0
  #ended = false
  readonly #decisions: Array<Decision> = []

  constructor(parent: EventSink | undefined, info: RunInfo, { observers = none, outlet, recording }: SinkOptions) {
    this.#parent = parent
    this.#info = info
    this.#own = { observers, outlets: outlet === undefined ? none : [outlet] }
    this.#sinks = parent === undefined ? this.#own : joined(parent.#sinks, this.#own)
    this.#tree = parent === undefined ? { seq: 0 } : parent.#tree
    this.silent = this.#sinks.observers.length === 0 && this.#sinks.outlets.length === 0
    this.streaming = outlet !== undefined || parent?.streaming === true
    this.recording = recording === true || parent?.recording === true || (parent === undefined && !this.silent)
  }

  /** The `seq` of the run's `RunStarted`. */
  get startSeq(): number {
    return this.#startSeq
  }

  /** The `seq` that the next event of the tree will have. */
  get nextSeq(): number {
    return this.#tree.seq
  }

  /** The decisions of this run and of its nested runs, when recording. */
  get decisions(): ReadonlyArray<Decision> {
    return this.#decisions
  }

  /**
   * Emits an event. A numbered event is always delivered: an interruption ends only the wait for a slow stream. Without
   * `waits`, the events that follow do the waiting.
   */
  emit(draft: Draft, waits = true): Effect.Effect<void> {
    if (this.silent) return Effect.void
    if (this.#sinks.observers.length === 0) {
      return Effect.withFiber((fiber) => {
        const listening = this.#listening()
        this.#push(draft, fiber, listening)
        return this.#roomAfter(draft, waits, listening)
      })
    }
    // Nothing comes between the number of an event and its observers.
    const observed = Effect.withFiber((fiber) => {
      const listening = this.#listening()
      const event = this.#push(draft, fiber, listening)
      return Effect.as(
        Effect.forEach(listening.observers, (observer) => observer(event), { discard: true }),
        this.#roomAfter(draft, waits, listening)
      )
    })
    return Effect.flatten(Effect.uninterruptible(observed))
  }

  /** Waits until streams have room for more events. */
  get room(): Effect.Effect<void> {
    return this.#sinks.outlets.length === 0 ? Effect.void : Effect.suspend(() => roomOf(this.#listening()))
  }

  /** Waits until streams have room after an event; not after one of an end: a slow reader must not delay the interruption of the siblings. */
  #roomAfter({ _tag }: Draft, waits: boolean, listening: Sinks): Effect.Effect<void> {
    return !waits || this.#ended || _tag === "ItemCompleted" ? Effect.void : roomOf(listening)
  }

  /** Numbers an event and pushes it to the streams. */
  #push(draft: Draft, fiber: Fiber.Fiber<unknown, unknown>, { outlets }: Sinks): RunEvent {
    const event = {
      ...draft,
      v: version,
      seq: this.#tree.seq++,
      runId: this.#info.runId,
      path: this.#info.path,
      at: fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    } as RunEvent
    if (event._tag === "RunStarted") this.#startSeq = event.seq
    if (isTerminal(event)) this.#ended = true
    for (const outlet of outlets) outlet.push(event)
    return event
  }

  /** Emits what a workflow has decided, and keeps it for `result`. */
  decide(draft: DecisionDraft): Effect.Effect<void> {
    return Effect.suspend(() => {
      const decision = { ...draft, path: this.#info.path }
      for (let sink: EventSink | undefined = this; sink?.recording === true; sink = sink.#parent) {
        sink.#decisions.push(decision)
      }
      return this.emit(draft)
    })
  }

  /** When a run outlives the run that it was detached from, only its own observers receive its events. */
  #listening(): Sinks {
    let detached = this.#ended
    for (let above = this.#parent; above !== undefined && !detached; above = above.#parent) detached = above.#ended
    return detached ? this.#whileDetached() : this.#sinks
  }

  #whileDetached(): Sinks {
    if (this.#ended) return { observers: none, outlets: none }
    return this.#parent === undefined ? this.#own : joined(this.#parent.#whileDetached(), this.#own)
  }
}
