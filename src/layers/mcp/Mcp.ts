/**
 * MCP servers: their tools, resources and prompts for agents, by the MCP SDK. This file is the service, its Layers and
 * what is made of them; the parts are in `mcp/`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import { memoize } from "effect/Function"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as AgentTool from "../../AgentTool.ts"
import { captured, withCaptured } from "../../internal/captured.ts"
import { messageOf } from "../../internal/message.ts"
import { oneLine, stripControls } from "../../internal/text.ts"
import { version } from "../../internal/version.generated.ts"
import * as ToolSource from "../../ToolSource.ts"
import type {
  ElicitationRequest,
  ElicitationResult,
  Root,
  SamplingRequest,
  SamplingResult
} from "./internal/answers.ts"
import { contextOf } from "./internal/askingContext.ts"
import * as Config from "./internal/config.ts"
import type { ResourceContents } from "./internal/content.ts"
import { assertOneOf, assertOptions, namesOf } from "../../internal/definition.ts"
import { fingerprint } from "./internal/definitions.ts"
import { McpCallError, type McpConfigError, type McpConnectError } from "./internal/errors.ts"
import { type FileOptions, fromFile } from "./internal/configFile.ts"
import type * as Lists from "./internal/lists.ts"
import * as Resources from "./internal/resources.ts"
import * as Sampling from "./internal/sampling.ts"
import * as Server from "./internal/serverConnection.ts"
import { clientMessage } from "../internal/clientMessage.ts"
import { share } from "./internal/share.ts"
import * as Tools from "./internal/tools.ts"
import { ServerName } from "../../internal/toolMarks.ts"

export type {
  ElicitationRequest,
  ElicitationResult,
  Root,
  SamplingRequest,
  SamplingResult
} from "./internal/answers.ts"
export { elicitWithModel, sampleWithModel } from "./internal/answers.ts"
export type {
  CommonOptions,
  HttpOptions,
  InProcessOptions,
  OAuthOptions,
  OAuthStore,
  ServerOptions,
  StdioOptions,
  Text
} from "./internal/config.ts"
export type { ResourceContents } from "./internal/content.ts"
export { McpCallError, McpConfigError, McpConnectError, McpToolFailed } from "./internal/errors.ts"
export { type FileOptions, type FileServer, fromFile } from "./internal/configFile.ts"
export type { SamplingLimits } from "./internal/sampling.ts"
export type { InProcessServer } from "./internal/protocol.ts"
export type { PromptInfo, Resource, ResourceTemplate } from "./internal/lists.ts"
export type { View } from "./internal/tools.ts"

/**
 * Handlers for server-initiated requests. Capabilities without a handler are not offered to servers.
 *
 * A handler sees the services of the run whose call the server works on, and under them those that the Layer was built with.
 * Where the protocol does not say which of several calls a request belongs to, it sees what all of them have in common.
 */
export interface Answers<R = never> {
  /**
   * Answers for the model, with {@link sampleWithModel} or by hand. The server gets the message of a failure, unless that says
   * something about the inside of the program, such as an address or a path: then it is only logged.
   */
  readonly sampling?:
    | ((request: SamplingRequest, server: string) => Effect.Effect<SamplingResult, unknown, R>)
    | undefined
  /** Limits on such answers, for each server. */
  readonly samplingLimits?: Sampling.SamplingLimits | undefined
  /** Answers for the user, with {@link elicitWithModel} or by hand. */
  readonly elicitation?:
    | ((request: ElicitationRequest, server: string) => Effect.Effect<ElicitationResult, unknown, R>)
    | undefined
  /** Where servers may work. An Effect is run each time they ask. */
  readonly roots?: ReadonlyArray<Root> | Effect.Effect<ReadonlyArray<Root>, never, R> | undefined
}

/** Which servers, and how they are answered. */
export interface Options<R = never> extends Answers<R> {
  /** By name. The names show in tools' names and in errors. */
  readonly servers: Readonly<Record<string, Config.ServerOptions>>
}

