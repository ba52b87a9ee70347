/** `troupe graph`: draws the runners that a file exports, and the course of one run. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import type * as Stdio from "effect/Stdio"
import * as RunEvent from "../RunEvent.ts"
import * as Runner from "../Runner.ts"
import { badInput, type CliFailure } from "./failure.ts"
import { readStdin, readText } from "./files.ts"
import { runnerNamed, runnersOf } from "./module.ts"
import { stripControls } from "../internal/text.ts"
import { out } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly file: string
  readonly name: Option.Option<string>
  readonly events: Option.Option<string>
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path | Stdio.Stdio> =>
  Effect.gen(function* () {
    const runners = yield* runnersOf(input.file)
    const events = Option.isSome(input.events) ? yield* readEvents(input.events.value) : undefined
    const drawn = yield* chosen(input, runners, events)
    const pictures = drawn.map((runner) => Runner.toMermaid(runner, events))
    yield* out(`${pictures.map(stripControls).join("\n\n")}\n`)
  })

/** The named runner, otherwise the runner of the events, otherwise each runner once. */
const chosen = (
  { file, name }: Input,
  runners: ReadonlyMap<string, Runner.Any>,
  events: ReadonlyArray<RunEvent.RunEvent> | undefined
): Effect.Effect<ReadonlyArray<Runner.Any>, CliFailure> => {
  const wanted = Option.isSome(name) ? name.value : events?.[0]?.path[0]
  if (wanted === undefined) return Effect.succeed([...new Set(runners.values())])
  return Effect.map(runnerNamed(file, runners, wanted), (found) => [found])
}

const readEvents = (
  file: string
): Effect.Effect<ReadonlyArray<RunEvent.RunEvent>, CliFailure, FileSystem.FileSystem | Stdio.Stdio> =>
  Effect.gen(function* () {
    const text = file === "-" ? yield* readStdin : (yield* readText(file)).text
    const lines = text.split("\n").filter((line) => line.trim() !== "")
    return yield* Effect.forEach(lines, (line, index) =>
      Effect.mapError(RunEvent.fromJsonLine(line), () =>
        badInput(
          `line ${index + 1} of ${file} is not an event. Write events with --json: troupe run --json ... > ${file}`
        )
      )
    )
  })
