/**
 * Tools that carry their own handlers, so that two agents with equally named tools never get each other's: what such a
 * tool is, and how it is made of a function or a module. How definitions are checked is in
 * `internal/toolDefinition.ts`, how functions are run in `internal/toolFunction.ts`. It may touch the run's port; it
 * knows no agent or layer.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import { assertFunction, assertOptions } from "./internal/definition.ts"
import { toJson } from "./internal/json.ts"
import * as ModuleTool from "./internal/moduleTool.ts"
import type { Drawable } from "./internal/structure.ts"
import { define, durationOf, guarded, type Hints, NoParameters, validate } from "./internal/toolDefinition.ts"
import { call, CannotWait, type Kind, kindOf, type ToolContext } from "./internal/toolFunction.ts"
import { InvalidDefinition } from "./RunError.ts"
import { CurrentRun, type RunInfo } from "./services/CurrentRun.ts"
import { isSync, SyncBridge } from "./services/SyncBridge.ts"

export type { Hints } from "./internal/toolDefinition.ts"
export type { Kind, ToolContext } from "./internal/toolFunction.ts"
export { ModuleToolFailed, ModuleUnusable, WorkerCrashed } from "./services/WorkerThreads.ts"

const TypeId = "~troupe/AgentTool"

/** A tool with its handler. `Services` is what its function needs; the agent needs it too. */
export interface AgentTool<out Name extends string, out Services> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly kind: Kind
  /** The `effect/ai` tool that the model is shown. */
  readonly tool: Tool.Any
  /** How long one call may take. `undefined`: the agent's `toolTimeout`. */
  readonly timeout: Duration.Duration | undefined
  /** @internal The runner that it is the tool form of. */
  readonly runner: Drawable | undefined
  /**
   * @internal Runs the function on decoded parameters; fails with what it threw or failed with. Tells `onPromise` when
   * a promise is under way, which goes on whatever happens to the run.
   */
  readonly execute: (
    params: unknown,
    context: Omit<ToolContext, "signal">,
    onPromise: () => void
  ) => Effect.Effect<unknown, unknown, Services>
  /** @internal Answers a call from another thread: JSON in, JSON out. It needs no service but what the tool provides. */
  readonly serve: (params: unknown, context: ModuleTool.ServedContext) => Promise<ModuleTool.Served>
}

/** Any tool with its handler. */
export type Any = AgentTool<string, unknown>
/** The services that tool `T` needs. */
export type Services<T> = T extends AgentTool<infer _Name, infer R> ? R : never

/** True for a tool with its handler. */
export const isAgentTool = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

type ServicesOf<Out> =
  Out extends Effect.Effect<infer _A, infer _E, infer R>
    ? R
    : Out extends Generator<infer Y, infer _A, infer _N>
      ? Y extends Effect.Effect<infer _B, infer _E2, infer R2>
        ? R2
        : never
      : never
/** What a function may give for a tool whose result is `A`. */
export type Returns<A> =
  | A
  | PromiseLike<A>
  | Effect.Effect<A, unknown, unknown>
  | Generator<Effect.Effect<unknown, unknown, unknown>, A, never>

/** What {@link fromFunction} takes. */
export interface FromFunctionOptions<
  Name extends string,
  Parameters extends Schema.Top,
  Success extends Schema.Top,
  Out
> {
  /** 1 to 64 letters, digits, `_` or `-`: what every provider accepts. */
  readonly name: Name
  /** What it does and when to use it: all that the model knows of it besides its parameters. */
  readonly description: string
  /** A struct; none: the tool takes no parameters. */
  readonly parameters?: Parameters | undefined
  /** How the result is encoded for the model; none: by its own JSON shape. */
  readonly success?: Success | undefined
  /**
   * What a failure does. `"return"` (default): the model sees it and may try again. `"error"`: the run fails with
   * `ToolError` and the other tool calls of the step are interrupted.
   */
  readonly failureMode?: "return" | "error" | undefined
  /** How long one call may take; then it is interrupted and counts as failed. None: the agent's `toolTimeout`. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether somebody has to approve a call before it is made, see `Approvals`: always, or by its arguments and the
   * conversation so far. Default `false`.
   */
  readonly needsApproval?:
    | boolean
    | ((params: Parameters["Type"], context: Tool.NeedsApprovalContext) => boolean | Effect.Effect<boolean>)
    | undefined
  /** What the tool says of itself to approvers and MCP clients. */
  readonly hints?: Hints | undefined
  /** Overrides the detection of the kind, for a function that gives a promise and is not declared `async`. */
  readonly kind?: Kind | undefined
  readonly execute: (params: Parameters["Type"], context: ToolContext) => Out
}

