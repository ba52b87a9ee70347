/** The tool of `workerTool.ts`, in a module of its own: it keeps a processor busy, so a worker thread runs it. */
import { Schema } from "effect"
import { AgentTool } from "troupe"

export default AgentTool.fromFunction("count_primes", {
  description: "Counts the prime numbers below a limit",
  parameters: Schema.Struct({ limit: Schema.Int }),
  success: Schema.Int,
  execute: ({ limit }) => {
    let count = 0
    for (let n = 2; n < limit; n++) {
      let prime = true
      for (let d = 2; d * d <= n && prime; d++) prime = n % d !== 0
      if (prime) count++
    }
    return count
  }
})
