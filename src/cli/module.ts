/** Loads the exports of a file that the user names. */
import { relative } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import { messageOf } from "../internal/message.ts"
import * as Runner from "../Runner.ts"
import { badInput, type CliFailure } from "./failure.ts"
import { readText } from "./files.ts"

/** A runner of a file, which cannot promise its types; what is missing shows as a run's error. */
export type TextRunner = Runner.Runner<string, unknown, unknown, LanguageModel.LanguageModel>

/** The exports of a file, by name. Fails for a file that is not text, or cannot be loaded. */
export const exportsOf = (
  file: string
): Effect.Effect<Readonly<Record<string, unknown>>, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const path = yield* Path.Path
    const { text } = yield* readText(file)
    // Loading it runs it, so what cannot have any export is not loaded.
    if (!/\bexports?\b/.test(text)) return {}
    const url = pathToFileURL(path.resolve(file)).href
    return yield* Effect.tryPromise({
      try: () => import(url) as Promise<Readonly<Record<string, unknown>>>,
      catch: (cause) => {
        const why = messageOf(cause).split("\n")[0]
        return badInput(`${file} cannot be loaded: ${placeOf(cause)}${why}`)
      }
    })
  })

const ownFiles = fileURLToPath(new URL("..", import.meta.url))

/** The first line of the user's own files that the stack of an error names, such as `agent.ts:3: `; empty without one. */
const placeOf = (cause: unknown): string => {
  const stack = cause instanceof Error ? (cause.stack ?? "") : ""
  // Node names a file that it cannot parse by its path, and others by their address.
  for (const [, at, line] of stack.matchAll(/(file:\/\/[^\s()]+?|^(?:\/|[A-Z]:\\).+?):(\d+)/gm)) {
    const path = at!.startsWith("file:") ? fileURLToPath(at!) : at!
    if (path.startsWith(ownFiles) || /[\\/]node_modules[\\/]/.test(path)) continue
    const near = relative(process.cwd(), path)
    return `${near.startsWith("..") ? path : near}:${line}: `
  }
  return ""
}

/** The runners that a file exports, by the name of the export, `default` first. Refuses a file that exports none. */
export const runnersOf = (
  file: string
): Effect.Effect<ReadonlyMap<string, Runner.Any>, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    if (isConfig(file)) return new Map([["default", yield* configured(file)]])
    const module = yield* exportsOf(file)
    const found = Object.entries(module).filter((entry): entry is [string, Runner.Any] => Runner.isRunner(entry[1]))
    if (found.length === 0) return yield* noRunner(file)
    return new Map(found.toSorted(([a], [b]) => Number(b === "default") - Number(a === "default")))
  })

/** The runner with a name: that of its export, or its own. Refuses a name that the file does not have. */
export const runnerNamed = (
  file: string,
  runners: ReadonlyMap<string, Runner.Any>,
  name: string
): Effect.Effect<Runner.Any, CliFailure> => {
  const found = runners.get(name) ?? [...runners.values()].find((runner) => runner.name === name)
  if (found !== undefined) return Effect.succeed(found)
  return badInput(`${file} exports no runner "${name}". It exports: ${[...runners.keys()].join(", ")}.`)
}

/** Refuses a file without a runner. */
export const noRunner = (file: string): Effect.Effect<never, CliFailure> =>
  badInput(`${file} exports no runner. Export an agent or a workflow: export const poet = Agent.make("poet", ...)`)

/** True for a file that describes an agent: YAML or JSON. */
export const isConfig = (file: string): boolean => /\.(ya?ml|json)$/i.test(file)

/** The agent that a file describes, with the tools of the assistant; its own model, or the one that the command chooses. */
const configured = (file: string): Effect.Effect<Runner.Any, CliFailure, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const { text } = yield* readText(file)
    const Agent = yield* Effect.promise(() => import("../agents/Agent.ts"))
    const Models = yield* Effect.promise(() => import("../layers/models/Models.ts"))
    const { tools } = yield* Effect.promise(() => import("./tools.ts"))
    const held = { file, tools: Object.fromEntries(tools.map((tool) => [tool.name, tool])) }
    const own = Agent.fromConfig(text, { ...held, models: Models.layer })
    return yield* Effect.catch(own, (error) =>
      // What names no model takes the one of the command.
      error.problem === "model is missing" ? Agent.fromConfig(text, held) : Effect.fail(error)
    ).pipe(Effect.mapError((error) => badInput(error.message)))
  })
