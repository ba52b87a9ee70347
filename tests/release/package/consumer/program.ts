/** What a user's TypeScript project could hold. It is compiled and run in an empty project that has the packed package. */
import { Effect, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, type RunEvent, Runner, SyncEdge, TestModel } from "troupe"
import * as AgentFromSubpath from "troupe/Agent"

const Add = Tool.make("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})
const kit = Toolkit.make(Add)
const KitLive = kit.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })
const half = AgentTool.fromFunction("half", {
  description: "Halve a number",
  parameters: Schema.Struct({ n: Schema.Finite }),
  execute: ({ n }) => n / 2
})

const Model = TestModel.layer([
  TestModel.toolCalls({ name: "add", params: { a: 2, b: 40 } }, { name: "half", params: { n: 84 } }),
  "42, twice"
])

const calculator = Agent.make("calculator", { instructions: "You do arithmetic.", toolkit: kit, tools: [half] })
const live = Layer.mergeAll(Model, KitLive)

const answer: string = await Effect.runPromise(calculator.run("What is 2 + 40?").pipe(Effect.provide(live)))
const same: string = Effect.runSync(
  calculator.run("What is 2 + 40?").pipe(Effect.provide(live), Effect.provide(SyncEdge.layer))
)
const short: Runner.Runner<
  Parameters<typeof calculator.run>[0],
  number,
  Agent.Error,
  Runner.Services<typeof calculator>
> = Runner.map(calculator, (text) => text.length)
const result: Runner.Result<number> = await Effect.runPromise(short.result("?").pipe(Effect.provide(live)))
const events: ReadonlyArray<RunEvent.RunEvent> = await Effect.runPromise(
  calculator.stream("?").pipe(Stream.runCollect, Effect.provide(live))
)
console.log(
  JSON.stringify({
    answer,
    same,
    length: result.output,
    steps: result.steps,
    last: events.at(-1)?._tag,
    oneModule: AgentFromSubpath.make === Agent.make
  })
)
