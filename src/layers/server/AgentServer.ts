/**
 * Runners behind HTTP: as a server of its own, as routes of a router, or as a function from `Request` to `Response` for any
 * framework. Each wire format is a pure function from the events of a run; a client that hangs up interrupts its run.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import type * as Runner from "../../Runner.ts"
import { type ClientOptions, remote } from "./internal/remote.ts"
import type { RemoteError } from "./internal/remoteError.ts"
import { Exposed } from "../../RunEvent.ts"
import type { TraceStore } from "../../services/TraceStore.ts"
import { loopback, type ServerOptions, type Settings, settingsOf } from "./internal/settings.ts"
import { type ServedRunner, servedOf } from "./internal/served.ts"

export type { ClientOptions } from "./internal/remote.ts"
export { RemoteError } from "./internal/remoteError.ts"
export type { Accepted, Limits, ServerOptions } from "./internal/settings.ts"

/** A runner with the schema of what clients send it. */
export interface WithInput {
  readonly runner: Runner.Member
  readonly input: Schema.Top
}

/** The runners of a server, by the names under which clients know them. */
export type Runners = Readonly<Record<string, Runner.Member | WithInput>>

type RunnerIn<Given> = Given extends { readonly runner: infer Inner } ? Inner : Given

/** The services that the runners need, and the schemas of their inputs. */
export type Needs<Rs extends Runners> = {
  [K in keyof Rs]:
    | Runner.Services<RunnerIn<Rs[K]>>
    | (Rs[K] extends { readonly input: infer S extends Schema.Top } ? S["DecodingServices"] : never)
}[keyof Rs]

/** The compile error for a runner that cannot be served as it is. */
export interface Unserved<Problem extends string> {
  readonly "~troupe/AgentServer/Unserved": Problem
}

/** A runner is served as it is when it takes a text; another one with the schema of its input. */
export type Served<Rs> = {
  readonly [K in keyof Rs]: Rs[K] extends { readonly runner: infer Inner; readonly input: infer S extends Schema.Top }
    ? [S["Type"]] extends [Runner.Input<Inner>]
      ? WithInput
      : Unserved<"The schema does not decode to what the runner takes.">
    : Rs[K] extends Runner.Runner<string, unknown, unknown, unknown>
      ? Runner.Member
      : Unserved<"This is not a runner of texts, by name. Write { name: runner }, or { name: { runner, input: Schema } } for another input">
}

/** Options of {@link layer} and {@link toWebHandler}. */
export interface Options<Rs extends Runners> extends ServerOptions {
  readonly runners: Rs & Served<Rs>
}

/** Options of {@link serve}. */
export interface ServeOptions<Rs extends Runners> extends Options<Rs> {
  /** 0: any free port, see {@link Listening}. */
  readonly port: number
  /**
   * The address to listen at. Default `"127.0.0.1"`, this machine only; with `hosts` every address of the machine,
   * `"0.0.0.0"`.
   */
  readonly host?: string | undefined
}

/** A server that listens. */
export class Listening extends Context.Service<
  Listening,
  {
    /** Its address, such as `http://127.0.0.1:3000`. */
    readonly url: string
  }
>()("troupe/AgentServer/Listening") {}

/** The server cannot listen at its address. */
export class ServeError extends Schema.TaggedError<ServeError>()("ServeError", {
  host: Schema.String,
  port: Schema.Int,
  /** The system's code, such as `EADDRINUSE`. */
  code: Schema.String
}) {
  override get message(): string {
    return `The server cannot listen on ${this.host}:${this.port} (${this.code}). Stop what uses the port, or give it another port or host.`
  }
}

