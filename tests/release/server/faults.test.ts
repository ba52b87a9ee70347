/** Servers under bad conditions: a model that breaks or is silent, very many clients that hang up, and SIGTERM. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Agent from "troupe/Agent"
import * as OpenAi from "troupe/OpenAi"
import { listen, raw, sentIn, until } from "../../support/agentServer.ts"
import { make as modelServer, type Script } from "../../support/openAiServer.ts"
import { endless as endlessRunner } from "../../support/serverClients.ts"

const desk = Agent.make("desk", {})

/** A server whose model answers by a script. */
const before = (script: Script, limits = {}) =>
  Effect.gen(function* () {
    const upstream = yield* modelServer(script)
    const live = OpenAi.layer({ model: "m", baseUrl: upstream.url, apiKey: Redacted.make("k"), retry: "none" })
    return { upstream, url: yield* listen({ runners: { desk }, limits }, live) }
  })

const lastOf = (text: string): Record<string, unknown> => JSON.parse(sentIn(text).at(-1)!.data)

describe("a model that breaks", () => {
  it.live("in the middle of its answer ends the stream with a failure, after what came", () =>
    Effect.gen(function* () {
      const { url } = yield* before([{ text: "Hello there, and so on and on.", split: 100, resetAfter: 700 }])
      const client = raw(url, "/runners/desk/stream", { input: "Hi" })
      yield* until(client.isEnded)
      assert.isFalse(client.isBroken())
      assert.include(client.text(), '"Text"')
      assert.deepInclude(lastOf(client.text()), { _tag: "Failed", error: "ModelError" })
      assert.notInclude(client.text(), "127.0.0.1")
    }).pipe(Effect.scoped)
  )

  it.live("or is silent is given up after the time of a run, and its request is ended", () =>
    Effect.gen(function* () {
      const { upstream, url } = yield* before([{ hang: true }], { time: "300 millis" })
      const stream = raw(url, "/runners/desk/stream", { input: "Hi" })
      yield* until(() => stream.isEnded())
      assert.deepInclude(lastOf(stream.text()), { _tag: "Failed", error: "RunTimedOut" })
      yield* until(() => upstream.aborted() === 1, "the end of the request")
    }).pipe(Effect.scoped)
  )
})

/** A full collection, which needs no option of the process. */
const collect = (): void => {
  setFlagsFromString("--expose-gc")
  ;(runInNewContext("gc") as () => void)()
}

describe("very many clients at once", () => {
  it.live(
    "that hang up leave nothing: no run, no place, no memory",
    () =>
      Effect.gen(function* () {
        // As many as show what each leaves; bench/load.ts has thousands.
        const count = 1000
        const { runner: endless, state } = endlessRunner()
        const limits = { runs: count, waiting: count, wait: "30 seconds" } as const
        const url = yield* listen({ runners: { endless }, limits }, Layer.empty)
        const wave = Effect.gen(function* () {
          const begun = state.begun
          const clients = Array.from({ length: count }, () => raw(url, "/runners/endless/stream", { input: "Hi" }))
          yield* untilLong(() => state.begun === begun + count, "all runs")
          for (const client of clients) client.hangUp()
          yield* untilLong(() => state.ended === state.begun, "the end of all runs")
        })
        yield* wave
        collect()
        const first = process.memoryUsage().heapUsed
        // All places are free again.
        yield* wave
        collect()
        assert.isBelow(process.memoryUsage().heapUsed - first, 10_000_000)
        assert.strictEqual(state.begun, 2 * count)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("beyond what may run and wait are refused at once", () =>
    Effect.gen(function* () {
      const { runner: endless } = endlessRunner()
      const limits = { runs: 10, waiting: 10, wait: "30 seconds" } as const
      const url = yield* listen({ runners: { endless }, limits }, Layer.empty)
      const clients = Array.from({ length: 100 }, () => raw(url, "/runners/endless", { input: "Hi" }))
      const refused = () => clients.filter((client) => client.status() === 503).length
      yield* untilLong(() => refused() === 80, "the refusals")
      for (const client of clients) client.hangUp()
    }).pipe(Effect.scoped)
  )
})

const untilLong = (holds: () => boolean, what: string): Effect.Effect<void> => until(holds, what, 100_000)

describe("SIGTERM", () => {
  it.live("during streams: what can end ends, the rest is interrupted, and nothing is half written", () =>
    Effect.gen(function* () {
      const main = fileURLToPath(new URL("../../support/serveMain.ts", import.meta.url))
      const child = fork(main, [], { execArgv: ["--conditions=troupe-source"] })
      const url = new URL(
        yield* Effect.promise(
          () => new Promise<string>((resolve) => child.once("message", resolve as (message: unknown) => void))
        )
      )
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
      const endless = Array.from({ length: 20 }, () => raw(url, "/runners/endless/stream", { input: "Hi" }))
      const whole = raw(url, "/runners/endless", { input: "Hi" })
      yield* until(() => endless.every((client) => client.text().includes("Started")))
      const brief = raw(url, "/runners/brief", { input: "done" })
      const streamed = raw(url, "/runners/brief/stream", { input: "done" })
      yield* until(() => streamed.text().includes("Started"))
      child.kill("SIGTERM")
      yield* Effect.promise(() => exited)
      const all = [...endless, whole, brief, streamed]
      yield* until(() => all.every((client) => client.isEnded()))
      assert.isFalse(all.some((client) => client.isBroken()))
      assert.deepInclude(JSON.parse(brief.text()), { output: "done" })
      assert.deepInclude(lastOf(streamed.text()), { _tag: "Completed", output: "done" })
      for (const client of endless) assert.strictEqual(lastOf(client.text())["_tag"], "Interrupted")
      assert.strictEqual(whole.status(), 503)
    }).pipe(Effect.scoped)
  )
})
