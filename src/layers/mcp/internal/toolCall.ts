/** One tool of a server as a tool of agents: its definition, and how a call is made and its result accepted. */
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import type * as Prompt from "effect/ai/Prompt"
import { memoize } from "effect/Function"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { oneLine, stripControls } from "../../../internal/text.ts"
import { ServerName } from "../../../internal/toolMarks.ts"
import type { Request } from "../../../services/Approver.ts"
import { withoutNulls } from "./arguments.ts"
import {
  type CallResult,
  charsOf,
  readResult,
  textOfResult,
  toModelOutput,
  toResult,
  visible,
  visiblePart
} from "./content.ts"
import { McpCallError, McpToolFailed } from "./errors.ts"
import * as Limits from "./limits.ts"
import type { ToolInfo } from "./lists.ts"
import type { Server } from "./serverConnection.ts"
import { type Check, checker } from "./validate.ts"

/** A tool of an agent, by a server. */
export type McpTool = AgentTool.AgentTool<string, never>

/** Tools that have been made, by what they are made of: a list that did not change gives the same tools. */
const made: (info: ToolInfo) => Map<string, McpTool> = memoize(() => new Map())
/** What the model is given of results that hold files. */
const outputs = new WeakMap<object, ReadonlyArray<Prompt.ToolModelOutputPart>>()

/** A tool of an agent; the same one as long as its definition is. */
export const toolOf = (server: Server, info: ToolInfo, name: string, needsApproval: boolean): McpTool => {
  const byName = made(info)
  const key = needsApproval ? `${name} with approval` : name
  let tool = byName.get(key)
  if (tool === undefined) byName.set(key, (tool = make(server, info, name, needsApproval)))
  return tool
}

/** What a tool does: as its server says, if the program trusts that, otherwise the worst. */
const hintsOf = (server: Server, { annotations }: ToolInfo): Request["hints"] => {
  if (server.options.trustHints !== true)
    return { readOnly: false, destructive: true, idempotent: false, openWorld: true }
  const readOnly = annotations?.readOnlyHint ?? false
  return {
    readOnly,
    // A tool that only reads is not destructive, even if the server says so.
    destructive: !readOnly && (annotations?.destructiveHint ?? true),
    idempotent: annotations?.idempotentHint ?? false,
    openWorld: annotations?.openWorldHint ?? true
  }
}

const make = (server: Server, info: ToolInfo, name: string, needsApproval: boolean): McpTool => {
  const { annotations } = info
  const hints = hintsOf(server, info)
  const dynamic = Tool.dynamic(name, {
    description: stripControls(info.description ?? info.title ?? annotations?.title ?? ""),
    // Arguments are checked by the schema as it is.
    parameters: { ...(visible(info.inputSchema) as object), type: "object" },
    ...(needsApproval ? { needsApproval } : {}),
    success: Schema.Unknown,
    failure: Schema.Unknown,
    failureMode: "return",
    toModelOutput: (result: unknown) =>
      (typeof result === "object" && result !== null
        ? outputs.get(result)
        : undefined) as ReadonlyArray<Prompt.ToolModelOutputPart>
  })
  const tool = dynamic
    .annotate(Tool.Title, oneLine(info.title ?? annotations?.title ?? info.name))
    .annotate(Tool.Readonly, hints.readOnly)
    .annotate(Tool.Destructive, hints.destructive)
    .annotate(Tool.Idempotent, hints.idempotent)
    .annotate(Tool.OpenWorld, hints.openWorld)
    .annotate(ServerName, server.name)
  const callee: Callee = {
    server,
    info,
    checkInput: checker(info.inputSchema),
    checkOutput: info.outputSchema === undefined ? undefined : checker(info.outputSchema)
  }
  return AgentTool.make(name, "effect", tool as Tool.Any, (params, { progress }) =>
    Effect.map(call(callee, params, progress), (result) => {
      const json = visible(toResult(result))
      const output = toModelOutput(result)?.map(visiblePart)
      if (output !== undefined && typeof json === "object" && json !== null) outputs.set(json, output)
      return json
    })
  )
}

