/**
 * The event loop that `Effect.runSync` drives on the sync edge: a scheduler and a clock whose waiting is done here.
 *
 * `runSync` starts a root fiber and then flushes that fiber's dispatcher. Ours runs a batch of tasks, then timers that
 * are due and messages that have come, and so on; without any of them it blocks in `Atomics.wait` until a message
 * comes or the next timer is due. Without a flush (under `runPromise`, or for fibers that outlive the run) the same
 * tasks, timers and messages are served by Node's own event loop.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import { NestedSyncEdge, StuckSyncEdge } from "../../../RunError.ts"
import type { MessageSource } from "../../../services/SyncBridge.ts"
import * as IoWorker from "../../internal/io/ioWorker.ts"
import { type AnyFiber, describe, type FiberInternals, Fibers, isBare } from "./fibers.ts"
import { Tasks } from "./tasks.ts"
import { type Timer, Timers } from "./timers.ts"
import { watchRoot } from "./watchRoot.ts"

const mainWord = new Int32Array(new SharedArrayBuffer(4))
const adopted = Symbol("troupe/EventLoop")
/** The longest that Node's timers can wait. */
const longest = 2 ** 31 - 1
/** How long one of several threads is waited for before the others are looked at. */
const othersMs = 5
/**
 * How often a run may catch being refused while no fiber ends and no message comes: then it is interrupted. An ordinary
 * program may make so many calls that are refused one after the other.
 */
const maxRounds = 10_000
/**
 * How often each timer of a background fiber may fire without that a fiber of the run moves before the run counts as
 * stuck: where a fiber waits for a bare promise, and where only waits are left that another fiber could end.
 */
const quietCycles = { bare: 2, other: 10 }
/** How deep runs may be nested in each other. At about 600 Node's async hooks abort the process. */
const maxNested = 100

