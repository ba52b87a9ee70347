/** `troupe mcp`: serves the runners that a file exports as MCP tools, and a memory and skills for other hosts. */
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import type * as EffectMcpServer from "effect/ai/McpServer"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import type * as SqlError from "effect/sql/SqlError"
import * as Memory from "../agents/Memory.ts"
import * as McpServer from "../layers/mcp/McpServer.ts"
import * as Skills from "../layers/skills/Skills.ts"
import * as MemoryStore from "../layers/state/MemoryStore.ts"
import * as Runner from "../Runner.ts"
import type { InvalidDefinition, StoreError } from "../RunError.ts"
import { version } from "../internal/version.generated.ts"
import { databaseOf } from "./database.ts"
import { badInput, checkPort, type CliFailure, defined, failed } from "./failure.ts"
import { findForServer, findOrAbsent } from "./model.ts"
import { exportsOf, noRunner, type TextRunner } from "./module.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly file: Option.Option<string>
  readonly memory: Option.Option<string>
  readonly skills: Option.Option<string>
  readonly db: Option.Option<string>
  readonly model: Option.Option<string>
  readonly http: Option.Option<number>
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const port = Option.getOrUndefined(input.http)
    if (port !== undefined) yield* checkPort("--http", port)
    const registrations = yield* stored(input)
    const file = Option.getOrUndefined(input.file)
    if (file === undefined && registrations === undefined) {
      return yield* badInput("there is nothing to serve. Name a file, or use --memory or --skills.")
    }
    // What the file writes while it is loaded must not reach the client.
    const tools = file === undefined ? [] : yield* McpServer.keepingStdout(toolsOf(file))
    const model = yield* (tools.length > 0 ? findForServer : findOrAbsent)(input.model)
    const options: McpServer.ServeOptions<ReadonlyArray<Tool>, Stored, Server> = {
      name: file === undefined ? "troupe" : path.parse(file).name,
      version,
      tools,
      registrations,
      ...(port === undefined ? {} : { http: { port } })
    }
    const server = yield* defined(() => McpServer.serve(options))
    yield* Effect.gen(function* () {
      const served = yield* McpServer.Served
      const own = `${tools.length} ${tools.length === 1 ? "tool" : "tools"}`
      const count = registrations === undefined ? own : `${own} and what is stored`
      if (served.url !== undefined) yield* err(`troupe: serves ${count} on ${served.url}\n`)
      else if (process.stdin.isTTY) yield* err(`troupe: serves ${count} on standard input and output\n`)
      yield* served.ended
    }).pipe(Effect.provide(server), Effect.provide(model), Effect.mapError(failed))
  })

type Server = EffectMcpServer.McpServer
type Stored = SqlError.SqlError | StoreError | InvalidDefinition | Skills.InvalidSkills

/** The memory and the skills that are asked for. */
const stored = ({
  db,
  memory,
  skills
}: Input): Effect.Effect<Layer.Layer<never, Stored, Server> | undefined, CliFailure> =>
  Effect.gen(function* () {
    const parts: Array<Layer.Layer<never, Stored, Server>> = []
    if (Option.isSome(memory)) {
      const namespace = memory.value
      if (namespace.trim() === "") return yield* badInput("--memory needs the name of a namespace.")
      const database = yield* databaseOf(db)
      const served = Layer.merge(
        McpServer.layer({ tools: Memory.tools({ namespace }) }),
        McpServer.memory({ namespace })
      )
      parts.push(Layer.provide(served, MemoryStore.layerSql.pipe(Layer.provide(database))))
    }
    if (Option.isSome(skills)) {
      const served = Layer.merge(McpServer.layer({ tools: Skills.tools() }), McpServer.skills())
      parts.push(Layer.provide(served, Skills.layer({ folders: [skills.value] })))
    }
    const [first, ...others] = parts
    return first === undefined ? undefined : Layer.mergeAll(first, ...others)
  })

type Tool = TextRunner | McpServer.McpTool<LanguageModel.LanguageModel>

const toolsOf = (file: string): Effect.Effect<ReadonlyArray<Tool>, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const module = yield* exportsOf(file)
    const exported = [...new Set(Object.values(module))]
    const found = exported.filter((value) => Runner.isRunner(value) || McpServer.isTool(value))
    if (found.length > 0) return found as ReadonlyArray<Tool>
    return yield* noRunner(file)
  })
