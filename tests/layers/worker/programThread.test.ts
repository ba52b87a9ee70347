/** The thread of a model's program, as the I/O thread watches it: it is ended soon after its limit. */
import { EventEmitter, once } from "node:events"
import { afterEach, assert, it, vi } from "vitest"
import { start } from "../../../src/layers/code/internal/threads/codeHost.ts"
import type { FromHost, HostArgs } from "../../../src/layers/code/internal/threads/protocol.ts"

afterEach(() => {
  vi.useRealTimers()
})

/** Says that it is ready and gives a turn, and with the next message goes into a loop that nothing in it can end. */
const source = `
  const { parentPort } = require("node:worker_threads")
  parentPort.on("message", () => { for (;;); })
  parentPort.postMessage({ type: "ready" })
  parentPort.postMessage({ type: "turn", turn: { calls: [], console: "", end: undefined } })`

it("is ended less than 50 ms after its limit, also in code that cannot be interrupted", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  const turns: Array<FromHost> = []
  const arrived = new EventEmitter()
  const limits = { memory: 1e6, turnMs: 1000 }
  const program = { source: "", names: [], now: 0, limits }
  const args: HostArgs = { given: { program, module: "", wasm: "" }, source }
  const send = start((message) => {
    turns.push(message as FromHost)
    arrived.emit("turn")
  }, args as never)
  while (turns.length === 0) await once(arrived, "turn")
  send({ n: 0, isFailure: false, json: "1" })
  vi.advanceTimersByTime(1000)
  assert.strictEqual(turns.length, 1)
  vi.advanceTimersByTime(49)
  assert.deepStrictEqual(turns.slice(1), [
    {
      type: "turn",
      turn: {
        calls: [],
        console: "",
        end: { _tag: "Stopped", reason: "Time", error: "it ran for 1000 ms without awaiting anything" }
      }
    }
  ])
})
