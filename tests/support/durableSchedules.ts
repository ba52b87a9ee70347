/** The laws of schedules of durable runs: the same for SQLite and PostgreSQL. */
import { expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import type { DurableError } from "troupe/RunError"
import { eventually } from "./durable.ts"

const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
const everySecond = "* * * * * *"

let count = 0
/** A definition that no other law has. */
const fresh = () => {
  const name = `echoes ${++count}`
  return Durable.make(echo, { name, version: "1", key: (text) => text })
}

type Echoes = ReturnType<typeof fresh>

const timesOf = (self: Echoes) =>
  Effect.map(Durable.list({ name: self.name, limit: 500 }), (runs) =>
    runs.map(({ key }) => Date.parse(key.slice(key.indexOf("@") + 1))).toSorted((a, b) => a - b)
  )

/** The times that are missing between the first and the last, and those that are there twice. */
const gaps = (times: ReadonlyArray<number>) =>
  times.slice(1).flatMap((time, i) => (time === (times[i] ?? 0) + 1000 ? [] : [[times[i], time]]))

/** `engine` is another node of one database each time, and `database` a connection to it. */
export const durableSchedules = (
  database: Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>,
  engine: () => Layer.Layer<Durable.Engine, DurableError>
): void => {
  const law = <E>(name: string, effect: Effect.Effect<void, E, Durable.Engine | Scope.Scope>) =>
    it.live(name, () => Effect.provide(effect, engine()))
  /** A process that has a schedule, until the Effect that it gives. */
  const process = (schedule: Layer.Layer<never, never, Durable.Engine>) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Layer.build(Layer.fresh(schedule).pipe(Layer.provide(engine()))).pipe(Scope.provide(scope))
      const end = Scope.close(scope, Exit.void)
      yield* Effect.addFinalizer(() => end)
      return end
    })
  /** Has a schedule have been without a process for so long. Gives the last time that it is then at. */
  const away = (self: Echoes, ms: number) =>
    Effect.gen(function* () {
      const sql = Context.get(yield* Layer.build(database), SqlClient.SqlClient)
      const [row] =
        yield* sql`UPDATE troupe_schedules SET last = last - ${ms} WHERE name = ${`${self.name}/${everySecond}`}
        RETURNING last`
      expect(row).toBeDefined()
      return Number(row!["last"])
    })

  law(
    "each time starts one run with the planned time, however many processes have the schedule, also when one of them ends",
    Effect.gen(function* () {
      const self = fresh()
      const schedule = Durable.schedule(self, { cron: everySecond, input: (at) => `at ${at}` })
      const first = yield* process(schedule)
      yield* process(schedule)
      yield* eventually(Effect.map(timesOf(self), (times) => times.length >= 2))
      yield* first
      const before = (yield* timesOf(self)).length
      yield* eventually(Effect.map(timesOf(self), (times) => times.length >= before + 2))
      expect(gaps(yield* timesOf(self))).toEqual([])
      for (const { input, key } of yield* Durable.list({ name: self.name })) {
        const at = Number(String(input).slice(3))
        expect(key).toBe(`at ${at}@${new Date(at).toISOString()}`)
      }
    })
  )

  law(
    "times that passed while no process had the schedule are made up for in order, unless they are too old",
    Effect.gen(function* () {
      const [all, few] = [fresh(), fresh()]
      const schedules = Layer.mergeAll(
        Durable.schedule(all, { cron: everySecond, input: "all" }),
        Durable.schedule(few, { cron: everySecond, input: "few", catchUp: "3 seconds" })
      )
      const end = yield* process(schedules)
      const begun = (n: number) =>
        eventually(
          Effect.map(Effect.all([timesOf(all), timesOf(few)]), (both) => both.every(({ length }) => length >= n))
        )
      yield* begun(1)
      yield* end
      const last = yield* away(all, 20_000)
      yield* away(few, 20_000)
      const [before] = yield* timesOf(all)
      yield* process(schedules)
      yield* begun(5)
      yield* eventually(Effect.map(timesOf(all), (times) => times.length >= 21))
      const made = yield* timesOf(all)
      // Those that it had begun already are the same runs. Where it had not noted the first of them, it stands where it was defined.
      expect([made[0], gaps(made)]).toEqual([(Math.floor(last / 1000) + 1) * 1000, []])
      const late = (yield* timesOf(few)).filter((time) => time < before!)
      expect(late.length).toBeLessThanOrEqual(3)
    })
  )

  law(
    "two schedules of one runner and one expression need names of their own",
    Effect.gen(function* () {
      const self = fresh()
      const one = { cron: everySecond, input: "one" }
      const both = (name: string | undefined) =>
        Layer.mergeAll(Durable.schedule(self, one), Durable.schedule(self, { ...one, input: "two", name }))
      const exit = yield* Effect.exit(process(both(undefined)))
      expect(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "").toMatch(
        /echoes \d+\/.*Give one of them another name/
      )
      yield* process(both("the second"))
      const keys = Effect.map(Durable.list({ name: self.name }), (runs) => runs.map(({ input }) => input))
      yield* eventually(Effect.map(keys, (inputs) => inputs.includes("one") && inputs.includes("two")))
    })
  )

  law(
    "a time whose run cannot be started is said and left out, and the next one is started",
    Effect.gen(function* () {
      const self = fresh()
      const lines: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => lines.push(JSON.stringify(message)))])
      let asked = 0
      const input = (at: number) => {
        asked++
        if (asked === 1) throw new Error("no input")
        return `at ${at}`
      }
      yield* process(Durable.schedule(self, { cron: everySecond, input }).pipe(Layer.provide(logger)))
      yield* eventually(Effect.map(timesOf(self), (times) => times.length >= 1))
      expect(lines.filter((line) => line.includes("was not started")).length).toBe(1)
    })
  )
}
