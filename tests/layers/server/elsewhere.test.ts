/** What agents of other programs do for a run here: budgets count it, and a durable run asks for it once. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import * as AcpAgent from "troupe/AcpAgent"
import * as Agent from "troupe/Agent"
import * as AgentServer from "troupe/AgentServer"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as RemoteAgent from "troupe/RemoteAgent"
import * as Runner from "troupe/Runner"
import * as TestModel from "troupe/TestModel"
import { listen } from "../../support/agentServer.ts"
import { engine, eventually } from "../../support/durable.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const desk = Agent.make("desk", { description: "Answers", retry: "none" })
const down = new AiError.InternalProviderError({ description: "down" })

/** A server, and how often its model was asked. An answer has 50 tokens. */
const server = Effect.gen(function* () {
  const asked = { count: 0 }
  const usage = { inputTokens: { total: 30 }, outputTokens: { total: 20 } }
  const model = TestModel.layer(({ prompt }) => {
    const text = `answer ${++asked.count}`
    return JSON.stringify(prompt.content).includes("broken") ? TestModel.fail(down) : { text, usage }
  })
  return { asked, url: yield* listen({ runners: { desk } }, model) }
})

const agents = {
  "an agent of A2A": (url: URL) => RemoteAgent.connect(new URL("/a2a/desk", url)),
  "a runner on a server": (url: URL) =>
    Effect.succeed(AgentServer.client({ desk }, { url }).desk as unknown as RemoteAgent.RemoteAgent)
}

const go = Runner.event("go", { schema: Schema.String })
/** Begins a durable run that waits in its middle, and has it go on. */
const wakened = <A, E, R>(runs: Durable.Durable<string, A, E, R>, input: string) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(runs.run(input))
    yield* eventually(Effect.map(Durable.status(runs, input), (status) => status === "suspended"))
    yield* Durable.signal(runs, input, "go", "gone")
    return yield* Fiber.join(fiber)
  }).pipe(Effect.provide(engine(":memory:")))

for (const [name, connect] of Object.entries(agents)) {
  describe(name, () => {
    it.live("is counted in budgets", () =>
      Effect.gen(function* () {
        const { asked, url } = yield* server
        const remote = yield* connect(url)
        const both = Chain.make("both", [remote, Runner.named(remote, "second")])
        for (const tokens of [40, 60]) {
          const error = yield* Effect.flip(Runner.withBudget(both, { tokens }).run("Hi"))
          assert.strictEqual(error._tag, "BudgetExceeded")
        }
        assert.strictEqual(asked.count, 3)
        assert.strictEqual(yield* Runner.withBudget(both, { tokens: 100 }).run("Hi"), "answer 5")
      }).pipe(Effect.scoped)
    )

    it.live("takes steps that are counted in budgets, once", () =>
      Effect.gen(function* () {
        const { asked, url } = yield* server
        const remote = yield* connect(url)
        const left = Runner.make("left", {
          run: () => Effect.map(Runner.remaining, ({ steps }) => `${steps} steps are left`)
        })
        const both = Chain.make("both", [remote, Runner.named(remote, "second"), left])
        const error = yield* Effect.flip(Runner.withBudget(both, { steps: 1 }).run("Hi"))
        if (error._tag !== "BudgetExceeded") return assert.fail(error._tag)
        assert.deepStrictEqual([error.limit, error.used, asked.count], ["steps", 2, 2])
        assert.strictEqual(yield* Runner.withBudget(both, { steps: 3 }).run("Hi"), "1 steps are left")
        const streamed = Runner.withBudget(both, { steps: 3 }).stream("Hi")
        const last = yield* Stream.runLast(streamed)
        assert.include(JSON.stringify(last), "1 steps are left")
      }).pipe(Effect.scoped)
    )

    it.live("is asked once in a durable run that goes on, and counted in it", () =>
      Effect.gen(function* () {
        const { asked, url } = yield* server
        const remote = yield* connect(url)
        const left = Runner.make("left", {
          run: (text: string) =>
            Effect.map(Runner.remaining, ({ steps, tokens }) => `${text}, ${tokens} tokens, ${steps} steps are left`)
        })
        const whole = Runner.withBudget(Chain.make("whole", [remote, go, left]), { tokens: 100, steps: 5 })
        const runs = Durable.make(whole, {
          name: "runs",
          version: "1",
          key: String,
          error: RemoteAgent.RemoteAgentError
        })
        assert.strictEqual(yield* wakened(runs, "Hi"), "gone, 50 tokens, 4 steps are left")
        assert.strictEqual(asked.count, 1)
      }).pipe(Effect.scoped)
    )

    it.live("that failed is not asked again when a durable run goes on", () =>
      Effect.gen(function* () {
        const { asked, url } = yield* server
        const remote = yield* connect(url)
        const caught = Runner.make("caught", {
          run: (text: string) => Effect.catch(remote.run(text), ({ _tag }) => Effect.succeed<string>(_tag))
        })
        const runs = Durable.make(Chain.make("whole", [caught, go]), { name: "runs", version: "1", key: String })
        assert.strictEqual(yield* wakened(runs, "broken"), "gone")
        assert.strictEqual(asked.count, 1)
      }).pipe(Effect.scoped)
    )
  })
}

it.live("an agent of ACP is started once in a durable run that goes on", () =>
  Effect.gen(function* () {
    const log = join(yield* scopedFolder, "log")
    const answers = [
      { result: { protocolVersion: 1 } },
      { result: { sessionId: "one" } },
      { result: { stopReason: "end_turn" } }
    ]
    const source = `require("node:fs").appendFileSync(${JSON.stringify(log)}, "started ")
      require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
        const { id } = JSON.parse(line)
        const answer = ${JSON.stringify(answers)}[id - 1]
        if (id !== undefined) console.log(JSON.stringify({ jsonrpc: "2.0", id, ...answer }))
      })`
    const coder = AcpAgent.make("coder", { command: process.execPath, args: ["-e", source] })
    const runs = Durable.make(Chain.make("whole", [coder, go]), {
      name: "runs",
      version: "1",
      key: String,
      error: AcpAgent.AcpAgentError
    })
    assert.strictEqual(yield* wakened(runs, "Hi"), "gone")
    assert.strictEqual(readFileSync(log, "utf8"), "started ")
  }).pipe(Effect.scoped)
)
