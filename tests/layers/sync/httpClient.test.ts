import { type ChildProcess, fork } from "node:child_process"
import { openAsBlob } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect, Exit, Option, Stream } from "effect"
import { FetchHttpClient, HttpBody, HttpClient, type HttpClientError, HttpClientResponse } from "effect/http"
import { SyncEdge } from "troupe"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

let child: ChildProcess
let base = ""
beforeAll(async () => {
  const main = fileURLToPath(new URL("../../support/echoServerMain.ts", import.meta.url))
  child = fork(main, { execArgv: [] })
  const port = await new Promise<number>((resolve) => child.once("message", (message) => resolve(message as number)))
  base = `http://127.0.0.1:${port}`
})
afterAll(() => {
  child.kill("SIGKILL")
})

type Program<A> = Effect.Effect<A, unknown, HttpClient.HttpClient>

const sync = <A>(program: Program<A>): Exit.Exit<A, unknown> =>
  Effect.runSyncExit(
    program.pipe(Effect.timeout("5 seconds"), Effect.provide(SyncEdge.layerHttpClient), Effect.provide(SyncEdge.layer))
  )

/** What a program makes on the sync edge; Effect's own client on the async edge makes the same. */
const onBoth = async <A>(program: Program<A>): Promise<A> => {
  const expected = await Effect.runPromiseExit(Effect.provide(program, FetchHttpClient.layer))
  assert.deepStrictEqual(sync(program), expected)
  const outside = await Effect.runPromiseExit(Effect.provide(program, SyncEdge.layerHttpClient))
  assert.deepStrictEqual(outside, expected)
  if (Exit.isFailure(expected)) throw new Error("expected a success")
  return expected.value
}

/** What the server has got: the type and the body. The boundary of a form is another one each time. */
const sent = (body: HttpBody.HttpBody, headers: Readonly<Record<string, string>> = {}) =>
  HttpClient.post(base, { body, headers }).pipe(
    Effect.flatMap((response) => response.json),
    Effect.map((json) => {
      const got = json as { readonly headers: Readonly<Record<string, string>>; readonly body: string }
      const type = got.headers["content-type"] ?? ""
      const boundary = /boundary=(.*)/.exec(type)?.[1] ?? "no boundary"
      return [type.replace(boundary, "<boundary>"), got.body.replaceAll(boundary, "<boundary>")] as const
    })
  )

describe("the HttpClient of the sync edge sends", () => {
  it("the whole body, even if a header gives another length", async () => {
    for (const length of ["3", "5", "30"]) {
      const [, body] = await onBoth(sent(HttpBody.text("hello"), { "content-length": length }))
      assert.strictEqual(body, "hello")
    }
  })

  it("forms with fields and files", async () => {
    const form = new FormData()
    form.append("plain", "1")
    form.append('na"me\n', "two\nlines \r and ü")
    form.append("bytes", new Blob([new Uint8Array([0, 255, 10])], { type: "application/x-b" }), 'a"b.bin')
    form.append("file", new File(["text"], "ü.txt"))
    const [type, body] = await onBoth(sent(HttpBody.formData(form)))
    assert.strictEqual(type, "multipart/form-data; boundary=<boundary>")
    assert.include(body, 'name="file"; filename="')
    assert.deepStrictEqual(await onBoth(sent(HttpBody.formData(new FormData()))), [
      "multipart/form-data; boundary=<boundary>",
      "--<boundary>--\r\n"
    ])
  })

  it("raw bodies of every kind that can be read without a promise", async () => {
    const bodies: ReadonlyArray<readonly [unknown, ReadonlyArray<string>]> = [
      ["text", ["text/plain;charset=UTF-8", "text"]],
      [new URLSearchParams({ a: "b c" }), ["application/x-www-form-urlencoded;charset=UTF-8", "a=b+c"]],
      [new TextEncoder().encode("bytes"), ["", "bytes"]],
      [new TextEncoder().encode("buffer").buffer, ["", "buffer"]],
      [new DataView(new TextEncoder().encode("a view").buffer, 2), ["", "view"]],
      [new Blob(["blob"], { type: "text/q" }), ["text/q", "blob"]],
      [new Blob(["blob"]), ["", "blob"]]
    ]
    for (const [body, expected] of bodies) assert.deepStrictEqual(await onBoth(sent(HttpBody.raw(body))), expected)
    const typed = sent(HttpBody.raw(new Blob(["x"], { type: "text/q" }), { contentType: "text/own" }))
    assert.deepStrictEqual(await onBoth(typed), ["text/own", "x"])
  })

  it("no body that only a promise gives, and says what to do", async () => {
    const message = (body: unknown) => {
      const exit = sync(Effect.flip(sent(HttpBody.raw(body))))
      return Exit.isSuccess(exit) ? String(exit.value) : "no typed failure"
    }
    assert.include(message(new Blob(["x"]).stream()), "HttpBody.stream")
    assert.include(message(await openAsBlob(fileURLToPath(import.meta.url))), "FileSystem")
  })
})

