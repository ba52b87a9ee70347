/**
 * The event loop that `Effect.runSync` drives on the sync edge: a scheduler and a clock whose waiting is done here. It
 * touches Effect's fibers and the I/O thread.
 *
 * `runSync` starts a root fiber and then flushes that fiber's dispatcher. Ours runs a batch of tasks, then timers that
 * are due and messages that have come, and so on; when there is none of them it blocks in `Atomics.wait` until a message
 * comes or the next timer is due. When nobody flushes (under `runPromise`, or for fibers that outlive the run) the same
 * tasks, timers and messages are served by Node's own event loop.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import { NestedSyncEdge, StuckSyncEdge } from "../../../RunError.ts"
import { CurrentRun } from "../../../services/CurrentRun.ts"
import type { MessageSource } from "../../../services/SyncBridge.ts"
import * as IoWorker from "../../../internal/io/ioWorker.ts"
import { Tasks } from "./tasks.ts"
import { Timers } from "./timers.ts"

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

const mainWord = new Int32Array(new SharedArrayBuffer(4))
const adopted = Symbol("troupe/EventLoop")
/** The longest that Node's timers can wait. */
const longest = 2 ** 31 - 1
/** How long one of several threads is waited for before the others are looked at. */
const othersMs = 5
/** How many fibers a refusal names. */
const maxNamed = 8
/**
 * How often a run may catch being refused without that any fiber ends or any message comes: then it is interrupted. So
 * many calls that are refused one after the other are an ordinary program, for ever is none.
 */
const maxRounds = 10_000

/** What a fiber in the region schedules with. All share the loop's tasks; each knows whose end its flush waits for. */
class Dispatcher implements Scheduler.SchedulerDispatcher {
  readonly loop: EventLoop
  owner: FiberInternals | undefined
  constructor(loop: EventLoop, owner: FiberInternals | undefined) {
    this.loop = loop
    this.owner = owner
  }
  scheduleTask(task: () => void, priority: number): void {
    this.loop.schedule(task, priority)
  }
  flush(): void {
    this.loop.drive(this.owner)
  }
}

/** The loop that has taken over a scheduler or a dispatcher. */
const loopOf = (one: object): EventLoop | undefined => (one as { readonly [adopted]?: EventLoop })[adopted]

export class EventLoop implements Scheduler.Scheduler {
  readonly executionMode = "sync" as const
  #allowNested: boolean
  readonly #maxOps: number
  readonly #tasks = new Tasks()
  readonly #timers = new Timers()
  readonly #live = new Set<FiberInternals>()
  /** Flushes of dispatchers that are not ours, of fibers that have entered the region. */
  readonly #foreign: Array<() => void> = []
  /** Set while those are flushed: the fiber that runs meanwhile, unless they run one. */
  #flushing: { readonly by: AnyFiber | undefined } | undefined
  #depth = 0
  /** How many fibers wait for which thread. Each copy of this package that is loaded has a thread of its own. */
  readonly #expected = new Map<MessageSource, number>()
  #immediate: NodeJS.Immediate | undefined
  #timeout: NodeJS.Timeout | undefined

  /** `maxOps`: how many operations a fiber may do before it lets others have their turn. */
  constructor(allowNested: boolean, maxOps: number) {
    this.#allowNested = allowNested
    // It may be the number of an outer edge, see `opLimit`.
    this.#maxOps = maxOps.valueOf()
  }

  /** The loop for a region that `fiber` enters: one for all regions of a run, which have to wait together. */
  static enter(fiber: AnyFiber, allowNested: boolean): EventLoop {
    const loop = loopOf(fiber.cache.scheduler) ?? new EventLoop(allowNested, fiber.getRef(Scheduler.MaxOpsBeforeYield))
    if (allowNested) loop.#allowNested = true
    loop.adopt(fiber)
    return loop
  }

