/** An agent of ACP, made with the protocol's own SDK. What it does is said by its prompt. */
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { Readable, Writable } from "node:stream"
import * as acp from "@agentclientprotocol/sdk"

const connection = acp
  .agent({ name: "fixture" })
  .onRequest(acp.methods.agent.initialize, () => ({ protocolVersion: acp.PROTOCOL_VERSION, agentCapabilities: {} }))
  .onRequest(acp.methods.agent.session.new, () => ({ sessionId: "one" }))
  .onNotification(acp.methods.agent.session.cancel, () => {
    cancelled()
  })
  .onRequest(acp.methods.agent.session.prompt, async ({ client, params }) => {
    const [first] = params.prompt
    const { act, ...given } = JSON.parse(first?.type === "text" ? first.text : "{}") as Record<string, string>
    const update = (update: acp.SessionUpdate) =>
      client.notify(acp.methods.client.session.update, { sessionId: "one", update })
    const say = (text: string) => update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } })
    return acts[act ?? "answer"]!({ client, update, say, given })
  })
  .connect(
    acp.ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>)
  )

let cancelled = () => {}

interface Acting {
  readonly client: acp.AgentContext
  readonly update: (update: acp.SessionUpdate) => Promise<void>
  readonly say: (text: string) => Promise<void>
  readonly given: Readonly<Record<string, string>>
}

const endTurn = { stopReason: "end_turn" } as const
const begins = { sessionUpdate: "tool_call", kind: "edit", title: "Edit it", status: "pending" } as const

const acts: Readonly<Record<string, (acting: Acting) => Promise<acp.PromptResponse>>> = {
  /** Thinks, speaks, makes two calls of which one begins late, speaks while the other is under way, and answers. */
  answer: async ({ say, update }) => {
    await update({ sessionUpdate: "agent_thought_chunk", content: { type: "text", text: "Hm." } })
    await say("Let me look. ")
    await update({ ...begins, toolCallId: "a", kind: "read", title: "Read a", rawInput: { file: "a" } })
    await say("While it reads: ")
    await update({ ...begins, toolCallId: "b", kind: "read", title: "Read b" })
    await update({ sessionUpdate: "tool_call_update", toolCallId: "b", status: "failed", rawOutput: { why: "gone" } })
    await update({
      sessionUpdate: "tool_call_update",
      toolCallId: "a",
      status: "completed",
      content: [{ type: "content", content: { type: "text", text: "four" } }]
    })
    await say("It is ")
    await say(
      `${process.env["ANSWER"] ?? "unset"} ${Object.keys(process.env).includes("HOME") ? "with" : "without"} HOME.`
    )
    return endTurn
  },
  /** Asks whether it may. */
  ask: async ({ client, given, say, update }) => {
    for (let n = 0; n < Number(given["times"]); n++) {
      const toolCallId = `c${n}`
      const { outcome } = await client.request(acp.methods.client.session.requestPermission, {
        sessionId: "one",
        toolCall: { toolCallId, title: "Edit it", kind: "edit", rawInput: { path: "a.txt" } },
        options: [
          { optionId: "always", name: "Always", kind: "allow_always" },
          { optionId: "yes", name: "Yes", kind: "allow_once" },
          { optionId: "no", name: "No", kind: "reject_once" }
        ]
      })
      const said = outcome.outcome === "selected" ? outcome.optionId : outcome.outcome
      await update({ sessionUpdate: "tool_call_update", toolCallId, status: said === "yes" ? "completed" : "failed" })
      await say(`${said} `)
    }
    return endTurn
  },
  /** Starts a process of its own, and works until it is cancelled. */
  work: async ({ given, say }) => {
    const child = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" })
    writeFileSync(given["file"]!, String(child.pid))
    await say("working")
    await new Promise<void>((resolve) => {
      cancelled = resolve
    })
    writeFileSync(`${given["file"]!}.cancelled`, "")
    return { stopReason: "cancelled" }
  },
  /** Uses what its client lets it use. */
  use: async ({ client, given, say }) => {
    const trying = async (what: () => Promise<string>) =>
      say(`${await what().catch((error: Error) => error.message)}\n`)
    const sessionId = "one"
    const fs = acp.methods.client.fs
    const read = (path: string) => client.request(fs.readTextFile, { sessionId, path, line: 2, limit: 1 })
    await trying(async () => `read ${(await read(`${given["root"]!}/a.txt`)).content}`)
    await trying(async () => `read ${(await read("/etc/passwd")).content}`)
    await trying(async () => {
      await client.request(fs.writeTextFile, { sessionId, path: `${given["root"]!}/b.txt`, content: "new" })
      return "written"
    })
    await trying(async () => {
      const terminal = await client.createTerminal({ sessionId, command: "sh", args: ["-c", "echo $((40+2)); exit 3"] })
      const { exitCode } = await terminal.waitForExit()
      const { output } = await terminal.currentOutput()
      await terminal.release()
      return `ran ${output.trim()} ${exitCode}`
    })
    return endTurn
  },
  die: () => {
    process.stderr.write("the key is sk-secret\n")
    process.exit(7)
  }
}

await connection.closed
