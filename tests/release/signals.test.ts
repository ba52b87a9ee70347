/** What signals do on each edge, with nothing but Effect's own `ManagedRuntime` and `NodeRuntime`. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { delayServer } from "../support/isolated.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
let base = ""
let server: ChildProcess
beforeAll(async () => {
  ;({ base, child: server } = await delayServer())
})
afterAll(() => {
  server.kill("SIGKILL")
})

const script = (body: string) => `
  import { writeSync } from "node:fs"
  import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
  import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
  import * as Agent from "troupe/Agent"
  import * as OpenAi from "troupe/OpenAi"
  import * as SyncEdge from "troupe/SyncEdge"
  const say = (text) => writeSync(1, text + "\\n")
  const Live = OpenAi.layer({ model: "m", baseUrl: process.env.BASE + "/hang", apiKey: Redacted.make("k"), retry: "none" })
  const Resource = Layer.effectDiscard(Effect.acquireRelease(
    Effect.void,
    () => Effect.andThen(Effect.sleep(20), Effect.sync(() => say("released")))
  ))
  const ready = Effect.sync(() => say("ready"))
  const asking = Agent.make("agent", {}).run("go").pipe(Effect.onInterrupt(() => Effect.sync(() => say("interrupted"))))
  ${body}`

/** Sends the signal as soon as the program says that it is ready. */
const signalled = (body: string, signal: "SIGINT" | "SIGTERM", wait: Promise<unknown> = Promise.resolve()) =>
  new Promise<{ readonly said: ReadonlyArray<string>; readonly end: unknown }>((resolve) => {
    const args = ["--conditions=troupe-source", "--input-type=module", "--eval", script(body)]
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, BASE: base } })
    let said = ""
    let sent = false
    const watchdog = setTimeout(() => child.kill("SIGKILL"), 50_000)
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()))
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString()
      if (sent || !said.includes("ready")) return
      sent = true
      void wait.then(() => child.kill(signal))
    })
    child.on("close", (code, killedBy) => {
      clearTimeout(watchdog)
      resolve({ said: said.trim().split("\n"), end: code ?? killedBy })
    })
  })

const count = async (path: string) => Number(await (await fetch(`${base}${path}`)).text())
const until = async (isSo: () => Promise<boolean>) => {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe("a signal", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`${signal} interrupts a program of NodeRuntime.runMain: its request is aborted, its Layers are released`, async () => {
      const [aborted, requests] = [await count("/aborted"), await count("/count")] // asking for the first counts as well
      const arrived = until(async () => (await count("/count")) > requests)
      const { end, said } = await signalled(
        `NodeRuntime.runMain(
           Effect.andThen(ready, asking).pipe(Effect.provide(Layer.merge(Live, Resource))),
           { disableErrorReporting: true }
         )`,
        signal,
        arrived
      )
      assert.deepStrictEqual(said, ["ready", "interrupted", "released"])
      assert.strictEqual(end, 130)
      await until(async () => (await count("/aborted")) > aborted)
    }, 60_000)
  }

  it("may dispose of a ManagedRuntime, which interrupts its runs and waits for them", async () => {
    const [aborted, requests] = [await count("/aborted"), await count("/count")] // asking for the first counts as well
    const arrived = until(async () => (await count("/count")) > requests)
    const { end, said } = await signalled(
      `const runtime = ManagedRuntime.make(Layer.merge(Live, Resource))
       process.once("SIGTERM", () => runtime.dispose().then(() => say("disposed")))
       const exit = await runtime.runPromiseExit(Effect.andThen(ready, asking))
       say(exit._tag)`,
      "SIGTERM",
      arrived
    )
    assert.sameMembers([...said], ["ready", "interrupted", "Failure", "released", "disposed"])
    assert.strictEqual(end, 0)
    await until(async () => (await count("/aborted")) > aborted)
  }, 60_000)

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`${signal} ends a process that runSync blocks and that has no handler`, async () => {
      const { end, said } = await signalled(
        `Effect.runSync(Effect.andThen(ready, asking).pipe(Effect.provide(Live), Effect.provide(SyncEdge.layer)))`,
        signal
      )
      assert.deepStrictEqual(said, ["ready"])
      assert.strictEqual(end, signal)
    }, 60_000)
  }

  it("waits for runSync where it has a handler", async () => {
    const { end, said } = await signalled(
      `process.once("SIGINT", () => { say("handled"); clearInterval(alive) })
       const alive = setInterval(() => {}, 1000)
       Effect.runSync(Effect.andThen(ready, Effect.sleep(500)).pipe(Effect.provide(SyncEdge.layer)))
       say("done")`,
      "SIGINT"
    )
    assert.deepStrictEqual(said, ["ready", "done", "handled"])
    assert.strictEqual(end, 0)
  }, 60_000)
})
