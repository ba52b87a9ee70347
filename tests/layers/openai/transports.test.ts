/** Answers and problems are the same by each transport, and each keeps what it promises on the wire. */
import { createServer, type RequestListener } from "node:http"
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import OpenAI, { AzureOpenAI } from "openai"
import { Agent, Cassette, OpenAi } from "troupe"
import * as Undici from "troupe/Undici"
import { exitOn } from "../../support/edges.ts"

const options = { model: "m", api: "chat", retry: "none" } as const
const keyed = (url: string, more: Partial<OpenAi.Options> = {}) =>
  OpenAi.layer({ ...options, baseUrl: url, apiKey: Redacted.make("sk-1234567890abcdef"), ...more })

const ways = {
  node: (url: string, more: Partial<OpenAi.Options> = {}) => keyed(url, { transport: "node", ...more }),
  undici: (url: string, more: Partial<OpenAi.Options> = {}) => keyed(url, { transport: Undici.transport, ...more }),
  fetch: (url: string, more: Partial<OpenAi.Options> = {}) => keyed(url, { transport: "fetch", ...more }),
  client: (url: string, more: Partial<OpenAi.Options> = {}) =>
    OpenAi.layerClient(new OpenAI({ baseURL: url, apiKey: "sk-1234567890abcdef" }), { ...options, ...more })
}

/** A server in this process; `seen` has the headers of each request. */
const serverOf = (listener: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly seen: Array<NodeJS.Dict<unknown>>; readonly close: () => void }>(
      (resume) => {
        const seen: Array<NodeJS.Dict<unknown>> = []
        const server = createServer((req, res) => {
          req.resume()
          req.on("end", () => {
            seen.push({ ...req.headers, path: req.url })
            listener(req, res)
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as { readonly port: number }
          const close = () => {
            server.closeAllConnections()
            server.close()
          }
          resume(Effect.succeed({ url: `http://127.0.0.1:${port}/v1`, seen, close }))
        })
      }
    ),
    ({ close }) => Effect.sync(close)
  )

/** An address where no server is. Port 1, the usual one, is refused by `fetch` itself. */
const gone = Effect.scoped(
  Effect.map(
    serverOf(() => {}),
    ({ url }) => url
  )
)

const answer = (content: string) =>
  JSON.stringify({ choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }] })
const event = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`
const ending = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`

const whole = Effect.map(LanguageModel.generateText({ prompt: "go" }), ({ text }) => text)
const streamed = Stream.runFold(
  LanguageModel.streamText({ prompt: "go" }),
  () => "",
  (all, part) => (part.type === "text-delta" ? all + part.delta : all)
)

/** The outcome of both, as a program sees it. */
const outcomes = (model: Layer.Layer<LanguageModel.LanguageModel, unknown>) =>
  Effect.forEach([whole, streamed], (call) =>
    Effect.map(Effect.result(Effect.provide(call, model)), (result) => {
      if (result._tag === "Success") return result.success
      const { isRetryable, message, reason } = result.failure as AiError.AiError
      return { tag: reason._tag, isRetryable, message: reason._tag === "NetworkError" ? "" : message }
    })
  )

const replies: Record<string, RequestListener> = {
  "a good answer": (_, res) => res.end(answer("ok")),
  "a refusal": (_, res) => res.writeHead(400).end(JSON.stringify({ error: { message: "no such field", code: "c" } })),
  "a wrong key": (_, res) => res.writeHead(401).end(JSON.stringify({ error: { message: "bad key" } })),
  "a rate limit": (_, res) => res.writeHead(429, { "retry-after": "7" }).end(JSON.stringify({ error: "slow down" })),
  "an error that is a text": (_, res) => res.writeHead(503).end("the model is loading"),
  "an error without a body": (_, res) => res.writeHead(500).end(),
  "an error in words of its own": (_, res) => res.writeHead(422).end(JSON.stringify({ detail: [{ msg: "missing" }] })),
  "a page": (_, res) => res.end("<html><title>Welcome</title></html>"),
  "a redirect to another host": (_, res) => res.writeHead(307, { location: "http://localhost:1/x" }).end(),
  "a redirect that has no end": (req, res) => res.writeHead(308, { location: req.url }).end(),
  "no content": (_, res) => res.writeHead(204).end(),
  "an answer that is cut off": (_, res) => {
    res.writeHead(200, { "content-length": "1000" }).write(answer("ok"))
    setTimeout(() => res.destroy(), 10)
  },
  "no answer": (_, res) => void res.destroy()
}

