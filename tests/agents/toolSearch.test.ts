/** Tools that the model finds by a search tool. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Schema } from "effect"
import { type LanguageModel, Prompt, Tool } from "effect/ai"
import { Agent, AgentTool, Approvals, Runner, TestModel, ToolSearch, ToolSource } from "troupe"
import * as vitest from "vitest"
import { catalog, wanted } from "../support/toolCatalog.ts"

const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const offered = Effect.map(calls, (all) => all.map(({ tools }) => tools))
const tool = (name: string, description: string, needsApproval = false) =>
  AgentTool.fromFunction(name, { description, needsApproval, execute: () => `${name}: done` })
const few = [
  tool("me", "Who the user is"),
  tool("dig", "Dig a hole"),
  tool("fly", "Fly a kite"),
  tool("sing", "Sing a song")
]
const searching = (query: string) => TestModel.toolCall("search_tools", { query })

describe("tools that are found", () => {
  const agent = Agent.make("agent", { tools: [ToolSearch.make(few, { always: ["me"], max: 1 })] })

  it.effect("are added after the others in the order in which they were found, and stay", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agent.result("go")
      assert.deepStrictEqual(yield* offered, [
        ["me", "search_tools"],
        ["me", "search_tools", "sing"],
        ["me", "search_tools", "sing", "dig"],
        ["me", "search_tools", "sing", "dig"]
      ])
      assert.include(JSON.stringify(transcript.content), "dig: done")
    }).pipe(
      Effect.provide(TestModel.layer([searching("a song"), searching("hole"), TestModel.toolCall("dig", {}), "done"]))
    )
  )

  it.effect("are there in a run that goes on from the transcript, also from JSON", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agent.result("go")
      const stored = Schema.decodeUnknownSync(Prompt.Prompt)(
        JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript)))
      )
      yield* agent.run(Prompt.concat(stored, "and then?"))
      assert.deepStrictEqual((yield* offered).at(-1), ["me", "search_tools", "sing"])
    }).pipe(Effect.provide(TestModel.layer([searching("a song"), "done", "then"])))
  )

  it.effect("that wait for approval are there when the run goes on", () =>
    Effect.gen(function* () {
      const careful = Agent.make("agent", { tools: [ToolSearch.make([tool("launch", "Launch a rocket", true)])] })
      const waiting = yield* Effect.flip(careful.run("go"))
      if (waiting._tag !== "RunSuspended") return assert.fail(waiting._tag)
      const [first] = waiting.waitingFor
      const answered = Runner.answer(waiting.transcript, { [first.id]: Approvals.approve })
      assert.strictEqual(yield* careful.run(answered), "done")
    }).pipe(Effect.provide(TestModel.layer([searching("rocket"), TestModel.toolCall("launch", {}), "done"])))
  )

  it.effect("come from sources too, whose changes are seen", () =>
    Effect.gen(function* () {
      let list = [tool("dig", "Dig a hole")]
      const source = ToolSource.make("changing", () => Effect.sync(() => list))
      const changing = AgentTool.fromFunction("grow", {
        description: "Grow",
        execute: () => {
          list = [tool("plant", "Plant a tree"), tool("dig", "Dig a hole")]
          return "grown"
        }
      })
      const agent = Agent.make("agent", { tools: [changing, ToolSearch.make([source])] })
      yield* agent.run("go")
      assert.deepStrictEqual(yield* offered, [
        ["grow", "search_tools"],
        ["grow", "search_tools"],
        ["grow", "search_tools", "plant"]
      ])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("grow", {}), searching("a tree"), "done"])))
  )

  it.effect("are not there where nothing fits, which the model sees", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agent.result("go")
      assert.include(JSON.stringify(transcript.content), "Nothing was found. Search with other words.")
    }).pipe(Effect.provide(TestModel.layer([searching("quantum"), "done"])))
  )

  it.effect("can be searched with a name of its own, and what it is about", () =>
    Effect.gen(function* () {
      const found = ToolSearch.make(few, { name: "find", about: "tools for the garden" })
      const agent = Agent.make("agent", { tools: [found] })
      yield* agent.run("go")
      assert.deepStrictEqual((yield* offered)[0], ["find"])
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("are those of each search, where an agent has two", () =>
    Effect.gen(function* () {
      const garden = ToolSearch.make([tool("dig", "Dig a hole")], { name: "find_garden" })
      const music = ToolSearch.make([tool("sing", "Sing a song")], { name: "find_music" })
      const agent = Agent.make("agent", { tools: [garden, music] })
      yield* agent.run("go")
      assert.deepStrictEqual((yield* offered).at(-1), ["find_garden", "find_music", "dig", "sing"])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("find_garden", { query: "a hole" }),
          TestModel.toolCall("find_music", { query: "a song" }),
          "done"
        ])
      )
    )
  )

  it.effect("are refused for what is not a tool", () =>
    Effect.sync(() => {
      assert.throws(() => ToolSearch.make([Agent.make("a", {})] as never), /tools\[0\] is an object, neither a tool/)
      assert.throws(() => ToolSearch.make([], { max: 0 }), /max is 0/)
    })
  )
})

vitest.it(
  "a search finds the right one of two hundred tools, and a request is a small part of that with all",
  async () => {
    const size = (tools: ReadonlyArray<AgentTool.Any>) =>
      tools.reduce(
        (sum, { tool }) =>
          sum +
          JSON.stringify({ name: tool.name, description: tool.description, parameters: Tool.getJsonSchema(tool) })
            .length,
        0
      )
    const source = ToolSearch.make(catalog, { max: 5 })
    const shown = await Effect.runPromise(
      source.list(new Set()) as Effect.Effect<ReadonlyArray<AgentTool.AgentTool<string, never>>>
    )
    const search = shown[0]!
    const found = await Promise.all(
      wanted.map(async ([query, name]) => {
        const info = { runId: "r", path: [], idempotencyKey: "k" } as never
        const result = (await Effect.runPromise(
          search.execute({ query }, info, () => {}) as Effect.Effect<unknown>
        )) as {
          readonly tools: ReadonlyArray<{ readonly name: string }>
        }
        const names = result.tools.map(({ name }) => name)
        return { query, at: names.indexOf(name), names }
      })
    )
    const within = found.filter(({ at }) => at >= 0).length
    const first = found.filter(({ at }) => at === 0).length
    const five = catalog.filter((one) => found[0]!.names.includes(one.name))
    const ratio = (size(shown) + size(five)) / size(catalog)
    if (process.env["TROUPE_MEASURE"] !== undefined) {
      process.stderr.write(
        `${catalog.length} tools, ${wanted.length} searches: ${within} within five, ${first} first; ${size(catalog)} bytes for all tools, ${size(shown)} for the search, ${size(shown) + size(five)} with five found\n${JSON.stringify(found.filter(({ at }) => at < 0))}\n`
      )
    }
    assert.isAtLeast(within, wanted.length * 0.9)
    assert.isBelow(ratio, 0.1)
  }
)

/** Picks a tool as a model does that goes by words alone: the one of those that it is shown that shares most words with what is wanted. */
const picking = (query: string, shown: ReadonlyArray<string>): string => {
  const stems = (text: string) =>
    new Set(
      text
        .toLowerCase()
        .match(/[a-z]{3,}/g)
        ?.map((word) => word.slice(0, 5)) ?? []
    )
  const asked = stems(query)
  const scoreOf = ({ name, tool }: AgentTool.Any) => {
    const [named, described] = [stems(name.replaceAll("_", " ")), stems(tool.description ?? "")]
    return [...asked].reduce((sum, one) => sum + (named.has(one) ? 2 : 0) + (described.has(one) ? 1 : 0), 0)
  }
  const known = catalog.filter(({ name }) => shown.includes(name))
  return known.toSorted((a, b) => scoreOf(b) - scoreOf(a))[0]!.name
}

