/** The end of a server, as its calls see it: they are interrupted first, so that each can still be answered. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { type Answer, errorResult } from "./tool.ts"

/** The end of a server: done as it begins. */
export type Closing = Deferred.Deferred<void>

/** A call that is interrupted when the server ends, and answers with that reason. */
export const guard = <E, R>(closing: Closing, call: Effect.Effect<Answer, E, R>): Effect.Effect<Answer, E, R> =>
  Effect.raceFirst(call, Effect.as(Deferred.await(closing), errorResult("The server ended before the run did.")))
