/**
 * Agent skills in folders, after the public specification (agentskills.io): found, checked, read on demand, run and
 * written. This is the Layer of the port `services/Skills.ts`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { assertOptions, countOf, inWords, kindOf, namesOf } from "../../internal/definition.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { Sandbox } from "../../services/Sandbox.ts"
import { type Draft, InvalidSkills, type Skill, SkillError, Skills } from "../../services/Skills.ts"
import { directoryAt } from "../internal/files/directory.ts"
import { page } from "../internal/files/text.ts"
import { revealed } from "../internal/revealed.ts"
import * as Author from "./internal/author.ts"
import * as Discover from "./internal/discover.ts"
import * as Files from "./internal/files.ts"
import * as Script from "./internal/script.ts"

export {
  type Draft,
  type FileLines,
  type Instructions,
  InvalidSkill,
  InvalidSkills,
  type Scan,
  type ScriptInput,
  type ScriptResult,
  type Skill,
  SkillError,
  Skills
} from "../../services/Skills.ts"

export { feature, writeSkill } from "./internal/feature.ts"
export { tools } from "./internal/tools.ts"

/** How scripts of skills are run. */
export interface ScriptOptions {
  /** How long a script may take; then it is killed, with all that it has started. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** The directory that scripts work in. Default: the folder of their skill. */
  readonly directory?: string | URL | undefined
  /**
   * Variables for scripts. Variables of this process are not passed on: a script gets these, `PATH`, `TZ`, `LANG`,
   * `TMPDIR`, a `HOME` that is an empty directory and is removed afterwards, `TROUPE_RUN`, the settings of git that
   * `ShellTools.layer` lists, and `SKILL_DIR`, the folder of its skill. A `Redacted` value is removed from its output.
   */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** How much of a script's output, and of its errors, is given. Default: 64 KiB of each. It is killed at 16 MiB. */
  readonly maxOutputBytes?: number | undefined
  /**
   * What runs a file, by its extension, as in `{ ".py": ["uv", "run"] }`. Without one an executable file is run as it is,
   * and `.sh`, `.bash`, `.py`, `.js`, `.ts` and similar, `.rb` and `.pl` by their usual interpreters.
   */
  readonly interpreters?: Readonly<Record<string, readonly [string, ...ReadonlyArray<string>]>> | undefined
  /** Whether each run of a script needs approval; see `Approvals`. Default `false`. */
  readonly needsApproval?: boolean | undefined
}

/** Options of {@link layerSandbox}. */
export interface SandboxOptions extends Omit<Options, "scripts"> {
  /** How scripts are run. They work in the workspace of the sandbox. */
  readonly scripts?: Omit<ScriptOptions, "directory"> | undefined
}

/** Options of {@link layer}. */
export interface Options {
  /**
   * Folders that hold skills, at most four levels down, or are skills themselves. Of two skills with one name, that of the
   * folder named first is used, and the other is a problem. New skills are written into the first folder.
   */
  readonly folders: readonly [string | URL, ...ReadonlyArray<string | URL>]
  /** Globs of the names of skills to use, such as `pdf-*`. Default: all. */
  readonly include?: ReadonlyArray<string> | undefined
  /**
   * Globs of the names of skills to leave out, compared with the names of their folders too: a folder that matches is not
   * read. Default: none.
   */
  readonly exclude?: ReadonlyArray<string> | undefined
  /** Whether and how scripts are run. Default `"off"`: a script can do all that this process can. */
  readonly scripts?: "off" | ScriptOptions | undefined
  /**
   * What a problem does. `false` (default): a skill that can be read and has a description is used, also when the specification
   * does not allow something about it; one without is left out. Either is logged as a warning, once, and is in `scan`.
   * `true`: any problem fails the Layer with `InvalidSkills`, and later `list`, and a run of an agent with `Skills.feature` as it begins.
   */
  readonly strict?: boolean | undefined
  /** The largest file that is read or written, in bytes. Default: 5 MiB. A SKILL.md has at most 256 KiB. */
  readonly maxFileBytes?: number | undefined
  /** How many characters of a file one call gives. Default: 50,000. */
  readonly maxReadChars?: number | undefined
}

