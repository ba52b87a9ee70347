/** The contract by `Effect.runSync`, of the Layers that work there, and of several models behind one by both edges. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect, Redacted } from "effect"
import { AiError } from "effect/ai"
import { DemoModel, Fallback, OpenAi, TestModel } from "troupe"
import { afterAll, beforeAll } from "vitest"
import { suite } from "./model.ts"
import { script } from "./scripted.ts"

const sync = { edge: "sync", readsTheRequest: true } as const

let child: ChildProcess | undefined
let urls: Readonly<Record<"chat" | "responses", string>>
beforeAll(async () => {
  const started = fork(fileURLToPath(new URL("./serverMain.ts", import.meta.url)), { execArgv: [] })
  child = started
  urls = await new Promise((done, fail) => {
    started.once("message", (message) => done(message as typeof urls))
    started.once("error", fail)
  })
})
afterAll(() => void child?.kill("SIGKILL"))

for (const api of ["chat", "responses"] as const) {
  const layerFor = () =>
    Effect.sync(() => OpenAi.layer({ model: "m", api, retry: "none", baseUrl: urls[api], apiKey: Redacted.make("k") }))
  suite(`OpenAi by ${api}`, layerFor, sync)
}

suite("TestModel", () => Effect.succeed(TestModel.layer(script)), sync)
suite("DemoModel", () => Effect.succeed(DemoModel.layer), { ...sync, readsNoFiles: true })

/** The account of the first one is used up. */
const poor = TestModel.layer(() => TestModel.fail(new AiError.QuotaExhaustedError({})))
const several = () => Effect.succeed(Fallback.layer([poor, TestModel.layer(script)], { breaker: "none" }))
suite("Fallback", several, sync)
suite("Fallback", several, { readsTheRequest: true })
