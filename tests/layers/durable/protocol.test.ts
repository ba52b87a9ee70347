/**
 * The protocol of lease, intent, outcome and answer, checked in every order: two processes of which each can lose its lease,
 * be paused and crash at any moment, and an operator who answers truly. What is explored is a model; every state that it
 * reaches is reached by the statements of the engine too.
 */
import { expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Sqlite from "troupe/Sqlite"
import * as Tables from "../../../src/layers/durable/internal/tables.ts"

type Place = "idle" | "claimed" | "insert" | "call" | "outcome" | "ask" | "finish"
interface Process {
  readonly at: Place
  readonly epoch: number
  /** The step as it was when the run was claimed. */
  readonly view: Kept["state"]
}
interface Kept {
  readonly state: "none" | "intent" | "unknown" | "done"
  readonly epoch: number
}
interface World {
  readonly epoch: number
  readonly run: "running" | "suspended" | "completed"
  readonly step: Kept
  readonly processes: ReadonlyArray<Process>
  /** How often the tool was called; how often a person said that it was not. */
  readonly calls: number
  readonly denials: number
  readonly ends: number
  readonly claims: number
}
interface Protocol {
  readonly isFenced: boolean
}

const idle: Process = { at: "idle", epoch: 0, view: "none" }
const start: World = {
  epoch: 0,
  run: "running",
  step: { state: "none", epoch: 0 },
  processes: [idle, idle],
  calls: 0,
  denials: 0,
  ends: 0,
  claims: 0
}
/** How often the run is claimed. More reaches no other kind of state: two processes alternate. */
const maxClaims = 5

const moved = (world: World, index: number, process: Process, change: Partial<World> = {}): World => ({
  ...world,
  ...change,
  processes: world.processes.map((other, i) => (i === index ? process : other))
})

/** What a process can do next: its own next statement, or its end. */
const stepsOf = (world: World, index: number, { isFenced }: Protocol): ReadonlyArray<readonly [string, World]> => {
  const own = world.processes[index]!
  const go = (at: Place, change?: Partial<World>): World => moved(world, index, { ...own, at }, change)
  const mayWrite = !isFenced || (own.epoch === world.epoch && world.run === "running")
  const crash = own.at === "idle" ? [] : [[`${index} crashes`, moved(world, index, idle)] as const]
  const next = (): ReadonlyArray<readonly [string, World]> => {
    switch (own.at) {
      case "idle": {
        if (world.run === "completed" || world.claims === maxClaims) return []
        const epoch = world.epoch + 1
        const change = { epoch, run: "running", claims: world.claims + 1 } as const
        return [[`${index} claims`, moved(world, index, { at: "claimed", epoch, view: world.step.state }, change)]]
      }
      case "claimed": {
        const to = own.view === "done" ? "finish" : own.view === "none" ? "insert" : "ask"
        return [[`${index} looks`, go(to)]]
      }
      case "insert": {
        const isFree = !isFenced || world.step.state === "none"
        return mayWrite && isFree
          ? [[`${index} inserts`, go("call", { step: { state: "intent", epoch: own.epoch } })]]
          : [[`${index} inserts`, moved(world, index, idle)]]
      }
      case "call":
        return [[`${index} calls`, go("outcome", { calls: world.calls + 1 })]]
      case "outcome": {
        const isOwn = !isFenced || (world.step.state === "intent" && world.step.epoch === own.epoch)
        return mayWrite && isOwn
          ? [[`${index} keeps`, go("finish", { step: { state: "done", epoch: own.epoch } })]]
          : [[`${index} keeps`, moved(world, index, idle)]]
      }
      case "ask": {
        const { epoch, state } = world.step
        const isOld = state === "intent" && epoch < own.epoch
        const step: Kept = isOld ? { state: "unknown", epoch } : world.step
        if (step.state === "none") return [[`${index} asks`, go("insert", { step })]]
        if (step.state === "done") return [[`${index} asks`, go("finish", { step })]]
        const run = mayWrite ? "suspended" : world.run
        return [[`${index} asks`, moved(world, index, idle, { step, run })]]
      }
      case "finish":
        return mayWrite
          ? [[`${index} ends`, moved(world, index, idle, { run: "completed", ends: world.ends + 1 })]]
          : [[`${index} ends`, moved(world, index, idle)]]
    }
  }
  return [...next(), ...crash]
}

/** The operator looks at the other side, and says what is there. */
const answers = (world: World): ReadonlyArray<readonly [string, World]> =>
  world.step.state !== "unknown"
    ? []
    : world.calls > 0
      ? [["happened", { ...world, step: { state: "done", epoch: world.step.epoch } }]]
      : [["did not happen", { ...world, step: { state: "none", epoch: 0 }, denials: world.denials + 1 }]]

const explore = (protocol: Protocol) => {
  const seen = new Map<string, ReadonlyArray<string>>([[JSON.stringify(start), []]])
  const queue: Array<World> = [start]
  const broken: Array<string> = []
  for (const world of queue) {
    const path = seen.get(JSON.stringify(world))!
    const twiceUnasked = world.calls > 1 + world.denials
    const endedTwice = world.ends > 1
    const endedUndone = world.run === "completed" && world.calls === 0
    if (twiceUnasked || endedTwice || endedUndone) broken.push(path.join(", "))
    const all = [...world.processes.flatMap((_, index) => stepsOf(world, index, protocol)), ...answers(world)]
    for (const [name, next] of all) {
      const key = JSON.stringify(next)
      if (seen.has(key)) continue
      seen.set(key, [...path, name])
      queue.push(next)
    }
  }
  return { worlds: queue, paths: seen, broken }
}

it("in no order is a tool called twice unasked, or does a run end twice", () => {
  const { broken, worlds } = explore({ isFenced: true })
  expect(broken).toEqual([])
  expect(worlds.length).toBeGreaterThan(1000)
})

it("without the fence there are orders in which it is", () => {
  expect(explore({ isFenced: false }).broken.length).toBeGreaterThan(0)
})

const run = { id: "r", name: "n", key: "k", fingerprint: "f", input: null, inputHash: "", createdAt: 0, updatedAt: 0 }
const step = { key: "s", kind: "tool", name: "tool" }

/** Does with the engine's statements what a path of the model says, and gives what is then kept. */
const replay = (tables: Tables.Tables, path: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    // Only what has ended is removed.
    yield* tables.interrupt("r", 0)
    yield* tables.remove("r")
    yield* tables.create(run)
    const claims: Array<Tables.Claim | undefined> = [undefined, undefined]
    for (const action of path) {
      const index = Number(action[0])
      const claim = claims[index]!
      if (action.endsWith("claims")) claims[index] = yield* tables.claim("r", "w", 0)
      else if (action.endsWith("inserts")) yield* tables.insertStep(claim, { ...step, state: "intent" }, null, 0)
      else if (action.endsWith("keeps")) yield* tables.finishStep(claim, "s", "done", "1", 0)
      else if (action.endsWith("asks")) {
        const found = yield* tables.askStep(claim, "s", 0)
        if (found?.state === "unknown" || found?.state === "intent")
          yield* tables.setRun(claim, { state: "suspended" }, 0)
      } else if (action.endsWith("ends")) yield* tables.setRun(claim, { state: "completed", ended: "{}" }, 0)
      else if (action === "happened") yield* tables.answerStep("r", step, { _tag: "Happened", result: 1 }, 0)
      else if (action === "did not happen") yield* tables.answerStep("r", step, { _tag: "DidNotHappen" }, 0)
    }
    const kept = yield* tables.find("r")
    const [found] = yield* tables.stepsOf("r")
    return { epoch: kept!.epoch, run: kept!.state, step: found?.state ?? "none" }
  })

it.live("the statements of the engine do what the model does", () =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Sqlite.layer({ filename: ":memory:" }))
    const sql = Context.get(context, SqlClient.SqlClient)
    yield* Tables.migrate(sql)
    const tables = Tables.make(sql)
    const { paths, worlds } = explore({ isFenced: true })
    // One world for each thing that is kept and each place of the processes: the rest only counts further.
    const distinct = new Map(
      worlds.map((world) => [
        JSON.stringify([world.epoch, world.run, world.step, world.processes.map(({ at }) => at)]),
        world
      ])
    )
    const sample = [...distinct.values()].filter((_, index) => index % 20 === 0)
    for (const world of sample) {
      const path = paths.get(JSON.stringify(world))!
      const state = world.epoch === 0 ? "queued" : world.run
      expect(yield* replay(tables, path), path.join(", ")).toEqual({
        epoch: world.epoch,
        run: state,
        step: world.step.state
      })
    }
    expect(sample.length).toBeGreaterThan(50)
  })
)