vitest.it(
  "a model that goes by words picks as well among what was found as among all, with one step more and few of the bytes",
  async () => {
    const source = ToolSearch.make(catalog, { max: 5 })
    // All of them were measured for the guide.
    const some = wanted.filter((_, n) => n % 3 === 0)
    const measured = async (agent: Agent.Agent<string, unknown, LanguageModel.LanguageModel>) => {
      let right = 0
      let steps = 0
      let bytes = 0
      for (const [query, name] of some) {
        const model = TestModel.layer(({ prompt, tools }) => {
          const last = JSON.stringify(prompt.content.at(-1))
          if (prompt.content.at(-1)?.role === "tool" && !last.includes('"name":"search_tools"')) return "done"
          bytes += catalog
            .filter((one) => tools.includes(one.name))
            .reduce(
              (sum, { tool }) =>
                sum + JSON.stringify(Tool.getJsonSchema(tool)).length + (tool.description ?? "").length,
              0
            )
          if (last.includes("Nothing was found")) return "done"
          if (tools.length === 1) return searching(query)
          const picked = picking(query, tools)
          if (picked === name) right++
          return TestModel.toolCall(picked, {})
        })
        const result = await Effect.runPromise(Effect.provide(agent.result(query), model))
        steps += result.steps
      }
      return { right, steps: steps / some.length, bytes: bytes / some.length }
    }
    const all = await measured(Agent.make("agent", { tools: catalog }) as never)
    const found = await measured(Agent.make("agent", { tools: [source] }) as never)
    assert.isAtLeast(found.right, all.right)
    assert.strictEqual(all.steps, 2)
    assert.closeTo(found.steps, 3, 0.1)
    assert.isBelow(found.bytes, all.bytes / 10)
  }
)
