/** How much a server takes on at once, over a real socket. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { McpServer, Runner } from "troupe"
import { begin, call, initialize, send, textOf } from "../../support/mcpPost.ts"

/** A tool whose runs wait until `open`, and how many there were at once. */
const gate = () => {
  const opened = Deferred.makeUnsafe<void>()
  const full = Deferred.makeUnsafe<void>()
  const counts = { now: 0, most: 0, all: 0 }
  const tool = (fullAt: number) =>
    Runner.make("gate", {
      description: "Waits",
      run: (text: string) =>
        Effect.gen(function* () {
          counts.all++
          counts.most = Math.max(counts.most, ++counts.now)
          if (counts.now === fullAt) yield* Deferred.succeed(full, undefined)
          yield* Deferred.await(opened)
          return text
        }).pipe(Effect.ensuring(Effect.sync(() => counts.now--)))
    })
  return { counts, tool, full: Deferred.await(full), open: Deferred.succeed(opened, undefined) }
}

const echo = Runner.make("echo", { description: "Says it back", run: (text: string) => Effect.succeed(text) })

const serve = (
  options: Partial<McpServer.ServeOptions<ReadonlyArray<Runner.Runner<string, string, never, never>>, never, never>>
) =>
  Effect.map(
    Layer.build(McpServer.serve({ tools: [echo], http: {}, ...options })),
    (context) => Context.get(context, McpServer.Served).url!
  )

const batch = (size: number, name: string) => Array.from({ length: size }, (_, id) => call(id + 1, name))

describe("runs", () => {
  it.live("of a batch of 500 calls never exceed the limit, and all are answered", () =>
    Effect.gen(function* () {
      const { counts, full, open, tool } = gate()
      const url = yield* serve({ tools: [tool(7)], maxRuns: 7, maxWaiting: 500, maxBatch: 500 })
      const session = yield* begin(url, "2025-03-26")
      const answer = yield* Effect.forkChild(send(url, batch(500, "gate"), session))
      yield* full
      yield* open
      const { messages } = yield* Fiber.join(answer)
      assert.lengthOf(messages, 500)
      assert.isTrue(messages.every((message) => textOf(message) === "x"))
      assert.strictEqual(counts.most, 7)
    }).pipe(Effect.scoped)
  )

  it.live("beyond those that may wait are refused with a result that says so, and are not run", () =>
    Effect.gen(function* () {
      const { counts, full, open, tool } = gate()
      const url = yield* serve({ tools: [tool(2)], maxRuns: 2, maxWaiting: 3 })
      const session = yield* begin(url, "2025-03-26")
      const answer = yield* Effect.forkChild(send(url, batch(20, "gate"), session))
      yield* full
      const other = yield* begin(url)
      const refused = yield* send(url, call(1, "gate"), other)
      assert.match(textOf(refused.messages[0]), /server is busy: 2 calls run and 3 wait.*not run.*later/)
      assert.isTrue(refused.messages[0]!["result"].isError)
      yield* open
      const { messages } = yield* Fiber.join(answer)
      assert.lengthOf(
        messages.filter((message) => textOf(message) === "x"),
        5
      )
      assert.strictEqual(counts.all, 5)
      // The places are free again.
      assert.strictEqual(textOf((yield* send(url, call(2, "gate"), other)).messages[0]), "x")
    }).pipe(Effect.scoped)
  )
})

describe("a batch", () => {
  it.live("of more messages than it may have is refused whole", () =>
    Effect.gen(function* () {
      const { counts, tool } = gate()
      const url = yield* serve({ tools: [tool(1)] })
      const session = yield* begin(url, "2025-03-26")
      const { messages, status } = yield* send(url, batch(500, "gate"), session)
      assert.strictEqual(status, 413)
      assert.match(messages[0]!["error"].message, /500 messages.*at most 100.*smaller/)
      assert.strictEqual(counts.all, 0)
    }).pipe(Effect.scoped)
  )
})

describe("sessions", () => {
  it.live("never exceed the limit: further ones are refused with 503 until one ends", () =>
    Effect.gen(function* () {
      const url = yield* serve({ http: { maxSessions: 20, sessionIdle: "10 minutes" } })
      const answers = yield* Effect.forEach(Array.from({ length: 300 }), () => send(url, initialize()), {
        concurrency: 50
      })
      const begun = answers.filter(({ status }) => status === 200)
      const refused = answers.filter(({ status }) => status === 503)
      assert.deepStrictEqual([begun.length, refused.length], [20, 280])
      for (const { headers, messages } of refused) {
        assert.isTrue(Number(headers.get("retry-after")) > 0 && Number(headers.get("retry-after")) <= 600)
        assert.include(messages[0]!["error"].message, "later")
      }
      const id = begun[0]!.headers.get("mcp-session-id")!
      assert.strictEqual((yield* send(url, undefined, { "mcp-session-id": id }, "DELETE")).status, 204)
      assert.deepStrictEqual(
        [(yield* send(url, initialize())).status, (yield* send(url, initialize())).status],
        [200, 503]
      )
    }).pipe(Effect.scoped)
  )

  it.live("are not used up by an initialize that is refused", () =>
    Effect.gen(function* () {
      const url = yield* serve({ http: { maxSessions: 1 } })
      for (let i = 0; i < 5; i++) yield* send(url, { ...initialize(), params: {} })
      const session = yield* begin(url)
      assert.strictEqual(textOf((yield* send(url, call(1, "echo"), session)).messages[0]), "x")
    }).pipe(Effect.scoped)
  )

  it.effect("end when they are idle for too long, and those that are used do not", () =>
    Effect.gen(function* () {
      const url = yield* serve({ http: { maxSessions: 2, sessionIdle: "30 minutes" } })
      const used = yield* begin(url)
      const idle = yield* begin(url)
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual((yield* send(url, call(1, "echo"), used)).status, 200)
      assert.strictEqual((yield* send(url, initialize())).status, 503)
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual((yield* send(url, call(2, "echo"), idle)).status, 404)
      assert.strictEqual((yield* send(url, call(2, "echo"), used)).status, 200)
      assert.strictEqual((yield* send(url, initialize())).status, 200)
    }).pipe(Effect.scoped)
  )

  it.effect("do not end while a run goes on in them", () =>
    Effect.gen(function* () {
      const { full, open, tool } = gate()
      const url = yield* serve({ tools: [tool(1)], http: { sessionIdle: "1 minute" } })
      const session = yield* begin(url)
      const running = yield* Effect.forkChild(send(url, call(1, "gate"), session))
      yield* full
      yield* TestClock.adjust("1 hour")
      yield* open
      assert.strictEqual(textOf((yield* Fiber.join(running)).messages[0]), "x")
      assert.strictEqual((yield* send(url, call(2, "gate"), session)).status, 200)
    }).pipe(Effect.scoped)
  )
})

it("limits that are not positive are refused where the server is defined", () => {
  for (const options of [
    { maxRuns: 0 },
    { maxWaiting: -1 },
    { maxBatch: 0.5 },
    { http: { maxSessions: Number.NaN } }
  ]) {
    assert.throws(() => McpServer.serve({ tools: [echo], ...options }), /Use a whole number/)
  }
  assert.throws(() => McpServer.serve({ tools: [echo], http: { sessionIdle: 0 } }), /sessionIdle/)
  assert.throws(() => McpServer.layer({ tools: [echo], maxRuns: 0 }), /maxRuns/)
})
