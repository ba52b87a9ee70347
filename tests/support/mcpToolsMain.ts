/**
 * A small MCP server as a process, for what the everything server does not do: die in the middle of a call, hang, change
 * its tools, start processes, refuse to end. `LOG` is a file that it writes what happened to, a line each; `STUBBORN`
 * makes it stay when its input ends and when it is asked to end. Its list of tools comes in pages of two.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { CallToolRequestSchema, ListToolsRequestSchema, type Tool } from "@modelcontextprotocol/sdk/types.js"

const log = process.env["LOG"] ?? "/dev/null"
const note = (line: string) => fs.appendFileSync(log, `${line}\n`)
const times = (line: string) =>
  fs.existsSync(log)
    ? fs
        .readFileSync(log, "utf8")
        .split("\n")
        .filter((one) => one === line).length
    : 0

if (process.env["STUBBORN"] !== undefined) {
  process.on("SIGTERM", () => note("SIGTERM"))
  setInterval(() => {}, 1000)
}

const tool = (name: string, more: Partial<Tool> = {}): Tool => ({ name, inputSchema: { type: "object" }, ...more })
const tools: Array<Tool> = [
  tool("pid", { annotations: { readOnlyHint: true } }),
  tool("hang"),
  tool("die"),
  tool("die-once", { annotations: { idempotentHint: true } }),
  tool("fork"),
  tool("daemon"),
  tool("grow"),
  tool("fail"),
  tool("wrong", { outputSchema: { type: "object", properties: { n: { type: "number" } }, required: ["n"] } }),
  tool("env")
]

const server = new Server({ name: "tools", version: "1.0.0" }, { capabilities: { tools: { listChanged: true } } })
server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
  const from = Number(params?.cursor ?? 0)
  const nextCursor = from + 2 < tools.length ? { nextCursor: String(from + 2) } : {}
  return { tools: tools.slice(from, from + 2), ...nextCursor }
})
const text = (said: string) => ({ content: [{ type: "text", text: said }] })
server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
  note(params.name)
  switch (params.name) {
    case "pid":
      return text(String(process.pid))
    case "hang":
      await new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => {
          note(`cancelled: ${String(signal.reason)}`)
          resolve()
        })
      )
      return text("too late")
    case "die":
      process.stderr.write("ended on request\n")
      return process.exit(9)
    case "die-once":
      if (times("die-once") === 1) process.exit(9)
      return text(`lived, call ${times("die-once")}`)
    case "fork":
    case "daemon": {
      const child = spawn("sleep", ["1000"], { stdio: "ignore", detached: params.name === "daemon" })
      return text(String(child.pid))
    }
    case "grow":
      tools.push(tool(`grown-${tools.length}`))
      await server.sendToolListChanged()
      return text("grown")
    case "fail":
      return { ...text("the disk is full"), isError: true }
    case "wrong":
      return { ...text("{}"), structuredContent: { n: "no number" } }
    case "env":
      return text(JSON.stringify(process.env))
    default:
      return text(`this is ${params.name}`)
  }
})
await server.connect(new StdioServerTransport())
note("started")
