/**
 * A server's process as a transport of the SDK, in a process group of its own that never outlives us.
 */
import type { ChildProcess } from "node:child_process"
import type { serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js"
import { type Leader, type ProcessGroup, processGroup } from "../../internal/process/group.ts"
import type { Incoming } from "./incoming.ts"
import * as Lines from "./lines.ts"
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

/** How many characters of stderr are kept. More than is shown: secrets are taken out of it before it is cut. */
const keptStderr = 16_384

/** How long the last output of a process is waited for once it has ended, and how long its end after SIGKILL. Milliseconds. */
const drainMs = 200
const killMs = 5000

/** Waits for a promise, at most so long. */
const within = (done: Promise<unknown>, ms: number) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    const end = () => {
      clearTimeout(timer)
      resolve()
    }
    void done.then(end, end)
  })

/** Waits until a process runs. Rejects when it cannot be started. */
const spawned = (child: ChildProcess) =>
  new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve)
    child.once("error", reject)
  })

const ended = () => Object.assign(new Error("the server's process has ended"), { code: "EPIPE" })

/** Writes to a process, and waits until it takes more. */
const write = (stdin: ChildProcess["stdin"] | undefined, text: string) =>
  new Promise<void>((resolve, reject) => {
    if (stdin === null || stdin === undefined || !stdin.writable) return reject(ended())
    if (stdin.write(text)) return resolve()
    const done = () => {
      stdin.off("drain", done)
      stdin.off("close", done)
      resolve()
    }
    stdin.once("drain", done)
    stdin.once("close", done)
  })

/** Ends a process and its group: by the end of its input, then by SIGTERM, then by SIGKILL. */
const stop = async (child: ChildProcess, group: ProcessGroup, exited: Promise<void>, graceMs: number) => {
  const isOver = () => child.exitCode !== null || child.signalCode !== null
  child.stdin?.end()
  await within(exited, graceMs)
  if (!isOver()) {
    group.signal("SIGTERM")
    await within(exited, graceMs)
  }
  group.signal("SIGKILL")
  await within(exited, killMs)
}

/** Passes errors on, without that of a process that could not be started. */
const passErrors = (child: ChildProcess, onError: (error: Error) => void) => {
  child.on("error", (error) => child.pid !== undefined && onError(error))
  child.stdin?.on("error", onError)
  child.stdout?.on("error", onError)
}

/** Reads the output of a process, until it sends a message that is too large. */
const outputReader = (
  { maxLineBytes, read }: Command,
  on: { readonly message: (message: JSONRPCMessage) => void; readonly offence: (offence: string) => void }
) => {
  const lines = Lines.make(maxLineBytes)
  let offence: string | undefined
  return {
    offence: () => offence,
    read: (chunk: Buffer) => {
      if (offence !== undefined) return
      for (const line of lines.read(chunk)) if (typeof line === "string") read(line).forEach(on.message)
      if (!lines.isTooLong()) return
      offence = "the server sent a message that is too large, and was ended"
      on.offence(offence)
    }
  }
}

/** What is known of a process. */
const processState = () => {
  let ended: Omit<ProcessEnd, "stderr"> | undefined
  let stderr = ""
  return {
    end: (): ProcessEnd | undefined => (ended === undefined ? undefined : { ...ended, stderr }),
    stderr: () => stderr,
    /** Listens to a process, and waits for its exit. */
    watch: (child: ChildProcess) => {
      child.stderr?.on("error", () => {})
      child.stderr?.on("data", (chunk: Buffer) => {
        stderr = (stderr + chunk.toString()).slice(-keptStderr)
      })
      // One that could not be started does not exit.
      if (child.pid === undefined) return Promise.resolve()
      return new Promise<void>((resolve) => {
        child.on("exit", (code, signal) => {
          ended = { exitCode: code ?? undefined, signal: signal ?? undefined }
          resolve()
        })
      })
    }
  }
}

/**
 * The SDK's own stdio transport hides the exit code, does not end what the server has started itself, and leaves it all
 * running when this process is killed.
 */
export const processTransport = (parts: ProcessParts, what: Command): ProcessTransport => {
  const group = processGroup()
  const state = processState()
  const output = outputReader(what, {
    message: (message) => transport.onmessage?.(message),
    offence: (offence) => {
      transport.onerror?.(new Error(offence))
      void transport.close()
    }
  })
  let child: ChildProcess | undefined
  let exited = Promise.resolve()
  let closing = false
  let isClosed = false

  const finish = async () => {
    // What the server had started itself ends with it.
    await group.sweep()
    await group.dismiss()
    for (const pipe of [child?.stdin, child?.stdout, child?.stderr]) pipe?.destroy()
    if (isClosed) return
    isClosed = true
    transport.onclose?.()
  }
  const listen = (started: ChildProcess) => {
    passErrors(started, (error) => transport.onerror?.(error))
    started.stdout?.on("data", output.read)
    exited = state.watch(started)
    started.on("exit", () => {
      if (closing) return
      // Its last words may still be in the pipes; a process of its own that holds them open must not delay us.
      const drained = new Promise<void>((resolve) => started.once("close", () => resolve()))
      void within(drained, drainMs).then(finish)
    })
  }

  const transport: ProcessTransport = {
    start: async () => {
      try {
        child = group.start(what)
        listen(child)
        await spawned(child)
      } catch (error) {
        await group.dismiss()
        throw error
      }
    },
    send: async (message) => {
      if (state.end() !== undefined) throw ended()
      await write(child?.stdin, parts.serializeMessage(message))
    },
    close: async () => {
      if (closing) return exited
      closing = true
      if (child?.pid !== undefined && state.end() === undefined) await stop(child, group, exited, what.graceMs)
      await finish()
    },
    pid: () => child?.pid,
    end: state.end,
    stderr: state.stderr,
    offence: output.offence
  }
  return transport
}
