/** `troupe mcp`, called as a client does: by the SDK's client, in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"

vi.setConfig({ testTimeout: 60_000 })

const root = join(import.meta.dirname, "../../..")
const command = (...args: ReadonlyArray<string>) => [
  "--conditions=troupe-source",
  join(root, "src/bin.ts"),
  "mcp",
  ...args
]

let folder = ""
beforeAll(() => {
  // Inside of the project, so that the files find the package.
  folder = mkdtempSync(join(root, "tests/.mcp-"))
})
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const crew = `
import { Schema } from "effect"
import { Agent, McpServer, Runner } from "troupe"
console.log("written while the file is loaded")
export const helper = Agent.make("helper", { description: "Helps", instructions: "Summarise the text." })
export default helper
export const upper = McpServer.tool(
  Runner.map(Runner.named(helper, "upper"), (text) => text.toUpperCase()),
  { parameters: Schema.Struct({ text: Schema.String }), input: ({ text }) => text }
)
export const nothing = 42
`

const check = async (client: Client) => {
  const { tools } = await client.listTools()
  assert.deepStrictEqual(tools.map(({ name }) => name).toSorted(), ["helper", "upper"])
  assert.strictEqual(client.getServerVersion()?.name, "crew")
  const answer = await client.callTool({ name: "helper", arguments: { input: "Hello there." } })
  assert.notOk(answer["isError"])
  const upper = await client.callTool({ name: "upper", arguments: { text: "Hello there." } })
  const [{ text }] = upper["content"] as [{ readonly text: string }]
  assert.strictEqual(text, text.toUpperCase())
}

describe("troupe mcp", () => {
  it("serves a memory and skills to other hosts without a file", async () => {
    const skill = join(folder, "skills/bills")
    mkdirSync(skill, { recursive: true })
    writeFileSync(join(skill, "SKILL.md"), "---\nname: bills\ndescription: Writes bills.\n---\nAdd the tax.\n")
    const args = command("--memory", "team", "--skills", join(folder, "skills"), "--db", join(folder, "team.db"))
    const client = new Client({ name: "host", version: "1" })
    await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: "pipe" }))
    const { tools } = await client.listTools()
    assert.deepStrictEqual(
      tools.map(({ name }) => name),
      ["remember", "search_memory", "forget", "list_skills", "read_skill", "read_skill_file"]
    )
    await client.callTool({ name: "remember", arguments: { key: "name", text: "The user is Ada." } })
    const { contents } = await client.readResource({ uri: "memory://team/name" })
    assert.include(JSON.stringify(contents), "The user is Ada.")
    const { messages } = await client.getPrompt({ name: "bills" })
    assert.include(JSON.stringify(messages), "Add the tax.")
    await client.close()
  })

  it("serves what a file exports on standard input and output, and ends with them", async () => {
    const client = new Client({ name: "tests", version: "1" })
    const errors: Array<Error> = []
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is not an event target
    client.onerror = (error) => errors.push(error)
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: command("--model", "demo", file("crew.ts", crew)),
      stderr: "pipe"
    })
    let stderr = ""
    transport.stderr!.on("data", (chunk) => (stderr += chunk))
    await client.connect(transport)
    await check(client)
    // Not by the client's own `close`, which kills what has not ended within two seconds.
    const { _process: child } = transport as unknown as { readonly _process: ChildProcess }
    child.stdin!.end()
    assert.deepStrictEqual(await once(child, "close"), [0, null])
    assert.deepStrictEqual(errors, [])
    assert.include(stderr, "written while the file is loaded")
  })

  it("serves it over HTTP with --http", async () => {
    const child = spawn(process.execPath, command("--model", "demo", "--http", "0", file("crew.ts", crew)), {
      stdio: ["ignore", "ignore", "pipe"]
    })
    const ended = once(child, "close")
    let url: string | undefined
    for await (const line of createInterface({ input: child.stderr })) {
      url = /serves 2 tools on (http:\S+)/.exec(line)?.[1]
      if (url !== undefined) break
    }
    const client = new Client({ name: "tests", version: "1" })
    await client.connect(new StreamableHTTPClientTransport(new URL(url!)) as Parameters<Client["connect"]>[0])
    await check(client)
    await client.close()
    child.kill("SIGTERM")
    assert.deepStrictEqual(await ended, [143, null])
  })

  const refused = async (...args: ReadonlyArray<string>) => {
    const child = spawn(process.execPath, command(...args), { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (stderr += chunk))
    const [code] = (await once(child, "close")) as [number]
    assert.strictEqual(output, "")
    return { code, said: stderr.split("\n").filter((line) => line.startsWith("troupe: ")) }
  }

  it("says in one line what is wrong with a file", async () => {
    const none = await refused("--model", "demo", file("none.ts", "export const a = 1"))
    assert.strictEqual(none.code, 2)
    assert.match(none.said.join("\n"), /none\.ts exports no runner\./)
    const mute = await refused(
      "--model",
      "demo",
      file("mute.ts", `import { Agent } from "troupe"\nexport default Agent.make("mute", { instructions: "x" })`)
    )
    assert.strictEqual(mute.code, 2)
    assert.match(mute.said.join("\n"), /MCP tool "mute": it has no description\. Describe/)
    const missing = await refused(join(folder, "missing.ts"))
    assert.strictEqual(missing.code, 2)
    assert.match(missing.said.join("\n"), /there is no file/)
  })

  it("says in one line that a port is taken", async () => {
    const blocker = spawn(process.execPath, command("--model", "demo", "--http", "0", file("crew.ts", crew)), {
      stdio: ["ignore", "ignore", "pipe"]
    })
    const ended = once(blocker, "close")
    let port: string | undefined
    for await (const line of createInterface({ input: blocker.stderr })) {
      port = /:(\d+)\/mcp/.exec(line)?.[1]
      if (port !== undefined) break
    }
    const taken = await refused("--model", "demo", "--http", port!, file("crew.ts", crew))
    blocker.kill("SIGKILL")
    await ended
    assert.strictEqual(taken.code, 1)
    assert.match(taken.said.join("\n"), /cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)/)
  })
})
