/**
 * An `HttpClient` on a tape. The client of the sync edge reads requests and makes responses on both edges; what it sends
 * with is replaced by the tape, and the tape sends with the client that was there.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as Headers from "effect/http/Headers"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { describe } from "../../../../internal/connectionError.ts"
import { HttpTape } from "../../../../services/HttpTape.ts"
import type { HttpFailure, TapeFailure } from "../../../../services/HttpTransport.ts"
import { SyncBridge } from "../../../../services/SyncBridge.ts"
import { unattached } from "../../../internal/io/bridge.ts"
import * as SyncHttpClient from "../../../internal/io/httpClient.ts"
import { errorOf } from "./tape.ts"

/** Wraps the client in the context; without a tape it is that client. */
export const layer: Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient> = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function* () {
    const tape = yield* HttpTape
    const outer = yield* HttpClient.HttpClient
    if (tape === undefined) return outer
    const inner = Context.get(yield* Layer.build(SyncHttpClient.layer), HttpClient.HttpClient)
    return HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
      Effect.flatMap((request) => taped(request, inner, outer, tape)),
      Effect.succeed
    )
  })
)

/** Each cookie has a header of its own, which a record of headers cannot hold. */
const headersOf = ({ cookies, headers }: HttpClientResponse.HttpClientResponse): Array<readonly [string, string]> => [
  ...Object.entries(headers).filter(([name]) => name !== "set-cookie" || Cookies.isEmpty(cookies)),
  ...Cookies.toSetCookieHeaders(cookies).map((cookie) => ["set-cookie", cookie] as const)
]

/** Failures of the bridge, which are all that the inner client knows, with the errors that they stand for. */
interface Disguises {
  /** A failure of the client that sends. */
  readonly sent: (error: HttpClientError.HttpClientError) => HttpFailure
  /** A failure of the tape, or of what it sent with. */
  readonly replayed: (failure: TapeFailure | HttpFailure) => HttpFailure
  /** The error that a failure of the inner client stands for. */
  readonly original: (error: HttpClientError.HttpClientError) => HttpClientError.HttpClientError
}

const disguises = (request: HttpClientRequest.HttpClientRequest): Disguises => {
  const real = new WeakMap<HttpFailure, HttpClientError.HttpClientError>()
  const disguised = (failure: HttpFailure, error: HttpClientError.HttpClientError): HttpFailure => {
    real.set(failure, error)
    return failure
  }
  return {
    sent: (error) => {
      const { reason } = error
      const { code, message } = describe("cause" in reason && Predicate.isObject(reason.cause) ? reason.cause : error)
      return disguised({ _tag: "HttpFailure", message, code }, error)
    },
    replayed: (failure) => {
      if (failure._tag === "HttpFailure") return failure
      const { message } = failure
      return disguised({ _tag: "HttpFailure", message, code: undefined }, tapeError(request, failure))
    },
    original: (error) => {
      const { reason } = error
      const cause = "cause" in reason ? (reason.cause as HttpFailure | undefined) : undefined
      return (cause === undefined ? undefined : real.get(cause)) ?? error
    }
  }
}

const tapeError = ({ method }: HttpClientRequest.HttpClientRequest, failure: TapeFailure) => {
  const cause = errorOf(failure)
  return new HttpClientError.HttpClientError({
    reason: new HttpClientError.EncodeError({
      // The message shows the address, and this one has no secrets.
      request: HttpClientRequest.makeWith(
        method,
        cause.url,
        UrlParams.empty,
        Option.none(),
        Headers.empty,
        HttpBody.empty
      ),
      cause,
      description: failure.message
    })
  })
}

/** Sends a request of the tape with the client that was there. */
const sendWith =
  (
    outer: HttpClient.HttpClient,
    request: HttpClientRequest.HttpClientRequest,
    sent: Disguises["sent"]
  ): SyncBridge["fetch"] =>
  ({ body }) =>
    HttpClient.withScope(outer)
      .execute(
        // One of our own: scopes are kept by request. A stream has been read by now.
        request.body._tag === "Stream" && body instanceof Uint8Array
          ? HttpClientRequest.bodyUint8Array(request, body, request.body.contentType)
          : HttpClientRequest.setHeaders(request, {})
      )
      .pipe(
        Effect.map((response) => ({
          status: response.status,
          url: response.url,
          headers: headersOf(response),
          body: response.stream.pipe(
            // So says Effect's own client of a response without a body.
            Stream.catchIf(
              (error) => error.reason._tag === "EmptyBodyError",
              () => Stream.empty
            ),
            Stream.mapError(sent)
          )
        })),
        Effect.mapError(sent)
      )

const taped = (
  request: HttpClientRequest.HttpClientRequest,
  inner: HttpClient.HttpClient,
  outer: HttpClient.HttpClient,
  tape: HttpTape
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
  Effect.withFiber((fiber) => {
    const edge = fiber.getRef(SyncBridge)
    const untraced = fiber.getRef(HttpClient.TracerDisabledWhen)
    const { original, replayed, sent } = disguises(request)
    const send = sendWith(outer, request, sent)
    const live: SyncBridge["fetch"] = (message) =>
      send(message).pipe(
        Effect.provideService(SyncBridge, edge),
        Effect.provideService(HttpClient.TracerDisabledWhen, untraced)
      )
    const bridge: SyncBridge = {
      ...(edge ?? unattached),
      fetch: (message) =>
        tape.send(message, [], live).pipe(
          Effect.map((response) => ({ ...response, body: Stream.mapError(response.body, replayed) })),
          Effect.mapError(replayed)
        )
    }
    return inner.execute(request).pipe(
      Effect.provideService(SyncBridge, bridge),
      // Recording, the client that sends makes the span.
      Effect.provideService(HttpClient.TracerDisabledWhen, tape.replays ? untraced : () => true),
      Effect.mapError(original)
    )
  })
