/**
 * Runs one command as an Effect, in this thread, or in the I/O thread of the sync edge. Its interruption ends when the
 * command and its group are gone.
 */
import { randomUUID } from "node:crypto"
import * as path from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Program from "../io/program.ts"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import { type Command, type Ended, type FromProcess, host, type ToProcess } from "./child.ts"
import { source as childProgram } from "./childProgram.generated.ts"
import { environment, makeHome, removeHome, type Surroundings } from "./environment.ts"

export type { Ended }

/** Why a command was not run, or was ended early. */
export interface NotRun {
  /** `Edge`: `Effect.runSync` cannot wait for it. `Lost`: the thread that ran it is gone, and it was killed. */
  readonly reason: "Edge" | "Unstartable" | "Lost" | "Timeout"
  readonly detail: string
  /** How it ended when it was killed by the timeout. */
  readonly ended?: Ended | undefined
}

/** The command, and its caller's additions to the environment. */
export interface Task extends Omit<Command, "env" | "mark" | "cwd">, Surroundings {}

/**
 * Runs a command with an environment and an empty home directory of its own. Its timeout and interruption kill its process
 * group, and on Linux what has left the group; they end when all of it and the home directory are gone.
 */
export const run = (task: Task, timeout: Duration.Duration): Effect.Effect<Ended, NotRun> =>
  Effect.suspend(() => {
    let last: Ended | undefined
    const attended = withHome(task, (home) => {
      // By it processes are found and killed: it must be unique, which the values of a seeded Random are not.
      const id = randomUUID()
      const env = { ...environment(task, home), [markName]: id }
      return attend({ ...task, env, mark: `${markName}=${id}` }, (ended) => {
        last = ended
      })
    })
    return Effect.timeoutOrElse(attended, {
      duration: timeout,
      orElse: () => {
        const detail = `it took longer than ${Duration.format(timeout)} and was killed`
        return Effect.fail<NotRun>({ reason: "Timeout", detail, ended: last })
      }
    })
  })

/** Names a run of a command in the environment of all processes that it starts. */
const markName = "TROUPE_RUN"

/** Makes a home directory for a command whose caller gives it none, and removes it afterwards. */
const withHome = ({ env }: Task, use: (home: string) => Effect.Effect<Ended, NotRun>): Effect.Effect<Ended, NotRun> =>
  env["HOME"] === undefined
    ? Effect.acquireUseRelease(
        Effect.try({
          try: makeHome,
          catch: (cause): NotRun => {
            const code = (cause as NodeJS.ErrnoException).code ?? "unknown"
            return { reason: "Unstartable", detail: `no directory can be made for its HOME (${code})` }
          }
        }),
        use,
        (home) => Effect.sync(() => removeHome(home))
      )
    : use(env["HOME"])

/** Starts a process and waits for its end. Interruption kills it; `onEnd` is called with its end in any case. */
const attend = (command: Command, onEnd: (ended: Ended) => void): Effect.Effect<Ended, NotRun> =>
  Effect.gen(function* () {
    const sync = yield* isSync
    const bridge = yield* SyncBridge
    if (sync && bridge === undefined) {
      const detail = "Effect.runSync needs the sync edge to run it; provide SyncEdge.layer, or use Effect.runPromise"
      return yield* Effect.fail<NotRun>({ reason: "Edge", detail })
    }
    let outcome: Effect.Effect<Ended, NotRun> | undefined
    let wake = () => {}
    const settle = (result: Effect.Effect<Ended, NotRun>) => {
      outcome ??= result
      wake()
    }
    const receive = (message: FromProcess) => {
      if (message.type === "unstartable") {
        const program = path.basename(command.command)
        const detail = `it cannot be started (${message.code}); is "${program}" there, and may it be run?`
        return settle(Effect.fail({ reason: "Unstartable", detail }))
      }
      onEnd(message)
      settle(Effect.succeed(message))
    }
    /** Waits for the end; interrupting this does not kill the process. */
    const end = Effect.callback<Ended, NotRun>((resume) => {
      wake = () => {
        if (outcome !== undefined) resume(outcome)
      }
      wake()
    })
    return yield* Effect.acquireUseRelease(
      sync ? inIoThread(receive, settle) : Effect.sync(() => inThisThread(receive)),
      ({ send, wait }) => {
        send({ type: "run", command })
        return wait(end)
      },
      ({ release, send, wait }) =>
        Effect.suspend(() => {
          if (outcome !== undefined) return release
          send({ type: "kill" })
          return Effect.andThen(Effect.exit(wait(end)), release)
        })
    )
  })

interface Line {
  readonly send: (message: ToProcess) => void
  readonly wait: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  readonly release: Effect.Effect<void>
}

const inThisThread = (receive: (message: FromProcess) => void): Line => ({
  send: host(receive),
  wait: (effect) => effect,
  release: Effect.void
})

const inIoThread = (
  receive: (message: FromProcess) => void,
  settle: (outcome: Effect.Effect<Ended, NotRun>) => void
): Effect.Effect<Line> =>
  Program.start(childProgram, undefined, (received) => {
    if (received._tag === "Message") receive(received.message as FromProcess)
    // The thread's guard has killed it.
    else
      settle(
        Effect.fail({ reason: "Lost", detail: `it was killed, as the thread that ran it is gone: ${received.message}` })
      )
  })
