/**
 * Durable runs: steps per second with 1, 2 and 4 workers, on SQLite and PostgreSQL, the time that one step of a run alone takes,
 * how long until a killed worker's run goes on (on this machine, and as if it had been on another, by lease), and what a run at
 * rest takes. `node --conditions=troupe-source bench/durable.ts [runs] [steps]`, and only a part of it with `PART=steps`,
 * `PART=takeover` or `PART=rest`. Not one of the figures of `npm run bench`: it starts processes and a database server.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import os, { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Durable from "../src/layers/durable/Durable.ts"
import * as Runner from "../src/Runner.ts"
import * as Step from "../src/Step.ts"
import { startPostgres } from "./postgres.ts"

const runs = Number(process.argv[2] ?? 40)
const steps = Number(process.argv[3] ?? 300)

const work = Runner.make("work", {
  run: (name: string) =>
    Effect.gen(function* () {
      if (name.startsWith("rest")) yield* Effect.orDie(Step.signal("go", Schema.Null))
      for (let i = 0; i < steps; i++) yield* Step.run(`step ${i}`, Schema.Int, Effect.succeed(i))
      return name
    })
})
/** Says when each of its steps is kept, and takes its time. */
const slow = Runner.make("slow", {
  run: (name: string) =>
    Effect.gen(function* () {
      for (let i = 0; i < 2000; i++) yield* Step.run(`step ${i}`, Schema.Int, Effect.as(Effect.sleep(50), i))
      return name
    })
})
const slows = Durable.make(slow, {
  name: "slows",
  version: "1",
  key: (name) => name,
  // The step that a killed worker was at is made again.
  onUnknown: () => Effect.succeed(Durable.didNotHappen)
})
const works = Durable.make(work, { name: "works", version: String(steps), key: (name) => name })

const engine = (where: string, options: Durable.EngineOptions = {}) =>
  where.startsWith("postgres:")
    ? Durable.layerPostgres({ url: where, ...options })
    : Durable.layerSqlite({ filename: where, ...options })

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** A worker that says it is on `machine`; without, on this one. */
const worker = (where: string, lease = 10_000, machine = ""): ChildProcess =>
  spawn(process.execPath, ["--conditions=troupe-source", import.meta.filename, ...process.argv.slice(2)], {
    env: { ...process.env, TROUPE_BENCH_WORKER: where, LEASE: String(lease), MACHINE: machine },
    stdio: ["ignore", "ignore", "inherit"]
  })

/** Starts workers, and waits until each of them has executed a run: until then leases are dealt out. */
const startWorkers = (where: string, count: number) =>
  Effect.gen(function* () {
    const children = Array.from({ length: count }, () => worker(where))
    const working = new Set<string>()
    for (let round = 0; working.size < count; round++) {
      const names = Array.from({ length: count * 4 }, (_, index) => `warm ${children[0]!.pid} ${round} ${index}`)
      yield* Effect.forEach(names, (name) => Durable.submit(works, name), { discard: true })
      for (const name of names) {
        yield* Durable.result(works, name)
        const { worker: by } = yield* Durable.find(works, name)
        if (by !== undefined) working.add(by)
      }
    }
    return children
  })

const measure = (where: string, count: number, round: string) =>
  Effect.gen(function* () {
    const names = Array.from({ length: runs }, (_, index) => `${round} ${count} ${index}`)
    const children = yield* startWorkers(where, count)
    const started = performance.now()
    yield* Effect.forEach(names, (name) => Durable.submit(works, name), { discard: true })
    yield* Effect.forEach(names, (name) => Durable.result(works, name), { discard: true, concurrency: 8 })
    const seconds = (performance.now() - started) / 1000
    for (const child of children) child.kill("SIGKILL")
    say(`${round} ${count} workers: ${((runs * steps) / seconds).toFixed(0)} steps per second`)
  }).pipe(Effect.provide(engine(where)))

/** The time of a step that does nothing, in a run that is alone and in this process. */
const alone = (where: string, round: string) =>
  Effect.gen(function* () {
    yield* works.run(`alone ${round}`)
    const started = performance.now()
    yield* works.run(`alone again ${round}`)
    say(`${round}, one run alone: ${((performance.now() - started) / steps).toFixed(1)} ms a step`)
  }).pipe(Effect.provide(engine(where)))

