/** Which runners a server takes, and what its Layer still needs. Only compiled. */
import { Context, Effect, Layer, Schema } from "effect"
import type { LanguageModel } from "effect/ai"
import type { HttpRouter } from "effect/http"
import { Agent, AgentServer, Chain, DemoModel, Runner } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class Db extends Context.Service<Db, { readonly n: number }>()("Db") {}
const desk = Agent.make("desk", {})
const chain = Chain.make("chain", [desk, Agent.make("second", {})])
const count = Runner.make("count", {
  run: ({ n }: { readonly n: number }) => Effect.map(Db, (db) => n + db.n)
})
const Count = Schema.Struct({ n: Schema.Int })

type NeedsOf<L> = L extends Layer.Layer<never, infer _E, infer R> ? R : never

const server = AgentServer.serve({ runners: { desk, chain }, port: 3000 })
proven<Equal<NeedsOf<typeof server>, LanguageModel.LanguageModel>>()
const launched: Layer.Layer<never, AgentServer.ServeError, LanguageModel.LanguageModel> = server
void launched

const both = AgentServer.layer({ runners: { desk, count: { runner: count, input: Count } } })
proven<Equal<NeedsOf<typeof both>, LanguageModel.LanguageModel | Db | HttpRouter.HttpRouter>>()

// @ts-expect-error -- it does not take a text
AgentServer.serve({ runners: { count }, port: 3000 })
// @ts-expect-error -- the schema does not decode to what it takes
AgentServer.serve({ runners: { count: { runner: count, input: Schema.String } }, port: 3000 })
// @ts-expect-error -- not a runner
AgentServer.serve({ runners: { desk: "desk" }, port: 3000 })
// @ts-expect-error -- no port
AgentServer.serve({ runners: { desk } })

AgentServer.toWebHandler({ runners: { desk } }, DemoModel.layer)
AgentServer.toWebHandler({ runners: { desk } }, Layer.merge(DemoModel.layer, Layer.succeed(Db, { n: 1 })))
// @ts-expect-error -- the Layer gives no model
AgentServer.toWebHandler({ runners: { desk } }, Layer.empty)
// @ts-expect-error -- the Layer gives no Db
AgentServer.toWebHandler({ runners: { count: { runner: count, input: Count } } }, DemoModel.layer)
