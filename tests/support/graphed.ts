/** Runners in a file, for the tests of `troupe graph`. */
import { Effect } from "effect"
import { Agent, Chain, Runner } from "../../src/index.ts"

export const shout = Runner.make("shouting", { run: (text: string) => Effect.succeed(text.toUpperCase()) })
export default Chain.make("letters", [Agent.make("writer", { instructions: "Answer briefly." }), shout])
