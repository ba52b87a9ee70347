/** Where requests may go, how much may come back, and what is refused before one is made. On both edges. */
import { createServer, type RequestListener } from "node:http"
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Exit, Redacted, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, OpenAi, TestModel } from "troupe"
import { exitOn } from "../../support/edges.ts"

const agent = Agent.make("a", {})

const options = (baseUrl: string, more: Partial<OpenAi.Options> = {}): OpenAi.Options => ({
  model: "m",
  api: "chat",
  apiKey: Redacted.make("sk-1234567890abcdef"),
  retry: "none",
  baseUrl,
  ...more
})

const messageOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return assert.fail(`succeeded with ${JSON.stringify(exit.value)}`)
  assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
  const error: unknown = Cause.squash(exit.cause)
  return error instanceof Error ? error.message : assert.fail(String(error))
}

/** A server in a thread of its own, so that a blocked test can ask it: the source of what it does with each request. */
const serverOf = (listener: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly worker: Worker }>((resume) => {
      const worker = new Worker(
        `const { parentPort } = require("node:worker_threads")
         const seen = []
         const server = require("node:http").createServer((req, res) => (${listener})(req, res, seen))
         parentPort.on("message", () => parentPort.postMessage(seen))
         server.listen(0, "127.0.0.1", () => parentPort.postMessage("http://127.0.0.1:" + server.address().port))`,
        { eval: true }
      )
      worker.once("message", (url: string) => resume(Effect.succeed({ url, worker })))
    }),
    ({ worker }) => Effect.promise(() => worker.terminate())
  ).pipe(
    Effect.map(({ url, worker }) => ({
      url,
      seen: Effect.callback<ReadonlyArray<unknown>>((resume) => {
        worker.once("message", (seen: ReadonlyArray<unknown>) => resume(Effect.succeed(seen)))
        worker.postMessage("seen")
      })
    }))
  )

const endless = `(req, res) => {
  const line = "data: " + JSON.stringify({ choices: [{ index: 0, delta: { content: "x".repeat(60000) } }] }) + "\\n\\n"
  res.writeHead(200, { "content-type": "text/event-stream" })
  const push = () => { while (!res.destroyed && res.write(line)); res.once("drain", push) }
  push()
}`

describe("OpenAi.layer", () => {
  for (const [edge, runOn] of Object.entries(exitOn)) {
    describe(`${edge}:`, () => {
      it.live("takes neither prompt nor headers to another place that the server names", () =>
        Effect.gen(function* () {
          const other = yield* serverOf("(req, res, seen) => { seen.push(req.headers); res.end() }")
          for (const status of [301, 302, 303, 307, 308]) {
            const elsewhere = `${other.url.replace("127.0.0.1", "localhost")}/x?token=t`
            const first = yield* serverOf(
              `(req, res) => res.writeHead(${status}, { location: ${JSON.stringify(elsewhere)} }).end()`
            )
            const headers = { "x-api-key": Redacted.make("secret-of-mine"), "x-plain": "p" }
            const model = OpenAi.layer(options(first.url, { headers, organization: "org-1" }))
            for (const program of [Effect.asVoid(agent.run("private")), Stream.runDrain(agent.stream("private"))]) {
              const message = messageOf(yield* runOn(Effect.provide(program, model)))
              assert.include(message, "redirects to http://localhost:")
              assert.notInclude(message, "token=t")
            }
          }
          assert.deepStrictEqual(yield* other.seen, [])
        })
      )

      it.live("sends redacted headers, and shows none of them", () =>
        Effect.gen(function* () {
          const server = yield* serverOf(`(req, res, seen) => {
            seen.push(req.headers["x-tenant"])
            res.writeHead(400, { "content-type": "application/json" })
            res.end(JSON.stringify({ error: { message: "bad tenant " + req.headers["x-tenant"] } }))
          }`)
          const model = OpenAi.layer(options(server.url, { headers: { "x-tenant": Redacted.make("tenant-of-mine") } }))
          const message = messageOf(yield* runOn(Effect.provide(agent.run("x"), model)))
          assert.include(message, "bad tenant [redacted]")
          assert.deepStrictEqual(yield* server.seen, ["tenant-of-mine"])
        })
      )

      it.live("fails for an answer that has no end", () =>
        Effect.gen(function* () {
          const server = yield* serverOf(endless)
          const model = OpenAi.layer(options(server.url, { maxAnswerBytes: 1_000_000 }))
          for (const program of [Effect.asVoid(agent.run("x")), Stream.runDrain(agent.stream("x"))]) {
            const message = messageOf(yield* runOn(Effect.provide(program, model)))
            assert.include(message, "more than 1000000 bytes")
            assert.include(message, "`maxAnswerBytes`")
          }
          const unlimited = OpenAi.layer(options(server.url))
          const text = LanguageModel.streamText({ prompt: "x" }).pipe(Stream.runDrain, Effect.provide(unlimited))
          assert.include(messageOf(yield* runOn(text)), `more than ${256 * 1024 * 1024} bytes`)
        })
      )
    })
  }

  it.effect("says what to do where there is no key, and where the model has no name", () =>
    Effect.gen(function* () {
      const none = Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
      const failing = (made: OpenAi.Options) =>
        Effect.flip(agent.run("hi").pipe(Effect.provide(OpenAi.layer(made)), none))
      const missing = yield* failing({ model: "m" })
      assert.strictEqual(missing._tag, "ConfigError")
      for (const part of ["OPENAI_API_KEY is not set", "`apiKey`", "OPENAI_BASE_URL"]) {
        assert.include(missing.message, part)
      }
      for (const model of ["", " ", undefined as never]) {
        const unnamed = yield* failing(options("http://127.0.0.1:1", { model }))
        assert.strictEqual(unnamed._tag, "ConfigError")
        assert.include(unnamed.message, "`model` is empty")
      }
    })
  )

  it.live("gives advice that fits the cause", () =>
    Effect.gen(function* () {
      const respond = (listener: RequestListener) =>
        Effect.acquireRelease(
          Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
            const server = createServer(listener).listen(0, "127.0.0.1", () => {
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
      for (const [status, message, advice] of [
        [400, "temperature is not supported", "options.temperature"],
        [400, "something odd", undefined],
        [401, "wrong key", "`apiKey` or OPENAI_API_KEY"],
        [403, "no access", 'may use the model "m"'],
        [404, "The model `m` does not exist", 'Check the model\'s name, "m"'],
        [404, "Not Found", "/v1/chat/completions"],
        [400, "maximum context length is 10 tokens", "Shorten the conversation"],
        [503, "overloaded", "try again later"]
      ] as const) {
        const { url } = yield* respond((_, res) => {
          res.writeHead(status, { "content-type": "application/json" })
          res.end(JSON.stringify({ error: { message } }))
        })
        const model = OpenAi.layer(options(url, { options: { temperature: 1 } }))
        const error = yield* Effect.flip(Effect.provide(agent.run("x"), model))
        assert.include(error.message, message)
        if (advice === undefined) assert.match(error.message, /\(InvalidRequestError\)\.$/)
        else assert.include(error.message, advice)
      }
    })
  )

  it.effect("leaves the advice of other models as it is", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(agent.run("x").pipe(Effect.provide(TestModel.layer([]))))
      const text = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
      assert.include(text, "Add a turn, or find out why the agent went on (InvalidRequestError).")
      assert.notInclude(text, "length of the conversation")
    })
  )
})
