/** Commands of Effect's port as a sandbox can run them: their words, variables and pipes; and what it refuses. */
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Command, CommandInput, CommandOptions, StandardCommand } from "effect/process/ChildProcess"
import * as Spawner from "effect/process/ChildProcessSpawner"
import { revealed, revealedAll } from "../revealed.ts"

const unfit = (description: string) =>
  Effect.fail(PlatformError.badArgument({ module: "ChildProcess", method: "spawn", description }))

/** Fails for what would join a command with this process: its descriptors. */
const refuse = ({ additionalFds, stderr, stdin, stdout }: CommandOptions) => {
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
const flatten = (
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

/**
 * A spawner of commands that `start` starts, each with a pipe for its input; `hasInput` is false for one whose input has ended
 * at once. Joins what a command reads to its pipe.
 */
export const spawner = (
  start: (
    command: StandardCommand,
    hasInput: boolean
  ) => Effect.Effect<Spawner.ChildProcessHandle, PlatformError.PlatformError, Scope.Scope>
): Spawner.ChildProcessSpawner["Service"] =>
  Spawner.make((command) =>
    Effect.gen(function* () {
      let last: Spawner.ChildProcessHandle | undefined
      for (const { command: one, from } of yield* flatten(command)) {
        yield* refuse(one.options)
        const input = last === undefined ? inputOf(one.options) : last[from]
        last = yield* start(one, input !== "ignore")
        if (Stream.isStream(input)) yield* Effect.forkScoped(Effect.ignore(Stream.run(input, last.stdin)))
      }
      return last!
    })
  )

const inputOf = ({ stdin }: CommandOptions): CommandInput | undefined =>
  typeof stdin !== "object" || Stream.isStream(stdin) ? stdin : stdin.stream

/** The words of a command. */
export const wordsOf = ({
  args,
  command,
  options: { shell }
}: StandardCommand): readonly [string, ...Array<string>] => {
  const words = args.map(revealed)
  if (shell === undefined || shell === false) return [command, ...words]
  return [typeof shell === "string" ? shell : "sh", "-c", [command, ...words].join(" ")]
}

/** The variables that a command names. */
export const variablesOf = ({ options: { env } }: StandardCommand): Readonly<Record<string, string>> => revealedAll(env)
