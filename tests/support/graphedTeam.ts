/** Agents that hand over to each other, for the tests of `troupe graph`. */
import { Agent, Handoffs } from "../../src/index.ts"

export default Handoffs.make(
  "desk",
  {
    triage: Agent.make("triage", { tools: [Handoffs.to("billing"), Handoffs.to("technical")] }),
    billing: Agent.make("billing", {}),
    technical: Agent.make("technical", { tools: [Handoffs.to("triage")] })
  },
  { start: "triage" }
)
