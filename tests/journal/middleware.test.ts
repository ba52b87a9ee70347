/** Ready-made middleware around a run that is killed and made again: what it has asked models is not asked twice. */
import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { AiError, Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Compaction, Goal, Guardrail, LoopGuard, Notice, Redaction, Replan, TestModel } from "troupe"
import { it } from "../support/edges.ts"
import { attempt, MemoryJournal, type Moment } from "../support/journal.ts"

const json = (value: unknown) => JSON.stringify(value)
const encode = Schema.encodeSync(Prompt.Prompt)
const bare = (prompt: Prompt.Prompt) => json(encode(prompt).content.map(({ content, role }) => [role, content]))

const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.Int }),
  execute: ({ at }) => `seen ${at} ${"word ".repeat(120)}`
})
const verdictOf = (what: string) =>
  Agent.make(`judge of ${what}`, { instructions: `Judge the ${what}.`, output: Guardrail.Verdict })
const judge = Agent.make("judge", { instructions: "Is the goal reached?", output: Goal.Verdict })
const agent = Agent.make("agent", {
  instructions: "Look around.",
  tools: [look],
  middleware: [
    Redaction.make({ secrets: ["hunter2"] }),
    Notice.make({ zone: "UTC", at: 0 }),
    Goal.make({ until: judge, maxRounds: 3 }),
    Compaction.make({
      window: 700,
      // What the judge has missed is known in every request that follows.
      pinned: (message) => json(message.content).includes("You are not done yet"),
      tokenizer: (text) => Math.ceil(text.length / 4),
      policies: [Compaction.summarise({ keepTurns: 1 }), Compaction.dropOldest]
    }),
    Replan.make({ every: 2 }),
    LoopGuard.make(),
    Guardrail.input("input", verdictOf("input")),
    Guardrail.output("output", verdictOf("output"), { hold: true })
  ]
})

type Kind = "summary" | "plan" | "input" | "output" | "goal" | "own"

/** A model that answers each of them by what it is asked, and what it was asked. */
const asked = () => {
  const requests: Array<Kind> = []
  const kindOf = (text: string): Kind => {
    if (text.includes("older part of a conversation")) return "summary"
    if (text.includes("Review it for the assistant")) return "plan"
    if (text.includes("Judge the input")) return "input"
    if (text.includes("Judge the output")) return "output"
    return text.includes("Is the goal reached?") ? "goal" : "own"
  }
  const answer = (kind: Kind, prompt: Prompt.Prompt): TestModel.Turn | string => {
    switch (kind) {
      case "summary":
        return "they looked"
      case "plan":
        return TestModel.json({ goal: "look", done: [], remaining: ["look"], next: "look" })
      case "input":
      case "output":
        return TestModel.json({ _tag: "Pass" })
      case "goal":
        return TestModel.json(
          json(prompt.content).includes("second") ? { done: true, missing: "" } : { done: false, missing: "more" }
        )
      case "own": {
        const last = prompt.content.findLast(({ role }) => role !== "user")
        const seen =
          last?.role === "tool"
            ? Number(/seen (\d)/.exec(json(last.content))?.[1] ?? assert.fail(json(last.content)))
            : -1
        const isSecond = json(prompt.content).includes("You are not done yet")
        if (seen < (isSecond ? 4 : 2)) {
          return { text: "I look.", ...TestModel.toolCall("look", { at: Math.max(seen, isSecond ? 2 : -1) + 1 }) }
        }
        return isSecond ? "second answer" : "first answer"
      }
    }
  }
  const model = TestModel.layer(
    ({ prompt }) => {
      const kind = kindOf(bare(prompt))
      requests.push(kind)
      return answer(kind, prompt)
    },
    { unused: "ignore" }
  )
  return { model, requests }
}

