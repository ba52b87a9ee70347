/** A run that has failed goes on from the transcript of its error: after the last completed step, without its tools once more. */
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, type Layer, Predicate, Schema } from "effect"
import { AiError, type LanguageModel, Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Approvals,
  Chain,
  Goal,
  Guardrail,
  Handoffs,
  LoopGuard,
  Middleware,
  Parallel,
  Router,
  RunError,
  type RunEvent,
  Runner,
  TestModel,
  Transcript
} from "troupe"
import { it } from "../support/edges.ts"

const { toolCall } = TestModel
const json = (value: unknown) => JSON.stringify(value)
const hang: TestModel.Turn = { hang: true }

/** The tools of the agents of this file, and how often the one was called that must not be called twice. */
const tools = () => {
  const paid: Array<string> = []
  const pay = AgentTool.fromFunction("pay", {
    description: "Pays",
    parameters: Schema.Struct({ to: Schema.String }),
    execute: ({ to }) => {
      paid.push(to)
      return `paid ${to}`
    }
  })
  const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen a secret" })
  const breaks = AgentTool.fromFunction("breaks", {
    description: "Breaks",
    failureMode: "error",
    execute: () => Effect.fail("broken")
  })
  const waits = AgentTool.fromFunction("waits", { description: "Waits", execute: () => Promise.resolve("late") })
  const asks = AgentTool.fromFunction("asks", { description: "Asks", needsApproval: true, execute: () => "done" })
  return { paid, all: [pay, look, breaks, waits, asks] }
}
type Tools = ReturnType<typeof tools>["all"]

type Run = Effect.Effect<unknown, unknown, LanguageModel.LanguageModel>
/** How a run comes to fail after its first step, in which it has paid. */
interface Failing {
  /** The turns after the first one. */
  readonly turns: ReadonlyArray<TestModel.Turn | string>
  readonly run: (tools: Tools) => Run
  /** What the next run is given, where that is not the transcript itself. */
  readonly input?: (error: RunError.RunSuspended) => Prompt.RawInput
  /** What must not be in the transcript. */
  readonly without?: string
  readonly edge?: "sync"
}

const agentOf = (
  tools: Tools,
  options: Agent.Options = {}
): Agent.Agent<string, unknown, LanguageModel.LanguageModel> =>
  Agent.make("agent", { tools, retry: "none", ...(options as {}) })
const failing =
  (options: Agent.Options = {}): Failing["run"] =>
  (tools) =>
    agentOf(tools, options).run("Pay Ada.")
const guarded = (...middleware: ReadonlyArray<Middleware.Any>) => failing({ middleware } as Agent.Options)
const tripped = Effect.succeed(Guardrail.trip("no"))
const onStep = (step: number, what: Effect.Effect<never, unknown>) =>
  Middleware.make("own", { model: (request, next) => (request.step === step ? what : next(request)) })
const down = TestModel.fail(new AiError.InvalidRequestError({ description: "down" }))

