/** Servers of ours in processes of their own, called by the SDK's client over real stdio and real HTTP. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import type { Progress } from "@modelcontextprotocol/sdk/types.js"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"
import { nodeArguments } from "../../support/mcpProcess.ts"
import { type Reply, type Seen, serve, text } from "../../support/openAiServer.ts"

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const main = "tests/support/mcpServerMain.ts"

type Result = Awaited<ReturnType<Client["callTool"]>>
const textOf = (result: Result): string => {
  const content = result["content"] as ReadonlyArray<{ readonly type: string; readonly text: string }>
  assert.deepStrictEqual(
    content.map(({ type }) => type),
    ["text"]
  )
  return content[0]!.text
}

const pieces = ["one ", "two ", "three"]
const words = [
  ...pieces.map((content) => ({ delta: { content }, finish_reason: null })),
  { delta: {}, finish_reason: "stop" }
].map((choice) => ({ id: "c", choices: [{ index: 0, ...choice }] }))

/**
 * What the model waits for before it ends an answer of words: the client loses a progress that comes in one piece with
 * the answer, as it does on a busy machine.
 */
let receivedAll = async (): Promise<void> => {}

/** A model that does what it is asked for, and holds back "together" until as many have asked as it says. */
const startModel = async () => {
  const asked = (seen: Seen): string => {
    const messages = seen.body["messages"] as ReadonlyArray<{ readonly role: string; readonly content: unknown }>
    return JSON.stringify(messages.filter(({ role }) => role === "user").map(({ content }) => content))
  }
  const until = async (isSo: () => boolean) => {
    while (!isSo()) await once(server.changes, "change")
  }
  const server = await serve(async (seen): Promise<Reply> => {
    const question = asked(seen)
    if (question.includes("hang")) return { hang: true }
    if (question.includes("judge this")) return text(`{"score":8,"reason":"fine"}`)
    if (question.includes("no key")) {
      return { status: 401, body: { error: { message: "Incorrect API key", type: "invalid_request_error" } } }
    }
    if (question.includes("words")) return { events: words, paceMs: 30, beforeLast: () => receivedAll() }
    const together = Number(/together (\d+)/.exec(question)?.[1] ?? 0)
    if (together > 0) await until(() => server.seen.filter((one) => asked(one).includes("together")).length >= together)
    return text(`received ${question}`)
  })
  return { ...server, until, of: (word: string) => server.seen.filter((one) => asked(one).includes(word)) }
}

let model: Awaited<ReturnType<typeof startModel>>
beforeAll(async () => {
  model = await startModel()
})
afterAll(() => model.close())

interface Connected {
  readonly client: Client
  readonly errors: ReadonlyArray<Error>
  readonly log: () => string
  readonly close: () => Promise<void>
}

const newClient = () => {
  const client = new Client({ name: "tests", version: "1.0.0" })
  const errors: Array<Error> = []
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is not an event target
  client.onerror = (error) => errors.push(error)
  return { client, errors }
}

const overStdio = async (): Promise<Connected> => {
  const { client, errors } = newClient()
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: nodeArguments(main, model.url),
    stderr: "pipe"
  })
  let stderr = ""
  transport.stderr!.on("data", (chunk) => (stderr += chunk))
  await client.connect(transport)
  return { client, errors, log: () => stderr, close: () => client.close() }
}

const startHttp = async () => {
  const child = spawn(process.execPath, nodeArguments(main, model.url, "http"), { stdio: ["ignore", "pipe", "pipe"] })
  let log = ""
  child.stdout.on("data", (chunk) => (log += chunk))
  const lines = createInterface({ input: child.stderr })
  lines.on("line", (line) => (log += `${line}\n`))
  const [url] = (await once(lines, "line")) as [string]
  const stop = async () => {
    child.kill("SIGTERM")
    await once(child, "close")
  }
  return { url: new URL(url), log: () => log, stop }
}

