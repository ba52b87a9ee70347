/** An agent for `troupe chat`, with a model of its own: it hangs, pays on approval, or counts the turns. */
import { Schema } from "effect"
import { Agent, AgentTool, Runner, TestModel, Transcript } from "troupe"

const pay = AgentTool.fromFunction("pay", {
  description: "Pays",
  parameters: Schema.Struct({ to: Schema.String }),
  needsApproval: true,
  execute: ({ to }) => `paid ${to}`
})

export default Agent.make("agent", { tools: [pay] }).pipe(
  Runner.provide(
    TestModel.layer(
      ({ prompt }) => {
        const turns = Transcript.turns(prompt)
        const { toolCalls, user } = turns.at(-1)!
        if (user === "hang") return { text: ["Let me think", " and think"], after: 1, hang: true }
        if (user === "pay" && toolCalls.length === 0) return TestModel.toolCall("pay", { to: "Ada" })
        const result = toolCalls[0]?.result ?? ""
        return `${turns.length} ${user} ${typeof result === "string" ? result : JSON.stringify(result)}`.trim()
      },
      { unused: "ignore" }
    )
  )
)
