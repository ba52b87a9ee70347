/** The tools of servers as tools of agents: which, under what names, and how a call is made. It touches servers. */
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { stripControls } from "../../../internal/text.ts"
import { ServerName } from "../../../internal/toolMarks.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import { withoutNulls } from "./arguments.ts"
import { type CallResult, charsOf, readResult, textOfResult, toModelOutput, toResult } from "./content.ts"
import { McpCallError, McpToolFailed } from "./errors.ts"
import * as Limits from "./limits.ts"
import type { ToolInfo } from "./lists.ts"
import type { Server } from "./serverConnection.ts"
import { clean, nameAll, passes } from "./toolNames.ts"
import { type Check, checker } from "./validate.ts"

/** Which tools an agent gets of those that the servers have, and how they are named. */
export interface View {
  /** Only tools of these servers. Default: all. A name that no server has is a defect: `InvalidDefinition`. */
  readonly servers?: ReadonlyArray<string> | undefined
  /**
   * Only these tools, by the names that their servers give them or by those that the agent has for them; `*` stands for any
   * characters. Default: all.
   */
  readonly allow?: ReadonlyArray<string> | undefined
  /** None of these tools; wins over `allow`. */
  readonly deny?: ReadonlyArray<string> | undefined
  /**
   * When a tool's name begins with its server's: `"always"`, or where two tools would have the same name (`"collision"`).
   * Default: `"always"` when the Layer has more than one server, so that no server can change the names of another one's
   * tools, otherwise `"collision"`.
   */
  readonly prefix?: "collision" | "always" | undefined
}

/** A tool of an agent, by a server. */
export type McpTool = AgentTool.AgentTool<string, never>

/** The tools of now, as a view shows them; none has a name of `taken`. */
export const list = (
  servers: ReadonlyArray<Server>,
  view: View,
  taken: ReadonlySet<string>
): Effect.Effect<ReadonlyArray<McpTool>> => {
  const unknown = view.servers?.find((name) => !servers.some((server) => server.name === name))
  if (unknown !== undefined) {
    const names = servers.map(({ name }) => `"${name}"`).join(", ") || "none"
    const problem = `there is no MCP server "${unknown}"; there are: ${names}`
    return Effect.die(new InvalidDefinition({ subject: "Mcp.tools", problem, remedy: "Name one of them" }))
  }
  return Effect.map(
    Effect.forEach(
      servers.filter(({ name }) => view.servers === undefined || view.servers.includes(name)),
      (server) => Effect.map(server.tools, (tools) => tools.map((info) => ({ server, info }))),
      { concurrency: "unbounded" }
    ),
    (lists) => {
      const offered = lists.flat().filter(({ info, server }) => passes(server.options, [info.name, clean(info.name)]))
      const names = nameAll(
        offered.map(({ info, server }) => ({ server: server.name, tool: info.name })),
        {
          servers: servers.map(({ name }) => name),
          prefix: view.prefix ?? (servers.length > 1 ? "always" : "collision"),
          taken
        }
      )
      return offered.flatMap(({ info, server }, index) => {
        const name = names[index]!
        return passes(view, [info.name, clean(info.name), name]) ? [toolOf(server, info, name)] : []
      })
    }
  )
}

/** Tools that have been made, by what they are made of: a list that did not change gives the same tools. */
const made = new WeakMap<ToolInfo, Map<string, McpTool>>()
/** What the model is given of results that hold files. */
const outputs = new WeakMap<object, ReadonlyArray<Prompt.ToolModelOutputPart>>()

const toolOf = (server: Server, info: ToolInfo, name: string): McpTool => {
  let byName = made.get(info)
  if (byName === undefined) made.set(info, (byName = new Map()))
  let tool = byName.get(name)
  if (tool === undefined) byName.set(name, (tool = make(server, info, name)))
  return tool
}

/** What a tool does: as its server says, if the program trusts that, otherwise the worst. */
const hintsOf = (server: Server, { annotations }: ToolInfo): ToolHints => {
  if (server.options.trustHints !== true)
    return { readOnly: false, destructive: true, idempotent: false, openWorld: true }
  const readOnly = annotations?.readOnlyHint ?? false
  return {
    readOnly,
    // What only reads destroys nothing, whatever else is said of it.
    destructive: !readOnly && (annotations?.destructiveHint ?? true),
    idempotent: annotations?.idempotentHint ?? false,
    openWorld: annotations?.openWorldHint ?? true
  }
}

