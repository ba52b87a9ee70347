/**
 * How HTTP requests travel: bytes in, bytes out, abort. A port; `layers` has its adapters: Node's own `http`, `fetch`,
 * a client of the `openai` package, undici, the thread of the sync edge, and a tape.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"

/** A request. */
export interface HttpRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
  /**
   * Connects to this IP address, even if the name of the host means another one by then: it is one of `SyncBridge.resolve` that was checked.
   * Redirects are not followed and the body comes as it was encoded.
   */
  readonly address?: string | undefined
  /**
   * What a redirect becomes: another request (default), the answer, or a failure. An {@link HttpTransport} other than the
   * sync edge's thread follows none.
   */
  readonly redirect?: "follow" | "manual" | "error" | undefined
}

/** The head of a response, and its body as it comes. */
export interface HttpResponse {
  readonly status: number
  readonly url: string
  readonly headers: ReadonlyArray<readonly [string, string]>
  /** Ends with a {@link HttpFailure} when the connection is lost in the middle. */
  readonly body: Stream.Stream<Uint8Array, HttpFailure>
}

/** A request that got no response, or lost it: refused, reset, unknown host, a worker that died. */
export interface HttpFailure {
  readonly _tag: "HttpFailure"
  readonly message: string
  /** The system's code, such as `ECONNREFUSED`; `EWORKER` when the worker thread died. */
  readonly code: string | undefined
  /** True where sending the request again cannot help, such as for a package that is not installed. */
  readonly isFinal?: boolean | undefined
}

/** A request that a tape has no answer for. Sending it again does not help. */
export interface TapeFailure {
  readonly _tag: "TapeFailure"
  /** One line, without secrets. */
  readonly message: string
  /** The tagged error behind it, encoded. */
  readonly error: Schema.MutableJson
}

/** A transport that threw: a defect of the program, such as of the function of a stub. */
export interface TransportDefect {
  readonly _tag: "TransportDefect"
  readonly message: string
  readonly cause: Cause.Cause<never>
}

/** How a request can fail. */
export type TransportFailure = HttpFailure | TapeFailure | TransportDefect

/** The head of an answer. */
export interface Head {
  readonly status: number
  /** The address that answered, where it is known: another one after a redirect. */
  readonly url?: string | undefined
  /** A header by its name in lower case. */
  readonly header: (name: string) => string | null | undefined
  /** All headers, each name in lower case. */
  readonly headers: () => ReadonlyArray<readonly [string, string]>
}

/** What takes an answer: `head`, then `data` any number of times, then `end`; or at any point `fail`, and nothing more. */
export interface Receiver {
  head(head: Head): void
  data(chunk: Uint8Array): void
  end(): void
  fail(failure: TransportFailure): void
}

/** A request under way. */
export interface Exchange {
  /** Asks for no more data for now. Some that is on its way may still come. */
  pause(): void
  resume(): void
  /** Aborts the request on the wire; the receiver is not called after that. Does nothing once the answer has ended. */
  abort(): void
}

/** Sends a request at once. The receiver is called after this has returned, and never after `abort`. */
export interface HttpTransport {
  (request: HttpRequest, to: Receiver): Exchange
  /** Wraps the Effect that sends and waits, where it has to be known that a fiber waits: on the sync edge. */
  readonly awaited?: (<A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>) | undefined
}
