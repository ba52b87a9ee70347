/** `troupe mcp`: serves the runners that a file exports as MCP tools. */
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as McpServer from "../layers/mcp/McpServer.ts"
import * as Runner from "../Runner.ts"
import { InvalidDefinition } from "../RunError.ts"
import { orFailed } from "./execute.ts"
import { badInput, type CliFailure, noModel } from "./failure.ts"
import { absent, find } from "./model.ts"
import { exportsOf, noRunner } from "./module.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly file: string
  readonly model: Option.Option<string>
  readonly http: Option.Option<number>
  readonly version: string
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const port = Option.getOrUndefined(input.http)
    if (port !== undefined && !(port >= 0 && port <= 65535)) return yield* badInput("--http must be 0 to 65535.")
    // What the file writes while it is loaded must not reach the client.
    const tools = yield* McpServer.keepingStdout(toolsOf(input.file))
    const found = yield* find(input.model)
    const model = Option.getOrElse(found, () => absent)
    if (Option.isNone(found)) yield* err(`troupe: runs that need a model will fail: ${noModel}\n`)
    const server = yield* define({
      name: path.parse(input.file).name,
      version: input.version,
      tools,
      ...(port === undefined ? {} : { http: { port } })
    })
    yield* orFailed(
      Effect.gen(function* () {
        const served = yield* McpServer.Served
        const count = `${tools.length} ${tools.length === 1 ? "tool" : "tools"}`
        if (served.url !== undefined) yield* err(`troupe: serves ${count} on ${served.url}\n`)
        else if (process.stdin.isTTY) yield* err(`troupe: serves ${count} on standard input and output\n`)
        yield* served.ended
      }).pipe(Effect.provide(server), Effect.provide(model))
    )
  })

/** A file cannot promise its types; what is missing shows as a run's error. */
type Tool =
  | Runner.Runner<string, unknown, unknown, LanguageModel.LanguageModel>
  | McpServer.McpTool<LanguageModel.LanguageModel>

const toolsOf = (file: string): Effect.Effect<ReadonlyArray<Tool>, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const module = yield* exportsOf(file)
    const exported = [...new Set(Object.values(module))]
    const found = exported.filter((value) => Runner.isRunner(value) || McpServer.isTool(value))
    if (found.length > 0) return found as ReadonlyArray<Tool>
    return yield* noRunner(file)
  })

/** A runner that cannot be shown to a client is a mistake in the file. */
const define = (options: McpServer.ServeOptions<ReadonlyArray<Tool>, never, never>) =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(McpServer.serve(options))
    } catch (cause) {
      return cause instanceof InvalidDefinition ? Effect.fail(badInput(cause.message)) : Effect.die(cause)
    }
  })
