/** The tools of servers as tools of agents: which, under what names, and how a call is made. */
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { CurrentState } from "../../../internal/runState.ts"
import { oneLine, stripControls } from "../../../internal/text.ts"
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
import { visible, visiblePart } from "./visible.ts"

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
      const named = offered.map((one, index) => ({ ...one, name: names[index]! }))
      return named.filter(({ info, name }) => passes(view, [info.name, clean(info.name), name]))
    }
  ).pipe(Effect.flatMap(usable))
}

/** A tool that an agent may get. */
interface Offered {
  readonly server: Server
  readonly info: ToolInfo
  readonly name: string
}

/** The tools that may be used: whose definitions are what they were, and no more of a server than it may have. */
const usable = Effect.fnUntraced(function* (offered: ReadonlyArray<Offered>) {
  const tools: Array<McpTool> = []
  const shares = new Map<Server, Share>()
  for (const { info, name, server } of offered) {
    const share = shares.get(server) ?? { tools: 0, chars: 0, left: [] }
    shares.set(server, share)
    const chars = charsOfDefinition(info)
    const { maxDefinitionChars = Limits.defaultMaxDefinitionChars, maxTools = Limits.defaultMaxTools } = server.options
    if (share.tools >= maxTools || share.chars + chars > maxDefinitionChars) {
      share.left.push(name)
      continue
    }
    const change = server.definitions.changed(info)
    if (change !== undefined) yield* notice(server, change.problem, name)
    if (change?.onChange === "refuse") continue
    share.tools++
    share.chars += chars
    tools.push(toolOf(server, info, name, change?.onChange === "ask"))
  }
  for (const [server, { left }] of shares) {
    if (left.length === 0) continue
    const shown = left.slice(0, 3).map((name) => `"${name}"`)
    const more = left.length > shown.length ? ` and ${left.length - shown.length} more` : ""
    const problem = `it has more tools than maxTools and maxDefinitionChars allow; left out: ${shown.join(", ")}${more}`
    yield* notice(server, problem)
  }
  return tools as ReadonlyArray<McpTool>
})

/** How much one server has put into a request. */
interface Share {
  tools: number
  chars: number
  readonly left: Array<string>
}

/** How many characters a definition has, as a model is given it. */
const charsOfDefinition = (info: ToolInfo): number => {
  let chars = sizes.get(info)
  if (chars === undefined) {
    const { annotations, description, inputSchema, name, title } = info
    chars = JSON.stringify([name, title, description, annotations?.title, inputSchema]).length
    sizes.set(info, chars)
  }
  return chars
}
const sizes = new WeakMap<ToolInfo, number>()

/** Notices that were given: in the log once for each server, in events once for each run. */
const noticed = new WeakMap<object, Set<string>>()

const isNew = (key: object, problem: string): boolean => {
  const known = noticed.get(key) ?? new Set()
  noticed.set(key, known)
  if (known.has(problem) || known.size >= 1000) return false
  known.add(problem)
  return true
}

/** Says in the log and in the events of the run that a tool is not used, or is not what it was. */
const notice = (server: Server, problem: string, tool?: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (isNew(server, problem)) yield* server.warn([problem])
    const state = yield* CurrentState
    if (state === undefined || !isNew(state, `${server.name} ${problem}`)) return
    const about = tool === undefined ? {} : { tool }
    yield* state.events.emit({ _tag: "ToolNotice", server: server.name, problem: oneLine(problem), ...about })
  })

/** Tools that have been made, by what they are made of: a list that did not change gives the same tools. */
const made = new WeakMap<ToolInfo, Map<string, McpTool>>()
/** What the model is given of results that hold files. */
const outputs = new WeakMap<object, ReadonlyArray<Prompt.ToolModelOutputPart>>()

const toolOf = (server: Server, info: ToolInfo, name: string, needsApproval: boolean): McpTool => {
  let byName = made.get(info)
  if (byName === undefined) made.set(info, (byName = new Map()))
  const key = needsApproval ? `${name} with approval` : name
  let tool = byName.get(key)
  if (tool === undefined) byName.set(key, (tool = make(server, info, name, needsApproval)))
  return tool
}

/** What a tool does: as its server says, if the program trusts that, otherwise the worst. */
const hintsOf = (server: Server, { annotations }: ToolInfo): ToolHints => {
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

interface ToolHints {
  readonly readOnly: boolean
  readonly destructive: boolean
  readonly idempotent: boolean
  readonly openWorld: boolean
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
  const checkInput = checker(info.inputSchema)
  const checkOutput = info.outputSchema === undefined ? undefined : checker(info.outputSchema)
  return AgentTool.make(name, "effect", tool as Tool.Any, undefined, (params, { progress }) =>
    Effect.map(call(server, info, params, checkInput, checkOutput, progress), (result) => {
      const json = visible(toResult(result))
      const output = toModelOutput(result)?.map(visiblePart)
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
      return invalid(`the arguments do not fit the tool's parameters: ${stripControls(misfit)}. ${remedy}`, "no")
    }
  }
  const { idempotent, readOnly } = hintsOf(server, info)
  const again = readOnly || idempotent
  const task = info.execution?.taskSupport === "required"
  server.definitions.use(info)
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
