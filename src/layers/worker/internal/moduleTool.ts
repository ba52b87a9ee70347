/** The program's side of a tool that runs in a worker thread: its definition is loaded here, its calls are made there. */
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import { messageOf } from "../../../internal/message.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import { ToolWorkers } from "../../../services/WorkerThreads.ts"
import { shared } from "../../internal/io/pool.ts"
import { toJson } from "../../../internal/json.ts"
import { type CallInfo, misfit } from "../../../internal/servedTool.ts"

/** Where a tool is. */
export interface ToolAddress {
  readonly module: URL
  readonly export: string
}

/**
 * The export of a module, loaded at once: tools are defined where nothing can be waited for. Throws `InvalidDefinition`
 * for a module that is not a file, fails to load, or awaits at its top level.
 */
export const load = ({ export: name, module }: ToolAddress): unknown => {
  const invalid = (problem: string, remedy: string) =>
    new InvalidDefinition({ subject: `tool module ${module.href}`, problem, remedy })
  if (module.protocol !== "file:") {
    throw invalid("it is not a file", 'Use new URL("./tool.ts", import.meta.url), or define the tool in the options')
  }
  let loaded: unknown
  try {
    loaded = createRequire(import.meta.url)(fileURLToPath(module))
  } catch (cause) {
    const problem = messageOf(cause)
    throw invalid(
      `it could not be loaded for the tool's definition: ${problem}`,
      "Fix it, or give name, description and parameters as options and export a plain function"
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
  place: ToolAddress,
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
