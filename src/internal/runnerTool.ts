/** How a runner becomes a tool for another agent. It touches the definitions of tools, and runs the runner. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import * as AgentTool from "../AgentTool.ts"
import { InvalidDefinition } from "../RunError.ts"
import type { Runner } from "../Runner.ts"
import { describe } from "./structure.ts"
import { define, delegation, guarded, type Hints } from "./toolDefinition.ts"
import { Resumable } from "./toolMarks.ts"

/** How {@link asTool} shows a runner to a model. */
export interface AsToolOptions<Name extends string, Parameters extends Schema.Top, Input> {
  /** The tool's name; the runner's by default, with what providers refuse replaced by `_`. */
  readonly name?: Name | undefined
  /** The tool's description; the runner's by default, or for a workflow without one what its members say. */
  readonly description?: string | undefined
  /** What the model fills in, and how it becomes the runner's input. Default: a text, `{ input: string }`. */
  readonly parameters?: Parameters | undefined
  readonly input?: ((params: Parameters["Type"]) => Input) | undefined
  /** What a failed run does: the model sees it (`"return"`, default), or the calling run fails too (`"error"`). */
  readonly failureMode?: "return" | "error" | undefined
  /** How long one run may take; then it is interrupted and counts as a failed call. */
  readonly timeout?: Duration.Input | undefined
  /**
   * What the run does, for approvers and MCP clients. Default: it destroys nothing and stays within its own system, because
   * the tools that the runner calls are decided on by themselves. Say so for a function that does more.
   */
  readonly hints?: Hints | undefined
  /** Whether a call needs approval before the run begins, see `Approvals`. Default `false`. */
  readonly needsApproval?: NeedsApproval<Parameters["Type"]> | undefined
}

/** Whether a call needs approval: always, or by its arguments and the conversation so far. */
export type NeedsApproval<Params> =
  | boolean
  | ((params: Params, context: Tool.NeedsApprovalContext) => boolean | Effect.Effect<boolean>)

/**
 * Makes a tool of any runner, for another agent. Its runs are nested in the calling run: events carry both names,
 * usage is summed, and interrupting the caller interrupts them. The model gets the output as JSON.
 *
 * Throws `InvalidDefinition` when an agent or a function has no description: it is all that the model knows of the
 * tool. A workflow without one is described by its members.
 *
 * @example
 * import { Agent, Runner } from "troupe"
 *
 * const researcher = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 * const writer = Agent.make("writer", { instructions: "You write.", tools: [Runner.asTool(researcher)] })
 */
export const asTool: {
  <A, E, R>(self: Runner<string, A, E, R>): AgentTool.AgentTool<string, R>
  <I, A, E, R, const Name extends string = string, Parameters extends Schema.Top = typeof TextInput>(
    self: Runner<I, A, E, R>,
    options: AsToolOptions<Name, Parameters, I> &
      (string extends I ? unknown : { readonly input: (params: Parameters["Type"]) => I })
  ): AgentTool.AgentTool<Name, R | Parameters["DecodingServices"]>
} = <I, A, E, R>(
  self: Runner<I, A, E, R>,
  options: AsToolOptions<string, Schema.Top, I> = {}
): AgentTool.AgentTool<string, R> => {
  const name = options.name ?? self.name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64)
  const description = options.description ?? self.description ?? describe(self.definition.structure())
  if (description === undefined || description.trim() === "") {
    throw new InvalidDefinition({
      subject: `runner "${self.name}" as a tool`,
      problem: "it has no description",
      remedy: "Describe it where it is made, or give asTool a description"
    })
  }
  const defined = define(
    name,
    description,
    options.parameters ?? TextInput,
    Schema.Unknown,
    options.failureMode ?? "return"
  )
  const hints = { ...delegation, ...options.hints }
  const tool = guarded(defined, { hints, needsApproval: options.needsApproval })
    // A function would begin again from its start.
    .annotate(Resumable, self.definition.structure().kind !== "function")
  const toInput = options.input ?? ((params: { readonly input: string }) => params.input as I)
  const execute = (params: unknown) =>
    Effect.map(self.run(toInput(params as { readonly input: string })), self.definition.encode)
  return AgentTool.make(name, "effect", tool, options.timeout, execute, self)
}

const TextInput = Schema.Struct({
  input: Schema.String.annotate({ description: "The task, with everything needed to do it" })
})
