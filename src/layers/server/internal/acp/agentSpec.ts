/** An agent that is a process of its own, with its options checked. */
import type * as Redacted from "effect/Redacted"
import { InvalidDefinition } from "../../../../RunError.ts"
import { assertOptions, countOf, namesOf, timerOf } from "../../../../internal/definition.ts"
import type { Options } from "../../AcpAgent.ts"

/** Options with their defaults. */
export interface Spec {
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string | Redacted.Redacted<string>>>
  readonly cwd: string
  readonly startMs: number
  readonly graceMs: number
  readonly limit: number
  readonly files: Options["files"]
  readonly terminals: boolean
}

const known = namesOf<Options>({
  command: true,
  args: true,
  description: true,
  env: true,
  cwd: true,
  startTimeout: true,
  grace: true,
  limit: true,
  files: true,
  terminals: true
})
const knownOfFiles: ReadonlySet<string> = new Set(["root", "write"])

/** Checks options. Throws `InvalidDefinition`. */
export const specOf = (name: string, options: Options): Spec => {
  const subject = `agent "${name}"`
  const invalid = (problem: string, remedy: string) => new InvalidDefinition({ subject, problem, remedy })
  assertOptions(subject, options, known)
  if (options.files !== undefined) assertOptions(`files of ${subject}`, options.files, knownOfFiles)
  const { args = [], command, cwd, env = {}, files, limit = 64 * 1024 * 1024, terminals = false } = options
  if (typeof command !== "string" || command.trim() === "") {
    throw invalid("it has no command", 'Give the command that starts it: { command: "npx", args: [...] }')
  }
  if ([command, ...args, ...Object.keys(env)].some((text) => text.includes("\0"))) {
    throw invalid("its command, args or env hold a zero byte", "Take it out")
  }
  countOf(subject, "limit", limit)
  if (files !== undefined && (typeof files.root !== "string" || files.root === "")) {
    throw invalid("files has no root", "Give the directory that it may use: files: { root }")
  }
  return {
    name,
    command,
    args,
    env,
    cwd: cwd ?? globalThis.process.cwd(),
    startMs: timerOf(subject, "startTimeout", options.startTimeout ?? "30 seconds"),
    graceMs: timerOf(subject, "grace", options.grace ?? "2 seconds"),
    limit,
    files,
    terminals
  }
}
