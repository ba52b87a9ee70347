/**
 * The event loop that `Effect.runSync` drives on the sync edge: a scheduler and a clock whose waiting is done here. It
 * touches Effect's fibers and the I/O thread.
 *
 * `runSync` starts a root fiber and then flushes that fiber's dispatcher. Ours runs every task; when none is left and
 * I/O or a timer is pending it blocks in `Atomics.wait` until a message or the next timer is due, and goes on. When
 * nobody flushes (under `runPromise`, or for fibers that outlive the run) the same tasks, timers and messages are served
 * by Node's own event loop.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import { NestedSyncEdge, StuckSyncEdge } from "../../RunError.ts"
import { CurrentRun } from "../../services/CurrentRun.ts"
import * as IoWorker from "./IoWorker.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** What Effect 4.1's fibers have beyond their public interface; the versions are pinned, and tests guard it. */
interface FiberInternals extends AnyFiber {
  readonly _dispatcher: Scheduler.SchedulerDispatcher | undefined
  readonly _exit: Exit.Exit<unknown, unknown> | undefined
  readonly _parent: FiberInternals | undefined
  readonly _children: ReadonlySet<FiberInternals> | undefined
  readonly _running: boolean
  evaluate(effect: Effect.Effect<unknown, unknown>): void
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

interface Foreign {
  readonly dispatcher: Scheduler.SchedulerDispatcher
  readonly flush: () => void
}

/** How long a wait for the I/O thread lasts before its heartbeat is looked at. */
const lifeCheckMs = 1000
const mainWord = new Int32Array(new SharedArrayBuffer(4))
const adopted = Symbol("troupe/EventLoop")
/** Effect's own default of `MaxOpsBeforeYield`. */
const maxOps = 2048

export class EventLoop implements Scheduler.Scheduler {
  readonly executionMode = "sync" as const
  readonly #allowNested: boolean
  readonly #tasks: Array<[priority: number, tasks: Array<() => void>]> = []
  readonly #timers: Array<Timer> = []
  readonly #live = new Set<FiberInternals>()
  readonly #foreign: Array<Foreign> = []
  readonly #dispatcher: Scheduler.SchedulerDispatcher
  #timerCount = 0
  #root: FiberInternals | undefined
  #flushing = false
  #checked = false
  #immediate: NodeJS.Immediate | undefined
  #timeout: NodeJS.Timeout | undefined

  constructor(allowNested: boolean) {
    this.#allowNested = allowNested
    this.#dispatcher = {
      scheduleTask: (task, priority) => {
        this.#push(task, priority)
        if (!this.#flushing) this.#arm()
      },
      flush: () => this.#drive(this.#root)
    }
  }

  // -- the scheduler's side ---------------------------------------------------------------------------------------

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return this.#dispatcher
  }

