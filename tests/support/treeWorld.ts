/**
 * The leaves of random trees of workflows, which do what may go wrong, and `World`, which keeps the books of one run of a
 * tree: what it holds, and what it should not have done.
 */
import { Clock, Effect, Option } from "effect"
import type * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"

/** What a leaf does, and how it gives back what it holds. */
export interface Leaf {
  readonly does: (typeof does)[number]
  readonly release: (typeof releases)[number]
  /** Takes no time. */
  readonly instant: boolean
}

// What stands twice comes twice as often.
export const does = [
  "succeeds",
  "succeeds",
  "succeeds",
  "succeeds",
  "succeeds in children",
  "succeeds after yielding",
  "succeeds the second time",
  "succeeds uninterruptibly",
  "fails",
  "fails",
  "dies",
  "throws",
  "interrupts itself",
  "never ends"
] as const
export const releases = [
  "at once",
  "at once",
  "at once",
  "at once",
  "at once, yielding",
  "slowly",
  "slowly",
  "failing",
  "dying slowly"
] as const
/** One run of a leaf. */
export interface Stay {
  readonly leaf: Leaf
  readonly name: string
  readonly runId: string
  /** It may end later than those around it. */
  readonly isSpawned: boolean
  readonly from: number
  /** When the leaf stopped doing what it does; what follows is its release. */
  until: number | undefined
  released: boolean
}

/** What a group of branches should do. */
export interface GroupSpec {
  readonly mode: Parallel.Mode
  readonly keys: ReadonlyArray<string>
}

/** The books of one run of a tree. */
export class World {
  readonly stays: Array<Stay> = []
  /** The groups whose branches are runs named by their keys, by the name of the group. */
  readonly groups = new Map<string, GroupSpec>()
  /** The names of runners in a retry or a timeout, which lets no failure through while it is interrupted. */
  readonly wrapped = new Set<string>()
  readonly problems: Array<string> = []
  readonly #salt: number
  readonly #range: number
  readonly #instants: boolean
  readonly #counts = new Map<string, number>()
  #isOver = false

  /** Times are picked from `range` ms; `instants`: whether leaves may take none. */
  constructor(salt: number, range: number, instants: boolean) {
    this.#salt = salt
    this.#range = range
    this.#instants = instants
  }

  /** Always the same for the same key, and in a large range another one for each. */
  time(key: string): number {
    let hash = this.#salt | 0
    for (const character of key) hash = Math.imul(hash ^ character.charCodeAt(0), 0x5bd1e995) ^ (hash >>> 13)
    hash ^= hash >>> 15
    return 1 + ((Math.imul(hash, 0x2c1b3c6d) >>> 0) % this.#range)
  }

  count(key: string): number {
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.set(key, count)
    return count
  }

  sleep(key: string, instant = false): Effect.Effect<void> {
    return Effect.suspend(() =>
      instant && this.#instants ? Effect.void : Effect.sleep(this.time(`${key}#${this.count(key)}`))
    )
  }

  /** Called whenever something of the tree runs. */
  touch(what: string): void {
    if (this.#isOver) this.problems.push(`${what} after the outcome`)
  }

  /** The outcome is seen. */
  end(): void {
    this.#isOver = true
    for (const stay of this.stays) if (!stay.released) this.problems.push(`${stay.name} is held after the outcome`)
  }

  expect(isSo: boolean, what: () => string): void {
    if (!isSo) this.problems.push(what())
  }
}

/** Every runner of a tree. */
export type Any = Runner.Runner<string, string, unknown, never>

/** The runner of a leaf. */
export const leaf = (spec: Leaf, name: string, world: World): Any => {
  const acts = acting(spec, name, world)
  return Runner.make(name, {
    run: () =>
      Effect.acquireUseRelease(
        Effect.gen(function* () {
          world.touch(name)
          const { path, runId } = Option.getOrThrow(yield* Runner.current)
          const stay: Stay = {
            leaf: spec,
            name,
            runId,
            isSpawned: path.some((one) => one.startsWith("spawn")),
            from: yield* Clock.currentTimeMillis,
            until: undefined,
            released: false
          }
          world.stays.push(stay)
          return stay
        }),
        (stay) =>
          Effect.onExit(acts, () =>
            Effect.map(Clock.currentTimeMillis, (now) => {
              stay.until = now
            })
          ),
        (stay) => releasing(spec, stay, world)
      )
  })
}

const acting = (spec: Leaf, name: string, world: World): Effect.Effect<string, string> => {
  const pause = Effect.andThen(
    world.sleep(name, spec.instant),
    Effect.sync(() => world.touch(name))
  )
  const done = Effect.as(pause, name)
  switch (spec.does) {
    case "succeeds":
      return done
    case "succeeds in children":
      return Effect.andThen(
        Effect.forkChild(
          Effect.forever(
            Effect.andThen(
              world.sleep(name),
              Effect.sync(() => world.touch(name))
            )
          )
        ),
        Effect.as(Effect.all([pause, pause], { concurrency: 2 }), name)
      )
    case "succeeds after yielding":
      return Effect.andThen(Effect.yieldNow, Effect.andThen(Effect.yieldNow, done))
    case "succeeds the second time":
      return Effect.suspend(() =>
        world.count(`tries of ${name}`) % 2 === 0 ? done : Effect.andThen(pause, Effect.fail(`first ${name}`))
      )
    case "succeeds uninterruptibly":
      return Effect.uninterruptible(done)
    case "fails":
      return Effect.andThen(pause, Effect.fail(`failed ${name}`))
    case "dies":
      return Effect.andThen(pause, Effect.die(new Error(`died ${name}`)))
    case "throws":
      return Effect.map(pause, () => {
        throw new Error(`threw ${name}`)
      })
    case "interrupts itself":
      return Effect.andThen(pause, Effect.interrupt)
    case "never ends":
      return Effect.never
  }
}

const releasing = ({ release }: Leaf, stay: Stay, world: World): Effect.Effect<void, string> => {
  const { name } = stay
  const give = Effect.sync(() => {
    world.touch(name)
    stay.released = true
  })
  switch (release) {
    case "at once":
      return give
    case "at once, yielding":
      return Effect.andThen(Effect.yieldNow, give)
    case "slowly":
      return Effect.andThen(world.sleep(`release of ${name}`), give)
    case "failing":
      return Effect.andThen(give, Effect.fail(`release failed ${name}`))
    case "dying slowly":
      return Effect.andThen(
        Effect.andThen(world.sleep(`release of ${name}`), give),
        Effect.die(new Error(`release died ${name}`))
      )
  }
}
