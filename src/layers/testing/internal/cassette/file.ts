/** The file on disk: read in place, locked while it is recorded, written in one step. */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Result from "effect/Result"
import { CassetteInUse, type CassetteInvalid, CassetteUnavailable } from "./errors.ts"
import { type File, parse } from "./format.ts"

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

const unavailable = (shown: string, doing: string, error: unknown): CassetteUnavailable =>
  new CassetteUnavailable({ path: shown, problem: `it cannot be ${doing}: ${(error as Error).message}` })

/** True when there is something at that path. */
export const exists = (file: string): boolean => fs.existsSync(file)

/** The cassette at that path; `undefined` when there is nothing. `shown` is the path as the user wrote it. */
export const read = (
  file: string,
  shown: string
): Result.Result<File | undefined, CassetteInvalid | CassetteUnavailable> => {
  try {
    return parse(shown, fs.readFileSync(file, "utf8"))
  } catch (error) {
    return codeOf(error) === "ENOENT" ? Result.succeed(undefined) : Result.fail(unavailable(shown, "read", error))
  }
}

/** The right to write a cassette, which one at a time can have, in all processes. */
export interface Lock {
  /** Writes the file: it is there as a whole, or as it was before. */
  readonly write: (text: string) => void
  readonly release: () => void
}

/** True while a process of that number is there. */
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) !== "ESRCH"
  }
}

/** Locks a cassette; its directory is made when it is missing. */
export const lock = (file: string, shown: string): Result.Result<Lock, CassetteInUse | CassetteUnavailable> => {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true })
    const there = fs.statSync(file, { throwIfNoEntry: false })
    if (there?.isFile() === false) {
      const what = there.isDirectory() ? "a directory" : "a device, a pipe or another special file"
      return Result.fail(new CassetteUnavailable({ path: shown, problem: `it cannot be written: it is ${what}` }))
    }
    // One file has one lock, however it is spelled.
    const target = fs.existsSync(file)
      ? fs.realpathSync(file)
      : path.join(fs.realpathSync(path.dirname(file)), path.basename(file))
    const locked = `${target}.recording`
    const taken = take(locked)
    if (taken !== true) {
      const pid = taken === undefined ? {} : { pid: taken }
      return Result.fail(new CassetteInUse({ path: shown, lock: locked, ...pid }))
    }
    return Result.succeed({
      write: (text) => write(target, text, shown),
      release: () => fs.rmSync(locked, { force: true })
    })
  } catch (error) {
    return Result.fail(unavailable(shown, "written", error))
  }
}

/** Makes the lock file. Returns the process that has it instead, if it can be known. */
const take = (locked: string): true | number | undefined => {
  for (let again = true; ; again = false) {
    try {
      fs.writeFileSync(locked, `${process.pid}\n`, { flag: "wx" })
      return true
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error
    }
    const text = fs.existsSync(locked) ? fs.readFileSync(locked, "utf8").trim() : ""
    const pid = /^\d+$/.test(text) ? Number(text) : undefined
    if (!again || pid === undefined || isAlive(pid)) return pid
    // Left by a process that was killed.
    fs.rmSync(locked, { force: true })
  }
}

const write = (target: string, text: string, shown: string): void => {
  // Its name cannot be known beforehand, a link of that name is not followed, and only this user may read what was recorded.
  const temporary = `${target}.${randomUUID()}.tmp`
  try {
    const descriptor = fs.openSync(temporary, "wx", 0o600)
    try {
      fs.writeFileSync(descriptor, text)
      fs.fsyncSync(descriptor)
    } finally {
      fs.closeSync(descriptor)
    }
    fs.renameSync(temporary, target)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw unavailable(shown, "written", error)
  }
}
