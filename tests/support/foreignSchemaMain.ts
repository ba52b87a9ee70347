/** A program for `tests/agents/definitions.test.ts`: defines agents and tools with schemas of a second copy of effect. */
import { registerHooks } from "node:module"
import { Schema } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Runner from "troupe/Runner"

// A module that is imported with this mark, or by one with it, is loaded a second time.
const mark = "?copy"
registerHooks({
  resolve: (specifier, context, next) => {
    const marked = specifier.endsWith(mark) || context.parentURL?.endsWith(mark) === true
    const found = next(specifier.replace(mark, ""), context)
    return marked && found.url.startsWith("file:") ? { ...found, url: `${found.url}${mark}` } : found
  }
})
const foreign = (await import("effect/Schema?copy" as "effect/Schema")) as typeof Schema

const refusal = (make: () => unknown): string => {
  try {
    make()
    return "accepted"
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  }
}
const add = (parameters: Schema.Top, success?: Schema.Top) => () =>
  AgentTool.fromFunction("add", { description: "Adds", parameters, success, execute: () => 1 })

console.log(
  JSON.stringify({
    same: (foreign as unknown) === Schema,
    own: refusal(add(Schema.Struct({ a: Schema.Finite }))),
    parameters: refusal(add(foreign.Struct({ a: foreign.Finite }))),
    field: refusal(add(Schema.Struct({ a: Schema.Array(foreign.Finite) }))),
    success: refusal(add(Schema.Struct({ a: Schema.Finite }), foreign.String)),
    output: refusal(() => Agent.make("agent", { output: foreign.Struct({ a: foreign.Finite }) })),
    runner: refusal(() => Runner.make("runner", { output: foreign.String, run: () => ({}) as never }))
  })
)
