/** The end of a server, as its calls see it: they are interrupted first, so that each can still be answered. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type Answer, errorResult } from "./tool.ts"

/** The end of a server. */
export interface Closing {
  /** Begins the end. */
  readonly close: Effect.Effect<void>
  /** The same, for a callback. */
  readonly closeUnsafe: () => void
  /** Waits for it. */
  readonly closed: Effect.Effect<void>
  /** A call that is interrupted when the server ends, and answers with that reason. */
  readonly guard: <E, R>(call: Effect.Effect<Answer, E, R>) => Effect.Effect<Answer, E, R>
}

/** The end of one server. */
export const make: Effect.Effect<Closing> = Effect.map(Deferred.make<void>(), (deferred) => ({
  close: Effect.asVoid(Deferred.succeed(deferred, undefined)),
  closeUnsafe: () => {
    Deferred.doneUnsafe(deferred, Exit.void)
  },
  closed: Deferred.await(deferred),
  guard: (call) =>
    Effect.raceFirst(call, Effect.as(Deferred.await(deferred), errorResult("The server ended before the run did.")))
}))
