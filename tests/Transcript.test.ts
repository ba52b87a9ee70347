/** Readers of a conversation, and the conversations of a run's members. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Prompt } from "effect/ai"
import { Agent, AgentTool, Parallel, RunError, Runner, TestModel, Transcript } from "troupe"

const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.String }),
  execute: ({ at }) => (at === "nowhere" ? Effect.fail("nothing there") : `a ${at}`)
})
const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
const clerk = Agent.make("clerk", { tools: [look, pay] })
const sent = (transcript: Prompt.Prompt) =>
  Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript))))

describe("readers of a conversation", () => {
  it.effect("list tool calls with their results, in turns", () =>
    Effect.gen(function* () {
      const first = yield* clerk.result("one")
      const second = yield* clerk.result(Prompt.concat(first.transcript, "two"))
      const calls = Transcript.toolCalls(sent(second.transcript))
      assert.deepStrictEqual(
        calls.map(({ id, tool, params, status, result }) => [id, tool, params, status, result]),
        [
          ["x", "look", { at: "door" }, "completed", "a door"],
          ["x_2", "look", { at: "nowhere" }, "failed", { error: "nothing there" }]
        ]
      )
      const turns = Transcript.turns(second.transcript)
      assert.deepStrictEqual(
        turns.map(({ answer, toolCalls, user }) => [user, answer, toolCalls.length]),
        [
          ["one", "It is a door.", 1],
          ["two", "There is nothing.", 1]
        ]
      )
      assert.deepStrictEqual(turns.flatMap(({ messages }) => messages).length, second.transcript.content.length)
      assert.strictEqual(Transcript.answer(second.transcript), "There is nothing.")
      assert.deepStrictEqual(Transcript.reasoning(second.transcript), ["hm"])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("look", { at: "door" }, "x"),
          { reasoning: "hm", text: "It is a door." },
          TestModel.toolCall("look", { at: "nowhere" }, "x"),
          "There is nothing."
        ])
      )
    )
  )

  it("find the result of a call whose id comes again in another turn", () => {
    const turn = (result: string) => [
      Prompt.assistantMessage({
        content: [Prompt.toolCallPart({ id: "x", name: "look", params: {}, providerExecuted: false })]
      }),
      Prompt.toolMessage({
        content: [Prompt.toolResultPart({ id: "x", name: "look", isFailure: false, providerExecuted: false, result })]
      })
    ]
    assert.deepStrictEqual(
      Transcript.toolCalls(Prompt.fromMessages([...turn("first"), ...turn("second")])).map(({ result }) => result),
      ["first", "second"]
    )
  })

  it.effect("say which calls wait, and which have no result", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(clerk.run("pay"))
      if (!(error instanceof RunError.RunSuspended)) return assert.fail(error.message)
      assert.deepStrictEqual(
        Transcript.toolCalls(sent(error.transcript)).map(({ status, tool }) => [tool, status]),
        [["pay", "waiting"]]
      )
      const [, message] = error.transcript.content
      const cut = Prompt.fromMessages([
        Prompt.assistantMessage({ content: [(message as Prompt.AssistantMessage).content[0]!] })
      ])
      assert.strictEqual(Transcript.toolCalls(cut)[0]!.status, "unanswered")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", {})])))
  )

  it("read any input of an agent", () => {
    const data = new Uint8Array([1])
    const input = [
      {
        role: "user" as const,
        content: [
          { type: "text" as const, text: "What is this?" },
          { type: "file" as const, mediaType: "image/png", data }
        ]
      }
    ]
    assert.deepStrictEqual(
      Transcript.files(input).map(({ mediaType }) => mediaType),
      ["image/png"]
    )
    assert.strictEqual(Transcript.answer("Hello"), "")
    assert.deepStrictEqual(
      Transcript.turns("Hello").map(({ user }) => user),
      ["Hello"]
    )
    assert.deepStrictEqual(Transcript.turns(Prompt.empty), [])
  })
})

describe("the transcripts of a result", () => {
  it.effect("are those of every agent, by path, of tools too", () =>
    Effect.gen(function* () {
      const helper = Agent.make("helper", { description: "Helps" })
      const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(helper)] })
      const both = Parallel.make("both", { boss, other: helper }, { concurrency: 1 })
      const { transcripts } = yield* both.result("go")
      assert.deepStrictEqual(
        transcripts.map(({ path, transcript }) => [path.join(" > "), Transcript.answer(transcript)]),
        [
          ["both > boss", "by the boss"],
          ["both > boss > helper", "by the helper"],
          ["both > other", "by the other"]
        ]
      )
      const [first] = (yield* helper.result("go")).transcripts
      assert.deepStrictEqual([first!.path, Transcript.answer(first!.transcript)], [["helper"], "alone"])
      assert.deepStrictEqual((yield* Runner.make("none", { run: () => Effect.void }).result(undefined)).transcripts, [])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("helper", { input: "help" }),
          "by the helper",
          "by the boss",
          "by the other",
          "alone"
        ])
      )
    )
  )
})
