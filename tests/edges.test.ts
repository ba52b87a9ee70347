/** What each edge promises about interruption, rejections and where a tool runs. */
import { isMainThread } from "node:worker_threads"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Redacted, Schema, Stream } from "effect"
import { Agent, AgentTool, OpenAi, Parallel, SyncEdge, TestModel } from "troupe"
import { cases } from "./edges.cases.ts"
import { isolated } from "./support/isolated.ts"
import * as OpenAiServer from "./support/openAiServer.ts"

describe("an AbortSignal given to Effect.runPromise", () => {
  const model = (url: string) => OpenAi.layer({ model: "m", baseUrl: url, apiKey: Redacted.make("k"), retry: "none" })

  for (const [way, reply, streamed] of [
    ["before the head", { hang: true }, false],
    ["while they stream", { text: "abcdef", hangAfter: 3 }, true]
  ] as const) {
    it.live(`aborts the requests that are under way on the wire (${way})`, () =>
      Effect.gen(function* () {
        const server = yield* OpenAiServer.make([reply])
        const controller = new AbortController()
        const agent = Agent.make("agent", {})
        const three = Parallel.make("three", [agent, agent, agent])
        const program = streamed ? Stream.runDrain(three.stream("go")) : three.run("go")
        const run = Effect.runPromiseExit(Effect.provide(program, model(server.url)), { signal: controller.signal })
        yield* server.untilSeen(3)
        controller.abort()
        const exit = yield* Effect.promise(() => run)
        assert.isTrue(Exit.hasInterrupts(exit))
        yield* server.untilAborted(3)
      })
    )
  }

  it.live("fires the signals of the tools, interrupts Effects, and waits for their ends", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Deferred.make<void>()
      let running = 0
      const begin = Effect.suspend(() => (++running === 3 ? Deferred.succeed(begun, undefined) : Effect.void))
      const heeds = AgentTool.fromFunction("heeds", {
        description: "A promise",
        execute: async (_, { signal }) => {
          Effect.runSync(begin)
          await new Promise((resolve) => signal.addEventListener("abort", resolve))
          log.push("signal fired")
        }
      })
      const effect = AgentTool.fromFunction("effect", {
        description: "An Effect",
        execute: () =>
          Effect.andThen(begin, Effect.never).pipe(
            Effect.onInterrupt(() =>
              Effect.andThen(
                Effect.sleep("10 millis"),
                Effect.sync(() => log.push("interrupted"))
              )
            )
          )
      })
      const agent = Agent.make("agent", { tools: [heeds, effect] })
      const controller = new AbortController()
      const turn = TestModel.toolCalls(...["heeds", "effect", "effect"].map((name) => ({ name, params: {} })))
      const run = Effect.runPromiseExit(agent.run("go").pipe(Effect.provide(TestModel.layer([turn]))), {
        signal: controller.signal
      })
      yield* Deferred.await(begun)
      controller.abort()
      assert.isTrue(Exit.hasInterrupts(yield* Effect.promise(() => run)))
      assert.sameMembers(log, ["signal fired", "interrupted", "interrupted"])
    })
  )

  it.live("that has fired already lets nothing begin that it would have to end", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([{ hang: true }])
      const run = Agent.make("agent", {})
        .run("go")
        .pipe(Effect.provide(model(server.url)))
      const exit = yield* Effect.promise(() => Effect.runPromiseExit(run, { signal: AbortSignal.abort() }))
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.isTrue(server.requests.every((request) => request.aborted))
    })
  )
})

describe("a run that fails leaves no rejection unhandled", () => {
  const names = Object.keys(cases)
  let ends: Record<string, string>
  beforeAll(async () => {
    const halves = [names.filter((_, index) => index % 2 === 0), names.filter((_, index) => index % 2 === 1)]
    const file = new URL("./edges.cases.ts", import.meta.url)
    ends = Object.assign({}, ...(await Promise.all(halves.map((half) => isolated(file, half))))) as typeof ends
  }, 120_000)
  it.each(names)("by %s", (name) => assert.strictEqual(ends[name], ""))
})

describe("a synchronous tool", () => {
  const Where = Schema.Struct({ mainThread: Schema.Boolean, inFiber: Schema.Boolean, ticks: Schema.Finite })
  const edges = {
    runPromise: <A, E>(effect: Effect.Effect<A, E>): A | Promise<A> => Effect.runPromise(effect),
    runSync: <A, E>(effect: Effect.Effect<A, E>): A => Effect.runSync(Effect.provide(effect, SyncEdge.layer)),
    "runSync, without the edge": <A, E>(effect: Effect.Effect<A, E>): A => Effect.runSync(effect)
  }
  for (const [edge, run] of Object.entries(edges)) {
    it(`runs in place under ${edge}: in its fiber, in this thread, which it blocks`, async () => {
      let ticks = 0
      const ticking = setInterval(() => ticks++, 1)
      const where = AgentTool.fromFunction("where", {
        description: "Tells where it runs",
        success: Where,
        execute: () => {
          const before = ticks
          const end = performance.now() + 30
          while (performance.now() < end);
          return { mainThread: isMainThread, inFiber: Fiber.getCurrent() !== undefined, ticks: ticks - before }
        }
      })
      const model = TestModel.layer((call) => {
        const [result] = call.prompt.content.flatMap((message) =>
          message.role === "tool" ? message.content.filter((part) => part.type === "tool-result") : []
        )
        return result === undefined ? TestModel.toolCall("where", {}) : JSON.stringify(result.result)
      })
      const text = await run(
        Agent.make("agent", { tools: [where] })
          .run("go")
          .pipe(Effect.provide(model))
      )
      clearInterval(ticking)
      assert.deepStrictEqual(JSON.parse(text), { mainThread: true, inFiber: true, ticks: 0 })
    })
  }
})
