/** A process that has done its work ends by itself, on both edges: nothing of ours keeps it alive. */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { scenarios } from "../support/exits.ts"
import { delayServer } from "../support/isolated.ts"

const main = fileURLToPath(new URL("../support/exits.ts", import.meta.url))
const root = fileURLToPath(new URL("../..", import.meta.url))
let env: NodeJS.ProcessEnv
const servers: Array<ChildProcess> = []
beforeAll(async () => {
  const delay = await delayServer()
  const openAi = fork(fileURLToPath(new URL("../support/openAiServer.ts", import.meta.url)), { execArgv: [] })
  servers.push(delay.child, openAi)
  const url = await new Promise<string>((resolve) => {
    openAi.once("message", (message) => resolve((message as { readonly url: string }).url))
    openAi.send({ script: [{ text: "abcdef", paceMs: 2 }] })
  })
  env = { ...process.env, BASE: delay.base, OPENAI: url }
})
afterAll(() => {
  for (const server of servers) server.kill("SIGKILL")
})

/** What it said, how long after its work it ended, and how. */
const run = (
  edge: string,
  name: string
): Promise<{ readonly said: string; readonly ms: number; readonly code: unknown }> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ["--conditions=troupe-source", main, edge, name], { cwd: root, env })
    let text = ""
    const watchdog = setTimeout(() => child.kill("SIGKILL"), 50_000)
    const hear = (chunk: Buffer) => (text += chunk.toString())
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.on("close", (code, signal) => {
      clearTimeout(watchdog)
      // A run that fails says so on standard error.
      text = text.replace(/^troupe: run of .*\n/gm, "")
      const ended = /^\{.*\}$/.test(text)
      resolve({ said: text, ms: Infinity, ...(ended ? (JSON.parse(text) as object) : {}), code: code ?? signal })
    })
  })

const words: Record<keyof typeof scenarios, string> = {
  "an answer, over connections that are kept alive": "abcdef abcdef abcdef",
  "a stream that is read to its end": "RunCompleted",
  "a stream that is left early": "left after 1",
  "a body that is left in the middle": "left",
  "a failure": "ModelRefused",
  "a timeout, with the request under way": "None",
  "a tool that is interrupted, and timers of an hour": "None",
  "a success whose tool had an hour": "answered"
}
const edges = ["runPromise", "runSync"]
const cases = Object.keys(scenarios).flatMap((name) => edges.map((edge) => [edge, name, words[name]!] as const))

describe("a process ends by itself", () => {
  it.concurrent.each([
    ...cases,
    ["runPromise, interrupted by a signal", "an answer, over connections that are kept alive", "interrupted"],
    ["runPromise, interrupted by a signal", "a body that is left in the middle", "interrupted"],
    ["ManagedRuntime.runSync", "a stream that is left early", "twice the same"]
  ] as const)(
    "%s: after %s",
    async (edge, name, expected) => {
      const { code, ms, said } = await run(edge, name)
      assert.deepStrictEqual([said, code], [expected, 0])
      // Sockets that are kept alive would be for a minute, as both servers offer it; timers for an hour.
      assert.isBelow(ms, 20_000)
    },
    60_000
  )
})