/**
 * Skills in folders, for agents that use `Skills.feature`. Fails with `InvalidDefinition` when a folder does not exist, and with
 * `InvalidSkills` when it is `strict` and there is a problem. It works at both edges.
 *
 * Folders are scanned at each call, so a skill that is written, changed or removed shows in the next step of an agent that
 * runs. A scan follows no links, passes over hidden directories and `node_modules`, and stops at 500 skills, 2000
 * directories, or 512 KiB of names and descriptions. Of a name 200 characters are used, and of a description 4096, without
 * those that cannot be seen.
 *
 * Nothing outside of a skill's folder is read: absolute paths, `..`, links that lead out and null bytes are refused, as
 * are pipes, devices, binary and huge files. A script runs as a command of `ShellTools.layer` does, in a process group that
 * is gone when the script, its timeout or its interruption has ended, or this process has. It is not a sandbox: a script
 * reads and writes what this process may.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, OpenAi, Skills } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "You work in an office.", use: [Skills.feature()] })
 * const answer = clerk.run("Fill in the form.").pipe(
 *   Effect.provide([OpenAi.layer({ model: "gpt-4.1-mini" }), Skills.layer({ folders: ["./skills"], scripts: { timeout: "10 seconds" } })])
 * )
 */
export const layer = (options: Options): Layer.Layer<Skills, InvalidDefinition | InvalidSkills> => {
  assertFolders("Skills.layer", options)
  return Layer.effect(Skills, serviceOf(options, undefined))
}

const known = namesOf<Options>({
  folders: true,
  include: true,
  exclude: true,
  scripts: true,
  strict: true,
  maxFileBytes: true,
  maxReadChars: true
})

const knownOfScripts = namesOf<ScriptOptions>({
  timeout: true,
  directory: true,
  env: true,
  maxOutputBytes: true,
  interpreters: true,
  needsApproval: true
})

const assertFolders = (subject: string, options: Options | SandboxOptions): void => {
  assertOptions(subject, options, known)
  for (const limit of ["maxFileBytes", "maxReadChars"] as const) countOf(subject, limit, options[limit] ?? 1)
  if (options.scripts !== undefined && options.scripts !== "off") {
    assertOptions(`scripts of ${subject}`, options.scripts, knownOfScripts)
  }
  if (Array.isArray(options.folders)) return
  const problem = `folders is ${kindOf(options.folders)}, not a list`
  throw new InvalidDefinition({ subject, problem, remedy: 'Give it a list: folders: ["./skills"]' })
}

/**
 * {@link layer} with scripts that run in the `Sandbox` of the program: it decides what a script reads and changes. A script sees its
 * skill's folder read-only (`SKILL_DIR`), and works in the workspace. Interpreters are those of the sandbox. Skills themselves are read
 * on this machine, as always. Scripts are on by default; in containers and hosted sandboxes they see a copy of the folder, of at most
 * 1,000 files and 32 MiB, and a sandbox without processes, such as `layerMemory`, refuses them with `SkillError`.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Sandbox, Skills } from "troupe"
 *
 * const clerk = Agent.make("clerk", { use: [Skills.feature()] })
 * const answer = clerk.run("Fill in the form.").pipe(
 *   Effect.provide(Skills.layerSandbox({ folders: ["./skills"] })),
 *   Effect.provide([DemoModel.layer, Sandbox.layerBubblewrap({ root: "./forms" })])
 * )
 */
export const layerSandbox = (
  options: SandboxOptions
): Layer.Layer<Skills, InvalidDefinition | InvalidSkills, Sandbox> => {
  assertFolders("Skills.layerSandbox", options)
  return Layer.effect(
    Skills,
    Effect.flatMap(Sandbox, (sandbox) => serviceOf({ scripts: {}, ...options }, sandbox))
  )
}

const serviceOf = (
  options: Options,
  sandbox: Sandbox["Service"] | undefined
): Effect.Effect<Skills["Service"], InvalidDefinition | InvalidSkills> =>
  Effect.gen(function* () {
    const folders = yield* Effect.forEach(options.folders, (folder) => realFolder(folder, "folder"))
    const scripts = options.scripts === undefined || options.scripts === "off" ? undefined : options.scripts
    const plan = scripts === undefined ? undefined : { ...(yield* planOf(scripts)), sandbox }
    const where = { folders, include: options.include, exclude: options.exclude ?? [] }
    const skills = make(where, options, plan)
    yield* skills.list
    return skills
  })

