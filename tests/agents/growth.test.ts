/** What agents do in proportion to their work, and not to its square. */
import { assert, describe, it } from "@effect/vitest"
import type { HeapProfiler } from "node:inspector"
import { Session } from "node:inspector/promises"
import { Effect, Stream } from "effect"
import { LanguageModel, Prompt, type Response } from "effect/ai"
import { Agent, AgentTool, ModelInfo, TestModel, ToolSource } from "troupe"
import * as ToolSet from "../../src/agents/internal/toolSet.ts"
import { Collector } from "../../src/agents/internal/turnCollector.ts"

const finish: Response.PartEncoded = {
  type: "finish",
  reason: "tool-calls",
  usage: { inputTokens: {}, outputTokens: {} } as never,
  response: undefined
}

describe("calls of one answer that share an id", () => {
  /** How many ids are looked up. */
  const lookups = (calls: number) => {
    let count = 0
    const collector = new Collector((id) => {
      count++
      return id === "same"
    }, 1_000_000)
    for (let n = 0; n < calls; n++) collector.push({ type: "tool-call", id: "same", name: "look", params: {} })
    collector.push(finish)
    const ids = collector.turn().calls.map(({ id }) => id)
    assert.deepStrictEqual([ids[0], ids.at(-1)], ["same_2", `same_${calls + 1}`])
    assert.strictEqual(new Set(ids).size, calls)
    return count
  }

  it("are kept apart with a few looks for each", () => {
    assert.isAtMost(lookups(3000) / lookups(300), 11)
  })
})

describe("a conversation that goes on", () => {
  it.effect("is not decoded again: its messages stay what they are", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const first = yield* agent.result("hello")
      const given = first.transcript.content
      const second = yield* agent.result([...given, { role: "user", content: "and now?" }])
      assert.strictEqual(second.output, "second")
      const { content } = second.transcript
      for (const [index, message] of given.entries()) assert.strictEqual(content[index], message)
      assert.strictEqual(content.length, given.length + 2)
    }).pipe(Effect.provide(TestModel.layer(["first", "second"])))
  )

  it.effect("is refused for a message that only looks decoded", () =>
    Effect.gen(function* () {
      const message = { ...Prompt.userMessage({ content: [] }), content: [{ type: "text" }] }
      const error = yield* Effect.flip(Agent.make("agent", {}).run([message as never, "x" as never]))
      assert.strictEqual(error._tag, "InvalidTranscript")
    }).pipe(Effect.provide(TestModel.layer([], { unused: "ignore" })))
  )
})

describe("the sources of an agent's tools", () => {
  const tool = (name: string) => AgentTool.fromFunction(name, { description: "x", execute: () => name })
  /** These sources need no service. */
  const from = (...args: Parameters<typeof ToolSet.fromSources>) =>
    ToolSet.fromSources(...args) as Effect.Effect<ToolSet.Sourced>
  const sources = (count: number) =>
    Array.from({ length: count }, (_, n) => {
      const tools = [tool(`tool_${n}`)]
      return ToolSource.make(`source ${n}`, () => Effect.succeed(tools), { names: [`tool_${n}`] })
    })

  it.effect("are put together once a step, and the set is kept while their lists are the same", () =>
    Effect.gen(function* () {
      const many = sources(50)
      const first = yield* from("agent", ToolSet.none, many, undefined)
      const second = yield* from("agent", ToolSet.none, many, first)
      assert.strictEqual(second, first)
      assert.strictEqual(first.set.byName.size, 50)
      const fewer = yield* from("agent", ToolSet.none, many.slice(1), first)
      assert.strictEqual(fewer.set.byName.size, 49)
    })
  )

  it.effect("get the names of the others, and not their own", () =>
    Effect.gen(function* () {
      const seen: Array<ReadonlyArray<string>> = []
      const source = (name: string) =>
        ToolSource.make(name, (taken) => Effect.sync(() => (seen.push([...taken].toSorted()), [tool(name)])), {
          names: [name]
        })
      const base = ToolSet.add("agent", ToolSet.none, [tool("base")])
      yield* from("agent", base, [source("a"), source("b")], undefined)
      assert.deepStrictEqual(seen, [
        ["b", "base"],
        ["a", "base"]
      ])
    })
  )
})

describe("a run that is over", () => {
  /** How many bytes that a run has made outlive garbage collections of young objects. */
  const survivors = Effect.fnUntraced(function* <E, R>(run: Effect.Effect<unknown, E, R>, times: number) {
    const repeated = Effect.forEach(Array.from({ length: times }), () => run, { discard: true })
    yield* repeated
    const session = new Session()
    session.connect()
    yield* Effect.promise(() =>
      session.post("HeapProfiler.startSampling", {
        samplingInterval: 4096,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: false
      })
    )
    yield* repeated
    const { profile } = yield* Effect.promise(() => session.post("HeapProfiler.stopSampling"))
    session.disconnect()
    const sizeOf = ({ children, selfSize }: HeapProfiler.SamplingHeapProfileNode): number =>
      children.reduce((sum, child) => sum + sizeOf(child), selfSize)
    return sizeOf(profile.head) / times
  })

  it.live("leaves little that only a full garbage collection would take", () =>
    Effect.gen(function* () {
      const add = AgentTool.fromFunction("add", { description: "Adds", execute: () => 1 })
      const finish = { type: "finish", reason: "stop", usage: { inputTokens: {}, outputTokens: {} } } as never
      const answers = (prompt: Prompt.Prompt) =>
        Effect.succeed([
          prompt.content.length > 1
            ? ({ type: "text", text: "done" } as const)
            : ({ type: "tool-call", id: "c", name: "add", params: {} } as const),
          finish
        ])
      const model = yield* LanguageModel.make({
        generateText: ({ prompt }) => Effect.map(answers(prompt), (parts) => [...parts]),
        streamText: () => Stream.empty
      })
      const context = ModelInfo.context(
        model,
        { provider: "p", model: "m", structuredOutput: true },
        { generateText: ({ prompt }) => answers(prompt), streamText: () => Stream.empty }
      )
      const run = Effect.provideContext(Agent.make("agent", { tools: [add] }).run("go"), context)
      // What is alive when it is measured counts too, so the least of three is taken. A generator function that was made for
      // each run held on to more than 12,000.
      const measured = yield* Effect.forEach([1, 2, 3], () => survivors(run, 5000))
      assert.isBelow(Math.min(...measured), 7000)
    })
  )
})
