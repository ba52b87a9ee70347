/**
 * The bookkeeping of one run: its identity, where its events go, its bill and its transcript. Each has a module that alone
 * writes it. Owned by the run's fibers, never given to users.
 */
import { invalid } from "./definition.ts"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Prompt from "effect/ai/Prompt"
import * as Random from "effect/Random"
import type { InvalidDefinition } from "../RunError.ts"
import { ConversationId, type RunInfo } from "../services/CurrentRun.ts"
import { CurrentJournal } from "../services/Journal.ts"
import { Bill } from "./bill.ts"
import type { Ledger } from "./budget.ts"
import { Jobs } from "./jobs.ts"
import { EventSink, type SinkOptions } from "./eventSink.ts"
import { type Begun, CurrentPlace, Place, placeIn } from "./place.ts"
import { RunTranscript } from "./runTranscript.ts"
import { CurrentAccount } from "./stepAccount.ts"

/** The arguments of a new run. */
export interface Options extends SinkOptions {
  /** The run's input, for its transcript. */
  readonly input?: unknown
  /** The session that the run is a turn of. */
  readonly session?: string | undefined
  /** Whether the run is one of a function, which begins again from its start when it goes on. */
  readonly isFunction?: boolean
}

/** What undoes a part of a run that has finished. */
export interface Hook {
  /** Names the part by its place. */
  readonly key: string
  readonly name: string
  readonly undo: Effect.Effect<unknown>
  /** Where the part is: its place, and those of the runs around it. */
  readonly trail: ReadonlyArray<string>
  /** Counts the parts in the order in which they have finished. */
  readonly n: number
}

/** What a run counts for a limit, in addition to its steps, its tool calls and its budgets. One that goes on from an answer counts on. */
export interface Count {
  value: number
}

const noCounts: ReadonlyMap<string, Count> = new Map()

/** The state of one run. */
export class RunState {
  readonly info: RunInfo
  readonly parent: RunState | undefined
  /** The place in the run around it at which it began. */
  readonly begunAt: Place | undefined
  readonly startedAt: number
  readonly events: EventSink
  readonly bill: Bill
  /** What an agent tells its model first. */
  instructions: Prompt.SystemMessage | undefined
  readonly input: unknown
  #transcript: RunTranscript | undefined
  #handedOver = false
  #budget: Ledger | undefined
  #jobs: Jobs | undefined
  #place: Place | undefined
  #hooks: Array<Hook> | undefined
  #counts: Map<string, Count> | undefined
  #attempts = 1
  #newSteps = 0
  readonly isFunction: boolean
  /** Which of the runs of its name it is, in the function that has begun it. */
  readonly ordinal: number
  #begun: Map<string, number> | undefined

  constructor(fiber: Fiber.Fiber<unknown, unknown>, name: string, parent: RunState | undefined, options: Options) {
    this.begunAt = parent === undefined ? undefined : placeIn(parent, fiber.getRef(CurrentPlace))
    this.info = identify(fiber, name, parent?.info, this.begunAt, options.session)
    this.parent = parent
    this.isFunction = options.isFunction === true
    this.ordinal = parent?.isFunction === true ? parent.#nth(name) : 1
    const account = parent === undefined ? undefined : fiber.getRef(CurrentAccount)
    const own = account?.state === parent ? account : undefined
    this.#budget = own?.ledger ?? parent?.budget
    this.startedAt = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    this.events = new EventSink(parent?.events, this.info, options)
    this.bill = new Bill(own?.bill ?? parent?.bill)
    this.input = options.input
    if (this.events.recording || parent?.transcript !== undefined) this.record()
  }

  /** The run's messages, when they are recorded. */
  get transcript(): RunTranscript | undefined {
    return this.#transcript
  }

