/** `troupe runs`: lists, shows, cancels, answers and retries durable runs. */
import * as fs from "node:fs"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Durable from "../layers/durable/Durable.ts"
import { stripControls } from "../internal/text.ts"
import type { DurableError } from "../RunError.ts"
import { isAddress } from "./database.ts"
import { badInput, type CliFailure, failed } from "./failure.ts"
import { out } from "./terminal.ts"

/** Which database: an address of PostgreSQL, or a file of SQLite. */
export interface Where {
  readonly database: Option.Option<string>
}

/** The engine of `--database`, or of the variable `TROUPE_DATABASE`; with `mustExist`, a file that is not there is refused and not made. */
export const engineOf = (
  typed: Option.Option<string>,
  mustExist: boolean
): Effect.Effect<Layer.Layer<Durable.Engine, DurableError>, CliFailure> =>
  Effect.gen(function* () {
    const variable = yield* Effect.mapError(Config.option(Config.String("TROUPE_DATABASE")), failed)
    const where = Option.getOrUndefined(Option.orElse(typed, () => variable))
    if (where === undefined || where === "") {
      return yield* badInput(
        "no database is named. Pass --database with a file, such as runs.db, or with the address of a PostgreSQL server, postgres://..."
      )
    }
    if (isAddress(where)) return Durable.layerPostgres({ url: where })
    if (mustExist && !fs.existsSync(where)) {
      return yield* badInput(`there is no database ${where}. Name the one of the workers with --database`)
    }
    return Durable.layerSqlite({ filename: where })
  })

const withEngine = <A>(
  where: Where,
  effect: Effect.Effect<A, DurableError | CliFailure, Durable.Engine>
): Effect.Effect<A, CliFailure> =>
  Effect.flatMap(engineOf(where.database, true), (engine) => Effect.mapError(Effect.provide(effect, engine), failed))

/** Names a run on the command line. */
export interface OneRun extends Where {
  readonly name: string
  readonly key: string
}

/** Keys and names hold what inputs hold, which may be anyone's. */
const line = (fields: ReadonlyArray<string>): Effect.Effect<void> =>
  out(`${fields.map((field) => stripControls(field).replace(/\s/g, " ")).join("  ")}\n`)

const time = (millis: number): string => new Date(millis).toISOString().slice(0, 19)

/** Lists runs, the one that changed last first. */
export const list = (
  input: Where & {
    readonly name: Option.Option<string>
    readonly status: Option.Option<Durable.State>
    readonly limit: number
    readonly json: boolean
  }
): Effect.Effect<void, CliFailure> =>
  withEngine(
    input,
    Effect.gen(function* () {
      const found = yield* Durable.list({
        name: Option.getOrUndefined(input.name),
        state: Option.getOrUndefined(input.status),
        limit: input.limit
      })
      if (input.json) return yield* Effect.forEach(found, (run) => out(`${JSON.stringify(run)}\n`), { discard: true })
      if (found.length === 0) return yield* out("no runs\n")
      const width = Math.max(...found.map(({ name }) => name.length))
      yield* Effect.forEach(
        found,
        ({ key, name, state, updatedAt }) => line([time(updatedAt), state.padEnd(11), name.padEnd(width), key]),
        { discard: true }
      )
    })
  )

/** Shows a run: its input, what it waits for, its steps, how it ended. */
export const show = (input: OneRun & { readonly json: boolean }): Effect.Effect<void, CliFailure> =>
  withEngine(
    input,
    Effect.gen(function* () {
      const self = Durable.byName(input.name)
      const run = yield* Durable.find(self, input.key)
      const steps = yield* Durable.steps(self, input.key)
      if (input.json) return yield* out(`${JSON.stringify({ ...run, steps }, undefined, 2)}\n`)
      yield* line([`${run.name} ${run.key}`, run.state])
      yield* line(["started", time(run.createdAt), "changed", time(run.updatedAt)])
      if (run.worker !== undefined) yield* line(["worker", run.worker])
      yield* line(["input", JSON.stringify(run.input)])
      if (run.ended !== undefined) yield* line(["ended", JSON.stringify(run.ended)])
      for (const { id, kind, name, until } of run.waits) {
        yield* line(["waits for", kind, name, id, ...(until === undefined ? [] : [time(until)])])
      }
      for (const { key, kind, name, state } of steps) yield* line(["step", state.padEnd(7), kind.padEnd(8), name, key])
    })
  )

/** Interrupts a run. */
export const cancel = (input: OneRun): Effect.Effect<void, CliFailure> =>
  withEngine(input, Durable.interrupt(Durable.byName(input.name), input.key))

/** Has a run that failed or was interrupted go on. */
export const retry = (input: OneRun): Effect.Effect<void, CliFailure> =>
  withEngine(input, Durable.retry(Durable.byName(input.name), input.key))

/** What can be typed as an answer. */
export interface Answered {
  readonly happened: Option.Option<string>
  readonly notHappened: boolean
  readonly giveUp: boolean
  readonly approve: boolean
  readonly deny: Option.Option<string>
  readonly signal: Option.Option<string>
}

/** Answers what a run waits for: a step whose outcome is not known, an approval or a signal. */
export const answer = (input: OneRun & Answered & { readonly id: string }): Effect.Effect<void, CliFailure> =>
  withEngine(
    input,
    Effect.gen(function* () {
      const self = Durable.byName(input.name)
      const { id, key } = input
      const said = [
        ...optional(input.happened, (json) =>
          Effect.flatMap(jsonOf(json), (result) => Durable.answer(self, key, id, Durable.happened(result)))
        ),
        ...(input.notHappened ? [Durable.answer(self, key, id, Durable.didNotHappen)] : []),
        ...(input.giveUp ? [Durable.answer(self, key, id, Durable.giveUp)] : []),
        ...(input.approve ? [Durable.decide(self, key, id, { _tag: "Approved" as const })] : []),
        ...optional(input.deny, (reason) => Durable.decide(self, key, id, { _tag: "Denied" as const, reason })),
        ...optional(input.signal, (json) =>
          Effect.flatMap(jsonOf(json), (value) => Durable.signal(self, key, id, value))
        )
      ]
      if (said.length === 1) return yield* said[0]!
      return yield* badInput(
        "give one answer: --happened JSON, --not-happened or --give-up for a step, --approve or --deny REASON for an approval, --signal JSON for a signal"
      )
    })
  )

const optional = <A, B>(option: Option.Option<A>, f: (value: A) => B): ReadonlyArray<B> =>
  Option.isSome(option) ? [f(option.value)] : []

const jsonOf = (text: string): Effect.Effect<Schema.Json, CliFailure> =>
  Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(Schema.Json))(text), () =>
    badInput(`${text} is not JSON. Quote a text: '"paid"'`)
  )
