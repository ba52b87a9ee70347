/** A tool of agents as a tool of an MCP server: each call is a run of its own. */
import * as Effect from "effect/Effect"
import * as EffectTool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import type * as AgentTool from "../../../../AgentTool.ts"
import { takesNothing } from "../../../../internal/toolDefinition.ts"
import { markOf, RunsAtClient } from "../../../../internal/toolMarks.ts"
import { InvalidDefinition } from "../../../../RunError.ts"
import * as Runner from "../../../../Runner.ts"
import { type Annotations, make, type Tool } from "./tool.ts"

const AnyFields = Schema.Record(Schema.String, Schema.Unknown)

/** Makes the MCP tool. Throws `InvalidDefinition` for a tool that only an agent's run can use. */
export const ofAgentTool = (self: AgentTool.Any): Tool<unknown> => {
  const { name, timeout, tool } = self
  const refuse = (problem: string, remedy: string) =>
    new InvalidDefinition({ subject: `MCP tool "${name}"`, problem, remedy })
  if (markOf(tool, RunsAtClient)) throw refuse("the caller of an agent's run has to run it", "Serve the agent")
  if (tool.needsApproval !== undefined && tool.needsApproval !== false) {
    throw refuse(
      "its calls need approval, for which a server has no one to ask",
      "Serve an agent that has it, or one without needsApproval: MCP clients ask their users themselves"
    )
  }
  const isEmpty = takesNothing(tool)
  const runner = Runner.make(name, {
    description: tool.description,
    run: (params: unknown) => Effect.flatMap(contextOf, (context) => self.execute(params, context, () => {}))
  })
  return make(runner, {
    parameters: isEmpty ? AnyFields : tool.parametersSchema,
    input: (params: unknown) => (isEmpty ? {} : params),
    // Without a schema a result is converted as it is.
    output: tool.successSchema === Schema.Unknown ? undefined : (tool.successSchema as Schema.Schema<unknown>),
    annotations: annotationsOf(tool),
    timeout
  })
}

/** What a tool knows of the run that it works for. Outside of an agent there is one call in it. */
const contextOf = Effect.map(Effect.flatMap(Runner.current, Effect.fromOption), (run) => ({
  ...run,
  toolCallId: run.runId,
  idempotencyKey: run.runId,
  step: 1,
  progress: () => Effect.void
}))

const annotationsOf = (tool: EffectTool.Any): Annotations => ({
  readOnlyHint: markOf(tool, EffectTool.Readonly),
  destructiveHint: markOf(tool, EffectTool.Destructive),
  idempotentHint: markOf(tool, EffectTool.Idempotent),
  openWorldHint: markOf(tool, EffectTool.OpenWorld)
})
