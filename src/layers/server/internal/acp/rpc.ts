/** JSON-RPC 2.0 in both directions, one message a line, as ACP speaks it. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { messageOf } from "../../../../internal/message.ts"

/** An error as the protocol has it. */
export interface RpcFailure {
  readonly _tag: "RpcFailure"
  readonly code: number
  readonly message: string
}

/** Codes of errors. `closed` is ours: the other side is gone. */
export const codes = {
  parse: -32700,
  invalidRequest: -32600,
  unknownMethod: -32601,
  invalidParams: -32602,
  internal: -32603,
  unauthorized: -32000,
  notFound: -32002,
  cancelled: -32800,
  closed: 1
} as const

/** Makes an error. */
export const failure = (code: number, message: string): RpcFailure => ({ _tag: "RpcFailure", code, message })

/** Fails with an error. */
export const refuse = (code: number, message: string): Effect.Effect<never, RpcFailure> =>
  Effect.fail(failure(code, message))

/** What a side does with what the other one sends. */
export interface Handlers<R> {
  readonly request: (method: string, params: unknown) => Effect.Effect<object, RpcFailure, R>
  /** Messages after it wait until it has ended. */
  readonly notification: (method: string, params: unknown) => Effect.Effect<void, never, R>
  /** Writes a line. */
  readonly send: (line: string) => Effect.Effect<void>
  /** Called with a line that is not a message. */
  readonly unreadable: (line: string) => Effect.Effect<void>
}

/** One side of a connection. */
export interface Peer<R> {
  /** Asks the other side. Interrupting it tells the other side that the answer is not wanted any more. */
  readonly request: (method: string, params: object) => Effect.Effect<unknown, RpcFailure>
  readonly notify: (method: string, params: object) => Effect.Effect<void>
  /** Takes a line of the other side. Requests are handled in the background of the scope. */
  readonly take: (line: string) => Effect.Effect<void, never, R>
  /** Fails all that is asked, now and later. */
  readonly close: (why: RpcFailure) => void
}

/** How many requests of the other side are handled at once. */
const maxRequests = 64
/** How many messages the other side may have to answer. */
const maxAsked = 1024

const isId = (id: unknown): id is string | number => typeof id === "string" || Number.isSafeInteger(id)

