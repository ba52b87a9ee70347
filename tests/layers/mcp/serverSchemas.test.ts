/** The schemas that a tool of an MCP server takes from its runner. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, McpServer, Parallel, Runner } from "troupe"

const Order = Schema.Struct({ id: Schema.String, due: Schema.DateFromString })
/** As a program without types gives a runner. */
const untyped = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>) =>
  McpServer.tool(runner as unknown as Runner.Runner<string, A, E, R>)
const propertiesOf = ({ descriptor }: McpServer.McpTool<never>) =>
  Object.keys((descriptor.inputSchema as { readonly properties: object }).properties)

describe("a runner as a tool of an MCP server", () => {
  it.effect("takes what its input schema says, and answers by its output schema", () =>
    Effect.gen(function* () {
      const ship = Runner.make("ship", {
        description: "Ships",
        input: Order,
        output: Schema.Date,
        run: (order: typeof Order.Type) => Effect.succeed(order.due)
      })
      const tool = untyped(ship)
      assert.deepStrictEqual(propertiesOf(tool), ["id", "due"])
      const answer = yield* tool.call({ id: "1", due: "2026-01-02" }, undefined)
      assert.deepStrictEqual(answer.structuredContent, { result: "2026-01-02T00:00:00.000Z" })
      const error = yield* Effect.flip(tool.call({ id: 1 }, undefined))
      assert.include(error, 'Invalid arguments for tool "ship"')
    })
  )

  it.effect("takes an input that is not an object as one field", () =>
    Effect.gen(function* () {
      const double = Runner.make("double", {
        description: "Doubles",
        input: Schema.Int,
        run: (n: number) => Effect.succeed(n * 2)
      })
      assert.deepStrictEqual(propertiesOf(untyped(double)), ["input"])
      const answer = yield* untyped(double).call({ input: 21 }, undefined)
      assert.deepStrictEqual(answer.content, [{ type: "text", text: "42" }])
    })
  )

  it("has an output schema for a workflow whose members have one, and none for a text", () => {
    const writer = Agent.make("writer", { description: "Writes" })
    assert.strictEqual(McpServer.tool(writer).descriptor.outputSchema, undefined)
    const both = Parallel.make("both", { writer, other: writer }, { description: "Writes twice" })
    const schema = McpServer.tool(both).descriptor.outputSchema as { readonly properties: object }
    assert.deepStrictEqual(Object.keys(schema.properties), ["writer", "other"])
  })
})
