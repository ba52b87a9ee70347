/**
 * Runners as the tools of an MCP server, over stdio or streamable HTTP. The protocol is Effect's `McpServer`; what is
 * here makes tools of runners, guards the transports, and ends everything when the client or the scope does.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as McpSchema from "effect/ai/McpSchema"
import type * as EffectMcpServer from "effect/ai/McpServer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as AgentTool from "../../AgentTool.ts"
import { assertList, assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import { InvalidDefinition } from "../../RunError.ts"
import * as Runner from "../../Runner.ts"
import { ofAgentTool } from "./internal/server/agentTool.ts"
import type { Closing } from "./internal/server/closing.ts"
import * as Limits from "./internal/server/limits.ts"
import * as Tool from "./internal/server/tool.ts"

export { isTool, stepProgress, textProgress } from "./internal/server/tool.ts"
export { prompt, type PromptOptions } from "./internal/server/prompt.ts"
export { skills } from "./internal/server/skills.ts"
export { memory, sessions, traces } from "./internal/server/stores.ts"
export { keepingStdout } from "../internal/process/standardOutput.ts"

/** A runner with its definition for MCP clients: see {@link tool}. */
export type McpTool<Services> = Tool.Tool<Services>
/** How a runner is shown to MCP clients: see {@link tool}. */
export type ToolOptions<Parameters extends Schema.Top, Input, Output, Failure = never> = Tool.Options<
  Parameters,
  Input,
  Output,
  Failure
>
/** Hints on what a call of a tool does. */
export type ToolAnnotations = Tool.Annotations

/**
 * A tool of a server: a runner whose input can be a text, the result of {@link tool}, or a tool of agents, such as those of
 * `Memory.tools`. A tool of agents must need no approval and not be one that the caller of an agent's run runs.
 */
export type ToolLike = Runner.Runner<string, unknown, unknown, unknown> | McpTool<unknown> | AgentTool.Any

/** The services that runs of `T` need, without what each MCP request brings with it. */
export type ServicesOf<T> = Exclude<
  T extends McpTool<infer R>
    ? R
    : T extends AgentTool.AgentTool<string, infer R>
      ? R
      : T extends Runner.Runner<never, unknown, unknown, infer R>
        ? R
        : never,
  McpSchema.McpRequestContext | EffectMcpServer.McpServer
>

/**
 * Says how a runner is shown to MCP clients, where its name, its description and a text as input are not enough.
 *
 * A call's arguments are checked against `parameters` before anything runs. The result is the runner's output, encoded:
 * a text as it is, anything else as JSON. When the runner has an `output` schema, or one is given here, the tool has an
 * `outputSchema` and its results `structuredContent`; an output that is not an object is wrapped as `{ result }`. A run that
 * fails gives a result with `isError` and a message for clients (see `failure`). The whole error is logged; what was thrown
 * unexpectedly is only logged.
 *
 * Throws `InvalidDefinition` without a description, for a name that clients refuse and for schemas without a JSON form.
 *
 * @example
 * import { Schema } from "effect"
 * import { Agent, McpServer } from "troupe"
 *
 * const translator = Agent.make("translator", { instructions: "You translate." })
 * const translate = McpServer.tool(translator, {
 *   description: "Translates a text",
 *   parameters: Schema.Struct({ text: Schema.String, language: Schema.String }),
 *   input: ({ text, language }) => `Translate into ${language}: ${text}`,
 *   annotations: { readOnlyHint: true, openWorldHint: false }
 * })
 */
export const tool: {
  <A, E, R>(
    runner: Runner.Runner<string, A, E, R>,
    options?: ToolOptions<never, string, A, E> & { readonly parameters?: undefined; readonly input?: undefined }
  ): McpTool<R>
  <I, A, E, R, Parameters extends Schema.Top>(
    runner: Runner.Runner<I, A, E, R>,
    options: ToolOptions<Parameters, I, A, E> & {
      readonly parameters: Parameters
      readonly input: (params: Parameters["Type"]) => I
    }
  ): McpTool<R | Parameters["DecodingServices"]>
} = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, options: ToolOptions<Schema.Top, I, A, E> = {}): McpTool<R> =>
  Tool.make(runner, options)

