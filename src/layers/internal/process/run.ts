/**
 * Runs one command as an Effect: whoever interrupts it goes on when the command and its group are gone. The process is
 * `child.ts`'s, in this thread, or in the I/O thread of the sync edge.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Program from "../../../internal/io/program.ts"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import { type Command, type Ended, type FromProcess, host, program, type ToProcess } from "./child.ts"
import { processGroup } from "./group.ts"

export type { Command, Ended }

/** Why it was not run, or not to its end. */
export interface NotRun {
  /** `Edge`: nothing can wait for it here. `Lost`: nobody could wait for its end, and it was killed. */
  readonly reason: "Edge" | "Unstartable" | "Lost" | "Timeout"
  readonly detail: string
  /** How it ended when it was killed by the timeout. */
  readonly ended?: Ended | undefined
}

/** Runs a command. Its timeout and interruption kill its process group, and end when that is gone. */
export const run = (command: Command, timeout: Duration.Duration): Effect.Effect<Ended, NotRun> =>
  Effect.suspend(() => {
    let last: Ended | undefined
    const attended = attend(command, (ended) => {
      last = ended
    })
    return Effect.timeoutOrElse(attended, {
      duration: timeout,
      orElse: () => {
        const detail = `it took longer than ${Duration.format(timeout)} and was killed`
        return Effect.fail<NotRun>({ reason: "Timeout", detail, ended: last })
      }
    })
  })

/** Starts a process and waits for its end. Interruption kills it; `onEnd` hears of its end in any case. */
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
    const settle = (made: Effect.Effect<Ended, NotRun>) => {
      outcome ??= made
      wake()
    }
    const hear = (message: FromProcess) => {
      if (message.type === "unstartable") {
        const program = path.basename(command.command)
        const detail = `it cannot be started (${message.code}); is "${program}" there, and may it be run?`
        return settle(Effect.fail({ reason: "Unstartable", detail }))
      }
      onEnd(message)
      settle(Effect.succeed(message))
    }
    /** Waits for the end, and leaves it be. */
    const end = Effect.callback<Ended, NotRun>((resume) => {
      wake = () => {
        if (outcome !== undefined) resume(outcome)
      }
      wake()
    })
    return yield* Effect.acquireUseRelease(
      sync ? inIoThread(hear, settle) : Effect.sync(() => inThisThread(hear)),
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

const inThisThread = (hear: (message: FromProcess) => void): Line => ({
  send: host({ spawn, fs, processGroup }, hear),
  wait: (effect) => effect,
  release: Effect.void
})

const inIoThread = (
  hear: (message: FromProcess) => void,
  settle: (outcome: Effect.Effect<Ended, NotRun>) => void
): Effect.Effect<Line> =>
  Program.start(program(), (heard) => {
    if (heard._tag === "Message") hear(heard.message as FromProcess)
    // The thread's guard has killed it.
    else settle(Effect.fail({ reason: "Lost", detail: `nobody could wait for its end: ${heard.message}` }))
  })
