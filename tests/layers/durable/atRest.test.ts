/** What runs at rest cost, and who wakes them. */
import { DatabaseSync } from "node:sqlite"
import { expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Sqlite from "troupe/Sqlite"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import { decisionName } from "../../../src/layers/durable/internal/journal.ts"
import { vi } from "vitest"
import * as Tables from "../../../src/layers/durable/internal/tables.ts"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const sleeper = Runner.make("sleeper", {
  run: (text: string) => Effect.as(Step.sleep("for long", "30 days"), `${text} slept`)
})
const sleepers = Durable.make(sleeper, { name: "sleepers", version: "1", key: (text) => text })
const waiter = Runner.make("waiter", {
  run: (text: string) => Effect.as(Effect.orDie(Step.signal("go", Schema.String)), text)
})
const waiters = Durable.make(waiter, { name: "waiters", version: "1", key: (text) => text })
const suspended = (self: Durable.Named, key: string) =>
  eventually(Effect.map(Durable.status(self, key), (status) => status === "suspended"))

it.live("what a worker asks again and again is found by an index, however many runs rest", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const asked = new Set<string>()
    const { prepare } = DatabaseSync.prototype
    const watched = vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (
      this: DatabaseSync,
      sql: string
    ) {
      if (/^\s*SELECT/i.test(sql)) asked.add(sql)
      return prepare.call(this, sql)
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => watched.mockRestore()))
    yield* Effect.gen(function* () {
      yield* Durable.submit(sleepers, "a")
      yield* Durable.submit(waiters, "b")
      yield* suspended(sleepers, "a")
      yield* suspended(waiters, "b")
      yield* eventually(Effect.sync(() => [...asked].some((sql) => sql.includes("troupe_wakes"))))
      yield* eventually(Effect.sync(() => [...asked].some((sql) => sql.includes("troupe_signals"))))
    }).pipe(Effect.provide(Durable.worker(sleepers, waiters)), Effect.provide(engine(file)))
    watched.mockRestore()
    const database = new DatabaseSync(file)
    const plans = [...asked].flatMap((sql) => {
      const parameters = sql.match(/\?/g)?.map(() => 1) ?? []
      return database
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all(...parameters)
        .map(({ detail }) => String(detail))
    })
    database.close()
    const scans = plans.filter((plan) => plan.startsWith("SCAN"))
    // Nodes are few, and so are signals that are not taken.
    expect(scans.filter((plan) => !/_runners|_migrations|troupe_signals_open/.test(plan))).toEqual([])
    expect(plans.filter((plan) => plan.endsWith("troupe_runs_state (state=?)"))).toEqual([])
    expect(plans.join()).toContain("troupe_signals_open")
    expect(plans.join()).toContain("troupe_wakes_due")
  })
)

it.live("a run is woken by the clock of the process that has it, once, and a run that was ended is left alone", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const rows = (sql: string) =>
      Effect.sync(() => {
        const database = new DatabaseSync(file)
        const found = database.prepare(sql).all()
        database.close()
        return found
      })
    yield* Effect.gen(function* () {
      yield* Durable.submit(sleepers, "a")
      yield* Durable.submit(sleepers, "b")
      yield* suspended(sleepers, "a")
      yield* suspended(sleepers, "b")
      expect(yield* Durable.pending(sleepers, "a")).toMatchObject([{ kind: "sleep", name: "for long" }])
      yield* Durable.interrupt(sleepers, "b")
      // As if the clock of this process were 30 days ahead of the one that will execute it.
      yield* rows("UPDATE troupe_wakes SET due_at = 0")
      expect(yield* Durable.result(sleepers, "a")).toBe("a slept")
      expect(yield* Durable.status(sleepers, "b")).toBe("interrupted")
      yield* eventually(Effect.map(rows("SELECT * FROM troupe_wakes"), (left) => left.length === 0))
    }).pipe(Effect.provide(Durable.worker(sleepers)), Effect.provide(engine(file)))
  })
)

it.live("an answer whose process ended before it woke the run wakes it", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const runner = Runner.make("pay", {
      run: (text: string) => Effect.map(Step.run("charge", Schema.String, Effect.never), (paid) => `${text} ${paid}`)
    })
    const pay = Durable.make(runner, { name: "pay", version: "1", key: (text) => text })
    const kept = Effect.map(Durable.steps(pay, "x"), (steps) => steps.length === 1)
    yield* Effect.andThen(Durable.submit(pay, "x"), eventually(kept)).pipe(
      Effect.provide(Durable.worker(pay)),
      Effect.provide(engine(file, { drain: 0 }))
    )
    yield* Effect.gen(function* () {
      yield* suspended(pay, "x")
      const context = yield* Layer.build(Sqlite.layer({ filename: file }))
      const tables = Tables.make(Context.get(context, SqlClient.SqlClient))
      const { id } = yield* Durable.find(pay, "x")
      const run = (yield* tables.find(id))!
      const [question] = yield* tables.stepsOf(id)
      const wake = run.waits[0]!.wake
      // What it writes in one transaction, and then it is gone.
      yield* tables.answerAndWake(run, question!, Durable.happened("paid"), { wake, at: Date.now() })
      expect(yield* Durable.result(pay, "x")).toBe("x paid")
    }).pipe(Effect.provide(Durable.worker(pay)), Effect.provide(engine(file)))
  })
)

it.live("a decision whose process ended before it woke the run wakes it", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
    const desk = Durable.make(Agent.make("desk", { tools: [pay] }), { name: "desk", version: "1", key: String })
    yield* Effect.gen(function* () {
      yield* Durable.submit(desk, "x")
      yield* suspended(desk, "x")
      const context = yield* Layer.build(Sqlite.layer({ filename: file }))
      const tables = Tables.make(Context.get(context, SqlClient.SqlClient))
      const { id, waits } = yield* Durable.find(desk, "x")
      // What it writes first, and then it is gone.
      yield* tables.sendSignal(id, decisionName(waits[0]!.id), { _tag: "Approved" }, "token")
      expect(yield* Durable.result(desk, "x")).toBe("done")
    }).pipe(Effect.provide(Durable.worker(desk)), Effect.provide(engine(file)))
  }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", {}), "done"])))
)
