/**
 * The events of one run as they are kept: once, in one order, whichever executions emitted them. An execution that goes on
 * emits again what earlier ones emitted, because the run is replayed from its start; only what is new is written.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { canonical } from "../../../internal/fingerprint.ts"
import { toJson } from "../../../internal/json.ts"
import { isTerminal, type RunEvent } from "../../../RunEvent.ts"

/** Writes a batch whose first event has this number; false once a later execution has begun. */
export type Write = (first: number, events: ReadonlyArray<RunEvent>) => Effect.Effect<boolean>

/** How many events wait before they are written at once. */
const batch = 64

type Delta = Extract<RunEvent, { readonly _tag: "TextDelta" | "ReasoningDelta" }>
const isDelta = (event: RunEvent): event is Delta => event._tag === "TextDelta" || event._tag === "ReasoningDelta"

const isOfModel: ReadonlySet<string> = new Set([
  "TextDelta",
  "ReasoningDelta",
  "StepRetried",
  "TurnReplaced",
  "OutputRejected",
  "StepCompleted"
])

/** The fields that differ between two records of the same event. */
const varying: ReadonlySet<string> = new Set([
  "seq",
  "at",
  "durationMs",
  "spent",
  "transcript",
  "discardFrom",
  "usage",
  "cost",
  // Branches that end at about the same time may end in another order.
  "done"
])

/** The same text for two records of one event. */
const identityOf = (event: RunEvent): string =>
  canonical(toJson(Object.fromEntries(Object.entries(event).filter(([field]) => !varying.has(field)))))

const stepOf = (event: { readonly runId: string; readonly step: number }): string => `${event.runId} ${event.step}`

/** What is kept of a step's model call. */
interface Sent {
  /** The number of its first delta. */
  first: number | undefined
  /** True once an event after the model call is kept. */
  over: boolean
  /** True once this execution has emitted deltas of it that are new. */
  isLive: boolean
}

/** The log of one execution, which starts with what earlier ones have kept. */
export class EventLog {
  readonly #write: Write
  readonly #kept = new Map<string, number>()
  readonly #steps = new Map<string, Sent>()
  /** Numbers in this execution's stream, and those that the log gave. */
  readonly #numbers: Array<readonly [seq: number, kept: number]> = []
  readonly #one = Semaphore.makeUnsafe(1)
  #pending: Array<RunEvent> = []
  /** How many items each run has seen end. */
  readonly #done = new Map<string, number>()
  /** The nested runs that have begun and not ended. */
  readonly #open = new Set<string>()
  readonly #generation: number
  #next = 0
  #written = 0
  #ends = 0
  #isStopped = false

  /** `generation`: how often the run was tried again. Each try before this one has left an end among what is kept. */
  constructor(write: Write, kept: ReadonlyArray<RunEvent>, generation: number) {
    this.#write = write
    this.#generation = generation
    for (const event of kept) {
      this.#next = event.seq + 1
      this.#note(event)
      if (!isDelta(event)) {
        const identity = identityOf(event)
        this.#kept.set(identity, (this.#kept.get(identity) ?? 0) + 1)
      }
    }
    this.#written = this.#next
  }

  /** True when so many events wait that they should be written now. */
  get isFull(): boolean {
    return this.#pending.length >= batch
  }

  /** The number of the next event. */
  get next(): number {
    return this.#next
  }

  /** Whether the run's last event is there. */
  get isClosed(): boolean {
    return this.#ends > this.#generation
  }

  /** Whether an event ends the root run while runs inside of it are open, such as one that slept and was cancelled. */
  leavesOpen(event: RunEvent): boolean {
    return event.path.length === 1 && isTerminal(event) && this.#open.size > 0 && !this.#isStopped && !this.isClosed
  }

  /** Takes nothing more: another execution goes on from what is kept by now. */
  stop(): void {
    this.#isStopped = true
  }

