/** What a model can repeat or extend has a limit, and what is beyond it is said. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it as async } from "@effect/vitest"
import { Effect, Redacted, Schema, Stream } from "effect"
import type { Prompt } from "effect/ai"
import { Agent, AgentTool, OpenAi, RunError, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const resultsOf = (prompt: Prompt.Prompt) =>
  prompt.content.flatMap((message) =>
    message.role === "tool" ? message.content.filter((part) => part.type === "tool-result") : []
  )

describe("an answer that is too large", () => {
  const cases: Readonly<Record<string, TestModel.Turn>> = {
    "by its text": { text: "x".repeat(1100), chunk: 100 },
    "by its reasoning": { reasoning: "x".repeat(1100), chunk: 100, text: "done" },
    "by the arguments of a call": { toolCalls: [{ name: "t", params: { text: "x".repeat(1100) } }] },
    "by many small calls": { toolCalls: Array.from({ length: 100 }, () => ({ name: "t", params: {} })) },
    "by all of them together": {
      text: "x".repeat(400),
      reasoning: "y".repeat(400),
      toolCalls: [{ name: "t", params: ["z".repeat(400)] }]
    }
  }
  let ran = 0
  const t = AgentTool.fromFunction("t", { description: "Runs", execute: () => ++ran })
  for (const [name, turn] of Object.entries(cases)) {
    it.effect(`${name} fails, whole or streamed, and is not asked for again`, () =>
      Effect.gen(function* () {
        ran = 0
        const agent = Agent.make("agent", { tools: [t], maxAnswerSize: 1000 })
        for (const way of [agent.run("go"), Stream.runDrain(agent.stream("go"))]) {
          const error = yield* Effect.flip<unknown, Agent.Error, never>(Effect.provide(way, TestModel.layer([turn])))
          assert.instanceOf(error, RunError.ModelError)
          if (error._tag !== "ModelError") return
          assert.deepStrictEqual([error.attempts, error.reason.reason._tag], [1, "InvalidResponseError"])
          assert.include(error.message, "larger than 1000 characters")
          assert.include(error.message, "maxAnswerSize")
        }
        assert.strictEqual(ran, 0)
      })
    )
  }

  it.effect("is paid for where it comes whole, with its usage", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { maxAnswerSize: 1000 })
      const usage = { inputTokens: { total: 7 }, outputTokens: { total: 400 } }
      const model = TestModel.layer([{ text: "x".repeat(1100), usage }])
      const budget = { tokens: 1000, onExceeded: "fail" } as const
      const error = yield* Effect.flip(Runner.withBudget(agent, budget).run("go")).pipe(Effect.provide(model))
      if (error._tag !== "ModelError") return assert.fail(error._tag)
      assert.deepInclude(error.spent.usage.inputTokens, { total: 7 })
      assert.deepInclude(error.spent.usage.outputTokens, { total: 400 })
    })
  )

  it.effect("is not one that just fits", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { maxAnswerSize: 1000 })
      assert.lengthOf(yield* agent.run("go"), 900)
    }).pipe(Effect.provide(TestModel.layer([{ text: "x".repeat(900), chunk: 300 }])))
  )

  async.live("fails also when it never ends, without taking the memory", () =>
    Effect.gen(function* () {
      const chunk = {
        id: "x",
        object: "chat.completion.chunk",
        model: "m",
        choices: [{ index: 0, delta: { content: "x".repeat(60_000) } }]
      }
      const line = `data: ${JSON.stringify(chunk)}\n\n`
      const server = createServer((_request, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        const push = () => {
          while (!response.destroyed && response.write(line));
          if (!response.destroyed) response.once("drain", push)
        }
        push()
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => (server.closeAllConnections(), server.close()))
      )
      const model = OpenAi.layer({
        model: "m",
        api: "chat",
        baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        apiKey: Redacted.make("k")
      })
      const error = yield* Effect.flip(
        Stream.runDrain(Agent.make("agent", {}).stream("go")).pipe(Effect.provide(model))
      )
      assert.strictEqual(error._tag, "ModelError")
      assert.include((error as Error).message, "larger than 16777216 characters")
    })
  )
})

describe("a call of a tool", () => {
  const t = AgentTool.fromFunction("t", {
    description: "Runs",
    parameters: Schema.Struct({ a: Schema.Unknown }),
    execute: () => "ran"
  })
  const nested = (depth: number): unknown => {
    let value: unknown = 1
    for (let n = 0; n < depth; n++) value = n % 2 === 0 ? [value] : { a: value }
    return { a: value }
  }

  it.effect("whose name is too long is not echoed in full", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [t] })
      yield* agent.run("go")
      const { calls } = yield* TestModel.TestModel
      const { prompt } = (yield* calls)[1]!
      assert.isBelow(JSON.stringify(prompt).length, 3000)
      const [result] = resultsOf(prompt)
      assert.isTrue(result!.isFailure)
      assert.include(JSON.stringify(result!.result), "1000000 characters")
      assert.isAtMost(result!.name.length, 64)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t".repeat(1_000_000), {}), "done"])))
  )

  it.effect("whose cut name is that of a tool does not run it", () =>
    Effect.gen(function* () {
      let ran = 0
      const name = `${"t".repeat(61)}___`
      const long = AgentTool.fromFunction(name, { description: "Runs", execute: () => ++ran })
      yield* Agent.make("agent", { tools: [long] }).run("go")
      assert.strictEqual(ran, 0)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t".repeat(100), {}), "done"])))
  )

  for (const depth of [70, 100_000]) {
    it.effect(
      `whose arguments are nested ${depth} deep is refused before the tool runs, also where it needs approval`,
      () =>
        Effect.gen(function* () {
          let ran = 0
          for (const needsApproval of [false, true]) {
            const deep = AgentTool.fromFunction("t", {
              description: "Runs",
              parameters: Schema.Struct({ a: Schema.Unknown }),
              needsApproval,
              execute: () => ++ran
            })
            const { transcript } = yield* Agent.make("agent", { tools: [deep] })
              .result("go")
              .pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t", nested(depth)), "done"])))
            assert.include(JSON.stringify(resultsOf(transcript)), "nested more than 64 levels deep")
          }
          assert.strictEqual(ran, 0)
        })
    )
  }

  it.effect("whose arguments are nested 60 deep runs", () =>
    Effect.gen(function* () {
      const { transcript } = yield* Agent.make("agent", { tools: [t] }).result("go")
      assert.strictEqual(resultsOf(transcript)[0]!.result, "ran")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t", nested(60)), "done"])))
  )

  it.effect("whose id is long gets a short one", () =>
    Effect.gen(function* () {
      const { transcript } = yield* Agent.make("agent", { tools: [t] }).result("go")
      assert.isBelow(JSON.stringify(transcript).length, 3000)
      assert.strictEqual(resultsOf(transcript)[0]!.result, "ran")
    }).pipe(
      Effect.provide(
        TestModel.layer([{ toolCalls: [{ id: "i".repeat(100_000), name: "t", params: { a: 1 } }] }, "done"])
      )
    )
  )

  it.effect("of a tool that there is not names some of those that there are", () =>
    Effect.gen(function* () {
      const tools = Array.from({ length: 500 }, (_, n) =>
        AgentTool.fromFunction(`tool_${n}`, { description: "x", execute: () => 1 })
      )
      const { transcript } = yield* Agent.make("agent", { tools }).result("go")
      const text = JSON.stringify(resultsOf(transcript)[0]!.result)
      assert.include(text, "and 450 more")
      assert.isBelow(text.length, 1000)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("nothing", {}), "done"])))
  )

  it.effect("whose result does not fit says so in a few lines", () =>
    Effect.gen(function* () {
      const broken = AgentTool.fromFunction("t", {
        description: "Runs",
        success: Schema.Array(Schema.Finite),
        execute: () => Array.from({ length: 1 }, () => "x".repeat(100_000)) as never
      })
      const { transcript } = yield* Agent.make("agent", { tools: [broken] }).result("go")
      assert.isBelow(JSON.stringify(resultsOf(transcript)).length, 3000)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t", {}), "done"])))
  )
})
