/** A server in a process of its own, for tests of its end: it sends its address, and ends with SIGTERM. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer } from "effect"
import * as AgentServer from "troupe/AgentServer"
import * as Runner from "troupe/Runner"

const endless = Runner.make("endless", { run: (text: string) => Effect.as(Effect.never, text) })
const brief = Runner.make("brief", { run: (text: string) => Effect.delay(Effect.succeed(text), "300 millis") })
const server = AgentServer.serve({ runners: { endless, brief }, port: 0, drain: "600 millis" })
const announced = Layer.effectDiscard(
  Effect.map(AgentServer.Listening, ({ url }) => {
    process.send!(url)
  })
)
Layer.launch(Layer.provideMerge(announced, server)).pipe(NodeRuntime.runMain)
