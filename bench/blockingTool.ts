/** A tool that blocks its thread for a while, in the module that `eventLoop.ts` runs in place and in a worker. */
import * as Schema from "effect/Schema"
import * as AgentTool from "../dist/AgentTool.js"

export default AgentTool.fromFunction("block", {
  description: "Keeps a processor busy",
  parameters: Schema.Struct({ ms: Schema.Finite }),
  execute: ({ ms }) => {
    const until = performance.now() + ms
    let sum = 0
    while (performance.now() < until) sum += Math.sqrt(sum + 1)
    return sum > 0
  }
})