/** The identity that the server presents. */
export interface ServerInfo {
  /** Default `"troupe"`. */
  readonly name?: string | undefined
  /** Default `"0.0.0"`. */
  readonly version?: string | undefined
  /** Instructions about the whole server, which a client may pass to its model. */
  readonly instructions?: string | undefined
}

/** Where the server listens, and which clients it answers. */
export interface HttpOptions {
  /** Default 0: any free port; see {@link Served}. */
  readonly port?: number | undefined
  /** Default `"127.0.0.1"`: this machine only. There is no authorization: see {@link serve} before you change it. */
  readonly host?: string | undefined
  /** Default `"/mcp"`. */
  readonly path?: `/${string}` | undefined
  /**
   * Which `Host` headers are answered, without the port. Default: `localhost`, `127.0.0.1`, `[::1]` and `host`. Anything
   * else gets 403, so that a web page cannot reach the server through a name of its own (DNS rebinding).
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /** Which web origins may call, such as `https://app.example`. Default: only pages of the same host and port. */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /** The largest request body, in bytes. Default 4 MiB; a larger one gets 413. */
  readonly maxBodySize?: number | undefined
  /** How many sessions there may be. Default 1000; an `initialize` beyond that gets 503 with `retry-after`. */
  readonly maxSessions?: number | undefined
  /**
   * How long a session may be idle. Default 30 minutes. Then it ends: its next request gets 404, and the client begins a
   * new session. A session is not idle while a request of it is being answered.
   */
  readonly sessionIdle?: Duration.Input | undefined
}

/** How many calls a server takes on at once. */
export interface RunLimits {
  /** How many runs there are at once, over all clients. Default 64. Further calls wait. */
  readonly maxRuns?: number | undefined
  /** How many calls may wait. Default 256; a call beyond that is not run, and its result is an error with the reason. */
  readonly maxWaiting?: number | undefined
}

/** Options of {@link serve}. */
export interface ServeOptions<Tools extends ReadonlyArray<ToolLike>, RE, RR> extends ServerInfo, RunLimits {
  readonly tools: Tools
  /** How many messages a JSON-RPC batch may have. Default 100; a larger one is refused whole. */
  readonly maxBatch?: number | undefined
  /**
   * The longest line of standard input, in bytes. Default 4 MiB. A longer one is not kept: it is refused and logged, and the
   * next ones are read. Over HTTP, `http.maxBodySize` is the limit.
   */
  readonly maxLineSize?: number | undefined
  /** Listen on streamable HTTP; unset: serve on standard input and output. */
  readonly http?: HttpOptions | undefined
  /** Resources, prompts and everything else that Effect's `McpServer` can serve next to the tools. */
  readonly registrations?: Layer.Layer<never, RE, RR> | undefined
}

const known = namesOf<ServeOptions<ReadonlyArray<ToolLike>, never, never>>({
  name: true,
  version: true,
  instructions: true,
  maxRuns: true,
  maxWaiting: true,
  tools: true,
  maxBatch: true,
  maxLineSize: true,
  http: true,
  registrations: true
})
const knownOfHttp = namesOf<HttpOptions>({
  port: true,
  host: true,
  path: true,
  allowedHosts: true,
  allowedOrigins: true,
  maxBodySize: true,
  maxSessions: true,
  sessionIdle: true
})

/** A server that is running. */
export class Served extends Context.Service<
  Served,
  {
    /** Where it listens; `undefined` on stdio. */
    readonly url: string | undefined
    /** Waits until the client has closed standard input and every answer is written. Over HTTP it waits forever. */
    readonly ended: Effect.Effect<void>
  }
>()("troupe/McpServer/Served") {}

