/** Ready-made middleware that steers an agent: notices, goals, plans, and what stops loops. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Layer, Schema } from "effect"
import { AiError, Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Goal,
  LoopGuard,
  type Middleware,
  Notice,
  Replan,
  RunError,
  type RunEvent,
  Runner,
  Session,
  SessionStore,
  TestModel
} from "troupe"
import { collect, textOf } from "../support/grammar.ts"

const text = (value: unknown) => JSON.stringify(value)
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const plain = (prompt: Prompt.Prompt) =>
  Schema.encodeSync(Prompt.Prompt)(prompt).content.map(({ content, role }) => text([role, content]))
const of = <T extends RunEvent.RunEvent["_tag"]>(events: ReadonlyArray<RunEvent.RunEvent>, tag: T) =>
  events.filter((event): event is Extract<RunEvent.RunEvent, { readonly _tag: T }> => event._tag === tag)
const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.String }),
  execute: ({ at }) => `seen ${at}`
})
const looking = (at: string) => TestModel.toolCall("look", { at })
/** Each request begins with the one before it, but for `tail` messages at its end. */
const assertPrefixes = (all: ReadonlyArray<TestModel.Call>, tail = 0) => {
  const prompts = all.map(({ prompt }) => plain(prompt))
  for (const [index, prompt] of prompts.entries()) {
    if (index === 0) continue
    const before = prompts[index - 1]!.slice(0, prompts[index - 1]!.length - tail)
    assert.deepStrictEqual(prompt.slice(0, before.length), before)
  }
}

describe("a notice", () => {
  it.effect("says the date, the zone and the directory at the end of each request, and is not kept", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 10, 30, 0, 38))
      const notice = Notice.make({ zone: "Europe/Berlin", directory: "/srv/app" })
      const agent = Agent.make("agent", { middleware: [notice], tools: [look] })
      const { transcript } = yield* agent.result("go")
      const all = yield* calls
      for (const { prompt } of all) {
        const last = plain(prompt).at(-1)!
        assert.include(last, "[Notice] It is Monday")
        assert.include(last, "30 November 2026")
        assert.include(last, "01:38 (Europe/Berlin). The working directory is /srv/app.")
      }
      assertPrefixes(all, 1)
      assert.notInclude(text(transcript.content), "Notice")
    }).pipe(Effect.provide(TestModel.layer([looking("a"), "done"])))
  )

  it.effect("says how many steps are left once most are used", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        maxSteps: 4,
        middleware: [Notice.make({ at: 0.5, date: false })],
        tools: [look]
      })
      yield* agent.run("go")
      const said = (yield* calls).map(({ prompt }) => /This is step.*?"/.exec(plain(prompt).at(-1)!)?.[0])
      assert.deepStrictEqual(said, [
        undefined,
        undefined,
        'This is step 3 of 4."',
        'This is step 4 of 4. It is the last one."'
      ])
    }).pipe(Effect.provide(TestModel.layer([looking("a"), looking("b"), looking("c"), "done"])))
  )

  it.effect("says what is left of the budget", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { middleware: [Notice.make({ at: 0.5, date: false })], tools: [look] })
      yield* Runner.withBudget(agent, { toolCalls: 2 }).run("go")
      const said = (yield* calls).map(({ prompt }) =>
        plain(prompt).at(-1)!.includes("1 tool calls are left in the budget")
      )
      assert.deepStrictEqual(said, [false, true])
    }).pipe(Effect.provide(TestModel.layer([looking("a"), "done"])))
  )

  it.effect("is refused for a zone that there is not", () =>
    Effect.sync(() => {
      assert.throws(() => Notice.make({ zone: "Mars/Olympus" }), /there is no time zone "Mars\/Olympus"/)
      assert.throws(() => Notice.make({ at: 80 }), /at is 80/)
    })
  )
})

