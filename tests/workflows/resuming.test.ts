/** A suspended run goes on at the member that asked, in every workflow that can; elsewhere it says which member that is. */
import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Schema, Stream } from "effect"
import { Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Approvals,
  Chain,
  Gather,
  Handoffs,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  RunError,
  Runner,
  TestModel
} from "troupe"
import { collect } from "../support/grammar.ts"
import { it } from "../support/edges.ts"

const call = TestModel.toolCall
const to = (who: string) => call(`transfer_to_${who}`, { reason: "r", message: "m" })
const turns = (...script: ReadonlyArray<TestModel.Turn | string>) =>
  Effect.provide(TestModel.layer(script, { unused: "ignore" }))

/** A tool that needs approval, and what it was called with, each call marked with the agent that made it. */
const payments = () => {
  const made: Array<string> = []
  const pay = (who: string) =>
    AgentTool.fromFunction("pay", {
      description: "Pays",
      parameters: Schema.Struct({ n: Schema.Finite }),
      needsApproval: true,
      execute: ({ n }) => (made.push(`${who} ${n}`), "paid")
    })
  const agent = (who: string) => Agent.make(who, { description: who, tools: [pay(who)] })
  return { made, pay, agent }
}
const pays = (n: number) => call("pay", { n })

/** As another process would have it. */
const sent = (transcript: Prompt.Prompt): Prompt.Prompt =>
  Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript))))

const waiting = (error: unknown): RunError.RunSuspended => {
  if (error instanceof RunError.RunSuspended) return error
  const inside = (
    error as { readonly failures?: ReadonlyArray<{ readonly error?: unknown; readonly cause?: unknown }> }
  ).failures
  const found = inside?.map((failure) => failure.error ?? failure.cause).find((one) => one !== undefined)
  if (found === undefined) throw error
  return waiting(found)
}
const approved = (error: unknown): Prompt.Prompt => {
  const { transcript, waitingFor } = waiting(error)
  return sent(Runner.answer(sent(transcript), Object.fromEntries(waitingFor.map(({ id }) => [id, Approvals.approve]))))
}

/** Runs until it waits, approves everything, and goes on. */
const resumed = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.flatMap(Effect.flip(runner.run(input)), (error) => runner.run(approved(error) as I))

describe("a desk with handoffs", () => {
  const desk = (first: Agent.Agent<string, Agent.Error, never>, ...others: ReadonlyArray<typeof first>) =>
    Handoffs.make("desk", Object.fromEntries([first, ...others].map((agent) => [agent.name, agent])), {
      start: first.name
    })
  const erased = (agent: Runner.Any) => agent as Agent.Agent<string, Agent.Error, never>

  it.effect("goes on at the agent that asked, which is not the first", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
      const both = desk(erased(triage), erased(agent("billing")))
      assert.strictEqual(yield* resumed(both, "pay 7"), "Done.")
      assert.deepStrictEqual(made, ["billing 7"])
    }).pipe(turns(to("billing"), pays(7), "Done."))
  )

  it.effect("does not give the call to another agent that has a tool of the same name", () =>
    Effect.gen(function* () {
      const { agent, made, pay } = payments()
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing"), pay("TRIAGE")] })
      assert.strictEqual(yield* resumed(desk(erased(triage), erased(agent("billing"))), "pay 7"), "Done.")
      assert.deepStrictEqual(made, ["billing 7"])
    }).pipe(turns(to("billing"), pays(7), "Done."))
  )

  it.effect("goes on as a stream, which emits the call that was approved", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
      const both = desk(erased(triage), erased(agent("billing")))
      const error = yield* Effect.flip(both.run("pay 7"))
      const { events, exit } = yield* collect(both, approved(error))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(made, ["billing 7"])
      const completed = events.find((event) => event._tag === "ToolCompleted")
      assert.deepStrictEqual(completed?.path, ["desk", "billing"])
    }).pipe(turns(to("billing"), pays(7), "Done."))
  )

  it.effect("can change hands after it has gone on", () =>
    Effect.gen(function* () {
      const { made, pay } = payments()
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
      const billing = Agent.make("billing", { tools: [pay("billing"), Handoffs.to("shipping")] })
      const all = desk(erased(triage), erased(billing), erased(Agent.make("shipping", {})))
      assert.strictEqual(yield* resumed(all, "pay 7"), "Shipped.")
      assert.deepStrictEqual(made, ["billing 7"])
    }).pipe(turns(to("billing"), pays(7), to("shipping"), "Shipped."))
  )

  it.effect("hands the conversation over after the other call of the step was approved", () =>
    Effect.gen(function* () {
      const noted: Array<string> = []
      const note = AgentTool.fromFunction("note", {
        description: "Notes",
        needsApproval: true,
        execute: () => (noted.push("noted"), "noted")
      })
      const triage = Agent.make("triage", { tools: [note, Handoffs.to("billing")] })
      const both = desk(erased(triage), erased(Agent.make("billing", {})))
      const error = waiting(yield* Effect.flip(both.run("x")))
      assert.deepStrictEqual(
        error.waitingFor.map((one) => one.kind === "approval" && one.tool),
        ["note"]
      )
      assert.notInclude(JSON.stringify(error.transcript), "handed over to billing")
      const { decisions, output } = yield* both.result(approved(error))
      assert.strictEqual(output, "billing answers")
      assert.deepStrictEqual(
        decisions.map((decision) => decision._tag === "HandedOff" && [decision.from, decision.to]),
        [["triage", "billing"]]
      )
      assert.deepStrictEqual(noted, ["noted"])
    }).pipe(
      turns(
        {
          toolCalls: [
            { name: "note", params: {} },
            { name: "transfer_to_billing", params: { reason: "r", message: "m" } }
          ]
        },
        "billing answers"
      )
    )
  )

  it.effect("keeps the conversation when the handoff itself is denied", () =>
    Effect.gen(function* () {
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing", { needsApproval: true })] })
      const both = desk(erased(triage), erased(Agent.make("billing", {})))
      const error = waiting(yield* Effect.flip(both.run("x")))
      const answered = Runner.answer(error.transcript, { [error.waitingFor[0].id]: Approvals.deny("stay") })
      assert.strictEqual(yield* both.run(answered), "triage answers")
    }).pipe(turns(to("billing"), "triage answers"))
  )
})

