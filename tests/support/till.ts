/** A tool that needs approval, and an agent that has it. */
import { Schema } from "effect"
import { Agent, AgentTool } from "troupe"

/** Makes the tool `pay`, a list of what it has paid, and the agent `clerk`. */
export const till = () => {
  const paid: Array<number> = []
  const pay = AgentTool.fromFunction("pay", {
    description: "Pays",
    parameters: Schema.Struct({ amount: Schema.Finite }),
    needsApproval: true,
    execute: ({ amount }) => {
      paid.push(amount)
      return "paid"
    }
  })
  return { paid, pay, clerk: Agent.make("clerk", { description: "Pays", tools: [pay] }) }
}
