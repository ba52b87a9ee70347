/**
 * Tools that run in worker threads: code that blocks, that may never end, or that is asynchronous and has to work under
 * `Effect.runSync`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Tool from "effect/ai/Tool"
import * as AgentTool from "../../AgentTool.ts"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import { annotate, define, NoParameters, validate } from "../../internal/toolDefinition.ts"
import { CannotWait, type ToolContext } from "../../internal/toolFunction.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { isSync, SyncBridge } from "../../services/SyncBridge.ts"
import * as ModuleTool from "./internal/moduleTool.ts"

export { ModuleToolFailed, ModuleUnusable, WorkerCrashed } from "../../services/WorkerThreads.ts"

/** Options of {@link fromModule} for a module that exports a plain function: everything but the function. */
export interface FromModuleOptions<
  Name extends string,
  Parameters extends Schema.Top,
  Success extends Schema.Top
> extends Omit<AgentTool.FromFunctionOptions<Parameters, Success, unknown>, "execute" | "kind"> {
  /** 1 to 64 letters, digits, `_` or `-`: what every provider accepts. */
  readonly name: Name
  /** The name of the module's export. Default: `default`. */
  readonly export?: string | undefined
}

/** The second argument of a plain function in a module. `progress` takes JSON. */
export interface ModuleContext extends Omit<ToolContext, "progress"> {
  readonly progress: (result: unknown) => void
}

/** A plain function that a module exports for {@link fromModule}. It gets and gives the JSON forms of the schemas. */
export type ModuleFunction<Parameters extends Schema.Top, Success extends Schema.Top = typeof Schema.Unknown> = (
  params: Parameters["Encoded"],
  context: ModuleContext
) => Success["Encoded"] | PromiseLike<Success["Encoded"]>

interface FromModule {
  <T extends AgentTool.AgentTool<string, never> = AgentTool.AgentTool<string, never>>(
    module: URL,
    options?: { readonly export?: string | undefined; readonly name?: never }
  ): AgentTool.AgentTool<T["name"], never>
  <
    const Name extends string,
    Parameters extends Schema.Top = typeof NoParameters,
    Success extends Schema.Top = typeof Schema.Unknown
  >(
    module: URL,
    options: FromModuleOptions<Name, Parameters, Success>
  ): AgentTool.AgentTool<Name, SchemaServices<Parameters> | SchemaServices<Success>>
}
type SchemaServices<S extends Schema.Top> = S["DecodingServices"] | S["EncodingServices"]

/**
 * Makes a tool that runs in a worker thread: blocking code does not block the event loop, and an endless loop can be
 * stopped. It works at both edges, also with `async` code: it is the way to call an async function under `runSync`.
 *
 * The module exports a tool of `AgentTool.fromFunction` that needs no services. It is loaded at once for its definition, and
 * again in each thread, so it must not await at its top level, and what is slow to load is better imported inside of the
 * function. Or it exports a plain function (see {@link ModuleFunction}), which the program itself never loads, and the
 * definition is given here.
 *
 * Parameters are checked on this side; they, the results and errors cross as JSON. Interruption, the tool's timeout
 * included, fires `context.signal`, and ends the thread when the function has not ended 100 ms later; the run goes on when
 * it has. Loading the module is part of the first call; a call that is interrupted before is over at once, and the thread
 * goes on loading for the next one. The model sees what the function throws as for any tool; a thread that ends in the middle of a
 * call fails that call with `WorkerCrashed`, a module that cannot be loaded there with `ModuleUnusable`. A native crash
 * ends the process.
 *
 * Threads are kept for further calls, so a module's own state lives on between calls. `WorkerPool.layer` says how many
 * there are; unset, as many as the machine has processors, and they end when idle for 30 seconds.
 *
 * Throws `InvalidDefinition` for a module that cannot be loaded or does not export a tool.
 *
 * @example
 * import { Agent, AgentTool, WorkerTool } from "troupe"
 *
 * // resize.ts: export default AgentTool.fromFunction("resize", { ... })
 * const agent = () =>
 *   Agent.make("agent", { tools: [WorkerTool.fromModule(new URL("./resize.ts", import.meta.url))] })
 */
export const fromModule: FromModule = (
  module: URL,
  options: Partial<FromModuleOptions<string, Schema.Top, Schema.Top>> = {}
): AgentTool.AgentTool<string, never> => {
  const place: ModuleTool.ToolAddress = { module, export: options.export ?? "default" }
  const { description, failureMode = "return", name, parameters = NoParameters, success = Schema.Unknown } = options
  const isDefined = name === undefined
  assertOptions(`tool ${isDefined ? `module ${module.href}` : `"${name}"`}`, options, isDefined ? knownOfModule : known)
  if (name !== undefined) {
    const tool = annotate(define(name, description ?? "", parameters, success, failureMode), options)
    return inModule(name, tool, AgentTool.callingOf(`tool "${name}"`, options), place)
  }
  const found = ModuleTool.load(place)
  if (!AgentTool.isAgentTool(found)) {
    throw new InvalidDefinition({
      subject: `tool module ${module.href}`,
      problem: `its export "${place.export}" is not a tool`,
      remedy: "Export what AgentTool.fromFunction returns, or give name, description and parameters as options"
    })
  }
  validate(found.tool)
  return inModule(found.name, found.tool, { timeout: found.timeout, retry: found.retry, turns: found.turns }, place)
}

/** Of a module that exports a function. */
const known = namesOf<FromModuleOptions<string, Schema.Top, Schema.Top>>({
  name: true,
  export: true,
  description: true,
  parameters: true,
  success: true,
  failureMode: true,
  timeout: true,
  concurrency: true,
  retry: true,
  needsApproval: true,
  hints: true
})

/** Of a module that exports a tool, which has said the rest itself. */
const knownOfModule: ReadonlySet<string> = new Set(["export"])

const inModule = <Name extends string>(
  name: Name,
  tool: Tool.Any,
  calling: AgentTool.Calling,
  place: ModuleTool.ToolAddress
): AgentTool.AgentTool<Name, never> =>
  AgentTool.make(
    name,
    "effect",
    tool,
    (params, { progress, ...info }) =>
      Effect.flatMap(Effect.all([isSync, SyncBridge]), ([sync, bridge]) =>
        // Without the edge's loop the thread's messages could not be received.
        sync && bridge === undefined
          ? Effect.fail(new CannotWait())
          : ModuleTool.call(tool, place, params, info, progress)
      ),
    calling
  )
