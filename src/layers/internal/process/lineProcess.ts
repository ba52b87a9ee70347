/**
 * A process that is spoken to in lines: its input and output are messages, one a line. It has a process group of its own, which
 * never outlives us.
 */
import type { ChildProcess } from "node:child_process"
import { type Leader, type ProcessGroup, processGroup } from "./group.ts"
import * as Lines from "./lines.ts"

/** What is run. */
export interface Command extends Leader {
  /** How many bytes a line of its output may have. One that is longer ends the process. */
  readonly maxLineBytes: number
  /** How long it may take to end after its input has ended, and again after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** How a process ended. */
export interface ProcessEnd {
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly stderr: string
}

/** Receives what happens to the process. */
export interface Listener {
  readonly line: (line: string) => void
  readonly error: (error: Error) => void
  /** It has ended, with its group: the last call. */
  readonly closed: () => void
}

/** The process. */
export interface LineProcess {
  /** Starts it, once. Rejects when it cannot be started. */
  readonly start: () => Promise<void>
  /** Writes a text, which ends with a line break, and waits until the process takes more. Rejects when it has ended. */
  readonly write: (text: string) => Promise<void>
  /** Ends it and its group: by the end of its input, then by SIGTERM, then by SIGKILL. */
  readonly close: () => Promise<void>
  /** Stops and goes on with reading its output. */
  readonly pause: () => void
  readonly resume: () => void
  readonly pid: () => number | undefined
  /** How it ended; `undefined` while it runs, or when it could not be started. */
  readonly end: () => ProcessEnd | undefined
  readonly stderr: () => string
  /** Whether it was ended by us, since it sent a line that is too long. */
  readonly isTooLong: () => boolean
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

const ended = () => Object.assign(new Error("the process has ended"), { code: "EPIPE" })

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

/** Reads the output of a process, until it sends a line that is too long. */
const outputReader = (maxLineBytes: number, onLine: (line: string) => void, onTooLong: () => void) => {
  const lines = Lines.make(maxLineBytes)
  let isTooLong = false
  return {
    isTooLong: () => isTooLong,
    read: (chunk: Buffer) => {
      if (isTooLong) return
      for (const line of lines.read(chunk)) if (typeof line === "string") onLine(line)
      if (!lines.isTooLong()) return
      isTooLong = true
      onTooLong()
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

/** Makes a process that is not started yet. */
export const lineProcess = (what: Command, listener: Listener): LineProcess => {
  const group = processGroup()
  const state = processState()
  const output = outputReader(what.maxLineBytes, listener.line, () => {
    listener.error(new Error("it sent a message that is too large, and was ended"))
    void close()
  })
  let child: ChildProcess | undefined
  let exited = Promise.resolve()
  let closing: Promise<void> | undefined
  let isClosed = false

  const finish = async () => {
    // What the process had started itself ends with it.
    await group.sweep()
    await group.dismiss()
    for (const pipe of [child?.stdin, child?.stdout, child?.stderr]) pipe?.destroy()
    if (isClosed) return
    isClosed = true
    listener.closed()
  }
  const listen = (started: ChildProcess) => {
    passErrors(started, listener.error)
    started.stdout?.on("data", output.read)
    exited = state.watch(started)
    started.on("exit", () => {
      if (closing !== undefined) return
      // Its last words may still be in the pipes; a process of its own that holds them open must not delay us.
      const drained = new Promise<void>((resolve) => started.once("close", () => resolve()))
      void within(drained, drainMs).then(finish)
    })
  }
  const end = async () => {
    if (child?.pid !== undefined && state.end() === undefined) await stop(child, group, exited, what.graceMs)
    await finish()
  }
  const close = () => (closing ??= end())
  return {
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
    write: async (text) => {
      if (state.end() !== undefined) throw ended()
      await write(child?.stdin, text)
    },
    close,
    pause: () => void child?.stdout?.pause(),
    resume: () => void child?.stdout?.resume(),
    pid: () => child?.pid,
    end: state.end,
    stderr: state.stderr,
    isTooLong: output.isTooLong
  }
}
