/** The tools of servers as tools of agents: which of them, and under what names. */
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import { memoize } from "effect/Function"
import { CurrentState } from "../../../internal/runState.ts"
import { oneLine } from "../../../internal/text.ts"
import { failureToJson } from "../../../internal/toolFunction.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import * as Limits from "./limits.ts"
import type { ToolInfo } from "./lists.ts"
import type { Server } from "./serverConnection.ts"
import { type McpTool, toolOf } from "./toolCall.ts"
import { clean, nameAll, passes } from "./toolNames.ts"

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
const charsOfDefinition = memoize(
  ({ annotations, description, inputSchema, name, title }: ToolInfo): number =>
    JSON.stringify([name, title, description, annotations?.title, inputSchema]).length
)

/** Notices that were given: in the log once for each server, in events once for each run. */
const noticed: (key: object) => Set<string> = memoize(() => new Set())

const isNew = (key: object, problem: string): boolean => {
  const known = noticed(key)
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

type AnyTools = Record<string, Tool.Any>
type Handler = (
  params: unknown,
  context: { readonly toolCallId: string; readonly preliminary: (result: unknown) => Effect.Effect<void> }
) => Effect.Effect<unknown, unknown>

/** A toolkit with its handlers; `Kit` is what is known of the tools before they are. */
export const toToolkit = <Kit extends AnyTools>(
  tools: ReadonlyArray<McpTool>
): Effect.Effect<Toolkit.WithHandler<Kit>> => {
  const kit = Toolkit.make(...tools.map(({ tool }) => tool)) as unknown as Toolkit.Toolkit<AnyTools>
  const handlers: Record<string, Handler> = {}
  for (const { execute, name } of tools) {
    handlers[name] = (params, { preliminary, toolCallId }) => {
      const run = { runId: "", rootId: "", path: [], conversationId: "", metadata: {} }
      const call = { ...run, step: 0, toolCallId, idempotencyKey: toolCallId, progress: preliminary }
      return Effect.mapError(
        execute(params, call, () => {}),
        failureToJson
      )
    }
  }
  // The types of a toolkit that is made at run time are lost; its handlers need no services.
  return Effect.gen(function* () {
    const context = yield* kit.toHandlers(handlers as never)
    return yield* Effect.provideContext(kit as unknown as Effect.Effect<Toolkit.WithHandler<Kit>>, context)
  })
}
