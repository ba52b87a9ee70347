/** Cassettes for all clients of `effect/http`, on both edges. */
import * as fs from "node:fs"
import * as path from "node:path"
import { inspect } from "node:util"
import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Redacted, Stream, Tracer } from "effect"
import {
  Cookies,
  FetchHttpClient,
  HttpClient,
  HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "effect/http"
import { Agent, Cassette, OpenAi, SyncEdge } from "troupe"
import * as ChildServer from "../../support/childServer.ts"
import { exitOn } from "../../support/edges.ts"
import { error, text } from "../../support/openAiServer.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const failureOf = <E>(exit: Exit.Exit<unknown, E>): E =>
  Exit.isSuccess(exit) ? assert.fail(`succeeded with ${JSON.stringify(exit.value)}`) : (Cause.squash(exit.cause) as E)
const valueOf = <A>(exit: Exit.Exit<A, unknown>): A =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))

const edges = {
  async: {
    client: FetchHttpClient.layer,
    run: exitOn.async
  },
  sync: {
    client: SyncEdge.layerHttpClient,
    run: exitOn.sync
  }
}

const ask = (url: string, words: string) =>
  HttpClientRequest.post(`${url}/chat/completions`).pipe(
    HttpClientRequest.setHeader("x-api-key", "a-header-secret"),
    HttpClientRequest.bodyJsonUnsafe({ model: "m", messages: [{ role: "user", content: words }] })
  )

layer(ChildServer.layer, { excludeTestServices: true })("Cassette.layerHttpClient", (it) => {
  for (const [edge, { client, run }] of Object.entries(edges)) {
    describe(edge, () => {
      it.effect("replays answers, errors and lost connections without the server", () =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script(text("Hello!"), error(503, "busy"), text("never", { resetAfter: 0 }))
          const file = path.join(yield* scopedFolder, "a.json")
          const program = Effect.gen(function* () {
            const client = yield* HttpClient.HttpClient
            const response = yield* client.execute(ask(url, "Hi"))
            const body = yield* response.json
            const busy = yield* client.execute(ask(url, "Hi"))
            const lost = yield* Effect.flip(client.execute(ask(url, "Hi")))
            return [
              response.status,
              response.headers["content-type"],
              body,
              busy.status,
              yield* busy.text,
              lost.reason._tag
            ] as const
          })
          const use = (mode: "record" | "replay") =>
            run(
              program.pipe(
                Effect.provide(
                  Cassette.layerHttpClient.pipe(
                    Layer.provide(Cassette.layer({ path: file, mode, unused: "die" })),
                    Layer.provide(client)
                  )
                )
              )
            )
          const recorded = valueOf(yield* use("record"))
          assert.strictEqual((recorded[2] as any).choices[0].message.content, "Hello!")
          assert.deepStrictEqual(recorded.slice(3), [503, "busy", "TransportError"])
          assert.strictEqual((yield* server.seen).length, 3)
          assert.strictEqual((yield* server.seen)[0]!.headers["x-api-key"], "a-header-secret")
          yield* server.script()
          assert.deepStrictEqual(valueOf(yield* use("replay")), recorded)
          assert.strictEqual((yield* server.seen).length, 0)
          assert.notMatch(fs.readFileSync(file, "utf8"), /a-header-secret/)
        })
      )

      it.effect("fails for a request that differs with an error that is not retried", () =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script(text("Hello!"))
          const file = path.join(yield* scopedFolder, "a.json")
          const use = (mode: "record" | "replay", words: string) =>
            run(
              HttpClient.HttpClient.pipe(
                Effect.flatMap((client) =>
                  HttpClient.retryTransient(client, { times: 3 })
                    .execute(ask(url, words))
                    .pipe(Effect.flatMap(({ text }) => text))
                ),
                Effect.provide(
                  Cassette.layerHttpClient.pipe(
                    Layer.provide(Cassette.layer({ path: file, mode })),
                    Layer.provide(client)
                  )
                )
              )
            )
          valueOf(yield* use("record", "Hi"))
          const failed = failureOf(yield* use("replay", "Ho"))
          assert.instanceOf(failed, HttpClientError.HttpClientError)
          if (failed._tag !== "HttpClientError" || failed.reason._tag !== "EncodeError")
            return assert.fail(String(failed))
          const cause = failed.reason.cause
          assert.instanceOf(cause, Cassette.RequestNotRecorded)
          assert.strictEqual((cause as Cassette.RequestNotRecorded).request, 1)
          assert.include(failed.message, 'body.messages[0].content: expected "Hi", got "Ho"')
        })
      )

      it.effect("shares one cassette with a model", () =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script(text("one"), text("two"))
          const file = path.join(yield* scopedFolder, "a.json")
          const agent = Agent.make("agent", { retry: "none" })
          const program = Effect.gen(function* () {
            const client = yield* HttpClient.HttpClient
            const first = yield* client.execute(ask(url, "Hi")).pipe(Effect.flatMap(({ text }) => text))
            return [first, yield* agent.run("Hi")]
          })
          const use = (mode: "record" | "replay") =>
            run(
              program.pipe(
                Effect.provide(
                  Layer.mergeAll(
                    Cassette.layerHttpClient.pipe(Layer.provide(client)),
                    OpenAi.layer({ model: "m", baseUrl: url, api: "chat", apiKey: Redacted.make("a-key-of-mine") })
                  ).pipe(Layer.provide(Cassette.layer({ path: file, mode, unused: "die" })))
                )
              )
            )
          const recorded = valueOf(yield* use("record"))
          assert.strictEqual(recorded[1], "two")
          yield* server.script()
          assert.deepStrictEqual(valueOf(yield* use("replay")), recorded)
        })
      )
    })
  }
})

