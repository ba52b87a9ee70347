/** `troupe eval`: runs the evaluations that a file exports, and says what came of them. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Eval from "../eval/Eval.ts"
import { cut, oneLine } from "../internal/text.ts"
import { badInput, CliFailure, ofCause } from "./failure.ts"
import { readText } from "./files.ts"
import { findOrAbsent } from "./model.ts"
import { exportsOf } from "./module.ts"
import { err, out } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly files: ReadonlyArray<string>
  readonly model: Option.Option<string>
  readonly json: boolean
  readonly junit: Option.Option<string>
  readonly save: Option.Option<string>
  readonly compare: Option.Option<string>
  readonly cache: Option.Option<string>
  readonly concurrency: Option.Option<number>
  readonly limit: Option.Option<number>
}

type Io = FileSystem.FileSystem | Path.Path

/** Runs the command. Fails with exit code 1 where an evaluation does not pass. */
export const run = (input: Input): Effect.Effect<void, CliFailure, Io> =>
  Effect.gen(function* () {
    for (const flag of ["concurrency", "limit"] as const) {
      const value = Option.getOrElse(input[flag], () => 1)
      if (value < 1) return yield* badInput(`--${flag} must be 1 or more.`)
    }
    const found = yield* Effect.forEach(input.files, evalsOf)
    const evaluations = found.flat()
    const before = Option.isSome(input.compare) ? yield* reportsOf(input.compare.value) : []
    const model = yield* findOrAbsent(input.model)
    const kept = Option.isSome(input.cache) ? yield* cacheIn(input.cache.value) : Layer.empty
    const reports = yield* Effect.forEach(evaluations, (evaluation) => evaluated(evaluation, input)).pipe(
      Effect.provide(Layer.mergeAll(model, kept)),
      // What failed is in the reports, in one line each.
      Effect.provide(Logger.layer([])),
      Effect.catchCause((cause) => {
        const failure = ofCause(cause)
        return failure === undefined ? Effect.interrupt : Effect.fail(failure)
      })
    )
    yield* write(reports, input)
    if (!input.json) yield* out(`${reports.map((one) => shown(one, before)).join("\n\n")}\n`)
    const failed = reports.filter(({ passed }) => !passed).map(({ name }) => name)
    if (failed.length > 0) {
      return yield* new CliFailure({ code: 1, message: `not passed: ${failed.map(oneLine).join(", ")}` })
    }
  })

/** A file cannot promise its types; what is missing shows as a case's error. */
type Loaded = Eval.Eval<unknown, FileSystem.FileSystem | Path.Path>

const evalsOf = (file: string): Effect.Effect<ReadonlyArray<Loaded>, CliFailure, Io> =>
  Effect.flatMap(exportsOf(file), (module) => {
    const found = new Set(
      Object.values(module)
        .flatMap((one) => (Array.isArray(one) ? one : [one]))
        .filter(Eval.isEval)
    )
    return found.size > 0
      ? Effect.succeed([...found] as ReadonlyArray<Loaded>)
      : badInput(
          `${file} exports no evaluation. Export one: export default Eval.make("name", runner, { data, scorers })`
        )
  })

const columns = (): number => Math.max(60, Math.min(160, process.stdout.columns ?? 100))

const evaluated = (evaluation: Loaded, { concurrency, limit }: Input): Effect.Effect<Eval.Report, unknown, Io> => {
  const name = cut(oneLine(evaluation.name), 40)
  const isLive = process.stderr.isTTY === true && process.env["TERM"] !== "dumb"
  const show = ({ cached, done, failed, total }: Eval.Progress) => {
    const of = total === undefined ? "" : ` of ${total}`
    const more = `${failed === 0 ? "" : `, ${failed} failed`}${cached === 0 ? "" : `, ${cached} kept`}`
    return err(`\r\x1b[2Ktroupe: ${name}: ${done}${of}${more}`)
  }
  return Eval.run(evaluation, {
    concurrency: Option.getOrUndefined(concurrency),
    limit: Option.getOrUndefined(limit),
    onProgress: isLive ? show : undefined
  }).pipe(Effect.ensuring(isLive ? err("\r\x1b[2K") : Effect.void))
}

/** A report, and how it differs from an earlier one of the same name. */
const shown = (report: Eval.Report, before: ReadonlyArray<Eval.Report>): string => {
  const table = Eval.toTable(report, { width: columns() })
  const then = before.find(({ name }) => name === report.name)
  if (then === undefined) return table
  return `${table}\n\n${Eval.comparisonTable(Eval.compare(then, report), { width: columns() })}`
}

const write = (
  reports: ReadonlyArray<Eval.Report>,
  { json, junit, save }: Input
): Effect.Effect<void, CliFailure, Io> =>
  Effect.gen(function* () {
    const lines = reports.map((report) => `${Eval.toJson(report)}\n`).join("")
    if (json) yield* out(lines)
    if (Option.isSome(save)) yield* writeText(save.value, lines)
    if (Option.isSome(junit)) yield* writeText(junit.value, joined(reports.map(Eval.toJUnit)))
  })

/** Several documents of JUnit as one. */
const joined = (documents: ReadonlyArray<string>): string => {
  if (documents.length === 1) return documents[0]!
  const suites = documents.flatMap((xml) => /<testsuites [^>]*>\n([^]*)\n<\/testsuites>/.exec(xml)?.[1] ?? [])
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join("\n")}\n</testsuites>\n`
}

const writeText = (file: string, text: string): Effect.Effect<void, CliFailure, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.mapError(fs.writeFileString(file, text), (error) =>
      badInput(`${file} cannot be written: ${error.reason._tag}.`)
    )
  )

/** The reports that `--save` or `--json` wrote, one a line. */
const reportsOf = (file: string): Effect.Effect<ReadonlyArray<Eval.Report>, CliFailure, Io> =>
  Effect.gen(function* () {
    const { text } = yield* readText(file, maxReport)
    const lines = text.split("\n").filter((line) => line.trim() !== "")
    return yield* Effect.forEach(lines, (line, index) =>
      Effect.mapError(Eval.fromJson(line), () =>
        badInput(`line ${index + 1} of ${file} is not a report. Write one with --save: troupe eval --save ${file} ...`)
      )
    )
  })

const maxReport = 256 * 1024 * 1024

const cacheIn = (folder: string) =>
  Effect.gen(function* () {
    const KeyValueStore = yield* Effect.promise(() => import("effect/persistence/KeyValueStore"))
    const io = yield* Effect.context<Io>()
    return Eval.cache.pipe(
      Layer.provide(KeyValueStore.layerFileSystem(folder)),
      Layer.provide(Layer.succeedContext(io))
    )
  })
