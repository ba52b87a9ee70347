/**
 * A server's process as a transport of the SDK, in a process group of its own that never outlives us.
 */
import type { ChildProcess } from "node:child_process"
import type { serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { type Leader, processGroup } from "../../internal/process/group.ts"
import type { Incoming } from "./incoming.ts"
import type { ProcessEnd } from "./protocol.ts"

/** What it is made with. */
export interface ProcessParts {
  readonly serializeMessage: typeof serializeMessage
}

/** What is run. */
export interface Command extends Leader {
  /** Reads the lines of its output. */
  readonly read: ReturnType<Incoming["lines"]>
  /** How many bytes a line of its output may have. */
  readonly maxLineBytes: number
  /** How long it may take to end after its input has ended, and again after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** The transport, with what it knows of its process. */
export interface ProcessTransport extends Transport {
  readonly pid: () => number | undefined
  /** How it ended; `undefined` while it runs, or when it could not be started. */
  readonly end: () => ProcessEnd | undefined
  readonly stderr: () => string
  /** Why it was ended by us, if by what it has said. */
  readonly offence: () => string | undefined
}

/**
 * The SDK's own stdio transport hides the exit code, does not end what the server has started itself, and leaves it all
 * running when this process is killed.
 */
export const processTransport = (parts: ProcessParts, what: Command): ProcessTransport => {
  // More than is shown: secrets are taken out of it before it is cut.
  const keptStderr = 16_384
  /** The beginning of a line. */
  let begun: Array<Buffer> = []
  let begunBytes = 0
  const group = processGroup()
  let child: ChildProcess | undefined
  let ended: { readonly exitCode: number | undefined; readonly signal: string | undefined } | undefined
  let stderr = ""
  let offence: string | undefined
  let closing = false
  let isClosed = false
  const waiters: Array<() => void> = []

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
  const finish = async () => {
    // What the server had started itself ends with it.
    await group.sweep()
    await group.dismiss()
    child?.stdin?.destroy()
    child?.stdout?.destroy()
    child?.stderr?.destroy()
    begun = []
    if (isClosed) return
    isClosed = true
    transport.onclose?.()
  }
  const read = (chunk: Buffer) => {
    let from = 0
    for (let to = chunk.indexOf(10); to !== -1; to = chunk.indexOf(10, from)) {
      const line = Buffer.concat([...begun, chunk.subarray(from, to)]).toString("utf8")
      begun = []
      begunBytes = 0
      from = to + 1
      for (const message of what.read(line)) transport.onmessage?.(message)
    }
    begun.push(chunk.subarray(from))
    begunBytes += chunk.length - from
    if (begunBytes <= what.maxLineBytes) return
    begun = []
    offence = "the server sent a message that is too large, and was ended"
    transport.onerror?.(new Error(offence))
    void transport.close()
  }

  const transport: ProcessTransport = {
    start: () =>
      new Promise<void>((resolve, reject) => {
        const giveUp = async (error: unknown) => {
          await group.dismiss()
          reject(error)
        }
        try {
          child = group.start(what)
        } catch (error) {
          void giveUp(error)
          return
        }
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
          if (offence === undefined) read(chunk)
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
          group.signal("SIGTERM")
          await within(exited(), what.graceMs)
        }
        group.signal("SIGKILL")
        await within(exited(), 5000)
      }
      await finish()
    },
    pid: () => child?.pid,
    end: () => (ended === undefined ? undefined : { ...ended, stderr }),
    stderr: () => stderr,
    offence: () => offence
  }
  return transport
}