  /** Records the messages of the run, and of those that it begins from here on. */
  record(): void {
    if (this.#transcript !== undefined) return
    this.#transcript = new RunTranscript(this.info.path, this.input)
    this.parent?.transcript?.add(this.#transcript)
  }

  /** How many steps were made in the run, those of runs inside of it too, that a journal had not kept before. */
  get newSteps(): number {
    return this.#newSteps
  }

  /** Whether anything of it was made, and not given again by a journal. A root run ends once. */
  get isNew(): boolean {
    return this.parent === undefined || this.#newSteps > 0
  }

  /** Counts a step that is made and kept. */
  addNewStep(): void {
    for (let state: RunState | undefined = this; state !== undefined; state = state.parent) state.#newSteps++
  }

  /** The innermost budget that the run works within. */
  get budget(): Ledger | undefined {
    return this.#budget
  }

  /** Does work of the run, and of those that it begins, within `ledger`. */
  within<A, E, R>(ledger: Ledger, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const enter = Effect.sync(() => {
      this.#budget = ledger
    })
    const leave = Effect.sync(() => {
      this.#budget = ledger.parent
      ledger.close()
    })
    return Effect.acquireUseRelease(
      enter,
      () => work,
      () => leave
    )
  }

  /** The work that the run has begun in the background; `undefined` without any. */
  get jobs(): Jobs | undefined {
    return this.#jobs
  }

  /** The run's jobs, where it begins one. */
  beginJobs(): Jobs {
    return (this.#jobs ??= new Jobs())
  }

  /** Ends all jobs, at the end of the run or of an attempt. */
  endJobs(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const jobs = this.#jobs
    this.#jobs = undefined
    return jobs === undefined ? Effect.void : jobs.close(exit)
  }

  /** Whether there is anything to undo where the run fails. */
  get hasHooks(): boolean {
    return this.#hooks !== undefined
  }

  /** Keeps what undoes a part that has finished. */
  addHook(hook: Hook): void {
    const hooks = (this.#hooks ??= [])
    hooks.push(hook)
  }

  /** Takes the hooks from the run, and returns them, the last first. */
  takeHooks(): ReadonlyArray<Hook> {
    const hooks = this.#hooks ?? []
    this.#hooks = undefined
    return hooks.toSorted((a, b) => b.n - a.n)
  }

  /** Leaves the hooks of the run with the run around it. */
  passHooks(): void {
    for (const hook of this.takeHooks()) this.parent?.addHook(hook)
  }

  /** Forgets some of the hooks. */
  dropHooks(test: (hook: Hook) => boolean): void {
    this.#hooks = this.#hooks?.filter((hook) => !test(hook))
  }

  /** What the run counts for its limits, by name. */
  get counts(): ReadonlyMap<string, Count> {
    return this.#counts ?? noCounts
  }

  /** Begins to count something, in the place of what an attempt before has counted. */
  count(name: string, value: number): Count {
    const count = { value }
    this.#counts = (this.#counts ?? new Map<string, Count>()).set(name, count)
    return count
  }

  /** True when the conversation was given over to another runner: the run ends without an answer of its own. */
  get handedOver(): boolean {
    return this.#handedOver
  }

  /** Hands the conversation over. */
  handOver(): void {
    this.#handedOver = true
  }

  #nth(name: string): number {
    const begun = (this.#begun ??= new Map<string, number>())
    const count = (begun.get(name) ?? 0) + 1
    begun.set(name, count)
    return count
  }

  /** The run's own place. */
  get place(): Place {
    return (this.#place ??= new Place(this, ""))
  }

  /**
   * Begins another attempt at the run's work: what begins in it has ids of its own, whichever part of the attempts before
   * was reached. Takes the conversation back that a failed attempt had given over.
   */
  beginAgain(): void {
    this.#handedOver = false
    this.#begun = undefined
    this.#place = new Place(this, `~${++this.#attempts}/`)
  }
}

const identify = (
  fiber: Fiber.Fiber<unknown, unknown>,
  name: string,
  above: RunInfo | undefined,
  place: Place | undefined,
  session: string | undefined
): RunInfo => {
  const runId = place === undefined ? (fiber.getRef(CurrentJournal).rootId ?? makeId(fiber)) : place.next(name)
  const rootId = above?.rootId ?? runId
  return {
    runId,
    rootId,
    path: above === undefined ? [name] : [...above.path, name],
    conversationId: session ?? fiber.getRef(ConversationId) ?? above?.conversationId ?? rootId,
    step: undefined,
    toolCallId: undefined,
    idempotencyKey: undefined
  }
}

const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
/** All pairs of digits: writing numbers of 52 bits in base 36 costs more than the rest of an id. */
const pairs = Array.from({ length: 36 ** 2 }, (_, n) => digits[Math.floor(n / 36)]! + digits[n % 36]!)

/** The five digits of a number below 36 ** 5. */
const five = (n: number): string => pairs[(n / 36 ** 3) | 0]! + pairs[((n / 36) | 0) % 36 ** 2]! + digits[n % 36]!

/** Makes an id of 20 digits of base 36, 103 random bits. */
const makeId = (fiber: Fiber.Fiber<unknown, unknown>): string => {
  const random = fiber.getRef(Random.Random)
  const next = () => five((random.nextDoubleUnsafe() * 36 ** 5) | 0)
  return `run_${next()}${next()}${next()}${next()}`
}

/** The state of the run that the current fiber works for. */
export const CurrentState: Context.Reference<RunState | undefined> = Context.Reference<RunState | undefined>(
  "troupe/internal/RunState",
  { defaultValue: () => undefined }
)

/** The places of branches or items that begin here together; `undefined` outside of a run. */
export const placesHere: Effect.Effect<((key: string) => Place) | undefined> = Effect.withFiber((fiber) => {
  const state = fiber.getRef(CurrentState)
  return Effect.succeed(state === undefined ? undefined : placeIn(state, fiber.getRef(CurrentPlace)).branches())
})

/**
 * Does something that begins at the place of a fiber, of which a journal keeps what it comes to. Of two that begin at once under one
 * name, chance would say which of them gets what the other has kept.
 */
export const begunAt = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  state: RunState,
  what: "run" | "step",
  name: string,
  f: (id: string) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const place = placeIn(state, fiber.getRef(CurrentPlace))
  const id = place.next(name)
  return guarded(place, what, name, { id, fiber, isUnderWay: true }, f(id))
}

/** Does something that begins at a place, unless the same is under way there. */
export const guarded = <A, E, R>(
  place: Place,
  what: "run" | "step",
  name: string,
  own: Begun,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.ensuring(
    // It begins within its finalizer, so that an interruption finds no moment between the two.
    Effect.suspend(() => {
      const other = place.begin(`${what} ${name}`, own)
      return other === undefined ? effect : Effect.die(atOnce(what, name, other.id, own.id))
    }),
    Effect.sync(() => {
      own.isUnderWay = false
    })
  )

const atOnce = (what: "run" | "step", name: string, first: string, second: string): InvalidDefinition =>
  invalid(
    `the durable run`,
    `two ${what}s called "${name}" are at work at once, ${first} and ${second}, so that it is chance which of them is first`,
    what === "run"
      ? "Give each a name of its own with Runner.named, or use Parallel or Gather"
      : "Give each a name of its own"
  )