/** What is known of a server. */
export interface ServerStatus {
  readonly name: string
  readonly connected: boolean
  /** What it calls itself. */
  readonly title: string
  readonly version: string
  /** How a model should use it, in its own words. */
  readonly instructions: string | undefined
  /** The id of its process, if it is one that we have started. */
  readonly pid: number | undefined
}

/** A notification of a server: a log message, a changed list, a changed resource. */
export interface Notification {
  readonly server: string
  /** Such as `notifications/message`. */
  readonly method: string
  readonly params: unknown
}

/**
 * Connected servers. Requests fail with `McpCallError`, which says whether the server may have acted; interrupting one
 * sends `notifications/cancelled`.
 */
export class Mcp extends Context.Service<
  Mcp,
  {
    /** The tools of now, none of them named as one of `taken`. */
    readonly tools: (
      view?: Tools.View,
      taken?: ReadonlySet<string>
    ) => Effect.Effect<ReadonlyArray<AgentTool.AgentTool<string, never>>>
    readonly servers: Effect.Effect<ReadonlyArray<ServerStatus>>
    /**
     * The definitions of all tools as they are now, by server and tool: what `pinned` of a server takes, so that a program can
     * keep them and use no tool whose definition is another one later.
     */
    readonly pins: Effect.Effect<Readonly<Record<string, Readonly<Record<string, string>>>>>
    readonly resources: Effect.Effect<ReadonlyArray<Lists.Resource>, McpCallError>
    readonly resourceTemplates: Effect.Effect<ReadonlyArray<Lists.ResourceTemplate>, McpCallError>
    readonly readResource: (server: string, uri: string) => Effect.Effect<ReadonlyArray<ResourceContents>, McpCallError>
    readonly prompts: Effect.Effect<ReadonlyArray<Lists.PromptInfo>, McpCallError>
    /** A prompt with its arguments filled in: the input of an agent. */
    readonly prompt: (
      server: string,
      name: string,
      args?: Readonly<Record<string, string>>
    ) => Effect.Effect<Prompt.Prompt, McpCallError>
    /** Any other request of the protocol, such as `completion/complete`, `logging/setLevel`, `resources/subscribe`. */
    readonly request: (server: string, method: string, params?: unknown) => Effect.Effect<unknown, McpCallError>
    /** Tells the servers that the roots have changed. */
    readonly rootsChanged: Effect.Effect<void>
    /** The servers' notifications from now on. A reader that falls behind by 1000 misses the oldest. */
    readonly notifications: Stream.Stream<Notification>
  }
>()("troupe/Mcp") {}

/**
 * Connects to servers for as long as the scope is open. {@link layer} is this as a Layer, and shared.
 *
 * Fails with `McpConnectError` when one of them cannot be connected; the others are closed again. Throws
 * `InvalidDefinition` for a definition that can never work.
 *
 * @example
 * import { Effect } from "effect"
 * import { Mcp } from "troupe"
 *
 * const names = Effect.gen(function* () {
 *   const mcp = yield* Mcp.connect({ servers: { files: { command: "mcp-server-files", args: ["."] } } })
 *   return (yield* mcp.tools()).map((tool) => tool.name)
 * }).pipe(Effect.scoped)
 */
export const connect = <R = never>(
  options: Options<R>
): Effect.Effect<Mcp["Service"], McpConnectError, R | Scope.Scope> => {
  assertOptions("Mcp", options, known)
  Sampling.check(options.samplingLimits)
  for (const [name, server] of Object.entries(options.servers)) Config.check(name, server)
  return Effect.gen(function* () {
    const notifications = yield* Effect.acquireRelease(PubSub.sliding<Notification>(1000), PubSub.shutdown)
    const client = clientOf(options, yield* captured<R>(), notifications)
    const servers = yield* Effect.forEach(
      Object.entries(options.servers),
      ([name, server]) => Server.make(name, server, client),
      { concurrency: "unbounded" }
    )
    return serviceOf(servers, Stream.fromPubSub(notifications))
  })
}

