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
import { InvalidDefinition, type StoreError } from "../RunError.ts"
import { version } from "../internal/version.generated.ts"
import { databaseOf, defaultFile } from "./database.ts"
import { orFailed } from "./execute.ts"
import { badInput, type CliFailure, noModel } from "./failure.ts"
import { absent, find } from "./model.ts"
import { exportsOf, noRunner } from "./module.ts"
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
    if (port !== undefined && !(port >= 0 && port <= 65535)) return yield* badInput("--http must be 0 to 65535.")
    const registrations = yield* stored(input)
    const file = Option.getOrUndefined(input.file)
    if (file === undefined && registrations === undefined) {
      return yield* badInput("there is nothing to serve. Name a file, or use --memory or --skills.")
    }
    // What the file writes while it is loaded must not reach the client.
    const tools = file === undefined ? [] : yield* McpServer.keepingStdout(toolsOf(file))
    const found = yield* find(input.model)
    const model = Option.getOrElse(found, () => absent)
    if (Option.isNone(found) && tools.length > 0) {
      yield* err(`troupe: runs that need a model will fail: ${noModel}\n`)
    }
    const server = yield* define({
      name: file === undefined ? "troupe" : path.parse(file).name,
      version,
      tools,
      registrations,
      ...(port === undefined ? {} : { http: { port } })
    })
    yield* orFailed(
      Effect.gen(function* () {
        const served = yield* McpServer.Served
        const own = `${tools.length} ${tools.length === 1 ? "tool" : "tools"}`
        const count = registrations === undefined ? own : `${own} and what is stored`
        if (served.url !== undefined) yield* err(`troupe: serves ${count} on ${served.url}\n`)
        else if (process.stdin.isTTY) yield* err(`troupe: serves ${count} on standard input and output\n`)
        yield* served.ended
      }).pipe(Effect.provide(server), Effect.provide(model))
    )
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
      const database = yield* databaseOf(
        Option.getOrElse(db, () => defaultFile),
        false
      )
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
const define = (options: McpServer.ServeOptions<ReadonlyArray<Tool>, Stored, Server>) =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(McpServer.serve(options))
    } catch (cause) {
      return cause instanceof InvalidDefinition ? Effect.fail(badInput(cause.message)) : Effect.die(cause)
    }
  })
