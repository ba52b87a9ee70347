/** What a client sees of a run that failed, and what only the log has, over a real socket. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, Schema } from "effect"
import { AiError } from "effect/ai"
import { Agent, AgentTool, McpServer, OpenAi, Parallel, Runner, TestModel } from "troupe"
import { begin, call, send, textOf } from "../../support/mcpPost.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}
class SystemFailed extends Error {
  readonly _tag = "SystemFailed"
  readonly syscall = "connect"
}

const failing = (error: unknown) =>
  Runner.make("failing", { description: "Fails", run: (_text: string) => Effect.fail(error) })

/** What the client receives when it calls the only tool, its progress included, and what is logged. */
const outcome = <R, E>(
  tool: McpServer.ToolLike,
  model: Layer.Layer<R, E> = Layer.empty as Layer.Layer<never> as unknown as Layer.Layer<R, E>
) =>
  Effect.gen(function* () {
    const logged: Array<string> = []
    const logger = Logger.layer([
      Logger.make(({ cause, message }) => logged.push(`${String(message)} ${String(cause)}`))
    ])
    const server = McpServer.serve({ tools: [tool], http: {} }).pipe(Layer.provide(model), Layer.provide(logger))
    const context = yield* Layer.build(server as Layer.Layer<McpServer.Served, McpServer.ListenError | E>)
    const url = Context.get(context, McpServer.Served).url!
    const session = yield* begin(url)
    const name = Runner.isRunner(tool) ? tool.name : (tool as McpServer.McpTool<unknown>).name
    const { messages } = yield* send(url, call(1, name, "x", { progressToken: 1 }), session)
    const answer = messages.find((message) => "result" in message)
    assert.isTrue(answer?.["result"].isError)
    return { answer: textOf(answer), all: JSON.stringify(messages), log: logged.join("\n") }
  }).pipe(Effect.scoped)

const unreachable = OpenAi.layer({
  model: "m",
  baseUrl: "http://127.0.0.1:1",
  apiKey: Redacted.make("k"),
  retry: "none"
})
const agent = Agent.make("agent", { description: "Thinks", instructions: "Think." })

describe("a model that cannot be reached", () => {
  it.live("reaches the client without its address and advice for operators, which the log has", () =>
    Effect.gen(function* () {
      const { all, log, answer } = yield* outcome(agent, unreachable)
      assert.strictEqual(answer, `"agent" step 1: the model call failed (NetworkError). Try again later.`)
      assert.notMatch(all, /127\.0\.0\.1|OPENAI_BASE_URL|baseUrl|OpenAi\.layer/)
      assert.include(log, "127.0.0.1:1")
      assert.include(log, "OPENAI_BASE_URL")
    })
  )

  it.live("reaches the client from a branch of a workflow", () =>
    Effect.gen(function* () {
      const team = Runner.described(Parallel.make("team", { one: agent, two: agent }), "Asks twice")
      const { all, log, answer } = yield* outcome(team, unreachable)
      assert.match(answer, /^"(one|two)" failed: .*the model call failed \(NetworkError\)/)
      assert.notMatch(all, /127\.0\.0\.1|OPENAI_BASE_URL|baseUrl|OpenAi\.layer/)
      assert.include(log, "127.0.0.1:1")
    })
  )
})

it.live("a tool of an agent that failed is named, and what it said is in the log", () =>
  Effect.gen(function* () {
    const lookup = AgentTool.fromFunction("lookup", {
      description: "Looks it up",
      failureMode: "error",
      execute: () => Effect.fail("no route to the billing database")
    })
    const reader = Agent.make("reader", { description: "Reads", instructions: "Read.", tools: [lookup] })
    const model = TestModel.layer([TestModel.toolCall("lookup", {})])
    const { all, log, answer } = yield* outcome(reader, model)
    assert.strictEqual(answer, `"reader" step 1: a tool failed: "lookup".`)
    assert.notInclude(all, "billing")
    assert.include(log, "billing")
  })
)

describe("an error of the application", () => {
  it.live.each([
    "The order 17 is not known. Ask for another.",
    "Ratio 16:9 is refused at 12:30:45.",
    "Either read/write or nothing (version 1.2.3)"
  ])("reaches the client in its own words: %s", (words) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* outcome(failing(new Refused({ detail: words })))).answer, words)
      assert.strictEqual((yield* outcome(failing(words))).answer, words)
    })
  )

  it.live.each([
    "GET http://billing.example/v1 failed",
    "connect to 10.0.0.1 failed",
    "[fd00::12]:5432 did not answer",
    "db:5432 did not answer",
    "ask vault.internal for it",
    "cannot read /srv/app/secrets.json",
    String.raw`cannot read C:\app\secrets.json`,
    "set BILLING_API_KEY",
    "getaddrinfo ENOTFOUND billing",
    "Bearer abcdefgh was refused"
  ])("is kept back when its words are about the inside of the server: %s", (words) =>
    Effect.gen(function* () {
      const { all, log, answer } = yield* outcome(failing(new Refused({ detail: words })))
      assert.strictEqual(answer, `"failing" failed. The server's log says why.`)
      assert.notInclude(all, JSON.stringify(words).slice(1, -1))
      assert.include(log, words)
    })
  )

  it.live("of Effect or of the system is kept back", () =>
    Effect.gen(function* () {
      const reason = new AiError.UnknownError({ description: "the swordfish is late" })
      const errors = [AiError.make({ module: "m", method: "x", reason }), new SystemFailed("the swordfish is late")]
      for (const error of errors) {
        assert.strictEqual((yield* outcome(failing(error))).answer, `"failing" failed. The server's log says why.`)
      }
    })
  )

  it.live("reaches the client as `failure` has it", () =>
    Effect.gen(function* () {
      const runner = Runner.make("failing", {
        description: "Fails",
        run: (_text: string) => Effect.fail(new Refused({ detail: "see http://10.0.0.1" }))
      })
      const failure = (error: Refused) => `Refused: see https://help.example (${error._tag})`
      const tool = McpServer.tool(runner, { failure })
      assert.strictEqual((yield* outcome(tool)).answer, "Refused: see https://help.example (Refused)")
    })
  )
})