/** Kills one of two workers in the middle of a run, and waits until the other has the run's next step. */
const takeOver = (where: string, lease: number, machine: string, round: string) =>
  Effect.gen(function* () {
    const name = `${where} ${lease} ${machine}`
    yield* Durable.submit(slows, name)
    const kept = Effect.map(Durable.steps(slows, name), (all) => all.filter(({ state }) => state === "done").length)
    const until = (count: number): Effect.Effect<void, unknown, unknown> =>
      Effect.flatMap(kept, (now) => (now >= count ? Effect.void : Effect.andThen(Effect.sleep(10), until(count))))
    const first = worker(where, lease, machine)
    yield* until(5) as Effect.Effect<void>
    const second = worker(where, lease)
    yield* Effect.sleep(4000)
    // The run may have been handed to the second, in which case that is the one to kill.
    const { worker: executing } = yield* Durable.find(slows, name)
    const [killed, left] = executing?.endsWith(` ${first.pid}`) === true ? [first, second] : [second, first]
    const started = performance.now()
    killed.kill("SIGKILL")
    yield* Effect.sleep(100)
    const before = yield* kept
    yield* until(before + 1) as Effect.Effect<void>
    const place = machine === "" ? "this machine" : "another machine"
    const millis = (performance.now() - started).toFixed(0)
    say(`${round}, lease ${lease} ms, killed worker on ${place}: its run went on after ${millis} ms`)
    left.kill("SIGKILL")
    yield* Durable.interrupt(slows, name)
  }).pipe(Effect.provide(engine(where, { lease })))

const atRest = (where: string, count: number) =>
  Effect.gen(function* () {
    const before = process.memoryUsage().heapUsed
    yield* Effect.gen(function* () {
      for (let i = 0; i < count; i++) yield* Durable.submit(works, `rest ${i}`)
      while ((yield* Durable.list({ state: "suspended", limit: count })).length < count) yield* Effect.sleep(200)
    }).pipe(Effect.provide(Durable.worker(works)))
    globalThis.gc?.()
    const heap = (process.memoryUsage().heapUsed - before) / count
    say(`${count} runs at rest: ${heap.toFixed(0)} bytes of heap each`)
  }).pipe(Effect.provide(engine(where)))

const isAsked = (part: string): boolean => (process.env["PART"] ?? part) === part

const measureAll = async (where: string, name: string): Promise<void> => {
  if (isAsked("steps")) {
    for (const count of [1, 2, 4]) await Effect.runPromise(measure(where, count, name))
    await Effect.runPromise(alone(where, name))
  }
  if (!isAsked("takeover")) return
  await Effect.runPromise(takeOver(where, 10_000, "", name))
  // A file of SQLite is of one machine.
  if (!where.startsWith("postgres:")) return
  for (const lease of [10_000, 3000, 1000]) await Effect.runPromise(takeOver(where, lease, "elsewhere", name))
}

const main = async (): Promise<void> => {
  const own = process.env["TROUPE_BENCH_WORKER"]
  if (own !== undefined) {
    const machine = process.env["MACHINE"] ?? ""
    // The engine, which is loaded later, knows its machine by this.
    if (machine !== "") os.hostname = () => machine
    syncBuiltinESMExports()
    const options = { lease: Number(process.env["LEASE"]) }
    return Effect.runPromise(
      Layer.launch(
        Layer.mergeAll(Durable.worker(works), Durable.worker(slows)).pipe(Layer.provide(engine(own, options)))
      )
    )
  }
  const folder = mkdtempSync(join(tmpdir(), "troupe-bench-"))
  chmodSync(folder, 0o777)
  await measureAll(join(folder, "runs.db"), "SQLite")
  if (isAsked("rest")) {
    const resting = join(folder, "rest.db")
    await Effect.runPromise(atRest(resting, 1000))
    say(`1000 runs at rest: ${(statSync(resting).size / 1000).toFixed(0)} bytes of file each`)
  }
  const server = await startPostgres(join(folder, "data"))
  await measureAll(server.url, "PostgreSQL")
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}

await main()
process.exit(0)
