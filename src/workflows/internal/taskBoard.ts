/** The tasks of a team: who has which, which block which, and what became of them. Only this module changes a task. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { TeamTask } from "../../RunEvent.ts"
import { Changes } from "../../internal/changes.ts"
import type { Stopped } from "./keptTeam.ts"

/** A new task. */
export interface NewTask {
  readonly title: string
  readonly description: string
  readonly assignee: string | undefined
  readonly blockedBy: ReadonlyArray<string>
  readonly priority: number | undefined
}

/** How a task can end. */
export type Ending = "done" | "failed" | "cancelled"

const isOver = ({ status }: TeamTask): boolean => status !== "open" && status !== "working"

/** The board of one run of a team. */
export class Board {
  readonly #tasks = new Map<string, TeamTask>()
  readonly #stops = new Map<string, Deferred.Deferred<Stopped>>()
  /** Members that open tasks are held for. */
  readonly #held = new Map<string, string>()
  /** Tasks of which it is being decided who begins them. */
  readonly #beginning = new Set<string>()
  /** How often tasks were begun. */
  readonly #begun = new Map<string, number>()
  /** How often open tasks were to be released. */
  readonly #early = new Map<string, number>()
  readonly #onChange: (task: TeamTask) => Effect.Effect<void>
  readonly #changes = new Changes()

  constructor(onChange: (task: TeamTask) => Effect.Effect<void>) {
    this.#onChange = onChange
  }

  get tasks(): ReadonlyArray<TeamTask> {
    return [...this.#tasks.values()]
  }

  get(id: string): TeamTask | undefined {
    return this.#tasks.get(id)
  }

  /** The tasks that have not ended. */
  get unfinished(): ReadonlyArray<TeamTask> {
    return this.tasks.filter((task) => !isOver(task))
  }

  /** Waits for a change from now on, so that none is missed between a look and the wait. */
  get changed(): Effect.Effect<void> {
    return this.#changes.next
  }

  /** Wakes those that wait. */
  notify(): void {
    this.#changes.notify()
  }

  /** Adds a task; returns why it cannot. */
  create({ assignee, blockedBy, description, priority, title }: NewTask): Effect.Effect<TeamTask | string> {
    const unknown = blockedBy.find((id) => !this.#tasks.has(id))
    if (unknown !== undefined) return Effect.succeed(`there is no task ${unknown} that could block it`)
    const task: TeamTask = {
      id: String(this.#tasks.size + 1),
      title,
      description,
      status: "open",
      blockedBy,
      ...(assignee === undefined ? {} : { assignee }),
      ...(priority === undefined ? {} : { priority })
    }
    return Effect.as(this.#set(task), task)
  }

  /** Whether an open task is blocked by none any more. */
  isReady({ blockedBy, status }: TeamTask): boolean {
    return status === "open" && blockedBy.every((id) => this.#tasks.get(id)?.status === "done")
  }

  /** The next task for a member: one of its own, or one that is no one's; the most urgent one, and of equals the oldest. */
  next(member: string): TeamTask | undefined {
    const ready = this.tasks
      .filter((task) => this.isReady(task) && !this.#beginning.has(task.id))
      .filter(({ id }) => (this.#held.get(id) ?? member) === member)
      .toSorted((one, other) => (other.priority ?? 0) - (one.priority ?? 0))
    const own = ready.find(({ assignee, id }) => assignee === member || this.#held.has(id))
    return own ?? ready.find(({ assignee }) => assignee === undefined)
  }

  /** Holds a task for the member that is to begin it. */
  hold(id: string, member: string): void {
    this.#held.set(id, member)
    this.notify()
  }

  /** How often work on a task has begun. */
  begun(id: string): number {
    return this.#begun.get(id) ?? 0
  }

  /** Decides whether a member begins a task. Until then the task is given to no other. */
  beginning<A, E, R>(id: string, decided: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.#beginning.add(id)
      return Effect.ensuring(
        decided,
        Effect.sync(() => {
          this.#beginning.delete(id)
          this.notify()
        })
      )
    })
  }

  /** Gives an open task to a member; returns why it cannot. */
  assign(id: string, member: string): Effect.Effect<TeamTask | string> {
    return Effect.suspend(() => {
      if (this.#beginning.has(id)) return Effect.andThen(this.changed, this.assign(id, member))
      const task = this.#tasks.get(id)
      if (task === undefined) return Effect.succeed(`there is no task ${id}`)
      if (task.status !== "open") return Effect.succeed(`task ${id} is ${task.status}`)
      const assigned: TeamTask = { ...task, assignee: member }
      return Effect.as(this.#set(assigned), assigned)
    })
  }

  /** Takes a task that is open for its only holder; returns why it cannot. */
  claim(id: string, member: string): Effect.Effect<TeamTask | string> {
    return Effect.suspend(() => {
      const holder = this.#tasks.get(id)?.assignee
      if (holder !== undefined && holder !== member) return Effect.succeed(`task ${id} is ${holder}'s`)
      return this.assign(id, member)
    })
  }

  /** Notes that a member works on a task. What it gives says how the member has to stop. */
  begin(task: TeamTask, member: string): Effect.Effect<Effect.Effect<Stopped>> {
    const stop = Deferred.makeUnsafe<Stopped>()
    this.#stops.set(task.id, stop)
    this.#held.delete(task.id)
    this.#begun.set(task.id, this.begun(task.id) + 1)
    return Effect.as(this.#set({ ...task, assignee: member, status: "working" }), Deferred.await(stop))
  }

  /** Ends a task, unless it has ended; a member that works on it is stopped. Returns why it cannot. */
  end(id: string, status: Ending, result?: Schema.Json): Effect.Effect<TeamTask | string> {
    const task = this.#tasks.get(id)
    if (task === undefined) return Effect.succeed(`there is no task ${id}`)
    if (isOver(task)) return Effect.succeed(`task ${id} is ${task.status} already`)
    const ended: TeamTask = { ...task, status, ...(result === undefined ? {} : { result }) }
    if (status === "cancelled") this.#stop(id, status)
    return Effect.as(this.#set(ended), ended)
  }

  /** Opens a task again that a member works on, which is stopped. Returns why it cannot. */
  release(id: string, member?: string): Effect.Effect<TeamTask | string> {
    const task = this.#tasks.get(id)
    if (task === undefined) return Effect.succeed(`there is no task ${id}`)
    if (task.status !== "working") {
      if (task.status === "open") this.#early.set(id, (this.#early.get(id) ?? 0) + 1)
      return Effect.succeed(`no member works on task ${id}`)
    }
    if (member !== undefined && task.assignee !== member) return Effect.succeed(`task ${id} is ${task.assignee}'s`)
    this.#stop(id, "released")
    const { assignee: _assignee, ...others } = task
    const open: TeamTask = { ...others, status: "open" }
    return Effect.as(this.#set(open), open)
  }

  /** Whether a task was to be released before work on it began. Each time counts once. */
  wasReleased(id: string): boolean {
    const times = this.#early.get(id) ?? 0
    if (times > 0) this.#early.set(id, times - 1)
    return times > 0
  }

  #stop(id: string, how: Stopped): void {
    const stop = this.#stops.get(id)
    if (stop !== undefined) Deferred.doneUnsafe(stop, Effect.succeed(how))
    this.#stops.delete(id)
  }

  #set(task: TeamTask): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#tasks.set(task.id, task)
      this.notify()
      return this.#onChange(task)
    })
  }
}
