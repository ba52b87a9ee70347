/**
 * Runs cases in a process of their own, which is killed when one of them takes too long: a deadlock would never say so
 * itself. A file of cases exports `cases`; each throws when it does not hold.
 */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

export type Cases = Readonly<Record<string, () => unknown>>

const main = fileURLToPath(new URL("./isolatedMain.ts", import.meta.url))
const root = fileURLToPath(new URL("../..", import.meta.url))

interface Said {
  readonly name: string
  readonly error?: string
}

export interface Options {
  /** How long a case may take. */
  readonly watchdogMs?: number
  readonly flags?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

/** What became of each case: an empty text when it held, what was wrong otherwise. */
export const isolated = async (
  file: URL,
  names: ReadonlyArray<string>,
  options: Options = {}
): Promise<Record<string, string>> => {
  const ends: Record<string, string> = {}
  // After a case that hangs or ends the process the others have a new one.
  for (let left = names; left.length > 0; left = names.filter((name) => ends[name] === undefined)) {
    const why = await once(file, left, options, (said) => (ends[said.name] = said.error ?? ""))
    const next = names.find((name) => ends[name] === undefined)
    if (next !== undefined) ends[next] = why
  }
  return ends
}

const once = (
  file: URL,
  names: ReadonlyArray<string>,
  { env, flags = [], watchdogMs = 60_000 }: Options,
  hear: (said: Said) => void
): Promise<string> =>
  new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [...flags, "--conditions=troupe-source", main, fileURLToPath(file), ...names],
      { cwd: root, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] }
    )
    let hung = false
    let errors = ""
    let line = ""
    const kill = () => {
      hung = true
      child.kill("SIGKILL")
    }
    let watchdog = setTimeout(kill, watchdogMs)
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
    child.stdout.on("data", (chunk: Buffer) => {
      clearTimeout(watchdog)
      watchdog = setTimeout(kill, watchdogMs)
      const lines = (line + chunk.toString()).split("\n")
      line = lines.pop() ?? ""
      for (const one of lines) hear(JSON.parse(one) as Said)
    })
    child.on("close", (code) => {
      clearTimeout(watchdog)
      resolve(hung ? `hangs${errors}` : `its process ended with ${code}${errors}`)
    })
  })

/** A server in a process of its own, see `delayServerMain.ts`. */
export const delayServer = async (): Promise<{ readonly base: string; readonly child: ChildProcess }> => {
  const child = fork(fileURLToPath(new URL("./delayServerMain.ts", import.meta.url)), { execArgv: [] })
  const port = await new Promise<number>((resolve) => child.once("message", (message) => resolve(message as number)))
  return { base: `http://127.0.0.1:${port}`, child }
}
