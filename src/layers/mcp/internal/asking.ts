/** Answers to what one server asks and reports: each question in a fiber of its own, which the server can cancel. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Call } from "./askingContext.ts"
import type { Channel } from "./channel.ts"
import type { Capabilities, FromHost, OAuthState } from "./protocol.ts"

/** A request of a server. */
export interface Question {
  readonly method: string
  readonly params: unknown
  /**
   * The calls that it may belong to: one where the protocol says which, otherwise all that are under way. Empty: it belongs
   * to none.
   */
  readonly calls: ReadonlyArray<Call>
}

/** Handlers for what a server asks and reports. */
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

/** The requests that are handled here. */
export type Event = Extract<
  FromHost,
  { readonly type: "report" | "ask" | "askEnded" | "notification" | "authorize" | "oauth" }
>

/** The questions of one server. */
export interface Asking {
  readonly handle: (event: Event) => Effect.Effect<void>
  /** Whether the server waits for an answer. */
  readonly isAsking: () => boolean
  /** How many questions were answered. */
  readonly answered: () => number
  /** How long the server has waited for answers, up to a time. Milliseconds. */
  readonly waitedUntil: (now: number) => number
}

/** How many questions are answered at once. */
const maxQuestions = 16

/** The key of the question for the user's authorization, alongside the ids of the server's questions. */
const authorization = -1

/** How long the server waits for answers: the time in which there is at least one question. */
const waitingTime = () => {
  let asking = 0
  let waited = 0
  let since = 0
  return {
    count: () => asking,
    until: (now: number): number => waited + (asking > 0 ? now - since : 0),
    during: <A, E>(answer: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.acquireUseRelease(
        Effect.map(Clock.currentTimeMillis, (now) => {
          if (asking++ === 0) since = now
        }),
        () => answer,
        () =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            if (--asking === 0) waited += now - since
          })
      )
  }
}

/** The error for the server. A defect is the program's own, so it is logged there. */
const refusalOf = (cause: Cause.Cause<string>): Effect.Effect<string> => {
  const failure = Cause.findFail(cause)
  if (Result.isSuccess(failure)) return Effect.succeed(failure.success.error)
  if (Cause.hasInterruptsOnly(cause)) return Effect.succeed("it was interrupted")
  return Effect.as(Effect.logError("An answer to an MCP server failed unexpectedly", cause), "it failed unexpectedly")
}

/** Answers questions until the scope closes. `callsOf` finds the calls that a question may belong to. */
export const make = (
  send: Channel["send"],
  answers: Answers,
  callsOf: (id: number | undefined) => ReadonlyArray<Call>
): Effect.Effect<Asking, never, Scope.Scope> =>
  Effect.map(FiberMap.make<number, void>(), (fibers) => {
    const waiting = waitingTime()
    let answered = 0
    const ask = ({ call, id, method, params }: Extract<Event, { readonly type: "ask" }>): Effect.Effect<void> => {
      const refuse = (message: string) => Effect.sync(() => send({ type: "refuse", id, code: -32603, message }))
      if (waiting.count() >= maxQuestions) return refuse(`at most ${maxQuestions} requests are answered at once`)
      const answer = Effect.suspend(() => answers.ask({ method, params, calls: callsOf(call) })).pipe(
        waiting.during,
        Effect.matchCauseEffect({
          onSuccess: (result) =>
            Effect.sync(() => {
              answered++
              send({ type: "answer", id, result })
            }),
          onFailure: (cause) => Effect.flatMap(refusalOf(cause), refuse)
        }),
        Effect.onExit((exit) => (Exit.isFailure(exit) ? refuse("it was interrupted") : Effect.void))
      )
      return Effect.asVoid(FiberMap.run(fibers, id, answer))
    }
    const authorize = (url: string): Effect.Effect<void> => {
      const answer = Effect.matchCauseEffect(
        Effect.suspend(() => answers.authorize(url)),
        {
          onSuccess: (code) => Effect.sync(() => send({ type: "authorized", code })),
          onFailure: (cause) => Effect.map(refusalOf(cause), (message) => send({ type: "unauthorized", message }))
        }
      )
      return Effect.asVoid(FiberMap.run(fibers, authorization, answer))
    }
    return {
      isAsking: () => waiting.count() > 0,
      answered: () => answered,
      waitedUntil: waiting.until,
      handle: (event) => {
        switch (event.type) {
          case "ask":
            return ask(event)
          case "askEnded":
            return FiberMap.remove(fibers, event.id)
          case "authorize":
            return authorize(event.url)
          case "oauth":
            return answers.saveAuth(event.state)
          case "report":
            return answers.reported(event.level, event.message)
          case "notification":
            return answers.notified(event.method, event.params)
        }
      }
    }
  })
