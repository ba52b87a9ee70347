/** One live connection to a server, as Effects: requests, what the server asks, and how it ends. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Channel from "./channel.ts"
import type { Capabilities, FromHost, OAuthState, Problem, ProcessEnd, ServerInfo, Spec } from "./protocol.ts"

/** Why a connection could not be opened, or has ended. */
export interface Down {
  readonly problem: Problem
  readonly end: ProcessEnd | undefined
}

/** What a server is answered when it asks something. */
export interface Answers {
  readonly capabilities: Capabilities
  /** Answers a request of the server; the text of a failure is sent to it. */
  readonly ask: (method: string, params: unknown) => Effect.Effect<unknown, string>
  readonly notified: (method: string, params: unknown) => Effect.Effect<void>
  /** Logs what the server sent that could not be used, or what the SDK noticed. */
  readonly reported: (level: "warning" | "debug", message: string) => Effect.Effect<void>
  /** Sends the user to an address and gives the code that comes back. */
  readonly authorize: (url: string) => Effect.Effect<string, string>
  readonly saveAuth: (state: OAuthState) => Effect.Effect<void>
  /** Called as soon as the connection ends. */
  readonly ended: () => void
  /** Called when the connection is closed, with the end of what a process wrote to stderr. */
  readonly closed: (stderr: string | undefined) => void
}

/** How one request is made. */
export interface CallOptions {
  /** How long the server may be silent; progress counts as a sign of life. */
  readonly timeout: Duration.Duration
  readonly onProgress?: ((progress: unknown) => Effect.Effect<void>) | undefined
  /** Run as a task, for tools that run in no other way. */
  readonly task?: boolean | undefined
}

/** Why a request failed. */
export interface CallFailed {
  readonly problem: Problem
  readonly timedOut: boolean
}

/** A connection that is up. */
export interface Session {
  readonly info: ServerInfo
  readonly pid: number | undefined
  readonly request: (method: string, params: unknown, options: CallOptions) => Effect.Effect<unknown, CallFailed>
  readonly notify: (method: string, params?: unknown) => Effect.Effect<void>
  /** Waits for the end of the connection. */
  readonly down: Effect.Effect<Down>
}

type Reply = Extract<FromHost, { readonly type: "result" | "failed" | "progress" }>
type Event = Extract<
  FromHost,
  { readonly type: "report" | "ask" | "askEnded" | "notification" | "authorize" | "oauth" }
>

/**
 * Connects. Closing the scope ends the connection, and with it the server's process: it is over when the scope is
 * closed. Interrupting a request sends `notifications/cancelled`.
 */
