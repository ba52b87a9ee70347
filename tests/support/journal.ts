/** Journals in memory, and what tests know of a run's identity. */
import { Cause, Deferred, Effect, Exit, Fiber, Option, type Schema } from "effect"
import { Runner } from "troupe"
import * as Journal from "../../src/services/Journal.ts"

/** The ids of a run and of the runs nested in it, in the order in which they began, with `ROOT` for that of the root. */
export const idsOf = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.suspend(() => {
    const ids: Array<string> = []
    const watched = Runner.onEvent(runner, (event) =>
      Effect.sync(() => {
        if (event._tag === "RunStarted") ids.push(event.runId)
      })
    )
    return Effect.map(watched.run(input), () => ids.map((id) => id.replace(ids[0]!, "ROOT")))
  })

/** When a run is killed: as a step begins, in the midst of it, or once it is kept. */
export type Moment = "before" | "within" | "after"

/** A journal in memory, which can kill the run at one of its steps. */
export class MemoryJournal {
  readonly kept = new Map<string, { readonly ok: Schema.Json } | { readonly error: Schema.Json }>()
  /** The steps that ran to their end, in order. */
  readonly ended: Array<Journal.Step> = []
  readonly sent: Array<{ readonly name: string; readonly payload: Schema.Json }> = []
  readonly refused: Array<string> = []
  isSuspending = false
  readonly #canLook: boolean

  /** `canLook`: whether it says what is kept of a decision. */
  constructor(canLook = true) {
    this.#canLook = canLook
  }

  /** The journal of one attempt, which `kill` ends at its `at`th step. */
  attempt(kill?: { readonly at: number; readonly moment: Moment; readonly now: () => void }): Journal.Journal {
    this.isSuspending = false
    let count = 0
    let isDead = false
    const ending = (moment: Moment, at: number) =>
      Effect.suspend(() => {
        if (kill === undefined || kill.at !== at || kill.moment !== moment) return Effect.void
        isDead = true
        kill.now()
        // What is kept is kept, also for work that cannot be interrupted: that goes on to its end.
        return Effect.withFiber((fiber) =>
          moment === "after" && !(fiber as unknown as { readonly interruptible: boolean }).interruptible
            ? Effect.void
            : Effect.interruptible(Effect.never)
        )
      })
    const journal: Journal.Journal = {
      rootId: "root",
      run: (step, effect) =>
        Effect.suspend((): Effect.Effect<Schema.Json, Schema.Json> => {
          if (isDead) return Effect.never
          const known = this.kept.get(step.key)
          if (known !== undefined) return "ok" in known ? Effect.succeed(known.ok) : Effect.fail(known.error)
          const at = count++
          const running = Effect.onExit(Effect.andThen(ending("within", at), effect), (exit) =>
            Effect.sync(() => {
              if (isDead) return
              if (Exit.isSuccess(exit)) this.#keep(step, { ok: exit.value })
              else if (exit.cause.reasons.length === 1 && Cause.isFailReason(exit.cause.reasons[0]!)) {
                this.#keep(step, { error: exit.cause.reasons[0].error })
              }
            })
          )
          return Effect.andThen(
            ending("before", at),
            Effect.flatMap(Effect.exit(running), (exit) => Effect.andThen(ending("after", at), exit))
          )
        }),
      suspending: Effect.sync(() => this.isSuspending),
      suspend: Effect.suspend(() => {
        this.isSuspending = true
        return Effect.interrupt
      }),
      signal: (step, problemWith) =>
        Effect.suspend(() => {
          const known = this.kept.get(step.key)
          if (known !== undefined && "ok" in known) return Effect.succeed(known.ok)
          for (;;) {
            const index = this.sent.findIndex(({ name }) => name === step.name)
            if (index < 0) return journal.suspend
            const { payload } = this.sent.splice(index, 1)[0]!
            const problem = problemWith(payload)
            if (problem === undefined) {
              this.#keep(step, { ok: payload })
              return Effect.succeed(payload)
            }
            this.refused.push(problem)
          }
        })
    }
    if (!this.#canLook) return journal
    const before = this.ended.flatMap(({ key, kind, name }) => {
      const known = this.kept.get(key)
      return kind === "decision" && known !== undefined && "ok" in known ? [{ key, name, value: known.ok }] : []
    })
    return {
      ...journal,
      earlier: (name) => before.filter((one) => one.name === name),
      kept: ({ key }) =>
        Effect.sync(() => {
          const known = this.kept.get(key)
          return known !== undefined && "ok" in known ? Option.some(known.ok) : Option.none()
        })
    }
  }

  #keep(step: Journal.Step, outcome: { readonly ok: Schema.Json } | { readonly error: Schema.Json }): void {
    // What is kept is written and read: nothing but JSON comes through.
    this.kept.set(step.key, JSON.parse(JSON.stringify(outcome)) as typeof outcome)
    this.ended.push(step)
  }
}

/** Runs a program with a journal until it ends or is killed; `undefined` once it was killed. */
export const attempt = <A, E, R>(
  program: Effect.Effect<A, E, R>,
  journal: MemoryJournal,
  kill?: { readonly at: number; readonly moment: Moment }
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  Effect.gen(function* () {
    let isKilled = false
    const killing = Deferred.makeUnsafe<void>()
    const now = () => {
      isKilled = true
      Deferred.doneUnsafe(killing, Effect.void)
    }
    const given = journal.attempt(kill === undefined ? undefined : { ...kill, now })
    // From outside, as a process is killed: what cannot be interrupted is not waited for, and keeps nothing.
    const fiber = yield* Effect.forkDetach(Effect.provideService(program, Journal.CurrentJournal, given))
    const killed = Effect.map(Deferred.await(killing), () => {
      fiber.interruptUnsafe()
      return undefined
    })
    const exit = yield* Effect.onInterrupt(Effect.raceFirst(Fiber.await(fiber), killed), () => Fiber.interrupt(fiber))
    return isKilled ? undefined : exit
  })
