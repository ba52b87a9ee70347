/**
 * Runs a script of a skill: which program runs it, in which environment, for how long. It touches files; the process is
 * that of `process/run.ts`.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { stripControls } from "../../../internal/text.ts"
import { type ScriptInput, type ScriptResult, SkillError } from "../../../services/Skills.ts"
import * as Process from "../../internal/process/run.ts"
import * as Files from "./files.ts"

/** How scripts are run, made ready. */
export interface Plan {
  readonly timeout: Duration.Duration
  /** `undefined`: the skill's folder. */
  readonly directory: string | undefined
  readonly env: Readonly<Record<string, string | Redacted.Redacted>>
  readonly maxOutputBytes: number
  readonly interpreters: Readonly<Record<string, ReadonlyArray<string>>>
}

/** What runs a file, by its extension. */
export const interpreters: Readonly<Record<string, ReadonlyArray<string>>> = {
  ".sh": ["sh"],
  ".bash": ["bash"],
  ".py": ["python3"],
  ".js": [process.execPath],
  ".mjs": [process.execPath],
  ".cjs": [process.execPath],
  ".ts": [process.execPath],
  ".mts": [process.execPath],
  ".rb": ["ruby"],
  ".pl": ["perl"]
}

/** At how many bytes of output a script is killed. */
const mostOutput = 16 * 1024 * 1024
const graceMs = 250
const maxScripts = 10_000
const maxArgs = 100
const maxInputChars = 1024 * 1024

const reasons = { Edge: "Unstartable", Unstartable: "Unstartable", Lost: "System", Timeout: "Timeout" } as const

/** Runs a script. Its timeout and interruption kill its process group, and end when that is gone. */
export const run = (
  skill: string,
  location: string,
  given: string,
  { args = [], input }: ScriptInput,
  plan: Plan
): Effect.Effect<ScriptResult, SkillError> =>
  Effect.gen(function* () {
    const fail = (reason: SkillError["reason"], detail: string) =>
      new SkillError({ skill, path: given, reason, detail })
    const file = yield* find(skill, location, given)
    if (args.length > maxArgs || args.join("").length + (input?.length ?? 0) > maxInputChars) {
      const detail = `it can be given at most ${maxArgs} arguments and ${maxInputChars} characters; write less`
      return yield* fail("TooLarge", detail)
    }
    if (args.some((arg) => arg.includes("\0"))) return yield* fail("Invalid", "arguments have no null bytes")
    const interpreter = yield* interpreterOf(file, plan, fail)
    const [command, ...rest] = [...interpreter, file, ...args]
    const secrets = Object.values(plan.env)
      .flatMap((value) => (Redacted.isRedacted(value) && Redacted.value(value) !== "" ? [Redacted.value(value)] : []))
      // One may begin with another.
      .sort((a, b) => b.length - a.length)
    // What is cut off must not be half of a secret.
    const keep = plan.maxOutputBytes + secrets.reduce((most, secret) => Math.max(most, Buffer.byteLength(secret)), 0)
    const show = (ended: Process.Ended): ScriptResult => {
      const [stdout, stderr] = [ended.stdout, ended.stderr].map((bytes) => {
        const text = textOf(bytes, secrets, bytes.length === keep)
        return { text: text.slice(0, plan.maxOutputBytes), cut: text.length > plan.maxOutputBytes }
      })
      const truncated = ended.cut || stdout!.cut || stderr!.cut
      return {
        exitCode: ended.exitCode,
        signal: ended.signal,
        stdout: stripControls(stdout!.text),
        stderr: stripControls(stderr!.text),
        truncated
      }
    }
    const ended = yield* Process.run(
      {
        command: command!,
        args: rest,
        env: { SKILL_DIR: location, ...revealed(plan.env) },
        cwd: plan.directory ?? location,
        input,
        keep,
        most: mostOutput,
        graceMs
      },
      plan.timeout
    ).pipe(
      Effect.mapError(({ detail, ended, reason }) =>
        fail(reasons[reason], `${detail}${ended === undefined ? "" : tail(show(ended))}`)
      )
    )
    const result = show(ended)
    if (!ended.over) return result
    return yield* fail("OutputLimit", `it wrote more than ${mostOutput} bytes and was killed${tail(result)}`)
  })

