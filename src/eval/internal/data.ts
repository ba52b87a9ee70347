/** Data sets: lists, streams, files of JSON, and runs that a store of traces has. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { messageOf } from "../../internal/message.ts"
import { assertOneOf, assertOptions, kindOf, namesOf } from "../../internal/definition.ts"
import { issuesOf } from "../../internal/issues.ts"
import { codec } from "../../internal/jsonForm.ts"
import { asClause } from "../../internal/text.ts"
import { InvalidDefinition, type StoreError } from "../../RunError.ts"
import type { RunEvent } from "../../RunEvent.ts"
import { type Query, queryNames, type Run, TraceStore } from "../../services/TraceStore.ts"
import type { Case } from "./types.ts"

/** A data set cannot be read. */
export class DataError extends Schema.TaggedError<DataError>()("EvalDataError", {
  /** The file, or what else the data comes from. */
  source: Schema.String,
  /** Of the file, counted from 1. */
  line: Schema.optionalKey(Schema.Int),
  problem: Schema.String
}) {
  override get message(): string {
    const at = this.line === undefined ? this.source : `${this.source}:${this.line}`
    return `${at}: ${asClause(this.problem)}. A case is an object with an input, such as {"input": "2 + 40?", "expected": "42"}.`
  }
}

/** The cases of a data set, one after the other. */
export const streamOf = (subject: string, data: unknown): Stream.Stream<Case<unknown>, unknown, unknown> => {
  if (Array.isArray(data)) return Stream.fromIterable(data as ReadonlyArray<Case<unknown>>)
  if (Stream.isStream(data)) return data as Stream.Stream<Case<unknown>, unknown, unknown>
  throw new InvalidDefinition({
    subject,
    problem: `its data is ${kindOf(data)}`,
    remedy: "Give it a list of cases, a Stream of them, or Eval.fromFile(name)"
  })
}

/** How cases of a file are read. */
export interface FileOptions<I, X> {
  /** The schema of inputs. Default: a text. */
  readonly input?: Schema.Codec<I, unknown> | undefined
  /** The schema of what is expected. Default: any JSON. */
  readonly expected?: Schema.Codec<X, unknown> | undefined
  /** Reads the file as this. Default: by the end of its name; `.json` is one list, everything else a case a line. */
  readonly format?: "json" | "ndjson" | undefined
}

const fileOptions: ReadonlySet<string> = new Set(["input", "expected", "format"])
const maxFile = 64_000_000
const maxLine = 4_000_000

/** The cases of a file. */
export const fromFile = <I, X>(
  file: string,
  options: FileOptions<I, X>
): Stream.Stream<Case<I, X>, DataError, FileSystem.FileSystem> => {
  const subject = `Eval.fromFile("${file}")`
  assertOptions(subject, options, fileOptions)
  const { format = /\.json$/i.test(file) ? "json" : "ndjson" } = options
  const schema = Schema.Struct({
    input: codec(subject, options.input ?? Schema.String, "input"),
    expected: Schema.optionalKey(codec(subject, options.expected ?? Schema.Json, "expected")),
    name: Schema.optionalKey(Schema.String),
    metadata: Schema.optionalKey(Schema.Json)
  }) as unknown as Schema.Codec<Case<I, X>, unknown>
  const decode = Schema.decodeUnknownEffect(schema)
  const read = (json: unknown, where: { readonly line?: number }) =>
    Effect.mapError(decode(json), (error) => new DataError({ source: file, ...where, problem: issuesOf(error) }))
  return format === "json" ? ofList(file, read) : ofLines(file, read)
}

type Read<I, X> = (json: unknown, where: { readonly line?: number }) => Effect.Effect<Case<I, X>, DataError>

const unreadable = (source: string, { reason }: PlatformError.PlatformError): DataError =>
  new DataError({
    source,
    problem: reason._tag === "NotFound" ? "there is no such file" : `it cannot be read: ${reason._tag}`
  })

const ofList = <I, X>(file: string, read: Read<I, X>): Stream.Stream<Case<I, X>, DataError, FileSystem.FileSystem> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const info = yield* Effect.mapError(fs.stat(file), (error) => unreadable(file, error))
      if (info.size > maxFile) {
        return yield* new DataError({ source: file, problem: `it has more than ${maxFile} bytes; use a case a line` })
      }
      const text = yield* Effect.mapError(fs.readFileString(file), (error) => unreadable(file, error))
      const list = yield* parse(file, text, {})
      if (!Array.isArray(list)) return yield* new DataError({ source: file, problem: "it is not a list of cases" })
      return Stream.mapEffect(Stream.fromIterable<unknown>(list), (one) => read(one, {}))
    })
  )

