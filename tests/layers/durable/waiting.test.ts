import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as Parallel from "troupe/Parallel"
import * as PlanExecuteEvaluate from "troupe/PlanExecuteEvaluate"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const inFile = Layer.unwrap(Effect.map(temporaryFile, engine))
const suspended = (self: Durable.Named, key: string) =>
  eventually(Effect.map(Durable.status(self, key), (status) => status === "suspended"))

it.live("a signal wakes a run that waits for it, and a signal that came before is there", () =>
  Effect.gen(function* () {
    const Paid = Schema.Struct({ amount: Schema.Finite })
    let begun = 0
    const order = Runner.make("order", {
      run: (id: string) =>
        Effect.gen(function* () {
          begun++
          const { amount } = yield* Step.signal("paid", Paid)
          const second = yield* Step.signal("paid", Paid)
          return `${id}: ${amount} and ${second.amount}`
        })
    })
    const orders = Durable.make(order, { name: "orders", version: "1", key: (id) => id, error: Schema.Never })
    const fiber = yield* Effect.forkChild(orders.run("a"))
    yield* suspended(orders, "a")
    expect(yield* Durable.pending(orders, "a")).toMatchObject([{ kind: "signal", name: "paid" }])
    yield* Durable.signal(orders, "a", "paid", { amount: 5 })
    yield* Durable.signal(orders, "a", "paid", { amount: 7 })
    expect(yield* Fiber.join(fiber)).toBe("a: 5 and 7")
    expect(begun).toBeGreaterThan(1)
  }).pipe(Effect.provide(inFile))
)

it.live("a run sleeps without a worker, and wakes when its time has come", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const runner = Runner.make("patient", {
      run: (text: string) => Effect.as(Step.sleep("a while", "1500 millis"), text)
    })
    const patient = Durable.make(runner, { name: "patient", version: "1", key: (text) => text })
    const first = yield* patient.run("x").pipe(Effect.provide(engine(file)), Effect.forkChild)
    yield* suspended(patient, "x").pipe(Effect.provide(engine(file)))
    yield* Fiber.interrupt(first)
    const started = Date.now()
    expect(yield* patient.run("x").pipe(Effect.provide(engine(file)))).toBe("x")
    expect(Date.now() - started).toBeLessThan(20_000)
  })
)

const answering = (call: { readonly tools: ReadonlyArray<string>; readonly prompt: unknown }) =>
  JSON.stringify(call.prompt).includes("tool-result")
    ? `done with ${/"result":"([^"]*)"/.exec(JSON.stringify(call.prompt))?.[1] ?? "nothing"}`
    : TestModel.toolCall(call.tools[0]!, {})

it.live("an approval waits without a process, and the run goes on with the decision, in a branch too", () =>
  Effect.gen(function* () {
    let sent = 0
    const send = AgentTool.fromFunction("send", {
      description: "Sends.",
      needsApproval: true,
      execute: () => Effect.sync(() => `sent ${++sent}`)
    })
    const mailer = Agent.make("mailer", { tools: [send] })
    const both = Parallel.make("both", { one: mailer, two: mailer })
    const mails = Durable.make(both, {
      name: "mails",
      version: "1",
      key: () => "k",
      output: Schema.Struct({ one: Schema.String, two: Schema.String })
    })
    const fiber = yield* mails
      .run("go")
      .pipe(Effect.provide(TestModel.layer(answering as never, { unused: "ignore" })), Effect.forkChild)
    yield* eventually(Effect.map(Durable.pending(mails, "k"), (waits) => waits.length === 2))
    const waits = yield* Durable.pending(mails, "k")
    expect(waits.map(({ kind, name }) => [kind, name])).toEqual([
      ["approval", "send"],
      ["approval", "send"]
    ])
    expect(sent).toBe(0)
    for (const { id } of waits) yield* Durable.decide(mails, "k", id, { _tag: "Approved" })
    const { one, two } = yield* Fiber.join(fiber)
    expect([one, two].toSorted()).toEqual(["done with sent 1", "done with sent 2"])
  }).pipe(Effect.provide(inFile))
)