/** The real path of a script, which must be one of the skill's files in `scripts/`. */
const find = (skill: string, location: string, given: string): Effect.Effect<string, SkillError> =>
  Effect.gen(function* () {
    const fail = (reason: SkillError["reason"], detail: string) =>
      new SkillError({ skill, path: given, reason, detail })
    const normal = path.posix.normalize(given)
    if (given.includes("\0") || path.isAbsolute(given) || path.win32.isAbsolute(given) || normal.startsWith("..")) {
      return yield* fail("Outside", "it is outside of the skill's folder")
    }
    if (!normal.startsWith("scripts/")) return yield* fail("Outside", "only files in scripts/ can be run")
    const { files } = yield* Files.list(skill, location, "scripts", maxScripts).pipe(
      Effect.catchIf(
        ({ reason }) => reason === "NotFound",
        () => Effect.succeed({ files: [] as ReadonlyArray<string> })
      )
    )
    const file = path.join(location, normal)
    // Compared as they are named, so that neither a link nor another spelling is run.
    if (files.includes(normal) && isReal(file)) return file
    return yield* fail("NotFound", `there is no such script; there is: ${files.slice(0, 50).join(", ") || "none"}`)
  })

const interpreterOf = (
  file: string,
  plan: Plan,
  fail: (reason: SkillError["reason"], detail: string) => SkillError
): Effect.Effect<ReadonlyArray<string>, SkillError> =>
  Effect.suspend(() => {
    const extension = path.extname(file)
    const own = plan.interpreters[extension]
    if (own !== undefined) return Effect.succeed(own)
    const known = interpreters[extension]
    // The system would have a file that does not say what runs it run by a shell.
    if (isExecutable(file) && (known === undefined || saysItself(file))) return Effect.succeed([])
    if (known !== undefined) return Effect.succeed(known)
    return fail(
      "Unstartable",
      `nothing is known to run ${extension === "" ? "a file without extension" : extension} files`
    )
  })

/** True for what the system runs by itself. */
const isExecutable = (file: string): boolean => {
  if (process.platform === "win32") return false
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** True for a file that begins with `#!`. */
const saysItself = (file: string): boolean => {
  try {
    const fd = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
    try {
      const start = Buffer.alloc(2)
      return fs.readSync(fd, start, 0, 2, 0) === 2 && start.toString() === "#!"
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    return false
  }
}

const isReal = (file: string): boolean => {
  try {
    return fs.realpathSync(file) === file
  } catch {
    return false
  }
}

const revealed = (env: Plan["env"]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, Redacted.isRedacted(value) ? Redacted.value(value) : value])
  )

/**
 * Output as a text without secrets, which come longest first. Where it was cut off there may be the beginning of one.
 */
const textOf = (bytes: Uint8Array, secrets: ReadonlyArray<string>, isCut: boolean): string => {
  // The last character may be half of one.
  const text = isCut ? new TextDecoder().decode(bytes).replace(/\uFFFD$/, "") : new TextDecoder().decode(bytes)
  const longest = secrets[0]?.length ?? 0
  const begun = (from: number) => {
    if (!isCut) return text.length
    for (let at = Math.max(from, text.length - longest); at < text.length; at++) {
      const rest = text.slice(at)
      if (secrets.some((secret) => secret.length > rest.length && secret.startsWith(rest))) return at
    }
    return text.length
  }
  const places = secrets.map(() => -1)
  let shown = ""
  for (let at = 0; ;) {
    let next = text.length
    let length = 0
    for (const [n, secret] of secrets.entries()) {
      if (places[n]! < at) places[n] = placeOf(text, secret, at)
      if (places[n]! < next) [next, length] = [places[n]!, secret.length]
    }
    const end = next < text.length - longest ? text.length : begun(at)
    if (length === 0 || end <= next) return shown + text.slice(at, end)
    shown += `${text.slice(at, next)}<redacted>`
    at = next + length
  }
}

/** Where a secret comes next; the end of the text when it does not. */
const placeOf = (text: string, secret: string, from: number): number => {
  const found = text.indexOf(secret, from)
  return found === -1 ? text.length : found
}

/** The end of what a script wrote, for an error. */
const tail = ({ stderr, stdout }: ScriptResult): string => {
  const said = `${stdout}\n${stderr}`.trim()
  return said === "" ? "" : `; it wrote: ${said.slice(-2000)}`
}
