/** Asks models one after the other, or the next one alongside a slow one, until one of them answers. */
import type * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isOthers, type Member } from "./members.ts"

type Ask<A> = (member: Member) => Effect.Effect<A, AiError.AiError>

/** Asks one after the other, as long as what fails is something that another model may do better. */
export const inTurn = <A>([first, ...others]: ReadonlyArray<Member>, ask: Ask<A>): Effect.Effect<A, AiError.AiError> =>
  others.reduce((asked, member) => Effect.catchIf(asked, isOthers, () => ask(member)), ask(first!))

/** As {@link inTurn}, and asks the next one too when one has not answered after `delay`. The first answer counts. */
export const hedged = <A>(
  members: ReadonlyArray<Member>,
  ask: Ask<A>,
  delay: Duration.Duration
): Effect.Effect<A, AiError.AiError> => {
  type Outcome = Exit.Exit<A, AiError.AiError>
  // What ends the race: an answer, or a failure that no other model changes.
  const at = (index: number): Effect.Effect<Outcome, AiError.AiError> => {
    const member = members[index]!
    const mine = ask(member).pipe(
      Effect.map((value): Outcome => Exit.succeed(value)),
      Effect.catch((error) => (isOthers(error) ? Effect.fail(error) : Effect.succeed<Outcome>(Exit.fail(error))))
    )
    if (index === members.length - 1) return mine
    return Effect.suspend(() => {
      const failed = Deferred.makeUnsafe<void>()
      const noted = Effect.tapError(mine, () => Deferred.succeed(failed, undefined))
      const next = Effect.raceFirst(Effect.sleep(delay), Deferred.await(failed)).pipe(Effect.andThen(at(index + 1)))
      return Effect.race(noted, next)
    })
  }
  return Effect.flatMap(at(0), (outcome) => outcome)
}

/** An answer that has begun. */
export interface Begun {
  readonly first: ReadonlyArray<Response.StreamPartEncoded>
  readonly rest: Pull.Pull<Arr.NonEmptyReadonlyArray<Response.StreamPartEncoded>, AiError.AiError>
}

/** Parts that come before a model has said anything. */
const isOpening = ({ type }: Response.StreamPartEncoded): boolean =>
  type === "response-metadata" || type === "text-start" || type === "reasoning-start"

/**
 * Opens a stream in the scope and waits for the first thing that the model says. What fails until then has not been shown to
 * anyone, and is closed at once.
 */
export const begin = (
  stream: Stream.Stream<Response.StreamPartEncoded, AiError.AiError>,
  scope: Scope.Scope
): Effect.Effect<Begun, AiError.AiError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const own = yield* Scope.fork(scope)
      const opened = Effect.gen(function* () {
        const rest = yield* Scope.provide(Stream.toPull(stream), own)
        const first: Array<Response.StreamPartEncoded> = []
        while (first.every(isOpening)) {
          const some = yield* Pull.catchDone(rest, () => Effect.undefined)
          if (some === undefined) break
          first.push(...some)
        }
        return { first, rest }
      })
      return yield* Effect.onError(restore(opened), (cause) => Scope.close(own, Exit.failCause(cause)))
    })
  )

/** The whole of an answer that has begun. */
export const goOn = ({ first, rest }: Begun): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> =>
  Stream.concat(Stream.fromIterable(first), Stream.fromPull(Effect.succeed(rest)))