interface ToolHints {
  readonly readOnly: boolean
  readonly destructive: boolean
  readonly idempotent: boolean
  readonly openWorld: boolean
}

const make = (server: Server, info: ToolInfo, name: string): McpTool => {
  const { annotations } = info
  const hints = hintsOf(server, info)
  const dynamic = Tool.dynamic(name, {
    description: info.description ?? info.title ?? annotations?.title ?? "",
    parameters: { ...info.inputSchema, type: "object" },
    success: Schema.Unknown,
    failure: Schema.Unknown,
    failureMode: "return",
    toModelOutput: (result: unknown) =>
      (typeof result === "object" && result !== null
        ? outputs.get(result)
        : undefined) as ReadonlyArray<Prompt.ToolModelOutputPart>
  })
  const tool = dynamic
    .annotate(Tool.Title, info.title ?? annotations?.title ?? info.name)
    .annotate(Tool.Readonly, hints.readOnly)
    .annotate(Tool.Destructive, hints.destructive)
    .annotate(Tool.Idempotent, hints.idempotent)
    .annotate(Tool.OpenWorld, hints.openWorld)
    .annotate(ServerName, server.name)
  const checkInput = checker(info.inputSchema)
  const checkOutput = info.outputSchema === undefined ? undefined : checker(info.outputSchema)
  return AgentTool.make(name, "effect", tool as Tool.Any, undefined, (params, { progress }) =>
    Effect.map(call(server, info, params, checkInput, checkOutput, progress), (result) => {
      const json = toResult(result)
      const output = toModelOutput(result)
      if (output !== undefined && typeof json === "object" && json !== null) outputs.set(json, output)
      return json
    })
  )
}

/** Calls a tool: its arguments are checked before, what it gives is checked after. */
const call = (
  server: Server,
  info: ToolInfo,
  params: unknown,
  checkInput: Check,
  checkOutput: Check | undefined,
  progress: (progress: unknown) => Effect.Effect<void>
): Effect.Effect<CallResult, McpCallError | McpToolFailed> => {
  const invalid = (problem: string, executed: "no" | "unknown") =>
    Effect.fail(
      new McpCallError({
        server: server.name,
        method: "tools/call",
        subject: info.name,
        reason: "invalid",
        executed,
        problem
      })
    )
  let args: unknown = params ?? {}
  const misfit = checkInput(args)
  if (misfit !== undefined) {
    args = withoutNulls(args, info.inputSchema, info.inputSchema)
    if (checkInput(args) !== undefined) {
      const remedy = "Fix the arguments and call the tool again."
      return invalid(`the arguments do not fit the tool's parameters: ${misfit}. ${remedy}`, "no")
    }
  }
  const { idempotent, readOnly } = hintsOf(server, info)
  const again = readOnly || idempotent
  const task = info.execution?.taskSupport === "required"
  return server
    .request("tools/call", info.name, { name: info.name, arguments: args }, { again, task, onProgress: progress })
    .pipe(
      Effect.map(readResult),
      Effect.tap(({ unread }) =>
        server.warn(unread.map((block) => `the result of "${info.name}": ${block} cannot be read and is left out`))
      ),
      Effect.flatMap((result): Effect.Effect<CallResult, McpCallError | McpToolFailed> => {
        const chars = charsOf(result)
        const most = server.options.maxChars ?? Limits.defaultMaxChars
        if (chars > most) {
          return invalid(
            `the tool ran, but its result has ${chars} characters, and at most ${most} are taken`,
            "unknown"
          )
        }
        const text = () => stripControls(textOfResult(result))
        if (result.isError) {
          return Effect.fail(new McpToolFailed({ server: server.name, tool: info.name, text: text() }))
        }
        if (result.unread.length > 0 && result.content.length === 0 && result.structure === undefined) {
          const blocks = result.unread.join(", ")
          return invalid(`the tool ran, but its result does not fit the protocol: ${blocks} cannot be read`, "unknown")
        }
        if (checkOutput === undefined) return Effect.succeed(result)
        const isThere = result.structuredContent !== undefined
        const wrong = isThere ? checkOutput(result.structuredContent) : ""
        if (wrong === undefined) return Effect.succeed(result)
        const problem = isThere
          ? `the tool ran, but its result does not fit its own definition: ${wrong}`
          : "the tool ran, but gave no structured content, which its definition promises"
        const said = text()
        return invalid(said === "" ? problem : `${problem}. The result:\n${said}`, "unknown")
      })
    )
}
