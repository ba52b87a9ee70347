/** An `HttpClient` whose I/O is done by the I/O thread. It touches `effect/http` and the bridge. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type BridgeFailure, type BridgeResponse, SyncBridge } from "../../services/SyncBridge.ts"
import { unattached } from "./bridge.ts"

/** The client that `SyncEdge.layerHttpClient` provides. */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make((request, url, signal) =>
    Effect.gen(function* () {
      const body = yield* bodyOf(request)
      const bridge = (yield* SyncBridge) ?? unattached
      // The response outlives this Effect: its connection is let go when its body has ended, or its reader is done or
      // gone. `effect/http` fires the signal for a response that nobody can read any more.
      const scope = yield* Scope.make()
      signal.addEventListener("abort", () => Effect.runSync(Scope.close(scope, Exit.void)), { once: true })
      const response = yield* bridge
        .fetch({ method: request.method, url: url.toString(), headers: request.headers, body })
        .pipe(
          Scope.provide(scope),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
          Effect.mapError(
            (failure) =>
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, cause: failure, description: failure.message })
              })
          )
        )
      return toResponse(request, response, Scope.close(scope, Exit.void))
    })
  )
)

const bodyOf = (
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<string | Uint8Array | undefined, HttpClientError.HttpClientError> => {
  const { body } = request
  const cannot = (cause: unknown, description: string) =>
    new HttpClientError.HttpClientError({ reason: new HttpClientError.EncodeError({ request, cause, description }) })
  switch (body._tag) {
    case "Empty":
      return Effect.undefined
    case "Uint8Array":
      return Effect.succeed(body.body)
    case "Raw":
      return typeof body.body === "string" || body.body instanceof Uint8Array
        ? Effect.succeed(body.body)
        : Effect.fail(cannot(undefined, "the sync edge sends raw bodies of text and bytes only"))
    case "Stream":
      return Stream.mkUint8Array(body.stream).pipe(
        Effect.mapError((cause) => cannot(cause, "the request body's stream failed"))
      )
    case "FormData":
      return Effect.fail(cannot(undefined, "the sync edge sends no form data: encode the body yourself"))
  }
}

const toResponse = (
  request: HttpClientRequest.HttpClientRequest,
  response: BridgeResponse,
  close: Effect.Effect<void>
): HttpClientResponse.HttpClientResponse => {
  // A web response with this head and no body gives status, headers and cookies; every body is read from the bridge.
  const head = HttpClientResponse.fromWeb(
    request,
    new Response(null, {
      status: response.status,
      headers: response.headers.map(([key, value]) => [key, value] as [string, string])
    })
  )
  const decodeError = (cause: unknown) =>
    new HttpClientError.HttpClientError({ reason: new HttpClientError.DecodeError({ request, response: head, cause }) })
  const stream = response.body.pipe(
    Stream.mapError((failure: BridgeFailure) => decodeError(failure)),
    Stream.ensuring(close)
  )
  let bytes: Effect.Effect<Uint8Array<ArrayBuffer>, HttpClientError.HttpClientError> | undefined
  const all = Effect.suspend(() => {
    bytes ??= Effect.runSync(
      Effect.cached(
        Stream.mkUint8Array(stream) as Effect.Effect<Uint8Array<ArrayBuffer>, HttpClientError.HttpClientError>
      )
    )
    return bytes
  })
  const text = Effect.map(all, (body) => new TextDecoder().decode(body))
  const parse = <A>(read: (body: string) => A) =>
    Effect.flatMap(text, (body) => Effect.try({ try: () => read(body), catch: decodeError }))
  return Object.create(head, {
    url: { value: response.url },
    stream: { value: stream },
    arrayBuffer: {
      value: Effect.map(all, (body) => body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength))
    },
    text: { value: text },
    json: { value: parse((body) => (body === "" ? null : (JSON.parse(body) as unknown))) },
    urlParamsBody: { value: parse((body) => UrlParams.fromInput(new URLSearchParams(body))) },
    formData: { value: Effect.fail(decodeError("the sync edge reads no form data")) }
  }) as HttpClientResponse.HttpClientResponse
}