describe("a workflow", () => {
  it.effect("that is a chain goes on at the step that asked, and then with the steps after it", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const seen: Array<string> = []
      const chain = Chain.make("chain", [
        Agent.make("writer", {}),
        agent("cashier"),
        (text: string) => Effect.sync(() => (seen.push(text), text.toUpperCase()))
      ])
      assert.strictEqual(yield* resumed(chain, "pay 3"), "PAID IT")
      assert.deepStrictEqual([made, seen], [["cashier 3"], ["paid it"]])
    }).pipe(turns("a draft", pays(3), "paid it"))
  )

  it.effect("that is a chain goes on at the step that asked, of two with one name", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const chain = Chain.make("chain", [agent("cashier"), agent("cashier"), agent("cashier")])
      assert.strictEqual(yield* resumed(chain, "pay 3"), "third")
      assert.deepStrictEqual(made, ["cashier 3"])
    }).pipe(turns("first", pays(3), "second", "third"))
  )

  it.effect("that is a router goes on at the route that was taken, and does not choose again", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const routes = { cashier: agent("someone"), clerk: Agent.make("clerk", { description: "Talks" }) }
      const router = Router.make("router", routes)
      assert.strictEqual(yield* resumed(router, "pay 3"), "paid it")
      assert.deepStrictEqual(made, ["someone 3"])
      const { calls } = yield* TestModel.TestModel
      assert.strictEqual((yield* calls).length, 3)
    }).pipe(turns('{"route":"cashier","confidence":1}', pays(3), "paid it"))
  )

  it.effect("of workflows goes on at the innermost agent", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
      const desk = Handoffs.make("desk", { triage, billing: agent("billing") }, { start: "triage" })
      const router = Router.make(
        "router",
        { desk: Runner.described(desk, "A desk") },
        { classify: () => Effect.succeed("desk" as const) }
      )
      const chain = Chain.make("chain", [Agent.make("writer", {}), router])
      assert.strictEqual(yield* resumed(chain, "pay 3"), "paid it")
      assert.deepStrictEqual(made, ["billing 3"])
    }).pipe(turns("a draft", to("billing"), pays(3), "paid it"))
  )

  it.effect("that is a tool goes on in its middle", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const chain = Runner.described(Chain.make("chain", [Agent.make("writer", {}), agent("cashier")]), "Pays")
      const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(chain)] })
      assert.strictEqual(yield* resumed(boss, "pay 3"), "boss is done")
      assert.deepStrictEqual(made, ["cashier 3"])
    }).pipe(turns(call("chain", { input: "pay" }), "a draft", pays(3), "paid it", "boss is done"))
  )

  it.effect("with a member whose input is mapped goes on with the member's own conversation", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const member = agent("cashier").pipe(Runner.mapInput((text: string) => `Pay: ${text.trim()}`))
      assert.strictEqual(yield* resumed(Chain.make("chain", [member]), "3 euros"), "paid it")
      assert.deepStrictEqual(made, ["cashier 3"])
    }).pipe(turns(pays(3), "paid it"))
  )

  it.effect("that is an orchestrator goes on at its worker, and at an agent that it spawned", () =>
    Effect.gen(function* () {
      const { agent, made, pay } = payments()
      const lead = Orchestrator.make("lead", { cashier: agent("cashier") }, { spawn: { tools: [pay("spawned")] } })
      assert.strictEqual(yield* resumed(lead, "pay twice"), "all paid")
      assert.deepStrictEqual(made.toSorted(), ["cashier 1", "spawned 2"])
    }).pipe(
      Effect.provide(
        TestModel.layer((request) => {
          const { prompt, tools } = request
          const last = prompt.content.at(-1)!
          const leads = tools.includes("spawn")
          if (last.role === "tool") return leads ? "all paid" : "paid it"
          if (leads) {
            return {
              toolCalls: [
                { name: "cashier", params: { input: "pay 1" } },
                {
                  name: "spawn",
                  params: { name: "helper", instructions: "Pay.", task: "pay 2", tools: ["pay"] }
                }
              ]
            }
          }
          return pays(JSON.stringify(last.content).includes("pay 1") ? 1 : 2)
        })
      )
    )
  )

  it.effect("that is a hedge goes on at its runner", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const hedge = Parallel.hedge("hedge", agent("cashier"), { delay: "1 seconds", attempts: 3 })
      assert.strictEqual(yield* resumed(hedge, "pay"), "paid it")
      assert.deepStrictEqual(made, ["cashier 1"])
    }).pipe(turns(pays(1), "paid it"))
  )
})

