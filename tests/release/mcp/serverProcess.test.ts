/** A server of ours over stdio as a process: what it does with its pipes, and how it ends. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { afterAll, assert, beforeAll, it } from "vitest"
import { nodeArguments } from "../../support/mcpProcess.ts"
import { type Seen, serve } from "../../support/openAiServer.ts"

const main = "tests/support/mcpServerMain.ts"

/** A model that never answers. */
const startModel = async () => {
  const asked = (seen: Seen): string => JSON.stringify(seen.body["messages"])
  const server = await serve(() => ({ hang: true }))
  return {
    ...server,
    until: async (isSo: () => boolean) => {
      while (!isSo()) await once(server.changes, "change")
    },
    of: (word: string) => server.seen.filter((one) => asked(one).includes(word))
  }
}

let model: Awaited<ReturnType<typeof startModel>>
beforeAll(async () => {
  model = await startModel()
})
afterAll(() => model.close())

const start = () => {
  const child = spawn(process.execPath, nodeArguments(main, model.url), { stdio: ["pipe", "pipe", "pipe"] })
  // Of a server that has ended, what is asserted is how it ended.
  child.stdin.on("error", () => {})
  let stderr = ""
  child.stderr.on("data", (chunk) => (stderr += chunk))
  const messages: Array<Record<string, any>> = []
  const lines = createInterface({ input: child.stdout })
  lines.on("line", (line) => messages.push(JSON.parse(line)))
  const send = (...all: ReadonlyArray<unknown>) => {
    for (const one of all) child.stdin.write(`${typeof one === "string" ? one : JSON.stringify(one)}\n`)
  }
  const until = async (isSo: (message: Record<string, any>) => boolean) => {
    while (!messages.some(isSo)) await once(lines, "line")
    return messages.find(isSo)!
  }
  send(
    {
      jsonrpc: "2.0",
      id: 0,
      method: "initialize",
      params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } }
    },
    { jsonrpc: "2.0", method: "notifications/initialized" }
  )
  return { child, messages, send, until, stderr: () => stderr }
}
const calls = (id: number, name: string, input: string) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: { input } }
})

it("a process on stdio ends when standard input ends: its requests are aborted and their calls answered", async () => {
  const { child, messages, send } = start()
  const ended = once(child, "close")
  send(calls(1, "echo", "hang up"), calls(2, "team", "hang up"))
  await model.until(() => model.of("hang up").length === 3)
  child.stdin.end()
  assert.deepStrictEqual(await ended, [0, null])
  await model.until(() => model.of("hang up").every((one) => one.aborted))
  for (const id of [1, 2]) {
    const answer = messages.find((message) => message["id"] === id)!
    assert.strictEqual(answer["result"].isError, true)
    assert.match(answer["result"].content[0].text, /server ended/)
  }
})

it("a process on stdio ends when the reader of its output is gone, without a stack trace", async () => {
  const { child, send, stderr } = start()
  const ended = once(child, "close")
  send(calls(1, "echo", "hang there"))
  await model.until(() => model.of("hang there").length === 1)
  child.stdout.destroy()
  send(calls(2, "length", "written to no reader"))
  assert.deepStrictEqual(await ended, [0, null])
  await model.until(() => model.of("hang there").every((one) => one.aborted))
  assert.notInclude(stderr(), "EPIPE")
})

it("a process on stdio interrupts its runs and ends at a signal to terminate", async () => {
  const { child, send } = start()
  const ended = once(child, "close")
  send(calls(1, "echo", "hang on"))
  await model.until(() => model.of("hang on").length === 1)
  child.kill("SIGTERM")
  const [, signal] = await ended
  assert.strictEqual(signal, null)
  await model.until(() => model.of("hang on").every((one) => one.aborted))
})

it("a process on stdio answers lines that are not messages, and loses none of those around them", async () => {
  const { child, messages, send, until } = start()
  const ended = once(child, "close")
  send("this is not JSON", "", "42", { jsonrpc: "2.0", id: { no: "id" }, method: "ping" }, calls(1, "length", "äöü"))
  assert.deepStrictEqual((await until(({ id }) => id === 1))["result"].structuredContent, { result: 3 })
  child.stdin.end()
  await ended
  const refused = messages.filter(({ id }) => id === null)
  assert.deepStrictEqual(
    refused.map(({ error }) => error.code),
    [-32700, -32600, -32600]
  )
})

it("a process on stdio sends what others write to standard output to standard error", async () => {
  const { child, send, stderr, until } = start()
  const ended = once(child, "close")
  send(calls(1, "noisy", "x"))
  await until(({ id }) => id === 1)
  child.stdin.end()
  await ended
  for (const written of ["by console.log", "by process.stdout", "by Effect.log"]) assert.include(stderr(), written)
})
