/**
 * One process that is run to its end, in a process group that is gone when its end is reported. On the sync edge the I/O
 * thread runs it (`childProgram.ts`).
 */
import type { ChildProcess } from "node:child_process"
import { type Leader, processGroup } from "./group.ts"

/** What is run. */
export interface Command extends Leader {
  readonly input: string | undefined
  /** How many bytes of each stream are kept. */
  readonly keep: number
  /** At how many bytes of both streams it is killed. */
  readonly most: number
  /** How long it may take to end after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** Said to a process: run, once, and end. */
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

/** Said by a process, once and last. */
export type FromProcess = Ended | { readonly type: "unstartable"; readonly code: string }

/** Makes a process. */
export const host = (post: (message: FromProcess) => void): ((message: ToProcess) => void) => {
  const group = processGroup()
  let child: ChildProcess | undefined
  let killer: NodeJS.Timeout | undefined
  let ended = false
  let told = false
  let over = false
  let written = 0
  let cut = false
  const kept: { readonly stdout: Array<Buffer>; readonly stderr: Array<Buffer> } = { stdout: [], stderr: [] }

  const tell = (message: FromProcess) => {
    if (told) return
    told = true
    post(message)
  }
  const within = async (done: Promise<void>, ms: number) => {
    let late: NodeJS.Timeout | undefined
    await Promise.race([done, new Promise<void>((resolve) => void (late = setTimeout(resolve, ms)))])
    clearTimeout(late)
  }
  const unstartable = async (error: unknown) => {
    await group.dismiss()
    // Messages of the system tell paths and values.
    tell({ type: "unstartable", code: (error as NodeJS.ErrnoException).code ?? "unknown" })
  }
  /** Ends what the process has left behind, and tells when it is gone. */
  const finish = async (exitCode: number | null, signal: string | null, end: Promise<void>) => {
    await group.sweep()
    // One that has left the group may hold the pipes open.
    await within(end, 500)
    await group.dismiss()
    child?.stdout?.destroy()
    child?.stderr?.destroy()
    const bytes = (chunks: ReadonlyArray<Buffer>) => new Uint8Array(Buffer.concat(chunks))
    const [stdout, stderr] = [bytes(kept.stdout), bytes(kept.stderr)]
    tell({ type: "ended", exitCode, signal, stdout, stderr, cut, over })
  }
  const kill = (graceMs: number) => {
    if (killer !== undefined || ended) return
    group.signal("SIGTERM")
    killer = setTimeout(() => group.signal("SIGKILL"), graceMs)
  }
  const hear = (name: "stdout" | "stderr", { keep, most }: Command) => {
    let length = 0
    child?.[name]?.on("error", () => {})
    child?.[name]?.on("data", (chunk: Buffer) => {
      written += chunk.length
      const room = keep - length
      if (room > 0) kept[name].push(Buffer.from(chunk.subarray(0, room)))
      if (chunk.length > room) cut = true
      length += Math.min(Math.max(0, room), chunk.length)
      if (written <= most || over) return
      over = true
      group.signal("SIGKILL")
    })
  }
  const run = (command: Command) => {
    try {
      child = group.start(command)
    } catch (error) {
      void unstartable(error)
      return
    }
    const end = new Promise<void>((resolve) => void child?.once("close", () => resolve()))
    child.on("error", (error) => {
      if (child?.pid === undefined) void unstartable(error)
    })
    child.once("exit", (exitCode, signal) => {
      ended = true
      clearTimeout(killer)
      void finish(exitCode, signal, end)
    })
    hear("stdout", command)
    hear("stderr", command)
    child.stdin?.on("error", () => {})
    child.stdin?.end(command.input ?? "")
  }
  let graceMs = 0
  return (message) => {
    if (message.type === "kill") kill(graceMs)
    else {
      graceMs = message.command.graceMs
      run(message.command)
    }
  }
}
