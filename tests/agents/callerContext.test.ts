import { assert, describe } from "@effect/vitest"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, Approvals, RunEvent, TestModel, ToolSource } from "troupe"
import { it } from "../support/edges.ts"
import { recording } from "../support/spans.ts"

const Tenant = Context.Reference("test/Tenant", { defaultValue: () => "none" })
const inRequest = Effect.provideService(Tenant, "request-7")
const inApp = Effect.provideService(Tenant, "app-default")

/** Calls the one tool that there is, then answers with what it gave. */
const calling = TestModel.layer((call) => {
  const last = call.prompt.content.at(-1)
  const part = last?.role === "tool" ? last.content.find((one) => one.type === "tool-result") : undefined
  return part === undefined ? TestModel.toolCall(call.tools[0]!, { input: "x" }) : String(part.result)
})
const tenantTool = AgentTool.fromFunction("tenant", { description: "Names the tenant", execute: () => Tenant })

describe("an agent that is a service", () => {
  it.effect("reads the references of its caller, not those of the place where its layer was built", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", {
        tools: [tenantTool],
        instructions: () => Effect.map(Tenant, (tenant) => `You work for ${tenant}.`)
      }) {}
      const { model, answer } = yield* Effect.all({ answer: Clerk.run("go"), model: TestModel.TestModel }).pipe(
        inRequest,
        Effect.provide(Clerk.layer),
        inApp
      )
      assert.strictEqual(answer, "request-7")
      const system = (yield* model.calls)[0]?.prompt.content[0]
      assert.strictEqual(system?.role === "system" ? system.content : undefined, "You work for request-7.")
    }).pipe(Effect.provide(calling))
  )

  it.effect("reads them in streams, and as a tool of another agent", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", { description: "Knows", tools: [tenantTool] }) {}
      const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(Clerk, { name: "clerk" })] })
      const answer = yield* boss.run("go").pipe(inRequest, Effect.provide(Clerk.layer), inApp)
      assert.strictEqual(answer, "request-7")
      const texts = yield* Clerk.stream("go").pipe(
        RunEvent.text,
        Stream.runCollect,
        inRequest,
        Effect.provide(Clerk.layer),
        inApp
      )
      assert.deepStrictEqual(texts, ["request-7"])
    }).pipe(Effect.provide(calling))
  )

  it.effect("supplies what its caller does not provide", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", { tools: [tenantTool] }) {}
      assert.strictEqual(
        yield* Clerk.run("go").pipe(Effect.provide(Layer.provide(Clerk.layer, inLayer))),
        "app-default"
      )
    }).pipe(Effect.provide(calling))
  )
  const inLayer = Layer.succeed(Tenant, "app-default")

  it.effect("keeps its own model where its caller has another", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", {}) {}
      const answer = yield* Clerk.run("go").pipe(
        Effect.provide(TestModel.layer(["the caller's"], { unused: "ignore" })),
        Effect.provide(Layer.provide(Clerk.layer, TestModel.layer(["its own"])))
      )
      assert.strictEqual(answer, "its own")
    })
  )

  it.effect("keeps its own handlers where its caller has others", () =>
    Effect.gen(function* () {
      const kit = Toolkit.make(Tool.make("look", { description: "Looks", success: Schema.String }))
      const handlers = (from: string) =>
        kit.toLayer({ look: () => Effect.map(Tenant, (tenant) => `${from} for ${tenant}`) })
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", { toolkit: kit }) {}
      const answer = yield* Clerk.run("go").pipe(
        inRequest,
        Effect.provide(handlers("the caller's")),
        Effect.provide(Layer.provide(Clerk.layer, handlers("its own"))),
        inApp
      )
      assert.strictEqual(answer, "its own for request-7")
    }).pipe(Effect.provide(calling))
  )

  it.effect("keeps what its sources take their tools from", () =>
    Effect.gen(function* () {
      class Shelf extends Context.Service<Shelf, string>()("test/Shelf") {}
      const source = ToolSource.make(
        "shelf",
        () =>
          Effect.map(Shelf, (shelf) => [
            AgentTool.fromFunction("look", {
              description: "Looks",
              execute: () => Effect.map(Tenant, (tenant) => `${shelf} for ${tenant}`)
            })
          ]),
        { from: Shelf }
      )
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", { tools: [source] }) {}
      const answer = yield* Clerk.run("go").pipe(
        inRequest,
        Effect.provideService(Shelf, "the caller's"),
        Effect.provide(Layer.provide(Clerk.layer, Layer.succeed(Shelf, "its own"))),
        inApp
      )
      assert.strictEqual(answer, "its own for request-7")
    }).pipe(Effect.provide(calling))
  )

  it.effect("traces its runs under the span of its caller, not of the building of its layer", () =>
    Effect.gen(function* () {
      const { spans, tracer } = recording()
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", {}) {}
      const context = yield* Layer.build(Clerk.layer).pipe(Effect.withSpan("building"), Effect.withTracer(tracer))
      yield* Clerk.run("go").pipe(Effect.provide(context), Effect.withTracer(tracer))
      const run = spans.find(({ name }) => name.startsWith("invoke_agent"))
      assert.strictEqual(run?.parent._tag, "None")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("needs no name of a model when only the caller's has one", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/Clerk", {}) {}
      const own = yield* LanguageModel.LanguageModel
      const answer = yield* Clerk.run("go").pipe(
        Effect.provide(Layer.provide(Clerk.layer, Layer.succeed(LanguageModel.LanguageModel, own)))
      )
      assert.strictEqual(answer, "done")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )
})

describe("an approver", () => {
  it.effect("reads the references of the run that asks", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const approver = Approvals.layer(() =>
        Effect.map(Tenant, (tenant) => {
          seen.push(tenant)
          return Approvals.approve
        })
      )
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        needsApproval: true,
        execute: () => "paid"
      })
      yield* Agent.make("clerk", { tools: [pay] })
        .run("go")
        .pipe(inRequest, Effect.provide(approver), inApp)
      assert.deepStrictEqual(seen, ["request-7"])
    }).pipe(Effect.provide(calling))
  )

  it.effect("keeps the services that its layer was built with", () =>
    Effect.gen(function* () {
      class Boss extends Context.Service<Boss, string>()("test/Boss") {}
      const approver = Approvals.layer(() => Effect.map(Boss, (name) => Approvals.deny(`${name} says no`)))
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        needsApproval: true,
        execute: () => "paid"
      })
      const answer = yield* Agent.make("clerk", { tools: [pay] })
        .result("go")
        .pipe(Effect.provide(Layer.provide(approver, Layer.succeed(Boss, "Ada"))))
      assert.include(JSON.stringify(answer.transcript.content), "Ada says no")
    }).pipe(Effect.provide(calling))
  )
})