/** A tool, with the checks of what goes to it and of what it gives. */
interface Callee {
  readonly server: Server
  readonly info: ToolInfo
  readonly checkInput: Check
  readonly checkOutput: Check | undefined
}

type Accepted = Effect.Effect<CallResult, McpCallError | McpToolFailed>

const invalid = ({ info, server }: Callee, problem: string, executed: "no" | "unknown") => {
  const about = { server: server.name, method: "tools/call", subject: info.name }
  return Effect.fail(new McpCallError({ ...about, reason: "invalid", executed, problem }))
}

/** The arguments in the form that the tool's schema wants. Fails for those that do not fit. */
const argumentsOf = (callee: Callee, params: unknown): Effect.Effect<unknown, McpCallError> => {
  const { checkInput, info } = callee
  const given = params ?? {}
  const misfit = checkInput(given)
  if (misfit === undefined) return Effect.succeed(given)
  const args = withoutNulls(given, info.inputSchema, info.inputSchema)
  if (checkInput(args) === undefined) return Effect.succeed(args)
  const remedy = "Fix the arguments and call the tool again."
  return invalid(callee, `the arguments do not fit the tool's parameters: ${stripControls(misfit)}. ${remedy}`, "no")
}

/** Calls a tool: its arguments are checked before, what it gives is checked after. */
const call = (
  callee: Callee,
  params: unknown,
  onProgress: (progress: unknown) => Effect.Effect<void>
): Effect.Effect<CallResult, McpCallError | McpToolFailed> =>
  Effect.gen(function* () {
    const { info, server } = callee
    const args = yield* argumentsOf(callee, params)
    const { idempotent, readOnly } = hintsOf(server, info)
    const task = info.execution?.taskSupport === "required"
    server.definitions.use(info)
    const options = { again: readOnly || idempotent, task, onProgress }
    const result = readResult(
      yield* server.request("tools/call", info.name, { name: info.name, arguments: args }, options)
    )
    const unread = result.unread.map((block) => `the result of "${info.name}": ${block} cannot be read and is left out`)
    yield* server.warn(unread)
    return yield* accepted(callee, result)
  })

/** A result that may be given to a model. Fails for a failure of the tool, and for a result that is not as it has to be. */
const accepted = (callee: Callee, result: CallResult): Accepted => {
  const { info, server } = callee
  const chars = charsOf(result)
  const most = server.options.maxChars ?? Limits.defaultMaxChars
  if (chars > most) {
    const problem = `the tool ran, but its result has ${chars} characters, and at most ${most} are taken`
    return invalid(callee, problem, "unknown")
  }
  if (result.isError) {
    const text = stripControls(textOfResult(result))
    return Effect.fail(new McpToolFailed({ server: server.name, tool: info.name, text }))
  }
  if (result.unread.length > 0 && result.content.length === 0 && result.structure === undefined) {
    const blocks = result.unread.join(", ")
    const problem = `the tool ran, but its result does not fit the protocol: ${blocks} cannot be read`
    return invalid(callee, problem, "unknown")
  }
  return asPromised(callee, result)
}

/** Checks a result against the output schema of its tool. */
const asPromised = (callee: Callee, result: CallResult): Accepted => {
  const { checkOutput } = callee
  if (checkOutput === undefined) return Effect.succeed(result)
  const isThere = result.structuredContent !== undefined
  const wrong = isThere ? checkOutput(result.structuredContent) : ""
  if (wrong === undefined) return Effect.succeed(result)
  const problem = isThere
    ? `the tool ran, but its result does not fit its own definition: ${wrong}`
    : "the tool ran, but gave no structured content, which its definition promises"
  const said = stripControls(textOfResult(result))
  return invalid(callee, said === "" ? problem : `${problem}. The result:\n${said}`, "unknown")
}
