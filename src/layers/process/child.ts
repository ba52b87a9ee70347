/**
 * One process that is run to its end, in a process group that is gone when its end is told. It names nothing outside of
 * its function: on the sync edge the I/O thread runs it from its text.
 */
import type { ChildProcess, spawn as Spawn } from "node:child_process"
import type * as Fs from "node:fs"
import { sourceOf } from "../../internal/io/program.ts"
import { type Leader, processGroup } from "./group.ts"

/** What it is made with. */
export interface Parts {
  readonly spawn: typeof Spawn
  readonly fs: Pick<typeof Fs, "readdirSync" | "readFileSync">
  readonly processGroup: typeof processGroup
}

/** What is run. */
export interface Command extends Leader {
  readonly input: string | undefined
  /** How many bytes of each stream are kept. */
  readonly keep: number
  /** At how many bytes of both streams it is killed. */
  readonly most: number
  /** An entry of `env` that no other process has: by it those are found that have left the group. */
  readonly mark: string | undefined
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
export const host = (parts: Parts, post: (message: FromProcess) => void): ((message: ToProcess) => void) => {
  const { fs } = parts
  const group = parts.processGroup(parts.spawn)
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
  const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
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
  /** What lives of the group, and what has left it: that still has its environment. Zombies are not counted. */
  const remains = async (mark: string | undefined): Promise<ReadonlyArray<number>> => {
    const found: Array<number> = []
    const names = fs.readdirSync("/proc")
    for (let n = 0; n < names.length; n++) {
      if (n % 250 === 249) await pause(0)
      const pid = Number(names[n])
      if (!(pid > 0) || pid === process.pid) continue
      try {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
        const [state, , leader] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        if (state === "Z" || state === "X") continue
        const isMarked = () =>
          mark !== undefined && fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark)
        if (Number(leader) === child?.pid || isMarked()) found.push(pid)
      } catch {
        // It has ended meanwhile, or is not ours.
      }
    }
    return found
  }
  /** False when nothing is left that could be seen. */
  const sweep = async (mark: string | undefined): Promise<boolean> => {
    const heard = group.signal("SIGKILL")
    if (process.platform !== "linux") return group.signal(0)
    if (mark === undefined && !heard) return false
    const left = await remains(mark)
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // It has ended meanwhile.
      }
    }
    return left.length > 0
  }
  /** Ends what the process has left behind, and tells when it is gone. */
  const finish = async (
    exitCode: number | null,
    signal: string | null,
    mark: string | undefined,
    end: Promise<void>
  ) => {
    for (let n = 0; n < 100 && (await sweep(mark)); n++) await pause(n < 10 ? 2 : 10)
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
      void finish(exitCode, signal, command.mark, end)
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

/** The same for the I/O thread. */
export const program = (): string =>
  sourceOf(`const parts = {
  spawn: require("node:child_process").spawn,
  fs: require("node:fs"),
  processGroup: (${processGroup.toString()})
}
return (${host.toString()})(parts, post)`)