const answerNames = { sampling: true, samplingLimits: true, elicitation: true, roots: true } as const
const known = namesOf<Options>({ ...answerNames, servers: true })
const knownOfFile = namesOf<Answers & FileOptions>({ ...answerNames, variables: true, approve: true })

const clientOf = <R>(
  options: Options<R>,
  context: Context.Context<R>,
  notifications: PubSub.PubSub<Notification>
): Server.Client => {
  const { elicitation, roots, sampling } = options
  const names = Object.keys(options.servers)
  const limits = new Map(names.map((name) => [name, Sampling.make(name, options.samplingLimits)]))
  return {
    name: "troupe",
    version,
    capabilities: {
      ...(sampling === undefined ? {} : { sampling: {} }),
      ...(elicitation === undefined ? {} : { elicitation: { form: { applyDefaults: true }, url: {} } }),
      ...(roots === undefined ? {} : { roots: { listChanged: true } })
    },
    ask: (server, { calls, method, params }) => {
      const caller = contextOf(calls)
      const answer = <A>(effect: Effect.Effect<A, unknown, R>): Effect.Effect<A, string> =>
        withCaptured(effect, context, ownModel).pipe(
          Effect.catch((error) => refuse(server, error)),
          Effect.provideContext(caller)
        )
      if (method === "sampling/createMessage" && sampling !== undefined) {
        return limits.get(server)!.limit(calls, caller, answer(sampling(params as SamplingRequest, server)))
      }
      if (method === "elicitation/create" && elicitation !== undefined) {
        return answer(elicitation(params as ElicitationRequest, server))
      }
      if (method === "roots/list" && roots !== undefined) {
        const all = Effect.isEffect(roots) ? roots : Effect.succeed(roots)
        return answer(Effect.map(all, (found) => ({ roots: found.map((root) => ({ ...root })) })))
      }
      return Effect.fail(`${method} is not answered here`)
    },
    notified: (server, method, params) => Effect.asVoid(PubSub.publish(notifications, { server, method, params }))
  }
}

/** Fails with the reason for the server; the log has the whole error. Servers do not see what only operators can use. */
const refuse = (server: string, error: unknown): Effect.Effect<never, string> => {
  const reason = AiError.isAiError(error) ? `the model call failed (${error.reason._tag})` : clientMessage(error)
  if (reason !== undefined && reason === messageOf(error)) return Effect.fail(reason)
  return Effect.andThen(
    Effect.logWarning(`A request of the MCP server "${server}" was not answered: ${messageOf(error)}`),
    Effect.fail(reason ?? "it failed; the log of the client has the reason")
  )
}

/** Servers get answers of the model that the Layer was built with, even if the calling agent has another one. */
const ownModel: ReadonlySet<string> = new Set([LanguageModel.LanguageModel.key])

