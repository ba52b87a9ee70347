/** A turn: a message of the person at the editor, and the run that answers it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Prompt from "effect/ai/Prompt"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { messageOf as errorText } from "../../../../internal/message.ts"
import { conversation, inputOf } from "../../../../internal/runnerSchemas.ts"
import { stripControls } from "../../../../internal/text.ts"
import * as RunError from "../../../../RunError.ts"
import type { RunEvent } from "../../../../RunEvent.ts"
import * as Runner from "../../../../Runner.ts"
import { CurrentApprover } from "../../../../services/Approver.ts"
import * as Store from "../../../../services/SessionStore.ts"
import { CurrentSession } from "./currentSession.ts"
import { messageOf } from "./promptInput.ts"
import { codes, failure, type Peer, refuse, type RpcFailure } from "./rpc.ts"
import type { Content } from "./schema.ts"
import { make as makeAsking } from "./serverApprover.ts"
import { type Session, withStore } from "./serverSessions.ts"
import { updatesOf } from "./updates.ts"

/** A runner whose types were checked where it was given, and whose services are in the context of the server. */
export type ServedAgent = Runner.Runner<Prompt.RawInput, unknown, unknown, never>

/** Whether a runner takes a conversation, and not only a text. */
export const takesConversation = (runner: Runner.Any): boolean => inputOf(runner) === conversation

/** What a turn is taken with. */
export interface Turning {
  readonly runner: ServedAgent
  readonly peer: Pick<Peer<never>, "request" | "notify">
  readonly session: Session
  /** What the turn ends with, also where the request for it is gone. */
  readonly scope: Scope.Scope
}

/** Takes a turn. Interrupting it, and `session/cancel`, interrupt the run. */
export const take = (
  turning: Turning,
  content: ReadonlyArray<Content>
): Effect.Effect<{ readonly stopReason: string }, RpcFailure> =>
  Effect.gen(function* () {
    const { runner, scope, session } = turning
    if (session.turn !== undefined) return yield* refuse(codes.invalidRequest, "A turn of the session is under way.")
    const message = yield* messageOf(content, takesConversation(runner))
    const fiber = yield* Effect.forkIn(
      Effect.suspend(() => run(turning, message)),
      scope
    )
    session.turn = fiber
    const exit = yield* Fiber.await(fiber).pipe(
      Effect.onInterrupt(() => Fiber.interrupt(fiber)),
      Effect.ensuring(
        Effect.sync(() => {
          session.turn = undefined
        })
      )
    )
    if (Exit.isSuccess(exit)) return { stopReason: "end_turn" }
    if (Cause.hasInterruptsOnly(exit.cause)) return { stopReason: "cancelled" }
    const error = Cause.squash(exit.cause)
    // An editor has no answer but to permissions: what waits for another one would block the session.
    if (error instanceof RunError.RunSuspended) yield* Effect.ignore(withStore(Store.giveUp(session.id)))
    return yield* stopped(error)
  })

/** Limits are ends of a turn; what else goes wrong is an error, in the words for the person who runs the program. */
const stopped = (error: unknown): Effect.Effect<{ readonly stopReason: string }, RpcFailure> => {
  if (error instanceof RunError.MaxStepsExceeded) return Effect.succeed({ stopReason: "max_turn_requests" })
  if (error instanceof RunError.OutputTruncated) return Effect.succeed({ stopReason: "max_tokens" })
  if (error instanceof RunError.ModelRefused) return Effect.succeed({ stopReason: "refusal" })
  return Effect.fail(failure(codes.internal, stripControls(errorText(error)).slice(0, 2000)))
}

const run = (turning: Turning, message: Prompt.UserMessage): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const { peer, session } = turning
    const { input, runner } = yield* begun(turning, message)
    const asking = yield* makeAsking(peer, session)
    const updates = updatesOf()
    // The end of an interrupted run reaches observers, and not the reader of its stream.
    const kept = Runner.onEvent(runner, (event) => Effect.sync(() => keep(session, event)))
    yield* Stream.runForEach(kept.stream(input), (event) =>
      Effect.andThen(
        Effect.forEach(updates(event), (update) => peer.notify("session/update", { sessionId: session.id, update }), {
          discard: true
        }),
        asking.sent(event)
      )
    ).pipe(
      Effect.provideService(CurrentApprover, asking.approver),
      Effect.provideService(CurrentSession, { id: session.id, cwd: session.cwd })
    )
  })

/** The conversation as a turn leaves it. One that failed leaves it as it was. */
const keep = (session: Session, event: RunEvent): void => {
  if (event.path.length > 1 || (event._tag !== "RunCompleted" && event._tag !== "RunInterrupted")) return
  if (event.transcript !== undefined) session.history = Prompt.make(event.transcript.content as Prompt.RawInput)
}

/** The runner and its input: a turn of a session that is kept where there is a store, else with the conversation so far. */
const begun = (
  { runner, session }: Turning,
  message: Prompt.UserMessage
): Effect.Effect<{ readonly runner: ServedAgent; readonly input: Prompt.RawInput }> =>
  Effect.gen(function* () {
    const own = Prompt.fromMessages([message])
    const store = yield* Effect.serviceOption(Store.SessionStore)
    const text = message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
    if (Option.isSome(store)) {
      const { keptIn } = yield* Effect.promise(() => import("./keptSession.ts"))
      return { runner: keptIn(runner, session.id), input: takesConversation(runner) ? own : text }
    }
    return takesConversation(runner) ? { runner, input: Prompt.concat(session.history, own) } : { runner, input: text }
  })

/** Interrupts the turn of a session. */
export const cancel = ({ turn }: Session): Effect.Effect<void> =>
  turn === undefined ? Effect.void : Effect.asVoid(Fiber.interrupt(turn))
