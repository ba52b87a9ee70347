/**
 * What a timeout does: the run is interrupted, and with it the tool that was under way, whose signal fires. The error
 * says what was spent. The model is scripted, so that it always asks for the slow tool.
 */
import { Effect, Schema, Stream } from "effect"
import { Agent, AgentTool, Runner, TestModel } from "troupe"

const report: Array<string> = []

const dig = AgentTool.fromFunction("dig", {
  description: "Dig a hole of some depth; takes a minute",
  parameters: Schema.Struct({ metres: Schema.Finite }),
  execute: ({ metres }, { signal }) =>
    new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => resolve(`${metres} m deep`), 60_000)
      signal.addEventListener("abort", () => {
        clearTimeout(timer)
        report.push("the tool has stopped")
        reject(new Error("stopped"))
      })
    })
})

const digger = Agent.make("digger", { instructions: "You dig.", tools: [dig] }).pipe(Runner.withTimeout("200 millis"))

const program = digger.stream("Dig a hole of 3 metres.").pipe(
  Stream.runForEach((event) => Effect.sync(() => report.push(event._tag))),
  Effect.catchTag("RunTimedOut", (error) =>
    Effect.sync(() => {
      report.push(error.message)
      for (const call of error.spent.toolCalls) report.push(`${call.tool}: ${call.status}`)
    })
  ),
  Effect.provide(TestModel.layer([TestModel.toolCall("dig", { metres: 3 })]))
)

await Effect.runPromise(program)
console.log(report.join("\n"))
if (!report.includes("the tool has stopped")) throw new Error("the tool was not stopped")
