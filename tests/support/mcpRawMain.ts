/**
 * An MCP server over stdio whose answers are its argument: JSON from a method to what it gets, sound or not. See
 * `mcpRaw.ts` for the forms of an answer.
 */
import * as readline from "node:readline"
import type { RawAnswers } from "./mcpRaw.ts"

interface Message {
  readonly id?: number | string
  readonly method?: string
  readonly params?: { readonly protocolVersion?: string; readonly name?: string; readonly cursor?: string }
}

const { $ask: ask, ...answers } = JSON.parse(process.argv[2] ?? "{}") as RawAnswers
const offered = ["tools", "resources", "prompts"].filter(
  (kind) => kind === "tools" || Object.keys(answers).some((method) => method.startsWith(`${kind}/`))
)
const byName = (answers["tools/call"] as { readonly $byName?: Readonly<Record<string, unknown>> } | undefined)?.$byName
const tool = (name: string) => ({ name, description: "A tool", inputSchema: { type: "object", properties: {} } })
const defaults: Readonly<Record<string, unknown>> = {
  "tools/list": { tools: (byName === undefined ? ["good"] : Object.keys(byName)).map(tool) },
  "tools/call": { content: [{ type: "text", text: "fine" }] },
  ping: {}
}
const send = (message: object) => {
  const text = JSON.stringify({ jsonrpc: "2.0", ...message })
  process.stdout.write(`${text.replaceAll(/\$A\{(\d+)\}/g, (_, count) => "A".repeat(Number(count)))}\n`)
}

/** The call that waits for the client's answer to our question. */
let waiting: Message["id"]

const reply = (id: number | string, method: string, params: Message["params"]) => {
  const own = method === "tools/call" && byName !== undefined ? byName[params?.name ?? ""] : answers[method]
  const answer = own ?? defaults[method]
  if (method === "initialize") {
    const capabilities = Object.fromEntries(offered.map((kind) => [kind, {}]))
    const serverInfo = { name: "raw", version: "1.0.0" }
    const more = answer as object | undefined
    return send({ id, result: { protocolVersion: params?.protocolVersion, capabilities, serverInfo, ...more } })
  }
  if (method === "tools/call" && ask !== undefined) {
    waiting = id
    return send({ id: "question", ...ask })
  }
  if (answer === undefined) return send({ id, error: { code: -32601, message: "Method not found" } })
  if (typeof answer === "string") return process.stdout.write(`${answer.replaceAll("$ID", String(id))}\n`)
  const failure = (answer as { readonly $error?: unknown }).$error
  return send(failure === undefined ? { id, result: answer } : { id, error: failure })
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line) as Message
  if (method === undefined) send({ id: waiting, result: { content: [{ type: "text", text: line }] } })
  else if (id !== undefined) reply(id, method, params)
})