const make = (where: Discover.Where, options: Options, plan: Script.ScriptRunner | undefined): Skills["Service"] => {
  const { maxFileBytes = 5 * 1024 * 1024, maxReadChars = 50_000, strict = false } = options
  const limits = { maxFileBytes, maxReadChars }
  let logged: ReadonlySet<string> = new Set()
  const scan = Effect.tap(Discover.make(where), ({ problems }) => {
    if (strict) return Effect.void
    const messages = new Set(problems.map(({ message }) => message))
    const fresh = [...messages].filter((message) => !logged.has(message))
    logged = messages
    return Effect.forEach(fresh, (message) => Effect.logWarning(message), { discard: true })
  })
  const find = (name: string) =>
    Effect.flatMap(scan, ({ byName }) => {
      const found = byName.get(name)
      if (found !== undefined) return Effect.succeed(found)
      const names = [...byName.keys()].join(", ")
      return new SkillError({
        skill: name,
        reason: "NotFound",
        detail: `there is no such skill; there is: ${names || "none"}`
      })
    })
  return Skills.of({
    scan: Effect.map(scan, ({ problems, skills }) => ({ problems, skills })),
    list: Effect.flatMap(scan, ({ problems, skills }) =>
      strict && problems.length > 0 ? Effect.fail(new InvalidSkills({ problems })) : Effect.succeed(skills)
    ),
    read: (name) =>
      Effect.gen(function* () {
        const { body, bodyLine, skill } = yield* find(name)
        const { complete, files } = yield* Files.list(name, skill.location)
        const { content, to, truncated } = page(body, {}, maxReadChars)
        return {
          name,
          instructions: content,
          continuesAtLine: truncated ? bodyLine + to : undefined,
          compatibility: skill.compatibility,
          files,
          moreFiles: !complete
        }
      }),
    readFile: (name, path, lines = {}) =>
      Effect.flatMap(find(name), ({ skill }) => Files.read(name, skill.location, path, lines, limits)),
    scripts: plan === undefined ? undefined : { needsApproval: plan.needsApproval },
    run: (name, script, input = {}) =>
      Effect.flatMap(find(name), ({ skill }) =>
        plan === undefined
          ? new SkillError({ skill: name, path: script, reason: "ScriptsOff", detail: "scripts cannot be run here" })
          : Script.run(name, skill.location, script, input, plan)
      ),
    write: (draft) => Author.write(draft, where, scan, maxFileBytes)
  })
}

const planOf = (options: ScriptOptions): Effect.Effect<Script.ScriptRunner, InvalidDefinition> =>
  Effect.gen(function* () {
    const { directory, env = {}, interpreters = {}, maxOutputBytes = 64 * 1024, needsApproval = false } = options
    const timeout = Option.getOrUndefined(Duration.fromInput(options.timeout ?? "30 seconds"))
    const problem = (what: string, remedy: string) =>
      new InvalidDefinition({ subject: "Skills.layer", problem: what, remedy })
    if (timeout === undefined || !Duration.isPositive(timeout)) {
      return yield* problem("the timeout of its scripts is not above zero", 'Give one such as "30 seconds"')
    }
    if (!(Number.isInteger(maxOutputBytes) && maxOutputBytes >= 1)) {
      return yield* problem(`maxOutputBytes is ${inWords(maxOutputBytes)}`, "Use a whole number from 1")
    }
    const bad = Object.entries(env).find(
      ([name, value]) => name === "" || /[=\0]/.test(name) || revealed(value).includes("\0")
    )
    if (bad !== undefined) {
      const what = `an environment cannot hold its variable ${JSON.stringify(bad[0])}`
      return yield* problem(what, "Change its name or value")
    }
    return {
      timeout,
      directory: directory === undefined ? undefined : yield* realFolder(directory, "directory of scripts"),
      env,
      interpreters,
      maxOutputBytes,
      needsApproval
    }
  })

const realFolder = (folder: string | URL, what: string): Effect.Effect<string, InvalidDefinition> =>
  directoryAt("Skills.layer", `${what} ${String(folder)}`, folder)

/**
 * Writes a skill into the first folder of the Layer, or in place of the one of its name with `replace`. A new skill appears
 * as a whole, and agents that run see it in their next step. Fails with `SkillError` for what the specification does not
 * allow, for files that are not below the skill's folder or are below a `.git`, and for a name that is taken.
 *
 * @example
 * import { Skills } from "troupe"
 *
 * const program = Skills.write({
 *   name: "meeting-notes",
 *   description: "Writes the minutes of meetings. Use it when somebody asks for minutes.",
 *   body: "Follow references/template.md.",
 *   files: { "references/template.md": "# Minutes of ..." }
 * })
 */
export const write = (draft: Draft): Effect.Effect<Skill, SkillError, Skills> =>
  Effect.flatMap(Skills, (skills) => skills.write(draft))
