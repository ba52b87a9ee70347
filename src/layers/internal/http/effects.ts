/** Transports as Effects, and Effects as transports: a tape and `effect/http` wait for a response by an Effect. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { TapeResponse } from "../../../services/HttpTape.ts"
import type {
  Exchange,
  Head,
  HttpFailure,
  HttpRequest,
  HttpResponse,
  HttpTransport,
  TapeFailure,
  TransportFailure
} from "../../../services/HttpTransport.ts"

/** How many chunks wait for a slow reader before no more are asked for. */
const maxWaiting = 16

type Chunks = Queue.Queue<Uint8Array, HttpFailure | Cause.Done>

/** Sends by a transport that has no tape in it. Closing the scope before the body has ended aborts the request. */
export const toEffect =
  (transport: HttpTransport) =>
  (request: HttpRequest): Effect.Effect<HttpResponse, HttpFailure, Scope.Scope> =>
    Effect.gen(function* () {
      const awaited = transport.awaited ?? ((effect) => effect)
      const opened = Deferred.makeUnsafe<HttpResponse, HttpFailure>()
      const chunks: Chunks = yield* Queue.unbounded<Uint8Array, HttpFailure | Cause.Done>()
      const exchange = yield* Effect.acquireRelease(
        Effect.sync((): Exchange => {
          const exchange = transport(request, {
            head: (head) => {
              const body = bodyOf(chunks, awaited, exchange)
              Deferred.doneUnsafe(opened, Effect.succeed(responseOf(request, head, body)))
            },
            data: (chunk) => {
              Queue.offerUnsafe(chunks, chunk)
              if (Queue.sizeUnsafe(chunks) >= maxWaiting) exchange.pause()
            },
            end: () => {
              Queue.endUnsafe(chunks)
            },
            fail: (failure) => {
              const cause = causeOf(failure)
              Deferred.doneUnsafe(opened, Effect.failCause(cause))
              Queue.failCauseUnsafe(chunks, cause)
            }
          })
          return exchange
        }),
        (exchange) => Effect.sync(() => exchange.abort())
      )
      void exchange
      return yield* awaited(Deferred.await(opened))
    })

const responseOf = (request: HttpRequest, head: Head, body: HttpResponse["body"]): HttpResponse => ({
  status: head.status,
  url: head.url ?? request.url,
  headers: head.headers(),
  body
})

const causeOf = (failure: TransportFailure): Cause.Cause<HttpFailure> => {
  if (failure._tag === "HttpFailure") return Cause.fail(failure)
  return failure._tag === "TransportDefect" ? failure.cause : Cause.die(failure)
}

const bodyOf = (
  chunks: Chunks,
  awaited: NonNullable<HttpTransport["awaited"]>,
  exchange: Exchange
): HttpResponse["body"] => {
  const take = Queue.takeAll(chunks)
  const pull = Effect.map(
    Effect.suspend(() => (Queue.sizeUnsafe(chunks) > 0 ? take : awaited(take))),
    (some) => {
      exchange.resume()
      return some
    }
  )
  return Stream.fromPull(Effect.succeed(pull))
}

type Send = (request: HttpRequest) => Effect.Effect<TapeResponse, HttpFailure | TapeFailure, Scope.Scope>

/** A transport that sends by an Effect, in a fiber of its own that has the context; `enter` is given that fiber. */
export const fromEffect =
  (
    send: Send,
    context: Context.Context<never>,
    enter: ((fiber: Fiber.Fiber<unknown, unknown>) => void) | undefined
  ): HttpTransport =>
  (request, to) => {
    let isOver = false
    const gate = Latch.makeUnsafe(true)
    const deliver = (response: TapeResponse): Effect.Effect<void, HttpFailure | TapeFailure> => {
      to.head({
        status: response.status,
        url: response.url,
        header: (name) => response.headers.find(([key]) => key === name)?.[1],
        headers: () => response.headers
      })
      return Stream.runForEachArray(response.body, (chunks) => {
        for (const chunk of chunks) if (!isOver) to.data(chunk)
        return gate.await
      })
    }
    const finish = (exit: Exit.Exit<void, HttpFailure | TapeFailure>): void => {
      if (isOver) return
      isOver = true
      if (Exit.isSuccess(exit)) to.end()
      else to.fail(failureOf(exit.cause))
    }
    // Nothing is delivered before this function has returned.
    const sending = Effect.andThen(Effect.yieldNow, Effect.scoped(Effect.flatMap(send(request), deliver)))
    const fiber = Effect.runForkWith(context)(sending)
    enter?.(fiber)
    fiber.addObserver(finish)
    return {
      pause: () => void gate.closeUnsafe(),
      resume: () => void gate.openUnsafe(),
      abort: () => {
        isOver = true
        fiber.interruptUnsafe()
      }
    }
  }

const failureOf = (cause: Cause.Cause<HttpFailure | TapeFailure>): TransportFailure => {
  const found = cause.reasons.find(Cause.isFailReason)
  if (found !== undefined) return found.error
  return {
    _tag: "TransportDefect",
    message: Cause.pretty(cause),
    cause: cause as Cause.Cause<never>
  }
}
