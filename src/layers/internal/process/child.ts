/**
 * One process that is run to its end, in a process group that is gone when its end is reported. On the sync edge the I/O
 * thread runs it (`childProgram.ts`).
 */
import type { ChildProcess } from "node:child_process"
import { type Leader, processGroup } from "./group.ts"

/** The command. */
export interface Command extends Leader {
  readonly input: string | undefined
  /** How many bytes of each stream are kept. */
  readonly keep: number
  /** At how many bytes of both streams it is killed. */
  readonly most: number
  /** How long it may take to end after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** A message to a process: run, once, or end. */
export type ToProcess = { readonly type: "run"; readonly command: Command } | { readonly type: "kill" }

/** How it ended. */
export interface Ended {
  readonly type: "ended"
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** More than `keep` was written to one of the streams. */
  readonly cut: boolean
  /** It was killed for writing more than `most`. */
  readonly over: boolean
}

/** The one message of a process, its last. */
export type FromProcess = Ended | { readonly type: "unstartable"; readonly code: string }

/** Makes a process. */
export const host = (post: (message: FromProcess) => void): ((message: ToProcess) => void) => {
  const group = processGroup()
  const output = outputs(() => group.signal("SIGKILL"))
  let killer: NodeJS.Timeout | undefined
  let isEnded = false
  let isReported = false
  let graceMs = 0

  const report = (message: FromProcess) => {
    if (isReported) return
    isReported = true
    post(message)
  }
  const unstartable = async (error: unknown) => {
    await group.dismiss()
    // Messages of the system contain paths and values.
    report({ type: "unstartable", code: (error as NodeJS.ErrnoException).code ?? "unknown" })
  }
  /** Ends what the process has left running, and reports the end when that is gone. */
  const finish = async (child: ChildProcess, exitCode: number | null, signal: string | null, closed: Promise<void>) => {
    await group.sweep()
    // A process that has left the group may hold the pipes open.
    await within(closed, 500)
    await group.dismiss()
    child.stdout?.destroy()
    child.stderr?.destroy()
    report({ type: "ended", exitCode, signal, ...output.taken() })
  }
  const run = (command: Command) => {
    let child: ChildProcess
    try {
      child = group.start(command)
    } catch (error) {
      void unstartable(error)
      return
    }
    const closed = new Promise<void>((resolve) => void child.once("close", () => resolve()))
    child.on("error", (error) => {
      if (child.pid === undefined) void unstartable(error)
    })
    child.once("exit", (exitCode, signal) => {
      isEnded = true
      clearTimeout(killer)
      void finish(child, exitCode, signal, closed)
    })
    output.read(child, command)
    child.stdin?.on("error", () => {})
    child.stdin?.end(command.input ?? "")
  }
  return (message) => {
    if (message.type === "run") {
      graceMs = message.command.graceMs
      run(message.command)
    } else if (killer === undefined && !isEnded) {
      group.signal("SIGTERM")
      killer = setTimeout(() => group.signal("SIGKILL"), graceMs)
    }
  }
}

/** The output of a process, up to its limit. Calls `kill` when it writes more. */
const outputs = (kill: () => void) => {
  const kept: { readonly stdout: Array<Buffer>; readonly stderr: Array<Buffer> } = { stdout: [], stderr: [] }
  let written = 0
  let cut = false
  let over = false
  const readFrom = (child: ChildProcess, name: "stdout" | "stderr", { keep, most }: Command) => {
    let room = keep
    child[name]?.on("error", () => {})
    child[name]?.on("data", (chunk: Buffer) => {
      written += chunk.length
      if (room > 0) kept[name].push(Buffer.from(chunk.subarray(0, room)))
      if (chunk.length > room) cut = true
      room = Math.max(0, room - chunk.length)
      if (written <= most || over) return
      over = true
      kill()
    })
  }
  const bytes = (chunks: ReadonlyArray<Buffer>) => new Uint8Array(Buffer.concat(chunks))
  return {
    read: (child: ChildProcess, command: Command) => {
      readFrom(child, "stdout", command)
      readFrom(child, "stderr", command)
    },
    taken: () => ({ stdout: bytes(kept.stdout), stderr: bytes(kept.stderr), cut, over })
  }
}

const within = async (done: Promise<void>, ms: number): Promise<void> => {
  let late: NodeJS.Timeout | undefined
  await Promise.race([done, new Promise<void>((resolve) => void (late = setTimeout(resolve, ms)))])
  clearTimeout(late)
}
