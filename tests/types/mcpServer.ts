/** What the types of `McpServerLayer` promise: the services of all tools are asked for, and inputs have to fit. */
import { type Config, Context, Effect, type Layer, Schema } from "effect"
import { type LanguageModel, type McpSchema, McpServer } from "effect/ai"
import { Agent, McpServerLayer, Runner } from "troupe"

declare const expect: <Expected>() => <Actual>(
  actual: Actual,
  ...same: [Expected, Actual] extends [Actual, Expected] ? [] : [never]
) => void

class Store extends Context.Service<Store, { readonly get: string }>()("test/Store") {}
const agent = Agent.make("agent", { description: "d", instructions: "i" })
const stored = Runner.make("stored", { description: "d", run: () => Effect.map(Store, ({ get }) => get) })
class Service extends Agent.Service<Service>()("test/Service", { description: "d", instructions: "i" }) {}

expect<Layer.Layer<McpServerLayer.Served, McpServerLayer.ListenError, LanguageModel.LanguageModel | Store>>()(
  McpServerLayer.serve({ tools: [agent, stored, McpServerLayer.tool(stored, { name: "other" })] })
)
expect<Layer.Layer<McpServerLayer.Served, McpServerLayer.ListenError, Service>>()(
  McpServerLayer.serve({ tools: [Service] })
)
expect<Effect.Effect<void, McpServerLayer.ListenError>>()(McpServerLayer.run({ tools: [] }))
expect<Layer.Layer<never, never, McpServer.McpServer | Store>>()(McpServerLayer.layer({ tools: [stored] }))

// What each request brings with it is not asked for.
const asking = Runner.make("asking", {
  description: "d",
  run: () => Effect.map(McpServer.clientCapabilities, (capabilities) => Object.keys(capabilities).join())
})
expect<Effect.Effect<void, McpServerLayer.ListenError>>()(McpServerLayer.run({ tools: [asking] }))

// Errors and services of registrations join the server's.
declare const registrations: Layer.Layer<never, Config.ConfigError, McpServer.McpServer | Store>
expect<Layer.Layer<McpServerLayer.Served, McpServerLayer.ListenError | Config.ConfigError, Store>>()(
  McpServerLayer.serve({ tools: [], registrations })
)

const counted = Runner.make("counted", { description: "d", run: (count: number) => Effect.succeed(count) })
// @ts-expect-error -- its input is no text
McpServerLayer.serve({ tools: [counted] })
// @ts-expect-error -- its input is no text, and nothing makes one
McpServerLayer.tool(counted)
// @ts-expect-error -- the parameters make no number
McpServerLayer.tool(counted, { parameters: Schema.Struct({ n: Schema.String }), input: ({ n }) => n })

const tool = McpServerLayer.tool(counted, {
  parameters: Schema.Struct({ n: Schema.FiniteFromString }),
  input: ({ n }) => n,
  content: (output): ReadonlyArray<McpSchema.ContentBlock> => [{ type: "text", text: output.toFixed() }]
})
expect<McpServerLayer.McpTool<never>>()(tool)