const parse = (line: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const message: unknown = JSON.parse(line)
    return Predicate.isObject(message) ? (message as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}

/** What this side has asked, and the answers to it. */
const asking = <R>({ send }: Handlers<R>) => {
  const open = new Map<number, Deferred.Deferred<unknown, RpcFailure>>()
  let next = 1
  let closed: RpcFailure | undefined
  return {
    request: (method: string, params: object): Effect.Effect<unknown, RpcFailure> =>
      Effect.suspend(() => {
        if (closed !== undefined) return Effect.fail(closed)
        if (open.size >= maxAsked) return refuse(codes.internal, "Too many requests wait for answers.")
        const id = next++
        const answer = Deferred.makeUnsafe<unknown, RpcFailure>()
        open.set(id, answer)
        const cancel = send(JSON.stringify({ jsonrpc: "2.0", method: "$/cancel_request", params: { requestId: id } }))
        return send(JSON.stringify({ jsonrpc: "2.0", id, method, params })).pipe(
          Effect.andThen(Deferred.await(answer)),
          Effect.onInterrupt(() => cancel),
          Effect.ensuring(Effect.sync(() => open.delete(id)))
        )
      }),
    answered: ({ error, id, result }: Readonly<Record<string, unknown>>): void => {
      const answer = open.get(id as number)
      if (answer === undefined) return
      Deferred.doneUnsafe(answer, error === undefined ? Effect.succeed(result) : Effect.fail(errorOf(error)))
    },
    close: (why: RpcFailure): void => {
      closed ??= why
      for (const answer of open.values()) Deferred.doneUnsafe(answer, Effect.fail(closed))
    }
  }
}

const longest = 2000

const errorOf = (error: unknown): RpcFailure => {
  const code = Predicate.hasProperty(error, "code") && typeof error.code === "number" ? error.code : codes.internal
  const said = Predicate.hasProperty(error, "message") ? String(error.message) : "It gave no reason."
  const data = Predicate.hasProperty(error, "data") && typeof error.data === "string" ? `: ${error.data}` : ""
  return failure(code, `${said}${data}`.slice(0, longest))
}

/** Makes one side. What it does in the background ends with the scope. */
export const make = <R>(handlers: Handlers<R>, scope: Scope.Scope): Peer<R> => {
  const asked = asking(handlers)
  const running = new Map<string | number, Fiber.Fiber<void>>()
  const { send } = handlers
  const respond = (id: string | number | null, outcome: object) =>
    send(JSON.stringify({ jsonrpc: "2.0", id, ...outcome }))
  const reject = (id: string | number | null, { code, message }: RpcFailure) =>
    respond(id, { error: { code, message } })

  const handle = (id: string | number, method: string, params: unknown): Effect.Effect<void, never, R> =>
    Effect.suspend(() => {
      if (running.has(id)) return reject(id, failure(codes.invalidRequest, "A request with this id is under way."))
      if (running.size >= maxRequests) return reject(id, failure(codes.internal, "Too many requests at once."))
      // Only the work is interrupted: an answer that is being written is the answer.
      const answering = Effect.uninterruptibleMask((restore) =>
        Effect.exit(restore(Effect.suspend(() => handlers.request(method, params)))).pipe(
          Effect.flatMap((exit) => {
            if (Exit.isSuccess(exit)) return respond(id, { result: exit.value })
            return reject(id, failureOf(exit))
          }),
          Effect.ensuring(Effect.sync(() => running.delete(id)))
        )
      )
      // At once: what ends before it has begun answers nothing.
      return Effect.map(Effect.forkIn(answering, scope, { startImmediately: true }), (fiber) => {
        if (fiber.pollUnsafe() === undefined) running.set(id, fiber)
      })
    })

  const notified = (method: string, params: unknown): Effect.Effect<void, never, R> => {
    if (method !== "$/cancel_request") return handlers.notification(method, params)
    const id = Predicate.hasProperty(params, "requestId") ? params.requestId : undefined
    const fiber = isId(id) ? running.get(id) : undefined
    return fiber === undefined ? Effect.void : Effect.asVoid(Effect.forkIn(Fiber.interrupt(fiber), scope))
  }

  return {
    request: asked.request,
    notify: (method, params) => send(JSON.stringify({ jsonrpc: "2.0", method, params })),
    take: (line) =>
      Effect.suspend((): Effect.Effect<void, never, R> => {
        if (line.trim() === "") return Effect.void
        const message = parse(line)
        if (message === undefined) return handlers.unreadable(line)
        const { id, method, params } = message
        if (typeof method === "string") {
          if (isId(id)) return handle(id, method, params)
          // Without an id it is a notification; with one of another kind its sender would wait forever.
          return "id" in message
            ? reject(null, failure(codes.invalidRequest, "The id is neither a text nor a whole number."))
            : notified(method, params)
        }
        if (isId(id) && ("result" in message || "error" in message)) {
          return Effect.sync(() => asked.answered(message))
        }
        return handlers.unreadable(line)
      }),
    close: asked.close
  }
}

/** Says of a request that failed unexpectedly that it did. */
const failureOf = (exit: Exit.Failure<object, RpcFailure>): RpcFailure => {
  const reason = exit.cause.reasons[0]
  if (reason?._tag === "Fail") return reason.error
  if (reason?._tag === "Interrupt") return failure(codes.cancelled, "The request was cancelled.")
  return failure(codes.internal, reason === undefined ? "It failed." : messageOf(reason.defect).slice(0, longest))
}