const serviceOf = (
  servers: ReadonlyArray<Server.Server>,
  notifications: Stream.Stream<Notification>
): Mcp["Service"] => {
  const by = <A>(
    name: string,
    method: string,
    use: (server: Server.Server) => Effect.Effect<A, McpCallError>
  ): Effect.Effect<A, McpCallError> => {
    const server = servers.find((one) => one.name === name)
    if (server !== undefined) return use(server)
    const problem = `there is no such server; the servers are: ${servers.map((one) => one.name).join(", ") || "none"}`
    return Effect.fail(
      new McpCallError({ server: name, method, subject: "", reason: "unavailable", executed: "no", problem })
    )
  }
  return {
    tools: (view = {}, taken = new Set()) => Tools.list(servers, view, taken),
    servers: Effect.forEach(servers, (server) =>
      Effect.gen(function* () {
        const { instructions, name, version } = yield* server.info
        const shown = (text: string) => oneLine(text.slice(0, 200))
        return {
          name: server.name,
          connected: yield* server.connected,
          title: shown(name),
          version: shown(version),
          instructions: instructions === undefined ? undefined : stripControls(instructions.slice(0, 20_000)),
          pid: yield* server.pid
        }
      })
    ),
    pins: Effect.map(
      Effect.forEach(servers, (server) =>
        Effect.map(server.tools, (found) => [
          server.name,
          Object.fromEntries(found.map((info) => [info.name, fingerprint(info)]))
        ])
      ),
      (pairs) => Object.fromEntries(pairs) as Readonly<Record<string, Readonly<Record<string, string>>>>
    ),
    resources: Resources.resources(servers),
    resourceTemplates: Resources.templates(servers),
    readResource: (name, uri) => by(name, "resources/read", (server) => Resources.read(server, uri)),
    prompts: Resources.prompts(servers),
    prompt: (name, prompt, args = {}) => by(name, "prompts/get", (server) => Resources.prompt(server, prompt, args)),
    request: (name, method, params = {}) =>
      by(name, method, (server) => server.request(method, "", params, { again: false })),
    rootsChanged: Effect.forEach(servers, (server) => server.notify("notifications/roots/list_changed"), {
      discard: true
    }),
    notifications
  }
}

/**
 * MCP servers for agents: programs that speak by their input and output, addresses (streamable HTTP, or SSE), and
 * server objects in this process. It works on both edges, except for server objects, which `Effect.runSync` cannot run.
 *
 * However many agents share the Layer, also through `Effect.provide` in several places at once, each server is connected
 * once. A connection that is lost is tried again with backoff: calls that were under way fail, or are made again where
 * a server with `trustHints` says that the tool is idempotent or read-only; the model sees which. When the last user is done, the
 * server's process and all that it has started are ended, with SIGTERM and SIGKILL if need be; so they are when this
 * process is killed.
 *
 * Fails with `McpConnectError`: of a program it says the command, the exit code and the end of its stderr. Throws
 * `InvalidDefinition` for a definition that can never work.
 *
 * Source: the Model Context Protocol, revision 2025-11-25, and older ones by negotiation.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, Mcp, OpenAi } from "troupe"
 *
 * const Servers = Mcp.layer({
 *   servers: {
 *     files: { command: "npx", args: ["-y", "@modelcontextprotocol/server-filesystem", "."], deny: ["write_*"] },
 *     docs: { url: "https://example.com/mcp" }
 *   }
 * })
 * const agent = Agent.make("agent", { instructions: "Use the tools.", tools: [Mcp.tools()] })
 * const program = agent.run("What is in README.md?").pipe(
 *   Effect.provide(Layer.mergeAll(Servers, OpenAi.layer({ model: "gpt-4.1-mini" })))
 * )
 */
export const layer = <R = never>(options: Options<R>): Layer.Layer<Mcp, McpConnectError, R> =>
  Layer.effect(Mcp, share(connect(options)))

/**
 * Like {@link layer}, with the servers of a config file in the form that MCP hosts share:
 * `{ "mcpServers": { "name": { "command": "...", "args": [], "env": {} }, "other": { "url": "..." } } }`. The file may have
 * comments and trailing commas; `timeout` is in milliseconds. `${NAME}` and `${NAME:-default}` in it are filled in from
 * Config. A key that is not followed is logged as a warning.
 *
 * **Loading a file means running it**: the programs that it names are started, and the variables that it names are given to
 * them, or sent to the addresses in it. By default it may name any. For a file that is not your own, such as the `.mcp.json`
 * of a repository, give `variables` and `approve`.
 *
 * Fails with `McpConfigError` when the file cannot be read or used, with `McpConnectError` as {@link layer} does.
 *
 * @example
 * import { Effect } from "effect"
 * import { Mcp } from "troupe"
 *
 * const Servers = Mcp.layerFile(".mcp.json", {
 *   variables: ["DOCS_TOKEN"],
 *   approve: (server) => Effect.succeed(server.url?.startsWith("https://docs.example.com/") === true)
 * })
 */
