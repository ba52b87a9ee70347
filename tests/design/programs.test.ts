/** The programs of the design's second part, as they stand there: they type-check, and do what the design says. */
// Parameters are named as the design names them.
/* oxlint-disable no-unused-vars */
import { createAnthropic } from "@ai-sdk/anthropic"
import { expect, it } from "@effect/vitest"
import { Clock, Effect, Exit, Layer, Option, Schema, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import {
  Agent,
  AgentServer,
  AgentTool,
  AiSdk,
  Compaction,
  Durable,
  Fallback,
  Feature,
  Goal,
  Guardrail,
  Inbox,
  LlamaCpp,
  Memory,
  MemoryStore,
  Middleware,
  Models,
  Notice,
  OpenAi,
  Replan,
  RunEvent,
  Runner,
  Session,
  SessionStore,
  Skills,
  Sqlite,
  Step,
  Team,
  TestModel,
  ToolSearch,
  TraceStore
} from "troupe"

const temporary = (name: string): string => path.join(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-design-")), name)
const answers = (...texts: ReadonlyArray<string>) => TestModel.layer(texts)
/** Answers every call with the same text. */
const always = (text: string) => TestModel.layer(() => text)

it.effect("middleware: made, by hooks, replaced, with a model of its own, and of parts", () =>
  Effect.gen(function* () {
    const seen: Array<unknown> = []
    const log = (value: unknown) => void seen.push(value)
    const timing = Middleware.make("timing", {
      tool: (call, next) =>
        Effect.tap(next(call), (outcome) => Effect.logDebug(`${call.tool} failed: ${outcome.isFailure}`))
    })
    const audit = Middleware.hooks("audit", {
      beforeAgent: (run) => {},
      afterAgent: (output, run) => {},
      beforeModel: (request) => {
        log(request.prompt.content.length)
      },
      afterModel: (turn, request) => {},
      beforeTool: (call) => ({ ...call, params: { ...call.params, region: "eu" } }),
      afterTool: (outcome, call) => {}
    })
    const hit = (request: Middleware.ModelRequest) => request.step > 1
    const cached = Middleware.make("cached", {
      model: (request, next) => (hit(request) ? Effect.succeed(Middleware.turn("from the cache")) : next(request))
    })
    const cheap = Middleware.make("cheap", {
      model: (request, next) => next(request).pipe(Effect.provide(always("cheap")))
    })
    const muted = Middleware.make("muted", { part: (part) => (part.type === "reasoning-delta" ? undefined : part) })
    const sell = AgentTool.fromFunction("sell", {
      description: "Sells",
      parameters: Schema.Struct({ region: Schema.String }),
      execute: ({ region }) => `sold in ${region}`
    })
    const agent = Agent.make("agent", { middleware: [timing, audit, muted], tools: [sell] })
    const program = agent.result("Sell.")
    const { output, transcript } = yield* program.pipe(
      Effect.provide(Middleware.layer(cached)),
      Effect.provide(TestModel.layer([TestModel.toolCall("sell", { region: "us" })]))
    )
    expect(output).toBe("from the cache")
    expect(JSON.stringify(transcript.content)).toContain("sold in eu")
    expect(seen.length).toBeGreaterThan(0)
    expect(
      yield* Agent.make("thrifty", { middleware: [cheap] })
        .run("Hi")
        .pipe(Effect.provide(always("dear")))
    ).toBe("cheap")
  })
)

it.effect("ready-made middleware stands in one list", () =>
  Effect.gen(function* () {
    const judge = Runner.make("judge", {
      run: (_: string) => Effect.succeed({ done: true, missing: "" })
    })
    const agent = Agent.make("agent", {
      middleware: [
        Compaction.make({
          window: 128_000,
          at: 0.8,
          policies: [
            Compaction.offload({ above: 8_000 }),
            Compaction.summarise({ keepTurns: 4 }),
            Compaction.dropOldest
          ]
        }),
        Guardrail.input("no secrets", (prompt) => Effect.succeed(Guardrail.pass)),
        Replan.make({ every: 4 }),
        Notice.make({ at: 0.8 })
      ]
    })
    expect(yield* agent.run("Hello").pipe(Effect.provide(answers("Hi")))).toBe("Hi")
    expect(Goal.make({ until: judge, maxRounds: 5 })).toBeDefined()
    const rude = Agent.make("rude", {
      middleware: [Guardrail.output("polite", (text) => Effect.succeed(Guardrail.trip("rude")), { hold: true })]
    })
    const error = yield* Effect.flip(rude.run("Hello").pipe(Effect.provide(answers("Go away"))))
    expect(error._tag).toBe("GuardrailTripped")
  })
)

it.effect("features bring tools, instructions and middleware", () =>
  Effect.gen(function* () {
    const namespace = "user-42"
    const own = Feature.make("own", { tools: [], instructions: "Be kind.", middleware: [] })
    const agent = Agent.make("a", { use: [Memory.feature({ namespace }), own] })
    expect(yield* agent.run("Hi").pipe(Effect.provide([answers("Hello"), MemoryStore.layerMemory]))).toBe("Hello")
    void Agent.make("b", { use: [Skills.feature()] })
    const me = AgentTool.fromFunction("me", { description: "Tells who asks", execute: () => "Ada" })
    const many = ToolSearch.make([me], { always: ["me"], max: 5 })
    expect(
      yield* Agent.make("c", { tools: [many] })
        .run("Who?")
        .pipe(Effect.provide(answers("Ada")))
    ).toBe("Ada")
  })
)

it.effect("an inbox steers a run", () =>
  Effect.gen(function* () {
    const inbox = yield* Inbox.make
    const agent = Agent.make("agent", {
      tools: [
        AgentTool.fromFunction("wait", {
          description: "Waits",
          execute: () =>
            Effect.as(inbox.steer("Be quick.").pipe(Effect.forkDetach({ startImmediately: true })), "waited")
        })
      ]
    })
    const { transcript } = yield* agent
      .result("Go.")
      .pipe(
        Inbox.listen(inbox),
        Effect.provide(TestModel.layer([TestModel.toolCall("wait", {}), "done", "done"], { unused: "ignore" }))
      )
    expect(JSON.stringify(transcript.content)).toContain("Be quick.")
    expect(yield* inbox.queue("Late.")).toBe("undelivered")
  })
)

it.effect("budgets bound what is below them, and tell what is left", () =>
  Effect.gen(function* () {
    const desk = Agent.make("desk", {
      tools: [AgentTool.fromFunction("left", { description: "Tells what is left", execute: () => Runner.remaining })]
    })
    const limited = Runner.withBudget(desk, {
      tokens: 50_000,
      steps: 40,
      toolCalls: 100,
      time: "2 minutes"
    })
    const { transcript } = yield* limited
      .result("Hi")
      .pipe(Effect.provide(TestModel.layer([TestModel.toolCall("left", {}), "done"])))
    expect(JSON.stringify(transcript.content)).toMatch(/"steps":3\d/)
    const error = yield* Effect.flip(
      desk
        .pipe(Runner.withBudget({ steps: 1 }))
        .run("Hi")
        .pipe(Effect.provide(TestModel.layer([TestModel.toolCall("left", {})])))
    )
    expect(error).toMatchObject({ _tag: "BudgetExceeded", limit: "steps", allowed: 1 })
    const left = yield* Runner.remaining
    expect(left.tokens).toBe(undefined)
  })
)

it.effect("a suspended run goes on with its answers", () =>
  Effect.gen(function* () {
    const agent = Agent.make("agent", {
      tools: [AgentTool.client("where", { description: "Tells where the user is", success: Schema.String })]
    })
    const model = TestModel.layer([TestModel.toolCall("where", {}), "You are in Rome."])
    const output = yield* Effect.gen(function* () {
      const error = yield* Effect.flip(agent.run("Where am I?"))
      if (error._tag !== "RunSuspended") return yield* Effect.die(error)
      const [waiting] = error.waitingFor
      expect(waiting).toMatchObject({ kind: "client-tool" })
      expect(Runner.pending(error.transcript).map(({ id }) => id)).toEqual([waiting!.id])
      return yield* agent.run(Runner.answer(error.transcript, { [waiting!.id]: "Rome" }))
    }).pipe(Effect.provide(model))
    expect(output).toBe("You are in Rome.")
  })
)

it.effect("steps outside of a durable run just run, and a signal says that it needs one", () =>
  Effect.gen(function* () {
    const now = yield* Step.run("now", Schema.Number, Clock.currentTimeMillis)
    expect(now).toBeTypeOf("number")
    const typed = yield* Effect.flip(
      Step.run("no", { success: Schema.String, error: Schema.String }, Effect.fail("no"))
    )
    expect(typed).toBe("no")
    yield* Step.sleep("nap", 0)
    expect((yield* Effect.flip(Step.signal("paid", Schema.Struct({ amount: Schema.Number }))))._tag).toBe("NotDurable")
  })
)

it.live("sessions keep a conversation, memory is recalled, traces are kept", () =>
  Effect.gen(function* () {
    const clerk = Agent.make("clerk", {})
    const Stores = Layer.mergeAll(SessionStore.layerSql, MemoryStore.layerSql, TraceStore.layerSql).pipe(
      Layer.provide(Sqlite.layer({ filename: temporary("troupe.db") }))
    )
    const prompts: Array<string> = []
    const model = TestModel.layer(({ prompt }) => {
      prompts.push(JSON.stringify(prompt.content))
      return "noted"
    })
    const program = Effect.gen(function* () {
      const chat = Session.of(clerk, "user-42")
      yield* chat.run("My name is Ada.")
      yield* chat.run("What is my name?")
      void Session.of(clerk, "user-42", { onFailure: "keep", whenBusy: "queue" })
      const history = yield* SessionStore.history("user-42")
      expect(history.content.length).toBe(4)
      yield* SessionStore.fork("user-42", "user-43")
      expect((yield* SessionStore.list({ limit: 50 })).map(({ id }) => id).toSorted()).toEqual(["user-42", "user-43"])
      yield* SessionStore.remove("user-42")
      expect((yield* SessionStore.list({ limit: 50 })).map(({ id }) => id)).toEqual(["user-43"])

      const helper = Agent.make("helper", {
        tools: Memory.tools({ namespace: "user-42" }),
        middleware: [Memory.recall({ namespace: "user-42", limit: 5 })]
      })
      yield* Memory.put({ namespace: "user-42", key: "tea", text: "Ada likes green tea" })
      yield* helper.run("Which tea does Ada like?")
    })
    yield* program.pipe(Effect.provide(TraceStore.record), Effect.provide(model), (live) =>
      Effect.gen(function* () {
        yield* live
        const runs = yield* TraceStore.runs({ runner: "clerk", limit: 20 })
        expect(runs.length).toBe(2)
        const events = yield* Stream.runCollect(TraceStore.events(runs[0]!.runId))
        expect(events.at(-1)?._tag).toBe("RunCompleted")
        expect(yield* TraceStore.runs({ runner: "clerk", status: "failed", limit: 20 })).toEqual([])
      }).pipe(Effect.provide(Stores))
    )
    expect(prompts[1]).toContain("My name is Ada.")
    expect(prompts[2]).toContain("green tea")
  })
)

it.effect("a team is a runner", () =>
  Effect.gen(function* () {
    const leader = Agent.make("leader", { description: "Leads" })
    const coder = Agent.make("coder", { description: "Codes" })
    const tester = Agent.make("tester", { description: "Tests" })
    const team = Team.make("release", { leader, members: { coder, tester } }, { budget: { steps: 40 }, maxRounds: 8 })
    expect(Runner.isRunner(team)).toBe(true)
    const background = Agent.make("lead", { tools: [...AgentTool.background(coder)] })
    expect(Runner.isRunner(background)).toBe(true)
  })
)

it("models by package, by name, in turn, and from a file", () => {
  const layers: ReadonlyArray<Layer.Layer<LanguageModel.LanguageModel, unknown>> = [
    AiSdk.layer(createAnthropic({ apiKey: "k" })("claude-sonnet-4-5")),
    Models.layer("anthropic:claude-sonnet-4-5"),
    Fallback.layer([OpenAi.layer({ model: "gpt-4.1-mini" }), Models.layer("ollama:qwen3")]),
    LlamaCpp.layer({ modelPath: "./model.gguf" }),
    OpenAi.layer({ model: "m", structuredOutput: "json_schema", cache: "auto" })
  ]
  expect(layers.every(Layer.isLayer)).toBe(true)
})

it.live("a durable run has a key, and its functions work from it", () =>
  Effect.gen(function* () {
    const desk = Runner.make("desk", {
      run: (input: { readonly orderId: string }) =>
        Effect.gen(function* () {
          const { amount } = yield* Step.signal("paid", Schema.Struct({ amount: Schema.Number }))
          return `${input.orderId}: ${amount}`
        })
    })
    const orders = Durable.make(desk, {
      name: "orders",
      version: "1",
      key: (input) => input.orderId
    })
    const program = Effect.gen(function* () {
      const input = { orderId: "o1" }
      const key = yield* Durable.submit(orders, input)
      yield* Durable.signal(orders, key, "paid", { amount: 5 })
      expect(yield* orders.run(input)).toBe("o1: 5")
      expect(yield* Durable.status(orders, key)).toBe("completed")
      expect(yield* Durable.result(orders, key)).toBe("o1: 5")
      const events = yield* Stream.runCollect(Durable.events(orders, key))
      expect(events.at(-1)?._tag).toBe("RunCompleted")
      yield* Durable.interrupt(orders, key)
    })
    yield* program.pipe(
      Effect.provide(Durable.worker(orders)),
      Effect.provide(Durable.layerSqlite({ filename: temporary("runs.db") }))
    )
  })
)

it.live("a web handler serves runners", () =>
  Effect.gen(function* () {
    const desk = Agent.make("desk", {})
    const { handler, dispose } = AgentServer.toWebHandler({ runners: { desk } }, always("Hi"))
    const response = yield* Effect.promise(() =>
      handler(
        new Request("http://localhost/runners/desk", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ input: "Hello" })
        })
      )
    )
    expect(response.status).toBe(200)
    expect(yield* Effect.promise(() => response.json())).toMatchObject({ output: "Hi", steps: 1 })
    yield* Effect.promise(dispose)
    const client = AgentServer.client({ desk }, { url: "http://127.0.0.1:1" })
    expect(Exit.isFailure(yield* Effect.exit(client.desk.run("Hello")))).toBe(true)
    void AgentServer.serve({ runners: { desk }, port: 0 })
  })
)

it.effect("typed output as it streams", () =>
  Effect.gen(function* () {
    const agent = Agent.make("agent", { output: Schema.Struct({ items: Schema.Array(Schema.String) }) })
    const model = answers('{"items":["a","b"]}')
    const last = yield* RunEvent.partial(agent.stream("Go."), agent.output).pipe(Stream.runLast, Effect.provide(model))
    expect(Option.getOrThrow(last)).toEqual({ items: ["a", "b"] })
  })
)
