/**
 * The fibers of a blocked run: which of them are alive, which run in the background, and which is refused first when
 * nothing can make progress.
 *
 * A background fiber is one that was forked to outlive the fiber that forked it (`forkScoped`, `forkIn`, `forkDetach`)
 * outside of any run of an agent: the exporter of a Layer, its refresh loop, its queue's worker. Its timers are not what
 * the run waits for. Effect does not record this, so it is read from how a fiber first shows up: a child knows its
 * parent; a member of a concurrent group starts at once, on top of the fiber that forked it; a background fiber starts
 * as a task of its own.
 */
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import { CurrentRun } from "../../../services/CurrentRun.ts"

/** Where Effect's primitives have their name. */
const identifier = "~effect/Effect/identifier"

/** A fiber of any kind. */
export type AnyFiber = Fiber.Fiber<unknown, unknown>

/** What Effect 4.1's fibers have beyond their public interface; the versions are pinned, and tests guard it. */
export interface FiberInternals extends AnyFiber {
  readonly _dispatcher: Scheduler.SchedulerDispatcher | undefined
  readonly _exit: Exit.Exit<unknown, unknown> | undefined
  readonly _parent: FiberInternals | undefined
  readonly _children: ReadonlySet<FiberInternals> | undefined
  readonly _running: boolean
  readonly _stack: ReadonlyArray<{ readonly [identifier]?: string }>
  evaluate(effect: Exit.Exit<unknown, unknown>): void
}

/** How many fibers a refusal names. */
const maxNamed = 8

export class Fibers {
  readonly #live = new Set<FiberInternals>()
  readonly #background = new WeakSet<AnyFiber>()
  /** Fibers that wait for a message of a thread. */
  readonly #onThread = new Set<AnyFiber>()
  /** The fiber that did the latest operation: a fiber that it forks at once starts on top of it. */
  last: FiberInternals | undefined

  get size(): number {
    return this.#live.size
  }

  has(fiber: FiberInternals): boolean {
    return this.#live.has(fiber)
  }

  /** Adds a fiber. `inTask`: a task of the loop is running, so that a fiber without origin is a background fiber. */
  add(fiber: FiberInternals, inTask: boolean): void {
    this.#live.add(fiber)
    const { last } = this
    const origin = fiber._parent ?? (last !== undefined && last !== fiber && last._running ? last : undefined)
    const isBackground = origin === undefined ? inTask : this.#background.has(origin)
    if (isBackground && fiber.getRef(CurrentRun) === undefined) this.#background.add(fiber)
  }

  delete(fiber: FiberInternals): void {
    this.#live.delete(fiber)
    this.#onThread.delete(fiber)
    if (this.last === fiber) this.last = undefined
  }

  isBackground(fiber: AnyFiber): boolean {
    return this.#background.has(fiber)
  }

  /** Counts `fiber` among those that begin (1) or end (-1) to wait for a thread. */
  onThread(change: 1 | -1, fiber: AnyFiber | undefined): void {
    if (fiber === undefined) return
    if (change === 1) this.#onThread.add(fiber)
    else this.#onThread.delete(fiber)
  }

  /** Fibers of the run of `root` that wait for something which is not a child. Older fibers belong to other runs. */
  waiting(root: FiberInternals | undefined): ReadonlyArray<FiberInternals> {
    const since = root?.id ?? 0
    const waiting: Array<FiberInternals> = []
    for (const fiber of this.#live) {
      if (fiber.id >= since && fiber._exit === undefined && !fiber._running && !this.#hasChild(fiber))
        waiting.push(fiber)
    }
    return waiting
  }

  /** Those of them that wait for neither a timer nor a thread, in the reverse order of being refused. */
  stuck(root: FiberInternals | undefined, sleeping: ReadonlySet<AnyFiber>): ReadonlyArray<FiberInternals> {
    return this.waiting(root)
      .filter((fiber) => !sleeping.has(fiber) && !this.#onThread.has(fiber))
      .sort((a, b) => this.#rank(a) - this.#rank(b) || a.id - b.id)
  }

  /**
   * A wait that registered no cleanup is one for a bare promise, or forever: it cannot end here, while the others may be
   * waits for the fiber that it holds up. Background fibers are spared while there is another to refuse.
   */
  #rank(fiber: FiberInternals): number {
    const isBackground = this.#background.has(fiber)
    if (isBare(fiber)) return isBackground ? 3 : 4
    if (isBackground) return 0
    return fiber.getRef(CurrentRun)?.toolCallId === undefined ? 1 : 2
  }

  #hasChild(fiber: FiberInternals): boolean {
    if (fiber._children === undefined) return false
    for (const child of fiber._children) if (child._exit === undefined && this.#live.has(child)) return true
    return false
  }
}

/** Whether a fiber waits for a callback that has nothing to clean up, such as `Effect.promise(() => promise)`. */
export const isBare = (fiber: FiberInternals): boolean => fiber._stack.at(-1)?.[identifier] !== "AsyncFinalizer"

/** The description of waiting fibers in an error, the first ones by name. */
export const describe = (leaves: ReadonlyArray<AnyFiber>): ReadonlyArray<string> => {
  const named = leaves.slice(-maxNamed).map(nameOf)
  return leaves.length > maxNamed ? [...named, `${leaves.length - maxNamed} more`] : named
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