it.live("a call that waits lets the others of its step come to their end", () =>
  Effect.gen(function* () {
    const made: Array<string> = []
    const begun = yield* Deferred.make<void>()
    const goOn = yield* Deferred.make<void>()
    const pay = AgentTool.fromFunction("pay", {
      description: "Pays.",
      needsApproval: true,
      execute: () => Effect.sync(() => made.push("pay"))
    })
    const slow = AgentTool.fromFunction("slow", {
      description: "Takes its time.",
      execute: () =>
        Effect.andThen(
          Deferred.succeed(begun, undefined),
          Effect.andThen(
            Deferred.await(goOn),
            Effect.sync(() => made.push("slow"))
          )
        )
    })
    const clerks = Durable.make(Agent.make("clerk", { tools: [pay, slow] }), {
      name: "clerks",
      version: "1",
      key: () => "k"
    })
    const model = TestModel.layer(
      ({ prompt }) =>
        prompt.content.at(-1)!.role === "tool"
          ? "done"
          : TestModel.toolCalls({ name: "slow", params: {} }, { name: "pay", params: {} }),
      { unused: "ignore" }
    )
    const fiber = yield* clerks.run("go").pipe(Effect.provide(model), Effect.forkChild)
    yield* Deferred.await(begun)
    yield* Effect.sleep(50)
    expect(yield* Durable.status(clerks, "k")).toBe("running")
    yield* Deferred.succeed(goOn, undefined)
    yield* suspended(clerks, "k")
    expect(made).toEqual(["slow"])
    const waits = yield* Durable.pending(clerks, "k")
    expect(waits.map(({ kind }) => kind)).toEqual(["approval"])
    yield* Durable.decide(clerks, "k", waits[0]!.id, { _tag: "Approved" })
    expect(yield* Fiber.join(fiber)).toBe("done")
    expect(made).toEqual(["slow", "pay"])
  }).pipe(Effect.provide(inFile))
)

it.live("model calls and tools of an agent are not made again when the run goes on", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const did: Array<string> = []
    let isStuck = true
    const work = AgentTool.fromFunction("work", {
      description: "Works.",
      execute: () => Effect.sync(() => (did.push("work"), "worked"))
    })
    const wait = Runner.make("wait", { run: (text: string) => (isStuck ? Effect.never : Effect.succeed(text)) })
    const worker = Agent.make("worker", { tools: [work] })
    const pair = Runner.make("pair", {
      run: (text: string) => Effect.flatMap(worker.run(text), (answer) => wait.run(answer))
    })
    const pairs = Durable.make(pair, { name: "pairs", version: "1", key: (text) => text })
    const model = TestModel.layer(
      ((call: never) => {
        did.push("model")
        return answering(call)
      }) as never,
      { unused: "ignore" }
    )
    const run = pairs.run("x").pipe(Effect.provide(model))
    const first = yield* run.pipe(Effect.provide(engine(file, { drain: 0 })), Effect.forkChild)
    yield* eventually(Effect.sync(() => did.length === 3))
    yield* Effect.sleep(100)
    yield* Fiber.interrupt(first)
    isStuck = false
    const again = Effect.gen(function* () {
      expect(yield* run).toBe("done with worked")
      const events = yield* Stream.runCollect(Durable.events(pairs, "x"))
      const tags = events.map(({ _tag }) => _tag)
      expect(tags.filter((tag) => tag === "ToolCompleted").length).toBe(1)
      expect(tags.filter((tag) => tag === "StepStarted").length).toBe(2)
      expect(tags.at(-1)).toBe("RunCompleted")
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index))
    })
    yield* again.pipe(Effect.provide(engine(file)))
    expect(did).toEqual(["model", "work", "model"])
  })
)

it.live("a tool of the client, and an event, are waited for without a process", () =>
  Effect.gen(function* () {
    const locate = AgentTool.client("locate", { description: "Where the user is.", success: Schema.String })
    const guide = Agent.make("guide", { tools: [locate] })
    const paid = Runner.event("paid", { schema: Schema.Struct({ amount: Schema.Finite }) })
    const tour = Chain.make("tour", [
      guide,
      (text: string) => Effect.map(paid.run(text), ({ amount }) => `${text} for ${amount}`)
    ])
    const tours = Durable.make(tour, { name: "tours", version: "1", key: () => "k" })
    const fiber = yield* tours
      .run("go")
      .pipe(Effect.provide(TestModel.layer(answering as never, { unused: "ignore" })), Effect.forkChild)
    yield* suspended(tours, "k")
    const [call] = yield* Durable.pending(tours, "k")
    expect(call).toMatchObject({ kind: "client-tool", name: "locate", request: { tool: "locate", params: {} } })
    yield* Durable.answer(tours, "k", call!.id, Durable.happened("Rome"))
    yield* eventually(Effect.map(Durable.pending(tours, "k"), ([wait]) => wait?.kind === "signal"))
    yield* Durable.signal(tours, "k", "paid", { amount: "five" })
    yield* Durable.signal(tours, "k", "paid", { amount: 5 })
    expect(yield* Fiber.join(fiber)).toBe("done with Rome for 5")
  }).pipe(Effect.provide(inFile))
)

it.live("a client that gives what does not fit, or nothing, has failed, as the model sees", () =>
  Effect.gen(function* () {
    const locate = AgentTool.client("locate", { description: "Where the user is.", success: Schema.String })
    const seen: Array<string> = []
    const model = TestModel.layer(
      ((call: { readonly prompt: unknown }) => {
        const prompt = JSON.stringify(call.prompt)
        if (!prompt.includes("tool-result")) return TestModel.toolCall("locate", {})
        seen.push(prompt)
        return "done"
      }) as never,
      { unused: "ignore" }
    )
    const guides = Durable.make(Agent.make("guide", { tools: [locate] }), {
      name: "guides",
      version: "1",
      key: (input) => String(input)
    })
    for (const [key, answer] of [
      ["misfit", Durable.happened(7)],
      ["nothing", Durable.didNotHappen]
    ] as const) {
      const fiber = yield* guides.run(key).pipe(Effect.provide(model), Effect.forkChild)
      yield* suspended(guides, key)
      const [call] = yield* Durable.pending(guides, key)
      yield* Durable.answer(guides, key, call!.id, answer)
      expect(yield* Fiber.join(fiber)).toBe("done")
    }
    expect(seen[0]).toContain("not a result of the tool")
    expect(seen[1]).toContain("the client did not run it")
  }).pipe(Effect.provide(inFile))
)

