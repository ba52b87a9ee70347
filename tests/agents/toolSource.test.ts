/** Sources of tools: asked before each step, alongside tools that are always there. */
import { it } from "@effect/vitest"
import { Cause, Context, Effect, Schema } from "effect"
import { Agent, AgentTool, Runner, TestModel, ToolSource } from "troupe"
import { describe, expect } from "vitest"

const tool = (name: string) => AgentTool.fromFunction(name, { description: "", execute: () => `${name} ran` })

describe("a source of tools", () => {
  it.effect("is asked before each step, with the names that are taken", () =>
    Effect.gen(function* () {
      const taken: Array<ReadonlyArray<string>> = []
      const source = ToolSource.make("growing", (names) =>
        Effect.sync(() => {
          taken.push([...names])
          return Array.from({ length: taken.length }, (_, index) => tool(`tool-${index}`))
        })
      )
      const shown: Array<ReadonlyArray<string>> = []
      const agent = Agent.make("agent", { tools: [tool("own"), source], toolChoice: { tool: "tool-0" } })
      const { transcript } = yield* agent.result("Go").pipe(
        Effect.provide(
          TestModel.layer(({ index, tools }) => {
            shown.push(tools)
            return index < 2
              ? TestModel.toolCalls({ name: `tool-${index}`, params: {} }, { name: "own", params: {} })
              : "done"
          })
        )
      )
      expect(taken).toEqual([["own"], ["own"], ["own"]])
      expect(shown).toEqual([
        ["own", "tool-0"],
        ["own", "tool-0", "tool-1"],
        ["own", "tool-0", "tool-1", "tool-2"]
      ])
      const results = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      expect(results.map((part) => part.type === "tool-result" && part.result)).toEqual([
        "tool-0 ran",
        "own ran",
        "tool-1 ran",
        "own ran"
      ])
    })
  )

  it.effect("that takes a tool away leaves its calls unanswered by it", () =>
    Effect.gen(function* () {
      let asked = 0
      const source = ToolSource.make("fading", () => Effect.sync(() => (asked++ === 0 ? [tool("gone")] : [])))
      const agent = Agent.make("agent", { tools: [source] })
      const { transcript } = yield* agent
        .result("Go")
        .pipe(Effect.provide(TestModel.layer([TestModel.toolCall("gone", {}), TestModel.toolCall("gone", {}), "done"])))
      const results = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      expect(results).toMatchObject([
        { result: "gone ran", isFailure: false },
        { result: { error: 'there is no tool "gone"; the tools are: none' }, isFailure: true }
      ])
    })
  )

  it.effect("brings its services into what the agent needs", () =>
    Effect.gen(function* () {
      class Names extends Context.Service<Names, ReadonlyArray<string>>()("test/Names") {}
      const source = ToolSource.make("named", () => Effect.map(Names, (names) => names.map(tool)))
      const agent = Agent.make("agent", { tools: [source], output: Schema.String })
      const needsNames: Effect.Effect<string, Agent.Error, Names | Effect.Services<ReturnType<typeof agent.run>>> =
        agent.run("Go")
      const shown = yield* needsNames.pipe(
        Effect.provideService(Names, ["a", "b"]),
        Effect.provide(TestModel.layer(({ tools }) => tools.join()))
      )
      expect(shown).toBe("a,b")
    })
  )

  it.effect("that gives a name twice, or one that is taken, is a defect of the run", () =>
    Effect.gen(function* () {
      for (const tools of [
        [ToolSource.make("twice", () => Effect.succeed([tool("a"), tool("a")]))],
        [tool("a"), ToolSource.make("taken", () => Effect.succeed([tool("a")]))]
      ]) {
        const exit = yield* Effect.exit(
          Agent.make("agent", { tools })
            .run("Go")
            .pipe(Effect.provide(TestModel.layer([], { unused: "ignore" })))
        )
        if (exit._tag === "Success") throw new Error("it succeeded")
        expect(Cause.squash(exit.cause)).toMatchObject({
          _tag: "InvalidDefinition",
          message: expect.stringContaining('two tools named "a"')
        })
      }
    })
  )

  it("shows in the diagram of its agent", () => {
    const agent = Agent.make("agent", { tools: [ToolSource.make("elsewhere", () => Effect.succeed([]))] })
    expect(Runner.toMermaid(agent)).toContain("elsewhere")
  })
})