const failures: Readonly<Record<string, Failing>> = {
  ModelError: { turns: [down], run: failing() },
  "ModelError in the middle of an answer": {
    turns: [{ text: ["half ", "an answer"], after: 1, ...down }],
    run: failing(),
    without: "half"
  },
  MaxStepsExceeded: { turns: [], run: failing({ maxSteps: 1 }) },
  MaxToolCallsExceeded: { turns: [toolCall("look", {})], run: failing({ maxToolCalls: 1, onMaxToolCalls: "fail" }) },
  InvalidOutput: {
    turns: ["not json"],
    run: failing({ output: Schema.Struct({ a: Schema.Int }), outputRepairs: 0 } as Agent.Options)
  },
  OutputTruncated: { turns: [{ text: "cut", finishReason: "length" }], run: failing() },
  ModelRefused: { turns: [{ text: "I won't.", finishReason: "content-filter" }], run: failing() },
  EmptyTurn: { turns: ["", ""], run: failing() },
  ToolError: {
    turns: [TestModel.toolCalls({ name: "breaks", params: {} }, { name: "look", params: {} })],
    run: failing()
  },
  AsyncToolError: { turns: [toolCall("waits", {})], run: failing(), edge: "sync" },
  RunSuspended: {
    turns: [toolCall("asks", {})],
    run: failing(),
    input: ({ transcript, waitingFor }) => Runner.answer(transcript, { [waitingFor[0].id]: Approvals.approve })
  },
  MiddlewareError: { turns: [], run: guarded(onStep(2, Effect.die("broken"))) },
  "MiddlewareError of a tool call": {
    turns: [toolCall("look", {})],
    run: guarded(
      Middleware.make("own", { tool: (call, next) => (call.tool === "look" ? Effect.die("broken") : next(call)) })
    )
  },
  "MiddlewareError after the run": {
    turns: ["paid"],
    run: guarded(Middleware.make("own", { run: (run, next) => Effect.andThen(next(run), Effect.die("broken")) }))
  },
  "MiddlewareError of a Layer": {
    turns: [],
    run: (tools) => Effect.provide(failing()(tools), Middleware.layer(onStep(2, Effect.fail("broken"))))
  },
  "GuardrailTripped by an answer": {
    turns: ["a rude word"],
    run: guarded(
      Guardrail.output("polite", (text) => (text.includes("rude") ? tripped : Effect.succeed(Guardrail.pass)))
    ),
    without: "rude"
  },
  "GuardrailTripped by a call": {
    turns: [toolCall("look", {})],
    run: guarded(
      Guardrail.toolInput("blind", ({ tool }) => (tool === "look" ? tripped : Effect.succeed(Guardrail.pass)))
    )
  },
  "GuardrailTripped by a result": {
    turns: [TestModel.toolCalls({ name: "look", params: {} }, { name: "pay", params: { to: "Eve" } })],
    run: guarded(
      Guardrail.toolOutput("leak", ({ result }) =>
        json(result).includes("secret") ? tripped : Effect.succeed(Guardrail.pass)
      )
    ),
    without: "a secret"
  },
  LoopDetected: {
    turns: [toolCall("look", {}), toolCall("look", {}), toolCall("look", {})],
    run: guarded(LoopGuard.make({ repeats: 1, warnings: 1 }))
  },
  GoalNotReached: {
    turns: ["enough?", "and now?"],
    run: guarded(Goal.make({ until: () => Effect.succeed({ done: false, missing: "more" }), maxRounds: 2 }))
  },
  "RunTimedOut in a model call": {
    turns: [hang],
    run: (tools) => Runner.withTimeout(agentOf(tools), "1 second").run("Pay Ada.")
  },
  "BudgetExceeded of steps": {
    turns: [],
    run: (tools) => Runner.withBudget(agentOf(tools), { steps: 1 }).run("Pay Ada.")
  },
  "BudgetExceeded of tool calls": {
    turns: [toolCall("look", {})],
    run: (tools) => Runner.withBudget(agentOf(tools), { toolCalls: 1 }).run("Pay Ada.")
  },
  "BudgetExceeded of time": {
    turns: [hang],
    run: (tools) => Runner.withBudget(agentOf(tools), { time: "1 second" }).run("Pay Ada.")
  },
  "BudgetExceeded of tokens": {
    turns: ["paid"],
    run: (tools) => Runner.withBudget(agentOf(tools), { tokens: 17 }).run("Pay Ada.")
  }
}

/** Errors of programs that are wired wrongly, and of what is not an agent: nothing was said, or it is not theirs to know. */
const withoutTranscript = [
  "InvalidDefinition",
  "InvalidTranscript",
  "InvalidApproval",
  "ConfigInvalid",
  "CannotResume",
  "NotDurable",
  "StoreError",
  "SessionConflict",
  "SessionWaiting",
  "MissingModel",
  "ModelUnavailable",
  "MissingSyncEdge",
  "NestedSyncEdge",
  "ThreadsForbidden",
  "StuckSyncEdge",
  "DurableError",
  "OutcomeUnknown"
]

const script = (turns: Failing["turns"]) =>
  TestModel.layer([{ text: "I pay.", ...toolCall("pay", { to: "Ada" }, "c1") }, ...turns])

/** How a run ends whose clock goes on by two seconds. */
const ended = (run: Run, model: Layer.Layer<LanguageModel.LanguageModel>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(Effect.provide(run, model)))
    yield* TestClock.adjust("2 seconds")
    return yield* Fiber.join(fiber)
  })

const errorIn = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isSuccess(exit) ? assert.fail(`it succeeded: ${json(exit.value)}`) : Cause.squash(exit.cause)

