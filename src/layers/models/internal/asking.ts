/** Asks models one after the other, or the next one alongside a slow one, until one of them answers. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import * as Exit from "effect/Exit"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isOthers, type Member } from "./members.ts"

/** The model that a step of the plan asks. */
class Asked extends Context.Service<Asked, Member>()("troupe/Fallback/Asked") {}

type Ask<A> = (member: Member) => Effect.Effect<A, AiError.AiError>

/** Asks one after the other, as long as what fails is something that another model may do better. */
export const inTurn = <A>(members: ReadonlyArray<Member>, ask: Ask<A>): Effect.Effect<A, AiError.AiError> => {
  const [first, ...others] = members.map((member) => ({
    provide: Context.make(Asked, member),
    attempts: 1,
    while: isOthers
  }))
  if (others.length === 0) return ask(members[0]!)
  const plan = ExecutionPlan.make(first!, ...others)
  return Effect.withExecutionPlan(Effect.flatMap(Asked, ask), plan)
}

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
  readonly rest: Pull.Pull<ReadonlyArray<Response.StreamPartEncoded>, AiError.AiError>
  readonly scope: Scope.Closeable
}

/** Parts that come before a model has said anything. */
const isOpening = ({ type }: Response.StreamPartEncoded): boolean =>
  type === "response-metadata" || type === "text-start" || type === "reasoning-start"

/** Opens a stream and waits for the first thing that the model says. What fails until then has not been shown to anyone. */
export const begin = (
  stream: Stream.Stream<Response.StreamPartEncoded, AiError.AiError>
): Effect.Effect<Begun, AiError.AiError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const opened = Effect.gen(function* () {
        const rest = yield* Scope.provide(Stream.toPull(stream), scope)
        const first: Array<Response.StreamPartEncoded> = []
        while (first.every(isOpening)) {
          const some = yield* Effect.catchCause(rest, (cause) => ended(cause))
          if (some === undefined) break
          first.push(...some)
        }
        return { first, rest, scope }
      })
      return yield* Effect.onExit(restore(opened), (exit) =>
        Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)
      )
    })
  )

const ended = (cause: Cause.Cause<AiError.AiError | Cause.Done>): Effect.Effect<undefined, AiError.AiError> => {
  const isEnd = cause.reasons.some((reason) => Cause.isFailReason(reason) && Cause.isDone(reason.error))
  return isEnd ? Effect.undefined : Effect.failCause(cause as Cause.Cause<AiError.AiError>)
}

/** The whole of an answer that has begun. */
export const goOn = ({ first, rest, scope }: Begun): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> => {
  const others = Stream.fromPull(
    Effect.succeed(
      rest as Pull.Pull<readonly [Response.StreamPartEncoded, ...Array<Response.StreamPartEncoded>], AiError.AiError>
    )
  )
  return Stream.ensuring(Stream.concat(Stream.fromIterable(first), others), Scope.close(scope, Exit.void))
}