describe("a goal", () => {
  const judge = Agent.make("judge", { instructions: "Judge.", output: Goal.Verdict })
  const missing = (missing: string) => TestModel.json({ done: missing === "", missing })

  it.effect("has the agent go on in its conversation with what the judge misses", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { middleware: [Goal.make({ until: judge, maxRounds: 5 })], tools: [look] })
      const { events } = yield* collect(agent, "Write a poem.")
      assert.strictEqual(textOf(events), "a longer poem")
      assert.deepStrictEqual(
        of(events, "RoundCompleted").map(({ accepted, round, verdict }) => [round, accepted, verdict]),
        [
          [1, false, { done: false, missing: "a rhyme" }],
          [2, true, { done: true, missing: "" }]
        ]
      )
      const [, judged, again] = yield* calls
      assert.include(text(judged!.prompt.content), "user: Write a poem.")
      assert.include(text(judged!.prompt.content), "assistant: a poem")
      assert.deepStrictEqual(
        plain(again!.prompt).map((message) => message.slice(0, 60)),
        plain(
          Prompt.make([
            { role: "user", content: [{ type: "text", text: "Write a poem." }] },
            { role: "assistant", content: [{ type: "text", text: "a poem" }] },
            {
              role: "user",
              content: [{ type: "text", text: "You are not done yet. This is missing: a rhyme\nGo on." }]
            }
          ])
        ).map((message) => message.slice(0, 60))
      )
      const last = of(events, "RunCompleted").at(-1)!
      assert.include(text(last.transcript), "This is missing: a rhyme")
    }).pipe(Effect.provide(TestModel.layer(["a poem", missing("a rhyme"), "a longer poem", missing("")])))
  )

  it.effect("fails the run after its rounds, or gives the last answer", () =>
    Effect.gen(function* () {
      const never = (_round: Goal.Round) => Effect.succeed({ done: false, missing: "more" })
      const failing = Agent.make("agent", { middleware: [Goal.make({ until: never, maxRounds: 2 })] })
      const error = yield* Effect.flip(failing.run("go"))
      if (!(error instanceof RunError.GoalNotReached)) return assert.fail(error._tag)
      assert.deepStrictEqual([error.rounds, error.missing, error.output], [2, "more", "second"])
      const giving = Agent.make("agent", {
        middleware: [Goal.make({ until: never, maxRounds: 1, onMaxRounds: "answer" })]
      })
      const isWithout: Runner.Error<typeof giving> extends Agent.Error ? true : false = true
      assert.isTrue(isWithout)
      assert.strictEqual(yield* giving.run("go"), "third")
    }).pipe(Effect.provide(TestModel.layer(["first", "second", "third"])))
  )

  it.effect("that a judge only denies is said to be missed without what is missing", () =>
    Effect.gen(function* () {
      const never = Goal.make({ until: () => Effect.succeed(false), maxRounds: 1 })
      const error = yield* Effect.flip(Agent.make("agent", { middleware: [never] }).run("go"))
      assert.include(error.message, "did not reach its goal in 1 round. Raise maxRounds")
    }).pipe(Effect.provide(TestModel.layer(["first"])))
  )

  it.effect("counts its rounds on when a round is suspended, and begins again with another run", () => {
    const ask = AgentTool.client("ask", { description: "Asks", success: Schema.String })
    const judged: Array<number> = []
    const never = ({ round }: Goal.Round) => Effect.sync(() => (judged.push(round), { done: false, missing: "more" }))
    const agent = Agent.make("agent", { tools: [ask], middleware: [Goal.make({ until: never, maxRounds: 2 })] })
    const answered = (error: Agent.Error | RunError.GoalNotReached, answer: string) =>
      error._tag === "RunSuspended"
        ? Runner.answer(JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(error.transcript))), {
            [error.waitingFor[0].id]: answer
          })
        : assert.fail(error._tag)
    return Effect.gen(function* () {
      const suspended = yield* Effect.flip(agent.run("go"))
      const error = yield* Effect.flip(agent.run(answered(suspended, "well")))
      if (!(error instanceof RunError.GoalNotReached)) return assert.fail(error._tag)
      assert.deepStrictEqual([error.rounds, judged], [2, [1, 2]])
      assert.strictEqual((yield* Effect.flip(agent.run(error.transcript)))._tag, "GoalNotReached")
      assert.deepStrictEqual(judged, [1, 2, 1, 2])
    }).pipe(Effect.provide(TestModel.layer(["first", TestModel.toolCall("ask", {}), "second", "third", "fourth"])))
  })

  it.effect("may be judged by a function that says only whether it is reached", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        output: Schema.Struct({ n: Schema.Int }),
        middleware: [Goal.make({ until: ({ output }) => Effect.succeed(text(output) === '{"n":2}') })]
      })
      assert.deepStrictEqual(yield* agent.run("go"), { n: 2 })
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ n: 1 }), TestModel.json({ n: 2 })])))
  )
})