/** Runs it once; the clock goes on for delays. */
const once = (
  journal: MemoryJournal,
  { model }: ReturnType<typeof asked>,
  kill?: { readonly at: number; readonly moment: Moment }
) =>
  Effect.gen(function* () {
    const program = Effect.provide(agent.result("Find hunter2."), model)
    const fiber = yield* Effect.forkChild(attempt(program, journal, kill))
    yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

const outputOf = (exit: Effect.Success<ReturnType<typeof once>>): string =>
  exit !== undefined && Exit.isSuccess(exit) ? exit.value.output : assert.fail(`it ended otherwise: ${String(exit)}`)

const counts = (requests: ReturnType<typeof asked>["requests"]) =>
  Object.fromEntries([...Map.groupBy(requests, (kind) => kind)].map(([kind, all]) => [kind, all.length]))

describe("a run with all ready-made middleware", () => {
  it.effect("that is made again asks no model once more: not for summaries, plans, verdicts or goals", () =>
    Effect.gen(function* () {
      const world = asked()
      const journal = new MemoryJournal()
      assert.strictEqual(outputOf(yield* once(journal, world)), "second answer")
      const before = counts(world.requests)
      for (const kind of ["summary", "plan", "input", "output", "goal", "own"])
        assert.isAbove(before[kind] ?? 0, 0, kind)
      assert.strictEqual(outputOf(yield* once(journal, world)), "second answer")
      assert.deepStrictEqual(counts(world.requests), before)
    })
  )

  it.effect("that is killed at any step goes on as if it had not been, and asks again only what it was killed in", () =>
    Effect.gen(function* () {
      const whole = asked()
      const journal = new MemoryJournal()
      yield* once(journal, whole)
      const expected = counts(whole.requests)
      const steps = journal.ended.length
      assert.strictEqual(steps, new Set(journal.ended.map(({ key }) => key)).size)
      for (let at = 0; at < steps; at++) {
        const moment = (["before", "within", "after"] as const)[at % 3]!
        const world = asked()
        const journal = new MemoryJournal()
        const killed = yield* once(journal, world, { at, moment })
        const end = killed ?? (yield* once(journal, world))
        const how = `killed ${moment} step ${at} of ${steps}`
        assert.strictEqual(outputOf(end), "second answer", how)
        assert.deepStrictEqual(counts(world.requests), expected, how)
        assert.strictEqual(journal.ended.length, steps, how)
      }
    })
  )
})

describe("a conversation that a server has refused as too long", () => {
  it.effect("is not refused again when the run is made again, and is compacted as it was", () =>
    Effect.gen(function* () {
      const asked: Array<number> = []
      const model = TestModel.layer(
        ({ prompt }) => {
          asked.push(prompt.content.length)
          const isLong = prompt.content.length > 14
          return isLong
            ? TestModel.fail(new AiError.InvalidRequestError({ description: "maximum context length is 600 tokens" }))
            : "done"
        },
        { unused: "ignore" }
      )
      const turns = Array.from({ length: 10 }, (_, n) => [
        { role: "user" as const, content: `question ${n}` },
        { role: "assistant" as const, content: `answer ${n} ${"word ".repeat(60)}` }
      ]).flat()
      const compaction = Compaction.make({
        window: 100_000,
        tokenizer: (text) => text.length / 4,
        policies: [Compaction.dropOldest]
      })
      const long = Agent.make("agent", { retry: "none", middleware: [compaction] })
      const run = long.result([...turns, { role: "user", content: "and now?" }]).pipe(Effect.provide(model))
      for (const kill of [undefined, { at: 0, moment: "after" }, { at: 1, moment: "after" }] as const) {
        const journal = new MemoryJournal()
        const first = (yield* attempt(run, journal, kill)) ?? (yield* attempt(run, journal))
        const again = yield* attempt(run, journal)
        for (const exit of [first, again]) {
          assert.strictEqual(exit !== undefined && Exit.isSuccess(exit) ? exit.value.output : exit, "done")
        }
        assert.deepStrictEqual(
          asked.splice(0).map((length) => length > 14),
          [true, false]
        )
        const marks = [first, again].map((exit) =>
          exit !== undefined && Exit.isSuccess(exit) ? Compaction.marks(exit.value.transcript) : []
        )
        assert.strictEqual(marks[0]!.length, 1)
        assert.deepStrictEqual(marks[1], marks[0])
      }
    })
  )
})
