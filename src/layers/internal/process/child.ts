/**
 * One process, in a process group that is gone when its end is reported. Its output is sent as it comes, a piece at a time:
 * the next one is read when the one before has been taken, so that a slow reader slows the process and fills no memory. On the
 * sync edge the I/O thread hosts it (`childProgram.ts`).
 */
import type { ChildProcess } from "node:child_process"
import type { Readable } from "node:stream"
import { type Leader, processGroup } from "./group.ts"

/** The name of an output. */
export type Output = "stdout" | "stderr"

/**
 * A message to a process. `taken`: the piece of an output that came last has been read. `input` without bytes ends it. `kill`
 * ends the process, and its output is not read any more.
 */
export type ToProcess =
  | { readonly type: "run"; readonly command: Leader }
  | { readonly type: "taken"; readonly output: Output }
  | { readonly type: "input"; readonly bytes: Uint8Array | undefined }
  | { readonly type: "signal"; readonly name: NodeJS.Signals }
  | { readonly type: "kill"; readonly name: NodeJS.Signals; readonly graceMs: number }

/** A message of a process. `unstartable` and `ended` are the last one. An output without bytes has ended. */
export type FromProcess =
  | { readonly type: "started"; readonly pid: number }
  | { readonly type: "output"; readonly output: Output; readonly bytes: Uint8Array | undefined }
  /** The input that came last has been written, or is not read. */
  | { readonly type: "written" }
  | { readonly type: "ended"; readonly exitCode: number | null; readonly signal: string | null }
  | { readonly type: "unstartable"; readonly code: string }

/** How long an output is waited for when the process and its group are gone: what has left the group may hold it open. */
const idleMs = 500

/** Makes a process. */
export const host = (post: (message: FromProcess) => void): ((message: ToProcess) => void) => {
  const group = processGroup()
  const outputs = new Map<Output, ReturnType<typeof reader>>()
  let child: ChildProcess | undefined
  let killer: NodeJS.Timeout | undefined
  let isEnded = false

  const unstartable = async (error: unknown) => {
    await group.dismiss()
    // Messages of the system contain paths and values.
    post({ type: "unstartable", code: (error as NodeJS.ErrnoException).code ?? "unknown" })
  }
  /** Ends what the process has left running, and reports the end when that is gone. */
  const finish = async (exitCode: number | null, signal: string | null) => {
    await group.sweep()
    await group.dismiss()
    for (const output of outputs.values()) output.expectEnd()
    post({ type: "ended", exitCode, signal })
  }
  const run = (command: Leader) => {
    try {
      child = group.start(command)
    } catch (error) {
      void unstartable(error)
      return
    }
    const { pid } = child
    child.on("error", (error) => {
      if (pid === undefined) void unstartable(error)
    })
    if (pid === undefined) return
    child.once("exit", (exitCode, signal) => {
      isEnded = true
      clearTimeout(killer)
      void finish(exitCode, signal)
    })
    child.stdin?.on("error", () => {})
    post({ type: "started", pid })
    for (const name of ["stdout", "stderr"] as const) outputs.set(name, reader(child[name]!, name, post))
  }
  const write = (bytes: Uint8Array | undefined) => {
    const stdin = child?.stdin
    if (bytes === undefined) stdin?.end()
    else if (stdin?.writable === true) stdin.write(bytes, () => post({ type: "written" }))
    else post({ type: "written" })
  }
  const kill = ({ graceMs, name }: Extract<ToProcess, { readonly type: "kill" }>) => {
    for (const output of outputs.values()) output.discard()
    if (killer !== undefined || isEnded) return
    group.signal(name)
    killer = setTimeout(() => group.signal("SIGKILL"), graceMs)
  }
  return (message) => {
    if (message.type === "run") run(message.command)
    else if (message.type === "taken") outputs.get(message.output)?.next()
    else if (message.type === "input") write(message.bytes)
    else if (message.type === "kill") kill(message)
    else if (!isEnded) group.signal(message.name)
  }
}

/** Reads an output one piece at a time. */
const reader = (stream: Readable, output: Output, post: (message: FromProcess) => void) => {
  let isOver = false
  let isDiscarded = false
  let isEndExpected = false
  let idle: NodeJS.Timeout | undefined
  const end = () => {
    clearTimeout(idle)
    if (isOver) return
    isOver = true
    post({ type: "output", output, bytes: undefined })
  }
  const next = () => {
    clearTimeout(idle)
    if (isEndExpected) idle = setTimeout(() => stream.destroy(), idleMs)
    stream.resume()
  }
  stream.on("error", end)
  stream.once("close", end)
  stream.on("data", (chunk: Buffer) => {
    clearTimeout(idle)
    if (isDiscarded) return
    stream.pause()
    post({ type: "output", output, bytes: new Uint8Array(chunk) })
  })
  return {
    next,
    expectEnd: () => {
      isEndExpected = true
      if (isDiscarded) stream.destroy()
      else if (!stream.isPaused()) next()
    },
    discard: () => {
      isDiscarded = true
      if (isEndExpected) stream.destroy()
      else stream.resume()
    }
  }
}