  // -- the scheduler's side ---------------------------------------------------------------------------------------

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return new Dispatcher(this, Fiber.getCurrent() as FiberInternals | undefined)
  }

  schedule(task: () => void, priority: number): void {
    this.#tasks.push(task, priority)
    if (this.#depth === 0) this.#arm()
  }

  /** Asked at every operation of every fiber in the region: this is where a fiber becomes known. */
  shouldYield(fiber: AnyFiber): boolean {
    const dispatcher = (fiber as FiberInternals)._dispatcher as Dispatcher | undefined
    if (dispatcher?.loop !== this || dispatcher.owner !== fiber) this.adopt(fiber)
    const limit = fiber.cache.maxOpsBeforeYield
    return fiber.currentOpCount >= (limit === this.opLimit ? this.#maxOps : limit)
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
      return this.#maxOps
    }
  } as unknown as number

  /**
   * Makes the fiber's dispatcher ours, or its own dispatcher's flush go on into this loop. Called where the region is
   * entered and at every wait: a `ManagedRuntime` gives each run a scheduler of its own, and then nobody else asks.
   */
  adopt(fiber: AnyFiber): void {
    const internals = fiber as FiberInternals
    if (!this.#live.has(internals)) {
      this.#live.add(internals)
      internals.addObserver(() => this.#live.delete(internals))
      // A fiber forked outside of the region is waited for there, by whoever flushes the fiber that forked it.
      if (internals._parent !== undefined && !this.#live.has(internals._parent)) this.adopt(internals._parent)
    }
    const { scheduler } = internals.cache
    if (scheduler !== this) this.#takeOver(scheduler)
    // A root that only forks would never make a dispatcher, and then `runSync` has none to flush.
    const dispatcher = internals.currentDispatcher
    if (dispatcher instanceof Dispatcher && dispatcher.loop === this) {
      dispatcher.owner = internals
      return
    }
    if (loopOf(dispatcher) === this) return
    this.#foreign.push(dispatcher.flush.bind(dispatcher))
    Object.assign(dispatcher, { [adopted]: this, flush: () => this.drive(internals) })
    // Its flush may have begun already; then it comes to this last.
    dispatcher.scheduleTask(() => this.#depth > 0 || this.drive(internals), Number.MAX_SAFE_INTEGER)
  }

  /** The scheduler that one `runSync` makes for itself: what it hands out from now on is ours. */
  #takeOver(scheduler: Scheduler.Scheduler): void {
    if (!(scheduler instanceof Scheduler.MixedScheduler) || scheduler.executionMode !== "sync") return
    if (loopOf(scheduler) === this) return
    Object.assign(scheduler, {
      [adopted]: this,
      makeDispatcher: () => this.makeDispatcher(),
      shouldYield: (fiber: AnyFiber) => this.shouldYield(fiber)
    })
  }

  // -- what is waited for -----------------------------------------------------------------------------------------

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
      const timer = this.#timers.add(ms, () => resume(Effect.void))
      if (this.#depth === 0) this.#arm()
      return Effect.sync(() => {
        this.#timers.remove(timer)
        if (this.#timers.isEmpty) this.#clear()
      })
    })
  }

  /** Counts fibers that begin (1) and end (-1) to wait for a message of a thread. */
  expect(change: 1 | -1, source: MessageSource): void {
    const count = (this.#expected.get(source) ?? 0) + change
    if (count === 0) this.#expected.delete(source)
    else this.#expected.set(source, count)
  }

  // -- the loop ---------------------------------------------------------------------------------------------------

  /** Runs until `root` is done. Never blocks when nothing can come. */
  drive(root: FiberInternals | undefined): void {
    // A fiber that flushes for itself, or our own flush of a dispatcher that leads back here.
    if (root?._running === true) return this.#tasks.run()
    const flushing = this.#flushing
    if (flushing !== undefined && flushing.by === Fiber.getCurrent()) return
    this.#flushing = undefined
    if (this.#immediate !== undefined) clearImmediate(this.#immediate)
    this.#immediate = undefined
    this.#depth++
    let mayBlock = this.#allowNested
    let rounds = 0
    let alive = 0
    try {
      while (true) {
        this.#tasks.run()
        this.#flushForeign()
        if (root?._exit !== undefined) break
        const timed = this.#timers.runDue()
        if (this.#poll()) {
          rounds = 0
        } else if (!timed && this.#tasks.isEmpty) {
          if (this.#waiting()) {
            const refusal = mayBlock ? undefined : refusalNow()
            if (refusal === undefined) {
              mayBlock = true
              this.#block()
              continue
            }
            if (!this.#fail(this.#leaves(root), refusal)) break
          } else {
            const leaves = this.#leaves(root)
            // The others may be waiting for the youngest, and it may know what to do about its failure.
            if (!this.#fail(leaves.slice(-1), stuck(leaves))) break
          }
          if (this.#live.size >= alive) rounds++
          alive = this.#live.size
          if (rounds === maxRounds) root?.interruptUnsafe()
          else if (rounds > 2 * maxRounds) break
        }
      }
    } finally {
      this.#flushing = flushing
      if (--this.#depth === 0) {
        this.#foreign.length = 0
        if (!this.#tasks.isEmpty || !this.#timers.isEmpty) this.#arm()
      }
    }
  }

  #flushForeign(): void {
    if (this.#foreign.length === 0) return
    this.#flushing = { by: Fiber.getCurrent() }
    for (const flush of this.#foreign) flush()
    this.#flushing = undefined
  }

  /** Whether something can still come: a timer, or a message of a thread that is there. */
  #waiting(): boolean {
    return !this.#timers.isEmpty || this.#sources().length > 0
  }

  /** The threads that are waited for and there. */
  #sources(): ReadonlyArray<MessageSource> {
    return [...this.#expected.keys()].filter((source) => !source.ended)
  }

  /** Delivers what has come. True when there was something. */
  #poll(): boolean {
    const own = IoWorker.peek()
    let progressed = own?.poll() === true
    for (const source of this.#expected.keys()) if (source !== own && source.poll()) progressed = true
    return progressed
  }

  #block(): void {
    const [source, ...others] = this.#sources()
    if (source === undefined) Atomics.wait(mainWord, 0, 0, this.#timers.wait)
    // One can be waited for at a time; the others are looked at in between.
    else source.wait(others.length === 0 ? this.#timers.wait : Math.min(this.#timers.wait, othersMs))
  }

  /**
   * Fibers of the run of `root` that wait for something which is no child of theirs, the youngest last; only those inside
   * of tool calls when there are such. Older fibers belong to other runs.
   */
  #leaves(root: FiberInternals | undefined): ReadonlyArray<FiberInternals> {
    const since = root?.id ?? 0
    const leaves: Array<FiberInternals> = []
    for (const fiber of this.#live) {
      if (fiber.id >= since && fiber._exit === undefined && !fiber._running && !this.#hasChild(fiber))
        leaves.push(fiber)
    }
    const inTools = leaves.filter((fiber) => fiber.getRef(CurrentRun)?.toolCallId !== undefined)
    return (inTools.length > 0 ? inTools : leaves).sort((a, b) => a.id - b.id)
  }

  #hasChild(fiber: FiberInternals): boolean {
    if (fiber._children === undefined) return false
    for (const child of fiber._children) if (child._exit === undefined && this.#live.has(child)) return true
    return false
  }

  /** Ends waits with `defect`. False when there is none to end. */
  #fail(fibers: ReadonlyArray<FiberInternals>, defect: NestedSyncEdge | StuckSyncEdge): boolean {
    for (const fiber of fibers) fiber.evaluate(Exit.die(defect))
    return fibers.length > 0
  }

  // -- without a flush --------------------------------------------------------------------------------------------

  #arm(): void {
    if (this.#immediate !== undefined) return
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined
      if (this.#depth === 0) this.#pump()
    })
  }

  /** Serves the same tasks and timers from Node's event loop; the I/O thread's messages come by themselves. */
  #pump(): void {
    this.#tasks.run()
    this.#timers.runDue()
    IoWorker.peek()?.poll()
    this.#clear()
    if (!this.#tasks.isEmpty) this.#arm()
    else if (!this.#timers.isEmpty) {
      this.#timeout = setTimeout(() => this.#pump(), Math.min(longest, Math.max(1, this.#timers.wait)))
    }
  }

  /** A timeout that nobody waits for any more would keep the process alive. */
  #clear(): void {
    if (this.#timeout !== undefined) clearTimeout(this.#timeout)
    this.#timeout = undefined
  }
}

/** Looked at once a run, before it first blocks. */
const refusalNow = (): NestedSyncEdge | undefined => {
  if (Fiber.getCurrent() !== undefined) return new NestedSyncEdge({ situation: "fiber" })
  const resources = process.getActiveResourcesInfo()
  return resources.includes("TCPServerWrap") || resources.includes("PipeServerWrap") || isServingWorker()
    ? new NestedSyncEdge({ situation: "server" })
    : undefined
}

/** The sockets that a worker of a cluster serves belong to the primary process; the worker's state tells. */
const isServingWorker = (): boolean => {
  if (process.connected !== true) return false
  // The types know neither that this is the module itself, nor the state.
  const cluster = process.getBuiltinModule("node:cluster") as { readonly worker?: { readonly state?: string } }
  return cluster.worker?.state === "listening"
}

const stuck = (leaves: ReadonlyArray<AnyFiber>): StuckSyncEdge => {
  const awaited = leaves.slice(0, maxNamed).map(nameOf)
  if (leaves.length > maxNamed) awaited.push(`${leaves.length - maxNamed} more`)
  return new StuckSyncEdge({ awaited })
}

const nameOf = (fiber: AnyFiber): string => {
  const run = fiber.getRef(CurrentRun)
  const { span, stackFrame } = fiber.cache
  const where =
    run === undefined ? "" : ` of ${run.path.join(" > ")}${run.step === undefined ? "" : ` step ${run.step}`}`
  const what = run?.toolCallId === undefined ? "" : ` in tool call ${run.toolCallId}`
  const named =
    span !== undefined && span._tag === "Span"
      ? ` (span "${span.name}")`
      : stackFrame !== undefined
        ? ` (in ${stackFrame.name})`
        : ""
  return `fiber ${fiber.id}${where}${what}${named}`
}