describe("a workflow that cannot be resumed in its middle", () => {
  const { agent, made } = payments()
  const cashier = agent("cashier")
  class Odd {
    readonly n = 1
  }
  const odd = Runner.make("odd", { run: () => Effect.succeed(new Odd()) })
  const workflows: ReadonlyArray<readonly [string, Runner.Any]> = [
    ["a parallel whose other branch gave what is not JSON", Parallel.make("w", { cashier, odd })],
    [
      "a stream of inputs that keeps no outputs",
      Gather.mapStream("w", cashier, {
        inputs: (input: Prompt.RawInput) => Stream.make(input),
        into: Stream.runCollect
      })
    ]
  ]
  for (const [name, erased] of workflows) {
    const workflow = erased as Runner.Runner<Prompt.RawInput, unknown, unknown, never>
    const script = turns(pays(1), "paid it", pays(1), "paid it")

    it.effect(`says so instead of how to resume: ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(workflow.run("pay"))
        const message = (error as Error).message
        assert.deepStrictEqual(waiting(error).blockedBy?.path, ["w"])
        assert.include(message, '"w" cannot be resumed in its middle')
        assert.instanceOf(error, RunError.RunSuspended)
        assert.notInclude(message, "Go on with")
      }).pipe(script)
    )

    it.effect(`refuses the transcript, and the member goes on with it: ${name}`, () =>
      Effect.gen(function* () {
        made.splice(0)
        const answered = approved(yield* Effect.flip(workflow.run("pay")))
        const refused = yield* Effect.flip(workflow.run(answered))
        assert.instanceOf(refused, RunError.CannotResume)
        assert.deepStrictEqual(made, [])
        assert.strictEqual(yield* cashier.run(answered), "paid it")
        assert.deepStrictEqual(made, ["cashier 1"])
      }).pipe(script)
    )
  }
})

describe("a function that runs two runners of one name", () => {
  const { agent, made } = payments()
  const cashier = agent("cashier")
  const cases: Record<string, Runner.Runner<string, unknown, unknown, never>> = {
    "an agent": Runner.make("w", {
      run: (_input: string) => Effect.andThen(cashier.run("first"), cashier.run("second"))
    }) as never,
    "an event": Runner.make("w", {
      run: (_input: string) =>
        Effect.andThen(
          Runner.named(agent("quiet"), "paid").run("first"),
          Runner.event("paid", { schema: Schema.Finite }).run("second")
        )
    }) as never,
    "a parallel": Runner.make("w", {
      run: (_input: string) => {
        const both = Parallel.make("both", { cashier })
        return Effect.andThen(both.run("first"), both.run("second"))
      }
    }) as never
  }
  for (const [name, runner] of Object.entries(cases)) {
    const twice = Chain.make("c", [runner])
    const script = turns("nothing to pay", pays(1), "paid it", pays(2))
    it.effect(`goes on with the first, and refuses the second with the reason, which goes on by itself: ${name}`, () =>
      Effect.gen(function* () {
        made.splice(0)
        const error = yield* Effect.flip(twice.run("pay"))
        assert.deepStrictEqual(waiting(error).blockedBy?.path, ["c", "w"])
        assert.include((error as Error).message, "give each a name of its own with Runner.named")
        const id = waiting(error).waitingFor[0].id
        const answered = Runner.answer(waiting(error).transcript, { [id]: name === "an event" ? 5 : Approvals.approve })
        const refused = yield* Effect.flip(twice.run(sent(answered) as never))
        assert.instanceOf(refused, RunError.CannotResume)
        assert.include((refused as Error).message, "2 times")
        assert.deepStrictEqual(made, [])
        if (name !== "an agent") return
        assert.strictEqual(yield* cashier.run(sent(answered)), "paid it")
        assert.deepStrictEqual(made, ["cashier 1"])
      }).pipe(script)
    )
  }

  it.effect("goes on rightly where they have names of their own, or the first of them waits", () =>
    Effect.gen(function* () {
      made.splice(0)
      const first = Runner.named(agent("first"), "first")
      const apart = Runner.make("w", {
        run: (_input: string): Effect.Effect<unknown, unknown, unknown> =>
          Effect.andThen(first.run("1"), cashier.run("2"))
      }) as Runner.Runner<string, unknown, unknown, never>
      assert.strictEqual(yield* resumed(Chain.make("c", [apart]), "pay"), "paid it")
      const twice = Runner.make("w", {
        run: (_input: string): Effect.Effect<unknown, unknown, unknown> =>
          Effect.andThen(cashier.run("1"), cashier.run("2"))
      }) as Runner.Runner<string, unknown, unknown, never>
      assert.strictEqual(yield* resumed(Chain.make("c", [twice]), "pay"), "nothing to pay")
      assert.deepStrictEqual(made, ["cashier 1", "cashier 3"])
    }).pipe(turns("none", pays(1), "none again", "paid it", pays(3), "paid it", "nothing to pay"))
  )
})

describe("a transcript that waits", () => {
  it.effect("is refused by an agent that did not ask, although it has the tool", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const error = yield* Effect.flip(agent("cashier").run("pay"))
      const refused = yield* Effect.flip(agent("thief").run(approved(error)))
      assert.instanceOf(refused, RunError.CannotResume)
      assert.deepStrictEqual([refused.path, refused.waiting], [["thief"], ["cashier"]])
      assert.include(refused.message, 'Give it to "cashier", whose run it is')
      assert.deepStrictEqual(made, [])
    }).pipe(turns(pays(1), "never"))
  )

  it.effect("is refused by a workflow without the member", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const error = yield* Effect.flip(Chain.make("chain", [agent("cashier")]).run("pay"))
      const others = [
        [Chain.make("chain", [agent("thief")]), 'Give it to "cashier" itself'],
        [Chain.make("other", [agent("cashier")]), 'Give it to "chain", whose run it is']
      ] as const
      for (const [runner, remedy] of others) {
        const refused = yield* Effect.flip(runner.run(approved(error)))
        assert.instanceOf(refused, RunError.CannotResume)
        assert.include(refused.message, remedy)
      }
      assert.deepStrictEqual(made, [])
    }).pipe(turns(pays(1), "never"))
  )

  it.effect("can be given to the same agent within another runner", () =>
    Effect.gen(function* () {
      const { agent, made } = payments()
      const cashier = agent("cashier")
      const error = yield* Effect.flip(cashier.run("pay"))
      const wrapped = Runner.make("wrapped", { run: (input: Prompt.RawInput) => cashier.run(input) })
      assert.strictEqual(yield* wrapped.run(approved(error)), "paid it")
      assert.deepStrictEqual(made, ["cashier 1"])
    }).pipe(turns(pays(1), "paid it"))
  )
})

describe("a run that waits for approval", () => {
  it.effect("is not planned again", () =>
    Effect.gen(function* () {
      const { agent } = payments()
      const plan = JSON.stringify({ steps: [{ id: "a", task: "t", dependsOn: [], worker: "cashier" }] })
      const work = PlanExecuteEvaluate.make("work", { workers: { cashier: agent("cashier") } })
      const error = yield* work
        .run("x")
        .pipe(Effect.flip, Effect.provide(TestModel.layer((request) => (request.tools.length > 0 ? pays(1) : plan))))
      assert.strictEqual(error._tag, "RunSuspended")
    })
  )

  it.effect("is not attempted again by a hedge or a retry, alone or in a group", () =>
    Effect.gen(function* () {
      const { agent } = payments()
      const cashier = agent("cashier")
      const hedge = Parallel.hedge("hedge", cashier, { delay: "1 seconds", attempts: 3 })
      const grouped = Runner.withRetry(Parallel.make("group", { cashier }), { times: 3 })
      for (const runner of [hedge, grouped, Runner.withRetry(cashier, { times: 3 })] as ReadonlyArray<Runner.Any>) {
        let asked = 0
        const error = yield* (runner as typeof cashier)
          .run("x")
          .pipe(Effect.flip, Effect.provide(TestModel.layer(() => (asked++, pays(1)))))
        assert.strictEqual(waiting(error)._tag, "RunSuspended")
        assert.strictEqual(asked, 1)
      }
    })
  )
})

describe("attempts at the same work", () => {
  const keyed = () => {
    const keys: Array<readonly [number, string]> = []
    const pay = AgentTool.fromFunction("pay", {
      description: "Pays",
      parameters: Schema.Struct({ n: Schema.Finite }),
      execute: ({ n }, { idempotencyKey }) => (keys.push([n, idempotencyKey]), "paid")
    })
    return { keys, cashier: Agent.make("cashier", { tools: [pay] }) }
  }
  const keysOf = (keys: ReadonlyArray<readonly [number, string]>, wanted: number) =>
    keys.flatMap(([n, key]) => (n === wanted ? [key] : []))

  it.effect("call a tool under the same key, and other calls under others", () =>
    Effect.gen(function* () {
      const { cashier, keys } = keyed()
      const failing = Runner.mapEffect(cashier, () => Effect.fail("not yet"))
      for (const runner of [
        Parallel.hedge("hedge", failing, { delay: "1 minute", attempts: 3 }),
        Runner.withRetry(failing, { times: 2 })
      ] as ReadonlyArray<Runner.Any>) {
        keys.splice(0)
        let count = 0
        yield* Effect.flip((runner as typeof cashier).run("x")).pipe(
          Effect.provide(
            TestModel.layer(({ prompt }) => {
              const paid = prompt.content.filter(({ role }) => role === "tool").length
              // The model's own ids differ from attempt to attempt.
              const once = (n: number) => ({ toolCalls: [{ id: `id-${count++}`, name: "pay", params: { n } }] })
              return paid === 0 ? once(1) : paid === 1 ? once(2) : paid === 2 ? once(1) : "done"
            })
          )
        )
        const ones = keysOf(keys, 1)
        assert.strictEqual(ones.length, 6)
        assert.deepStrictEqual(new Set(ones).size, 2, "the first and the second payment of 1")
        assert.deepStrictEqual(new Set(keysOf(keys, 2)).size, 1)
        assert.strictEqual(new Set(keys.map(([, key]) => key)).size, 3)
      }
    })
  )

  it.effect("have other keys when the work is done again", () =>
    Effect.gen(function* () {
      const { cashier, keys } = keyed()
      const hedge = Parallel.hedge("hedge", cashier, { delay: "1 minute" })
      yield* hedge.run("x")
      yield* Runner.withRetry(Chain.make("twice", [hedge, hedge]), { times: 1 }).run("x")
      assert.strictEqual(new Set(keys.map(([, key]) => key)).size, 3)
    }).pipe(turns(pays(1), "done", pays(1), "done", pays(1), "done"))
  )
})