/**
 * Makes a tool of a function: sync, async, an Effect, or a generator of Effects. What it throws, rejects or fails with
 * goes to the model as a failed result it can act on (see `failureMode`).
 *
 * Interrupting the run interrupts an Effect, and fires `context.signal` for a promise. Throws `InvalidDefinition` for a
 * name a provider would refuse and for parameters that have no JSON form or are not an object.
 *
 * @example
 * import { Schema } from "effect"
 * import { AgentTool } from "troupe"
 *
 * const weather = AgentTool.fromFunction({
 *   name: "weather",
 *   description: "Tells the weather of a city",
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   execute: async ({ city }, { signal }) => (await fetch(`http://localhost:9/${city}`, { signal })).text()
 * })
 */
export const fromFunction = <
  const Name extends string,
  Out extends Returns<Success["Type"]>,
  Parameters extends Schema.Top = typeof NoParameters,
  Success extends Schema.Top = typeof Schema.Unknown
>(
  options: FromFunctionOptions<Name, Parameters, Success, Out>
): AgentTool<Name, ServicesOf<Out> | Parameters["DecodingServices"] | Success["EncodingServices"]> => {
  assertOptions("a tool", options, known, elsewhere)
  assertFunction(`tool "${options.name}"`, "execute", options.execute)
  const kind = options.kind ?? kindOf(options.execute)
  const tool = define(
    options.name,
    options.description,
    (options.parameters ?? NoParameters) as Schema.Top,
    (options.success ?? Schema.Unknown) as Schema.Top,
    options.failureMode ?? "return"
  )
  const plain = options.success === undefined
  return make(options.name, kind, guarded(tool, options), options.timeout, (params, context, onPromise) => {
    const execute = options.execute as (params: unknown, context: ToolContext) => unknown
    // The inferred services are those of `Out`; a generator is what `Effect.gen` takes.
    const given = call(kind, execute, params, context, onPromise) as Effect.Effect<unknown, unknown, ServicesOf<Out>>
    return plain ? Effect.map(given, toJson) : given
  })
}

/** The options of a tool, by name. */
const known: ReadonlySet<string> = new Set([
  "name",
  "description",
  "parameters",
  "success",
  "failureMode",
  "timeout",
  "needsApproval",
  "hints",
  "kind",
  "execute"
] satisfies ReadonlyArray<keyof FromFunctionOptions<string, Schema.Top, Schema.Top, unknown>>)

/** What tools of other libraries have in place of what ours have. */
const elsewhere = {
  id: "Give its name as name",
  inputSchema: "Give the schema of the arguments as parameters",
  input_schema: "Give the schema of the arguments as parameters",
  outputSchema: "Give the schema of the result as success",
  schema: "Give the schema of the arguments as parameters",
  func: "Give the function as execute",
  handler: "Give the function as execute",
  run: "Give the function as execute"
}

/** What {@link fromModule} takes when the module exports a plain function: everything but the function. */
export interface FromModuleOptions<
  Name extends string,
  Parameters extends Schema.Top,
  Success extends Schema.Top
> extends Omit<FromFunctionOptions<Name, Parameters, Success, unknown>, "execute" | "kind"> {
  /** The name of the module's export. Default: `default`. */
  readonly export?: string | undefined
}

/** What a plain function in a module is told besides its parameters. `progress` takes JSON. */
export interface ModuleContext extends Omit<ToolContext, "progress"> {
  readonly progress: (result: unknown) => void
}

/** A plain function that a module exports for {@link fromModule}. It gets and gives the JSON forms of the schemas. */
export type ModuleFunction<Parameters extends Schema.Top, Success extends Schema.Top = typeof Schema.Unknown> = (
  params: Parameters["Encoded"],
  context: ModuleContext
) => Success["Encoded"] | PromiseLike<Success["Encoded"]>

interface FromModule {
  <T extends AgentTool<string, never> = AgentTool<string, never>>(
    module: URL,
    options?: { readonly export?: string | undefined; readonly name?: never }
  ): AgentTool<T["name"], never>
  <
    const Name extends string,
    Parameters extends Schema.Top = typeof NoParameters,
    Success extends Schema.Top = typeof Schema.Unknown
  >(
    module: URL,
    options: FromModuleOptions<Name, Parameters, Success>
  ): AgentTool<Name, SchemaServices<Parameters> | SchemaServices<Success>>
}
type SchemaServices<S extends Schema.Top> = S["DecodingServices"] | S["EncodingServices"]

