/** From step to step a request begins with the one before it, unless a compaction says otherwise: with all ready-made middleware. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
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
  Middleware,
  Notice,
  OpenAi,
  RateLimit,
  Redaction,
  Replan,
  ResponseCache,
  Runner,
  TestModel,
  ToolSearch
} from "troupe"
import { collect } from "../support/grammar.ts"
import { json, serve } from "../support/wire.ts"

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
const hum = AgentTool.fromFunction("hum", { description: "Hum a tune", execute: () => "hm" })
const sing = AgentTool.fromFunction("sing", { description: "Sing a song", execute: () => "la" })

const Step = Schema.Literals(["look", "look again", "search", "sing", "hum", "two"])
const turnOf = (step: typeof Step.Type, at: number): TestModel.Turn => {
  switch (step) {
    case "look":
      return { text: `step ${at}`, ...TestModel.toolCall("look", { at }) }
    case "look again":
      return TestModel.toolCall("look", { at: 0 })
    case "search":
      return TestModel.toolCall("search_tools", { query: "song" })
    case "sing":
    case "hum":
      // A tool that was called is found, as one that a search has given.
      return TestModel.toolCall(step, {})
    case "two":
      return TestModel.toolCalls({ name: "look", params: { at } }, { name: "look", params: { at: at + 1 } })
  }
}

const messagesOf = (prompt: Prompt.Prompt): ReadonlyArray<string> =>
  Schema.encodeSync(Prompt.Prompt)(prompt)
    .content.map(({ content, role }) => JSON.stringify([role, content]))
    .filter((message) => !message.includes("[Notice]"))

/** The tools of a request as they are sent, one by one, seen by what is closest to the model. */
const watching = () => {
  const seen: Array<ReadonlyArray<string>> = []
  const watch = Middleware.make("watch", {
    model: (request, next) =>
      Effect.suspend(() => {
        seen.push(request.tools.map((tool) => JSON.stringify(tool)))
        return next(request)
      })
  })
  return { seen, watch }
}

const conversation = (turns: number) => [
  ...Array.from({ length: turns }, (_, n) => [
    Prompt.userMessage({ content: [Prompt.textPart({ text: `Question ${n} of ada@example.com` })] }),
    Prompt.assistantMessage({ content: [Prompt.textPart({ text: `Answer ${n} ${"word ".repeat(60)}` })] })
  ]).flat(),
  Prompt.userMessage({ content: [Prompt.textPart({ text: "Go, hunter2." })] })
]

/** Runs an agent with the middleware in this order, and holds each request to begin as the one before it. */
const assertPrefixes = (order: ReadonlyArray<Name>, steps: ReadonlyArray<typeof Step.Type>, turns: number) =>
  Effect.gen(function* () {
    const { seen, watch } = watching()
    const middleware = [...order.map((name) => made[name]()), watch]
    const agent = Agent.make("agent", {
      instructions: "Be brief, hunter2.",
      maxSteps: 20,
      middleware,
      tools: [look, ToolSearch.make([sing, hum], { max: 1 })]
    })
    let at = 0
    const model = TestModel.layer(
      ({ prompt }) => {
        if (isReview(prompt)) return TestModel.json({ goal: "g", done: [], remaining: ["r"], next: `next ${at}` })
        const step = steps[at++]
        return step === undefined ? `done ${at}` : turnOf(step, at)
      },
      { unused: "ignore" }
    )
    return yield* Effect.gen(function* () {
      const { events } = yield* collect(agent, conversation(turns))
      const all = yield* Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
      const own = all.filter(({ prompt }) => !isReview(prompt))
      // The requests before which a compaction has said something: those of the steps that it names, in the order of events.
      const compacted = new Set<number>()
      let asked = -1
      for (const event of events.filter(({ path }) => path.length === 1)) {
        if (event._tag === "StepStarted") asked++
        if (event._tag === "Compacted") compacted.add(asked)
      }
      // Answers of the cache reach no model, so requests and steps are the same only without one.
      const isCounted = own.length === asked + 1
      for (const [index, call] of own.entries()) {
        if (index === 0) continue
        if (isCounted && compacted.has(index)) continue
        const earlier = messagesOf(own[index - 1]!.prompt)
        const now = messagesOf(call.prompt).slice(0, earlier.length)
        if (isCounted || compacted.size === 0) assert.deepStrictEqual(now, earlier)
      }
      const tools = seen.filter((one) => one.length > 0)
      for (const [index, one] of tools.entries()) {
        if (index > 0) assert.deepStrictEqual(one.slice(0, tools[index - 1]!.length), tools[index - 1])
      }
      return { compacted, events, own, tools }
    }).pipe(Effect.provide(model), Effect.provide(services))
  })