it.live("a run that fails while its process closes goes on in another one: what it uses may have been closing", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const closed = yield* Deferred.make<void>()
    let isOpen = true
    let charges = 0
    const Closed = Schema.Struct({ message: Schema.String })
    const store = Runner.make("store", {
      run: () =>
        isOpen ? Effect.andThen(Deferred.await(closed), Effect.fail({ message: "closed" })) : Effect.succeed("stored")
    })
    const order = Runner.make("order", {
      run: (id: string) =>
        Effect.gen(function* () {
          const n = yield* Step.run(
            "charge",
            Schema.Int,
            Effect.sync(() => ++charges)
          )
          return `${n}, ${yield* store.run(id)}`
        })
    })
    const orders = Durable.make(order, { name: "orders", version: "1", key: (id) => id, error: Closed })
    yield* Effect.gen(function* () {
      yield* Durable.submit(orders, "a")
      yield* eventually(Effect.sync(() => charges === 1))
      yield* Effect.forkDetach(Effect.andThen(Effect.sleep(100), Deferred.succeed(closed, undefined)))
    }).pipe(Effect.provide(Layer.provideMerge(Durable.worker(orders), engine(file))))
    isOpen = false
    yield* Effect.gen(function* () {
      expect(yield* orders.run("a")).toBe("1, stored")
      expect(charges).toBe(1)
      const events = yield* Stream.runCollect(Durable.events(orders, "a"))
      expect(events.filter(({ _tag }) => _tag === "RunFailed")).toEqual([])
      expect(events.at(-1)!._tag).toBe("RunCompleted")
    }).pipe(Effect.provide(engine(file)))
  })
)

it.live("a step of a plan that waits lets those that depend on it wait with it", () =>
  Effect.gen(function* () {
    const did: Array<string> = []
    const pay = AgentTool.fromFunction("pay", {
      description: "Pays.",
      needsApproval: true,
      execute: () => Effect.sync(() => (did.push("pay"), "paid"))
    })
    const payer = Runner.provide(
      Agent.make("payer", { description: "Pays", tools: [pay] }),
      TestModel.layer(answering as never, { unused: "ignore" })
    )
    const packer = Runner.make("packer", {
      description: "Packs",
      run: () =>
        Step.run(
          "pack",
          Schema.String,
          Effect.sync(() => (did.push("pack"), "packed"))
        )
    })
    const plan = PlanExecuteEvaluate.make("plan", {
      planner: Effect.succeed({
        steps: [
          { id: "one", task: "Pay.", worker: "payer", dependsOn: [] },
          { id: "two", task: "Pack.", worker: "packer", dependsOn: ["one"] }
        ]
      }),
      workers: { payer, packer }
    })
    const plans = Durable.make(Runner.map(plan, String, { output: Schema.String }), {
      name: "plans",
      version: "1",
      key: () => "k"
    })
    const fiber = yield* Effect.forkChild(plans.run("go"))
    yield* suspended(plans, "k")
    const [wait] = yield* Durable.pending(plans, "k")
    yield* Durable.decide(plans, "k", wait!.id, { _tag: "Approved" })
    yield* Fiber.join(fiber)
    expect(did).toEqual(["pay", "pack"])
  }).pipe(Effect.provide(inFile))
)

it.live("an attempt of a hedge that waits is not hedged", () =>
  Effect.gen(function* () {
    let asked = 0
    const pay = AgentTool.fromFunction("pay", { description: "Pays.", needsApproval: true, execute: () => "paid" })
    const model = TestModel.layer(((call: never) => (asked++, answering(call))) as never, { unused: "ignore" })
    const payer = Runner.provide(Agent.make("payer", { tools: [pay] }), model)
    const hedge = Parallel.hedge("hedge", payer, { delay: "1 hour", attempts: 3 })
    const hedges = Durable.make(hedge, { name: "hedges", version: "1", key: () => "k" })
    const fiber = yield* Effect.forkChild(hedges.run("go"))
    yield* suspended(hedges, "k")
    const waits = yield* Durable.pending(hedges, "k")
    expect([waits.length, asked]).toEqual([1, 1])
    yield* Durable.decide(hedges, "k", waits[0]!.id, { _tag: "Approved" })
    expect(yield* Fiber.join(fiber)).toBe("done with paid")
  }).pipe(Effect.provide(inFile))
)
