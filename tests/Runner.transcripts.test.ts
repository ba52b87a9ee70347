import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema, Stream } from "effect"
import { Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Chain,
  EvaluatorOptimizer,
  Handoffs,
  Orchestrator,
  Parallel,
  Router,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"
import { it } from "./support/edges.ts"

type Conversational = Runner.Runner<Prompt.RawInput, unknown, unknown, never>
const sizeOf = (transcript: Prompt.Prompt): number =>
  JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript)).length

/** The sizes of the transcripts of six turns of a conversation, in messages and in characters. */
const turnsOf = (runner: Conversational) =>
  Effect.gen(function* () {
    let prompt = Prompt.make("question 1")
    const messages: Array<number> = []
    const characters: Array<number> = []
    for (let turn = 2; turn <= 7; turn++) {
      const { transcript } = yield* runner.result(prompt)
      messages.push(transcript.content.length)
      characters.push(sizeOf(transcript))
      prompt = Prompt.concat(transcript, `question ${turn}`)
    }
    return { messages, characters }
  })
const growth = (sizes: ReadonlyArray<number>): ReadonlyArray<number> =>
  sizes.slice(1).map((size, index) => size - sizes[index]!)

const said = (transcript: Prompt.Prompt): ReadonlyArray<string> =>
  transcript.content.flatMap((message) =>
    typeof message.content === "string"
      ? [message.content]
      : (message.content as ReadonlyArray<Prompt.Part>).map((part) =>
          part.type === "text" ? part.text : part.type === "tool-result" ? `= ${String(part.result)}` : `[${part.type}]`
        )
  )

const echo = TestModel.layer((call) => {
  const transfer = call.tools.find((name) => name.startsWith("transfer_to_"))
  if (transfer !== undefined) return TestModel.toolCall(transfer, { reason: "r", message: "m" })
  if (call.output?.name === "Verdict") return JSON.stringify({ score: 9 })
  if (call.output !== undefined) return JSON.stringify({ route: "one", confidence: 1 })
  return "an answer"
})
class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Finite }) {}
const one = Agent.make("one", { description: "One" })
const two = Agent.make("two", { description: "Two" })
const judge = Agent.make("judge", { output: Verdict })
const desk = (history: Handoffs.History) =>
  Handoffs.make(
    "desk",
    { triage: Agent.make("triage", { tools: [Handoffs.to("billing", { history })] }), billing: one },
    { start: "triage" }
  )

describe("the transcript of a turn", () => {
  const runners: Readonly<Record<string, Runner.Runner<Prompt.RawInput, unknown, unknown, never>>> = Object.fromEntries(
    Object.entries({
      "an agent": one,
      "handoffs with the whole history": desk("all"),
      "handoffs with what was said": desk("messages"),
      "handoffs without history": desk("none"),
      "handoffs with a history of their own": desk((transcript) => Prompt.fromMessages(transcript.content.slice(-3))),
      "a chain": Chain.make("chain", [one, two]),
      "a chain of one": Chain.make("chain", [one]),
      "a parallel": Parallel.make("parallel", { one, two }),
      "a race": Parallel.make("race", { one, two }, { mode: Parallel.race }),
      "a router": Router.make("router", { one, two }),
      "a router by function": Router.make("router", { one, two }, { classify: () => Effect.succeed("one") }),
      "an evaluator and optimizer": EvaluatorOptimizer.make(
        "refined",
        { generator: one, evaluator: judge },
        { accept: (verdict: Verdict) => verdict.score > 5 }
      ),
      "an orchestrator": Orchestrator.make("lead", { one, two }),
      "a function": Runner.make("function", { run: (input: Prompt.RawInput) => one.run(input) }),
      "a chain in a parallel": Parallel.make("parallel", { chain: Chain.make("chain", [one, two]), two }),
      "a router in handoffs": Handoffs.make(
        "desk",
        {
          triage: Agent.make("triage", { tools: [Handoffs.to("router")] }),
          router: Router.make("router", { one, two })
        },
        { start: "triage" }
      )
    })
  ) as never
  for (const [name, runner] of Object.entries(runners)) {
    it.effect(`of ${name} costs the next turn only what is new`, () =>
      Effect.gen(function* () {
        const { characters, messages } = yield* turnsOf(runner)
        const [first, ...others] = growth(messages)
        assert.isAbove(first!, 0)
        assert.deepStrictEqual(
          others,
          others.map(() => first)
        )
        const perTurn = growth(characters)
        assert.isAtMost(Math.max(...perTurn), Math.min(...perTurn) * 1.2)
      }).pipe(Effect.provide(echo))
    )
  }

  it.effect("has each message of handoffs once, and those of every agent", () =>
    Effect.gen(function* () {
      for (const history of ["all", "messages", "none"] as const) {
        const { transcript } = yield* desk(history).result("Pay 7")
        assert.deepStrictEqual(
          said(transcript),
          [
            "Pay 7",
            "[tool-call]",
            "= handed over to billing",
            'The conversation was handed over to you ("billing") by "triage": r\n\nm',
            "an answer"
          ],
          history
        )
      }
    }).pipe(Effect.provide(echo))
  )

  it.effect("is of the route that answered, without the question which route", () =>
    Effect.gen(function* () {
      const { transcript } = yield* Router.make("router", { one, two }).result("Help")
      assert.deepStrictEqual(said(transcript), ["Help", "an answer"])
    }).pipe(Effect.provide(echo))
  )

  it.effect("is put together in proportion to how deep runs are in runs", () =>
    Effect.gen(function* () {
      let deep: Runner.Runner<string, string, never, never> = Runner.make("leaf", { run: () => Effect.succeed("done") })
      for (let level = 0; level < 60; level++) {
        const inner = deep
        deep = Runner.make(`level ${level}`, { run: (text: string) => inner.run(text) })
      }
      // Twice as much for each level would take longer than there is time.
      assert.strictEqual((yield* deep.result("x")).output, "done")
    })
  )

  it.effect("has the input of branches once", () =>
    Effect.gen(function* () {
      const { transcript } = yield* Parallel.make("parallel", { one, two }).result("Help")
      assert.deepStrictEqual(said(transcript), ["Help", "an answer", "an answer"])
    }).pipe(Effect.provide(echo))
  )
})

