/** What agents do in proportion to their work, and not to its square. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Prompt, type Response } from "effect/ai"
import { Agent, AgentTool, TestModel, ToolSource } from "troupe"
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
  const from = (
    subject: string,
    tools: ToolSet.ToolSet,
    sources: ReadonlyArray<ToolSource.Any>,
    sourced?: ToolSet.Sourced
  ) => ToolSet.fromSources(subject, tools, sources, { sourced, offer: undefined }) as Effect.Effect<ToolSet.Sourced>
  const sources = (count: number) =>
    Array.from({ length: count }, (_, n) => {
      const tools = [tool(`tool_${n}`)]
      return ToolSource.make(`source ${n}`, () => Effect.succeed(tools), { names: [`tool_${n}`] })
    })

  it.effect("are put together once a step, and the set is kept while their lists are the same", () =>
    Effect.gen(function* () {
      const many = sources(50)
      const first = yield* from("agent", ToolSet.none, many)
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
      yield* from("agent", base, [source("a"), source("b")])
      assert.deepStrictEqual(seen, [
        ["b", "base"],
        ["a", "base"]
      ])
    })
  )
})
