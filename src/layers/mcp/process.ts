/**
 * A server's process as a transport of the SDK, in a process group of its own that never outlives us. It touches child
 * processes only, and names nothing outside of its function: the I/O thread runs it from its text.
 */
import type { spawn as Spawn } from "node:child_process"
import type { ReadBuffer, serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { ProcessEnd } from "./protocol.ts"

/** What it is made with. */
export interface ProcessParts {
  readonly spawn: typeof Spawn
  readonly ReadBuffer: typeof ReadBuffer
  readonly serializeMessage: typeof serializeMessage
}

/** What is run. `env` is all of its environment. */
export interface Command {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  /** How long it may take to end after its input has ended, and again after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** The transport, with what it knows of its process. */
export interface ProcessTransport extends Transport {
  readonly pid: () => number | undefined
  /** How it ended; `undefined` while it runs, or when it could not be started. */
  readonly end: () => ProcessEnd | undefined
  readonly stderr: () => string
}

/**
 * The SDK's own stdio transport hides the exit code, does not end what the server has started itself, and leaves it all
 * running when this process is killed. Here a guard, a shell that waits for its input to end, kills the group then.
 */
export const processTransport = (parts: ProcessParts, what: Command): ProcessTransport => {
  const isPosix = process.platform !== "win32"
  const keptStderr = 8192
  const buffer = new parts.ReadBuffer()
  let child: ReturnType<typeof Spawn> | undefined
  let guard: ReturnType<typeof Spawn> | undefined
  let ended: { readonly exitCode: number | undefined; readonly signal: string | undefined } | undefined
  let stderr = ""
  let closing = false
  let told = false
  const waiters: Array<() => void> = []

  const kill = (signal: NodeJS.Signals) => {
    if (child?.pid === undefined) return
    try {
      if (isPosix) process.kill(-child.pid, signal)
      else child.kill(signal)
    } catch {
      // Nobody is left in the group.
    }
  }
  const within = (done: Promise<unknown>, ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      void done.then(end, end)
    })
  const exited = () =>
    new Promise<void>((resolve) => {
      if (ended !== undefined || child?.pid === undefined) resolve()
      else waiters.push(resolve)
    })
  let dismissed: Promise<void> | undefined
  const dismissGuard = () =>
    (dismissed ??= new Promise<void>((resolve) => {
      if (guard?.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return resolve()
      guard.once("exit", () => resolve())
      guard.stdin?.end("done\n")
    }))
  const finish = async () => {
    // What the server had started itself ends with it.
    kill("SIGKILL")
    await dismissGuard()
    child?.stdin?.destroy()
    child?.stdout?.destroy()
    child?.stderr?.destroy()
    buffer.clear()
    if (told) return
    told = true
    transport.onclose?.()
  }
  const read = () => {
    while (true) {
      try {
        const message = buffer.readMessage()
        if (message === null) return
        transport.onmessage?.(message)
      } catch (error) {
        // A line that is no message, such as a log line on the wrong stream.
        transport.onerror?.(error as Error)
      }
    }
  }

  const transport: ProcessTransport = {
    start: () =>
      new Promise<void>((resolve, reject) => {
        const giveUp = async (error: unknown) => {
          await dismissGuard()
          reject(error)
        }
        if (isPosix) {
          // The first line is the group to kill; a second one says that there is nothing to kill any more.
          guard = parts.spawn(
            "/bin/sh",
            ["-c", "trap '' HUP INT TERM; read -r group || exit 0; read -r _ || kill -s KILL -- \"-$group\""],
            { detached: true, stdio: ["pipe", "ignore", "ignore"], env: {} }
          )
          guard.on("error", () => {})
          guard.stdin?.on("error", () => {})
        }
        try {
          child = parts.spawn(what.command, [...what.args], {
            detached: isPosix,
            env: what.env,
            cwd: what.cwd,
            stdio: ["pipe", "pipe", "pipe"],
            windowsHide: true
          })
        } catch (error) {
          void giveUp(error)
          return
        }
        if (child.pid !== undefined) guard?.stdin?.write(`${child.pid}\n`)
        child.on("error", (error) => {
          if (child?.pid === undefined) void giveUp(error)
          else transport.onerror?.(error)
        })
        child.on("spawn", () => resolve())
        child.on("exit", (code, signal) => {
          ended = { exitCode: code ?? undefined, signal: signal ?? undefined }
          for (const waiter of waiters) waiter()
          if (closing) return
          // Its last words may still be in the pipes; a process of its own that holds them open must not delay us.
          const drained = new Promise<void>((resolve) => child?.once("close", () => resolve()))
          void within(drained, 200).then(finish)
        })
        child.stdin?.on("error", (error) => transport.onerror?.(error))
        child.stdout?.on("error", (error) => transport.onerror?.(error))
        child.stdout?.on("data", (chunk: Buffer) => {
          try {
            buffer.append(chunk)
          } catch (error) {
            transport.onerror?.(error as Error)
            void transport.close()
            return
          }
          read()
        })
        child.stderr?.on("error", () => {})
        child.stderr?.on("data", (chunk: Buffer) => {
          stderr = (stderr + chunk.toString()).slice(-keptStderr)
        })
      }),
    send: (message) =>
      new Promise<void>((resolve, reject) => {
        const stdin = child?.stdin
        if (stdin === null || stdin === undefined || !stdin.writable || ended !== undefined) {
          reject(Object.assign(new Error("the server's process has ended"), { code: "EPIPE" }))
          return
        }
        if (stdin.write(parts.serializeMessage(message))) resolve()
        else {
          const done = () => {
            stdin.off("drain", done)
            stdin.off("close", done)
            resolve()
          }
          stdin.once("drain", done)
          stdin.once("close", done)
        }
      }),
    close: async () => {
      if (closing) return exited()
      closing = true
      if (child?.pid !== undefined && ended === undefined) {
        child.stdin?.end()
        await within(exited(), what.graceMs)
        if (ended === undefined) {
          kill("SIGTERM")
          await within(exited(), what.graceMs)
        }
        kill("SIGKILL")
        await within(exited(), 5000)
      }
      await finish()
    },
    pid: () => child?.pid,
    end: () => (ended === undefined ? undefined : { ...ended, stderr }),
    stderr: () => stderr
  }
  return transport
}