describe("The transports of OpenAi", () => {
  for (const [name, reply] of Object.entries(replies)) {
    it.live(`make the same of ${name}`, () =>
      Effect.gen(function* () {
        const { url } = yield* serverOf(reply)
        const expected = yield* outcomes(ways.node(url))
        for (const way of Object.values(ways)) assert.deepStrictEqual(yield* outcomes(way(url)), expected)
        if (name !== "a good answer") for (const one of expected) assert.isObject(one)
      })
    )
  }

  for (const [name, way] of Object.entries(ways)) {
    it.live(`${name} says that a server is not there, with the system's word for it`, () =>
      Effect.gen(function* () {
        const error = (yield* Effect.flip(Effect.provide(whole, way(yield* gone)))) as AiError.AiError
        assert.deepStrictEqual([error.reason._tag, error.isRetryable], ["NetworkError", true])
        assert.include(error.message, "ECONNREFUSED")
      })
    )

    it.live(`${name} sends a header's bytes as they are, alongside a prompt in another script`, () =>
      Effect.gen(function* () {
        const { seen, url } = yield* serverOf((_, res) => res.end(answer("ok")))
        const model = way(url, { headers: { "x-name": "Grüße" } })
        yield* Effect.provide(LanguageModel.generateText({ prompt: "日本語" }), model)
        assert.strictEqual(seen[0]!["x-name"], "Grüße")
      })
    )

    it.live(`${name} reads compressed answers, also as they come`, () =>
      Effect.gen(function* () {
        // The `fetch` of Node 22 does not know the last one.
        const newer = name === "node" || name === "undici" ? { zstd: zstdCompressSync } : {}
        const encodings = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, ...newer }
        for (const [encoding, compress] of Object.entries(encodings)) {
          const { url } = yield* serverOf((_, res) => {
            res.writeHead(200, { "content-encoding": encoding }).end(compress(answer("Grüße")))
          })
          assert.strictEqual(yield* Effect.provide(whole, way(url)), "Grüße", encoding)
        }
        let more = () => {}
        const { url } = yield* serverOf((_, res) => {
          res.writeHead(200, { "content-type": "text/event-stream", "content-encoding": "gzip" })
          // Members of their own, so that each can be read when it comes.
          res.write(gzipSync(event("a")))
          more = () => res.end(gzipSync(event("b") + ending))
        })
        const text = Stream.runFold(
          LanguageModel.streamText({ prompt: "go" }),
          () => "",
          (all, part) => {
            if (part.type !== "text-delta") return all
            // The rest comes when the first has been read.
            more()
            more = () => {}
            return all + part.delta
          }
        )
        assert.strictEqual(yield* Effect.provide(text, way(url)), "ab")
      })
    )

    it.live(`${name} gives up an answer that grows beyond its limit when it is decompressed`, () =>
      Effect.gen(function* () {
        const wire = { isClosed: false }
        const { url } = yield* serverOf((_, res) => {
          res.on("close", () => (wire.isClosed = true))
          res.writeHead(200, { "content-encoding": "gzip" }).write(gzipSync(Buffer.alloc(30_000_000, " ")))
        })
        const error = yield* Effect.flip(Effect.provide(whole, way(url, { maxAnswerBytes: 1_000_000 })))
        assert.include(String(error), "more than 1000000 bytes")
        while (!wire.isClosed) yield* Effect.sleep(5)
      })
    )

    it.live(`${name} reads no faster than its reader`, () =>
      Effect.gen(function* () {
        let written = 0
        const line = event("x".repeat(60_000))
        const { url } = yield* serverOf((_, res) => {
          const push = () => {
            while (!res.destroyed && written < 2000) {
              written++
              if (!res.write(line)) return void res.once("drain", push)
            }
            res.end(ending)
          }
          push()
        })
        let most = 0
        const first = yield* LanguageModel.streamText({ prompt: "go" }).pipe(
          Stream.tap(() => {
            if (most > 0) return Effect.void
            // A megabyte waits here, and some in the sockets; all of it is 120.
            return Effect.andThen(
              Effect.sleep("300 millis"),
              Effect.sync(() => (most = written))
            )
          }),
          Stream.filter((part) => part.type === "text-delta"),
          Stream.runCount,
          Effect.provide(way(url))
        )
        assert.isBelow(most, 250)
        assert.strictEqual(first, 2000)
      })
    )

    it.effect(`${name} keeps time by the program's clock`, () =>
      Effect.gen(function* () {
        const wire = { isClosed: false }
        const { seen, url } = yield* serverOf((_, res) => void res.on("close", () => (wire.isClosed = true)))
        for (const call of [whole, streamed]) {
          wire.isClosed = false
          const count = seen.length
          const asking = yield* Effect.forkChild(Effect.flip(Effect.provide(call, way(url, { timeout: "1 hour" }))))
          while (seen.length === count) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          yield* TestClock.adjust("59 minutes")
          assert.isUndefined(asking.pollUnsafe())
          yield* TestClock.adjust("1 minute")
          assert.include(String(yield* Fiber.join(asking)), "no answer within 1h")
          while (!wire.isClosed) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
      })
    )
  }

  it.live("are those of the thread on the sync edge, where a function of the program cannot be waited for", () =>
    Effect.gen(function* () {
      const given = keyed("http://127.0.0.1:1/v1", { transport: () => assert.fail("it was called") })
      const client = ways.client("http://127.0.0.1:1/v1")
      for (const model of [given, client]) {
        const exit = yield* exitOn.sync(Effect.flip(Effect.provide(whole, model)))
        assert.isTrue(Exit.isSuccess(exit))
        if (Exit.isSuccess(exit)) assert.include(String(exit.value), "Effect.runSync cannot wait")
      }
      for (const transport of ["auto", "node", Undici.transport, "fetch"] as const) {
        const exit = yield* exitOn.sync(Effect.flip(Effect.provide(whole, keyed(yield* gone, { transport }))))
        assert.isTrue(Exit.isSuccess(exit))
        if (Exit.isSuccess(exit)) assert.include(String(exit.value), "ECONNREFUSED")
      }
      const stub = Cassette.layerStub(() => ({ body: Schema.decodeUnknownSync(Schema.Any)(JSON.parse(answer("hi"))) }))
      const replayed = yield* exitOn.sync(Effect.provide(whole, Layer.provide(given, stub)))
      assert.deepStrictEqual(replayed, Exit.succeed("hi"))
    })
  )

  it.live("by default are a fetch that a program has put in the place of the platform's", () =>
    Effect.gen(function* () {
      const own = globalThis.fetch
      yield* Effect.acquireRelease(
        Effect.sync(() => (globalThis.fetch = async () => new Response(answer("stubbed")))),
        () => Effect.sync(() => (globalThis.fetch = own))
      )
      assert.strictEqual(yield* Effect.provide(whole, keyed("http://127.0.0.1:1/v1")), "stubbed")
    })
  )

  it.effect("are refused by a name that is not one of them", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.provide(whole, keyed("http://127.0.0.1:1", { transport: "http2" as never }))
      )
      assert.include(String(error), "`transport`")
    })
  )
})

