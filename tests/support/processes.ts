/** The processes of the machine, by /proc: who is whose child, and what carries a mark in its environment. */
import * as fs from "node:fs"

const read = (file: string): string => {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    // It has ended meanwhile, or is not ours.
    return ""
  }
}

const all = (): ReadonlyArray<number> =>
  fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)

/** The state and the parent, of what has not ended. */
const stat = (pid: number): { readonly state: string; readonly parent: number } | undefined => {
  const [state, parent] = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, "")
    .split(" ")
  return state === undefined || parent === undefined ? undefined : { state, parent: Number(parent) }
}

/** True for a process that runs; a zombie does not. */
export const runs = (pid: number): boolean => {
  const found = stat(pid)
  return found !== undefined && found.state !== "Z" && found.state !== "X"
}

/** The children of this process, and theirs. */
export const descendants = (of: number = process.pid): ReadonlyArray<number> => {
  const parents = new Map(all().map((pid) => [pid, stat(pid)?.parent] as const))
  const below = (pid: number): ReadonlyArray<number> =>
    [...parents].flatMap(([child, parent]) => (parent === pid ? [child, ...below(child)] : []))
  return below(of).filter(runs)
}

/** The processes whose environment, as they were started, has this text. */
export const marked = (text: string): ReadonlyArray<number> =>
  all().filter((pid) => pid !== process.pid && read(`/proc/${pid}/environ`).includes(text) && runs(pid))