/** The server cannot listen at its configured address. */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  host: Schema.String,
  port: Schema.Int,
  /** The system's code, such as `EADDRINUSE`. */
  code: Schema.String
}) {
  override get message(): string {
    return `The MCP server cannot listen on ${this.host}:${this.port} (${this.code}). Stop what uses the port, or give it another port or host.`
  }
}

/** The services that a server with these tools and registrations still needs. */
export type Requirements<Tools extends ReadonlyArray<ToolLike>, RR> =
  | ServicesOf<Tools[number]>
  | Exclude<EffectMcpServer.McpRequest.Without<RR>, EffectMcpServer.McpServer>
  | EffectMcpServer.McpRequest.From<"Requires", Exclude<EffectMcpServer.McpRequest.Only<"Requires", RR>, Scope.Scope>>

/**
 * Registers runners as tools of an MCP server of yours: one in your own `HttpRouter`, for example. The Layer of
 * Effect's `McpServer.layerHttp` takes it as `registrations`.
 *
 * @example
 * import { McpProtocol, McpServer as EffectMcpServer } from "effect/ai"
 * import { Agent, McpServer } from "troupe"
 *
 * const agent = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 * const route = EffectMcpServer.layerHttp({
 *   name: "research",
 *   version: "1.0.0",
 *   path: "/mcp",
 *   protocols: [McpProtocol.v2025_11_25],
 *   registrations: McpServer.layer({ tools: [agent] })
 * })
 */
export const layer = <const Tools extends ReadonlyArray<ToolLike>>(
  options: RunLimits & { readonly tools: Tools }
): Layer.Layer<never, never, EffectMcpServer.McpServer | ServicesOf<Tools[number]>> => {
  assertOptions("McpServer.layer", options, knownOfLayer)
  // The union of the tools' services is what the types say; at run time they are in the Layer's context.
  const tools = toolsOf(options.tools) as ReadonlyArray<McpTool<ServicesOf<Tools[number]>>>
  const places = Limits.placesOf(options)
  return Layer.effectDiscard(Effect.flatMap(loadRegister, ({ register }) => register(tools, places())))
}

const knownOfLayer = namesOf<RunLimits & { readonly tools: unknown }>({ maxRuns: true, maxWaiting: true, tools: true })

/** Loaded with the server: the protocol's schemas are as much code as an agent. */
const loadRegister = Effect.promise(() => import("./internal/server/register.ts"))

const toolsOf = (likes: ReadonlyArray<ToolLike>): ReadonlyArray<McpTool<unknown>> => {
  assertList(Limits.subject, "tools", likes, Predicate.isObject, { what: "a tool", remedy: "Write tools: [runner]" })
  const tools = likes.map((like) => {
    if (AgentTool.isAgentTool(like)) return ofAgentTool(like)
    return Runner.isRunner(like) ? Tool.make(like as Runner.Runner<string, unknown, unknown, unknown>) : like
  })
  const names = tools.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  if (twice === undefined) return tools
  throw new InvalidDefinition({
    subject: Limits.subject,
    problem: `two of its tools are called "${twice}"`,
    remedy: "Give one of them another name with McpServer.tool"
  })
}

