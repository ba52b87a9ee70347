/**
 * Checks the definition of a tool where it is written: its name, its schemas, its durations. Makes tools of
 * `effect/ai`.
 */
import * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import { assertName, assertSchema, assertText, invalid } from "./definition.ts"
import { assertPlain, codec, jsonSchema } from "./jsonForm.ts"

/** The parameters of a tool that takes none. */
export const NoParameters = Schema.Struct({})

/** True for a struct without fields, which says as a schema that it is anything but null: arrays and texts as well. */
const hasNoFields = ({ ast }: Schema.Top): boolean =>
  ast._tag === "Objects" && ast.propertySignatures.length === 0 && ast.indexSignatures.length === 0

/** True for a tool without parameters. Arguments that a model passes to it are dropped. */
export const takesNothing = (tool: Tool.Any): boolean =>
  !Tool.isProviderDefined(tool) &&
  !Tool.isDynamic(tool) &&
  Schema.isSchema(tool.parametersSchema) &&
  (tool.parametersSchema.ast === Tool.EmptyParams.ast || hasNoFields(tool.parametersSchema))

/** The tool as a model sees it: without fields, it is shown as `effect/ai` shows its own tools without parameters. */
export const forModel = (tool: Tool.Any): Tool.Any =>
  takesNothing(tool) ? (tool as Tool.Tool<string, never>).setParameters(Tool.EmptyParams) : tool

/** The next step for a tool without a name. */
export const giveName = 'Give it one first: AgentTool.fromFunction("name", { ... })'

/** Defines the `effect/ai` tool for a model. Throws `InvalidDefinition` for a tool that providers reject. */
export const define = (
  name: string,
  description: string,
  parameters: Schema.Top,
  success: Schema.Top,
  failureMode: "return" | "error"
): Tool.Any => {
  const subject = `tool "${name}"`
  assertName("a tool", name, giveName)
  assertText(subject, "description", description)
  const tool = forModel(
    Tool.make(name, {
      description,
      parameters: codec(subject, parameters, "parameters") as Schema.Struct<Schema.Struct.Fields>,
      success: codec(subject, success, "success"),
      failure: Schema.Unknown,
      failureMode
    }) as Tool.Any
  )
  validate(tool)
  return tool
}

/** Hints about a tool, with the meaning of MCP's annotations. Without them the worst is assumed. */
export interface Hints {
  /** It changes nothing. Default `false`. */
  readonly readOnly?: boolean | undefined
  /** It may destroy what it changes. Default `true`, `false` when it is read-only. */
  readonly destructive?: boolean | undefined
  /** Calling it again with the same arguments changes nothing more. Default `false`. */
  readonly idempotent?: boolean | undefined
  /** It reaches out of its own system. Default `true`. */
  readonly openWorld?: boolean | undefined
}

/** The hints of a tool that only gives work to a runner. What the runner's own tools do is decided at their calls. */
export const delegation: Hints = { readOnly: false, destructive: false, idempotent: false, openWorld: false }

/** Annotates the tool with its hints, and with whether its calls need approval. */
export const annotate = (
  tool: Tool.Any,
  options: {
    readonly hints?: Hints | undefined
    readonly needsApproval?: boolean | ((params: never, context: Tool.NeedsApprovalContext) => unknown) | undefined
  }
): Tool.Any => {
  const { hints, needsApproval } = options
  const made: Tool.Any = needsApproval === undefined ? tool : tool.setNeedsApproval(needsApproval as boolean)
  if (hints === undefined) return made
  const { destructive, idempotent, openWorld, readOnly } = hints
  return made
    .annotate(Tool.Readonly, readOnly ?? false)
    .annotate(Tool.Destructive, destructive ?? readOnly !== true)
    .annotate(Tool.Idempotent, idempotent ?? false)
    .annotate(Tool.OpenWorld, openWorld ?? true)
}

/** The shape of a tool name that every provider accepts. */
const namePattern = /^[a-zA-Z0-9_-]{1,64}$/
/** Whether every provider accepts `name` as that of a tool. */
export const isToolName = (name: string): boolean => namePattern.test(name)

const validated = new WeakSet<Tool.Any>()

/** Throws `InvalidDefinition` for a tool that no provider could be sent. */
export const validate = (given: Tool.Any): void => {
  if (validated.has(given)) return
  const tool = forModel(given)
  const subject = `tool "${tool.name}"`
  if (!isToolName(tool.name)) {
    throw invalid(subject, "providers refuse its name", "Use 1 to 64 letters, digits, underscores or hyphens")
  }
  if (!Tool.isProviderDefined(tool)) assertSchema(subject, "success", tool.successSchema)
  if (!Tool.isProviderDefined(tool) && Schema.isSchema(tool.parametersSchema)) {
    assertSchema(subject, "parameters", tool.parametersSchema)
    assertPlain(subject, tool.parametersSchema)
    if (!isObjectSchema(parametersOf(subject, tool))) {
      throw invalid(
        subject,
        "its parameters are not an object with fields",
        "Make them a Schema.Struct with fields, or leave them out for a tool without parameters"
      )
    }
  }
  validated.add(given)
}

/** A dynamic tool can bring a JSON schema of its own. */
const parametersOf = (subject: string, tool: Tool.Any): { readonly [key: string]: unknown } =>
  Tool.isDynamic(tool) && tool.jsonSchema !== undefined
    ? (tool.jsonSchema as { readonly [key: string]: unknown })
    : jsonSchema(subject, tool.parametersSchema)

const isObjectSchema = (schema: { readonly [key: string]: unknown }): boolean => {
  if (typeof schema["$ref"] === "string") return true
  return schema["type"] === "object"
}
