/**
 * Bodies of requests as text or bytes, with the type that `fetch` would give them. `Blob`s are
 * read in the I/O thread: in this one only a promise could.
 */
import { createHash } from "node:crypto"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Stream from "effect/Stream"
import * as Program from "./program.ts"
import { source as blobProgram } from "./blobProgram.generated.ts"
import { isSync } from "../../../services/SyncBridge.ts"

/** A body, and its content type if the body determines it. */
export interface RequestBody {
  readonly body: string | Uint8Array | undefined
  readonly contentType?: string
}

/** Why there is no body to send. */
class Unsendable {
  readonly cause: unknown
  readonly description: string
  constructor(description: string, cause?: unknown) {
    this.description = description
    this.cause = cause
  }
}

/** Reads the body of a request. Fails with an `EncodeError`. */
export const read = (
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<RequestBody, HttpClientError.HttpClientError> =>
  Effect.mapError(
    bodyOf(request.body),
    ({ cause, description }) =>
      new HttpClientError.HttpClientError({ reason: new HttpClientError.EncodeError({ request, cause, description }) })
  )

const bodyOf = (body: HttpBody.HttpBody): Effect.Effect<RequestBody, Unsendable> => {
  switch (body._tag) {
    case "Empty":
      return Effect.succeed({ body: undefined })
    case "Uint8Array":
      return Effect.succeed({ body: body.body })
    case "Raw":
      return rawOf(body.body)
    case "Stream":
      return Stream.mkUint8Array(body.stream).pipe(
        Effect.map((bytes) => ({ body: bytes })),
        Effect.mapError((cause) => new Unsendable("the request body's stream failed", cause))
      )
    case "FormData":
      return formOf(body.formData)
  }
}

const rawOf = (raw: unknown): Effect.Effect<RequestBody, Unsendable> => {
  if (raw === undefined || raw === null) return Effect.succeed({ body: undefined })
  if (typeof raw === "string" || raw instanceof Uint8Array) return Effect.succeed({ body: raw })
  if (raw instanceof ArrayBuffer) return Effect.succeed({ body: new Uint8Array(raw) })
  if (ArrayBuffer.isView(raw)) {
    return Effect.succeed({ body: new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength) })
  }
  if (raw instanceof URLSearchParams) {
    const contentType = "application/x-www-form-urlencoded;charset=UTF-8"
    return Effect.succeed({ body: raw.toString(), contentType })
  }
  if (raw instanceof FormData) return formOf(raw)
  if (raw instanceof Blob) {
    return Effect.map(bytesOf(raw), (body) => (raw.type === "" ? { body } : { body, contentType: raw.type }))
  }
  return Effect.fail(
    new Unsendable("the sync edge cannot read this raw body: give its bytes, or HttpBody.stream of an Effect Stream")
  )
}

const lines = (text: string): string => text.replace(/\r\n|\r|\n/g, "\r\n")
const quoted = (name: string): string => name.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22")

/** Multipart, as the standard of `fetch` has it. */
const formOf = (form: FormData): Effect.Effect<RequestBody, Unsendable> =>
  Effect.gen(function* () {
    const parts: Array<Buffer> = []
    for (const [name, value] of form.entries()) {
      const head = `Content-Disposition: form-data; name="${quoted(lines(name))}"`
      if (typeof value === "string") parts.push(Buffer.from(`${head}\r\n\r\n${lines(value)}\r\n`))
      else {
        const type = value.type === "" ? "application/octet-stream" : value.type
        const bytes = yield* bytesOf(value)
        const before = `${head}; filename="${quoted(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`
        parts.push(Buffer.concat([Buffer.from(before), bytes, Buffer.from("\r\n")]))
      }
    }
    // Made of the content: it cannot occur in there, and the same form is the same body each time.
    const hash = createHash("sha256")
    for (const part of parts) hash.update(part)
    const boundary = `----formdata-${hash.digest("hex").slice(0, 32)}`
    const body = Buffer.concat([
      ...parts.flatMap((part) => [Buffer.from(`--${boundary}\r\n`), part]),
      Buffer.from(`--${boundary}--\r\n`)
    ])
    return { body, contentType: `multipart/form-data; boundary=${boundary}` }
  })

const bytesOf = (blob: Blob): Effect.Effect<Uint8Array, Unsendable> =>
  Effect.flatMap(isSync, (sync) => (sync ? bytesByThread(blob) : bytesByPromise(blob)))

const unreadable = (cause: unknown) => new Unsendable("a Blob of the request's body cannot be read", cause)

const bytesByPromise = (blob: Blob): Effect.Effect<Uint8Array, Unsendable> =>
  Effect.tryPromise({ try: async () => new Uint8Array(await blob.arrayBuffer()), catch: unreadable })

const bytesByThread = (blob: Blob): Effect.Effect<Uint8Array, Unsendable> =>
  Effect.suspend(() => {
    const read = Deferred.makeUnsafe<Uint8Array, Unsendable>()
    const onEvent = (event: Program.ProgramEvent) => {
      const answer = event._tag === "Message" ? (event.message as { readonly bytes?: Uint8Array }) : {}
      Deferred.doneUnsafe(
        read,
        answer.bytes === undefined ? Effect.fail(unreadable(event.message)) : Effect.succeed(answer.bytes)
      )
    }
    return Effect.acquireUseRelease(
      Program.start(blobProgram, undefined, onEvent),
      (program) =>
        Effect.try({
          try: () => program.send(blob),
          catch: (cause) =>
            new Unsendable("a Blob of a file cannot be read on the sync edge: read the file with FileSystem", cause)
        }).pipe(Effect.andThen(program.wait(Deferred.await(read)))),
      (program) => program.release
    )
  })
