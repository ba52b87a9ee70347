/**
 * Server-sent events for both edges: bytes to events, and events to parts, a network chunk at a time. It does no I/O of
 * its own.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { malformed, ofErrorObject, type Problem } from "./errors.ts"
import { isFields } from "./wire.ts"

type Chunks<A> = Pull.Pull<Arr.NonEmptyReadonlyArray<A>, Problem>

/** After the last event: reads to the end of the body, so that the connection can be used again, but not for long. */
const drain = (pull: Pull.Pull<unknown, Problem>): Effect.Effect<void> =>
  Effect.ignore(Effect.timeoutOption(Effect.forever(pull), "100 millis"))

/** The events of a body, parsed. `[DONE]` ends them; one that is not JSON fails them, after those before it. */
export const events = (bytes: Stream.Stream<Uint8Array, Problem>): Stream.Stream<unknown, Problem> =>
  Stream.transformPull(bytes, (pull) =>
    Effect.sync(() => {
      const decoder = new TextDecoder()
      let batch: Array<unknown> = []
      let ended: Problem | "done" | undefined
      const parser = Sse.makeParser((event) => {
        if (event._tag !== "Event" || ended !== undefined) return
        if (event.data.startsWith("[DONE]")) {
          ended = "done"
          return
        }
        // Some servers keep a connection alive with events that say nothing.
        if (event.data.trim() === "") return
        const json = parseJson(event.data)
        if (json === undefined) {
          ended = malformed(`the server sent an event that is not JSON: ${event.data.slice(0, 200)}`)
        } else {
          batch.push(event.event === "error" ? asError(json) : json)
        }
      })
      const read = (chunks: ReadonlyArray<Uint8Array>): Chunks<unknown> => {
        batch = []
        for (const chunk of chunks) {
          const error = parser.feed(decoder.decode(chunk, { stream: true }))
          if (error !== undefined) ended ??= malformed(`the server sent an event that is too large: ${error.message}`)
        }
        return Arr.isReadonlyArrayNonEmpty(batch) ? Effect.succeed(batch) : next
      }
      const next: Chunks<unknown> = Effect.suspend(() => {
        if (ended === undefined) return Effect.flatMap(pull, read)
        return ended === "done" ? Effect.andThen(drain(pull), Cause.done()) : Effect.fail(ended)
      })
      return next
    })
  )

/** An event named `error` says so by its name alone on some servers. */
const asError = (json: unknown): unknown =>
  isFields(json) && ("error" in json || json["type"] === "error") ? json : { error: json }

/** Reads the events of one answer. */
export interface Decoder<Part> {
  /** True when no further event belongs to the answer. */
  readonly finished: boolean
  push(event: unknown): ReadonlyArray<Part> | Problem
  end(): ReadonlyArray<Part> | Problem
}

/** The parts that `decoder` makes of events, never in an empty chunk. What was read before a problem is told first. */
export const parts = <Part>(
  source: Stream.Stream<unknown, Problem>,
  decoder: Decoder<Part>
): Stream.Stream<Part, Problem> =>
  Stream.transformPull(source, (pull) =>
    Effect.sync(() => {
      let ended: Problem | "finished" | "done" | undefined
      const told = (out: ReadonlyArray<Part>): Chunks<Part> =>
        Arr.isReadonlyArrayNonEmpty(out) ? Effect.succeed(out) : next
      const finish = (out: ReadonlyArray<Part>, how: "finished" | "done"): Chunks<Part> => {
        const last = decoder.end()
        ended = isProblem(last) ? last : how
        return told(isProblem(last) ? out : [...out, ...last])
      }
      const read = (chunk: ReadonlyArray<unknown>): Chunks<Part> => {
        const out: Array<Part> = []
        for (const event of chunk) {
          const made = decoder.push(event)
          if (isProblem(made)) {
            ended = made
            return told(out)
          }
          for (const part of made) out.push(part)
          if (decoder.finished) return finish(out, "finished")
        }
        return told(out)
      }
      const next: Chunks<Part> = Effect.suspend(() => {
        if (ended === undefined) {
          return Pull.matchEffect(pull, {
            onSuccess: read,
            onFailure: Effect.failCause,
            onDone: () => finish([], "done")
          })
        }
        if (ended === "finished") return Effect.andThen(drain(pull), Cause.done())
        return ended === "done" ? Cause.done() : Effect.fail(ended)
      })
      return next
    })
  )

/** True for what went wrong instead of what was read. */
export const isProblem = <A>(u: ReadonlyArray<A> | Problem): u is Problem => !Array.isArray(u)

/** A JSON text's value; `undefined` for a text that is not JSON. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** Answers of these types are no events, whatever was asked for. */
export const isOtherType = (contentType: string | null | undefined): boolean =>
  /^\s*(application\/json|text\/html)\b/i.test(contentType ?? "")

/** What is wrong with an answer of another type: the error in it, or that it is no stream. */
export const otherType = (contentType: string, body: string): Problem => {
  const json = parseJson(body)
  if (isFields(json) && json["error"] !== undefined && json["error"] !== null) return ofErrorObject(json["error"])
  const type = contentType.split(";")[0]?.trim() ?? ""
  return malformed(`the server answered with ${type} instead of a stream of events (text/event-stream)`)
}