/** What a fiber in the region schedules with. All share the loop's tasks; each knows whose end its flush waits for. */
class Dispatcher implements Scheduler.SchedulerDispatcher {
  readonly loop: EventLoop
  owner: FiberInternals | undefined
  /** The fiber runs in the background: what it does does not count as progress of the run. */
  isBackground = false
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

/** The fibers that have entered a region and are running, each inside of the one before it. */
const entered = new Set<FiberInternals>()

/** Whether one more run inside of those that are running in this thread would be too many. */
export const isNestedTooDeep = (): boolean => {
  for (const fiber of entered) if (!fiber._running) entered.delete(fiber)
  return entered.size >= maxNested
}

/** The loop that has taken over a scheduler or a dispatcher. */
const loopOf = (one: object): EventLoop | undefined => (one as { readonly [adopted]?: EventLoop })[adopted]

export class EventLoop implements Scheduler.Scheduler {
  readonly executionMode = "sync" as const
  #allowNested: boolean
  readonly #maxOps: number
  readonly #tasks = new Tasks()
  readonly #timers = new Timers()
  readonly #fibers = new Fibers()
  /** Counts what fibers of the run do, and not those in the background. */
  #progress = 0
  /** How often in a row a background fiber has woken while the run stood still. */
  readonly #quiet = new WeakMap<AnyFiber, { progress: number; wakes: number }>()
  /** The root began to wait in a group that has other members than the region. */
  #isLate = false
  #unwatch: (() => void) | undefined
  /** Flushes of dispatchers that are not ours, of fibers that have entered the region. */
  readonly #foreign: Array<() => void> = []
  /** Set during the flush: the fiber that runs, unless a task runs another. */
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
    const { scheduler } = fiber.cache
    const loop = loopOf(scheduler) ?? new EventLoop(allowNested, fiber.getRef(Scheduler.MaxOpsBeforeYield))
    if (allowNested) loop.#allowNested = true
    loop.enter(fiber)
    entered.add(fiber as FiberInternals)
    if (loop.#depth === 0) loop.#awaitRoot(scheduler, fiber)
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
    const internals = fiber as FiberInternals
    const dispatcher = internals._dispatcher as Dispatcher | undefined
    if (dispatcher?.loop !== this || dispatcher.owner !== fiber) this.enter(fiber)
    else if (!dispatcher.isBackground) this.#progress++
    this.#fibers.last = internals
    const limit = fiber.cache.maxOpsBeforeYield
    return fiber.currentOpCount >= (limit === this.opLimit ? this.#maxOps : limit)
  }

  /**
   * The value of `MaxOpsBeforeYield` in the region. A `ManagedRuntime` gives each later run a scheduler of its own, and
   * a root fiber that only forks is then never seen by us. Every scheduler compares this
   * number at every operation, so its `valueOf` can enter the fiber that asks.
   */
  readonly opLimit: number = {
    valueOf: () => {
      const fiber = Fiber.getCurrent()
      if (fiber !== undefined) this.enter(fiber)
      return this.#maxOps
    }
  } as unknown as number

  /**
   * Makes the fiber's dispatcher ours, or its own dispatcher's flush go on into this loop. Called where the region is
   * entered and at every wait: a `ManagedRuntime` gives each run a scheduler of its own, and nothing else asks then.
   */
  enter(fiber: AnyFiber): void {
    const internals = fiber as FiberInternals
    if (!this.#fibers.has(internals)) {
      // A fiber forked outside of the region is waited for there, by the flush of the fiber that forked it.
      if (internals._parent !== undefined && !this.#fibers.has(internals._parent)) this.enter(internals._parent)
      this.#fibers.add(internals, this.#depth > 0)
      internals.addObserver(() => this.#fibers.delete(internals))
    }
    const isBackground = this.#fibers.isBackground(internals)
    if (!isBackground) this.#progress++
    const { scheduler } = internals.cache
    if (scheduler !== this) this.#takeOver(scheduler)
    // A root that only forks would never make a dispatcher, and then `runSync` has none to flush.
    const dispatcher = internals.currentDispatcher
    if (dispatcher instanceof Dispatcher && dispatcher.loop === this) {
      dispatcher.owner = internals
      dispatcher.isBackground = isBackground
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

  /** A clock with `base`'s time that sleeps in this loop. */
  clock(base: Clock.Clock): Clock.Clock {
    return Object.assign(Object.create(base) as Clock.Clock, {
      sleep: (duration: Duration.Duration): Effect.Effect<void> => {
        const ms = Duration.toMillis(duration)
        if (ms <= 0) return Effect.yieldNow
        if (!Number.isFinite(ms)) return Effect.never
        return Effect.withFiber((fiber) => {
          this.enter(fiber)
          return this.#sleep(ms, fiber)
        })
      }
    })
  }

  #sleep(ms: number, fiber: AnyFiber): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const timer = this.#timers.add(ms, fiber, this.#fibers.isBackground(fiber), () => resume(Effect.void))
      if (this.#depth === 0) this.#arm()
      return Effect.sync(() => {
        this.#timers.remove(timer)
        if (this.#timers.isEmpty) this.#clear()
      })
    })
  }

  /** Counts fibers that begin (1) and end (-1) to wait for a message of a thread. */
  expect(change: 1 | -1, source: MessageSource): void {
    this.#fibers.onThread(change, Fiber.getCurrent())
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
    this.#unwatch?.()
    this.#depth++
    let mayBlock = this.#allowNested
    let rounds = 0
    let alive = 0
    try {
      while (true) {
        this.#tasks.run()
        this.#flushForeign()
        if (root?._exit !== undefined) break
        const timed = this.#timers.runDue((timer) => this.#woke(timer)) > 0
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
            if (!this.#fail(this.#fibers.waiting(root), refusal)) break
          } else {
            const leaves = this.#stuck(root)
            // The others may be waiting for this one, and it may know what to do about its failure.
            const late = this.#isLate && leaves.length === 1 && leaves[0] === root
            if (!this.#fail(leaves.slice(-1), new StuckSyncEdge({ awaited: describe(leaves), late }))) break
          }
          if (this.#fibers.size >= alive) rounds++
          alive = this.#fibers.size
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
    if (this.#sources().length > 0) return true
    if (this.#timers.isEmpty) return false
    return !this.#timers.areBackground || !this.#isStuck()
  }

  /** Counts how often a background fiber has woken while no fiber of the run moved. */
  #woke({ background, fiber }: Timer): void {
    if (!background) return
    const quiet = this.#quiet.get(fiber)
    if (quiet?.progress === this.#progress) quiet.wakes++
    else this.#quiet.set(fiber, { progress: this.#progress, wakes: 1 })
  }

  /** Whether the run makes no progress while timers of background fibers fire. */
  #isStuck(): boolean {
    const last = this.#stuck(undefined).at(-1)
    if (last === undefined) return false
    const most = isBare(last) ? quietCycles.bare : quietCycles.other
    return this.#timers.all.every(({ fiber }) => {
      const quiet = this.#quiet.get(fiber)
      return quiet?.progress === this.#progress && quiet.wakes >= most
    })
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

  #stuck(root: FiberInternals | undefined): ReadonlyArray<FiberInternals> {
    return this.#fibers.stuck(root, new Set(this.#timers.all.map(({ fiber }) => fiber)))
  }

  /** Ends waits with `defect`. False when no fiber waits. */
  #fail(fibers: ReadonlyArray<FiberInternals>, defect: NestedSyncEdge | StuckSyncEdge): boolean {
    const died = Cause.die(defect)
    // The other members of its group run outside of the region: they end when the root is interrupted.
    const isLate = defect._tag === "StuckSyncEdge" && defect.late === true
    const cause = isLate ? Cause.combine(died, Cause.interrupt()) : died
    for (const fiber of fibers) fiber.evaluate(Exit.failCause(cause))
    return fibers.length > 0
  }

  /**
   * A member of a concurrent group may enter the region before the root that `runSync` flushes has been seen: the root is
   * adopted when it begins to wait.
   */
  #awaitRoot(scheduler: Scheduler.Scheduler, member: AnyFiber): void {
    this.#unwatch?.()
    const stop = watchRoot(member, (fiber) => {
      if (fiber === member || fiber.cache.scheduler !== scheduler) return
      this.#isLate = true
      this.enter(fiber)
    })
    const late = setImmediate(() => this.#unwatch?.())
    late.unref()
    this.#unwatch = () => {
      this.#unwatch = undefined
      clearImmediate(late)
      stop()
    }
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

  /** An unused timeout would keep the process alive. */
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

/** True in a worker of a cluster, whose sockets belong to the primary process. */
const isServingWorker = (): boolean => {
  if (process.connected !== true) return false
  // The types know neither that this is the module itself, nor the state.
  const cluster = process.getBuiltinModule("node:cluster") as { readonly worker?: { readonly state?: string } }
  return cluster.worker?.state === "listening"
}