export const connect = (
  spec: Spec,
  client: { readonly name: string; readonly version: string },
  answers: Answers
): Effect.Effect<Session, Down, Scope.Scope> =>
  Effect.gen(function* () {
    const opened = Deferred.makeUnsafe<{ readonly info: ServerInfo; readonly pid: number | undefined }, Down>()
    const down = Deferred.makeUnsafe<Down>()
    const closed = Deferred.makeUnsafe<void>()
    const calls = new Map<number, Queue.Queue<Reply>>()
    const events = yield* Queue.unbounded<Event>()
    const end = (why: Down): void => {
      if (!Deferred.doneUnsafe(down, Effect.succeed(why))) return
      answers.ended()
      const { problem } = why
      for (const [id, queue] of calls) Queue.offerUnsafe(queue, { type: "failed", id, problem, ends: false })
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
        case "failed":
        case "progress": {
          const queue = calls.get(message.id)
          if (queue !== undefined) Queue.offerUnsafe(queue, message)
          if (message.type === "failed" && message.ends) {
            end({ problem: { ...message.problem, executed: "unknown" }, end: undefined })
          }
          return
        }
        default:
          Queue.offerUnsafe(events, message)
      }
    }
    const channel = yield* Effect.acquireRelease(Channel.open(receive, spec.kind === "memory"), (channel) =>
      Effect.suspend(() => {
        channel.send({ type: "close" })
        return Effect.andThen(channel.wait(Deferred.await(closed)), channel.release)
      })
    ).pipe(Effect.mapError((message): Down => ({ problem: { ...local(message), kind: "usage" }, end: undefined })))

    /** What the server gets in place of an answer. A defect is the program's own, so it is logged there. */
    const said = (cause: Cause.Cause<string>): Effect.Effect<string> => {
      const failure = Cause.findFail(cause)
      if (Result.isSuccess(failure)) return Effect.succeed(failure.success.error)
      if (Cause.hasInterruptsOnly(cause)) return Effect.succeed("it was interrupted")
      return Effect.as(
        Effect.logError("An answer to an MCP server failed unexpectedly", cause),
        "it failed unexpectedly"
      )
    }
    const asked = yield* FiberMap.make<number, void>()
    let answered = 0
    const serve = (event: Event): Effect.Effect<void> => {
      switch (event.type) {
        case "ask": {
          const { id } = event
          const answer = Effect.matchCauseEffect(
            Effect.suspend(() => answers.ask(event.method, event.params)),
            {
              onSuccess: (result) =>
                Effect.sync(() => {
                  answered++
                  channel.send({ type: "answer", id, result })
                }),
              onFailure: (cause) =>
                Effect.map(said(cause), (message) => channel.send({ type: "refuse", id, code: -32603, message }))
            }
          )
          const replied = Effect.onExit(answer, (exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit))
                channel.send({ type: "refuse", id, code: -32603, message: "it was interrupted" })
            })
          )
          return Effect.asVoid(FiberMap.run(asked, id, replied))
        }
        case "askEnded":
          return FiberMap.remove(asked, event.id)
        case "authorize": {
          const authorized = Effect.matchCauseEffect(
            Effect.suspend(() => answers.authorize(event.url)),
            {
              onSuccess: (code) => Effect.sync(() => channel.send({ type: "authorized", code })),
              onFailure: (cause) =>
                Effect.map(said(cause), (message) => channel.send({ type: "unauthorized", message }))
            }
          )
          return Effect.asVoid(FiberMap.run(asked, -1, authorized))
        }
        case "oauth":
          return answers.saveAuth(event.state)
        case "report":
          return answers.reported(event.level, event.message)
        case "notification":
          return answers.notified(event.method, event.params)
      }
    }
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.flatMap(Queue.take(events), (event) =>
          // One that fails must not stop the ones after it.
          Effect.catchDefect(
            Effect.suspend(() => serve(event)),
            (defect) => Effect.logError(`What an MCP server said failed unexpectedly (${event.type})`, defect)
          )
        )
      )
    )

    const { name, version } = client
    channel.send({ type: "open", spec, client: { name, version }, capabilities: answers.capabilities })
    const { info, pid } = yield* channel.wait(Deferred.await(opened))

    let nextId = 0
    return {
      info,
      pid,
      down: Deferred.await(down),
      notify: (method, params) => Effect.sync(() => channel.send({ type: "notify", method, params })),
      request: (method, params, { timeout, onProgress, task = false }) =>
        Effect.flatMap(Queue.unbounded<Reply>(), (queue) => {
          const id = nextId++
          calls.set(id, queue)
          let settled = false
          const next: Effect.Effect<Reply, CallFailed> = Effect.suspend(() => {
            const before = answered
            return Effect.timeoutOrElse(channel.wait(Queue.take(queue)), {
              duration: timeout,
              // A server that waits for an answer of ours is not silent, nor one that has just got it.
              orElse: (): Effect.Effect<Reply, CallFailed> =>
                Effect.flatMap(FiberMap.size(asked), (asking) =>
                  asking > 0 || answered > before
                    ? next
                    : Effect.fail({ problem: local("the server did not answer in time"), timedOut: true })
                )
            })
          })
          const wait: Effect.Effect<unknown, CallFailed> = Effect.flatMap(next, (reply) => {
            if (reply.type === "progress") return Effect.andThen(onProgress?.(reply.progress) ?? Effect.void, wait)
            settled = true
            return reply.type === "result"
              ? Effect.succeed(reply.result)
              : Effect.fail<CallFailed>({ problem: reply.problem, timedOut: false })
          })
          if (Deferred.isDoneUnsafe(down)) {
            calls.delete(id)
            const problem: Problem = {
              message: "the connection has ended",
              code: undefined,
              kind: "connection",
              executed: "no"
            }
            return Effect.fail<CallFailed>({ problem, timedOut: false })
          }
          channel.send({ type: "call", id, method, params, progress: onProgress !== undefined, task })
          return Effect.onExit(wait, (exit) =>
            Effect.sync(() => {
              calls.delete(id)
              if (settled) return
              const reason = Exit.isFailure(exit) && Exit.hasInterrupts(exit) ? "interrupted" : "timeout"
              channel.send({ type: "cancel", id, reason })
            })
          )
        })
    }
  })

const local = (message: string): Problem => ({ message, code: undefined, kind: "other", executed: "unknown" })
