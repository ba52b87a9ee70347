/**
 * A process that leads a group of its own, which never outlives us. On Linux its members are found by what the system
 * shows of all processes.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"

/** What is started. `env` is all of its environment. */
export interface Leader {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  /** An entry of `env`, `NAME=value`, that no other process has: by it those are found that have left the group. */
  readonly mark: string | undefined
}

/** A group, and its watch. */
export interface ProcessGroup {
  /** Starts the leader, once, with pipes. Throws what `spawn` throws. */
  readonly start: (leader: Leader) => ChildProcess
  /** Signals all of the group; on Windows, its leader. False when no process is left that could receive it. */
  readonly signal: (name: NodeJS.Signals | 0) => boolean
  /** Kills what is left of the group, and what has left it, until nothing is seen of it any more. */
  readonly sweep: () => Promise<void>
  /** Ends the watch: for when the group is gone, or has never been. */
  readonly dismiss: () => Promise<void>
}

/** Makes a group, by a guard: a shell that waits for its input to end, which it does with us, and kills the group then. */
export const processGroup = (): ProcessGroup => {
  const isPosix = process.platform !== "win32"
  // The first line is the mark, the second one the group to kill; another says that there is nothing to kill any more.
  // We may be killed when the leader runs and before its group is told: then the mark has to do, once it is to be seen.
  const watch = `trap '' HUP INT TERM
read -r mark || exit 0
looks='1 2 3 4 5'
if read -r group
then
test "$group" = done && exit 0
read -r _ && exit 0
kill -s KILL -- "-$group"
looks=1
fi
test -n "$mark" || exit 0
for look in $looks
do
test "$look" = 1 || sleep 0.2
for found in $(grep -alsF -- "$mark" /proc/[0-9]*/environ)
do found=\${found#/proc/}; kill -s KILL "\${found%/environ}"
done
done`
  let guard: ChildProcess | undefined
  let leader: ChildProcess | undefined
  let mark: string | undefined
  let dismissed: Promise<void> | undefined

  const signal: ProcessGroup["signal"] = (name) => {
    if (leader?.pid === undefined) return false
    try {
      if (isPosix) process.kill(-leader.pid, name)
      else return leader.exitCode === null && leader.signalCode === null && leader.kill(name)
      return true
    } catch (error) {
      // On macOS a group of which only zombies are left.
      return (error as NodeJS.ErrnoException).code === "EPERM"
    }
  }
  const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
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
        const isMarked = () =>
          mark !== undefined && fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark)
        if (Number(group) === leader?.pid || isMarked()) found.push(pid)
      } catch {
        // It has ended meanwhile, or is not ours.
      }
    }
    return found
  }
  /** False when nothing is left that could be seen. */
  const sweepOnce = async (): Promise<boolean> => {
    const heard = signal("SIGKILL")
    if (process.platform !== "linux") return signal(0)
    if (mark === undefined && !heard) return false
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

  return {
    start: ({ args, command, cwd, env, mark: given }) => {
      if (isPosix) {
        guard = spawn("/bin/sh", ["-c", watch], { detached: true, stdio: ["pipe", "ignore", "ignore"], env: {} })
        guard.on("error", () => {})
        guard.stdin?.on("error", () => {})
        guard.stdin?.write(`${given ?? ""}\n`)
      }
      mark = given
      leader = spawn(command, [...args], {
        cwd,
        env,
        detached: isPosix,
        stdio: ["pipe", "pipe", "pipe"],
        windowsHide: true
      })
      if (leader.pid !== undefined) guard?.stdin?.write(`${leader.pid}\n`)
      return leader
    },
    signal,
    sweep: async () => {
      for (let n = 0; n < 100 && (await sweepOnce()); n++) await pause(n < 10 ? 2 : 10)
    },
    dismiss: () =>
      (dismissed ??= new Promise<void>((resolve) => {
        if (guard?.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return resolve()
        // Whom it guards us from may have stopped it.
        const late = setTimeout(() => guard?.kill("SIGKILL"), 500)
        guard.once("exit", () => {
          clearTimeout(late)
          resolve()
        })
        guard.stdin?.end("done\n")
      }))
  }
}
