/**
 * Streams as web `Response`s: server-sent events and lines of JSON. For handlers of your own, in any framework; `AgentServer`
 * serves whole runners.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { assertOptions, namesOf } from "../../internal/definition.ts"

/** Options of {@link sse} and {@link ndjson}. */
export interface Options {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** The signal of the request: when it aborts, the stream is interrupted, also where no one reads the body any more. */
  readonly signal?: AbortSignal | undefined
  /**
   * What is sent when the stream fails, since the status was sent before. Default: an event `failed` (SSE), or
   * `{ "failed": true }` (NDJSON), without what it failed with, which is for your log.
   */
  readonly failure?: ((error: unknown) => unknown) | undefined
}

const known = namesOf<Options>({ status: true, headers: true, signal: true, failure: true })

const encoder = new TextEncoder()

const json = (value: unknown): string => JSON.stringify(value) ?? "null"

const failureOf = ({ failure }: Options, error: unknown): unknown =>
  failure === undefined ? { failed: true } : failure(error)

const respond = <E, R>(
  lines: Stream.Stream<string, E, R>,
  type: string,
  failed: (value: unknown) => string,
  options: Options
): Effect.Effect<Response, never, R> => {
  assertOptions("Serve", options, known)
  return Effect.contextWith((context) => {
    const bytes = lines.pipe(
      Stream.catch((error) =>
        Stream.unwrap(
          Effect.as(
            Effect.logError("A stream that is served failed", error),
            Stream.succeed(failed(failureOf(options, error)))
          )
        )
      ),
      Stream.mapArray((texts) => [encoder.encode(texts.join(""))] as [Uint8Array])
    )
    const body = Stream.toReadableStreamWith(bytes, context, { signal: options.signal })
    const headers = {
      "content-type": type,
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
      ...options.headers
    }
    return Effect.succeed(new Response(body, { status: options.status ?? 200, headers }))
  })
}

/**
 * A stream as server-sent events: each element is the JSON of one event. A client that is slow slows the stream; one that
 * hangs up interrupts it, and so the run behind it. When the stream fails, the last event is `failed`. Events of a run hold
 * arguments, results and the whole transcript: send what `RunEvent.toClient` makes of them.
 *
 * @example
 * import { Effect, ManagedRuntime, Stream } from "effect"
 * import { Agent, DemoModel, RunEvent, Serve } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * const runtime = ManagedRuntime.make(DemoModel.layer)
 *
 * export const POST = async (request: Request) => {
 *   const question = await request.text()
 *   const events = Stream.filter(Stream.map(desk.stream(question), RunEvent.toClient), (event) => event !== undefined)
 *   return runtime.runPromise(Serve.sse(events, { signal: request.signal }))
 * }
 */
export const sse = <A, E, R>(
  stream: Stream.Stream<A, E, R>,
  options: Options = {}
): Effect.Effect<Response, never, R> =>
  respond(
    Stream.map(stream, (value) => `data: ${json(value)}\n\n`),
    "text/event-stream",
    (value) => `event: failed\ndata: ${json(value)}\n\n`,
    options
  )

/**
 * A stream as lines of JSON (NDJSON), one for each element. It is otherwise as {@link sse}.
 *
 * @example
 * import { Stream } from "effect"
 * import { Serve } from "troupe"
 *
 * const response = Serve.ndjson(Stream.make({ n: 1 }, { n: 2 }))
 */
export const ndjson = <A, E, R>(
  stream: Stream.Stream<A, E, R>,
  options: Options = {}
): Effect.Effect<Response, never, R> =>
  respond(
    Stream.map(stream, (value) => `${json(value)}\n`),
    "application/x-ndjson",
    (value) => `${json(value)}\n`,
    options
  )
