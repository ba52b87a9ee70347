/**
 * Both ends of a tool that runs in a worker thread: the call as the program makes it, and the answer as the thread gives
 * it. It loads modules for their definitions; it knows the port of the worker threads.
 */
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import { InvalidDefinition } from "../RunError.ts"
import { CurrentRun, type RunInfo } from "../services/CurrentRun.ts"
import { ToolWorkers } from "../services/WorkerThreads.ts"
import { shared } from "./io/pool.ts"
import { misfitOf } from "./issues.ts"
import { toJson } from "./json.ts"
import { failureToJson } from "./toolFunction.ts"

/** What a tool is told of its call, all of it JSON. */
export interface CallInfo extends RunInfo {
  readonly step: number
  readonly toolCallId: string
  readonly idempotencyKey: string
}

/** Where a tool is. */
export interface Place {
  readonly module: URL
  readonly export: string
}

/**
 * The export of a module, loaded at once: tools are defined where nothing can be waited for. Throws `InvalidDefinition`
 * for a module that is no file, fails to load, or awaits at its top level.
 */
export const load = ({ export: name, module }: Place): unknown => {
  const invalid = (problem: string, remedy: string) =>
    new InvalidDefinition({ subject: `tool module ${module.href}`, problem, remedy })
  if (module.protocol !== "file:") {
    throw invalid("it is no file", 'Use new URL("./tool.ts", import.meta.url), or define the tool in the options')
  }
  let loaded: unknown
  try {
    loaded = createRequire(import.meta.url)(fileURLToPath(module))
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause)
    throw invalid(
      `it could not be loaded for the tool's definition: ${problem}`,
      "Mend it, or give name, description and parameters as options and export a plain function"
    )
  }
  const exports = loaded as { readonly [name: string]: unknown }
  const found = name === "default" && !Object.hasOwn(exports, name) ? exports : exports[name]
  if (found !== undefined) return found
  throw invalid(`it has no export named "${name}"`, "Export the tool, or say which export it is")
}

/** Calls the tool in a thread: the parameters cross as JSON, and so does the result. */
export const call = (
  tool: Tool.Any,
  place: Place,
  params: unknown,
  info: CallInfo,
  progress: (result: unknown) => Effect.Effect<void>
): Effect.Effect<unknown, unknown> =>
  Effect.gen(function* () {
    const encoded = yield* Schema.encodeUnknownEffect(tool.parametersSchema as Schema.Codec<unknown, unknown>)(params)
    const workers = (yield* ToolWorkers) ?? shared
    const { export: name, module } = place
    const call = {
      tool: tool.name,
      module: module.href,
      export: name,
      params: toJson(encoded),
      context: toJson(info) as object,
      progress
    }
    const result = yield* workers.call(call)
    return yield* Schema.decodeUnknownEffect(tool.successSchema as Schema.Codec<unknown, unknown>)(result).pipe(
      Effect.mapError(misfit)
    )
  })

const misfit = (error: Schema.SchemaError): Error => new Error(misfitOf(error), { cause: error })

/** What a thread's program gives a tool besides its parameters. */
export interface ServedContext extends CallInfo {
  readonly signal: AbortSignal
  readonly progress: (result: unknown) => void
}

/** How a call ended, as it crosses back. */
export type Served =
  | { readonly type: "result"; readonly value: Schema.Json }
  | { readonly type: "threw"; readonly name: string; readonly message: string; readonly failure: Schema.Json }

/** Answers a call in the thread. The signal interrupts the tool. */
export const serve = async (
  tool: Tool.Any,
  params: unknown,
  context: ServedContext,
  execute: (params: unknown, info: CallInfo) => Effect.Effect<unknown, unknown, unknown>
): Promise<Served> => {
  const { progress: _, signal, ...info } = context
  const answer = Schema.decodeUnknownEffect(tool.parametersSchema as Schema.Codec<unknown, unknown>)(params).pipe(
    Effect.flatMap((decoded) => execute(decoded, info)),
    Effect.flatMap((result) =>
      Effect.mapError(Schema.encodeUnknownEffect(tool.successSchema as Schema.Codec<unknown, unknown>)(result), misfit)
    ),
    Effect.provideService(CurrentRun, info)
  )
  // A tool of a module is typed to need no services.
  const exit = await Effect.runPromiseExit(answer as Effect.Effect<unknown, unknown>, { signal })
  if (Exit.isSuccess(exit)) return { type: "result", value: toJson(exit.value) }
  const error = Cause.squash(exit.cause)
  const name = error instanceof Error ? error.name : "Error"
  const failure = failureToJson(error)
  return { type: "threw", name, message: error instanceof Error ? error.message : JSON.stringify(failure), failure }
}
