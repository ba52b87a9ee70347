/** The stdio transport: standard output kept for the protocol, and an end when standard input ends. */
import { Writable } from "node:stream"
import * as NodeSink from "@effect/platform-node/NodeSink"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as McpServer from "effect/ai/McpServer"
import * as Predicate from "effect/Predicate"
import { systemError } from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { Closing } from "./closing.ts"
import * as Lines from "../../../internal/process/lines.ts"
import { protocols } from "./register.ts"
import { batchProblem, depthProblem, read } from "./requests.ts"
import { takeOver, type Write } from "../../../internal/process/standardOutput.ts"

/** How much a client may send at once. */
export interface InputLimits {
  /** Messages of a batch. */
  readonly maxBatch: number
  /** Bytes of a line. */
  readonly maxLineSize: number
}

/** How long calls of other registrations may still take once standard input has ended. */
const grace = "2 seconds"

/** Serves in the background of the scope. Returns an Effect that waits for the end. */
export const serveStdio = <E, R>(
  info: { readonly name: string; readonly version: string; readonly instructions?: string },
  registrations: Layer.Layer<never, E, R>,
  closing: Closing,
  limits: InputLimits
): Effect.Effect<Effect.Effect<void>, never, Exclude<R, McpServer.McpServer> | Scope.Scope> =>
  Effect.gen(function* () {
    const write = yield* takeOver
    const server = McpServer.layerStdio({ ...info, protocols, registrations }).pipe(
      Layer.provide(Layer.succeed(Stdio.Stdio, stdio(write, closing, limits)))
    ) as unknown as Layer.Layer<McpServer.McpServer, never, Exclude<R, McpServer.McpServer>>
    yield* Effect.acquireRelease(
      Effect.sync(() => process.stdin.ref?.()),
      // An input that is still open must not keep the process alive. (A file as input has no `unref`.)
      () => Effect.sync(() => process.stdin.unref?.())
    )
    // The transport interrupts the fiber that has built it when it ends, so it gets one of its own.
    const fiber = yield* Effect.forkScoped(Layer.launch(server))
    yield* Effect.forkScoped(
      Deferred.await(closing).pipe(Effect.andThen(Effect.sleep(grace)), Effect.andThen(Fiber.interrupt(fiber)))
    )
    return Effect.asVoid(Fiber.await(fiber))
  })

const stdio = (write: Write, closing: Closing, limits: InputLimits): Stdio.Stdio =>
  Stdio.make({
    args: Effect.succeed([]),
    stdin: NodeStream.fromReadable<Uint8Array, unknown>({
      evaluate: () => process.stdin,
      onError: (cause) => cause,
      closeOnDone: false
    }).pipe(
      // An input that breaks has ended.
      Stream.catchCause(() => Stream.empty),
      linesOf(limits.maxLineSize),
      Stream.mapEffect((line) => {
        // Lines that the server cannot read are dropped: it would lose their neighbours too.
        const problem = problemOf(line, limits)
        if (problem === undefined) return Effect.succeed(String(line))
        // A client that does not read what it is answered is not read either.
        const answered = Effect.callback<void>((resume) => {
          write(Buffer.from(`${JSON.stringify(problem)}\n`), () => resume(Effect.void))
        })
        const isLong = typeof line === "object"
        return Effect.as(isLong ? Effect.andThen(answered, Effect.logWarning(problem.error.message)) : answered, "")
      }),
      Stream.filter((line) => line.trim() !== ""),
      Stream.map((line) => Buffer.from(`${read(line)?.text ?? line}\n`)),
      Stream.ensuring(Deferred.succeed(closing, undefined))
    ),
    stdout: () =>
      NodeSink.fromWritable({
        evaluate: () =>
          new Writable({
            write: (chunk: Uint8Array, _encoding, done) =>
              write(chunk, (error) => {
                // The reader is gone, which ends the server as the end of standard input does.
                if (error !== undefined && error !== null) Deferred.doneUnsafe(closing, Effect.void)
                done()
              })
          }),
        onError: (cause) => systemError({ module: "Stdio", method: "stdout", _tag: "Unknown", cause }),
        endOnDone: false
      }),
    stderr: () =>
      NodeSink.fromWritable({
        evaluate: () => process.stderr,
        onError: (cause) => systemError({ module: "Stdio", method: "stderr", _tag: "Unknown", cause }),
        endOnDone: false
      })
  })

type Line = string | typeof Lines.notUtf8 | Lines.LongLine

const linesOf =
  (maxLineSize: number) =>
  <E, R>(input: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Line, E, R> =>
    Stream.suspend(() => {
      const lines = Lines.makeStrict(maxLineSize)
      return Stream.concat(
        Stream.flatMap(input, (chunk) => Stream.fromIterable(lines.read(chunk))),
        Stream.suspend(() => Stream.fromIterable(lines.rest()))
      )
    })

const idPattern = String.raw`("[^"\\]{0,100}"|-?\d{1,15})`
const idAtBegin = new RegExp(String.raw`^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*${idPattern}\s*,`)
const idAtEnd = new RegExp(String.raw`,\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*${idPattern}\s*\}\s*$`)

/** The id of a request of which not all was kept, where clients commonly write it; else `null`. */
const idOf = ({ begin, end }: Lines.LongLine): unknown => {
  const id = idAtBegin.exec(begin)?.[1] ?? (begin.trimStart().startsWith("{") ? idAtEnd.exec(end)?.[1] : undefined)
  return id === undefined ? null : JSON.parse(id)
}

/** The error response to a line that is not a message; `undefined` for a message. */
const problemOf = (line: Line, { maxBatch, maxLineSize }: InputLimits) => {
  const refused = (code: number, message: string, id: unknown = null) => ({
    jsonrpc: "2.0",
    id,
    error: { code, message }
  })
  if (line === Lines.notUtf8) return refused(-32700, "Parse error: the line is not UTF-8")
  if (typeof line !== "string") {
    const problem = `The line has more than ${maxLineSize} bytes, and no more are accepted. Send smaller messages`
    return refused(-32600, problem, idOf(line))
  }
  const tooDeep = depthProblem(line)
  if (tooDeep !== undefined) return refused(-32600, tooDeep)
  if (line.trim() === "") return undefined
  try {
    const message = JSON.parse(line) as unknown
    if (Array.isArray(message) && message.length > maxBatch) {
      return refused(-32600, batchProblem(message.length, maxBatch))
    }
    const isMessage = Array.isArray(message) || (Predicate.isObject(message) && hasId(message))
    return isMessage ? undefined : refused(-32600, "Invalid Request")
  } catch {
    return refused(-32700, "Parse error")
  }
}

/** A request is known by a text or a number. */
const hasId = (message: { readonly id?: unknown; readonly method?: unknown }): boolean =>
  message.method === undefined || message.id === undefined || ["string", "number"].includes(typeof message.id)
