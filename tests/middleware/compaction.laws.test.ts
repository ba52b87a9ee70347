/** What is true of every compaction, over random conversations. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Prompt } from "effect/ai"
import { Agent, AgentTool, Compaction, Runner, TestModel } from "troupe"
import { cases } from "../support/cases.ts"
import { assertValid as assertInOrder } from "../support/randomScripts.ts"
import { Happenings, messagesOf } from "../support/randomTranscripts.ts"

const encode = Schema.encodeSync(Prompt.Prompt)
const json = (messages: ReadonlyArray<Prompt.Message>) =>
  encode(Prompt.fromMessages(messages)).content.map(({ content, role }) => JSON.stringify([role, content]))
const quarter = (text: string) => Math.ceil(text.length / 4)
const isPinned = (message: Prompt.Message) => JSON.stringify(message.options).includes("pinned")
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen ".repeat(60) })

const policies = {
  offload: Compaction.offload({ above: 80 }),
  shrink: Compaction.shrinkToolResults({ above: 60 }),
  oldest: Compaction.dropOldest
}
const Names = Schema.Array(Schema.Literals(["offload", "shrink", "oldest", "summarise"])).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(3)
)

/** Every call has its result right after it; results of one answer may be in several messages. */
const assertValid = ({ content }: Prompt.Prompt): void => {
  const joined: Array<Prompt.Message> = []
  for (const message of content) {
    const last = joined.at(-1)
    if (message.role !== "tool" || last?.role !== "tool") joined.push(message)
    else joined.splice(-1, 1, Prompt.toolMessage({ content: [...last.content, ...message.content] }))
  }
  assertInOrder(Prompt.fromMessages(joined))
}

/** A summariser, and what it was given. */
const summariser = () => {
  const given: Array<string> = []
  const by = Runner.make("summariser", {
    run: (text: string) =>
      Effect.sync(() => {
        given.push(text)
        return `summary ${given.length}`
      })
  })
  return { given, by }
}

describe("a compaction", () => {
  it.effect.prop(
    "parts no call from its result, keeps what is to be kept, and changes what was sent only where it compacts",
    {
      happenings: Happenings,
      names: Names,
      keepTurns: Schema.Literals([1, 2, 4]),
      window: Schema.Literals([150, 600, 3_000]),
      steps: Schema.Literals([0, 1, 3])
    },
    ({ happenings, keepTurns, names, steps, window }) =>
      Effect.gen(function* () {
        const { by, given } = summariser()
        const compaction = Compaction.make({
          window,
          tokenizer: quarter,
          policies: names.map((name) =>
            name === "summarise" ? Compaction.summarise({ keepTurns, by }) : policies[name]
          )
        })
        const agent = Agent.make("agent", { instructions: "Be brief.", middleware: [compaction], tools: [look] })
        const messages = messagesOf(happenings)
        const script = [...Array.from({ length: steps }, () => TestModel.toolCall("look", {})), "done"]
        const first = yield* Effect.gen(function* () {
          const { transcript } = yield* agent.result(Prompt.fromMessages(messages))
          const { calls } = yield* TestModel.TestModel
          return { transcript, prompts: (yield* calls).map(({ prompt }) => prompt) }
        }).pipe(Effect.provide(TestModel.layer(script)))
        const { prompts, transcript } = first
        const marks = Compaction.marks(transcript)
        for (const [index, prompt] of prompts.entries()) {
          assertValid(prompt)
          const sent = json(prompt.content)
          assert.include(sent[0], "Be brief.")
          assert.include(sent, json(messages)[0]!)
          for (const one of messages.filter(isPinned)) assert.include(sent, json([one])[0]!)
          // The transcript before the request: the answer that follows it may have a mark.
          const at = transcript.content.filter(({ role }) => role === "assistant").length - (prompts.length - index)
          const answer = transcript.content.filter(({ role }) => role === "assistant")[at]!
          const isMarked = marks.some((mark) => transcript.content[mark.at] === answer)
          if (index > 0 && !isMarked) {
            const before = json(prompts[index - 1]!.content)
            assert.deepStrictEqual(sent.slice(0, before.length), before)
          }
        }
        // The transcript has everything.
        assert.deepStrictEqual(json(transcript.content.slice(0, messages.length)), json(messages))
        for (const one of happenings.keys()) {
          const said = given.filter((text) => text.includes(`: ${one + 1} lorem`) || text.includes(`"${one + 1} lorem`))
          assert.isAtMost(said.length, 1, `${one + 1} was summarised twice`)
        }
        // A run that goes on sends what was sent, also in another process.
        const stored = Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(encode(transcript))))
        const again = yield* Effect.gen(function* () {
          const next = yield* agent.result(Prompt.concat(stored, "more"))
          const { calls } = yield* TestModel.TestModel
          return { isNew: Compaction.marks(next.transcript).length > marks.length, prompt: (yield* calls)[0]!.prompt }
        }).pipe(Effect.provide(TestModel.layer(["done"])))
        assertValid(again.prompt)
        if (!again.isNew) {
          const before = json(prompts.at(-1)!.content)
          assert.deepStrictEqual(json(again.prompt.content).slice(0, before.length), before)
        }
      }),
    { arbitrary: { runs: cases(40) } } as never
  )

  it.effect.prop(
    "that drops the oldest messages fits where what is kept fits",
    { happenings: Happenings },
    ({ happenings }) =>
      Effect.gen(function* () {
        const window = 3_000
        const compaction = Compaction.make({
          window,
          tokenizer: quarter,
          policies: [Compaction.shrinkToolResults({ above: 60 }), Compaction.dropOldest]
        })
        const messages = messagesOf(happenings.map((one) => ({ ...one, pinned: false, size: 400 }) as typeof one))
        yield* Agent.make("agent", { middleware: [compaction] }).run(Prompt.fromMessages(messages))
        const { calls } = yield* TestModel.TestModel
        const size = json((yield* calls)[0]!.prompt.content).reduce((sum, one) => sum + quarter(one), 0)
        // The shapes of messages are counted by this test, and not by what counts tokens.
        assert.isBelow(size, window * 2)
      }).pipe(Effect.provide(TestModel.layer(["done"]))),
    { arbitrary: { runs: 15 } } as never
  )
})
