/** Commands of Effect's port as a sandbox can run them: the words, the directory, the variables; and what it refuses. */
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import * as Redacted from "effect/Redacted"
import type { Command, CommandOptions, StandardCommand } from "effect/process/ChildProcess"

const unfit = (description: string) =>
  Effect.fail(PlatformError.badArgument({ module: "ChildProcess", method: "spawn", description }))

/** Fails for what would join a command with this process: its descriptors. */
export const refuse = ({ additionalFds, stderr, stdin, stdout }: CommandOptions) => {
  const given = new Set(
    [stdin, stdout, stderr].map((one) => (typeof one === "object" && "stream" in one ? one.stream : one))
  )
  if (given.has("inherit") || given.has("overlapped")) {
    return unfit('a command in a sandbox gets pipes, and none of this process\'s descriptors; use "pipe"')
  }
  return additionalFds !== undefined && Object.keys(additionalFds).length > 0
    ? unfit("a command in a sandbox has no descriptors but its three; use stdin and stdout")
    : Effect.void
}

/** A command of a pipe, and the output of the one before it that it reads. */
interface Stage {
  readonly command: StandardCommand
  readonly from: "stdout" | "stderr" | "all"
}

/** The commands of a pipe, in their order. */
export const flatten = (
  command: Command,
  from: Stage["from"] = "stdout"
): Effect.Effect<ReadonlyArray<Stage>, PlatformError.PlatformError> => {
  if (command._tag === "StandardCommand") return Effect.succeed([{ command, from }])
  const { from: output = "stdout", to = "stdin" } = command.options
  if (to !== "stdin" || (output !== "stdout" && output !== "stderr" && output !== "all")) {
    return unfit("commands in a sandbox are joined by their outputs and inputs alone")
  }
  return Effect.zipWith(flatten(command.left, from), flatten(command.right, output), (left, right) => [
    ...left,
    ...right
  ])
}

/** The words of a command. */
export const wordsOf = ({
  args,
  command,
  options: { shell }
}: StandardCommand): readonly [string, ...Array<string>] => {
  const words = args.map((word) => (Redacted.isRedacted(word) ? Redacted.value(word) : word))
  if (shell === undefined || shell === false) return [command, ...words]
  return [typeof shell === "string" ? shell : "sh", "-c", [command, ...words].join(" ")]
}

/** The variables that a command names. */
export const variablesOf = ({ options: { env = {} } }: StandardCommand): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Redacted.isRedacted(value) ? Redacted.value(value) : value]]
    )
  )
