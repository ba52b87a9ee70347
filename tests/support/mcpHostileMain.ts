/**
 * An MCP server as a process that means ill: it writes its messages itself, so that nothing keeps it from being wrong.
 * `LISTS`: `deep` makes its list of tools so.
 */
import * as readline from "node:readline"

const lists = process.env["LISTS"] ?? ""
const write = (text: string | Uint8Array) => process.stdout.write(text)
const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)
const objects = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`
const tool = (name: string, inputSchema: object = {}, outputSchema?: object) => ({
  name,
  inputSchema: { type: "object", ...inputSchema },
  ...(outputSchema === undefined ? {} : { outputSchema: { type: "object", ...outputSchema } })
})
const slow = { properties: { x: { type: "string", pattern: "^(a+)+$" } } }
const node = { type: "object", properties: { next: { $ref: "#/$defs/node" } } }
const tools = [
  ...["long", "oversized", "deep", "noise", "bytes", "proto", "misfit", "escapes", "__proto__", "constructor"].map(
    (name) => tool(name)
  ),
  tool("circle", { properties: { a: { $ref: "#/properties/a" } } }),
  tool("tree", { $defs: { node }, properties: { root: { $ref: "#/$defs/node" } } }),
  tool("slow-in", slow),
  tool("slow-out", {}, slow)
]

interface Message {
  readonly id?: number
  readonly method: string
  readonly params?: { readonly name?: string; readonly arguments?: object }
}

const answer = (id: number, { method, params }: Message) => {
  const say = (result: string) => write(`{"jsonrpc":"2.0","id":${id},"result":${result}}\n`)
  const text = (said: string) => say(JSON.stringify({ content: [{ type: "text", text: said }] }))
  if (method === "initialize") {
    const capabilities = { tools: {} }
    const serverInfo = { name: "hostile", version: "1.0.0" }
    return say(JSON.stringify({ protocolVersion: "2025-11-25", capabilities, serverInfo }))
  }
  if (method === "tools/list") {
    if (lists !== "deep") return say(JSON.stringify({ tools }))
    return say(`{"tools":[{"name":"d","inputSchema":{"type":"object","properties":${objects(100_000)}}}]}`)
  }
  switch (params?.name) {
    case "long":
      return text("x".repeat(2_000_000))
    case "oversized":
      return text("x".repeat(11_000_000))
    case "deep":
      return say(`{"content":[],"structuredContent":{"a":${nested(100_000)}}}`)
    case "noise":
      write(`${nested(1_000_000)}\nplain words\n\u001b[2J\n`)
      return text("still here")
    case "bytes":
      write(`{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"a`)
      write(Uint8Array.of(0xff, 0xfe, 0xc3, 0x28))
      return write(`b"}]}}\n`)
    case "proto":
      return say(`{"content":[],"structuredContent":{"__proto__":{"bad":1},"constructor":{"prototype":{"bad":1}}}}`)
    case "misfit":
      return say(`{"content":[{"type":"text","text":null}]}`)
    case "escapes":
      return say(
        JSON.stringify({ isError: true, content: [{ type: "text", text: "\u001b]0;mine\u0007\u001b[2Jno\u0008\n" }] })
      )
    case "slow-out":
      return say(JSON.stringify({ content: [], structuredContent: { x: `${"a".repeat(40)}!` } }))
    default:
      return text(`ran with ${JSON.stringify(params?.arguments)}`)
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const message = JSON.parse(line) as Message
  if (message.id !== undefined) answer(message.id, message)
})
if (process.env["CRY"] !== undefined) {
  process.stderr.write("\u001b[31mdead\u001b]0;mine\u0007\n")
  process.exit(1)
}