/**
 * Serves runners as MCP tools: on standard input and output by default, on streamable HTTP with `http`. The protocol
 * revisions are 2024-11-05 to 2026-07-28, whichever the client speaks.
 *
 * The services that runs need are provided once, around this Layer, and shared by all calls. Calls run at once, up to
 * `maxRuns`; further ones wait. While one runs, a client that gave a progress token receives progress notifications; a `notifications/cancelled`, a client that hangs up and
 * the end of the Layer's scope interrupt it, with its model requests and tools.
 *
 * On stdio, standard output carries the protocol and nothing else: while the server runs, all other output, of
 * `console.log` for example, goes to standard error. The server ends when standard input does.
 *
 * On HTTP, the Layer fails with {@link ListenError} when it cannot listen. There is no authorization:
 * who reaches the port can call the tools, at the cost of your model's account. Keep it on this machine, or put a proxy
 * before it that authenticates each request. Sessions are kept in memory until the client ends them or they are idle for
 * `sessionIdle`; streams are not resumable. Closing the scope interrupts the runs, answers their calls and closes every
 * socket.
 *
 * Throws `InvalidDefinition` for tools that cannot be shown to a client (see {@link tool}) and for limits that are not
 * positive.
 *
 * @example
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { Agent, McpServer, OpenAi } from "troupe"
 *
 * const agent = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 * const Server = McpServer.serve({ name: "research", tools: [agent], http: { port: 8080 } })
 *
 * Layer.launch(Server).pipe(Effect.provide(OpenAi.layer({ model: "gpt-4.1-mini" })), NodeRuntime.runMain)
 */
export const serve = <const Tools extends ReadonlyArray<ToolLike>, RE = never, RR = never>(
  options: ServeOptions<Tools, RE, RR>
): Layer.Layer<Served, ListenError | RE, Requirements<Tools, RR>> => {
  assertOptions("McpServer.serve", options, known)
  if (options.http !== undefined) assertOptions("http of McpServer.serve", options.http, knownOfHttp)
  const tools = toolsOf(options.tools)
  const maxBatch = countOf(Limits.subject, "maxBatch", options.maxBatch ?? 100)
  const maxLineSize = countOf(Limits.subject, "maxLineSize", options.maxLineSize ?? 4 * 1024 * 1024)
  const sessions = Limits.sessionLimits(options.http ?? {})
  countOf(Limits.subject, "http.maxBodySize", options.http?.maxBodySize ?? 1)
  const places = Limits.placesOf(options)
  const info = {
    name: options.name ?? "troupe",
    version: options.version ?? "0.0.0",
    ...(options.instructions === undefined ? {} : { instructions: options.instructions })
  }
  return Layer.effect(
    Served,
    Effect.gen(function* () {
      const closing: Closing = yield* Deferred.make<void>()
      const { register } = yield* loadRegister
      const ours = Layer.effectDiscard(register(tools, places(), closing))
      const registrations =
        options.registrations === undefined ? ours : Layer.merge(ours, options.registrations as Layer.Layer<never>)
      // Loaded when it is chosen: the HTTP server is most of the code.
      if (options.http === undefined) {
        const { serveStdio } = yield* Effect.promise(() => import("./internal/server/stdio.ts"))
        return Served.of({
          url: undefined,
          ended: yield* serveStdio(info, registrations, closing, { maxBatch, maxLineSize })
        })
      }
      const { serveHttp } = yield* Effect.promise(() => import("./internal/server/http.ts"))
      const url = yield* serveHttp(info, registrations, closing, { ...options.http, maxBatch, sessions }).pipe(
        Effect.mapError((failure) => new ListenError(failure))
      )
      return Served.of({ url, ended: Effect.never })
    })
  ) as Layer.Layer<Served, ListenError | RE, Requirements<Tools, RR>>
}

/**
 * Serves until standard input ends, or until it is interrupted: {@link serve} as a whole program.
 *
 * @example
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { Agent, McpServer, OpenAi } from "troupe"
 *
 * const agent = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 *
 * McpServer.run({ tools: [agent] }).pipe(
 *   Effect.provide(OpenAi.layer({ model: "gpt-4.1-mini" })),
 *   NodeRuntime.runMain
 * )
 */
export const run = <const Tools extends ReadonlyArray<ToolLike>, RE = never, RR = never>(
  options: ServeOptions<Tools, RE, RR>
): Effect.Effect<void, ListenError | RE, Requirements<Tools, RR>> =>
  Effect.flatMap(Served, (served) => served.ended).pipe(Effect.provide(serve(options))) as Effect.Effect<
    void,
    ListenError | RE,
    Requirements<Tools, RR>
  >
