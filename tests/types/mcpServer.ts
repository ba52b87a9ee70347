/** What the types of `McpServer` promise: the services of all tools are asked for, and inputs have to fit. */
import { type Config, Context, Effect, Layer, Schema } from "effect"
import { type LanguageModel, type McpSchema, McpServer as EffectMcpServer } from "effect/ai"
import {
  Agent,
  AgentTool,
  McpServer,
  Memory,
  type MemoryStore,
  Runner,
  type SessionStore,
  Skills,
  type TraceStore
} from "troupe"

declare const expect: <Expected>() => <Actual>(
  actual: Actual,
  ...same: [Expected, Actual] extends [Actual, Expected] ? [] : [never]
) => void

class Store extends Context.Service<Store, { readonly get: string }>()("test/Store") {}
const agent = Agent.make("agent", { description: "d", instructions: "i" })
const stored = Runner.make("stored", { description: "d", run: () => Effect.map(Store, ({ get }) => get) })
class Service extends Agent.Service<Service>()("test/Service", { description: "d", instructions: "i" }) {}

expect<Layer.Layer<McpServer.Served, McpServer.ListenError, LanguageModel.LanguageModel | Store>>()(
  McpServer.serve({ tools: [agent, stored, McpServer.tool(stored, { name: "other" })] })
)
expect<Layer.Layer<McpServer.Served, McpServer.ListenError, Service>>()(McpServer.serve({ tools: [Service] }))
expect<Effect.Effect<void, McpServer.ListenError>>()(McpServer.run({ tools: [] }))
expect<Layer.Layer<never, never, EffectMcpServer.McpServer | Store>>()(McpServer.layer({ tools: [stored] }))

// What each request brings with it is not asked for.
const asking = Runner.make("asking", {
  description: "d",
  run: () => Effect.map(EffectMcpServer.clientCapabilities, (capabilities) => Object.keys(capabilities).join())
})
expect<Effect.Effect<void, McpServer.ListenError>>()(McpServer.run({ tools: [asking] }))

// Errors and services of registrations join the server's.
declare const registrations: Layer.Layer<never, Config.ConfigError, EffectMcpServer.McpServer | Store>
expect<Layer.Layer<McpServer.Served, McpServer.ListenError | Config.ConfigError, Store>>()(
  McpServer.serve({ tools: [], registrations })
)

const counted = Runner.make("counted", { description: "d", run: (count: number) => Effect.succeed(count) })
// @ts-expect-error -- its input is not a string
McpServer.serve({ tools: [counted] })
// @ts-expect-error -- its input is not a string, and nothing makes one
McpServer.tool(counted)
// @ts-expect-error -- the parameters make no number
McpServer.tool(counted, { parameters: Schema.Struct({ n: Schema.String }), input: ({ n }) => n })

const tool = McpServer.tool(counted, {
  parameters: Schema.Struct({ n: Schema.FiniteFromString }),
  input: ({ n }) => n,
  content: (output): ReadonlyArray<McpSchema.ContentBlock> => [{ type: "text", text: output.toFixed() }]
})
expect<McpServer.McpTool<never>>()(tool)

// So do those of tools of agents, of stores, skills and prompts.
const stores = McpServer.serve({
  tools: [...Memory.tools({ namespace: "n" }), ...Skills.tools()],
  registrations: Layer.mergeAll(
    McpServer.memory({ namespace: "n" }),
    McpServer.sessions(),
    McpServer.traces(),
    McpServer.skills(),
    McpServer.prompt("p", {
      description: "d",
      parameters: { n: Schema.FiniteFromString },
      prompt: ({ n }) => Effect.map(Store, ({ get }) => get + n.toFixed())
    })
  )
})
expect<
  Layer.Layer<
    McpServer.Served,
    McpServer.ListenError,
    MemoryStore.MemoryStore | SessionStore.SessionStore | TraceStore.TraceStore | Skills.Skills | Store
  >
>()(stores)
const plain = AgentTool.fromFunction("plain", { description: "d", execute: () => 1 })
expect<Layer.Layer<McpServer.Served, McpServer.ListenError>>()(McpServer.serve({ tools: [plain] }))
// @ts-expect-error -- there is no such parameter
McpServer.prompt("p", { description: "d", parameters: { a: Schema.String }, prompt: ({ b }) => b })
