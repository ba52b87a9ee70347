/**
 * Where a run begins, which is what its id is made of: `parent / branch, item, middleware or call / name # n`. So the ids of
 * nested runs, and the keys of what is kept, are the same whenever a run is made again; only a root's id is random.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { hash } from "./fingerprint.ts"
import type { RunState } from "./runState.ts"
import { hasForked } from "./trueExit.ts"

/** The longest id. Those who are handed idempotency keys have limits, and a deep tree must not have ever longer ids. */
const maxLength = 200

const special = /[%/#]|^[~@[]/
const escaped = (text: string): string =>
  text.replace(/[%/#]|^[~@[]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** A name or a key as one segment of an id. */
const segment = (text: string): string => (special.test(text) ? escaped(text) : text)

/** Makes an id short enough by its hash. It still begins with that of the root, where that is not too long itself. */
export const shortened = (id: string, rootId: string): string => {
  if (id.length <= maxLength) return id
  return `${rootId.length <= maxLength - 72 ? rootId : ""}/~${hash(id)}`
}

/** A run or a step that has begun at a place. */
export interface Begun {
  readonly id: string
  readonly fiber: Fiber.Fiber<unknown, unknown>
  isUnderWay: boolean
}

/** Whether two fibers are at work at once, neither of them for the other. */
const areApart = (before: Fiber.Fiber<unknown, unknown>, now: Fiber.Fiber<unknown, unknown>): boolean =>
  before !== now && before.pollUnsafe() === undefined && !hasForked(before, now)

/** A place in a run: its own, that of a branch, of a tool call, or of a middleware. What begins there is counted there. */
export class Place {
  readonly state: RunState
  #prefix: string | (() => string)
  #name: string | undefined
  #count = 0
  #others: Map<string, number> | undefined
  /** The last thing that began under each name, where a journal keeps it. */
  #begun: Map<string, Begun> | undefined

  /** Of a place at which mostly nothing begins, `prefix` is made when something does. */
  constructor(state: RunState, prefix: string | (() => string)) {
    this.state = state
    this.#prefix = prefix
  }

  get prefix(): string {
    if (typeof this.#prefix !== "string") this.#prefix = this.#prefix()
    return this.#prefix
  }

  /**
   * Notes what begins here. Returns what began under the same name before, when that is still under way, or may be alongside this one:
   * then it is chance which of them is counted first.
   */
  begin(name: string, own: Begun): Begun | undefined {
    const begun = (this.#begun ??= new Map<string, Begun>())
    const before = begun.get(name)
    if (before !== undefined && (before.isUnderWay || areApart(before.fiber, own.fiber))) return before
    begun.set(name, own)
    return undefined
  }

  /** How often this was called with a name, this time included. */
  count(name: string): number {
    if (this.#name === undefined) this.#name = name
    // Most places begin one thing.
    if (this.#name === name) return ++this.#count
    const others = (this.#others ??= new Map<string, number>())
    const count = (others.get(name) ?? 0) + 1
    others.set(name, count)
    return count
  }

  /** The id of what begins here under a name. */
  next(name: string): string {
    const own = segment(name)
    const n = this.count(own)
    const { rootId, runId } = this.state.info
    const id = n === 1 ? `${runId}/${this.prefix}${own}` : `${runId}/${this.prefix}${own}#${n}`
    return shortened(id, rootId)
  }

  /** The key of a step of the run's own that is done here, such as `2/model`. */
  key(what: string): string {
    const n = this.count(`/${what}`)
    const { rootId, runId } = this.state.info
    return shortened(`${runId}/${this.prefix}${what}${n === 1 ? "" : `#${n}`}`, rootId)
  }

  /** The key of what this place as a whole is for, such as a tool call. */
  get own(): string {
    const { rootId, runId } = this.state.info
    return shortened(`${runId}/${this.prefix.slice(0, -1)}`, rootId)
  }

  /** The places of branches or items that begin here together. */
  branches(): (key: string) => Place {
    const n = this.count("[]")
    const group = n === 1 ? "" : `~${n}~`
    return (key) => new Place(this.state, `${this.prefix}[${group}${segment(key)}]/`)
  }

  /** The place of a tool call, or of a step. */
  within(...names: ReadonlyArray<string | number>): Place {
    let prefix = this.prefix
    for (const name of names) prefix += `${typeof name === "number" ? name : segment(name)}/`
    return new Place(this.state, prefix)
  }

  /** The place of the `n`th attempt at what is done here. */
  attempt(n: number): Place {
    return n === 1 ? this : new Place(this.state, `${this.prefix}~${n}/`)
  }

  /** The place of a middleware around a step or a call of this run. */
  middleware(name: string, ...at: ReadonlyArray<string | number>): Place {
    return new Place(this.state, () => new Place(this.state, `${this.prefix}@${segment(name)}/`).within(...at).prefix)
  }
}

/** The place that the current fiber works at. It counts only within the run that it belongs to. */
export const CurrentPlace: Context.Reference<Place | undefined> = Context.Reference<Place | undefined>(
  "troupe/internal/Place",
  { defaultValue: () => undefined }
)

/** The place at which a fiber works in a run. */
export const placeIn = (state: RunState, given: Place | undefined): Place =>
  given?.state === state ? given : state.place

/** Runs an effect at a place. */
export const at = <A, E, R>(effect: Effect.Effect<A, E, R>, place: Place): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, CurrentPlace, place)
