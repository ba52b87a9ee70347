/** What must be true of every run of a tree of `trees.ts`, however it ended: read off its events and its books. */
import type { RunEvent } from "troupe"
import { checkGrammar } from "./grammar.ts"
import type { GroupSpec, Stay, World } from "./treeWorld.ts"

type Event = RunEvent.RunEvent
type Started = Extract<Event, { readonly _tag: "RunStarted" }>
type Item = Extract<Event, { readonly _tag: "ItemCompleted" }>
type Terminal = Extract<Event, { readonly spent: unknown }>

/** How the tree was run. */
export interface How {
  /** The root run may have been interrupted. */
  readonly isStopped: boolean
  /** Runs wait for the readers of their events. */
  readonly isSlow: boolean
  /** It is in a retry or a timeout, which lets no failure through while it is interrupted. */
  readonly isWrapped: boolean
  /** Nothing takes time but what waits for it: what is stopped ends in the same moment. */
  readonly isExact: boolean
}

/** Throws, or gives what is wrong. */
export const check = (
  events: ReadonlyArray<Event>,
  world: World,
  how: Omit<How, "isWrapped">
): ReadonlyArray<string> => {
  checkGrammar(events)
  const problems = [...world.problems]
  const tell = (problem: string) => void problems.push(problem)
  const terminals = new Map<string, Terminal>()
  const children = new Map<string, Array<Started>>()
  const parents = new Map<string, string>()
  for (const event of events) {
    if ("spent" in event) terminals.set(event.runId, event)
    if (event._tag === "RunStarted" && event.parentId !== undefined) {
      parents.set(event.runId, event.parentId)
      children.set(event.parentId, [...(children.get(event.parentId) ?? []), event])
    }
  }
  const isUnder = (runId: string, ancestor: string): boolean => {
    const parent = parents.get(runId)
    return parent === ancestor || (parent !== undefined && isUnder(parent, ancestor))
  }
  for (const event of events) {
    if (event._tag !== "RunStarted") continue
    if (event.path.at(-1)!.startsWith("handoffs ")) checkHandoffs(event, events, terminals, tell)
    const name = event.path.at(-1)!.replace(/^(failFast|settle|race|quorum) ([\d.]+).*$/, "$1 $2")
    const spec = world.groups.get(name)
    if (spec === undefined) continue
    const own = events.filter((one) => one.runId === event.runId)
    const from = own.findLast((one) => one._tag === "RunRetried")?.seq ?? event.seq
    const group = new GroupRun(
      name,
      spec,
      own.filter((one): one is Item => one._tag === "ItemCompleted" && one.seq > from),
      new Map((children.get(event.runId) ?? []).filter(({ seq }) => seq > from).map((one) => [one.path.at(-1)!, one])),
      terminals,
      terminals.get(event.runId)!,
      { ...how, isStopped: how.isStopped || event.parentId !== undefined, isWrapped: world.wrapped.has(name) },
      tell
    )
    group.check()
    const { decision } = group
    if (decision === undefined || !how.isExact) continue
    for (const stay of world.stays) {
      if (!isUnder(stay.runId, event.runId) || !endsAtOnce(stay)) continue
      if (stay.from > decision.at) tell(`${stay.name} begins after ${name} was decided`)
      // What an attempt before the last one began has ended before the last one began.
      if ((stay.until ?? Number.POSITIVE_INFINITY) > decision.at) tell(`${stay.name} goes on after ${name} was decided`)
    }
  }
  return problems
}

