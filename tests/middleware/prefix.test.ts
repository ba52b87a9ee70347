/** From step to step a request begins with the one before it, unless a compaction says otherwise: with all ready-made middleware. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Prompt } from "effect/ai"
import { CircuitBreaker as Breaker, Persistence, RateLimiter } from "effect/persistence"
import {
  Agent,
  AgentTool,
  CircuitBreaker,
  Compaction,
  Goal,
  Guardrail,
  LoopGuard,
  type Middleware,
  Notice,
  RateLimit,
  Redaction,
  Replan,
  ResponseCache,
  Runner,
  TestModel,
  ToolSearch
} from "troupe"

const quarter = (text: string) => Math.ceil(text.length / 4)
const summary = Runner.make("summary", { run: (text: string) => Effect.succeed(`of ${text.length}`) })
const judge = (rounds: number) => (round: Goal.Round) => Effect.succeed(round.round >= rounds)

const made = {
  redaction: () => Redaction.make({ secrets: ["hunter2"] }),
  compaction: () =>
    Compaction.make({
      window: 900,
      tokenizer: quarter,
      policies: [
        Compaction.offload({ above: 100 }),
        Compaction.summarise({ keepTurns: 2, by: summary }),
        Compaction.dropOldest
      ]
    }),
  replan: () => Replan.make({ every: 2 }),
  goal: () => Goal.make({ until: judge(2) }),
  loopGuard: () => LoopGuard.make({ repeats: 2, warnings: 50 }),
  input: () => Guardrail.input("hide", () => Effect.succeed(Guardrail.replace("[hidden]")), { hold: true }),
  output: () => Guardrail.output("held", () => Effect.succeed(Guardrail.pass), { hold: true }),
  notice: () => Notice.make({ at: 0, zone: "UTC", directory: "/srv" }),
  cache: () => ResponseCache.make(),
  limit: () => RateLimit.make({ requests: 1_000, per: "1 second" }),
  breaker: () => CircuitBreaker.make()
} satisfies Record<string, () => Middleware.Any>
type Name = keyof typeof made
const names = Object.keys(made) as ReadonlyArray<Name>
/** What asks the same model for something of its own is known by its prompt. */
const isReview = (prompt: Prompt.Prompt) => JSON.stringify(prompt.content).includes("Review it for the assistant")

const services = Layer.mergeAll(
  RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory)),
  Breaker.layer({ tripPolicy: Breaker.consecutive(5), openDuration: "1 second" }).pipe(
    Layer.provide(Breaker.layerStoreMemory())
  ),
  Persistence.layerMemory
)

const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.Int }),
  execute: ({ at }) => `ada@example.com, hunter2 at ${at} ${"word ".repeat(at % 3 === 0 ? 200 : 10)}`
})
const sing = AgentTool.fromFunction("sing", { description: "Sing a song", execute: () => "la" })

const Step = Schema.Literals(["look", "look again", "search", "sing", "two"])
const turnOf = (step: typeof Step.Type, at: number): TestModel.Turn => {
  switch (step) {
    case "look":
      return { text: `step ${at}`, ...TestModel.toolCall("look", { at }) }
    case "look again":
      return TestModel.toolCall("look", { at: 0 })
    case "search":
      return TestModel.toolCall("search_tools", { query: "song" })
    case "sing":
      return TestModel.toolCall("sing", {})
    case "two":
      return TestModel.toolCalls({ name: "look", params: { at } }, { name: "look", params: { at: at + 1 } })
  }
}

const messagesOf = (prompt: Prompt.Prompt): ReadonlyArray<string> =>
  Schema.encodeSync(Prompt.Prompt)(prompt)
    .content.map(({ content, role }) => JSON.stringify([role, content]))
    .filter((message) => !message.includes("[Notice]"))

describe("the prefix of requests", () => {
  it.effect.prop(
    "stays as it is from step to step, in any order of all ready-made middleware, unless a compaction says otherwise",
    {
      order: Schema.Array(Schema.Literals(names as readonly [Name, ...Array<Name>])).check(Schema.isMaxLength(11)),
      steps: Schema.Array(Step).check(Schema.isMaxLength(8)),
      turns: Schema.Literals([0, 3])
    },
    ({ order, steps, turns }) =>
      Effect.gen(function* () {
        const middleware = [...new Set(order)].map((name) => made[name]())
        const agent = Agent.make("agent", {
          instructions: "Be brief, hunter2.",
          maxSteps: 20,
          middleware,
          tools: [look, ToolSearch.make([sing])]
        })
        const before = Array.from({ length: turns }, (_, n) => [
          Prompt.userMessage({ content: [Prompt.textPart({ text: `Question ${n} of ada@example.com` })] }),
          Prompt.assistantMessage({ content: [Prompt.textPart({ text: `Answer ${n} ${"word ".repeat(60)}` })] })
        ]).flat()
        let at = 0
        const model = TestModel.layer(
          ({ prompt }) => {
            if (isReview(prompt)) return TestModel.json({ goal: "g", done: [], remaining: ["r"], next: `next ${at}` })
            const step = steps[at++]
            return step === undefined ? `done ${at}` : turnOf(step, at)
          },
          { unused: "ignore" }
        )
        yield* Effect.gen(function* () {
          const { transcript } = yield* agent.result([
            ...before,
            Prompt.userMessage({ content: [Prompt.textPart({ text: "Go, hunter2." })] })
          ])
          const all = yield* Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
          const own = all.filter(({ prompt }) => !isReview(prompt))
          const answers = transcript.content.slice(before.length).filter(({ role }) => role === "assistant")
          const marked = new Set(Compaction.marks(transcript).map((mark) => transcript.content[mark.at]))
          for (const [index, call] of own.entries()) {
            if (index === 0) continue
            assert.deepStrictEqual(call.tools.slice(0, own[index - 1]!.tools.length), own[index - 1]!.tools)
            if (marked.has(answers[index]!)) continue
            const earlier = messagesOf(own[index - 1]!.prompt)
            assert.deepStrictEqual(messagesOf(call.prompt).slice(0, earlier.length), earlier)
          }
        }).pipe(Effect.provide(model), Effect.provide(services))
      }) as never,
    { arbitrary: { runs: 20 } } as never
  )
})
