/** Where requests go, how long they wait, when they are made again, and what never gets out. */
import { createServer, type RequestListener, type ServerResponse } from "node:http"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  type Layer,
  Redacted,
  Schedule,
  Stream,
  Tracer
} from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { Agent, ModelInfo, OpenAi } from "troupe"
import * as OpenAiServer from "../../support/openAiServer.ts"

const secret = "a-key-of-no-known-shape"
const options = (url: string, more: Partial<OpenAi.Options> = {}): OpenAi.Options => ({
  model: "m",
  baseUrl: url,
  apiKey: Redacted.make(secret),
  retry: "none",
  ...more
})
const generate = LanguageModel.generateText({ prompt: "go" })
const stream = LanguageModel.streamText({ prompt: "go" })
const immediately = Schedule.recurs(3)

/** A scripted server, for what no well-meaning one does. */
const rawServer = (listener: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer((req, res) => {
        req.resume()
        req.on("end", () => listener(req, res))
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { readonly port: number }
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}/v1`, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const chunk = (delta: unknown, finish_reason: string | null = null): string =>
  `data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta, finish_reason }] })}\n\n`
const ending = `${chunk({}, "stop")}data: [DONE]\n\n`
const begin = (res: ServerResponse): void => void res.writeHead(200, { "content-type": "text/event-stream" })

const failureOf = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) return assert.fail(`succeeded with ${inspect(exit.value)}`)
  return Cause.squash(exit.cause) as E
}
const shown = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit)
    ? ""
    : `${inspect(exit, { depth: 20, showHidden: true })}${JSON.stringify(exit)}${Cause.pretty(exit.cause)}${String(failureOf(exit))}`

const withConfig = (values: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(values)))
const infoOf = (made: Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError>) =>
  Effect.provide(ModelInfo.get, made)

describe("OpenAi", () => {
  it.effect("takes its address and key from Config", () =>
    Effect.gen(function* () {
      const info = yield* infoOf(OpenAi.layer({ model: "m" })).pipe(
        withConfig({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: "https://models.example:8443/v1" })
      )
      assert.deepStrictEqual(info?.server, { address: "models.example", port: 8443 })
      const own = yield* infoOf(OpenAi.layer({ model: "m", provider: "vllm" })).pipe(
        withConfig({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: " " })
      )
      assert.deepStrictEqual([own?.server?.address, own?.server?.port, own?.provider], ["api.openai.com", 443, "vllm"])
    })
  )

  it.effect(
    "refuses at once an address, key, header or timeout that no request can be made with, and shows no secret",
    () =>
      Effect.gen(function* () {
        const bad: ReadonlyArray<readonly [Partial<OpenAi.Options>, string]> = [
          [{ baseUrl: "localhost:8000" }, "OPENAI_BASE_URL"],
          [{ baseUrl: "not an address" }, "OPENAI_BASE_URL"],
          [{ baseUrl: "https://user:hunter2hunter2@example.com/v1" }, "example.com"],
          [{ apiKey: Redacted.make("hunter2\nhunter2") }, "OPENAI_API_KEY"],
          [{ apiKey: Redacted.make(" ") }, "OPENAI_API_KEY"],
          [{ headers: { "x-key": "hunter2\nhunter2" } }, "x-key"],
          [{ headers: { "x key": "1" } }, "x key"],
          [{ timeout: "soon" as never }, "`timeout`"],
          [{ timeout: 0 }, "`timeout`"],
          [{ timeout: "-5 millis" }, "`timeout`"]
        ]
        for (const [more, named] of bad) {
          const exit = yield* Effect.exit(infoOf(OpenAi.layer(options("https://api.openai.com/v1", more))))
          const error = failureOf(exit)
          assert.strictEqual(error._tag, "ConfigError")
          assert.include(error.message, named)
          assert.notInclude(shown(exit), "hunter2")
        }
        const missing = yield* Effect.flip(infoOf(OpenAi.layer({ model: "m" })).pipe(withConfig({})))
        assert.include(missing.message, "OPENAI_API_KEY")
        const empty = yield* Effect.flip(infoOf(OpenAi.layer({ model: "m" })).pipe(withConfig({ OPENAI_API_KEY: "" })))
        assert.include(empty.message, "OPENAI_API_KEY")
      })
  )

  it.live("takes each option as a value or from Config", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("ok")])
      const made = OpenAi.layerConfig({
        model: Config.String("MODEL"),
        baseUrl: server.url,
        apiKey: Config.Redacted("MY_KEY"),
        timeout: Config.Duration("LIMIT"),
        retry: "none",
        options: { temperature: 0.5 },
        headers: { "x-plain": "1" }
      })
      yield* generate.pipe(
        Effect.provide(made),
        withConfig({ MODEL: "configured", MY_KEY: "mine", LIMIT: "5 seconds" })
      )
      const { body, headers } = server.requests[0]!
      assert.deepStrictEqual(
        [body["model"], body["temperature"], headers["authorization"], headers["x-plain"]],
        ["configured", 0.5, "Bearer mine", "1"]
      )
      const plain = OpenAi.layerConfig({ model: "plain", baseUrl: server.url, apiKey: Redacted.make("other") })
      yield* Effect.provide(generate, plain)
      assert.strictEqual(server.requests[1]!.headers["authorization"], "Bearer other")
    })
  )

  it.live("lets no key and no secret header out, for all answers and failures", () =>
    Effect.gen(function* () {
      const header = "another-secret-value"
      const echo = JSON.stringify({ error: { message: `you sent ${secret}, ${header} and sk-proj-0123456789abc` } })
      for (const status of [200, 400, 401, 403, 404, 429, 500]) {
        const { url } = yield* rawServer((_, res) => {
          res.writeHead(status, { "content-type": "application/json", "x-echo": secret })
          res.end(echo)
        })
        const made = OpenAi.layer(options(url, { headers: { "x-api-key": header, "x-plain": "server" } }))
        for (const call of [Effect.asVoid(generate), Stream.runDrain(stream)]) {
          const exit = yield* Effect.exit(Effect.provide(call, made))
          const words = shown(exit)
          assert.include(words, "[redacted]")
          for (const one of [secret, header, "sk-proj"]) assert.notInclude(words, one)
        }
      }
      const lost = yield* Effect.exit(
        Effect.provide(generate, OpenAi.layer(options(`http://127.0.0.1:1/${secret}/v1`)))
      )
      const error = failureOf(lost) as AiError.AiError
      assert.strictEqual(error.reason._tag, "NetworkError")
      assert.include(error.message, "127.0.0.1:1")
      assert.notInclude(shown(lost), secret)
    })
  )

  it.live("names the host and port of a server that is not there, and may be asked again", () =>
    Effect.gen(function* () {
      for (const [url, named] of [
        ["http://127.0.0.1:1/v1", "http://127.0.0.1:1"],
        ["http://no-such-host.invalid:8000/v1", "http://no-such-host.invalid:8000"]
      ] as const) {
        const error = failureOf(
          yield* Effect.exit(Effect.provide(generate, OpenAi.layer(options(url))))
        ) as AiError.AiError
        assert.deepStrictEqual([error.reason._tag, error.isRetryable], ["NetworkError", true])
        assert.include((error.reason as { readonly description?: string }).description, named)
      }
    })
  )

  it.live("does not take a slow consumer for a silent server", () =>
    Effect.gen(function* () {
      const { url } = yield* rawServer((_, res) => {
        begin(res)
        res.write(chunk({ content: "a" }))
        setTimeout(() => res.end(chunk({ content: "b" }) + ending), 20)
      })
      const seen: Array<string> = []
      yield* Stream.runForEach(stream, (part) =>
        part.type === "text-delta"
          ? Effect.andThen(
              Effect.sync(() => seen.push(part.delta)),
              Effect.sleep("2 seconds")
            )
          : Effect.void
      ).pipe(Effect.provide(OpenAi.layer(options(url, { timeout: "1500 millis" }))))
      assert.deepStrictEqual(seen, ["a", "b"])
    })
  )

  it.live("takes a server that sends a little now and then for a living one, and silence for a lost connection", () =>
    Effect.gen(function* () {
      const alive = yield* rawServer((_, res) => {
        begin(res)
        let n = 0
        const timer = setInterval(() => {
          if (n++ < 16) res.write(": still thinking\n\n")
          else {
            clearInterval(timer)
            res.end(chunk({ content: "a" }) + ending)
          }
        }, 100)
      })
      // Both are in this process, which may have to wait for its turn: many times the pause between two pieces.
      const limited = { timeout: "1500 millis" } as const
      yield* Effect.provide(Stream.runDrain(stream), OpenAi.layer(options(alive.url, limited)))
      const dead = yield* rawServer((_, res) => {
        begin(res)
        res.write(chunk({ content: "a" }))
      })
      for (const call of [Effect.asVoid(generate), Stream.runDrain(stream)]) {
        const exit = yield* Effect.exit(Effect.provide(call, OpenAi.layer(options(dead.url, limited))))
        const error = failureOf(exit) as AiError.AiError
        assert.deepStrictEqual([error.reason._tag, error.isRetryable], ["NetworkError", true])
        assert.include(error.message, "1s 500ms")
      }
    })
  )

  it.live("reads a stream to its end, so that its connection can serve another", () =>
    Effect.gen(function* () {
      let complete = 0
      const { url } = yield* rawServer((_, res) => {
        begin(res)
        res.write(chunk({ content: "a" }) + ending)
        // The body ends a moment after its last event.
        setTimeout(() => res.end(() => complete++), 10)
      })
      yield* Effect.provide(Stream.runDrain(stream), OpenAi.layer(options(url)))
      assert.strictEqual(complete, 1)
    })
  )

  for (const api of ["chat", "responses"] as const) {
    it.live(`${api}: aborts on the wire when a stream is dropped early, or the fiber is interrupted`, () =>
      Effect.gen(function* () {
        const slow = OpenAiServer.text("abc".repeat(300), { paceMs: 20 })
        const server = yield* OpenAiServer.make((request) => (request.body["stream"] === true ? slow : { hang: true }))
        const made = OpenAi.layer(options(server.url, { api }))
        yield* stream.pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.take(2),
          Stream.runDrain,
          Effect.provide(made)
        )
        yield* server.untilAborted(1)
        const began = yield* Deferred.make<void>()
        const reading = yield* Stream.runForEach(stream, () => Deferred.succeed(began, undefined)).pipe(
          Effect.provide(made),
          Effect.forkChild
        )
        yield* Deferred.await(began)
        yield* Fiber.interrupt(reading)
        yield* server.untilAborted(2)
        const asking = yield* Effect.forkChild(Effect.provide(generate, made))
        yield* server.untilSeen(3)
        yield* Fiber.interrupt(asking)
        yield* server.untilAborted(3)
      })
    )

    it.live(`${api}: retries a stream only before its first part, and sends each run of it again`, () =>
      Effect.gen(function* () {
        const server = yield* OpenAiServer.make([
          { status: 500 },
          OpenAiServer.text("first"),
          { status: 500 },
          OpenAiServer.text("second"),
          OpenAiServer.text("cut off in the middle", { resetAfter: 700 })
        ])
        const made = OpenAi.layer(options(server.url, { api, retry: immediately }))
        const asText = Stream.runFold(
          stream,
          () => "",
          (all, part) => (part.type === "text-delta" ? all + part.delta : all)
        )
        const [first, second, third] = yield* Effect.all([asText, asText, Effect.exit(asText)]).pipe(
          Effect.provide(made)
        )
        assert.deepStrictEqual([first, second], ["first", "second"])
        assert.strictEqual((failureOf(third) as AiError.AiError).reason._tag, "NetworkError")
        assert.strictEqual(server.requests.length, 5)
      })
    )
  }

  it.live(
    "waits as long as a server asks, in seconds, milliseconds or until a date, and not for longer than a minute",
    () =>
      Effect.gen(function* () {
        const limited = (headers: Record<string, string>) => ({ status: 429, headers })
        const server = yield* OpenAiServer.make([limited({ "retry-after-ms": "300" }), OpenAiServer.text("ok")])
        const started = performance.now()
        yield* Effect.provide(generate, OpenAi.layer(options(server.url, { retry: immediately })))
        assert.isAtLeast(performance.now() - started, 295)
        for (const [headers, least, most] of [
          [{ "retry-after": "7" }, 7000, 7000],
          [{ "retry-after": "0.5" }, 500, 500],
          [{ "retry-after-ms": "1500", "retry-after": "9" }, 1500, 1500],
          [{ "retry-after": new Date(Date.now() + 90_000).toUTCString() }, 85_000, 90_000],
          [{ "retry-after": new Date(0).toUTCString() }, 0, 0],
          [{ "retry-after": "soon" }, undefined, undefined],
          [{ "retry-after": "-3" }, undefined, undefined]
        ] as ReadonlyArray<readonly [Record<string, string>, number | undefined, number | undefined]>) {
          const asked = yield* OpenAiServer.make([limited(headers)])
          const error = yield* Effect.flip(Effect.provide(generate, OpenAi.layer(options(asked.url))))
          const after = (error as AiError.AiError).retryAfter
          if (least === undefined) assert.isUndefined(after)
          else {
            assert.isAtLeast(Duration.toMillis(after!), least)
            assert.isAtMost(Duration.toMillis(after!), most!)
          }
        }
        for (const status of [429, 503]) {
          const long = yield* OpenAiServer.make([{ status, headers: { "retry-after": "120" } }])
          yield* Effect.exit(Effect.provide(generate, OpenAi.layer(options(long.url, { retry: immediately }))))
          assert.strictEqual(long.requests.length, 1)
        }
      })
  )

  it.live("leaves retries to a caller that makes them", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([{ status: 500 }])
      const made = OpenAi.layer(options(server.url, { retry: immediately }))
      for (const call of [Effect.asVoid(generate), Stream.runDrain(stream)]) {
        yield* call.pipe(Effect.provideService(ModelInfo.CallerRetries, true), Effect.provide(made), Effect.exit)
      }
      assert.strictEqual(server.requests.length, 2)
      yield* Effect.exit(Effect.provide(generate, made))
      assert.strictEqual(server.requests.length, 6)
      yield* Agent.make("a", { retry: Schedule.recurs(1) })
        .run("go")
        .pipe(Effect.provide(made), Effect.exit)
      assert.strictEqual(server.requests.length, 8)
    })
  )

  it.live("writes on the caller's span what was asked and answered, and nothing of what was said", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("the spoken answer")])
      for (const call of [Effect.asVoid(generate), Stream.runDrain(stream)]) {
        const spans: Array<Tracer.Span> = []
        const tracer = Tracer.make({
          span: (made) => {
            const span = new Tracer.NativeSpan(made)
            spans.push(span)
            return span
          }
        })
        yield* call.pipe(
          OpenAi.withOptions({ temperature: 0.5, maxOutputTokens: 9 }),
          Effect.provide(OpenAi.layer(options(server.url))),
          Effect.withTracer(tracer)
        )
        const all = Object.assign({}, ...spans.map((span) => Object.fromEntries(span.attributes)))
        const expected: Record<string, unknown> = {
          "gen_ai.operation.name": "chat",
          "gen_ai.request.model": "m",
          "gen_ai.request.temperature": 0.5,
          "gen_ai.request.max_tokens": 9,
          "gen_ai.response.finish_reasons": ["stop"],
          "gen_ai.usage.input_tokens": 11,
          "gen_ai.usage.output_tokens": 7
        }
        for (const [key, value] of Object.entries(expected)) assert.deepStrictEqual(all[key], value, key)
        assert.isString(all["gen_ai.response.id"])
        assert.isString(all["gen_ai.response.model"])
        const written = inspect(
          spans.map((span) => [span.name, span.attributes, span.links]),
          { depth: 8 }
        )
        for (const one of ["spoken", secret]) assert.notInclude(written, one)
      }
    })
  )
})