/** One agent has the conversation at a time: the next one begins when the one before has ended, and answers. */
const checkHandoffs = (
  { path, runId, seq }: Started,
  events: ReadonlyArray<Event>,
  terminals: ReadonlyMap<string, Terminal>,
  tell: (problem: string) => void
): void => {
  const name = path.at(-1)!
  const end = terminals.get(runId)!
  const from = events.findLast((one) => one._tag === "RunRetried" && one.runId === runId)?.seq ?? seq
  let at = "agent_0"
  let handed: string | undefined = at
  for (const event of events) {
    if (event.seq <= from || event.seq > end.seq) continue
    if (event._tag === "HandedOff" && event.runId === runId) {
      if (event.from !== at || handed !== undefined) tell(`${name}: ${event.from} hands over and has nothing`)
      handed = event.to
    } else if (event._tag === "RunStarted" && event.parentId === runId) {
      at = event.path.at(-1)!
      if (handed !== at) tell(`${name}: ${at} begins and was handed nothing`)
      handed = undefined
    }
  }
  if (end._tag === "RunCompleted" && end.output !== `done by ${at}`) tell(`${name}: ${at} has it and does not answer`)
}

/** What was spawned ends when its scope closes, which may wait for others in it. */
const endsAtOnce = ({ isSpawned, leaf }: Stay): boolean => !isSpawned && leaf.does !== "succeeds uninterruptibly"

/** One run of a group: what its branches came to, in the order in which they did. */
class GroupRun {
  readonly #name: string
  readonly #spec: GroupSpec
  readonly #items: ReadonlyArray<Item>
  readonly #begun: ReadonlyMap<string, Started>
  readonly #ends: ReadonlyArray<readonly [string, Terminal]>
  readonly #end: Terminal
  readonly #how: How
  readonly #tell: (problem: string) => void
  /** How the mode was decided: when, and by what. */
  readonly decision: { readonly seq: number; readonly at: number; readonly reached: boolean } | undefined

  constructor(
    name: string,
    spec: GroupSpec,
    items: ReadonlyArray<Item>,
    begun: ReadonlyMap<string, Started>,
    terminals: ReadonlyMap<string, Terminal>,
    end: Terminal,
    how: How,
    tell: (problem: string) => void
  ) {
    this.#name = name
    this.#spec = spec
    this.#items = items
    this.#begun = begun
    this.#end = end
    this.#how = how
    this.#tell = (problem) => tell(`${name}: ${problem}`)
    this.#ends = [...begun]
      .map(([key, { runId }]) => [key, terminals.get(runId)!] as const)
      .toSorted(([, a], [, b]) => a.seq - b.seq)
    this.decision = this.#decide()
  }