describe("a plan that is reviewed", () => {
  const plan = (next: string) => TestModel.json({ goal: "g", done: ["d"], remaining: [], next })
  const replan = Replan.make({ every: 2 })

  it.effect("comes after every so many steps, in its place of the conversation from then on", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { middleware: [replan], tools: [look] })
      const { events } = yield* collect(agent, "go")
      assert.deepStrictEqual(
        of(events, "PlanRevised").map(({ plan, step }) => [step, plan]),
        [
          [3, { goal: "g", done: ["d"], remaining: [], next: "first" }],
          [5, { goal: "g", done: ["d"], remaining: [], next: "second" }]
        ]
      )
      const own = (yield* calls).filter(({ prompt }) => !text(prompt.content).includes("Review it for the assistant"))
      assertPrefixes(own)
      const last = plain(own.at(-1)!.prompt)
      assert.strictEqual(last.filter((message) => message.includes("Your plan, reviewed")).length, 2)
    }).pipe(
      Effect.provide(
        TestModel.layer([looking("a"), looking("b"), plan("first"), looking("c"), looking("d"), plan("second"), "done"])
      )
    )
  )

  it.effect("is there in a run that goes on from the transcript", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { middleware: [replan], tools: [look] })
      const { transcript } = yield* agent.result("go")
      assert.notInclude(text(transcript.content.map(({ content }) => content)), "Your plan, reviewed")
      yield* agent.run(Prompt.concat(transcript, "and then?"))
      const all = yield* calls
      assertPrefixes([all[3]!, all[4]!])
      assert.include(plain(all[4]!.prompt).join(""), "Your plan, reviewed")
    }).pipe(Effect.provide(TestModel.layer([looking("a"), looking("b"), plan("first"), "done", "then"])))
  )

  it.effect("comes when a condition holds, at most so often", () =>
    Effect.gen(function* () {
      const when = Replan.make({ when: ({ step }) => step > 1, max: 1 })
      const { events } = yield* collect(Agent.make("agent", { middleware: [when], tools: [look] }), "go")
      assert.strictEqual(of(events, "PlanRevised").length, 1)
    }).pipe(Effect.provide(TestModel.layer([looking("a"), plan("first"), looking("b"), "done"])))
  )

  it.effect("that cannot be made is done without", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { retry: "none", middleware: [Replan.make({ every: 1 })], tools: [look] })
      assert.strictEqual(yield* agent.run("go"), "done")
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => {
          if (call.index === 0) return looking("a")
          const isReview = text(call.prompt.content).includes("Review it for the assistant")
          return isReview ? TestModel.fail(new AiError.InvalidRequestError({ description: "no" })) : "done"
        })
      )
    )
  )
})

describe("a loop guard", () => {
  const guard = LoopGuard.make({ repeats: 2, warnings: 1 })

  it.effect("does not make a call again that gives the same result, and says so", () =>
    Effect.gen(function* () {
      let count = 0
      const counted = AgentTool.fromFunction("look", {
        description: "Looks",
        parameters: Schema.Struct({ at: Schema.String }),
        execute: () => {
          count++
          return "nothing"
        }
      })
      const agent = Agent.make("agent", { middleware: [guard], tools: [counted] })
      const { transcript } = yield* agent.result("go")
      assert.strictEqual(count, 2)
      assert.include(text(transcript.content), "has given the same result 2 times with these arguments")
    }).pipe(Effect.provide(TestModel.layer([looking("a"), looking("a"), looking("a"), "done"])))
  )

  it.effect("fails a run that goes on all the same", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.make("agent", { middleware: [guard], tools: [look] }).run("go"))
      if (!(error instanceof RunError.LoopDetected)) return assert.fail(error._tag)
      assert.deepStrictEqual([error.tool, error.count, error.step], ["look", 4, 4])
    }).pipe(Effect.provide(TestModel.layer([looking("a"), looking("a"), looking("a"), looking("a")])))
  )

  it.effect("does not count what was called before the user's last message, in other turns of a session", () => {
    const status = AgentTool.fromFunction("status", { description: "Status", execute: () => "running" })
    const chat = Session.of(Agent.make("agent", { middleware: [guard], tools: [status] }), "user")
    const model = TestModel.layer(({ prompt }) =>
      prompt.content.at(-1)?.role === "tool" ? "It is running." : TestModel.toolCall("status", {})
    )
    return Effect.gen(function* () {
      for (let turn = 0; turn < 4; turn++) yield* chat.run("How is it?")
      assert.notInclude(text((yield* SessionStore.history("user")).content), "You repeat yourself")
    }).pipe(Effect.provide(Layer.merge(model, SessionStore.layerMemory)))
  })

  it.effect("lets calls through whose arguments or results differ, and tools that may repeat", () =>
    Effect.gen(function* () {
      let n = 0
      const counter = AgentTool.fromFunction("counter", { description: "Counts", execute: () => n++ })
      const status = AgentTool.fromFunction("status", { description: "Status", execute: () => "running" })
      const agent = Agent.make("agent", {
        middleware: [LoopGuard.make({ repeats: 1, except: ["status"] })],
        tools: [look, counter, status]
      })
      const { transcript } = yield* agent.result("go")
      assert.notInclude(text(transcript.content), "You repeat yourself")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls({ name: "status", params: {} }, { name: "look", params: { at: "a" } }),
          TestModel.toolCalls({ name: "status", params: {} }, { name: "look", params: { at: "b" } }),
          TestModel.toolCalls({ name: "status", params: {} }),
          "done"
        ])
      )
    )
  )
})

// Types: what the judge fails with and needs is what the agent does.
export const typed: Middleware.Middleware<"down" | RunError.GoalNotReached> = Goal.make({
  until: () => Effect.fail("down" as const)
})
