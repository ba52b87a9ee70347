/** The MCP project's own test server as a real process, and what a process has open: children, sockets, listeners. */
import { execFileSync, spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { createRequire } from "node:module"
import * as net from "node:net"
import * as path from "node:path"
import { once } from "node:events"

const main = createRequire(import.meta.url).resolve("@modelcontextprotocol/server-everything/dist/index.js")

/** How it is started to speak by its input and output. */
export const everything = { command: process.execPath, args: [main, "stdio"] }

/** A program given as text, as a server. */
export const script = (source: string) => ({ command: process.execPath, args: ["--input-type=module", "-e", source] })

/** All processes: id, parent, group, whether it is a zombie. */
export const processes = () =>
  execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid=,stat=,args="])
    .toString()
    .trim()
    .split("\n")
    .map((line) => {
      const [pid, ppid, pgid, stat, ...args] = line.trim().split(/\s+/)
      return { pid: Number(pid), ppid: Number(ppid), pgid: Number(pgid), stat: stat!, args: args.join(" ") }
    })

/** What this process has started and not ended. */
export const children = () => processes().filter(({ ppid, args }) => ppid === process.pid && !args.startsWith("ps "))

/** True for a process that runs. */
export const isAlive = (pid: number) => processes().some((one) => one.pid === pid && !one.stat.startsWith("Z"))

/** Waits until `done` holds, looking often, for at most twenty seconds. */
export const until = async (done: () => boolean | Promise<boolean>): Promise<void> => {
  for (let looks = 0; looks < 800; looks++) {
    if (await done()) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`it never came to be: ${done.toString()}`)
}

/**
 * A port of this machine without a listener. It is below those that the system chooses from (from 32768 on), so that no
 * other process gets it before it is used.
 */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = 12_000 + randomInt(20_000)
    const server = net.createServer().listen(port)
    const free = await new Promise<boolean>((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false))
    })
    if (!free) continue
    server.close()
    await once(server, "close")
    return port
  }
}

/** The same server behind a port, in a process of its own. */
export const startEverything = async (transport: "streamableHttp" | "sse", port?: number) => {
  const at = port ?? (await freePort())
  const child = spawn(process.execPath, [main, transport], {
    env: { ...process.env, PORT: String(at) },
    stdio: "ignore"
  })
  const url = `http://127.0.0.1:${at}/${transport === "sse" ? "sse" : "mcp"}`
  await until(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = net.connect(at, "127.0.0.1")
        socket.once("connect", () => {
          socket.destroy()
          resolve(true)
        })
        socket.once("error", () => resolve(false))
      })
  )
  const stop = async (signal: NodeJS.Signals = "SIGKILL") => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, "exit")
  }
  return { url, port: at, pid: child.pid!, stop }
}

/** Our own small server, see `mcpToolsMain.ts`. */
export const toolsServer = (env: Readonly<Record<string, string>> = {}) => ({
  command: process.execPath,
  args: [path.join(import.meta.dirname, "mcpToolsMain.ts")],
  env,
  grace: "200 millis" as const
})
