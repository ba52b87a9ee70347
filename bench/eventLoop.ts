/**
 * What a blocking tool does to the event loop: its delay while an agent calls the tool, in place and in a worker thread.
 * `npm run event-loop`, after `npm run build` in the project's folder.
 */
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import * as Effect from "effect/Effect"
import * as Agent from "../dist/agents/Agent.js"
import type * as AgentTool from "../dist/AgentTool.js"
import * as WorkerTool from "../dist/layers/worker/WorkerTool.js"
import * as TestModel from "../dist/layers/testing/TestModel.js"
import block from "./blockingTool.ts"

const ms = 250
const calls = 4
const script = TestModel.layer((call) =>
  call.prompt.content.some((message) => message.role === "tool")
    ? "done"
    : TestModel.toolCalls(...Array.from({ length: calls }, () => ({ name: "block", params: { ms } })))
)

const measure = async (tool: AgentTool.AgentTool<string, never> | undefined) => {
  const agent = Agent.make("agent", { tools: tool === undefined ? [] : [tool] })
  const work = tool === undefined ? Effect.sleep(ms * calls) : Effect.provide(agent.run("go"), script)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  const started = performance.now()
  delay.enable()
  // A turn before and one after, or a loop that stands still the whole time would show no delay.
  await setTimeout(20)
  await Effect.runPromise(work)
  const wall = performance.now() - started - 20
  await setTimeout(20)
  delay.disable()
  clearInterval(timer)
  const figure = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(1)
  return [wall.toFixed(0), ticks, figure(delay.percentile(50)), figure(delay.percentile(99)), figure(delay.max)]
}

const inWorker = WorkerTool.fromModule(new URL("./blockingTool.ts", import.meta.url))
// Threads start once, not with each call.
await measure(inWorker)
const rows = [
  ["no tool, only a timer", ...(await measure(undefined))],
  ["in place", ...(await measure(block))],
  ["in a worker thread", ...(await measure(inWorker))]
]
console.log(`Node ${process.version}: ${calls} calls of a tool that is busy for ${ms} ms, all figures in ms.`)
console.log("")
console.log("| | wall | ticks of a 5 ms timer | delay p50 | delay p99 | delay max |")
console.log("|---|---|---|---|---|---|")
for (const row of rows) console.log(`| ${row.join(" | ")} |`)
