/** Guardrails: what they let through, what they stop, and what is never seen of what they stop. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { AiError, Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Approvals,
  Goal,
  Guardrail,
  Middleware,
  RunError,
  type RunEvent,
  Runner,
  TestModel,
  Transcript
} from "troupe"
import { collect, effective, textOf } from "../support/grammar.ts"

const text = (value: unknown) => JSON.stringify(value)
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const of = <T extends RunEvent.RunEvent["_tag"]>(events: ReadonlyArray<RunEvent.RunEvent>, tag: T) =>
  events.filter((event): event is Extract<RunEvent.RunEvent, { readonly _tag: T }> => event._tag === tag)
const tripped = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.GuardrailTripped ? Effect.succeed(error) : Effect.die(error)
  )
const retryAtOnce = Schedule.recurs(2)
const down = new AiError.InternalProviderError({ description: "down" })
const noSecrets = Guardrail.input("no secrets", (prompt) =>
  Effect.succeed(text(prompt.content).includes("SECRET") ? Guardrail.trip("a secret") : Guardrail.pass)
)
const send = AgentTool.fromFunction("send", {
  description: "Sends",
  parameters: Schema.Struct({ to: Schema.String }),
  execute: ({ to }) => `sent to ${to}`
})

describe("a guardrail on the input", () => {
  it.effect("lets a run go on, and trips with its name and reason", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { instructions: "Never say SECRET.", middleware: [noSecrets] })
      assert.strictEqual(yield* agent.run("hello"), "hi")
      const error = yield* tripped(agent.run("my SECRET"))
      assert.deepStrictEqual([error.guardrail, error.checked, error.reason], ["no secrets", "input", "a secret"])
      assert.include(error.message, 'guardrail "no secrets" refused the input: a secret')
    }).pipe(Effect.provide(TestModel.layer(["hi", "never"], { unused: "ignore" })))
  )

  it.effect("runs alongside the model call, which a trip interrupts at once", () =>
    Effect.gen(function* () {
      const slow = Guardrail.input("slow", () => Effect.delay(Effect.succeed(Guardrail.trip("no")), "1 second"))
      const fiber = yield* Effect.forkChild(tripped(Agent.make("agent", { middleware: [slow] }).run("go")))
      yield* TestClock.adjust("999 millis")
      const [call] = yield* calls
      assert.isFalse(call!.interrupted)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.isTrue((yield* calls)[0]!.interrupted)
    }).pipe(Effect.provide(TestModel.layer([{ hang: true }])))
  )

  it.effect("takes back what was streamed alongside it when it trips", () =>
    Effect.gen(function* () {
      const slow = Guardrail.input("slow", () => Effect.delay(Effect.succeed(Guardrail.trip("no")), "1 second"))
      const fiber = yield* Effect.forkChild(collect(Agent.make("agent", { middleware: [slow] }), "go"))
      yield* TestClock.adjust("1 second")
      const { events } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["RunStarted", "StepStarted", "TextDelta", "TurnReplaced", "RunFailed"]
      )
      assert.strictEqual(of(events, "TurnReplaced")[0]?.by, "slow")
    }).pipe(Effect.provide(TestModel.layer([{ text: ["a", "b"], after: 1, hang: true }])))
  )

  it.effect("takes no time of its own, and no tool is called before it has passed", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const slow = Guardrail.input("slow", () =>
        Effect.delay(Effect.succeed(Guardrail.pass), "2 seconds").pipe(
          Effect.tap(() => Effect.sync(() => log.push("checked")))
        )
      )
      const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => log.push("called") })
      const agent = Agent.make("agent", { middleware: [slow], tools: [look] })
      const fiber = yield* Effect.forkChild(agent.run("go"))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(log, ["checked", "called"])
    }).pipe(Effect.provide(TestModel.layer([{ ...TestModel.toolCall("look", {}), delay: "2 seconds" }, "done"])))
  )

  it.effect("is asked once for each thing that the user says", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const counting = Guardrail.input("counting", (prompt) =>
        Effect.sync(() => {
          seen.push(prompt.content.length)
          return Guardrail.pass
        })
      )
      const agent = Agent.make("agent", {
        middleware: [counting],
        tools: [send],
        output: Schema.Struct({ a: Schema.Int })
      })
      yield* agent.run("go")
      assert.deepStrictEqual(seen, [1])
    }).pipe(
      Effect.provide(TestModel.layer([TestModel.toolCall("send", { to: "ada" }), "not json", TestModel.json({ a: 1 })]))
    )
  )

  it.effect("is asked again in an attempt that comes after one in which it had not answered", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const slow = Guardrail.input("slow", () =>
        Effect.delay(
          Effect.sync(() => {
            seen.push("checked")
            return Guardrail.pass
          }),
          "1 second"
        )
      )
      // The same messages in each attempt, of which the first fails before the check has answered, and interrupts it.
      const given = Prompt.make("go")
      const agent = Agent.make("agent", { retry: "none", middleware: [slow] })
      const fiber = yield* Effect.forkChild(Runner.withRetry(agent, { times: 1 }).run(given))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "done")
      assert.deepStrictEqual(seen, ["checked"])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { ...TestModel.fail(down), delay: "500 millis" },
          { text: "done", delay: "1 second" }
        ])
      )
    )
  )

  it.effect(
    "never sends what it has replaced, also in a run that goes on and in the next turn of the conversation",
    () =>
      Effect.gen(function* () {
        const checked: Array<string> = []
        const said = (prompt: Prompt.Prompt) =>
          Transcript.turns(prompt)
            .map(({ user }) => user)
            .join("|")
        const agent = () => {
          const hide = Guardrail.input(
            "hide",
            (prompt) => {
              checked.push(said(prompt))
              return Effect.succeed(said(prompt).includes("SSN") ? Guardrail.replace("[hidden]") : Guardrail.pass)
            },
            { hold: true }
          )
          const careful = AgentTool.fromFunction("pay", {
            description: "Pays",
            needsApproval: true,
            execute: () => "paid"
          })
          return Agent.make("agent", { middleware: [hide], tools: [careful] })
        }
        const error = yield* Effect.flip(agent().run("My SSN is 7."))
        if (error._tag !== "RunSuspended") return yield* Effect.fail(error)
        // As a store keeps it.
        const stored = (prompt: Prompt.Prompt) =>
          Schema.decodeSync(Prompt.Prompt)(Schema.encodeSync(Prompt.Prompt)(prompt))
        const answered = Runner.answer(error.transcript, { [error.waitingFor[0].id]: Approvals.approve })
        const { transcript } = yield* agent().result(stored(answered))
        yield* agent().run(Prompt.concat(stored(transcript), "Thanks."))
        assert.deepStrictEqual(
          (yield* calls).map(({ prompt }) => said(prompt)),
          ["[hidden]", "[hidden]", "[hidden]|Thanks."]
        )
        assert.deepStrictEqual(checked, ["My SSN is 7.", "[hidden]", "[hidden]|Thanks."])
        assert.strictEqual(said(transcript), "My SSN is 7.")
      }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", {}), "Paid.", "Bye."])))
  )

  it.effect("replaces the same message in each round of a goal, also where a compaction has left it out", () =>
    Effect.gen(function* () {
      const hide = Guardrail.input("hide", () => Effect.succeed(Guardrail.replace("[hidden]")), { hold: true })
      const first = Middleware.make("first", {
        // As a compaction does it: of the second round on, without what the user said last.
        model: (request, next) =>
          text(request.prompt.content).includes("not done yet")
            ? next({
                ...request,
                prompt: Prompt.fromMessages([request.prompt.content[0]!, request.prompt.content.at(-1)!])
              })
            : next(request)
      })
      const agent = Agent.make("agent", {
        middleware: [Goal.make({ until: ({ round }) => Effect.succeed(round > 1) }), first, hide]
      })
      yield* agent.run([
        { role: "user", content: "one" },
        { role: "assistant", content: "fine" },
        { role: "user", content: "my SECRET" }
      ])
      const prompts = (yield* calls).map(({ prompt }) => text(prompt.content))
      assert.deepStrictEqual(
        prompts.map((prompt) => [prompt.includes('"one"'), prompt.includes("[hidden]"), prompt.includes("SECRET")]),
        [
          [true, true, false],
          [true, false, false]
        ]
      )
    }).pipe(Effect.provide(TestModel.layer(["first", "second"])))
  )

  it.effect("puts a text in the place of what the user said, in every step, and voids what was streamed", () =>
    Effect.gen(function* () {
      const hide = Guardrail.input("hide", () =>
        Effect.delay(Effect.succeed(Guardrail.replace("[hidden]")), "1 second")
      )
      const agent = Agent.make("agent", { middleware: [hide], tools: [send] })
      const fiber = yield* Effect.forkChild(collect(agent, "my SECRET"))
      yield* TestClock.adjust("1 second")
      const { events } = yield* Fiber.join(fiber)
      const prompts = (yield* calls).map(({ prompt }) => text(prompt.content))
      assert.deepStrictEqual(
        prompts.map((prompt) => [prompt.includes("SECRET"), prompt.includes("[hidden]")]),
        [
          [true, false],
          [false, true],
          [false, true]
        ]
      )
      assert.strictEqual(of(events, "TurnReplaced")[0]!.by, "hide")
      assert.strictEqual(textOf(events), "done")
    }).pipe(
      Effect.provide(
        TestModel.layer([{ text: ["a", "b"], after: 1, hang: true }, TestModel.toolCall("send", { to: "x" }), "done"])
      )
    )
  )

  it.effect("with hold, calls no model before it has passed", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        middleware: [Guardrail.input("first", () => Effect.succeed(Guardrail.trip("no")), { hold: true })]
      })
      yield* tripped(agent.run("go"))
      assert.strictEqual((yield* calls).length, 0)
    }).pipe(Effect.provide(TestModel.layer([])))
  )

  it.effect("may be an agent, whose run is nested and billed", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", { instructions: "Judge.", output: Guardrail.Verdict })
      const agent = Agent.make("agent", { middleware: [Guardrail.input("manners", judge, { hold: true })] })
      const { usage, output } = yield* agent.result("go")
      assert.strictEqual(output, "polite")
      assert.strictEqual(usage.outputTokens.total, 10)
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ _tag: "Pass" }), "polite"])))
  )

  it.effect("fails the run with the error of its check", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        middleware: [Guardrail.input("broken", () => Effect.fail("broken" as const))]
      })
      const exit: "broken" | Agent.Error | RunError.GuardrailTripped = yield* Effect.flip(agent.run("go"))
      assert.strictEqual(exit, "broken")
    }).pipe(Effect.provide(TestModel.layer([{ hang: true }])))
  )
})

describe("a guardrail on the output", () => {
  const polite = (hold: boolean) =>
    Guardrail.output(
      "polite",
      (text) => Effect.succeed(text.includes("damn") ? Guardrail.trip("rude") : Guardrail.pass),
      { hold }
    )
  const clean = (hold: boolean) =>
    Guardrail.output(
      "clean",
      (text) => Effect.succeed(text.includes("damn") ? Guardrail.replace("hello") : Guardrail.pass),
      { hold }
    )
  const rude = TestModel.layer([{ reasoning: "hmm", text: "damn, hello", chunk: 3 }])
  const fine = TestModel.layer([{ reasoning: "hmm", text: "good day", chunk: 3 }])

  it.effect("fails the run with what was streamed", () =>
    Effect.gen(function* () {
      const error = yield* tripped(Agent.make("agent", { middleware: [polite(false)] }).run("go"))
      assert.deepStrictEqual([error.guardrail, error.checked, error.reason], ["polite", "output", "rude"])
    }).pipe(Effect.provide(rude))
  )

  it.effect("without hold, a trip takes back what was streamed before the run fails", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [polite(false)] }), "go")
      const [replaced] = of(events, "TurnReplaced")
      assert.deepStrictEqual([replaced?.by, replaced?.step], ["polite", 1])
      assert.deepStrictEqual(
        effective(events).map(({ _tag }) => _tag),
        ["RunStarted", "StepStarted", "RunFailed"]
      )
      assert.notInclude(text(events.at(-1)), "damn")
    }).pipe(Effect.provide(rude))
  )

  it.effect("of a Layer does so too, also behind other middleware", () =>
    Effect.gen(function* () {
      const looksOn = Middleware.make("looks on", { model: (request, next) => next(request) })
      const agent = Agent.make("agent", { middleware: [looksOn] })
      const { events } = yield* collect(agent, "go").pipe(Effect.provide(Middleware.layer(looksOn, polite(false))))
      assert.strictEqual(of(events, "TurnReplaced")[0]?.by, "polite")
      assert.notInclude(text(events.at(-1)), "damn")
    }).pipe(Effect.provide(rude))
  )

  it.effect("what a model says before it fails stays, because nothing has refused it", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [polite(false)], retry: "none" }), "go")
      assert.deepStrictEqual(of(events, "TurnReplaced"), [])
      assert.strictEqual(textOf(events), "go")
    }).pipe(Effect.provide(TestModel.layer([{ text: ["go", "ne"], after: 1, fail: down }])))
  )

  it.effect("with hold, nothing of a refused answer is ever emitted", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [polite(true)] }), "go")
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["RunStarted", "StepStarted", "RunFailed"]
      )
      assert.notInclude(text(events), "damn")
    }).pipe(Effect.provide(rude))
  )

  it.effect("with hold, an answer that passes is emitted at once, and is as it was", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [polite(true)] }), "go")
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["RunStarted", "StepStarted", "ReasoningDelta", "TextDelta", "StepCompleted", "RunCompleted"]
      )
      assert.strictEqual(textOf(events), "good day")
      assert.include(text(of(events, "RunCompleted")[0]!.transcript), "good day")
    }).pipe(Effect.provide(fine))
  )

  it.effect("without hold, a text in its place takes back what was streamed", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [clean(false)] }), "go")
      assert.strictEqual(of(events, "TurnReplaced").length, 1)
      assert.strictEqual(textOf(events), "hello")
      assert.notInclude(text(of(events, "RunCompleted")[0]!), "damn")
    }).pipe(Effect.provide(rude))
  )

  it.effect("with hold, a text in its place is all that is emitted", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [clean(true)] }), "go")
      assert.strictEqual(of(events, "TurnReplaced").length, 0)
      assert.strictEqual(textOf(events), "hello")
      assert.notInclude(text(events), "damn")
    }).pipe(Effect.provide(rude))
  )

  it.effect("with hold, what a failed attempt had said is not emitted with the next one", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", { middleware: [polite(true)], retry: retryAtOnce }), "go")
      assert.strictEqual(of(events, "StepRetried").length, 1)
      assert.strictEqual(textOf(events), "good day")
    }).pipe(Effect.provide(TestModel.layer([{ text: ["go", "ne"], after: 1, fail: down }, "good day"])))
  )

  it.effect("with hold, arguments are not streamed; without a guardrail that holds, they are", () =>
    Effect.gen(function* () {
      const held = yield* collect(Agent.make("agent", { middleware: [polite(true)], tools: [send] }), "go")
      assert.deepStrictEqual(of(held.events, "ToolParamsDelta"), [])
      assert.strictEqual(of(held.events, "ToolCompleted").length, 1)
      const looksOn = Middleware.make("looks on", { part: (part) => part })
      const shown = yield* collect(Agent.make("agent", { middleware: [looksOn], tools: [send] }), "go")
      assert.isAbove(of(shown.events, "ToolParamsDelta").length, 0)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("send", { to: "ada" }),
          "done",
          TestModel.toolCall("send", { to: "ada" }),
          "done"
        ])
      )
    )
  )

  it.effect("keeps the tool calls of the answer", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { middleware: [clean(false)], tools: [send] })
      const { transcript } = yield* agent.result("go")
      assert.include(text(transcript.content), "sent to ada")
      assert.notInclude(text(transcript.content), "damn")
    }).pipe(Effect.provide(TestModel.layer([{ text: "damn", ...TestModel.toolCall("send", { to: "ada" }) }, "done"])))
  )
})

describe("a guardrail on tool calls", () => {
  const agent = (...middleware: ReadonlyArray<Guardrail.Guard<never, never>>) =>
    Agent.make("agent", { middleware, tools: [send] })
  const model = TestModel.layer([TestModel.toolCall("send", { to: "eve" }), "done"], { unused: "ignore" })
  const notEve = (verdict: Guardrail.Verdict) =>
    Guardrail.toolInput("not eve", (call) => Effect.succeed(call.params["to"] === "eve" ? verdict : Guardrail.pass))

  it.effect("fails the run before the call is made, or put to an approver", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const guarded = Agent.make("agent", {
        middleware: [notEve(Guardrail.trip("she listens"))],
        tools: [
          AgentTool.fromFunction("send", {
            description: "Sends",
            needsApproval: true,
            parameters: Schema.Struct({ to: Schema.String }),
            execute: () => "sent"
          })
        ]
      })
      const error = yield* tripped(guarded.run("go")).pipe(
        Effect.provide(
          Approvals.layer((request) =>
            Effect.sync(() => {
              asked.push(request.tool)
              return Approvals.approve
            })
          )
        )
      )
      assert.deepStrictEqual([error.checked, error.reason, asked], ["toolInput", "she listens", []])
    }).pipe(Effect.provide(model))
  )

  it.effect("shows the model a text in the place of the call", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agent(notEve(Guardrail.replace("ask first"))).result("go")
      assert.include(text(transcript.content), "ask first")
      assert.notInclude(text(transcript.content), "sent to")
    }).pipe(Effect.provide(model))
  )

  it.effect("shows the model a text in the place of the result, which a check can choose by the call", () =>
    Effect.gen(function* () {
      const hide = Guardrail.toolOutput("hide", (outcome, call) =>
        Effect.succeed(call.tool === "send" && !outcome.isFailure ? Guardrail.replace("[hidden]") : Guardrail.pass)
      )
      const { transcript } = yield* agent(hide).result("go")
      assert.include(text(transcript.content), "[hidden]")
      assert.notInclude(text(transcript.content), "sent to")
    }).pipe(Effect.provide(model))
  )

  it.effect("trips on a result, which neither events nor the transcript have", () =>
    Effect.gen(function* () {
      const leak = Guardrail.toolOutput("leak", () => Effect.succeed(Guardrail.trip("a leak")))
      const { events } = yield* collect(agent(leak), "go")
      assert.notInclude(text(events), "sent to")
      const last = of(events, "RunFailed")[0]!
      assert.deepInclude(last.error as object, { _tag: "GuardrailTripped", checked: "toolOutput" })
      assert.include(text(last.transcript), 'The call was made. The guardrail \\"leak\\" withholds its result.')
      assert.deepStrictEqual(
        last.spent.toolCalls.map(({ status }) => status),
        ["completed"]
      )
    }).pipe(Effect.provide(model))
  )
})

describe("guardrails", () => {
  it.effect("of a Layer fail the run with MiddlewareError, whose cause they are", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.make("agent", {}).run("my SECRET"))
      if (!(error instanceof RunError.MiddlewareError)) return assert.fail(error._tag)
      assert.instanceOf(error.cause, RunError.GuardrailTripped)
    }).pipe(Effect.provide(Middleware.layer(noSecrets)), Effect.provide(TestModel.layer([{ hang: true }])))
  )

  it.effect("add the errors and services of their checks to the agent's type", () =>
    Effect.gen(function* () {
      const judge = Runner.make("judge", {
        run: (prompt: Prompt.Prompt) => Effect.fail(new Error(`no ${prompt.content.length}`))
      })
      const agent = Agent.make("agent", { middleware: [Guardrail.input("judge", judge)] })
      const error: Error | Agent.Error | RunError.GuardrailTripped = yield* Effect.flip(agent.run("go"))
      assert.strictEqual((error as Error).message, "no 1")
    }).pipe(Effect.provide(TestModel.layer([{ hang: true }])))
  )

  it.effect("refuse what cannot be a check when they are defined", () =>
    Effect.sync(() => {
      assert.throws(
        () => Guardrail.input("broken", "check" as never),
        /its check is a text, not a function or a runner/
      )
    })
  )
})