const overHttp = async (): Promise<Connected> => {
  const server = await startHttp()
  const { client, errors } = newClient()
  // It asks for a stream of notifications, which a server may refuse.
  await client.connect(new StreamableHTTPClientTransport(server.url) as Parameters<Client["connect"]>[0])
  const close = async () => {
    await client.close()
    await server.stop()
  }
  return { client, errors, log: server.log, close }
}

describe.each([
  { transport: "stdio", connect: overStdio },
  { transport: "HTTP", connect: overHttp }
])("over $transport", ({ connect }) => {
  let connected: Connected
  let client: Client
  beforeAll(async () => {
    connected = await connect()
    client = connected.client
  })
  afterAll(async () => {
    await connected.close()
    // The client loses the place of a progress that comes in one piece with the answer, and says so.
    const errors = connected.errors.filter(({ message }) => !message.includes("progress notification for an unknown"))
    // Among them would be every line that is not a message.
    assert.deepStrictEqual(errors, [])
  })
  const call = (name: string, args: Record<string, unknown>, options?: Parameters<Client["callTool"]>[2]) =>
    client.callTool({ name, arguments: args }, undefined, options)

  it("says who it is", () => {
    assert.deepInclude(client.getServerVersion(), { name: "tests", version: "1.2.3" })
    assert.strictEqual(client.getInstructions(), "For tests.")
  })

  it("lists every runner with its schemas and annotations", async () => {
    const { tools } = await client.listTools()
    const of = (name: string) => tools.find((tool) => tool.name === name)!
    assert.lengthOf(tools, 12)
    assert.strictEqual(of("echo").description, "Says something")
    assert.strictEqual(of("echo").outputSchema, undefined)
    assert.deepInclude(of("echo").inputSchema, { type: "object", required: ["input"] })
    assert.deepStrictEqual(Object.keys(of("judge").outputSchema!.properties!), ["score", "reason"])
    assert.deepStrictEqual(of("length").outputSchema!.required, ["result"])
    assert.strictEqual(of("translate").title, "Translator")
    assert.deepStrictEqual(of("translate").inputSchema.required, ["text", "language"])
    assert.deepInclude(of("translate").annotations, {
      readOnlyHint: true,
      openWorldHint: false,
      idempotentHint: false
    })
  })

  it("answers with the run's text", async () => {
    const result = await call("echo", { input: "one" })
    assert.strictEqual(textOf(result), `received ["one"]`)
    assert.notOk(result["isError"])
    assert.strictEqual(result["structuredContent"], undefined)
  })

  it("gives an output with a schema as structured content, which the client checks", async () => {
    const result = await call("judge", { input: "judge this" })
    assert.deepStrictEqual(result["structuredContent"], { score: 8, reason: "fine" })
    assert.deepStrictEqual(JSON.parse(textOf(result)), { score: 8, reason: "fine" })
  })

  it("encodes outputs by their schema, and wraps what is not an object", async () => {
    assert.deepStrictEqual((await call("length", { input: "four" }))["structuredContent"], { result: 4 })
    assert.deepStrictEqual((await call("day", { input: "2020-01-02" }))["structuredContent"], {
      day: "2020-01-02T00:00:00.000Z"
    })
  })

  it("gives an object without a schema as structured content too", async () => {
    const { structuredContent } = await call("team", { input: "both" })
    assert.deepStrictEqual(structuredContent, { one: `received ["both"]`, two: `received ["both"]` })
  })

  it("makes the runner's input of parameters", async () => {
    assert.strictEqual(textOf(await call("translate", { text: "two", language: "fr" })), `received ["fr: two"]`)
  })

  it("refuses bad arguments by name, before anything runs", async () => {
    const before = model.seen.length
    for (const args of [{}, { text: "x", language: "it" }, { text: 1, language: "fr" }]) {
      const result = await call("translate", args)
      assert.strictEqual(result["isError"], true)
      assert.match(textOf(result), /^Invalid arguments for tool "translate": .*(text|language)/)
    }
    assert.strictEqual(model.seen.length, before)
  })

  it("refuses a tool that it does not have", async () => {
    const error = await call("unknown", {}).then(
      () => undefined,
      (error: unknown) => error
    )
    assert.instanceOf(error, Error)
    assert.match((error as Error).message, /unknown/)
  })

  it("reports its progress in steps, nested runs included, to a client that asks", async () => {
    const received: Array<Progress> = []
    await call("team", { input: "words" }, { onprogress: (progress) => received.push(progress) })
    assert.deepStrictEqual(
      received.map(({ progress }) => progress),
      received.map((_, index) => index + 1)
    )
    const said = received.map(({ message }) => message)
    assert.includeMembers(said, ["team > one: step 1", "team > two: step 1"])
  })

  it("reports its progress in words, and they are the answer", async () => {
    const received: Array<string> = []
    receivedAll = () => vi.waitFor(() => assert.lengthOf(received, pieces.length), { timeout: 20_000 })
    const result = await call("writer", { input: "words" }, { onprogress: ({ message }) => received.push(message!) })
    receivedAll = async () => {}
    assert.deepStrictEqual(received, pieces)
    assert.strictEqual(textOf(result), pieces.join(""))
  })

  it("interrupts the run and its model request when the client cancels, and goes on serving", async () => {
    const controller = new AbortController()
    const cancelled = call("team", { input: "hang 1" }, { signal: controller.signal }).then(
      () => "answered",
      () => "cancelled"
    )
    const mine = () => model.of(`hang 1`)
    await model.until(() => mine().length >= 2)
    const since = mine().length - 2
    controller.abort()
    assert.strictEqual(await cancelled, "cancelled")
    await model.until(() =>
      mine()
        .slice(since)
        .every((one) => one.aborted)
    )
    assert.strictEqual(textOf(await call("length", { input: "go on" })), `{"result":5}`)
  })

  it("interrupts a run that takes longer than it may, and says so", async () => {
    const before = model.of("hang 2").length
    const result = await call("hurried", { input: "hang 2" })
    assert.strictEqual(result["isError"], true)
    assert.match(textOf(result), /"hurried" did not end within 50 ms/)
    await model.until(() =>
      model
        .of("hang 2")
        .slice(before)
        .every((one) => one.aborted)
    )
  })

  it("fails a call with the error's own message, without secrets, stacks and advice for operators", async () => {
    const refused = await call("refused", { input: "sk-secret" })
    assert.strictEqual(refused["isError"], true)
    assert.strictEqual(textOf(refused), "The key <redacted> was refused. Ask for another.")
    const unauthorized = await call("echo", { input: "no key" })
    assert.strictEqual(unauthorized["isError"], true)
    assert.strictEqual(textOf(unauthorized), `"echo" step 1: the model call failed (AuthenticationError).`)
    await vi.waitFor(() => assert.include(connected.log(), "Check the API key"), { timeout: 20_000 })
    assert.notInclude(connected.log(), "sk-test")
  })

  it("keeps back what was thrown unexpectedly, and logs it", async () => {
    const result = await call("broken", { input: "x" })
    assert.strictEqual(result["isError"], true)
    assert.strictEqual(textOf(result), `"broken" failed unexpectedly. The server's log says why.`)
    // The answer comes by another pipe, and may be there first.
    await vi.waitFor(() => assert.include(connected.log(), "swordfish"), { timeout: 20_000 })
  })

  it("runs calls at once", async () => {
    const count = 6
    const already = model.of("together").length
    const input = `together ${already + count}`
    const results = await Promise.all(Array.from({ length: count }, () => call("echo", { input })))
    assert.deepStrictEqual(
      results.map(textOf),
      Array.from({ length: count }, () => `received ["${input}"]`)
    )
  })

  it("builds the services of the runs once", async () => {
    const results = await Promise.all([1, 2, 3].map(() => call("shared", { input: "x" })))
    assert.deepStrictEqual(results.map(textOf), ["1", "1", "1"])
  })

  it("keeps standard output for the protocol, with all that a run writes", async () => {
    assert.strictEqual(textOf(await call("noisy", { input: "quiet" })), "quiet")
  })
})
