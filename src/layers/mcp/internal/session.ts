/** One live connection to a server, as Effects: requests, what the server asks, and how it ends. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Asking from "./asking.ts"
import * as Channel from "./channel.ts"
import * as PendingCalls from "./pendingCalls.ts"
import type { FromHost, Problem, ProcessEnd, ServerInfo, Spec } from "./protocol.ts"

/** Why a connection could not be opened, or has ended. */
export interface Down {
  readonly problem: Problem
  readonly end: ProcessEnd | undefined
}

/** A connection that is up. */
export interface Session {
  readonly info: ServerInfo
  readonly pid: number | undefined
  readonly request: (
    method: string,
    params: unknown,
    options: PendingCalls.CallOptions
  ) => Effect.Effect<unknown, PendingCalls.CallFailed>
  readonly notify: (method: string, params?: Record<string, unknown>) => Effect.Effect<void>
  /** Waits for the end of the connection. */
  readonly down: Effect.Effect<Down>
}

/** How many notifications may wait to be read: a server must not fill the memory with them. */
const maxWaitingNotifications = 10_000

/** The state of a connection so far, and its messages that are not handled yet. */
interface Inbox {
  readonly receive: (message: FromHost) => void
  readonly opened: Deferred.Deferred<Pick<Session, "info" | "pid">, Down>
  readonly down: Deferred.Deferred<Down>
  readonly closed: Deferred.Deferred<void>
  readonly next: Effect.Effect<Asking.Event>
}

const inboxOf = Effect.fnUntraced(function* (pending: PendingCalls.PendingCalls, answers: Asking.Answers) {
  const opened = Deferred.makeUnsafe<Pick<Session, "info" | "pid">, Down>()
  const down = Deferred.makeUnsafe<Down>()
  const closed = Deferred.makeUnsafe<void>()
  const events = yield* Queue.unbounded<Asking.Event>()
  let notifications = 0
  const end = (why: Down): void => {
    if (!Deferred.doneUnsafe(down, Effect.succeed(why))) return
    answers.ended()
    pending.failAll(why.problem)
  }
  const receive = (message: FromHost): void => {
    switch (message.type) {
      case "opened":
        Deferred.doneUnsafe(opened, Effect.succeed(message))
        return
      case "openFailed":
        Deferred.doneUnsafe(opened, Effect.fail(message))
        return
      case "down":
        end(message)
        return
      case "closed":
        answers.closed(message.stderr)
        Deferred.doneUnsafe(closed, Effect.void)
        return
      case "result":
      case "progress":
        pending.receive(message)
        return
      case "failed":
        pending.receive(message)
        if (message.ends) end({ problem: { ...message.problem, executed: "unknown" }, end: undefined })
        return
      case "notification":
        if (notifications >= maxWaitingNotifications) return
        notifications++
        Queue.offerUnsafe(events, message)
        return
      default:
        Queue.offerUnsafe(events, message)
    }
  }
  const next = Effect.tap(Queue.take(events), ({ type }) =>
    Effect.sync(() => {
      if (type === "notification") notifications--
    })
  )
  return { receive, opened, down, closed, next } satisfies Inbox
})

/**
 * Connects. Closing the scope ends the connection, and with it the server's process: it is over when the scope is
 * closed. Interrupting a request sends `notifications/cancelled`.
 */
export const connect = (
  spec: Spec,
  client: { readonly name: string; readonly version: string },
  answers: Asking.Answers
): Effect.Effect<Session, Down, Scope.Scope> =>
  Effect.gen(function* () {
    const pending = PendingCalls.make()
    const { closed, down, next, opened, receive } = yield* inboxOf(pending, answers)
    const channel = yield* Effect.acquireRelease(Channel.open(receive, spec.kind === "memory"), (channel) =>
      Effect.suspend(() => {
        channel.send({ type: "close" })
        return Effect.andThen(channel.wait(Deferred.await(closed)), channel.release)
      })
    ).pipe(
      Effect.mapError((message): Down => ({
        problem: { message, code: undefined, kind: "usage", executed: "unknown" },
        end: undefined
      }))
    )
    const asking = yield* Asking.make(channel.send, answers, pending.asking)
    const handleNext = Effect.flatMap(next, (event) =>
      // One that fails must not stop the ones after it.
      Effect.catchDefect(
        Effect.suspend(() => asking.handle(event)),
        (defect) => Effect.logError(`What an MCP server said failed unexpectedly (${event.type})`, defect)
      )
    )
    yield* Effect.forkScoped(Effect.forever(handleNext))

    const { name, version } = client
    channel.send({ type: "open", spec, client: { name, version }, capabilities: answers.capabilities })
    const { info, pid } = yield* channel.wait(Deferred.await(opened))
    const line: PendingCalls.Line = { channel, pending, asking }
    return {
      info,
      pid,
      down: Deferred.await(down),
      notify: (method, params) =>
        Effect.sync(() => channel.send({ type: "notify", method, ...(params === undefined ? {} : { params }) })),
      request: (method, params, options) =>
        Effect.suspend(() => {
          if (!Deferred.isDoneUnsafe(down)) return PendingCalls.request(line, method, params, options)
          const message = "the connection has ended"
          const problem: Problem = { message, code: undefined, kind: "connection", executed: "no" }
          return Effect.fail<PendingCalls.CallFailed>({ problem, timedOut: false })
        })
    }
  })
