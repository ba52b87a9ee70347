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

const taped = (
  request: HttpClientRequest.HttpClientRequest,
  inner: HttpClient.HttpClient,
  outer: HttpClient.HttpClient,
  tape: HttpTape
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
  Effect.withFiber((fiber) => {
    const edge = fiber.getRef(SyncBridge)
    const untraced = fiber.getRef(HttpClient.TracerDisabledWhen)
    // The inner client knows failures of the bridge only; the original error is restored outside of it.
    const real = new WeakMap<HttpFailure, HttpClientError.HttpClientError>()
    const disguised = (
      message: string,
      error: HttpClientError.HttpClientError,
      code: string | undefined = undefined
    ): HttpFailure => {
      const bridge: HttpFailure = { _tag: "HttpFailure", message, code }
      real.set(bridge, error)
      return bridge
    }
    const sent = (error: HttpClientError.HttpClientError) => {
      const { reason } = error
      const { code, message } = describe("cause" in reason && Predicate.isObject(reason.cause) ? reason.cause : error)
      return disguised(message, error, code)
    }
    const replayed = (failure: TapeFailure | HttpFailure): HttpFailure => {
      if (failure._tag === "HttpFailure") return failure
      const cause = errorOf(failure)
      return disguised(
        failure.message,
        new HttpClientError.HttpClientError({
          reason: new HttpClientError.EncodeError({
            // The message shows the address, and this one has no secrets.
            request: HttpClientRequest.makeWith(
              request.method,
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
      )
    }
    const live: SyncBridge["fetch"] = ({ body }) =>
      HttpClient.withScope(outer)
        .execute(
          // One of our own: scopes are kept by request. A stream has been read by now.
          request.body._tag === "Stream" && body instanceof Uint8Array
            ? HttpClientRequest.bodyUint8Array(request, body, request.body.contentType)
            : HttpClientRequest.setHeaders(request, {})
        )
        .pipe(
          Effect.provideService(SyncBridge, edge),
          Effect.provideService(HttpClient.TracerDisabledWhen, untraced),
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
    const bridge: SyncBridge = {
      ...(edge ?? unattached),
      fetch: (request) =>
        tape.send(request, [], live).pipe(
          Effect.map((response) => ({ ...response, body: Stream.mapError(response.body, replayed) })),
          Effect.mapError(replayed)
        )
    }
    return inner.execute(request).pipe(
      Effect.provideService(SyncBridge, bridge),
      // Recording, the client that sends makes the span.
      Effect.provideService(HttpClient.TracerDisabledWhen, tape.replays ? untraced : () => true),
      Effect.mapError((error) => {
        const { reason } = error
        const cause = "cause" in reason ? (reason.cause as HttpFailure | undefined) : undefined
        return (cause === undefined ? undefined : real.get(cause)) ?? error
      })
    )
  })
