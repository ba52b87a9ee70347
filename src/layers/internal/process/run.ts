/**
 * Commands on this machine: with an environment and an empty home directory of their own, in a process group that is gone
 * when they are, and on Linux with what has left the group.
 */
import { randomUUID } from "node:crypto"
import * as path from "node:path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Collect from "./collect.ts"
import { environment, makeHome, removeHome } from "./environment.ts"
import { notStarted } from "./failures.ts"
import { variablesOf, wordsOf } from "./plainCommand.ts"
import * as Spawner from "./spawner.ts"

export type { Ended, NotRun, Task } from "./collect.ts"

/** Names a run of a command in the environment of all processes that it starts. */
const markName = "TROUPE_RUN"

/** Where commands run. */
export interface CommandPlace {
  /** The directory of a command, of the one that it names. */
  readonly directoryOf: (cwd: string | undefined) => string
  /** Variables for each command; its own win over them. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** A spawner of commands on this machine. */
export const spawner = ({ directoryOf, env: common = {} }: CommandPlace) =>
  Spawner.make(
    Effect.fnUntraced(function* (command) {
      const [name, ...args] = wordsOf(command)
      const cwd = directoryOf(command.options.cwd)
      const env = { ...common, ...variablesOf(command) }
      const home = env["HOME"] ?? (yield* ownHome)
      // By it processes are found and killed: it must be unique, which the values of a seeded Random are not.
      const id = randomUUID()
      return {
        name,
        command: name,
        args,
        cwd,
        env: { ...environment({ cwd, env }, home), [markName]: id },
        mark: `${markName}=${id}`
      }
    })
  )

/** A home directory of a command whose caller gives it none. */
const ownHome = Effect.acquireRelease(
  Effect.try({
    try: makeHome,
    catch: (cause) => {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown"
      return notStarted("Unstartable", `no directory can be made for its HOME (${code})`)
    }
  }),
  (home) => Effect.sync(() => removeHome(home))
)

const anywhere = spawner({ directoryOf: (cwd) => path.resolve(cwd ?? ".") })

/**
 * Runs a command in any directory. Its timeout and interruption kill its process group, and on Linux what has left the group;
 * they end when all of it and the home directory are gone.
 */
export const run = (task: Collect.Task, timeout: Duration.Duration): Effect.Effect<Collect.Ended, Collect.NotRun> =>
  Collect.run(anywhere, task, timeout)
