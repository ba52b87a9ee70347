/** Runs that go to sleep: they wait without a process, and go on where they wait when they are made again. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { CurrentJournal } from "../services/Journal.ts"

/** Goes to sleep. */
export const sleep: Effect.Effect<never> = Effect.flatMap(CurrentJournal, ({ suspend }) => suspend)

/** Whether an exit only says that the run goes to sleep, which is not a failure. */
export const isAsleep = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<boolean> =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
    ? Effect.flatMap(CurrentJournal, ({ suspending }) => suspending)
    : Effect.succeed(false)

/** The exit of an effect that runs in a fiber of its own: one that goes to sleep does not take the current fiber along. */
export const exitOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.exit(Effect.raceFirst(effect, Effect.never))