describe("Cassette.layerHttpClient", () => {
  /** A client that needs no network, and says what it was asked. */
  const fake = (chunks: ReadonlyArray<string>, bodies: Array<unknown> = []) =>
    Layer.succeed(
      HttpClient.HttpClient,
      HttpClient.make((request) =>
        Effect.sync(() => {
          bodies.push(
            request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : request.body._tag
          )
          const body = ReadableStream.from(chunks.map((chunk) => new TextEncoder().encode(chunk)))
          return HttpClientResponse.fromWeb(
            request,
            new Response(body as never, {
              headers: { "content-type": "text/event-stream", "set-cookie": "a=b-c-d-e-f-g" }
            })
          )
        })
      )
    )
  const read = Effect.flatMap(HttpClient.get("https://example.com/events"), ({ stream }) =>
    Effect.map(Stream.runCollect(Stream.decodeText(Stream.rechunk(stream, 1))), (all) => [...all])
  )
  const use = <A, E>(
    file: string,
    mode: "record" | "replay",
    program: Effect.Effect<A, E, HttpClient.HttpClient>,
    client: Layer.Layer<HttpClient.HttpClient>
  ) =>
    program.pipe(
      Effect.provide(
        Cassette.layerHttpClient.pipe(Layer.provide(Cassette.layer({ path: file, mode })), Layer.provide(client))
      )
    )

  it.live("keeps the chunks of a stream, and the events in them as lines of their own", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const chunks = ["data: 1\n\nda", "ta: 2\n\ndata: 3\n\n", "data: 4\n\n"]
      assert.deepStrictEqual(yield* use(file, "record", read, fake(chunks)), chunks)
      assert.deepStrictEqual(yield* use(file, "replay", read, fake([])), chunks)
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(file, "utf8")).exchanges[0].response, {
        status: 200,
        headers: { "content-type": "text/event-stream", "set-cookie": "[redacted]" },
        body: { chunks: [["data: 1\n\n", "da"], ["ta: 2\n\n", "data: 3\n\n"], ["data: 4\n\n"]] }
      })
    })
  )

  it.live("shows no secret of an address, neither in the file nor in errors", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const get = (page: number) =>
        HttpClient.get("https://example.com/events", {
          urlParams: { api_key: "a-query-secret", page },
          headers: { authorization: "Basic a-header-secret" }
        })
      yield* use(
        file,
        "record",
        Effect.flatMap(get(1), ({ text }) => text),
        fake(["a-query-secret, a-header-secret"])
      )
      assert.notMatch(fs.readFileSync(file, "utf8"), /a-(header|query)-secret/)
      const exit = yield* Effect.exit(use(file, "replay", get(2), fake([])))
      const failed = failureOf(exit)
      assert.include(
        failed.message,
        `path: expected "/events?api_key=redacted&page=1", got "/events?api_key=redacted&page=2"`
      )
      assert.notMatch(inspect(exit, { depth: 20 }), /a-(header|query)-secret/)
    })
  )

  it.live("sends a body that is a stream once, and as it was", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const bodies: Array<unknown> = []
      let reads = 0
      const program = Effect.suspend(() =>
        HttpClient.execute(
          HttpClientRequest.post("https://example.com/upload").pipe(
            HttpClientRequest.bodyStream(
              Stream.suspend(() => {
                reads++
                return Stream.make(new TextEncoder().encode("some "), new TextEncoder().encode("text"))
              })
            )
          )
        )
      ).pipe(Effect.flatMap(({ text }) => text))
      yield* use(file, "record", program, fake(["x"], bodies))
      assert.deepStrictEqual([bodies, reads], [["some text"], 1])
      assert.strictEqual(yield* use(file, "replay", program, fake([])), "x")
    })
  )

  it.live("replays a form with files for the same form, and for no other one", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const send = (content: string) =>
        Effect.suspend(() => {
          const form = new FormData()
          form.append("purpose", "test")
          form.append("file", new File([content], "a.txt"))
          return HttpClient.execute(HttpClientRequest.bodyFormData(HttpClientRequest.post("https://a.example"), form))
        }).pipe(Effect.flatMap(({ text }) => text))
      yield* use(file, "record", send("one"), fake(["x"]))
      assert.strictEqual(yield* use(file, "replay", send("one"), fake([])), "x")
      const failed = yield* Effect.flip(use(file, "replay", send("two"), fake([])))
      assert.include(String(failed), "is not recorded")
    })
  )

  it.live("records and replays what the client below gives: no body, any status, every cookie, the last address", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const answering = (make: () => Response) =>
        Layer.succeed(
          HttpClient.HttpClient,
          HttpClient.make((request) => Effect.sync(() => HttpClientResponse.fromWeb(request, make())))
        )
      const seen = Effect.flatMap(HttpClient.get("https://example.com/a"), (response) =>
        Effect.map(response.text, (text) => ({
          text,
          status: response.status,
          url: response.url,
          cookies: Object.keys(Cookies.toRecord(response.cookies))
        }))
      )
      const responses: ReadonlyArray<() => Response> = [
        () => new Response(null, { status: 204 }),
        () => Object.defineProperty(new Response("denied"), "status", { value: 999 }),
        () => Object.defineProperty(new Response("moved"), "url", { value: "https://example.com/b?page=1" })
      ]
      for (const make of responses) {
        const live = yield* Effect.provide(seen, answering(make))
        assert.deepStrictEqual(yield* use(file, "record", seen, answering(make)), live)
        assert.deepStrictEqual(yield* use(file, "replay", seen, fake([])), live)
      }
      const cookies: Array<[string, string]> = [
        ["set-cookie", "a=1; Path=/"],
        ["set-cookie", "b=2"]
      ]
      const two = answering(() => new Response("", { headers: cookies }))
      assert.deepStrictEqual((yield* use(file, "record", seen, two)).cookies, ["a", "b"])
    })
  )

  it.live("says in the file why a connection was lost", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })
      const client = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) =>
          Effect.fail(
            new HttpClientError.HttpClientError({
              reason: new HttpClientError.TransportError({
                request,
                cause: new TypeError("fetch failed", { cause: refused })
              })
            })
          )
        )
      )
      yield* Effect.flip(use(file, "record", read, client))
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(file, "utf8")).exchanges[0].failure, {
        message: "fetch failed: connect ECONNREFUSED",
        code: "ECONNREFUSED"
      })
    })
  )

  it.live("gives the errors of the client below as they are", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const original = (request: HttpClientRequest.HttpClientRequest) =>
        new HttpClientError.HttpClientError({
          reason: new HttpClientError.InvalidUrlError({ request, cause: undefined, description: "mine" })
        })
      const client = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) => Effect.fail(original(request)))
      )
      const failed = yield* Effect.flip(use(file, "record", read, client))
      assert.strictEqual((failed as HttpClientError.HttpClientError).reason._tag, "InvalidUrlError")
    })
  )

  it.live("makes one span for each request, recording and replaying", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      for (const mode of ["record", "replay"] as const) {
        const spans: Array<string> = []
        const tracer = Tracer.make({
          span: (options) => {
            spans.push(options.name)
            return new Tracer.NativeSpan(options)
          }
        })
        yield* use(file, mode, read, fake(["data: 1\n\n"])).pipe(Effect.provideService(Tracer.Tracer, tracer))
        assert.strictEqual(spans.length, 1, spans.join())
      }
    })
  )

  it.live("keeps servers apart that are asked the same", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const client = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request, { hostname }) =>
          Effect.succeed(HttpClientResponse.fromWeb(request, new Response(hostname)))
        )
      )
      const ask = (...hosts: ReadonlyArray<string>) =>
        Effect.forEach(hosts, (host) => Effect.flatMap(HttpClient.get(`https://${host}/same`), ({ text }) => text))
      assert.deepStrictEqual(yield* use(file, "record", ask("a.example", "b.example"), client), [
        "a.example",
        "b.example"
      ])
      assert.deepStrictEqual(yield* use(file, "replay", ask("b.example", "a.example"), client), [
        "b.example",
        "a.example"
      ])
      // One that was never asked gets what is left.
      assert.deepStrictEqual(yield* use(file, "replay", ask("c.example"), client), ["a.example"])
    })
  )

  it.live("marks a stream whose reader has gone, and replays what had come", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      const first = Effect.flatMap(HttpClient.get("https://example.com/events"), ({ stream }) =>
        Stream.runHead(Stream.decodeText(stream))
      )
      const chunks = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]
      const recorded = yield* use(file, "record", first, fake(chunks))
      const [exchange] = JSON.parse(fs.readFileSync(file, "utf8")).exchanges
      assert.property(exchange, "interrupted")
      assert.deepStrictEqual(yield* use(file, "replay", first, fake([])), recorded)
    })
  )
})
