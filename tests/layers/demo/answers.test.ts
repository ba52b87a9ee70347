/** Answers of the demo model in words: sums, and summaries of sentences that stand in the text. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, DemoModel, ModelInfo } from "troupe"
import { ask, refusal } from "../../support/demo.ts"
import { it } from "../../support/edges.ts"

const bridge = "The old bridge in Porto was built in 1886. It spans the river Douro. Local shops complained."
const answered = (instructions: string, prompt: string) =>
  Agent.make("writer", { instructions }).run(prompt).pipe(Effect.provide(DemoModel.layer))

describe("a sum is worked out:", () => {
  it.effect.each<readonly [string, string]>([
    ["What is 2 + 40?", "2 + 40 = 42"],
    ["Calculate 0.1 + 0.2.", "0.1 + 0.2 = 0.3"],
    ["-2^2 + (3 - 1) * 10 / 4", "-2^2 + (3 - 1) * 10 / 4 = 1"],
    ["2^3^2", "2^3^2 = 512"],
    ["1,000 - 1", "1,000 - 1 = 999"]
  ])("%s", ([prompt, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ask(prompt), expected)
    })
  )

  it.effect.each([
    "What is 2 + 40 apples?",
    "2 + (3",
    "1 / 0",
    "2024-05-01",
    "2 + 2 and 3 + 3",
    "What is two plus two?"
  ])("and is not guessed: %s", (prompt) =>
    Effect.map(refusal(ask(prompt)), ({ field }) => assert.strictEqual(field, "prompt"))
  )
})

describe("a summary takes sentences of the text:", () => {
  it.effect.each<readonly [string, string, string]>([
    ["You help.", `Summarise in one sentence:\n\n${bridge}`, "The old bridge in Porto was built in 1886."],
    ["Summarise the text in 2 sentences. Use only what it says.", bridge, bridge.split(" Local")[0]!],
    ["Summarise it.", `Summarise: ${bridge}`, bridge.split(" Local")[0]!],
    ["List the key points.", "Rome is old.", "Rome is old."]
  ])("%s %s", ([instructions, prompt, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* answered(instructions, prompt), expected)
    })
  )

  it.effect.each<readonly [string, string]>([
    ["Translate into French.", "The meeting is at noon and everybody has to come on time."],
    ["You help.", `Summarise in French: ${bridge}`],
    ["Translate what the user summarises. Summarise it.", bridge],
    ["You help.", `Summarise this as a haiku: ${bridge}`],
    ["Summarise the text.", ""]
  ])("and is refused where more is asked for: %s %s", ([instructions, prompt]) =>
    Effect.map(refusal(answered(instructions, prompt)), ({ field }) => assert.strictEqual(field, "prompt"))
  )
})

it.effect("files and long messages are refused", () =>
  Effect.gen(function* () {
    const say = (content: ReadonlyArray<any>) =>
      Agent.make("reader", {})
        .run([{ role: "user", content }])
        .pipe(Effect.provide(DemoModel.layer), refusal)
    const file = { type: "file", mediaType: "image/png", data: new Uint8Array([1]) }
    assert.include(
      (yield* say([{ type: "text", text: "What is 2 + 40?" }, file])).message,
      "does not read files (image/png)"
    )
    assert.include((yield* say([{ type: "text", text: "a ".repeat(30_000) }])).message, "at most 50000 characters")
  })
)

it.effect("it says who it is, and that it used no tokens", () =>
  Effect.gen(function* () {
    assert.include((yield* ModelInfo.get)!, { provider: "troupe-demo", model: "demo" })
    const { usage } = yield* LanguageModel.generateText({ prompt: "What is 2 + 40?" })
    assert.deepStrictEqual([usage.inputTokens.total, usage.outputTokens.total], [0, 0])
  }).pipe(Effect.provide(DemoModel.layer))
)

describe("hostile text takes no longer than its length:", () => {
  it.live.each([
    "a",
    " ",
    "\n",
    "A. B. ",
    "\"a' ",
    "`",
    "[](",
    "a: b\n",
    "```\n{\n",
    "北京是首都。",
    "1 ",
    "1+",
    "(",
    "- ",
    "1,",
    "n of 1 "
  ])("%j", (unit) =>
    Effect.gen(function* () {
      const time = (size: number) =>
        Effect.gen(function* () {
          const text = unit.repeat(Math.ceil(size / unit.length)).slice(0, size)
          // The thread's own time: what else the machine does must not count.
          const start = process.threadCpuUsage()
          yield* Effect.exit(answered("Summarise the text.", text))
          yield* Effect.exit(ask(text))
          const { system, user } = process.threadCpuUsage(start)
          return (system + user) / 1000
        })
      yield* time(1_000)
      // Eight times the text: about 8 in proportion, 64 when quadratic. The floor keeps short times from deciding.
      assert.isBelow((yield* time(48_000)) / Math.max(10, yield* time(6_000)), 30)
    })
  )
})