const pay = AgentTool.fromFunction("pay", {
  description: "Pays",
  parameters: Schema.Struct({ n: Schema.Finite }),
  execute: ({ n }) => `paid ${n}`
})
const clerk = Agent.make("clerk", { tools: [pay] })
const watched = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>) => {
  const events: Array<RunEvent.RunEvent> = []
  return { events, runner: Runner.onEvent(runner, (event) => Effect.sync(() => void events.push(event))) }
}
const transcriptOf = (event: RunEvent.RunEvent | undefined): Prompt.Prompt => {
  if (event === undefined || !("transcript" in event)) return assert.fail(`no transcript in ${JSON.stringify(event)}`)
  return Schema.decodeUnknownSync(Prompt.Prompt)(JSON.parse(JSON.stringify(event.transcript)))
}

describe("the terminal event of a root run", () => {
  it.effect("carries the transcript of a run that completed, encoded", () =>
    Effect.gen(function* () {
      const events = yield* Stream.runCollect(clerk.stream("Pay 5"))
      const last = events.at(-1)
      assert.strictEqual(last?._tag, "RunCompleted")
      assert.deepStrictEqual(said(transcriptOf(last)), ["Pay 5", "[tool-call]", "= paid 5", "done"])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", { n: 5 }), "done"])))
  )

  it.effect("is itself an input for the next run", () =>
    Effect.gen(function* () {
      const last = (yield* Stream.runCollect(clerk.stream("Hello"))).at(-1)
      if (last?._tag !== "RunCompleted" || last.transcript === undefined) return assert.fail("no transcript")
      yield* clerk.run([...last.transcript.content, { role: "user", content: "And now?" }])
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(said((yield* calls)[1]!.prompt), ["Hello", "first", "And now?"])
    }).pipe(Effect.provide(TestModel.layer(["first", "second"])))
  )

  it.effect("carries that of a run that failed", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(clerk)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(runner.run("Pay 5"))))
      const last = events.at(-1)
      assert.strictEqual(last?._tag, "RunFailed")
      assert.deepStrictEqual(said(transcriptOf(last)), ["Pay 5", "[tool-call]", "= paid 5", "half"])
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("pay", { n: 5 }), { text: "half", finishReason: "content-filter" }])
      )
    )
  )

  it.live("carries that of a run that was interrupted, with the results of tools that had ended", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(clerk)
      const fiber = yield* Effect.forkChild(runner.run("Pay 5"))
      while (!events.some(({ _tag }) => _tag === "ToolCompleted")) yield* Effect.sleep(1)
      yield* Fiber.interrupt(fiber)
      const last = events.at(-1)
      assert.strictEqual(last?._tag, "RunInterrupted")
      assert.deepStrictEqual(said(transcriptOf(last)), ["Pay 5", "[tool-call]", "= paid 5"])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", { n: 5 }), { hang: true }])))
  )

  it.live("carries that of a workflow that was interrupted, up to the member at work", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(
        Handoffs.make(
          "desk",
          { triage: Agent.make("triage", { tools: [Handoffs.to("clerk")] }), clerk },
          { start: "triage" }
        )
      )
      const fiber = yield* Effect.forkChild(runner.run("Pay 5"))
      while (!events.some(({ _tag }) => _tag === "ToolCompleted" && events.at(-1)?.path.includes("clerk"))) {
        yield* Effect.sleep(1)
      }
      yield* Fiber.interrupt(fiber)
      const last = events.at(-1)
      assert.strictEqual(last?._tag, "RunInterrupted")
      assert.deepStrictEqual(said(transcriptOf(last)).slice(-2), ["[tool-call]", "= paid 5"])
      assert.strictEqual(said(transcriptOf(last))[0], "Pay 5")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("transfer_to_clerk", { reason: "r", message: "m" }),
          TestModel.toolCall("pay", { n: 5 }),
          { hang: true }
        ])
      )
    )
  )

  it.effect("carries the transcript that a suspended run is resumed with", () =>
    Effect.gen(function* () {
      const asking = AgentTool.fromFunction("ask", {
        description: "Asks",
        needsApproval: true,
        execute: () => "yes"
      })
      const { events, runner } = watched(Chain.make("chain", [Agent.make("agent", { tools: [asking] })]))
      const error = yield* Effect.flip(runner.run("go"))
      assert.strictEqual(error._tag, "RunSuspended")
      const last = events.at(-1)
      assert.deepStrictEqual(transcriptOf(last), error._tag === "RunSuspended" ? error.transcript : undefined)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("ask", {})])))
  )

  it.effect("of a nested run has none", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(Chain.make("chain", [Agent.make("agent", {})]))
      yield* runner.run("go")
      const nested = events.find((event) => event._tag === "RunCompleted" && event.path.length === 2)
      assert.isDefined(nested)
      assert.notProperty(nested, "transcript")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )
})
