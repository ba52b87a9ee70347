/**
 * A process that leads a group of its own, which never outlives us. On Linux its members are found by what the system
 * shows of all processes.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { type Guard, startGuard } from "./guard.ts"

/** The command. `env` is its whole environment. */
export interface Leader {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  /** An entry of `env`, `NAME=value`, that no other process has: processes that have left the group are found by it. */
  readonly mark: string | undefined
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
const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))

/** Makes a group. */
export const processGroup = (): ProcessGroup => {
  let guard: Guard | undefined
  let leader: ChildProcess | undefined
  let mark: string | undefined
  const signal: ProcessGroup["signal"] = (name) => leader !== undefined && signalGroup(leader, name)
  /** False when nothing is left that could be seen. */
  const sweepOnce = async (): Promise<boolean> => {
    const received = signal("SIGKILL")
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
    start: ({ args, command, cwd, env, mark: given }) => {
      mark = given
      guard = startGuard(given)
      leader = spawn(command, [...args], {
        cwd,
        env,
        detached: isPosix,
        stdio: ["pipe", "pipe", "pipe"],
        windowsHide: true
      })
      if (leader.pid !== undefined) guard.watch(leader.pid)
      return leader
    },
    signal,
    sweep: async () => {
      for (let n = 0; n < 100 && (await sweepOnce()); n++) await pause(n < 10 ? 2 : 10)
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

/** The living processes of a group, and those that have left it with its mark in their environment. Linux. */
const membersOf = async (group: number | undefined, mark: string | undefined): Promise<ReadonlyArray<number>> => {
  const found: Array<number> = []
  const names = fs.readdirSync("/proc")
  for (let n = 0; n < names.length; n++) {
    // There may be very many processes: others have their turn in between.
    if (n % 250 === 249) await pause(0)
    const pid = Number(names[n])
    if (pid > 0 && pid !== process.pid && isMember(pid, group, mark)) found.push(pid)
  }
  return found
}

const isMember = (pid: number, group: number | undefined, mark: string | undefined): boolean => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    const [state, , of] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (state === "Z" || state === "X") return false
    if (Number(of) === group) return true
    return mark !== undefined && fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark)
  } catch {
    // It has ended in the meantime, or belongs to another user.
    return false
  }
}
