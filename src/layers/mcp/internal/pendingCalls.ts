/** The requests of one connection that have not ended: their replies, how long each may take, and how it is cancelled. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { stripControls } from "../../../internal/text.ts"
import type { Asking } from "./asking.ts"
import type { Call } from "./askingContext.ts"
import type { Channel } from "./channel.ts"
import type { FromHost, Problem } from "./protocol.ts"

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

/** A message about a request. */
export type Reply = Extract<FromHost, { readonly type: "result" | "failed" | "progress" }>

/** A request that has not ended. */
interface Pending extends Call {
  readonly queue: Queue.Queue<Reply>
  /** How many reports of progress wait to be read. */
  progress: number
}

/** The requests that have not ended. */
export interface PendingCalls {
  /** Returns the request's id. */
  readonly add: (call: Pending) => number
  readonly remove: (id: number) => void
  readonly receive: (reply: Reply) => void
  /** Fails all of them, as the connection has ended. */
  readonly failAll: (problem: Problem) => void
  /** The calls that a question may belong to: the one with this id, or all where it is not known. */
  readonly asking: (id: number | undefined) => ReadonlyArray<Call>
}

/** How many reports of progress of one call may wait. */
const maxWaitingProgress = 100
/** How many reports of progress a call passes on at once, and how many in each second after that. */
const progressBurst = 50
const progressPerSecond = 10
const maxProgressChars = 1000

export const make = (): PendingCalls => {
  const calls = new Map<number, Pending>()
  let nextId = 0
  return {
    add: (call) => {
      calls.set(nextId, call)
      return nextId++
    },
    remove: (id) => void calls.delete(id),
    receive: (reply) => {
      const pending = calls.get(reply.id)
      if (pending === undefined || (reply.type === "progress" && pending.progress >= maxWaitingProgress)) return
      if (reply.type === "progress") pending.progress++
      Queue.offerUnsafe(pending.queue, reply)
    },
    failAll: (problem) => {
      for (const [id, { queue }] of calls) Queue.offerUnsafe(queue, { type: "failed", id, problem, ends: false })
    },
    asking: (id) => {
      if (id === undefined) return [...calls.values()]
      const call = calls.get(id)
      return call === undefined ? [] : [call]
    }
  }
}

/** What requests are made by. */
export interface Line {
  readonly channel: Channel
  readonly pending: PendingCalls
  readonly asking: Asking
}

/** One request, from its message to its answer. Interrupting it sends `notifications/cancelled`. */
export const request = Effect.fnUntraced(function* (
  line: Line,
  method: string,
  params: unknown,
  options: CallOptions
): Effect.fn.Return<unknown, CallFailed> {
  const { channel, pending } = line
  const { onProgress, task = false } = options
  const context = yield* Effect.context<never>()
  const call: Pending = { queue: yield* Queue.unbounded<Reply>(), progress: 0, context }
  const next = yield* inTime(line, call, options)
  const report = yield* reporter(onProgress)
  let isSettled = false
  const wait: Effect.Effect<unknown, CallFailed> = Effect.flatMap(next, (reply) => {
    if (reply.type === "progress") {
      call.progress--
      return Effect.andThen(report(reply.progress), wait)
    }
    isSettled = true
    return reply.type === "result"
      ? Effect.succeed(reply.result)
      : Effect.fail<CallFailed>({ problem: reply.problem, timedOut: false })
  })
  const id = pending.add(call)
  channel.send({ type: "call", id, method, params, progress: onProgress !== undefined, task })
  return yield* Effect.onExit(wait, (exit) =>
    Effect.sync(() => {
      pending.remove(id)
      if (isSettled) return
      const reason = Exit.isFailure(exit) && Exit.hasInterrupts(exit) ? "interrupted" : "timeout"
      channel.send({ type: "cancel", id, reason })
    })
  )
})

/** Waits for the next message about a request, as long as it may take. */
const inTime = ({ asking, channel }: Line, { queue }: Pending, { maxDuration, timeout }: CallOptions) =>
  Effect.map(Clock.currentTimeMillis, (started) => {
    const before = asking.waitedUntil(started)
    const late = (message: string) => {
      const problem: Problem = { message, code: undefined, kind: "other", executed: "unknown" }
      return Effect.fail<CallFailed>({ problem, timedOut: true })
    }
    const next: Effect.Effect<Reply, CallFailed> = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const left = Duration.toMillis(maxDuration) - (now - started) + (asking.waitedUntil(now) - before)
      if (left <= 0 && !asking.isAsking()) {
        return yield* late(`the server did not finish within ${Duration.format(maxDuration)}`)
      }
      const answered = asking.answered()
      const duration = left > 0 ? Duration.min(timeout, Duration.millis(left)) : timeout
      const reply = yield* Effect.timeoutOption(channel.wait(Queue.take(queue)), duration)
      if (Option.isSome(reply)) return reply.value
      // A server that waits for an answer of ours is not silent, nor one that has just got it.
      const isWaiting = asking.isAsking() || asking.answered() > answered
      if (isWaiting || Duration.isLessThan(duration, timeout)) return yield* next
      return yield* late("the server did not answer in time")
    })
    return next
  })

/** Passes reports of progress on. Those that come too fast are left out, but still reset the timeout. */
const reporter = (onProgress: CallOptions["onProgress"]) =>
  Effect.map(Clock.currentTimeMillis, (started) => {
    let tokens = progressBurst
    let filledAt = started
    return (progress: unknown): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        tokens = Math.min(progressBurst, tokens + ((now - filledAt) * progressPerSecond) / 1000)
        filledAt = now
        if (tokens < 1 || onProgress === undefined) return Effect.void
        tokens--
        return onProgress(cleanProgress(progress))
      })
  })

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
