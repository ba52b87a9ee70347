/** Against a mock of OpenAI that is not ours: what we take for granted in our own server, others may not. */
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema, Stream } from "effect"
import type { RunEvent } from "troupe"
import { Agent, AgentTool, OpenAi } from "troupe"

const mock = (set: (server: LLMock) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new LLMock({ port: 0 })
      set(server)
      await server.start()
      return server
    }),
    (server) => Effect.promise(() => server.stop())
  )

const add = AgentTool.fromFunction("add", {
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => a + b
})

describe("OpenAi speaks with aimock", () => {
  for (const api of ["chat", "responses"] as const) {
    const layerOf = (server: LLMock) =>
      OpenAi.layer({
        model: "gpt-4.1-mini",
        baseUrl: `${server.url}/v1`,
        api,
        apiKey: Redacted.make("k"),
        retry: "none"
      })

    it.live(`by ${api}: text, tools and structured output, whole and streamed`, () =>
      Effect.gen(function* () {
        const server = yield* mock((server) => {
          server.on(
            { userMessage: "add", hasToolResult: false },
            {
              toolCalls: [
                { name: "add", arguments: '{"a":2,"b":40}' },
                { name: "add", arguments: '{"a":1,"b":1}' }
              ]
            }
          )
          server.on({ userMessage: "add", hasToolResult: true }, { content: "42 and 2" })
          server.onMessage("city", { content: '{"name":"Paris"}' })
          server.onMessage("hello", { content: "Hello from somebody else's server." })
        })
        const model = layerOf(server)
        const talker = Agent.make("talker", {})
        const adder = Agent.make("adder", { tools: [add] })
        const namer = Agent.make("namer", { output: Schema.Struct({ name: Schema.String }) })
        const textOf = <A>(events: Stream.Stream<RunEvent.RunEvent, A>) =>
          Effect.map(Stream.runCollect(Stream.orDie(events)), (all) =>
            [...all].flatMap((event) => (event._tag === "TextDelta" ? [event.delta] : [])).join("")
          )
        assert.strictEqual(yield* Effect.provide(talker.run("hello"), model), "Hello from somebody else's server.")
        assert.strictEqual(
          yield* textOf(Stream.provide(talker.stream("hello"), model)),
          "Hello from somebody else's server."
        )
        assert.strictEqual(yield* Effect.provide(adder.run("add"), model), "42 and 2")
        assert.strictEqual(yield* textOf(Stream.provide(adder.stream("add"), model)), "42 and 2")
        assert.deepStrictEqual(yield* Effect.provide(namer.run("city"), model), { name: "Paris" })
        assert.strictEqual(yield* textOf(Stream.provide(namer.stream("city"), model)), '{"name":"Paris"}')
      })
    )
  }
})
