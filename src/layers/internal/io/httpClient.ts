/** An `HttpClient` whose I/O is done by the I/O thread. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { HttpFailure, HttpResponse } from "../../../services/HttpTransport.ts"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import { unattached } from "./bridge.ts"
import * as RequestBody from "./requestBody.ts"

/** The client that `SyncEdge.layerHttpClient` provides. */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make((request, url, signal, fiber) =>
    Effect.gen(function* () {
      const bridge = (yield* SyncBridge) ?? ((yield* isSync) ? yield* noEdge(request) : unattached)
      const { body, contentType } = yield* RequestBody.read(request)
      // Of Effect's own client's options, those that mean something here.
      const init = Context.getOrUndefined(fiber.context, FetchHttpClient.RequestInit)
      // The response outlives this Effect: its connection is let go when its body has ended, or its reader is done or
      // gone. `effect/http` fires the signal for a response that has become unreachable.
      const scope = yield* Scope.make()
      signal.addEventListener("abort", () => Effect.runSync(Scope.close(scope, Exit.void)), { once: true })
      const response = yield* bridge
        .fetch({
          method: request.method,
          url: url.toString(),
          headers: headersOf(request.headers, init?.headers, contentType),
          body,
          redirect: init?.redirect
        })
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

/** Not an error that is worth another attempt. */
const noEdge = (request: HttpClientRequest.HttpClientRequest): Effect.Effect<never, HttpClientError.HttpClientError> =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.EncodeError({
        request,
        description:
          "Effect.runSync cannot wait for the network. Provide SyncEdge.layer, or run the program with Effect.runPromise"
      })
    })
  )

const headersOf = (
  own: Headers.Headers,
  given: RequestInit["headers"],
  contentType: string | undefined
): Headers.Headers => {
  const both = given === undefined ? own : Headers.merge(Headers.fromInput(given as Headers.Input), own)
  const typed =
    contentType === undefined || Headers.has(both, "content-type")
      ? both
      : Headers.set(both, "content-type", contentType)
  // The body's own length is sent. With a smaller one `fetch` would never end.
  return Headers.remove(typed, "content-length")
}

const toResponse = (
  request: HttpClientRequest.HttpClientRequest,
  response: HttpResponse,
  close: Effect.Effect<void>
): HttpClientResponse.HttpClientResponse => {
  // A web response with this head and no body gives status, headers and cookies; every body is read from the bridge.
  const web = new Response(null, { headers: response.headers.map(([key, value]) => [key, value] as [string, string]) })
  // It makes none with a status that is not in the standard; servers do.
  Object.defineProperty(web, "status", { value: response.status })
  const head = HttpClientResponse.fromWeb(request, web)
  const decodeError = (cause: unknown) =>
    new HttpClientError.HttpClientError({ reason: new HttpClientError.DecodeError({ request, response: head, cause }) })
  const body = response.body.pipe(
    Stream.mapError((failure: HttpFailure) => decodeError(failure)),
    Stream.ensuring(close)
  )
  let streamed = false
  const stream = Stream.suspend(() => {
    streamed = true
    return body
  })
  let bytes: Effect.Effect<Uint8Array<ArrayBuffer>, HttpClientError.HttpClientError> | undefined
  const all = Effect.suspend(() => {
    if (streamed) return Effect.fail(decodeError(new TypeError("the body has been read as a stream already")))
    bytes ??= Effect.runSync(
      Effect.cached(
        Stream.mkUint8Array(body) as Effect.Effect<Uint8Array<ArrayBuffer>, HttpClientError.HttpClientError>
      )
    )
    return bytes
  })
  const text = Effect.map(all, (body) => new TextDecoder().decode(body))
  const parse = <A>(read: (body: string) => A) =>
    Effect.flatMap(text, (body) => Effect.try({ try: () => read(body), catch: decodeError }))
  return Object.create(head, {
    // `HttpClientResponse.toWeb` would hand out that web response.
    "~effect/http/HttpClientResponse/WebSource": { value: () => undefined },
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
