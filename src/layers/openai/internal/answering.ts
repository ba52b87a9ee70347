/** Waits for answers within the time that they may take: whole ones, and streams as they come. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Response from "effect/ai/Response"
import * as Stream from "effect/Stream"
import type { Exchange, HttpRequest, HttpTransport } from "../../../services/HttpTransport.ts"
import { ask } from "./asking.ts"
import { Body, type Decoder } from "./decoding.ts"
import type { Problem } from "../../internal/model/problems.ts"
import { after } from "../../internal/model/timer.ts"

/** A request, what carries it, and what its answer may take. */
export interface Sending {
  readonly transport: HttpTransport
  readonly request: HttpRequest
  readonly timeout: Duration.Duration
  readonly maxAnswerBytes: number
}

/** A whole answer. */
export interface WholeAnswer {
  readonly contentType: string
  readonly chunks: ReadonlyArray<Uint8Array>
}

const timedOut = (timeout: Duration.Duration): Problem => ({
  kind: "timeout",
  message: `no answer within ${Duration.format(timeout)}`
})

/** Sends a request and reads the whole of its answer. Interruption aborts it on the wire. */
export const whole = (sending: Sending): Effect.Effect<WholeAnswer, Problem> => {
  const { maxAnswerBytes, request, timeout, transport } = sending
  const answer = Effect.withFiber<WholeAnswer, Problem>((fiber) =>
    Effect.callback<WholeAnswer, Problem>((resume) => {
      const chunks: Array<Uint8Array> = []
      let contentType = ""
      let isOver = false
      let stop = () => {}
      const exchange = ask(transport, request, maxAnswerBytes, {
        head: (type) => {
          contentType = type
        },
        data: (chunk) => void chunks.push(chunk),
        over: (problem) => {
          isOver = true
          stop()
          resume(problem === undefined ? Effect.succeed({ contentType, chunks }) : Effect.fail(problem))
        }
      })
      if (isOver) return undefined
      stop = after(fiber.context, Duration.toMillis(timeout), () => {
        exchange.abort()
        resume(Effect.fail(timedOut(timeout)))
      })
      return Effect.sync(() => {
        stop()
        exchange.abort()
      })
    })
  )
  return transport.awaited === undefined ? answer : transport.awaited(answer)
}

/** Sends a request and gives the parts of its answer as they come. Closing the scope aborts it on the wire. */
export const streamed = <E>(
  sending: Sending,
  decoder: Decoder,
  fail: (problem: Problem) => Effect.Effect<never, E>
): Stream.Stream<Response.StreamPartEncoded, E> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.withFiber((fiber) => Effect.succeed(new Reading(fiber.context, sending, decoder, fail))),
        (reading) => Effect.sync(() => reading.close())
      ),
      (reading) => Stream.fromPull(Effect.succeed(reading.pull))
    )
  )

/** How long a server may take for what follows a complete answer, such as its usage. */
const graceMs = 5000
/** After the last event the body is read to its end, so that the connection can be used again, but not for long. */
const drainMs = 100
/** How many parts, or the bytes of how many, wait for a slow reader before no more are asked for. */
const maxWaiting = { parts: 256, bytes: 1024 * 1024 }

type Parts = [Response.StreamPartEncoded, ...Array<Response.StreamPartEncoded>]
type Next<E> = Effect.Effect<Parts, E | Cause.Done>

/** One streamed answer. What comes is handed at once to the fiber that waits for it. */
class Reading<E> {
  readonly #context: Context.Context<never>
  readonly #clock: Clock.Clock
  readonly #timeout: Duration.Duration
  readonly #fail: (problem: Problem) => Effect.Effect<never, E>
  readonly #exchange: Exchange
  /** Undefined before the head. */
  #body: Body | undefined
  #parts: Array<Response.StreamPartEncoded> = []
  #waitingBytes = 0
  /** Set when no more parts come. */
  #end: "done" | Problem | undefined
  #isPaused = false
  #phase: "open" | "complete" | "draining" | "closed" = "open"
  #resume: ((next: Next<E>) => void) | undefined
  #waitsSince: number
  #lastDataAt: number
  #stopTimer: () => void = () => {}
  /** The next parts: those that have come, or else those that come next. */
  readonly pull: Next<E>

