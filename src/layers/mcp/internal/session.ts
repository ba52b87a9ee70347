/** One live connection to a server, as Effects: requests, what the server asks, and how it ends. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { stripControls } from "../../../internal/text.ts"
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
  readonly ask: (question: Question) => Effect.Effect<unknown, string>
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

/** A request of a server. */
export interface Question {
  readonly method: string
  readonly params: unknown
  /**
   * The call that the server is working on: the last one of a tool that began and has not ended. The protocol does not say
   * which of several calls a question belongs to. `undefined` without a call.
   */
  readonly call: Call | undefined
}

/** A call of a tool, as the answers to a server's questions see it. */
export interface Call {
  /** The services of the fiber that calls. */
  readonly context: Context.Context<never>
}

/** How one request is made. */
export interface CallOptions {
  /** How long the server may be silent; progress counts as a sign of life. */
  readonly timeout: Duration.Duration
  /** How long it may take in all, without the time in which the server waits for an answer of ours. */
  readonly maxDuration: Duration.Duration
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
    const calls = new Map<number, Pending>()
    const events = yield* Queue.unbounded<Event>()
    let waitingNotifications = 0
    const end = (why: Down): void => {
      if (!Deferred.doneUnsafe(down, Effect.succeed(why))) return
      answers.ended()
      const { problem } = why
      for (const [id, { queue }] of calls) Queue.offerUnsafe(queue, { type: "failed", id, problem, ends: false })
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
          const pending = calls.get(message.id)
          if (pending !== undefined && !(message.type === "progress" && pending.progress >= maxWaitingProgress)) {
            if (message.type === "progress") pending.progress++
            Queue.offerUnsafe(pending.queue, message)
          }
          if (message.type === "failed" && message.ends) {
            end({ problem: { ...message.problem, executed: "unknown" }, end: undefined })
          }
          return
        }
        case "notification":
          // A server must not fill the memory with what has not been read yet.
          if (waitingNotifications >= maxWaitingNotifications) return
          waitingNotifications++
          Queue.offerUnsafe(events, message)
          return
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
    /** How long the server has waited for answers of ours, and since when it waits now. Milliseconds. */
    let waited = 0
    let asking = 0
    let waitsSince = 0
    const waitedUntil = (now: number): number => waited + (asking > 0 ? now - waitsSince : 0)
    const whileAsked = <A, E>(answer: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.acquireUseRelease(
        Effect.map(Clock.currentTimeMillis, (now) => {
          if (asking++ === 0) waitsSince = now
        }),
        () => answer,
        () =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            if (--asking === 0) waited += now - waitsSince
          })
      )
    const lastCall = (): Call | undefined => [...calls.values()].findLast(({ call }) => call !== undefined)?.call
    const serve = (event: Event): Effect.Effect<void> => {
      switch (event.type) {
        case "ask": {
          const { id, method, params } = event
          if (asking >= maxQuestions) {
            const message = `at most ${maxQuestions} requests are answered at once`
            return Effect.sync(() => channel.send({ type: "refuse", id, code: -32603, message }))
          }
          const answer = Effect.matchCauseEffect(
            whileAsked(Effect.suspend(() => answers.ask({ method, params, call: lastCall() }))),
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
          waitingNotifications--
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

    /** One request, from its message to its answer. */
    const call = Effect.fnUntraced(function* (
      id: number,
      method: string,
      params: unknown,
      { maxDuration, onProgress, task = false, timeout }: CallOptions
    ) {
      const queue = yield* Queue.unbounded<Reply>()
      const context = yield* Effect.context<never>()
      const pending: Pending = { queue, progress: 0, call: method === "tools/call" ? { context } : undefined }
      calls.set(id, pending)
      let settled = false
      const started = yield* Clock.currentTimeMillis
      const before = waitedUntil(started)
      const late = (message: string) => Effect.fail<CallFailed>({ problem: local(message), timedOut: true })
      const next: Effect.Effect<Reply, CallFailed> = Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const left = Duration.toMillis(maxDuration) - (now - started) + (waitedUntil(now) - before)
        if (left <= 0 && asking === 0)
          return yield* late(`the server did not finish within ${Duration.format(maxDuration)}`)
        const known = answered
        const duration = left > 0 ? Duration.min(timeout, Duration.millis(left)) : timeout
        const reply = yield* Effect.timeoutOption(channel.wait(Queue.take(queue)), duration)
        if (Option.isSome(reply)) return reply.value
        // A server that waits for an answer of ours is not silent, nor one that has just got it.
        if (asking > 0 || answered > known || Duration.isLessThan(duration, timeout)) return yield* next
        return yield* late("the server did not answer in time")
      })
      let tokens = progressBurst
      let filledAt = started
      /** Reports that come too fast are left out; they are a sign of life all the same. */
      const report = (progress: unknown): Effect.Effect<void> =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          tokens = Math.min(progressBurst, tokens + ((now - filledAt) * progressPerSecond) / 1000)
          filledAt = now
          if (tokens < 1 || onProgress === undefined) return Effect.void
          tokens--
          return onProgress(cleanProgress(progress))
        })
      const wait: Effect.Effect<unknown, CallFailed> = Effect.flatMap(next, (reply) => {
        if (reply.type === "progress") {
          pending.progress--
          return Effect.andThen(report(reply.progress), wait)
        }
        settled = true
        return reply.type === "result"
          ? Effect.succeed(reply.result)
          : Effect.fail<CallFailed>({ problem: reply.problem, timedOut: false })
      })
      channel.send({ type: "call", id, method, params, progress: onProgress !== undefined, task })
      return yield* Effect.onExit(wait, (exit) =>
        Effect.sync(() => {
          calls.delete(id)
          if (settled) return
          const reason = Exit.isFailure(exit) && Exit.hasInterrupts(exit) ? "interrupted" : "timeout"
          channel.send({ type: "cancel", id, reason })
        })
      )
    })

    let nextId = 0
    return {
      info,
      pid,
      down: Deferred.await(down),
      notify: (method, params) => Effect.sync(() => channel.send({ type: "notify", method, params })),
      request: (method, params, options) =>
        Effect.suspend(() => {
          if (Deferred.isDoneUnsafe(down)) {
            const message = "the connection has ended"
            const problem: Problem = { message, code: undefined, kind: "connection", executed: "no" }
            return Effect.fail<CallFailed>({ problem, timedOut: false })
          }
          return call(nextId++, method, params, options)
        })
    }
  })

/** A request that has not ended. */
interface Pending {
  readonly queue: Queue.Queue<Reply>
  /** How many reports of progress wait to be read. */
  progress: number
  readonly call: Call | undefined
}

/** How many reports of progress of one call, how many notifications and how many questions may wait at once. */
const maxWaitingProgress = 100
const maxWaitingNotifications = 10_000
const maxQuestions = 16

/** How many reports of progress a call passes on at once, and how many in each second after that. */
const progressBurst = 50
const progressPerSecond = 10
const maxProgressChars = 1000

/** Progress as the run gets it: no more than the protocol has, and no text that could steer a terminal. */
const cleanProgress = (progress: unknown): unknown => {
  if (typeof progress !== "object" || progress === null) return progress
  const { message, progress: done, total } = progress as Readonly<Record<string, unknown>>
  return {
    ...(typeof done === "number" ? { progress: done } : {}),
    ...(typeof total === "number" ? { total } : {}),
    ...(typeof message === "string" ? { message: stripControls(message.slice(0, maxProgressChars)) } : {})
  }
}

const local = (message: string): Problem => ({ message, code: undefined, kind: "other", executed: "unknown" })