/** Goes on from a transcript with an agent that does not fail, and checks that what was done is not done again. */
const assertGoesOn = ({ all, paid }: ReturnType<typeof tools>, input: Prompt.RawInput, without?: string) =>
  Effect.gen(function* () {
    const before = [...paid]
    assert.strictEqual(before[0], "Ada")
    const { output, prompt } = yield* Effect.gen(function* () {
      const output = yield* agentOf(all).run(input)
      const { calls } = yield* TestModel.TestModel
      return { output, prompt: (yield* calls)[0]!.prompt }
    }).pipe(Effect.provide(TestModel.layer(["done"])))
    assert.strictEqual(output, "done")
    assert.deepStrictEqual(paid, before)
    const roles = prompt.content.map(({ role }) => role)
    assert.deepStrictEqual(roles.slice(0, 3), ["user", "assistant", "tool"])
    assert.include(json(prompt.content), "paid Ada")
    if (without !== undefined) assert.notInclude(json(prompt.content), without)
  })

describe("a run goes on from the transcript of", () => {
  for (const [name, { edge, input, run, turns, without }] of Object.entries(failures)) {
    const goesOn = () =>
      Effect.gen(function* () {
        const own = tools()
        const error = errorIn(yield* ended(run(own.all), script(turns)))
        if (!Predicate.hasProperty(error, "transcript") || !Prompt.isPrompt(error.transcript)) {
          return assert.fail(`it has no transcript: ${String(error)}`)
        }
        assert.isTrue(Predicate.isTagged(error, name.split(" ")[0]!), String(error))
        const given = input === undefined ? error.transcript : input(error as unknown as RunError.RunSuspended)
        yield* assertGoesOn(own, given, without)
        // Also in another process.
        const stored = Schema.decodeUnknownSync(Prompt.Prompt)(
          JSON.parse(json(Schema.encodeSync(Prompt.Prompt)(Prompt.make(given))))
        )
        yield* assertGoesOn(own, stored, without)
      })
    if (edge === undefined) it.effect(name, goesOn)
    else it.sync(name, goesOn)
  }

  it.effect("every error that agents raise while they work", () =>
    Effect.sync(() => {
      const classes = Object.values<unknown>(RunError).flatMap((one) =>
        Schema.isSchema(one) && Predicate.hasProperty(one, "identifier") && Predicate.hasProperty(one, "fields")
          ? [{ tag: String(one.identifier), fields: Object.keys(one.fields as object) }]
          : []
      )
      const swept = new Set(Object.keys(failures).map((name) => name.split(" ")[0]!))
      for (const { fields, tag } of classes) {
        assert.strictEqual(fields.includes("transcript"), swept.has(tag), `${tag} is not swept`)
        assert.strictEqual(fields.includes("transcript"), !withoutTranscript.includes(tag), `${tag} is not listed`)
      }
      assert.strictEqual(classes.length, swept.size + withoutTranscript.length)
    })
  )
})

describe("a run without such an error goes on from its last event:", () => {
  const lastEvent = (
    run: (tools: Tools) => Runner.Runner<Prompt.RawInput, unknown, unknown, LanguageModel.LanguageModel>,
    turns: Failing["turns"],
    end: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown, unknown>
  ) =>
    Effect.gen(function* () {
      const own = tools()
      const events: Array<RunEvent.RunEvent> = []
      const watched = Runner.onEvent(run(own.all), (event) => Effect.sync(() => void events.push(event)))
      const fiber = yield* Effect.forkChild(Effect.exit(Effect.provide(watched.run("Pay Ada."), script(turns))))
      yield* TestClock.adjust("2 seconds")
      yield* end(fiber)
      const last = events.at(-1)
      if (last === undefined || !("transcript" in last)) return assert.fail(`there is none: ${last?._tag}`)
      yield* assertGoesOn(own, Schema.decodeSync(Prompt.Prompt)(last.transcript!))
      return last._tag
    })

  it.effect("one that was interrupted", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* lastEvent(agentOf, [hang], Fiber.interrupt), "RunInterrupted")
    })
  )

  it.effect("one that failed with an error of the program", () =>
    Effect.gen(function* () {
      const own = (tools: Tools) => agentOf(tools, { middleware: [onStep(2, Effect.fail("mine"))] } as Agent.Options)
      assert.strictEqual(yield* lastEvent(own, [], Fiber.join), "RunFailed")
    })
  )

  it.effect("one that failed unexpectedly", () =>
    Effect.gen(function* () {
      const own = (tools: Tools) => agentOf(tools, { stopWhen: () => Effect.die("broken") } as Agent.Options)
      assert.strictEqual(yield* lastEvent(own, [], Fiber.join), "RunFailed")
    })
  )
})