/**
 * Serves runners over HTTP until the Layer is released: `GET /runners`, `POST /runners/NAME`,
 * `POST /runners/NAME/stream`, `/runs/ID` and more, see the guide "Servers". The Layer needs what the runners need.
 *
 * It listens on this machine only, unless `hosts` or `host` is given. A client that hangs up interrupts its run, unless it
 * asked for a detached one; a slow client slows it. When it is released it takes nothing more, waits `drain` for the answers
 * under way, and then interrupts their runs, whose last events are still written. Fails with `ServeError`
 * where it cannot listen. Throws `InvalidDefinition` for options that no server could have. It runs on Node; elsewhere use
 * {@link toWebHandler}.
 *
 * @example
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { Agent, AgentServer, OpenAi } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * const Server = AgentServer.serve({ runners: { desk }, port: 3000 })
 *
 * Layer.launch(Server.pipe(Layer.provide(OpenAi.layer({ model: "gpt-4.1-mini" })))).pipe(NodeRuntime.runMain)
 */
export const serve = <const Rs extends Runners>(
  options: ServeOptions<Rs>
): Layer.Layer<Listening, ServeError, Needs<Rs>> => {
  const isLocal = options.host === undefined && options.hosts === undefined
  const settings = settingsOf(options, [...loopback, ...(options.host === undefined ? [] : [options.host])], isLocal)
  const runners = servedOf(options.runners)
  const host = options.host ?? (options.hosts === undefined ? "127.0.0.1" : "0.0.0.0")
  return listening(settings, runners, host, options.port) as Layer.Layer<Listening, ServeError, Needs<Rs>>
}

const listening = (
  settings: Settings,
  runners: ReadonlyMap<string, ServedRunner>,
  host: string,
  port: number
): Layer.Layer<Listening, ServeError> =>
  Layer.effect(
    Listening,
    Effect.flatMap(
      // Loaded when it serves: the HTTP server is most of the code. By a condition of the package, so that a bundle for a
      // platform without Node has nothing of Node in it.
      Effect.promise(() => import("#agent-server")),
      (node) =>
        node.serve(settings, runners, { host, port }).pipe(
          Effect.mapError(({ code }) => new ServeError({ host, port, code })),
          Effect.map((url) => Listening.of({ url }))
        )
    )
  )

const knownOfTraces = namesOf<TracesOptions>({ port: true, expose: true })
const knownOfClient = namesOf<ClientOptions>({
  url: true,
  token: true,
  headers: true,
  limit: true,
  fetch: true,
  errors: true
})

/** Options of {@link serveTraces}. */
export interface TracesOptions {
  /** 0: any free port, see {@link Listening}. */
  readonly port: number
  /** What the page shows beyond text, names and states of tool calls, decisions, usage and the end. Default: everything. */
  readonly expose?: ServerOptions["expose"]
}

/**
 * Serves the runs that a `TraceStore` keeps, of this or any other process, to people on this machine: the playground at `/`,
 * without a runner to run, and `GET /traces`. `troupe trace --playground runs.db` is this over a database.
 *
 * It listens at 127.0.0.1 until the Layer is released. Fails with `ServeError` where it cannot listen. Traces hold what was said
 * and what tools were called with, and the page shows it: so it cannot listen at another address.
 *
 * @example
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { AgentServer, Sqlite, TraceStore } from "troupe"
 *
 * const Traces = TraceStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: "runs.db" })))
 * Layer.launch(AgentServer.serveTraces({ port: 3000 }).pipe(Layer.provide(Traces))).pipe(NodeRuntime.runMain)
 */
export const serveTraces = (options: TracesOptions): Layer.Layer<Listening, ServeError, TraceStore> => {
  assertOptions("AgentServer.serveTraces", options, knownOfTraces)
  const settings = settingsOf({ expose: options.expose ?? Exposed.literals, playground: true }, loopback, true)
  return listening(settings, new Map(), "127.0.0.1", options.port)
}

/**
 * The routes of {@link serve} for a router that a program has. `prefix` puts them below a path. The router answers what none of them
 * does, and decides how long a part of an address may be: its `HttpRouter.RouterConfig` allows 100 characters unless it says otherwise.
 *
 * @example
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 * import { Agent, AgentServer, DemoModel } from "troupe"
 * import { createServer } from "node:http"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * const routes = Layer.mergeAll(
 *   HttpRouter.add("GET", "/", HttpServerResponse.text("Hello")),
 *   AgentServer.layer({ runners: { desk }, prefix: "/agents" })
 * )
 * const Live = HttpRouter.serve(routes).pipe(
 *   Layer.provide(DemoModel.layer),
 *   Layer.provide(NodeHttpServer.layer(() => createServer(), { port: 3000 }))
 * )
 */