  constructor(
    context: Context.Context<never>,
    sending: Sending,
    decoder: Decoder,
    fail: (problem: Problem) => Effect.Effect<never, E>
  ) {
    this.#context = context
    this.#clock = Context.get(context, Clock.Clock)
    this.#timeout = sending.timeout
    this.#fail = fail
    this.#lastDataAt = this.#waitsSince = this.#now()
    const { maxAnswerBytes, request, transport } = sending
    this.#exchange = ask(transport, request, maxAnswerBytes, {
      head: (contentType) => {
        this.#body = new Body(contentType, decoder)
        this.#lastDataAt = this.#now()
      },
      data: (chunk) => this.#data(chunk),
      over: (problem) => this.#over(problem)
    })
    if (this.#end === undefined) this.#watch(Duration.toMillis(sending.timeout))
    const forget = Effect.sync(() => {
      this.#resume = undefined
    })
    const wait: Next<E> = Effect.callback((resume) => {
      // It may have come while it was made known that the fiber waits.
      const found = this.#take()
      if (found !== undefined) return resume(found)
      this.#waitsSince = this.#now()
      this.#resume = resume
      return forget
    })
    const awaited = transport.awaited === undefined ? wait : transport.awaited(wait)
    this.pull = Effect.suspend(() => this.#take() ?? awaited)
  }

  close(): void {
    this.#phase = "closed"
    this.#stopTimer()
    this.#exchange.abort()
  }

  #data(chunk: Uint8Array): void {
    this.#lastDataAt = this.#now()
    const body = this.#body
    if (body === undefined || this.#phase === "draining") return
    this.#waitingBytes += chunk.length
    body.read(chunk, this.#parts)
    this.#settle(body)
  }

  /** The body has ended, or will not. */
  #over(problem: Problem | undefined): void {
    const body = this.#body
    if (this.#phase === "draining") this.#end = "done"
    else if (body === undefined || (problem !== undefined && !body.isComplete)) this.#end = problem ?? "done"
    else {
      body.end(this.#parts)
      this.#end = endOf(body)
    }
    this.#stopTimer()
    this.#notify()
  }

  /** Looks whether the answer is complete, or over. */
  #settle(body: Body): void {
    if (body.over === "early") {
      this.#phase = "draining"
      this.#limit(drainMs, () => this.#abandon("done"))
    } else if (body.over !== undefined) return this.#abandon(endOf(body))
    else if (body.isComplete && this.#phase === "open") {
      this.#phase = "complete"
      this.#limit(graceMs, () => {
        body.end(this.#parts)
        this.#abandon(endOf(body))
      })
    }
    this.#notify()
  }

  /** No more is read. */
  #abandon(end: "done" | Problem): void {
    this.#end = end
    this.#stopTimer()
    this.#exchange.abort()
    this.#notify()
  }

  #notify(): void {
    const resume = this.#resume
    if (resume === undefined) {
      const isFull = this.#parts.length >= maxWaiting.parts || this.#waitingBytes >= maxWaiting.bytes
      if (this.#isPaused || !isFull || this.#parts.length === 0 || this.#end !== undefined) return
      this.#isPaused = true
      return this.#exchange.pause()
    }
    const found = this.#take()
    if (found === undefined) return
    this.#resume = undefined
    resume(found)
  }

  #take(): Next<E> | undefined {
    if (this.#parts.length > 0) {
      const parts = this.#parts as Parts
      this.#parts = []
      this.#waitingBytes = 0
      if (this.#isPaused) {
        this.#isPaused = false
        this.#exchange.resume()
      }
      return Effect.succeed(parts)
    }
    if (this.#end === undefined) return undefined
    return this.#end === "done" ? Cause.done() : this.#fail(this.#end)
  }

  #now(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  #limit(ms: number, fire: () => void): void {
    this.#stopTimer()
    this.#stopTimer = after(this.#context, ms, fire)
  }

  /** Only a reader that waits can be kept waiting: a slow one does not count as silence of the server. */
  #watch(ms: number): void {
    this.#limit(ms, () => {
      const limit = Duration.toMillis(this.#timeout)
      if (this.#resume === undefined) return this.#watch(limit)
      const left = Math.max(this.#lastDataAt, this.#waitsSince) + limit - this.#now()
      if (left > 0) this.#watch(left)
      else this.#abandon(timedOut(this.#timeout))
    })
  }
}

const endOf = ({ over }: Body): "done" | Problem =>
  over === undefined || over === "early" || over === "read" ? "done" : over