describe("the prefix of requests", () => {
  it.effect.prop(
    "stays as it is from step to step, in any order of all ready-made middleware, unless a compaction says otherwise",
    {
      order: Schema.Array(Schema.Literals(names as readonly [Name, ...Array<Name>])).check(Schema.isMaxLength(11)),
      steps: Schema.Array(Step).check(Schema.isMaxLength(8)),
      turns: Schema.Literals([0, 3])
    },
    ({ order, steps, turns }) => assertPrefixes([...new Set(order)], steps, turns) as never,
    { arbitrary: { runs: 20 } } as never
  )

  it.effect(
    "stays so with all of them, tools that are found and a compaction, which says so",
    () =>
      Effect.gen(function* () {
        const steps = ["look", "search", "sing", "look", "hum", "two", "look again", "look"] as const
        const { compacted, own, tools } = yield* assertPrefixes(names, steps, 3)
        // All of it has happened.
        assert.isAbove(compacted.size, 0)
        assert.isAbove(own.length, steps.length)
        const found = (name: string) => tools.some((one) => one.some((tool) => tool.includes(`"${name}"`)))
        assert.isTrue(found("sing") && found("hum"))
        assert.isAbove(tools.at(-1)!.length, tools[0]!.length)
      }) as never
  )
})

describe("the bytes of requests", () => {
  it.live(
    "begin as those before, at a server",
    () =>
      Effect.gen(function* () {
        const call = (n: number) => ({
          id: "c",
          model: "m",
          choices: [
            {
              index: 0,
              finish_reason: "tool_calls",
              message: {
                role: "assistant",
                content: `step ${n}`,
                tool_calls: [
                  {
                    id: `call_${n}`,
                    type: "function",
                    function: { name: "look", arguments: JSON.stringify({ at: n }) }
                  }
                ]
              }
            }
          ]
        })
        const done = {
          id: "c",
          model: "m",
          choices: [{ index: 0, finish_reason: "stop", message: { content: "done" } }]
        }
        const server = yield* serve(...[1, 2, 4, 5].map((n) => json(call(n))), json(done))
        const model = OpenAi.layer({ model: "m", baseUrl: server.url, api: "chat", apiKey: Redacted.make("k") })
        const middleware = names
          .filter((name) => name !== "goal" && name !== "replan" && name !== "compaction")
          .map((name) => made[name]())
        const agent = Agent.make("agent", {
          instructions: "Be brief.",
          middleware,
          tools: [look, ToolSearch.make([sing])]
        })
        yield* agent.run("Go, hunter2.").pipe(Effect.provide(model), Effect.provide(services))
        assert.strictEqual(server.bodies.length, 5)
        for (const [index, body] of server.bodies.entries()) {
          if (index === 0) continue
          const before = server.bodies[index - 1]
          assert.strictEqual(JSON.stringify(body.tools), JSON.stringify(before.tools))
          // The notice at the end is not kept.
          const kept = JSON.stringify(before.messages.slice(0, -1)).slice(0, -1)
          assert.isTrue(JSON.stringify(body.messages).startsWith(kept), kept)
          assert.include(JSON.stringify(before.messages.at(-1)), "[Notice]")
        }
      }) as never
  )
})