const parse = (source: string, text: string, where: { readonly line?: number }) =>
  Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (error) =>
      new DataError({
        source,
        ...where,
        problem: `it is not JSON: ${messageOf(error)}`
      })
  })

const ofLines = <I, X>(file: string, read: Read<I, X>): Stream.Stream<Case<I, X>, DataError, FileSystem.FileSystem> =>
  Stream.unwrap(
    Effect.map(FileSystem.FileSystem, (fs) =>
      fs.stream(file).pipe(
        Stream.mapError((error) => unreadable(file, error)),
        Stream.decodeText,
        Stream.splitLines,
        Stream.map((text, index) => ({ text, line: index + 1 })),
        Stream.filter(({ text }) => text.trim() !== ""),
        Stream.mapEffect(({ line, text }) =>
          text.length > maxLine
            ? Effect.fail(new DataError({ source: file, line, problem: `it has more than ${maxLine} characters` }))
            : Effect.flatMap(parse(file, text, { line }), (json) => read(json, { line }))
        )
      )
    )
  )

/** Which runs become cases. */
export interface TraceOptions extends Query {
  /**
   * What is expected of a case. `"output"` (default): what the run gave, for runs that completed; `"nothing"`: it has no
   * `expected`.
   */
  readonly expected?: "output" | "nothing" | undefined
}

const knownOfTraces = namesOf<TraceOptions>({ ...queryNames, expected: true })

const atOnce = 500

/** Cases of the runs that a store of traces has. */
export const fromTraces = (options: TraceOptions): Stream.Stream<Case<string, Schema.Json>, StoreError, TraceStore> => {
  assertOptions("Eval.fromTraces", options, knownOfTraces)
  assertOneOf("Eval.fromTraces", "expected", options.expected, ["output", "nothing"])
  const { expected = "output", ...query } = options
  const limit = Math.min(Math.max(Math.trunc(query.limit ?? 100), 1), 1000)
  return Stream.unwrap(
    TraceStore.use((store) =>
      Effect.map(store.runs({ ...query, limit }), (runs) =>
        Stream.fromIterable(runs).pipe(
          Stream.mapEffect((run) =>
            Effect.map(endOf(run), (end) => Option.fromUndefinedOr(end && caseOf(run, end, expected)))
          ),
          Stream.filter(Option.isSome),
          Stream.map(({ value }) => value)
        )
      )
    )
  )
}

/** An event that ends a run. */
export type End = Extract<RunEvent, { readonly spent: unknown }>

/** The event that ended a root run, which holds its conversation. */
const endOf = ({ events, runId }: Run): Effect.Effect<End | undefined, StoreError, TraceStore> =>
  TraceStore.use((store) =>
    Effect.gen(function* () {
      for (let from = Math.max(0, events - atOnce); ;) {
        const page = yield* store.events(runId, from, atOnce)
        const end = page.findLast((event): event is End => "spent" in event && event.path.length === 1)
        const last = page.at(-1)
        if (end !== undefined || last === undefined || page.length < atOnce) return end
        from = last.seq + 1
      }
    })
  )

/** The case of a run whose conversation began with one text; other ones are left out. */
const caseOf = (run: Run, end: End, expected: "output" | "nothing"): Case<string, Schema.Json> | undefined => {
  const input = inputOf(end)
  if (input === undefined) return undefined
  const output = end._tag === "RunCompleted" && expected === "output" ? end.output : undefined
  return {
    input,
    name: run.runId,
    metadata: { runId: run.runId, runner: run.runner, status: run.status },
    ...(output === undefined ? {} : { expected: output })
  }
}

/** The text that the conversation of a root run began with; `undefined` for messages of other parts. */
export const inputOf = ({ transcript }: End): string | undefined => {
  const first = transcript?.content.find(({ role }) => role !== "system")
  if (first?.role !== "user") return undefined
  return typeof first.content === "string" ? first.content : onlyText(first.content)
}

const onlyText = (parts: ReadonlyArray<{ readonly type: string }>): string | undefined => {
  const [part] = parts
  return parts.length === 1 && part?.type === "text" && "text" in part ? String(part.text) : undefined
}