/**
 * Makes a tool that runs in a worker thread: blocking code does not block the event loop, and an endless loop can be
 * stopped. It works at both edges, also with `async` code: it is the way to call an async function under `runSync`.
 *
 * The module exports a tool of {@link fromFunction} that needs no services. It is loaded at once for its definition, and
 * again in each thread, so it must not await at its top level, and what is slow to load is better imported inside of the
 * function. Or it exports a plain function (see {@link ModuleFunction}), which the program itself never loads, and the
 * definition is given here.
 *
 * Parameters are checked on this side; they, the results and errors cross as JSON. Interruption, the tool's timeout
 * included, fires `context.signal`, and ends the thread when the function has not ended 100 ms later; the run goes on when
 * it has. Loading the module is part of the first call; a call that is interrupted before is over at once, and the thread
 * goes on loading for the next one. What the function throws is told as for any tool; a thread that ends in the middle of a
 * call fails that call with `WorkerCrashed`, a module that cannot be loaded there with `ModuleUnusable`. A native crash
 * ends the process.
 *
 * Threads are kept for further calls, so a module's own state lives on between calls. `WorkerPool.layer` says how many
 * there are; unset, as many as the machine has processors, and they end when idle for 30 seconds.
 *
 * Throws `InvalidDefinition` for a module that cannot be loaded or does not export a tool.
 *
 * @example
 * import { Agent, AgentTool } from "troupe"
 *
 * // resize.ts: export default AgentTool.fromFunction({ name: "resize", ... })
 * const agent = () =>
 *   Agent.make("agent", { tools: [AgentTool.fromModule(new URL("./resize.ts", import.meta.url))] })
 */
export const fromModule: FromModule = (
  module: URL,
  options: Partial<FromModuleOptions<string, Schema.Top, Schema.Top>> = {}
): AgentTool<string, never> => {
  const place: ModuleTool.Place = { module, export: options.export ?? "default" }
  const { description, failureMode = "return", name, parameters = NoParameters, success = Schema.Unknown } = options
  if (name !== undefined) {
    const tool = guarded(define(name, description ?? "", parameters, success, failureMode), options)
    return inModule(name, tool, options.timeout, place)
  }
  const found = ModuleTool.load(place)
  if (!isAgentTool(found)) {
    throw new InvalidDefinition({
      subject: `tool module ${module.href}`,
      problem: `its export "${place.export}" is no tool`,
      remedy: "Export what AgentTool.fromFunction returns, or give name, description and parameters as options"
    })
  }
  validate(found.tool)
  return inModule(found.name, found.tool, found.timeout, place)
}

const inModule = <Name extends string>(
  name: Name,
  tool: Tool.Any,
  timeout: Duration.Input | undefined,
  place: ModuleTool.Place
): AgentTool<Name, never> =>
  make(name, "effect", tool, timeout, (params, { progress, ...info }) =>
    Effect.flatMap(Effect.all([isSync, SyncBridge]), ([sync, bridge]) =>
      // Without the edge's loop nobody could hear the thread.
      sync && bridge === undefined
        ? Effect.fail(new CannotWait())
        : ModuleTool.call(tool, place, params, info, progress)
    )
  )

/** @internal */
export const make = <const Name extends string, R>(
  name: Name,
  kind: Kind,
  tool: Tool.Any,
  timeout: Duration.Input | undefined,
  execute: AgentTool<Name, R>["execute"],
  runner?: Drawable
): AgentTool<Name, R> => ({
  [TypeId]: TypeId,
  name,
  kind,
  tool,
  timeout: timeout === undefined ? undefined : durationOf(`tool "${name}"`, "timeout", timeout),
  execute,
  serve,
  runner
})

/** One function for all tools, so that a tool carries no closure for it. */
function serve(this: Any, params: unknown, context: ModuleTool.ServedContext): Promise<ModuleTool.Served> {
  const progress = (result: unknown) => Effect.sync(() => context.progress(toJson(result)))
  const execute = (decoded: unknown, info: ModuleTool.CallInfo) =>
    this.execute(decoded, { ...info, progress }, () => {})
  return ModuleTool.serve(this.tool, params, context, execute)
}

/** The run that the current tool call belongs to; `undefined` outside of a run. */
export const current: Effect.Effect<RunInfo | undefined> = Effect.map(CurrentRun, (info) => info)
