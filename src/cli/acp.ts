/** `troupe acp`: serves a runner that a file exports to an editor. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import { inputOf, takesText } from "../internal/runnerSchemas.ts"
import { keepingStdout } from "../layers/mcp/McpServer.ts"
import * as AcpServer from "../layers/server/AcpServer.ts"
import * as SessionStore from "../layers/state/SessionStore.ts"
import { databaseOf } from "./database.ts"
import { badInput, type CliFailure, failed } from "./failure.ts"
import { findForServer } from "./model.ts"
import { runnerNamed, runnersOf, type TextRunner } from "./module.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly file: string
  readonly name: Option.Option<string>
  readonly db: Option.Option<string>
  readonly model: Option.Option<string>
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    // What the file writes while it is loaded must not reach the editor.
    const runner = yield* keepingStdout(chosen(input))
    const model = yield* findForServer(input.model)
    const server = AcpServer.serve({ runner })
    const ended = Effect.gen(function* () {
      if (process.stdin.isTTY) yield* err(`troupe: serves ${runner.name} to an editor on standard input and output\n`)
      yield* Effect.flatMap(AcpServer.Served, ({ ended }) => ended)
    })
    const store = Option.isNone(input.db)
      ? Layer.empty
      : SessionStore.layerSql.pipe(Layer.provide(yield* databaseOf(input.db)))
    yield* ended.pipe(Effect.provide(server), Effect.provide(Layer.mergeAll(store, model)), Effect.mapError(failed))
  })

/** The runner that is named, or the first one. */
const chosen = ({ file, name }: Input) =>
  Effect.gen(function* () {
    const runners = yield* runnersOf(file)
    // There is one: a file without any is refused.
    const wanted = Option.getOrElse(name, () => [...runners.keys()][0]!)
    const runner = yield* runnerNamed(file, runners, wanted)
    if (!takesText(inputOf(runner))) return yield* badInput(`${runner.name} does not take a text.`)
    return runner as unknown as TextRunner
  })