describe("OpenAi.layerClient", () => {
  it.live("sends what the client adds, and keeps the client's key out of errors", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* serverOf((req, res) => {
        const { authorization } = req.headers
        if (seen.length === 1) res.end(answer("ok"))
        else res.writeHead(400).end(JSON.stringify({ error: { message: `you sent ${authorization}` } }))
      })
      const client = new OpenAI({
        baseURL: url,
        apiKey: "a-key-of-no-known-shape",
        organization: "org-1",
        defaultHeaders: { "x-team": "support" },
        defaultQuery: { tenant: "t" },
        maxRetries: 5
      })
      const model = OpenAi.layerClient(client, { ...options, headers: { "x-own": "1" } })
      assert.strictEqual(yield* Agent.make("a", {}).run("go").pipe(Effect.provide(model)), "ok")
      const { authorization, path, ...headers } = seen[0]!
      assert.deepStrictEqual(
        [authorization, path, headers["x-team"], headers["x-own"], headers["openai-organization"]],
        ["Bearer a-key-of-no-known-shape", "/v1/chat/completions?tenant=t", "support", "1", "org-1"]
      )
      const error = String(yield* Effect.flip(Effect.provide(whole, model)))
      assert.include(error, "you sent Bearer [redacted]")
      assert.strictEqual(seen.length, 2)
    })
  )

  it.live("asks a deployment of Azure", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* serverOf((_, res) => res.end(answer("ok")))
      const client = new AzureOpenAI({
        endpoint: new URL(url).origin,
        apiKey: "azure-key",
        apiVersion: "2026-01-01",
        deployment: "mine"
      })
      const model = OpenAi.layerClient(client, { model: "gpt-4.1-mini", retry: "none" })
      assert.strictEqual(yield* Effect.provide(whole, model), "ok")
      assert.deepStrictEqual(
        [seen[0]!["api-key"], seen[0]!["authorization"], seen[0]!["path"]],
        ["azure-key", undefined, "/openai/deployments/mine/chat/completions?api-version=2026-01-01"]
      )
    })
  )

  it.live("fails with what the client's own way to sign in fails with", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* serverOf((_, res) => res.end(answer("ok")))
      const client = new OpenAI({ baseURL: url, apiKey: () => Promise.reject(new Error("the vault is sealed")) })
      const error = yield* Effect.flip(Effect.provide(whole, OpenAi.layerClient(client, options)))
      assert.include(String(error), "the vault is sealed")
      assert.strictEqual(seen.length, 0)
    })
  )
})