  /** Whether another execution goes on with the run. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Takes an event of this execution. After the run's last event, which an earlier execution may have kept, it is nothing new. */
  add(event: RunEvent): void {
    if (this.#isStopped || this.isClosed) return
    this.#numbers.push([event.seq, this.#next])
    if (isDelta(event)) return this.#addDelta(event)
    if (this.#wasKept(event)) return
    this.#append(event)
  }

  #wasKept(event: RunEvent): boolean {
    if (this.#kept.size === 0) return false
    const identity = identityOf(event)
    const times = this.#kept.get(identity) ?? 0
    if (times === 0) return false
    if (times === 1) this.#kept.delete(identity)
    else this.#kept.set(identity, times - 1)
    return true
  }

  /** A turn whose deltas were written before the execution ended, and that is emitted again, replaces them. */
  #addDelta(event: Delta): void {
    const sent = this.#sentOf(event)
    if (sent.over) return
    if (sent.first !== undefined && !sent.isLive) {
      const { at, path, runId, step, v } = event
      const discardFrom = sent.first
      this.#append({
        _tag: "StepRetried",
        v,
        seq: 0,
        at,
        path,
        runId,
        step,
        attempt: 2,
        discardFrom,
        reason: "the run goes on elsewhere"
      })
      sent.first = undefined
    }
    sent.isLive = true
    this.#append(event)
  }

  #sentOf(event: { readonly runId: string; readonly step: number }): Sent {
    const key = stepOf(event)
    const sent = this.#steps.get(key) ?? { first: undefined, over: false, isLive: false }
    this.#steps.set(key, sent)
    return sent
  }

  #note(event: RunEvent): void {
    if (event.path.length === 1) this.#ends += isTerminal(event) ? 1 : 0
    else if (event._tag === "RunStarted") this.#open.add(event.runId)
    else if (isTerminal(event)) this.#open.delete(event.runId)
    if (event._tag === "ItemCompleted") this.#done.set(event.runId, event.done)
    if (event._tag === "RunRetried") this.#done.delete(event.runId)
    if (event._tag === "StepStarted" || !("toolCallId" in event || isOfModel.has(event._tag)) || !("step" in event))
      return
    const sent = this.#sentOf(event)
    if (isDelta(event)) sent.first ??= event.seq
    else if (event._tag === "StepRetried" || event._tag === "TurnReplaced") sent.first = undefined
    else sent.over = true
  }

  #append(event: RunEvent): void {
    const last = this.#pending.at(-1)
    if (last !== undefined && isDelta(event) && isDelta(last) && isSamePiece(last, event)) {
      this.#pending[this.#pending.length - 1] = { ...last, delta: last.delta + event.delta }
      return
    }
    const kept = this.#numbered(event)
    this.#note(kept)
    this.#pending.push(kept)
  }

  /** The event with the numbers that it has among what is kept. */
  #numbered(event: RunEvent): RunEvent {
    const seq = this.#next++
    if (event._tag === "ItemCompleted") return { ...event, seq, done: (this.#done.get(event.runId) ?? 0) + 1 }
    return "discardFrom" in event && event.seq !== 0
      ? { ...event, seq, discardFrom: this.#numberOf(event.discardFrom) }
      : { ...event, seq }
  }

  /** The number that the log gave to an event of this execution. */
  #numberOf(seq: number): number {
    for (let i = this.#numbers.length - 1; i >= 0; i--) if (this.#numbers[i]![0] <= seq) return this.#numbers[i]![1]
    return 0
  }

  /**
   * Writes what waits. False once a later execution has begun. One batch is written after the other, and one that is begun is
   * written: otherwise the numbers would have gaps where the database is out of reach for a while.
   */
  readonly flush: Effect.Effect<boolean> = Effect.suspend(() => {
    if (this.#pending.length === 0) return Effect.succeed(true)
    const events = this.#pending
    const first = this.#written
    this.#pending = []
    this.#written = this.#next
    return this.#write(first, events)
  }).pipe(this.#one.withPermits(1), Effect.uninterruptible)
}

const isSamePiece = (a: Delta, b: Delta): boolean => a._tag === b._tag && a.runId === b.runId && a.step === b.step
