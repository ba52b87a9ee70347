/** `troupe trace`: the runs that a database of traces holds, and one of them as a waterfall. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { cut, oneLine } from "../internal/text.ts"
import * as TraceStore from "../layers/state/TraceStore.ts"
import { databaseOf, shownName } from "./database.ts"
import { badInput, checkPort, type CliFailure, failed } from "./failure.ts"
import { err, out } from "./terminal.ts"
import { waterfall } from "./waterfall.ts"

/** The arguments of the command. */
export interface Input {
  readonly db: Option.Option<string>
  readonly json: boolean
  readonly limit: number
  readonly runner: Option.Option<string>
  readonly session: Option.Option<string>
  readonly status: Option.Option<TraceStore.Status>
  readonly error: Option.Option<string>
  readonly playground: boolean
  readonly port: number
  /** The id of a run; the database, where the page is shown. */
  readonly run: Option.Option<string>
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure> =>
  Effect.gen(function* () {
    if (input.playground) return yield* showPage(input)
    const database = yield* databaseOf(input.db, true)
    const shown = Option.isSome(input.run) ? showRun(input.run.value, input.json) : showList(input)
    yield* shown.pipe(Effect.provide(TraceStore.layerSql.pipe(Layer.provide(database))), Effect.mapError(failed))
  })

/** Serves the page until it is interrupted. */
const showPage = ({ db, port, run }: Input) =>
  Effect.gen(function* () {
    yield* checkPort("--port", port)
    if (Option.isSome(db) && Option.isSome(run)) {
      return yield* badInput("--playground shows one database: name it with --db or as the argument.")
    }
    const named = Option.orElse(db, () => run)
    const database = yield* databaseOf(named, true)
    const AgentServer = yield* Effect.promise(() => import("../layers/server/AgentServer.ts"))
    const server = AgentServer.serveTraces({ port }).pipe(Layer.provide(TraceStore.layerSql), Layer.provide(database))
    const shown = Effect.gen(function* () {
      const { url } = yield* AgentServer.Listening
      yield* err(`troupe: shows the runs of ${shownName(named)} on ${url}\n`)
      return yield* Effect.never
    })
    return yield* shown.pipe(Effect.provide(server), Effect.mapError(failed))
  })

const showRun = (runId: string, json: boolean) =>
  Effect.gen(function* () {
    if (json) return yield* Stream.runForEach(TraceStore.toNdjson(runId), out)
    const events = yield* Stream.runCollect(TraceStore.events(runId))
    if (events.length === 0)
      return yield* badInput(`the database does not have a run ${runId}. troupe trace lists the runs.`)
    const lines = waterfall(events, (process.stdout.columns ?? 100) - 1)
    return yield* out(`${lines.join("\n")}\n`)
  })

const showList = ({ error, json, limit, runner, session, status }: Input) =>
  Effect.gen(function* () {
    const runs = yield* TraceStore.runs({
      limit,
      runner: Option.getOrUndefined(runner),
      session: Option.getOrUndefined(session),
      status: Option.getOrUndefined(status),
      error: Option.getOrUndefined(error)
    })
    if (json) return yield* out(runs.map((one) => `${JSON.stringify(one)}\n`).join(""))
    return yield* out(runs.length === 0 ? "no runs\n" : runs.map((one) => `${lineOf(one)}\n`).join(""))
  })

const lineOf = (run: TraceStore.Run): string => {
  const began = DateTime.formatIso(DateTime.makeUnsafe(run.startedAt)).replace("T", " ").slice(0, 19)
  const took = run.durationMs === undefined ? "" : `${(run.durationMs / 1000).toFixed(2)} s`
  const tokens = `${run.inputTokens + run.outputTokens} tokens`
  const what = run.error === undefined ? "" : `  ${oneLine(run.error)}: ${cut(oneLine(run.message ?? ""), 80)}`
  const runner = cut(oneLine(run.runner), 20).padEnd(20)
  return `${run.runId}  ${began}  ${runner} ${run.status.padEnd(11)} ${took.padStart(9)} ${tokens.padStart(13)}${what}`
}
