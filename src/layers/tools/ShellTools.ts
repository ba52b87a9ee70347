/**
 * A tool that runs commands of an allow-list, without a shell. The toolkit holds the definition; the Layer starts the
 * processes, as `process/run.ts` does.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { InvalidDefinition } from "../../RunError.ts"
import * as Process from "../internal/process/run.ts"

const maxTold = 2000

/** Why a command was not run, or not to its end. */
export class ShellToolError extends Schema.TaggedError<ShellToolError>()("ShellToolError", {
  command: Schema.String,
  reason: Schema.Literals(["NotAllowed", "Arguments", "Start", "Timeout", "Edge"]),
  detail: Schema.String,
  /** What it had written before it was killed. */
  stdout: Schema.optional(Schema.String),
  stderr: Schema.optional(Schema.String)
}) {
  override get message(): string {
    // The end is what tells most, and the message is what the model is told.
    const wrote = ([name, text]: readonly [string, string | undefined]) =>
      text === undefined || text === "" ? "" : `; ${name} was: ${text.slice(-maxTold)}`
    return `"${this.command}": ${this.detail}${wrote(["stdout", this.stdout])}${wrote(["stderr", this.stderr])}`
  }
}

/** Runs a command. */
export const RunCommand = Tool.make("run_command", {
  description: "Runs a program with arguments. There is no shell: no pipes, no redirection, no variables, no wildcards",
  parameters: Schema.Struct({
    command: Schema.String.annotate({ description: "The name of the program alone" }),
    args: Schema.optional(Schema.Array(Schema.String).check(Schema.isMaxLength(256))),
    input: Schema.optional(Schema.String.annotate({ description: "What it reads from standard input" }))
  }),
  success: Schema.Struct({
    exitCode: Schema.NullOr(Schema.Int),
    signal: Schema.NullOr(Schema.String),
    stdout: Schema.String,
    stderr: Schema.String,
    truncated: Schema.Boolean.annotate({ description: "True when there was more output than is shown" })
  }),
  failure: ShellToolError,
  failureMode: "return"
})
  .annotate(Tool.Destructive, true)
  .annotate(Tool.OpenWorld, true)

/** The tool that runs commands. */
export const toolkit = Toolkit.make(RunCommand)

