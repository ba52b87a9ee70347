/**
 * Watches over a process group and kills it when this process dies. A guard is a shell that reads lines from us: its input
 * ends when we do, also when we are killed.
 */
import { type ChildProcess, spawn } from "node:child_process"

/** Watches over one group. */
export interface Guard {
  /** Names the group. */
  readonly watch: (group: number) => void
  /** Ends the guard: for when the group is gone or did not exist. */
  readonly dismiss: () => Promise<void>
}

/**
 * The first line is the mark, the second one the group; one more line says that there is nothing to kill any more. We may be
 * killed after the leader has started and before its group is named: then it is found by its mark, as soon as that shows.
 */
const script = `trap '' HUP INT TERM
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

/** Starts a guard; on Windows it does nothing. On Linux it also finds what has the mark, `NAME=value`, in its environment. */
export const startGuard = (mark: string | undefined): Guard => {
  if (process.platform === "win32") return { watch: () => {}, dismiss: () => Promise.resolve() }
  const shell = spawn("/bin/sh", ["-c", script], { detached: true, stdio: ["pipe", "ignore", "ignore"], env: {} })
  shell.on("error", () => {})
  shell.stdin.on("error", () => {})
  shell.stdin.write(`${mark ?? ""}\n`)
  let dismissed: Promise<void> | undefined
  return {
    watch: (group) => void shell.stdin.write(`${group}\n`),
    dismiss: () => (dismissed ??= end(shell))
  }
}

const end = (shell: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (shell.pid === undefined || shell.exitCode !== null || shell.signalCode !== null) return resolve()
    // A process that it guards may have stopped it.
    const late = setTimeout(() => shell.kill("SIGKILL"), 500)
    shell.once("exit", () => {
      clearTimeout(late)
      resolve()
    })
    shell.stdin?.end("done\n")
  })
