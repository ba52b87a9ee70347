/**
 * A process that leads a group of its own, which never outlives us. On Linux its members are found by what the system
 * shows of all processes.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { type Guard, startGuard } from "./guard.ts"

/** The command. `env` is its whole environment. */
export interface Leader {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  /** An entry of `env`, `NAME=value`, that no other process has: processes that have left the group are found by it. */
  readonly mark: string | undefined
  /**
   * Set for a launcher such as bubblewrap, which runs the command in a namespace of its own as its grandchild, and holds a
   * descriptor (3) open for as long as that lives. What is inside is ended first: when the launcher went first, its
   * child would be left to the system's first process, which does not collect it everywhere.
   */
  readonly launches?: boolean | undefined
  /** The user and group to run as. Unset: our own. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

/** A group, and its guard. */
export interface ProcessGroup {
  /** Starts the leader, once, with pipes. Throws what `spawn` throws. */
  readonly start: (leader: Leader) => ChildProcess
  /** Signals all of the group; on Windows, its leader. False when no process is left that could receive it. */
  readonly signal: (name: NodeJS.Signals | 0) => boolean
  /** Kills what is left of the group, and what has left it, until nothing is seen of it any more. */
  readonly sweep: () => Promise<void>
  /** Ends the guard: for when the group is gone or did not exist. */
  readonly dismiss: () => Promise<void>
}

const isPosix = process.platform !== "win32"

/** How long what a launcher runs may take to be gone after the launcher is. */
const insideMs = 2000

/** Makes a group. */
export const processGroup = (): ProcessGroup => {
  let guard: Guard | undefined
  let leader: ChildProcess | undefined
  let mark: string | undefined
  let launches = false
  let inside: Promise<void> = Promise.resolve()
  const signal: ProcessGroup["signal"] = (name) => {
    if (leader === undefined) return false
    return launches ? signalInside(leader, name) : signalGroup(leader, name)
  }
  /** False when nothing is left that could be seen. */
  const sweepOnce = async (): Promise<boolean> => {
    const received = leader !== undefined && signalGroup(leader, "SIGKILL")
    if (process.platform !== "linux") return signal(0)
    if (mark === undefined && !received) return false
    const left = await membersOf(leader?.pid, mark)
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // It has ended in the meantime.
      }
    }
    return left.length > 0
  }
  return {
    start: ({ args, command, cwd, env, launches: isLauncher = false, mark: given, user = {} }) => {
      mark = given
      launches = isLauncher
      guard = startGuard(given)
      leader = spawn(command, [...args], {
        cwd,
        env,
        detached: isPosix,
        stdio: launches ? ["pipe", "pipe", "pipe", "pipe"] : ["pipe", "pipe", "pipe"],
        windowsHide: true,
        ...user
      })
      if (launches) inside = closed(leader)
      if (leader.pid !== undefined) guard.watch(leader.pid)
      return leader
    },
    signal,
    sweep: async () => {
      if (launches) await Promise.race([inside, sleep(insideMs, undefined, { ref: false })])
      for (let n = 0; n < 100 && (await sweepOnce()); n++) await sleep(n < 10 ? 2 : 10)
    },
    dismiss: () => guard?.dismiss() ?? Promise.resolve()
  }
}

const signalGroup = (leader: ChildProcess, name: NodeJS.Signals | 0): boolean => {
  if (leader.pid === undefined) return false
  if (!isPosix) return leader.exitCode === null && leader.signalCode === null && leader.kill(name)
  try {
    process.kill(-leader.pid, name)
    return true
  } catch (error) {
    // macOS returns this for a group that has only zombies left.
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Settles when no process has the launcher's descriptor open any more. */
const closed = (leader: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    const held = leader.stdio[3]
    if (held === null || held === undefined) return resolve()
    held.on("error", () => resolve())
    held.once("close", () => resolve())
    if ("resume" in held) held.resume()
  })

/** Signals what a launcher runs; the launcher itself only when there is nothing else. */
const signalInside = (leader: ChildProcess, name: NodeJS.Signals | 0): boolean => {
  const { pid } = leader
  if (pid === undefined) return false
  const all = processes()
  const inner = all.filter((one) => one.group === pid && one.pid !== pid)
  // Killing the first process of a namespace kills all of it.
  const first = inner.filter((one) => one.parent === pid)
  const targets =
    inner.length === 0 ? [pid] : (name === "SIGKILL" && first.length > 0 ? first : inner).map((one) => one.pid)
  for (const target of targets) {
    try {
      process.kill(target, name)
    } catch {
      // It has ended in the meantime.
    }
  }
  return leader.exitCode === null && leader.signalCode === null
}

/** The processes that live. Linux. */
const processes = (): ReadonlyArray<{ readonly pid: number; readonly parent: number; readonly group: number }> =>
  fs.readdirSync("/proc").flatMap((name) => {
    const stat = Number(name) > 0 ? statOf(Number(name)) : undefined
    return stat === undefined ? [] : [{ pid: Number(name), parent: stat.parent, group: stat.group }]
  })

/** The parent and the group of a process that lives. */
const statOf = (pid: number): { readonly parent: number; readonly group: number } | undefined => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    const [state, parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return state === "Z" || state === "X" ? undefined : { parent: Number(parent), group: Number(group) }
  } catch {
    // It has ended in the meantime.
    return undefined
  }
}

/** The living processes of a group, and those that have left it with its mark in their environment. Linux. */
const membersOf = async (group: number | undefined, mark: string | undefined): Promise<ReadonlyArray<number>> => {
  const found: Array<number> = []
  const names = fs.readdirSync("/proc")
  for (let n = 0; n < names.length; n++) {
    // There may be very many processes: others have their turn in between.
    if (n % 250 === 249) await sleep(0)
    const pid = Number(names[n])
    if (pid > 0 && pid !== process.pid && isMember(pid, group, mark)) found.push(pid)
  }
  return found
}

const isMember = (pid: number, group: number | undefined, mark: string | undefined): boolean => {
  const stat = statOf(pid)
  if (stat === undefined) return false
  if (stat.group === group) return true
  try {
    return mark !== undefined && fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark)
  } catch {
    // It has ended in the meantime, or belongs to another user.
    return false
  }
}
