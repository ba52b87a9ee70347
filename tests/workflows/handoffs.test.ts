import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Prompt } from "effect/ai"
import { Agent, AgentTool, Chain, Handoffs, RunError, Runner, SyncEdge, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "an invoice" })
const handOver = (to: string, extra: object = {}) =>
  TestModel.toolCall(`transfer_to_${to}`, { reason: "it is about money", message: "Please refund.", ...extra })

const triageWith = (options: Handoffs.ToOptions) =>
  Agent.make("triage", {
    instructions: "Sort.",
    tools: [look, Handoffs.to("billing", options), Handoffs.to("technical")]
  })
const billing = Agent.make("billing", { instructions: "You know the invoices." })
const technical = Agent.make("technical", { tools: [Handoffs.to("billing"), Handoffs.to("technical")] })

const desk = (options: Handoffs.ToOptions = {}) =>
  Handoffs.make("desk", { triage: triageWith(options), billing, technical }, { start: "triage" })

const prompts = Effect.map(
  Effect.flatMap(TestModel.TestModel, ({ calls }) => calls),
  (calls) => calls.map(({ prompt }) => prompt)
)
const rolesOf = (prompt: Prompt.Prompt) => prompt.content.map(({ role }) => role)

describe("handoffs", () => {
  it.effect("give the conversation to another agent, whose answer it is", () =>
    Effect.gen(function* () {
      const { events, exit } = yield* collect(desk(), "My bill is wrong")
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.output : exit, "Refunded.")
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "HandedOff"
            ? [`${event.from} > ${event.to}: ${event.reason}`]
            : event._tag === "RunStarted" || event._tag === "RunCompleted"
              ? [`${event._tag} ${event.path.join(">")}`]
              : []
        ),
        [
          "RunStarted desk",
          "RunStarted desk>triage",
          "RunCompleted desk>triage",
          "triage > billing: it is about money",
          "RunStarted desk>billing",
          "RunCompleted desk>billing",
          "RunCompleted desk"
        ]
      )
      const [, second] = yield* prompts
      assert.deepStrictEqual(rolesOf(second!), ["system", "user", "assistant", "tool", "user"])
      const text = JSON.stringify(second!.content)
      assert.include(text, "You know the invoices.")
      assert.notInclude(text, "Sort.")
      assert.include(text, "Please refund.")
    }).pipe(Effect.provide(TestModel.layer([handOver("billing"), "Refunded."])))
  )

  it.effect("give the history that the tool says, or the model, or a function", () =>
    Effect.gen(function* () {
      const cases = [
        [{ history: "none" }, {}, ["system", "user"]],
        [{ history: "messages" }, {}, ["system", "user", "assistant", "user"]],
        [{ history: "choose" }, { history: "none" }, ["system", "user"]],
        [
          { history: "choose" },
          { history: "all" },
          ["system", "user", "assistant", "tool", "assistant", "tool", "user"]
        ],
        [
          { history: (all: Prompt.Prompt) => Prompt.fromMessages(all.content.slice(0, 1)) },
          {},
          ["system", "user", "user"]
        ]
      ] as const
      for (const [options, extra, roles] of cases) {
        const script = [
          { ...TestModel.toolCall("look", {}), text: "Let me look." },
          handOver("billing", extra),
          "Done."
        ]
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* desk(options).run("My bill"), "Done.")
          assert.deepStrictEqual(rolesOf((yield* prompts).at(-1)!), [...roles])
        }).pipe(Effect.provide(TestModel.layer(script)))
      }
    })
  )

  it.effect("go back and forth until an agent answers, up to the limit", () =>
    Effect.gen(function* () {
      const ping = Agent.make("ping", { tools: [Handoffs.to("pong")] })
      const pong = Agent.make("pong", { tools: [Handoffs.to("ping")] })
      const match = Handoffs.make("match", { ping, pong }, { start: "ping", maxHandoffs: 3 })
      const { decisions, output } = yield* match.result("go")
      assert.strictEqual(output, "I keep it.")
      assert.deepStrictEqual(
        decisions.map((decision) => (decision._tag === "HandedOff" ? decision.to : decision._tag)),
        ["pong", "ping", "pong"]
      )
      assert.include(JSON.stringify((yield* prompts).at(-1)!.content), "changed hands too often")
    }).pipe(
      Effect.provide(
        TestModel.layer([handOver("pong"), handOver("ping"), handOver("pong"), handOver("ping"), "I keep it."])
      )
    )
  )

  it.effect("are not offered to the agent that has the conversation after the last one", () =>
    Effect.gen(function* () {
      const ping = Agent.make("ping", { tools: [look, Handoffs.to("pong")], toolChoice: "required" })
      const pong = Agent.make("pong", { tools: [Handoffs.to("ping")], toolChoice: { tool: "transfer_to_ping" } })
      const match = Handoffs.make("match", { ping, pong }, { start: "ping", maxHandoffs: 1 })
      yield* match.run("go")
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(
        (yield* calls).map(({ toolChoice, tools }) => ({ tools, toolChoice })),
        [
          { tools: ["look", "transfer_to_pong"], toolChoice: "required" },
          { tools: [], toolChoice: "none" }
        ]
      )
    }).pipe(Effect.provide(TestModel.layer([handOver("pong"), "I keep it."])))
  )

  it.effect("leave the last agent its other tools", () =>
    Effect.gen(function* () {
      const ping = Agent.make("ping", {
        tools: [look, Handoffs.to("ping")],
        toolChoice: { oneOf: ["look", "transfer_to_ping"] }
      })
      assert.strictEqual(yield* Handoffs.make("alone", { ping }, { start: "ping", maxHandoffs: 0 }).run("go"), "Done.")
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(
        (yield* calls).map(({ toolChoice, tools }) => ({ tools, toolChoice })),
        [
          { tools: ["look"], toolChoice: { oneOf: ["look"] } },
          { tools: ["look"], toolChoice: "auto" }
        ]
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("look", {}), "Done."])))
  )

  it.effect("end with the answer of a model that would hand over forever", () =>
    Effect.gen(function* () {
      const agents = {
        a: Agent.make("a", { tools: [Handoffs.to("b")] }),
        b: Agent.make("b", { tools: [Handoffs.to("a")] })
      }
      const match = Handoffs.make("match", agents, { start: "a", maxHandoffs: 2 })
      assert.strictEqual(yield* match.run("go"), "an answer")
      assert.strictEqual((yield* prompts).length, 3)
    }).pipe(
      Effect.provide(
        TestModel.layer(({ tools }) =>
          tools[0] === undefined ? "an answer" : handOver(tools[0].slice("transfer_to_".length))
        )
      )
    )
  )

  it("are what Handoffs.to makes, for all names of tools", () => {
    const savings = AgentTool.fromFunction("transfer_to_savings", {
      description: "Moves money",
      execute: () => "moved"
    })
    const bank = Agent.make("bank", { tools: [savings] })
    const alone = Handoffs.make("desk", { bank }, { start: "bank" })
    const beside = Handoffs.make("desk", { bank, savings: Agent.make("savings", {}) }, { start: "bank" })
    for (const desk of [alone, beside]) assert.notInclude(Runner.toMermaid(desk), "hands off")
    const named = Agent.make("named", { tools: [Handoffs.to("bank", { name: "ask_the_bank" })] })
    const drawn = Runner.toMermaid(Handoffs.make("desk", { named, bank }, { start: "named" }))
    assert.include(drawn, "hands off")
    assert.throws(() => Handoffs.make("desk", { named }, { start: "named" }), /"named" hands over to "bank"/)
  })

  it.effect("work under a name of their own, for an agent whose name no tool can have", () =>
    Effect.gen(function* () {
      const triage = Agent.make("triage", { tools: [Handoffs.to("研究員", { name: "ask_researcher" })] })
      const desk = Handoffs.make("desk", { triage, 研究員: Agent.make("研究員", {}) }, { start: "triage" })
      assert.strictEqual(yield* desk.run("go"), "found")
      assert.throws(() => Handoffs.to("研究員"), /"研究員".*"transfer_to_研究員".*name:/s)
    }).pipe(
      Effect.provide(TestModel.layer([TestModel.toolCall("ask_researcher", { reason: "r", message: "m" }), "found"]))
    )
  )

  it.effect("of an attempt that failed are void when the agent is tried again", () =>
    Effect.gen(function* () {
      const shaky = AgentTool.fromFunction("shaky", {
        description: "Breaks",
        failureMode: "error",
        execute: () => Effect.fail("broken")
      })
      const first = Runner.withRetry(Agent.make("first", { tools: [look, shaky, Handoffs.to("billing")] }), {
        times: 1
      })
      const office = Handoffs.make("office", { first, billing }, { start: "first" })
      const { decisions, output } = yield* office.result("go")
      assert.deepStrictEqual([output, decisions], ["I answer.", []])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            { name: "transfer_to_billing", params: { reason: "r", message: "m" } },
            { name: "shaky", params: {} }
          ),
          TestModel.toolCall("look", {}),
          "I answer."
        ])
      )
    )
  )

  it.effect("make no events without a listener", () =>
    Effect.gen(function* () {
      let encoded = 0
      const busy = AgentTool.fromFunction("busy", {
        description: "Tells how far it is",
        execute: (_, { progress }) => progress({ toJSON: () => encoded++ })
      })
      const office = Handoffs.make("office", { first: Agent.make("first", { tools: [busy] }) }, { start: "first" })
      yield* office.run("go")
      assert.strictEqual(encoded, 0)
      yield* collect(office, "go")
      assert.strictEqual(encoded, 1)
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("busy", {}), "Done.", TestModel.toolCall("busy", {}), "Done."])
      )
    )
  )

  it.effect("count once in a step, and its other tools run to their end", () =>
    Effect.gen(function* () {
      let looked = 0
      const count = AgentTool.fromFunction("count", { description: "Counts", execute: () => ++looked })
      const first = Agent.make("first", { tools: [count, Handoffs.to("billing"), Handoffs.to("technical")] })
      const both = Handoffs.make("both", { first, billing, technical }, { start: "first" })
      const { decisions, output } = yield* both.result("go")
      assert.deepStrictEqual([output, looked, decisions.length], ["from billing", 1, 1])
      assert.include(JSON.stringify((yield* prompts).at(-1)!.content), "already handed over to billing")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          {
            toolCalls: [
              { name: "transfer_to_billing", params: { reason: "r", message: "m" } },
              { name: "count", params: {} },
              { name: "transfer_to_technical", params: { reason: "r", message: "m" } }
            ]
          },
          "from billing"
        ])
      )
    )
  )

  it.effect("are refused outside of Handoffs, and to agents that work for another", () =>
    Effect.gen(function* () {
      const alone = triageWith({})
      assert.strictEqual(yield* alone.run("go"), "I answer.")
      assert.include(JSON.stringify((yield* prompts).at(-1)!.content), "no agent to hand over to")
    }).pipe(Effect.provide(TestModel.layer([handOver("billing"), "I answer."])))
  )

  it.effect("are not for an agent that is a tool of the one at work", () =>
    Effect.gen(function* () {
      const helper = Agent.make("helper", { description: "Helps", tools: [Handoffs.to("billing")] })
      const lead = Agent.make("lead", { tools: [AgentTool.fromRunner(helper)] })
      const office = Handoffs.make("office", { lead, billing }, { start: "lead" })
      const { decisions, output } = yield* office.result("go")
      assert.deepStrictEqual([output, decisions], ["lead answers", []])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("helper", { input: "help" }),
          handOver("billing"),
          "helper answers",
          "lead answers"
        ])
      )
    )
  )

  it.effect("nest in other workflows, and in one another", () =>
    Effect.gen(function* () {
      const outer = Handoffs.make("outer", { desk: desk(), billing }, { start: "desk" })
      const chain = Chain.make("chain", [outer, (text: string) => Effect.succeed(text.length)])
      assert.strictEqual(yield* chain.run("go"), 5)
    }).pipe(Effect.provide(TestModel.layer([handOver("billing"), "Done."])))
  )

  it("run on the sync edge too", () => {
    const program = desk()
      .run("go")
      .pipe(Effect.provide(TestModel.layer([handOver("billing"), "Done."])))
    assert.strictEqual(Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))), "Done.")
  })

  it.effect("fail with what the agent at work fails with", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(desk().run("go"))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual((yield* Effect.flip(desk().run("go")))._tag, "EmptyTurn")
    }).pipe(Effect.provide(TestModel.layer(["", "", handOver("billing"), "", ""])))
  )

  it("to or from an agent that is missing are refused when they are defined", () => {
    const agents = { triage: triageWith({}), billing }
    assert.throws(() => Handoffs.make("desk", agents, { start: "triage" }), RunError.InvalidDefinition, /"technical"/)
    assert.throws(() => Handoffs.make("desk", { billing }, { start: "x" as "billing" }), /there is no "x"/)
    assert.throws(() => Handoffs.make("desk", { billing }, { start: "billing", maxHandoffs: -1 }), /maxHandoffs/)
    assert.throws(() => Handoffs.to("not a name"), RunError.InvalidDefinition)
  })
})