/** What {@link layer} takes. */
export interface Options {
  /**
   * What may be run, and nothing else: programs by name or absolute path (`"ls"`), or with their first arguments
   * (`["git", "status"]`). What a program can do with any further argument is yours to judge: `find`, `env`, `git -c` and every
   * interpreter run whatever they are told.
   */
  readonly allow: ReadonlyArray<string | readonly [command: string, ...args: ReadonlyArray<string>]>
  /** The directory that commands run in. It is no fence. */
  readonly cwd: string | URL
  /** How long a command may take. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How long it has to end after SIGTERM, before SIGKILL. Default: 2 seconds. */
  readonly grace?: Duration.Input | undefined
  /** How many bytes of each output are kept. A command that writes a hundred times that is killed. Default: 100,000. */
  readonly maxOutputBytes?: number | undefined
  /** Environment variables besides `PATH`, `LANG` and `HOME`, or instead of them. Those of the program are not passed on. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/**
 * A handler for {@link toolkit}. Nothing can be run that is not in `allow`. The Layer fails with `InvalidDefinition` when a
 * program or the directory is not there.
 *
 * A program is looked up once, when the Layer is built, and only in the absolute directories of `PATH`, so that a file of its
 * name in the working directory is not taken for it. It gets its arguments as they are; no shell reads them. Its environment holds
 * `PATH`, `LANG`, `HOME` (the working directory) and what `env` says.
 *
 * The process leads a group. Interruption and the timeout send SIGTERM to all of the group, SIGKILL after `grace`, and go on
 * when the group is gone; what a command leaves behind in it when it ends is killed, and so is all of it when this process is
 * killed. A process that leaves the group is not followed, on Windows only the command's own process is ended, and none of
 * this is a sandbox: for code that is not trusted use a container. Under `Effect.runSync` it needs `SyncEdge.layer`, and says
 * so.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Offline, ShellTools } from "troupe"
 *
 * const agent = Agent.make("agent", { toolkit: ShellTools.toolkit })
 * const Shell = ShellTools.layer({ allow: ["ls", ["git", "status"], ["git", "log"]], cwd: "." })
 * const answer = agent.run("What changed lately?").pipe(Effect.provide([Offline.layer, Shell]))
 */
export const layer = (options: Options): Layer.Layer<Tool.HandlersFor<typeof toolkit.tools>, InvalidDefinition> =>
  toolkit.toLayer(
    Effect.map(
      Effect.try({
        try: () => prepare(options),
        catch: (cause) => (cause instanceof InvalidDefinition ? cause : invalid(String(cause), "See the problem"))
      }),
      ({ cwd, env, rules }) => {
        const timeout = Duration.fromInputUnsafe(options.timeout ?? "30 seconds")
        const graceMs = Duration.toMillis(options.grace ?? "2 seconds")
        const keep = options.maxOutputBytes ?? 100_000
        return toolkit.of({
          run_command: ({ args = [], command, input = "" }) =>
            Effect.gen(function* () {
              const fail = (reason: ShellToolError["reason"], detail: string, output = {}) =>
                new ShellToolError({ command: command.slice(0, 200), reason, detail, ...output })
              const file = fileOf(rules, command, args)
              if (file === undefined)
                return yield* fail("NotAllowed", `it may not be run; allowed are: ${listed(rules)}`)
              if (args.some((arg) => arg.includes("\0")) || args.join(" ").length > maxArgs) {
                return yield* fail("Arguments", "its arguments are too long, or hold null bytes")
              }
              const what = { command: file, args, cwd, env, input, keep, most: keep * 100, mark: undefined, graceMs }
              const ended = yield* Effect.mapError(Process.run(what, timeout), ({ detail, ended, reason }) =>
                fail(reasons[reason], detail, ended === undefined ? {} : wrote(ended))
              )
              return { exitCode: ended.exitCode, signal: ended.signal, ...wrote(ended), truncated: ended.cut }
            })
        })
      }
    )
  )

const reasons = { Edge: "Edge", Unstartable: "Start", Lost: "Start", Timeout: "Timeout" } as const
const wrote = ({ stderr, stdout }: Process.Ended) => ({ stdout: textOf(stdout), stderr: textOf(stderr) })
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const maxArgs = 64 * 1024

interface Rule {
  readonly command: string
  readonly file: string
  readonly args: ReadonlyArray<string>
}

const invalid = (problem: string, remedy: string) =>
  new InvalidDefinition({ subject: "ShellTools.layer", problem, remedy })

const prepare = (options: Options) => {
  const cwd = path.resolve(typeof options.cwd === "string" ? options.cwd : fileURLToPath(options.cwd))
  if (fs.statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw invalid(`its directory ${cwd} is not there`, "Give a directory that exists")
  }
  const env = {
    PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    LANG: "C.UTF-8",
    HOME: cwd,
    ...options.env
  }
  const rules = options.allow.map((entry): Rule => {
    const [command, ...args] = typeof entry === "string" ? [entry] : entry
    const file = lookUp(command, env.PATH)
    if (file !== undefined) return { command, file, args }
    throw invalid(`there is no program "${command}" in PATH`, "Install it, or give its absolute path")
  })
  return { cwd, env, rules }
}

const lookUp = (command: string, PATH: string): string | undefined => {
  const places = path.isAbsolute(command)
    ? [command]
    : command === "" || command !== path.basename(command)
      ? []
      : PATH.split(path.delimiter)
          .filter((directory) => path.isAbsolute(directory))
          .map((directory) => path.join(directory, command))
  return places.find((file) => {
    try {
      fs.accessSync(file, fs.constants.X_OK)
      return fs.statSync(file).isFile()
    } catch {
      return false
    }
  })
}

const fileOf = (rules: ReadonlyArray<Rule>, command: string, args: ReadonlyArray<string>): string | undefined =>
  rules.find((rule) => rule.command === command && rule.args.every((arg, index) => args[index] === arg))?.file

const listed = (rules: ReadonlyArray<Rule>): string =>
  rules.map(({ args, command }) => [command, ...args].join(" ")).join(", ") || "none"
