/** `troupe acp`, with the client of the protocol's own SDK as the editor. */
import { type ChildProcess, spawn } from "node:child_process"
import path from "node:path"
import { createInterface } from "node:readline"
import { Readable, Writable } from "node:stream"
import * as acp from "@agentclientprotocol/sdk"
import { assert, it, vi } from "vitest"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

// Processes take long to start where the machine has other things to do.
vi.setConfig({ testTimeout: 60_000 })

const root = path.resolve(import.meta.dirname, "../../..")
const folder = temporaryFolder()

/** An editor, with the command as its agent; `permit` is what the person chooses. */
const editor = (permit: (asked: acp.RequestPermissionRequest) => string) => {
  const args = ["--conditions=troupe-source", "src/bin.ts", "acp", "--db", path.join(folder(), "acp.db")]
  const child: ChildProcess = spawn(process.execPath, [...args, "tests/support/chatAgent.ts"], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"]
  })
  const updates: Array<acp.SessionUpdate> = []
  const connection = acp
    .client({ name: "editor" })
    .onNotification(acp.methods.client.session.update, ({ params }) => void updates.push(params.update))
    .onRequest(acp.methods.client.session.requestPermission, ({ params }) => ({
      outcome: { outcome: "selected", optionId: permit(params) }
    }))
    .connect(
      acp.ndJsonStream(Writable.toWeb(child.stdin!), Readable.toWeb(child.stdout!) as ReadableStream<Uint8Array>)
    )
  const { agent } = connection
  const greet = agent.request(acp.methods.agent.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: {}
  })
  const taken = () => updates.splice(0)
  return { agent, child, greet, updates, taken }
}

const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) => {
    child.once("exit", resolve)
    child.stdin?.end()
  })

const shown = (updates: ReadonlyArray<acp.SessionUpdate>) =>
  updates.map((update) => {
    switch (update.sessionUpdate) {
      case "user_message_chunk":
      case "agent_message_chunk":
        return update.content.type === "text" ? update.content.text : update.content.type
      case "tool_call":
      case "tool_call_update":
        return `${update.sessionUpdate} ${String(update.status)}`
      default:
        return update.sessionUpdate
    }
  })

const says = (sessionId: string, text: string): acp.PromptRequest => ({
  sessionId,
  prompt: [{ type: "text" as const, text }]
})

it("streams turns, asks for permissions, cancels, and goes on with a session in another process", async () => {
  const asked: Array<acp.RequestPermissionRequest> = []
  const first = editor((request) => {
    asked.push(request)
    return asked.length === 1 ? "reject" : "allow"
  })
  const { agent } = first
  const { agentCapabilities, agentInfo } = await first.greet
  assert.strictEqual(agentCapabilities?.loadSession, true)
  assert.strictEqual(agentInfo?.name, "agent")
  const { sessionId } = await agent.request(acp.methods.agent.session.new, { cwd: root, mcpServers: [] })

  assert.strictEqual(
    (await agent.request(acp.methods.agent.session.prompt, says(sessionId, "hello"))).stopReason,
    "end_turn"
  )
  assert.strictEqual(shown(first.taken()).join(""), "1 hello")

  await agent.request(acp.methods.agent.session.prompt, says(sessionId, "pay"))
  assert.deepInclude(asked[0]?.toolCall, { title: 'pay {"to":"Ada"}', rawInput: { to: "Ada" } })
  assert.include(shown(first.updates).join(), "tool_call_update failed")
  const call = first.taken().find(({ sessionUpdate }) => sessionUpdate === "tool_call")
  assert.deepInclude(call, { toolCallId: asked[0]!.toolCall.toolCallId })
  await agent.request(acp.methods.agent.session.prompt, says(sessionId, "pay"))
  assert.deepStrictEqual(shown(first.taken()).slice(0, 4), [
    "tool_call in_progress",
    "tool_call_update pending",
    "tool_call_update in_progress",
    "tool_call_update completed"
  ])

  const hanging = agent.request(acp.methods.agent.session.prompt, says(sessionId, "hang"))
  while (first.updates.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const second = await agent
    .request(acp.methods.agent.session.prompt, says(sessionId, "hello"))
    .catch((error: Error) => error.message)
  assert.include(String(second), "under way")
  await agent.notify(acp.methods.agent.session.cancel, { sessionId })
  assert.strictEqual((await hanging).stopReason, "cancelled")
  assert.strictEqual(await ended(first.child), 0)

  const other = editor(() => "reject")
  await other.greet
  const load = (sessionId: string) =>
    other.agent.request(acp.methods.agent.session.load, { sessionId, cwd: root, mcpServers: [] })
  assert.isUndefined(await load("acp-00000000-0000-0000-0000-000000000000").then(String, () => undefined))
  const { sessions } = await other.agent.request(acp.methods.agent.session.list, { cwd: root })
  assert.deepStrictEqual(
    sessions.map(({ cwd, sessionId, title }) => [sessionId, cwd, title]),
    [[sessionId, root, "hello"]]
  )
  await load(sessionId)
  assert.deepStrictEqual(shown(other.taken()).slice(0, 2), ["hello", "1 hello"])
  await other.agent.request(acp.methods.agent.session.prompt, says(sessionId, "again"))
  assert.match(shown(other.taken()).join(""), /^[45] again$/)
  const hangs = other.agent.request(acp.methods.agent.session.prompt, says(sessionId, "hang")).catch(() => "gone")
  while (other.updates.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  // An editor that goes away ends the run, and the program.
  assert.strictEqual(await ended(other.child), 0)
  assert.isDefined(await hangs)
})

it("answers a line that is not UTF-8 with a parse error, and goes on", async () => {
  const args = ["--conditions=troupe-source", "src/bin.ts", "acp", "tests/support/chatAgent.ts"]
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["pipe", "pipe", "inherit"] })
  const params = { protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {}, _meta: { note: "caf\u00e9" } }
  const greet = `${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params })}\n`
  child.stdin.write(Buffer.from(greet, "latin1"))
  const bytes = Buffer.from(greet)
  const within = bytes.indexOf(Buffer.from("\u00e9")) + 1
  child.stdin.write(bytes.subarray(0, within))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse(String((await lines.next()).value)) as object
  assert.containSubset(await next(), { id: null, error: { code: -32700 } })
  child.stdin.write(bytes.subarray(within))
  assert.containSubset(await next(), { id: 1, result: { protocolVersion: acp.PROTOCOL_VERSION } })
  assert.strictEqual(await ended(child), 0)
})