  /** Asked at every operation of every fiber in the region: this is where a fiber becomes known. */
  shouldYield(fiber: AnyFiber): boolean {
    const internals = fiber as FiberInternals
    if (internals._dispatcher !== this.#dispatcher) {
      if (!this.#live.has(internals)) this.adopt(internals)
      // Entering the region gives a fiber a new scheduler, and takes the dispatcher it had.
      else if (internals._dispatcher === undefined) this.#extend(internals)
    }
    return fiber.currentOpCount >= maxOps
  }

  /**
   * The value of `MaxOpsBeforeYield` in the region. A `ManagedRuntime` gives each later run a scheduler of its own, and
   * a root fiber that only forks is then never seen by us. Whatever the scheduler, it compares this number at every
   * operation: a number that looks who is asking.
   */
  readonly opLimit: number = {
    valueOf: () => {
      const fiber = Fiber.getCurrent()
      if (fiber !== undefined) this.adopt(fiber)
      return maxOps
    }
  } as unknown as number

  /**
   * Makes the fiber's dispatcher ours, or its own dispatcher's flush go on into this loop. Called where the region is
   * entered and at every wait: a `ManagedRuntime` gives each run a scheduler of its own, and then nobody else asks.
   */
  adopt(fiber: AnyFiber): void {
    const internals = fiber as FiberInternals
    if (this.#live.has(internals)) return
    this.#live.add(internals)
    internals.addObserver(() => this.#live.delete(internals))
    if (!this.#flushing && (this.#root === undefined || this.#root._exit !== undefined)) {
      let top = internals
      while (top._parent !== undefined) top = top._parent
      this.#root = top
      this.#checked = false
      if (top !== internals) this.#extend(top)
    }
    this.#extend(internals)
  }

  #extend(fiber: FiberInternals): void {
    this.#takeOver(fiber.cache.scheduler)
    // A root that only forks would never make a dispatcher, and then `runSync` has none to flush.
    const dispatcher = fiber.currentDispatcher as Scheduler.SchedulerDispatcher & { [adopted]?: EventLoop }
    if (dispatcher === this.#dispatcher || dispatcher[adopted] === this) return
    dispatcher[adopted] = this
    const flush = dispatcher.flush.bind(dispatcher)
    this.#foreign.push({ dispatcher, flush })
    dispatcher.flush = () => this.#drive(fiber)
  }

  /** The scheduler that one `runSync` makes for itself: what it hands out from now on is ours. */
  #takeOver(scheduler: Scheduler.Scheduler & { [adopted]?: EventLoop }): void {
    if (scheduler === this || scheduler.executionMode !== "sync" || scheduler[adopted] === this) return
    Object.assign(scheduler, {
      [adopted]: this,
      makeDispatcher: () => this.#dispatcher,
      shouldYield: (fiber: AnyFiber) => this.shouldYield(fiber)
    })
  }

  #push(task: () => void, priority: number): void {
    const buckets = this.#tasks
    let index = buckets.length
    while (index > 0 && buckets[index - 1]![0] > priority) index--
    const bucket = buckets[index - 1]
    if (bucket !== undefined && bucket[0] === priority) bucket[1].push(task)
    else buckets.splice(index, 0, [priority, [task]])
  }

  // -- time -------------------------------------------------------------------------------------------------------

  /** A clock that tells `base`'s time and sleeps in this loop. */
  clock(base: Clock.Clock): Clock.Clock {
    return Object.assign(Object.create(base) as Clock.Clock, {
      sleep: (duration: Duration.Duration): Effect.Effect<void> => {
        const ms = Duration.toMillis(duration)
        if (ms <= 0) return Effect.yieldNow
        if (!Number.isFinite(ms)) return Effect.never
        return Effect.withFiber((fiber) => {
          this.adopt(fiber)
          return this.#sleep(ms)
        })
      }
    })
  }

  #sleep(ms: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const timer = { at: performance.now() + ms, order: this.#timerCount++, run: () => resume(Effect.void) }
      this.#addTimer(timer)
      return Effect.sync(() => this.#removeTimer(timer))
    })
  }

  #addTimer(timer: Timer): void {
    const timers = this.#timers
    let low = 0
    let high = timers.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = timers[middle]!
      if (other.at < timer.at || (other.at === timer.at && other.order < timer.order)) low = middle + 1
      else high = middle
    }
    timers.splice(low, 0, timer)
    if (!this.#flushing) this.#arm()
  }

  #removeTimer(timer: Timer): void {
    const index = this.#timers.indexOf(timer)
    if (index >= 0) this.#timers.splice(index, 1)
  }

  // -- the loop ---------------------------------------------------------------------------------------------------

  /** Runs until `root` is done. Never blocks when nothing can come. */
  #drive(root: FiberInternals | undefined): void {
    if (this.#flushing) return
    this.#flushing = true
    try {
      while (true) {
        this.#runTasks()
        if (root?._exit !== undefined) break
        const seen = this.#seen()
        if (this.#deliver()) continue
        if (this.#waiting()) {
          const refusal = this.#refusal()
          if (refusal === undefined) this.#block(seen)
          else if (!this.#fail(refusal)) break
        } else if (!this.#fail(this.#stuck())) break
      }
    } finally {
      this.#flushing = false
      this.#foreign.length = 0
      if (this.#tasks.length > 0 || this.#timers.length > 0) this.#arm()
    }
  }

  #runTasks(): void {
    let ran = true
    while (ran) {
      ran = this.#tasks.length > 0
      for (const [, tasks] of this.#tasks.splice(0)) for (const task of tasks) task()
      for (const foreign of this.#foreign) foreign.flush()
    }
  }

  /** Runs what is due: timers and messages. True when there was something. */
  #deliver(): boolean {
    let progressed = false
    const now = performance.now()
    while (this.#timers.length > 0 && this.#timers[0]!.at <= now) {
      this.#timers.shift()!.run()
      progressed = true
    }
    return (IoWorker.peek()?.receive() ?? false) || progressed
  }

  #waiting(): boolean {
    return this.#timers.length > 0 || (IoWorker.peek()?.pending ?? 0) > 0
  }

  #seen(): number {
    const worker = IoWorker.peek()
    return worker === undefined ? 0 : Atomics.load(worker.words, 0)
  }

  #block(seen: number): void {
    const worker = IoWorker.peek()
    const due =
      this.#timers.length > 0 ? Math.max(0, this.#timers[0]!.at - performance.now()) : Number.POSITIVE_INFINITY
    if (worker === undefined || worker.pending === 0) Atomics.wait(mainWord, 0, 0, due)
    else Atomics.wait(worker.words, 0, seen, Math.min(due, lifeCheckMs))
  }

  /** Looked at once a run, before it first blocks. */
  #refusal(): NestedSyncEdge | undefined {
    if (this.#checked || this.#allowNested) return undefined
    if (Fiber.getCurrent() !== undefined) return new NestedSyncEdge({ situation: "fiber" })
    const resources = process.getActiveResourcesInfo()
    if (resources.includes("TCPServerWrap") || resources.includes("PipeServerWrap")) {
      return new NestedSyncEdge({ situation: "server" })
    }
    this.#checked = true
    return undefined
  }

  #stuck(): StuckSyncEdge {
    return new StuckSyncEdge({ awaited: this.#leaves().map(nameOf) })
  }

  /** Fibers that wait for something which is no fiber of theirs; those inside of a tool call before all others. */
  #leaves(): ReadonlyArray<FiberInternals> {
    const leaves = [...this.#live].filter(
      (fiber) =>
        fiber._exit === undefined &&
        !fiber._running &&
        ![...(fiber._children ?? [])].some((child) => child._exit === undefined)
    )
    const inTools = leaves.filter((fiber) => fiber.getRef(CurrentRun)?.toolCallId !== undefined)
    return inTools.length > 0 ? inTools : leaves
  }

  /** Ends waits that can never end with `defect`. False when there is none to end. */
  #fail(defect: NestedSyncEdge | StuckSyncEdge): boolean {
    const leaves = this.#leaves()
    for (const fiber of leaves) fiber.evaluate(Exit.die(defect))
    return leaves.length > 0
  }

  // -- without a flush --------------------------------------------------------------------------------------------

  #arm(): void {
    if (this.#immediate !== undefined) return
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined
      this.#pump()
    })
  }

  /** Serves the same tasks and timers from Node's event loop; the I/O thread's messages come by themselves. */
  #pump(): void {
    if (this.#flushing) return
    for (const [, tasks] of this.#tasks.splice(0)) for (const task of tasks) task()
    this.#deliver()
    clearTimeout(this.#timeout)
    if (this.#tasks.length > 0) this.#arm()
    else if (this.#timers.length > 0) {
      this.#timeout = setTimeout(() => this.#pump(), Math.max(1, this.#timers[0]!.at - performance.now()))
    }
  }
}

const nameOf = (fiber: AnyFiber): string => {
  const run = fiber.getRef(CurrentRun)
  const span = fiber.cache.span
  const where =
    run === undefined ? "" : ` of ${run.path.join(" > ")}${run.step === undefined ? "" : ` step ${run.step}`}`
  const what = run?.toolCallId === undefined ? "" : ` in tool call ${run.toolCallId}`
  const named = span !== undefined && span._tag === "Span" ? ` (span "${span.name}")` : ""
  return `fiber ${fiber.id}${where}${what}${named}`
}