export const layer = <const Rs extends Runners>(
  options: Options<Rs>
): Layer.Layer<never, never, HttpRouter.HttpRouter | Needs<Rs>> => {
  const settings = settingsOf(options)
  const runners = servedOf(options.runners)
  return Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("./internal/web.ts")),
      (web) => web.routes(settings, runners)
    )
  ) as Layer.Layer<never, never, HttpRouter.HttpRouter | Needs<Rs>>
}

/** A server as a function. */
export interface WebHandler {
  /** Answers a request. The signal of the request, and ending the body of the answer, interrupt the run. */
  readonly handler: (request: Request) => Promise<Response>
  /** Drains: takes nothing more, waits for the answers under way, and releases the Layer. */
  readonly dispose: () => Promise<void>
}

/**
 * The routes of {@link serve} as a function from `Request` to `Response`, for Next, Hono, Bun, Deno, workers and anything
 * else. `live` gives what the runners need, and may give more. It is built with the first request.
 *
 * @example
 * import { Agent, AgentServer, DemoModel } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * export const { handler, dispose } = AgentServer.toWebHandler({ runners: { desk } }, DemoModel.layer)
 *
 * const answer = handler(
 *   new Request("http://localhost/runners/desk", {
 *     method: "POST",
 *     headers: { "content-type": "application/json" },
 *     body: JSON.stringify({ input: "What is 2 + 40?" })
 *   })
 * )
 */
export const toWebHandler = <const Rs extends Runners, E>(
  options: Options<Rs>,
  live: Layer.Layer<NoInfer<Needs<Rs>>, E>
): WebHandler => {
  // `live` covers what the routes need but the router, which the handler brings.
  const app = Layer.provide(layer(options), live as Layer.Layer<unknown, E>) as Layer.Layer<
    never,
    E,
    HttpRouter.HttpRouter
  >
  let made: Promise<WebHandler> | undefined
  const make = () => (made ??= import("./internal/web.ts").then((web) => web.handler(app)))
  return {
    handler: (request) => make().then(({ handler }) => handler(request)),
    dispose: () => made?.then(({ dispose }) => dispose()) ?? Promise.resolve()
  }
}

/** A runner on a server, with the types that it has there. */
// Conditional, so that an editor shows the runner in place of this type's name.
export type Remote<Given> =
  RunnerIn<Given> extends infer R
    ? Runner.Runner<Runner.Input<R>, Runner.Output<R>, Runner.Error<R> | RemoteError, never>
    : never

/**
 * The runners of a server as runners here: typed, and in need of no service, because model and tools are the server's. Each
 * run is a request; interrupting it ends the request, and so the run on the server. `stream` has the events that the server
 * shows to clients.
 *
 * A run fails as the runner does, with the same errors, as far as the server shows them: without the inside of the server,
 * and with its bill but without its transcript. Anything else is a `RemoteError`. Throws `InvalidDefinition` for an input
 * without a JSON form.
 *
 * @example
 * import { Redacted } from "effect"
 * import { Agent, AgentServer } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * const remote = AgentServer.client({ desk }, { url: "https://agents.example", token: Redacted.make("secret") })
 * const answer = remote.desk.run("What is 2 + 40?")
 */
export const client = <const Rs extends Runners>(
  runners: Rs & Served<Rs>,
  options: ClientOptions
): { readonly [K in keyof Rs]: Remote<Rs[K]> } => {
  assertOptions("AgentServer.client", options, knownOfClient)
  if (options.limit !== undefined) countOf("AgentServer.client", "limit", options.limit)
  // Each is a runner of the types of the one that is given.
  return Object.fromEntries(
    Object.entries(runners).map(([name, given]) => [name, remote(name, given, options)])
  ) as Readonly<Record<string, Runner.Member>> as { readonly [K in keyof Rs]: Remote<Rs[K]> }
}
