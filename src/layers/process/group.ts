/**
 * A process that leads a group of its own, which never outlives us. It touches child processes, and names nothing outside
 * of its function: the I/O thread runs it from its text.
 */
import type { ChildProcess, spawn as Spawn } from "node:child_process"

/** What is started. `env` is all of its environment. */
export interface Leader {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
}

/** A group, and who watches over it. */
export interface ProcessGroup {
  /** Starts the leader, once, with pipes. Throws what `spawn` throws. */
  readonly start: (leader: Leader) => ChildProcess
  /** Signals all of the group; on Windows, its leader. False when nobody is left to hear it. */
  readonly signal: (name: NodeJS.Signals | 0) => boolean
  /** Ends the watch: for when the group is gone, or has never been. */
  readonly dismiss: () => Promise<void>
}

/** Makes a group, by a guard: a shell that waits for its input to end, which it does with us, and kills the group then. */
export const processGroup = (spawn: typeof Spawn): ProcessGroup => {
  const isPosix = process.platform !== "win32"
  let guard: ChildProcess | undefined
  let leader: ChildProcess | undefined
  let dismissed: Promise<void> | undefined
  return {
    start: ({ args, command, cwd, env }) => {
      if (isPosix) {
        // The first line is the group to kill; a second one says that there is nothing to kill any more.
        guard = spawn(
          "/bin/sh",
          ["-c", "trap '' HUP INT TERM; read -r group || exit 0; read -r _ || kill -s KILL -- \"-$group\""],
          { detached: true, stdio: ["pipe", "ignore", "ignore"], env: {} }
        )
        guard.on("error", () => {})
        guard.stdin?.on("error", () => {})
      }
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
    signal: (name) => {
      if (leader?.pid === undefined) return false
      try {
        if (isPosix) process.kill(-leader.pid, name)
        else return leader.exitCode === null && leader.signalCode === null && leader.kill(name)
        return true
      } catch (error) {
        // On macOS a group of which only zombies are left.
        return (error as NodeJS.ErrnoException).code === "EPERM"
      }
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