export const layerFile = <R = never>(
  file: string,
  options: Answers<R> & FileOptions<R> = {}
): Layer.Layer<Mcp, McpConnectError | McpConfigError, R> => {
  assertOptions("Mcp.layerFile", options, knownOfFile)
  const { approve, variables, ...answers } = options
  const found = fromFile(file, { approve, variables })
  return Layer.effect(Mcp, share(Effect.flatMap(found, (servers) => connect({ ...answers, servers }))))
}

/**
 * The tools of the servers, for the `tools` of an agent: asked for before each step, so the agent has those that a server
 * adds meanwhile. With more than one server, names begin with the server's: `files_search`. With one server, only a tool
 * whose name the agent has already gets such a name.
 *
 * Arguments are checked against the tool's schema before the call. When a tool fails, the model sees the reason (`McpToolFailed`,
 * `McpCallError`), images go to the model as files, progress is a `ToolProgress` event.
 *
 * @example
 * import { Agent, Mcp } from "troupe"
 *
 * const reader = Agent.make("reader", { tools: [Mcp.tools({ servers: ["files"], allow: ["read_*"] })] })
 */
export const tools = (view: Tools.View = {}): ToolSource.ToolSource<Mcp> => {
  assertView("Mcp.tools", view)
  return ToolSource.holding(
    ToolSource.make("mcp", (taken) => Effect.flatMap(Mcp, (mcp) => mcp.tools(view, taken)), { from: Mcp }),
    () => (view.servers ?? ["*"]).map(toolOfServer)
  )
}

const knownOfView = namesOf<Tools.View>({ servers: true, allow: true, deny: true, prefix: true })

const assertView = (subject: string, view: Tools.View): void => {
  assertOptions(subject, view, knownOfView)
  assertOneOf(subject, "prefix", view.prefix, ["collision", "always"])
}

/** Stands for the tools of a server, which are not known before they are listed. No server has the name `*`. */
const toolOfServer = (server: string) => Tool.make("mcp").annotate(ServerName, server)

/**
 * Two tools, `list_resources` and `read_resource`, by which the model reads the servers' resources itself. Of binary
 * content it sees only the size. A tool whose name the agent already has is left out.
 *
 * @example
 * import { Agent, Mcp } from "troupe"
 *
 * const reader = Agent.make("reader", { tools: [Mcp.tools(), Mcp.resourceTools()] })
 */
export const resourceTools = (): ToolSource.ToolSource<Mcp> =>
  ToolSource.make(
    "mcp resources",
    (taken) => Effect.map(Mcp, (mcp) => readersOf(mcp).filter(({ name }) => !taken.has(name))),
    { from: Mcp, names: Resources.toolNames }
  )

/** The same tools at each step. */
const readersOf = memoize(Resources.tools)

/**
 * What is known of the tools before they are: that they need nothing. `Tool.Any` would need `any`, and could not be
 * run.
 */
type AnyTools = Record<
  string,
  Tool.Tool<
    string,
    {
      readonly parameters: typeof Schema.Unknown
      readonly success: typeof Schema.Unknown
      readonly failure: typeof Schema.Unknown
      readonly failureMode: "return"
    }
  >
>

/**
 * The tools of now as a toolkit, for programs that call `LanguageModel` of `effect/ai` themselves. An agent takes
 * {@link tools}, which follows changes.
 *
 * @example
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { Mcp } from "troupe"
 *
 * const program = Effect.gen(function* () {
 *   const toolkit = yield* Mcp.toolkit({ allow: ["read_*"] })
 *   return yield* LanguageModel.generateText({ prompt: "What is in README.md?", toolkit })
 * })
 */
export const toolkit = (view: Tools.View = {}): Effect.Effect<Toolkit.WithHandler<AnyTools>, never, Mcp> => {
  assertView("Mcp.toolkit", view)
  return Effect.flatMap(Mcp, (mcp) => Effect.flatMap(mcp.tools(view), Tools.toToolkit<AnyTools>))
}