describe("an error that comes through a workflow has the conversation of its agent:", () => {
  const greet = Runner.make("greet", { run: (text: string) => Effect.succeed(text) })
  const workflows: Readonly<Record<string, (agent: ReturnType<typeof agentOf>) => Run>> = {
    chain: (agent) => Chain.make("chain", [greet, agent]).run("Pay Ada."),
    router: (agent) =>
      Router.make("router", { agent }, { classify: () => Effect.succeed("agent" as const) }).run("Pay Ada."),
    "branch of a parallel": (agent) => Parallel.make("parallel", { agent, greet }).run("Pay Ada."),
    handoff: (agent) => Handoffs.make("desk", { agent }, { start: "agent" }).run("Pay Ada."),
    retry: (agent) => Runner.withRetry(agent, { times: 0 }).run("Pay Ada."),
    timeout: (agent) => Runner.withTimeout(agent, "1 minute").run("Pay Ada.")
  }
  /** The first error with a transcript: its own, or that of a branch. */
  const transcriptIn = (error: unknown): Prompt.Prompt | undefined => {
    if (Predicate.hasProperty(error, "transcript") && Prompt.isPrompt(error.transcript)) return error.transcript
    const failed = Predicate.hasProperty(error, "failures") ? (error.failures as ReadonlyArray<{ error: unknown }>) : []
    return failed.map((one) => transcriptIn(one.error)).find((one) => one !== undefined)
  }
  const ways = { "a model": [down], "a guardrail": ["rude"] } as const
  for (const [name, through] of Object.entries(workflows)) {
    for (const [way, turns] of Object.entries(ways)) {
      it.effect(`${name}, ${way}`, () =>
        Effect.gen(function* () {
          const own = tools()
          const polite = Guardrail.output("polite", (text) =>
            text === "rude" ? tripped : Effect.succeed(Guardrail.pass)
          )
          const agent = agentOf(own.all, { middleware: [polite] } as Agent.Options)
          const exit = yield* ended(through(agent), script(turns))
          const transcript = transcriptIn(errorIn(exit))
          if (transcript === undefined) return assert.fail("there is no transcript")
          yield* assertGoesOn(own, transcript)
        })
      )
    }
  }

  it.effect("a budget of a workflow has what its members have said", () =>
    Effect.gen(function* () {
      const own = tools()
      const chain = Chain.make("chain", [agentOf(own.all), Agent.make("second", {})])
      const run = Runner.withBudget(chain, { steps: 2 }).run("Pay Ada.")
      const error = errorIn(yield* ended(run, script(["I have paid."])))
      if (!(error instanceof RunError.BudgetExceeded)) return assert.fail(String(error))
      yield* assertGoesOn(own, error.transcript)
      assert.include(json(error.transcript.content), "I have paid.")
    })
  )
})

describe("a transcript that was kept as JSON", () => {
  const agent = Agent.make("agent", { tools: tools().all })
  const encode = Schema.encodeSync(Prompt.Prompt)
  const rolesOf = ({ prompt }: { readonly prompt: Prompt.Prompt }) => prompt.content.map(({ role }) => role).join()
  const image = Prompt.make([
    { role: "user", content: [{ type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) }] }
  ])

  it.effect("is an input as it is", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agent.result(image)
      const kept = JSON.parse(json(encode(transcript)))
      assert.deepStrictEqual(
        encode((yield* agent.result(kept)).transcript).content.slice(0, 2),
        encode(transcript).content
      )
      assert.strictEqual(Transcript.turns(kept).length, 1)
      assert.strictEqual(yield* Chain.make("chain", [agent]).run(kept), "user,assistant")
    }).pipe(Effect.provide(TestModel.layer(rolesOf)))
  )

  it.effect("goes on where it waits", () =>
    Effect.gen(function* () {
      const waits = yield* Effect.flip(agent.run("Ask.").pipe(Effect.provide(TestModel.layer([toolCall("asks", {})]))))
      assert.ok(Predicate.isTagged(waits, "RunSuspended"))
      const answered = Runner.answer(waits.transcript, { [waits.waitingFor[0]!.id]: Approvals.approve })
      const kept = JSON.parse(json(encode(answered)))
      assert.strictEqual(yield* agent.run(kept).pipe(Effect.provide(TestModel.layer(rolesOf))), "user,assistant,tool")
    })
  )

  it.effect("is refused where the bytes of a file were lost", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(agent.run(JSON.parse(json(image))))
      assert.ok(Predicate.isTagged(refused, "InvalidTranscript"))
      assert.include(refused.message, '["data"]')
    }).pipe(Effect.provide(TestModel.layer([])))
  )
})