it("without the sync edge, the HttpClient names the layer under runSync", () => {
  const exit = Effect.runSyncExit(Effect.flip(Effect.provide(HttpClient.get(base), SyncEdge.layerHttpClient)))
  assert.include(Exit.isSuccess(exit) ? exit.value.message : "no typed failure", "Provide SyncEdge.layer")
})

describe("the HttpClient of the sync edge answers", () => {
  it("with redirects as RequestInit wants them, and sends its headers", async () => {
    const status = Effect.map(HttpClient.get(`${base}/moved`), (response) => [
      response.status,
      Option.getOrUndefined(Option.fromNullishOr(response.headers["location"]))
    ])
    assert.deepStrictEqual(await onBoth(status), [200, undefined])
    const manual = Effect.provideService(status, FetchHttpClient.RequestInit, { redirect: "manual" })
    assert.deepStrictEqual(await onBoth(manual), [302, "/"])
    const refused = Effect.provideService(status, FetchHttpClient.RequestInit, { redirect: "error" })
    assert.isTrue(Exit.isFailure(sync(refused)))
    const own = HttpClient.get(base, { headers: { "x-one": "request" } }).pipe(
      Effect.flatMap((response) => response.json),
      Effect.map((json) => {
        const { headers } = json as { readonly headers: Readonly<Record<string, string>> }
        return [headers["x-one"], headers["x-two"]]
      }),
      Effect.provideService(FetchHttpClient.RequestInit, { headers: { "X-One": "init", "X-Two": "init" } })
    )
    assert.deepStrictEqual(await onBoth(own), ["request", "init"])
  })

  it("with any status that a server gives", async () => {
    for (const status of [200, 304, 404, 600, 999]) {
      const program = Effect.flatMap(HttpClient.get(`${base}/status/${status}`), (response) =>
        Effect.map(response.text, (text) => [response.status, text])
      )
      assert.deepStrictEqual(await onBoth(program), [status, status === 304 ? "" : "said"])
    }
  })

  it("with a body that can be read as a whole as often as wanted, but not after it was a stream", async () => {
    const get = HttpClient.get(`${base}/status/200`)
    const read = (response: HttpClientResponse.HttpClientResponse) => Stream.mkUint8Array(response.stream)
    const tagOf = (effect: Effect.Effect<unknown, HttpClientError.HttpClientError>) =>
      Effect.map(Effect.flip(effect), (error) => error.reason._tag)
    const whole = Effect.flatMap(get, ({ arrayBuffer, text }) =>
      Effect.all([text, text, Effect.map(arrayBuffer, (bytes) => bytes.byteLength)], { concurrency: 3 })
    )
    assert.deepStrictEqual(await onBoth(whole), ["said", "said", 4])
    const after = Effect.flatMap(get, (response) => Effect.andThen(read(response), tagOf(response.text)))
    assert.strictEqual(await onBoth(after), "DecodeError")
  })

  it("with no web response whose body would be empty", () => {
    const program = Effect.map(HttpClient.get(`${base}/status/200`), (response) => HttpClientResponse.toWeb(response))
    assert.deepStrictEqual(sync(program), Exit.succeed(Option.none()))
  })

  it("with a stream's failure where the request's body has one", () => {
    const program = HttpClient.post(base, { body: HttpBody.stream(Stream.fail("no body")) })
    assert.include(String(sync(program)), "the request body's stream failed")
  })
})
