/** A connection that comes back when it is lost: one session at a time, and one that is being closed. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { McpConnectError } from "./errors.ts"
import type { Down, Session } from "./session.ts"
import type { UserAuthorization } from "./userAuthorization.ts"

/** What a connection is opened and kept up by. */
export interface LifelineParts {
  /** One attempt. `ended` has to be called as soon as its session ends. */
  readonly open: (ended: () => void) => Effect.Effect<Session, Down, Scope.Scope>
  /** How long an attempt may take, without the time in which the user is asked. */
  readonly connectTimeout: Duration.Duration
  readonly user: Pick<UserAuthorization, "asked" | "isAsking">
  readonly reconnect: Schedule.Schedule<unknown, McpConnectError> | "none" | undefined
  /** The error of an attempt that is closed, or of a connection that has ended. */
  readonly error: (why: Down) => McpConnectError
  /** Logs the end of a connection. */
  readonly gone: (why: Down) => Effect.Effect<void>
}

/** A connection over all its sessions. */
export interface Lifeline {
  /** The first attempt. */
  readonly first: Result.Result<Session, McpConnectError>
  /** The session of now, if there is one. */
  readonly session: () => Session | undefined
  /** Waits for a session. Fails when no further attempt is made. */
  readonly next: Effect.Effect<Session, McpConnectError>
  /** Keeps the connection up until the scope closes. */
  readonly supervise: Effect.Effect<void, never, Scope.Scope>
}

interface Up {
  readonly session: Session
  readonly scope: Scope.Closeable
}
type State =
  | { readonly _tag: "Up"; readonly up: Up }
  | { readonly _tag: "Down"; readonly next: Deferred.Deferred<Up, McpConnectError> }

const down = (): State => ({ _tag: "Down", next: Deferred.makeUnsafe() })

const defaultReconnect = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("30 seconds")])

/** Fails once an attempt takes too long. The time that the user takes is not the server's. */
const late = (parts: Pick<LifelineParts, "connectTimeout" | "user">): Effect.Effect<never, Down> =>
  Effect.suspend(() => {
    const { connectTimeout, user } = parts
    const before = user.asked()
    return Effect.flatMap(Effect.sleep(connectTimeout), () => {
      if (user.isAsking() || user.asked() > before) return late(parts)
      const message = `it did not answer within ${Duration.format(connectTimeout)}`
      return Effect.fail<Down>({
        problem: { message, code: undefined, kind: "other", executed: "unknown" },
        end: undefined
      })
    })
  })

/** Makes the first attempt. What is open is closed with the scope. */
export const make = (parts: LifelineParts): Effect.Effect<Lifeline, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Closed after what keeps the connection up has ended.
    const sessions = yield* Scope.fork(yield* Effect.scope)
    let state = down()
    const ended = () => {
      if (state._tag === "Up") state = down()
    }
    /** One attempt. What it has opened is closed again when it fails or is interrupted. */
    const establish: Effect.Effect<Up, McpConnectError> = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.fork(sessions)
        const attempt = Scope.provide(parts.open(ended), scope)
        const session = yield* restore(Effect.raceFirst(attempt, late(parts))).pipe(
          Effect.onError(() => Scope.close(scope, Exit.void)),
          Effect.mapError(parts.error)
        )
        const up = { session, scope }
        const before = state
        state = { _tag: "Up", up }
        if (before._tag === "Down") Deferred.doneUnsafe(before.next, Effect.succeed(up))
        return up
      })
    )
    /** Waits for the end of a session, and closes it. */
    const lost = Effect.fnUntraced(function* ({ scope, session }: Up) {
      const why = yield* session.down
      // It may have ended before it was known to be up.
      ended()
      yield* Effect.uninterruptible(Scope.close(scope, Exit.void))
      yield* parts.gone(why)
      return parts.error(why)
    })
    const { reconnect = defaultReconnect } = parts
    /** Tries again for as long as the options say. Fails with the last problem. */
    const comeBack = (why: McpConnectError): Effect.Effect<Up, McpConnectError> =>
      reconnect === "none"
        ? Effect.fail(why)
        : Effect.retry(Effect.delay(establish, "100 millis"), Schedule.jittered(reconnect))
    const supervise = Effect.fnUntraced(function* (first: Result.Result<Up, McpConnectError>) {
      let current = first
      while (true) {
        const why = Result.isSuccess(current) ? yield* lost(current.success) : current.failure
        current = yield* Effect.result(comeBack(why))
        if (Result.isSuccess(current)) continue
        if (state._tag === "Down") Deferred.doneUnsafe(state.next, Effect.fail(current.failure))
        return
      }
    })
    const first = yield* Effect.result(establish)
    return {
      first: Result.map(first, ({ session }) => session),
      session: () => (state._tag === "Up" ? state.up.session : undefined),
      next: Effect.suspend(() =>
        state._tag === "Up"
          ? Effect.succeed(state.up.session)
          : Effect.map(Deferred.await(state.next), ({ session }) => session)
      ),
      supervise: Effect.asVoid(Effect.forkScoped(supervise(first)))
    }
  })
