/**
 * A script's process, in a process group of its own that is gone when its end is told. It names nothing outside of its
 * function: on the sync edge the I/O thread runs it from its text.
 */
import type { spawn as Spawn } from "node:child_process"
import type * as Fs from "node:fs"

/** What it is made with. */
export interface Parts {
  readonly spawn: typeof Spawn
  readonly fs: Pick<typeof Fs, "readdirSync" | "readFileSync">
}

/** What is run. `env` is all of its environment. */
export interface Command {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly input: string | undefined
  /** How many bytes of each stream are kept. */
  readonly keep: number
  /** At how many bytes of both streams it is killed. */
  readonly most: number
  /** An entry of `env` that no other process has. */
  readonly mark: string
  /** How long it may take to end after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** Said to a process: run, once, and end. */
export type ToProcess = { readonly type: "run"; readonly command: Command } | { readonly type: "kill" }

/** Said by a process, once and last. */
export type FromProcess =
  | {
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
  | { readonly type: "unstartable"; readonly code: string }

/** Makes a process. */
export const host = ({ fs, spawn }: Parts, post: (message: FromProcess) => void): ((message: ToProcess) => void) => {
  const isPosix = process.platform !== "win32"
  let child: ReturnType<typeof Spawn> | undefined
  let guard: ReturnType<typeof Spawn> | undefined
  let ended: { readonly code: number | null; readonly signal: string | null } | undefined
  let mark = ""
  let killing = false
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
  /** False when nobody is left to hear it. */
  const signal = (name: NodeJS.Signals | 0): boolean => {
    if (child?.pid === undefined) return false
    try {
      if (isPosix) process.kill(-child.pid, name)
      else if (ended === undefined) return child.kill(name)
      else return false
      return true
    } catch (error) {
      // On macOS a group of which only zombies are left.
      return (error as NodeJS.ErrnoException).code === "EPERM"
    }
  }
  const dismissGuard = () => {
    const dismissed = guard
    guard = undefined
    if (dismissed?.pid === undefined || dismissed.exitCode !== null || dismissed.signalCode !== null) return
    return new Promise<void>((resolve) => {
      dismissed.once("exit", () => {
        clearTimeout(late)
        resolve()
      })
      dismissed.stdin?.end("done\n")
      // The script may have stopped it.
      const late = setTimeout(() => dismissed.kill("SIGKILL"), 500)
    })
  }
  const unstartable = async (error: unknown) => {
    await dismissGuard()
    // Messages of the system tell paths and values.
    tell({ type: "unstartable", code: (error as NodeJS.ErrnoException).code ?? "unknown" })
  }
  /** What lives of the group, and what has left it: that still has its environment. Zombies are not counted. */
  const remains = async (): Promise<ReadonlyArray<number>> => {
    const found: Array<number> = []
    const names = fs.readdirSync("/proc")
    for (let n = 0; n < names.length; n++) {
      if (n % 250 === 249) await pause(0)
      const pid = Number(names[n])
      if (!(pid > 0) || pid === process.pid) continue
      try {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
        const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        if (state === "Z" || state === "X") continue
        const isMarked = () => fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark)
        if (Number(group) === child?.pid || isMarked()) found.push(pid)
      } catch {
        // It has ended meanwhile, or is not ours.
      }
    }
    return found
  }
  /** False when nothing is left that could be seen. */
  const sweep = async (): Promise<boolean> => {
    signal("SIGKILL")
    if (process.platform !== "linux") return signal(0)
    const left = await remains()
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // It has ended meanwhile.
      }
    }
    return left.length > 0
  }
  /** Ends what the script has left behind, and tells when it is gone. */
  const finish = async (drained: Promise<void>) => {
    for (let n = 0; n < 100 && (await sweep()); n++) await pause(n < 10 ? 2 : 10)
    await Promise.race([drained, pause(500)])
    await dismissGuard()
    child?.stdout?.destroy()
    child?.stderr?.destroy()
    const { code, signal: by } = ended!
    const bytes = (chunks: ReadonlyArray<Buffer>) => new Uint8Array(Buffer.concat(chunks))
    const [stdout, stderr] = [bytes(kept.stdout), bytes(kept.stderr)]
    tell({ type: "ended", exitCode: code, signal: by, stdout, stderr, cut, over })
  }
  const kill = (graceMs: number) => {
    if (killing || ended !== undefined) return
    killing = true
    signal("SIGTERM")
    setTimeout(() => {
      if (ended === undefined) signal("SIGKILL")
    }, graceMs)
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
      signal("SIGKILL")
    })
  }
  const run = (what: Command) => {
    const { args, command, cwd, env, input } = what
    mark = what.mark
    try {
      if (isPosix) {
        // It waits for its input to end, which it does with us, and kills the group then. The first line names the group;
        // after a second one there is nothing to kill.
        guard = spawn(
          "/bin/sh",
          ["-c", "trap '' HUP INT TERM; read -r group || exit 0; read -r _ || kill -s KILL -- \"-$group\""],
          { detached: true, stdio: ["pipe", "ignore", "ignore"], env: {} }
        )
        guard.on("error", () => {})
        guard.stdin?.on("error", () => {})
      }
      child = spawn(command, [...args], {
        cwd,
        env,
        detached: isPosix,
        stdio: ["pipe", "pipe", "pipe"],
        windowsHide: true
      })
    } catch (error) {
      void unstartable(error)
      return
    }
    if (child.pid !== undefined) guard?.stdin?.write(`${child.pid}\n`)
    const drained = new Promise<void>((resolve) => void child?.once("close", () => resolve()))
    child.on("error", (error) => {
      if (child?.pid === undefined) void unstartable(error)
    })
    child.once("exit", (code, signal) => {
      ended = { code, signal }
      void finish(drained)
    })
    hear("stdout", what)
    hear("stderr", what)
    child.stdin?.on("error", () => {})
    child.stdin?.end(input ?? "")
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

/** The same for the I/O thread: the body of a function of `require` and `post`. */
export const program = (): string => `"use strict"
const __name = (f) => f
return (${host.toString()})({ spawn: require("node:child_process").spawn, fs: require("node:fs") }, post)
`
