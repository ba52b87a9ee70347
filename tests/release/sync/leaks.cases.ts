/** Cases for `leaks.test.ts`, which runs them in a process of their own: what it holds is counted. */
import { readdirSync } from "node:fs"
import { assert } from "@effect/vitest"
import { Effect, Layer, ManagedRuntime, Stream } from "effect"
import { HttpClient } from "effect/http"
import * as SyncEdge from "troupe/SyncEdge"
import * as IoWorker from "../../../src/layers/internal/io/ioWorker.ts"
import type { Cases } from "../../support/isolated.ts"

const base = process.env["BASE"]
const runs = 10_000
const collect = globalThis.gc!
const text = (path: string) => Effect.flatMap(HttpClient.get(`${base}${path}`), (response) => response.text)
const drip = Stream.unwrap(Effect.map(HttpClient.get(`${base}/drip`), (response) => response.stream))

const idle = Effect.all([Effect.yieldNow, Effect.sleep("1 micros")], { concurrency: 2 })
/** What is mixed in now and then: requests that fail or are aborted, a body that is left in the middle, a refusal. */
const kinds: ReadonlyArray<Effect.Effect<unknown, unknown, HttpClient.HttpClient>> = [
  Effect.timeoutOption(text("/hang"), "1 millis"),
  text("/500/0"),
  Stream.runDrain(Stream.take(drip, 1)),
  Effect.exit(Effect.never),
  Effect.all([text("/ok/0"), Effect.fail("first")], { concurrency: 2 }),
  Effect.race(text("/hang"), Effect.sleep("1 millis"))
]
const plain = text("/ok/0")
/** Every other run makes a request, most of them one that is answered. */
const programOf = (run: number) => (run % 20 === 0 ? kinds[(run / 20) % kinds.length]! : run % 2 === 0 ? plain : idle)

const held = async () => {
  // Handles are let go in the next turns of Node's event loop.
  await new Promise((resolve) => setTimeout(resolve, 300))
  collect()
  collect()
  const resources = process.getActiveResourcesInfo()
  return {
    threads: readdirSync("/proc/self/task").length,
    files: readdirSync("/proc/self/fd").length,
    resources: resources.length,
    ports: resources.filter((name) => name === "MessagePort").length,
    users: IoWorker.userCount(),
    pending: IoWorker.peek()?.pending ?? 0,
    heap: process.memoryUsage().heapUsed
  }
}

const counted = async (run: (index: number) => unknown) => {
  // Code is compiled, and connections are opened, in the first runs.
  for (let index = 0; index < 1000; index++) run(index)
  const before = await held()
  for (let index = 0; index < runs; index++) run(index)
  const after = await held()
  assert.deepInclude(after, { users: before.users, pending: 0 })
  for (const kind of ["threads", "resources", "ports"] as const) assert.isAtMost(after[kind], before[kind], kind)
  // Connections that are kept for later requests come and go.
  assert.isAtMost(after.files, before.files + 10, "files")
  // About a megabyte is code that is compiled later on: a leak would add to that with every run.
  assert.isBelow((after.heap - before.heap) / runs, 200, "bytes for each run")
}

export const cases: Cases = {
  "in 10,000 runs, by turns with Layers of their own and of one runtime": async () => {
    const layer = Layer.mergeAll(SyncEdge.layerHttpClient, SyncEdge.layer)
    const runtime = ManagedRuntime.make(layer)
    let begun = 0
    await counted((index) => {
      begun++
      if (index % 4 < 2) Effect.runSyncExit(Effect.provide(programOf(index), layer))
      else runtime.runSyncExit(programOf(index))
    })
    assert.isAtLeast(begun, runs)
    await runtime.dispose()
    assert.strictEqual(IoWorker.userCount(), 0)
  },

  "in 50 threads that crashed": async () => {
    const crash = Effect.andThen(
      text("/ok/0"),
      Effect.sync(() => IoWorker.peek()!.tell("crash"))
    )
    const program = Effect.all([Effect.flip(text("/hang")), crash], { concurrency: 2 }).pipe(
      Effect.provide(Layer.mergeAll(SyncEdge.layerHttpClient, SyncEdge.layer))
    )
    const crashes = async (count: number) => {
      for (let index = 0; index < count; index++) {
        Effect.runSync(program)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    await crashes(10)
    const before = await held()
    await crashes(50)
    const after = await held()
    assert.isAtMost(after.threads, before.threads + 1)
    assert.isAtMost(after.files, before.files + 10)
    assert.isAtMost(after.resources, before.resources + 1)
    assert.isBelow(after.heap - before.heap, 3_000_000)
  }
}
