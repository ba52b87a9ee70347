/**
 * Runs a script of a skill: which program runs it, in which environment, for how long. The process is
 * that of `process/run.ts`.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { stripControls } from "../../../internal/text.ts"
import { type ScriptInput, type ScriptResult, SkillError } from "../../../services/Skills.ts"
import type { Service as Sandbox } from "../../../services/Sandbox.ts"
import * as Collect from "../../internal/process/collect.ts"
import * as Process from "../../internal/process/run.ts"
import { revealed, revealedAll } from "../../internal/revealed.ts"
import * as Files from "./files.ts"

/** How scripts are run, made ready. */
export interface ScriptRunner {
  readonly timeout: Duration.Duration
  /** `undefined`: the skill's folder. */
  readonly directory: string | undefined
  readonly env: Readonly<Record<string, string | Redacted.Redacted>>
  readonly maxOutputBytes: number
  readonly interpreters: Readonly<Record<string, ReadonlyArray<string>>>
  readonly needsApproval: boolean
  /** Where scripts run. Unset: on this machine, as programs of the user. */
  readonly sandbox?: Sandbox | undefined
}

/** The interpreter of a file, by its extension. */
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

/** The same in a sandbox, which has programs of its own. */
const interpretersInside: typeof interpreters = Object.fromEntries(
  Object.entries(interpreters).map(([extension, words]) => [
    extension,
    words.map((word) => (word === process.execPath ? "node" : word))
  ])
)

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
  plan: ScriptRunner
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
    const place = yield* whereOf(skill, location, plan, fail)
    const [command, ...rest] = [...interpreter, place.at(file), ...args]
    const secrets = secretsOf(plan.env)
    // What is cut off must not be half of a secret.
    const keep = plan.maxOutputBytes + secrets.reduce((most, secret) => Math.max(most, Buffer.byteLength(secret)), 0)
    const show = (ended: Process.Ended) => shown(ended, { keep, most: plan.maxOutputBytes, secrets })
    const ended = yield* place
      .run(
        {
          command: command!,
          args: rest,
          env: { SKILL_DIR: place.folder, ...revealedAll(plan.env) },
          cwd: place.cwd,
          input,
          keep,
          most: mostOutput,
          graceMs
        },
        plan.timeout
      )
      .pipe(
        Effect.mapError(({ detail, ended, reason }) =>
          fail(reasons[reason], `${detail}${ended === undefined ? "" : tail(show(ended))}`)
        )
      )
    const result = show(ended)
    if (!ended.over) return result
    return yield* fail("OutputLimit", `it wrote more than ${mostOutput} bytes and was killed${tail(result)}`)
  })

/** How much of an output was kept, how much of it is shown, and what is not. */
interface Showing {
  readonly keep: number
  readonly most: number
  readonly secrets: ReadonlyArray<string>
}

/** What a script has come to, as the model sees it. */
const shown = (ended: Process.Ended, { keep, most, secrets }: Showing): ScriptResult => {
  const [stdout, stderr] = [ended.stdout, ended.stderr].map((bytes) => {
    const text = textOf(bytes, secrets, bytes.length === keep)
    return { text: text.slice(0, most), cut: text.length > most }
  })
  return {
    exitCode: ended.exitCode,
    signal: ended.signal,
    stdout: stripControls(stdout!.text),
    stderr: stripControls(stderr!.text),
    truncated: ended.cut || stdout!.cut || stderr!.cut
  }
}

/** What is not shown of the variables of a script, the longest first: one may begin with another. */
const secretsOf = (env: ScriptRunner["env"]): ReadonlyArray<string> =>
  Object.values(env)
    .filter(Redacted.isRedacted)
    .map(revealed)
    .filter((secret) => secret !== "")
    .sort((a, b) => b.length - a.length)

/** Where a script of a skill runs. */
interface Place {
  readonly run: (task: Collect.Task, timeout: Duration.Duration) => Effect.Effect<Collect.Ended, Collect.NotRun>
  /** The skill's folder as the script sees it. */
  readonly folder: string
  /** The path of one of its files there. */
  readonly at: (file: string) => string
  readonly cwd: string | undefined
}

const whereOf = (
  skill: string,
  location: string,
  { directory, sandbox }: ScriptRunner,
  fail: (reason: SkillError["reason"], detail: string) => SkillError
): Effect.Effect<Place, SkillError> => {
  if (sandbox === undefined) {
    return Effect.succeed({ run: Process.run, folder: location, at: (file) => file, cwd: directory ?? location })
  }
  if (sandbox.folder === undefined) {
    return Effect.fail(fail("Unstartable", `scripts cannot be run in this sandbox (${sandbox.info.name})`))
  }
  return Effect.map(
    Effect.mapError(sandbox.folder(skill, location, Files.content(location)), ({ detail }) => fail("System", detail)),
    (folder) => ({
      run: (task, timeout) => Collect.run(sandbox.processes, task, timeout),
      folder,
      at: (file) => path.posix.join(folder, ...path.relative(location, file).split(path.sep)),
      // The workspace.
      cwd: undefined
    })
  )
}

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

/**
 * What runs a script: the options, the line that it begins with (`#!`), the script itself if it is a program, or what is
 * usual for its extension.
 */
const interpreterOf = (
  file: string,
  plan: ScriptRunner,
  fail: (reason: SkillError["reason"], detail: string) => SkillError
): Effect.Effect<ReadonlyArray<string>, SkillError> =>
  Effect.suspend(() => {
    const extension = path.extname(file)
    const first = firstLineOf(file)
    const isInside = plan.sandbox !== undefined
    const own = plan.interpreters[extension] ?? named(first, isInside ? () => true : Files.isProgram)
    if (own !== undefined) return Effect.succeed(own)
    const known = (isInside ? interpretersInside : interpreters)[extension]
    // The system runs an executable text that does not begin with `#!` by a shell, which is wrong for a known language.
    if (known !== undefined) return Effect.succeed(known)
    if (Files.isProgram(file)) return Effect.succeed([])
    if (first.startsWith("#!")) return fail("Unstartable", "the program that its first line names does not exist")
    const what = extension === "" ? "a file without an extension" : `a ${extension} file`
    return fail("Unstartable", `it is unknown how to run ${what} that does not begin with #!`)
  })

/**
 * The program that a script names in its first line, and its one argument, as the system reads them; `undefined` without such
 * a line, and where the program does not exist. Scripts that were copied or unpacked are often not executable, so it is
 * followed in any case.
 */
const named = (line: string, exists: (program: string) => boolean): ReadonlyArray<string> | undefined => {
  if (process.platform === "win32") return undefined
  const [, program, argument = ""] = /^#![ \t]*(\/\S*)[ \t]*(.*)/.exec(line) ?? []
  if (program === undefined || !exists(program)) return undefined
  return argument.trim() === "" ? [program] : [program, argument.trim()]
}

const firstLineOf = (file: string): string => {
  try {
    const fd = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
    try {
      const start = Buffer.alloc(256)
      return start.toString("utf8", 0, fs.readSync(fd, start, 0, start.length, 0)).split(/\r?\n/)[0]!
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    return ""
  }
}

const isReal = (file: string): boolean => {
  try {
    return fs.realpathSync(file) === file
  } catch {
    return false
  }
}

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