  #decide() {
    const { keys, mode } = this.#spec
    if (mode._tag === "settle") return undefined
    const needed = mode._tag === "race" ? 1 : mode._tag === "quorum" ? mode.n : keys.length
    let [good, bad] = [0, 0]
    for (const { at, seq, status } of this.#items) {
      if (status === "completed") good++
      else bad++
      if (good >= needed || bad > keys.length - needed) return { seq, at, reached: good >= needed }
    }
    return undefined
  }

  check(): void {
    this.#checkItems()
    for (const [key, { seq }] of this.#begun) {
      if (!this.#spec.keys.includes(key)) this.#tell(`there is no branch ${key}`)
      if (this.decision !== undefined && seq > this.decision.seq) this.#tell(`${key} begins after the decision`)
    }
    if (this.#end._tag === "RunCompleted") this.#checkSuccess()
    if (this.#end._tag === "RunInterrupted") this.#checkInterruption()
    if (this.#end._tag === "RunFailed") {
      const error = this.#end.error as { readonly _tag?: string; readonly name?: string } & Partial<ErrorJson>
      if (error._tag === "ParallelError" && error.name === this.#name) this.#checkFailure(error as ErrorJson)
      // What settles and is interrupted fails with what its branches failed with meanwhile.
      else if (error._tag !== "RunTimedOut" && this.#spec.mode._tag !== "settle")
        this.#tell(`fails with ${JSON.stringify(error)}`)
    }
  }

  #checkItems(): void {
    const { keys } = this.#spec
    this.#items.forEach(({ done, item, status, total }, index) => {
      if (done !== index + 1 || total !== keys.length) this.#tell(`item ${item} is counted as ${done} of ${total}`)
      const end = this.#ends.find(([key]) => key === item)?.[1]
      if (end === undefined) return this.#tell(`item ${item} never began`)
      // A completed run can still be interrupted while it waits for the reader of the stream.
      const isLate = status === "interrupted" && end._tag !== "RunInterrupted" && this.#how.isSlow
      if (!isLate && end._tag !== `Run${status[0]!.toUpperCase()}${status.slice(1)}`) {
        this.#tell(`item ${item} is ${status} and ends with ${end._tag}`)
      }
    })
    if (new Set(this.#items.map(({ item }) => item)).size !== this.#items.length)
      this.#tell("an item is reported twice")
    if (this.#items.length !== this.#ends.length) {
      this.#tell(`tells of ${this.#items.length} items, and ${this.#ends.length} branches ended`)
    }
  }

  #checkSuccess(): void {
    const { keys, mode } = this.#spec
    if (mode._tag === "settle") {
      if (this.#ends.length !== keys.length) this.#tell(`settled with ${this.#ends.length} of ${keys.length} branches`)
    } else if (this.decision?.reached !== true) this.#tell("succeeds without having been decided so")
  }

  /** Failures that the mode does not bear are not lost when the group is interrupted. */
  #checkInterruption(): void {
    const { keys, mode } = this.#spec
    if (mode._tag === "settle" || this.decision?.reached === true || this.#how.isWrapped) return
    const needed = mode._tag === "race" ? 1 : mode._tag === "quorum" ? mode.n : keys.length
    const failed = this.#items.filter(({ status }) => status === "failed")
    if (failed.length > keys.length - needed)
      this.#tell(`loses what ${failed.map(({ item }) => item).join()} failed with`)
  }

  #checkFailure(error: ErrorJson): void {
    const problems = this.#problemsOf(error)
    if (problems.length > 0 && !(this.#how.isStopped && this.#isOfInterrupted(error))) problems.forEach(this.#tell)
  }

  /** What is wrong with an error of a group that was decided by its branches. */
  #problemsOf({ failures, interrupted }: ErrorJson): ReadonlyArray<string> {
    const { decision } = this
    if (decision === undefined || decision.reached) return ["fails without having been decided so"]
    const failed = failures.map(({ branch }) => branch)
    const first = this.#items.find(({ status }) => status !== "completed")?.item
    const problems = failed[0] === first ? [] : [`the first to fail is ${first}, and the error says ${failed[0]}`]
    for (const key of this.#spec.keys) {
      const item = this.#items.find((one) => one.item === key)
      const isBefore = item !== undefined && item.seq <= decision.seq
      const expected =
        item?.status === "failed" || (isBefore && item.status === "interrupted")
          ? "failed"
          : isBefore || item?.status === "completed"
            ? "completed"
            : "interrupted"
      const said = failed.includes(key) ? "failed" : interrupted.includes(key) ? "interrupted" : "completed"
      if (said !== expected) problems.push(`${key} is ${expected}, and the error says ${said}`)
    }
    return problems
  }

  /** Whether the error fits a group that was interrupted, and some of whose branches have failed. */
  #isOfInterrupted({ failures, interrupted }: ErrorJson): boolean {
    const failed = failures.map(({ branch }) => branch)
    const isSo = (key: string) => {
      const status = this.#items.find(({ item }) => item === key)?.status ?? "interrupted"
      return status === "failed" ? failed.includes(key) : status === "completed" || interrupted.includes(key)
    }
    return (
      failed.length > 0 &&
      failed[0] === this.#items.find(({ status }) => status === "failed")?.item &&
      this.#spec.keys.every(isSo)
    )
  }
}

interface ErrorJson {
  readonly failures: ReadonlyArray<{ readonly branch: string }>
  readonly interrupted: ReadonlyArray<string>
}
