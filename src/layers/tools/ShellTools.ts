/**
 * A tool that runs commands of an allow-list, without a shell. The toolkit holds the definition; the Layer starts the
 * processes.
 */
import { machine } from "#shell-tools"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../AgentTool.ts"
import * as Feature from "../../Feature.ts"
import { assertOptions, countOf, durationOf, kindOf, namesOf, timerOf } from "../../internal/definition.ts"
import { stripControls } from "../../internal/text.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { Sandbox } from "../../services/Sandbox.ts"
import * as Collect from "../internal/process/collect.ts"

/** How many characters of each output an error message holds. */
const maxShown = 2000

/** Why a command was not run, or was ended early. */
export class ShellToolError extends Schema.TaggedError<ShellToolError>()("ShellToolError", {
  command: Schema.String,
  /**
   * `NotAllowed`: no entry of `allow` matches. `Arguments`: no program can take these. `Start`: the program did not start.
   * `Timeout`: it was killed. `Edge`: `Effect.runSync` needs `SyncEdge.layer`.
   */
  reason: Schema.Literals(["NotAllowed", "Arguments", "Start", "Timeout", "Edge"]),
  detail: Schema.String,
  /** The output before it was killed. */
  stdout: Schema.optional(Schema.String),
  stderr: Schema.optional(Schema.String)
}) {
  override get message(): string {
    // The model reads the message, and the end of an output says most.
    const wrote = ([name, text]: readonly [string, string | undefined]) =>
      text === undefined || text === "" ? "" : `; ${name} was: ${text.slice(-maxShown)}`
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

/**
 * One entry of an allow-list. The program is named by its name in `PATH`, or by an absolute path.
 *
 * - `"ls"`: with any arguments. For programs that are safe with all arguments.
 * - `["git", "status", "--short"]`: with exactly these arguments; `["git"]` is `git` without any.
 * - `["git", (args) => ...]`: with the arguments for which the predicate returns `true`.
 */
export type Allowed =
  | string
  | readonly [command: string, args: (args: ReadonlyArray<string>) => boolean]
  | readonly [command: string, ...args: ReadonlyArray<string>]

/** What may be run, and its limits. */
export interface Limits {
  /**
   * What may be run, and nothing else. A program does with its arguments what it likes: `find`, `env`, `git -c` and every
   * interpreter run other programs, `git log --output=FILE` and `sort -o FILE` write files. So give the arguments in full,
   * or a predicate that accepts only those that you know.
   */
  readonly allow: ReadonlyArray<Allowed>
  /** How long a command may take. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How long it has to end after SIGTERM, before SIGKILL. Default: 2 seconds. */
  readonly grace?: Duration.Input | undefined
  /** How many bytes of each output are kept. A command that writes a hundred times that is killed. Default: 100,000. */
  readonly maxOutputBytes?: number | undefined
  /** Environment variables in addition to those that {@link layer} lists, or instead of them. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** Options of {@link layer}. */
export interface Options extends Limits {
  /** The directory that commands run in. It is not a fence: a command reads and writes elsewhere too. */
  readonly cwd: string | URL
}

/**
 * A handler for {@link toolkit}. Nothing runs that `allow` does not match. The Layer fails with `InvalidDefinition` when a
 * program or the directory does not exist.
 *
 * A program is looked up once, when the Layer is built, in the absolute directories of `PATH`, and in those below `cwd` last,
 * so that a file in the working directory is not taken for a program of the same name. It gets its arguments as they are; no
 * shell reads them.
 *
 * Variables of this process are not passed on. A command gets `PATH`, `LANG`, `TZ`, `TMPDIR`, `TROUPE_RUN`, a `HOME` that
 * is an empty directory and is removed afterwards, settings that keep git from running what a repository names as
 * `core.fsmonitor`, and `env`. So a `.gitconfig` or `.netrc` in `cwd` is not used. Configuration that a program reads from
 * its working directory (`package.json`, `.npmrc`, a `Makefile`, hooks of a repository) is used as always.
 *
 * The process leads a group. Interruption and the timeout send SIGTERM to the group, SIGKILL after `grace`, and wait until
 * the group is gone. What a command leaves running when it ends is killed, and so is all of it when this process is killed.
 * On Linux a process that has left the group is found by `TROUPE_RUN` in its environment, unless it has cleared that; on
 * other systems it is not found, and on Windows only the command's own process is ended.
 *
 * None of this is a sandbox. A command can do what its user can, and on Linux it can read the environment of this process
 * (`/proc/PID/environ`). For code that is not trusted use a container or another user. Under `Effect.runSync` the tool
 * needs `SyncEdge.layer`, and fails with a message that says so.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, OpenAi, ShellTools } from "troupe"
 *
 * const agent = Agent.make("agent", { toolkit: ShellTools.toolkit })
 * const Shell = ShellTools.layer({
 *   cwd: ".",
 *   allow: [
 *     "ls",
 *     ["git", "status", "--short"],
 *     ["git", (args) => args.length === 3 && args[0] === "show" && args[1] === "--" && !args[2]!.startsWith("-")]
 *   ]
 * })
 * const answer = agent.run("What has changed?").pipe(Effect.provide([OpenAi.layer({ model: "gpt-4.1-mini" }), Shell]))
 */
export const layer = (options: Options): Layer.Layer<Tool.HandlersFor<typeof toolkit.tools>, InvalidDefinition> => {
  assertAllowed("ShellTools.layer", options, known)
  return toolkit.toLayer(
    Effect.map(
      Effect.try({
        try: () => prepare(options),
        catch: (cause) =>
          cause instanceof InvalidDefinition
            ? cause
            : new InvalidDefinition({ subject: "ShellTools.layer", problem: String(cause), remedy: "See the problem" })
      }),
      (settings) =>
        toolkit.of({
          run_command: ({ args = [], command, input = "" }) => runCommand(settings, command, args, input)
        })
    )
  )
}

const limitNames = { allow: true, timeout: true, grace: true, maxOutputBytes: true, env: true } as const
const knownOfFeature = namesOf<Limits>(limitNames)
const known = namesOf<Options>({ ...limitNames, cwd: true })

const assertAllowed = (subject: string, options: Limits, names: ReadonlySet<string>): void => {
  assertOptions(subject, options, names)
  if (Array.isArray(options.allow)) return
  const problem = `allow is ${kindOf(options.allow)}, not a list`
  throw new InvalidDefinition({ subject, problem, remedy: 'Say what may be run: allow: [["git", "status"]]' })
}

/** Why a command was not run, in the words of the tool. */
const reasons = { Edge: "Edge", Unstartable: "Start", Lost: "Start", Timeout: "Timeout" } as const
/** How many characters all arguments may have. */
const maxArgs = 64 * 1024

/**
 * The same tool in the `Sandbox` that the program provides, for the option `use` of agents. Where commands run, and what they
 * reach, is the sandbox's; what may be run and how much of it is the tool's, as in {@link layer}. Programs are looked up in the
 * sandbox when they are run. The agent's instructions say what the sandbox is.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Sandbox, ShellTools } from "troupe"
 *
 * const clerk = Agent.make("clerk", { use: [ShellTools.feature({ allow: [["date"]] })] })
 * const answer = clerk.run("Which day is it?").pipe(
 *   Effect.provide([DemoModel.layer, Sandbox.layerMemory({ commands: { date: () => Effect.succeed("Monday\n") } })])
 * )
 */
export const feature = (options: Limits): Feature.Feature<never, Sandbox> => {
  assertAllowed("ShellTools.feature", options, knownOfFeature)
  const settings = {
    ...limitsOf("ShellTools.feature", options),
    rules: options.allow.map((entry) => ruleOf(entry, (command) => command))
  }
  const run = AgentTool.fromFunction("run_command", {
    description: RunCommand.description ?? "",
    parameters: RunCommand.parametersSchema,
    success: RunCommand.successSchema,
    hints: { destructive: true, openWorld: true },
    execute: ({ args = [], command, input = "" }) =>
      Effect.flatMap(Sandbox, ({ processes }) => runCommand({ ...settings, processes }, command, args, input))
  })
  return Feature.make("commands", {
    tools: [AgentTool.inSandbox(run)],
    instructions: () => Effect.map(Sandbox, ({ info }) => `Commands run here: ${info.description}`)
  })
}

interface Rule {
  readonly command: string
  readonly file: string
  readonly accepts: (args: ReadonlyArray<string>) => boolean
  /** The failure as a model sees it. */
  readonly text: string
}

interface Settings {
  readonly processes: Sandbox["Service"]["processes"]
  readonly rules: ReadonlyArray<Rule>
  readonly env: Readonly<Record<string, string>>
  readonly timeout: Duration.Duration
  readonly graceMs: number
  readonly keep: number
}

const runCommand = Effect.fnUntraced(function* (
  { env, graceMs, keep, processes, rules, timeout }: Settings,
  command: string,
  args: ReadonlyArray<string>,
  input: string
) {
  const fail = (reason: ShellToolError["reason"], detail: string, output = {}) =>
    new ShellToolError({ command: command.slice(0, 200), reason, detail, ...output })
  const rule = rules.find((rule) => rule.command === command && rule.accepts(args))
  if (rule === undefined) {
    const allowed = rules.map(({ text }) => text).join(", ") || "nothing"
    return yield* fail("NotAllowed", `it is not allowed with these arguments. Allowed: ${allowed}`)
  }
  if (args.some((arg) => arg.includes("\0")) || args.join(" ").length > maxArgs) {
    return yield* fail("Arguments", "its arguments are too long, or contain null bytes")
  }
  const task = { command: rule.file, args, cwd: undefined, env, input, keep, most: keep * 100, graceMs }
  const ended = yield* Effect.mapError(Collect.run(processes, task, timeout), ({ detail, ended, reason }) =>
    fail(reasons[reason], detail, ended === undefined ? {} : outputOf(ended))
  )
  return { exitCode: ended.exitCode, signal: ended.signal, ...outputOf(ended), truncated: ended.cut }
})

const outputOf = ({ stderr, stdout }: Collect.Ended) => ({ stdout: textOf(stdout), stderr: textOf(stderr) })
const textOf = (bytes: Uint8Array) => stripControls(new TextDecoder().decode(bytes))

const prepare = (options: Options): Settings => {
  const limits = limitsOf("ShellTools.layer", options)
  const { fileOf, processes } = machine(options.cwd, limits.env)
  return { ...limits, processes, rules: options.allow.map((entry) => ruleOf(entry, fileOf)) }
}

const limitsOf = (subject: string, { env = {}, grace, maxOutputBytes, timeout }: Limits) => ({
  env,
  timeout: durationOf(subject, "timeout", timeout ?? "30 seconds"),
  graceMs: timerOf(subject, "grace", grace ?? "2 seconds"),
  keep: countOf(subject, "maxOutputBytes", maxOutputBytes ?? 100_000)
})

const ruleOf = (entry: Allowed, fileOf: (command: string) => string): Rule => {
  const [command, ...args] = typeof entry === "string" ? [entry] : entry
  const file = fileOf(command)
  if (typeof entry === "string") return { command, file, accepts: () => true, text: command }
  const [first] = args
  if (typeof first === "function") {
    // An answer that is not `true`, such as a promise, allows nothing.
    return { command, file, accepts: (given) => first(given) === true, text: `${command} (some arguments only)` }
  }
  return {
    command,
    file,
    accepts: (given) => given.length === args.length && args.every((arg, n) => given[n] === arg),
    text: [command, ...args].join(" ")
  }
}
