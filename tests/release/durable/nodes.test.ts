/** Nodes on PostgreSQL: they share definitions, join and leave while runs go on, and are lost with their machines. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Schema, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as SessionStore from "troupe/SessionStore"
import * as Step from "troupe/Step"
import { eventually, temporaryFile } from "../../support/durable.ts"
import { durableSchedules } from "../../support/durableSchedules.ts"
import { durableTexts } from "../../support/durableTexts.ts"
import { oneNodeAtATime } from "../../support/durableSessions.ts"
import { durableVersions } from "../../support/durableVersions.ts"
import { postgres } from "../../support/postgres.ts"
import { bundled } from "./fleet.ts"
import { flowsOf, names } from "./flows.ts"
import { counts } from "./tree.ts"

const server = postgres()
const engineOf = (name: string, options: Partial<Parameters<typeof Durable.layerPostgres>[0]> = {}) =>
  Layer.fresh(
    Layer.unwrap(
      Effect.map(
        Effect.promise(() => server.urlOf(name)),
        (url) => Durable.layerPostgres({ url, maxConnections: 6, poll: "100 millis", ...options })
      )
    )
  )

it.live("nodes that execute several definitions leave no run of any of them behind", () =>
  Effect.gen(function* () {
    const definitions = ["first", "second", "third"].map((name) =>
      Durable.make(Runner.make(name, { run: (text: string) => Effect.delay(Effect.succeed(text), 20) }), {
        name,
        version: "1",
        key: (text) => text
      })
    )
    const node = Durable.worker(...definitions).pipe(Layer.provide(engineOf("several")))
    const texts = Array.from({ length: 10 }, (_, index) => `run ${index}`)
    const all = definitions.flatMap((definition) => texts.map((text) => ({ definition, text })))
    yield* Effect.gen(function* () {
      yield* Layer.build(node)
      yield* Effect.forEach(all, ({ definition, text }) => Durable.submit(definition, text), { discard: true })
      yield* Layer.build(Layer.fresh(node))
      const outputs = yield* Effect.forEach(all, ({ definition, text }) => Durable.result(definition, text), {
        concurrency: 8
      })
      expect(outputs).toEqual(all.map(({ text }) => text))
    }).pipe(Effect.provide(engineOf("several")), Effect.scoped)
  })
)

it.live("nodes join and leave while runs go on: each step is made once, and there is nothing to ask", () =>
  Effect.gen(function* () {
    const Node = Context.Service<string>("test/Node")
    const made: Array<{ readonly step: string; readonly node: string }> = []
    let isOver = false
    const runner = Runner.make("steady", {
      run: (text: string) =>
        Effect.gen(function* () {
          let goesOn = true
          for (let i = 0; goesOn; i++) {
            const work = Effect.map(Node, (node) => {
              made.push({ step: `${text} ${i}`, node })
              return !isOver
            })
            goesOn = yield* Step.run(`step ${i}`, Schema.Boolean, Effect.delay(work, 50))
          }
          return text
        })
    })
    const steadies = Durable.make(runner, { name: "steadies", version: "1", key: (text) => text })
    const join = (name: string) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const layer = Durable.worker(steadies).pipe(Layer.provide([engineOf("joining"), Layer.succeed(Node)(name)]))
        yield* Layer.build(layer).pipe(Scope.provide(scope))
        yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
        return Scope.close(scope, Exit.void)
      })
    const by = (name: string) => eventually(Effect.sync(() => made.some(({ node }) => node === name)))
    const texts = Array.from({ length: 12 }, (_, index) => `run ${index}`)
    yield* Effect.gen(function* () {
      const leaveA = yield* join("A")
      yield* Effect.forEach(texts, (text) => Durable.submit(steadies, text), { discard: true })
      yield* by("A")
      const leaveB = yield* join("B")
      yield* by("B")
      yield* leaveA
      yield* join("C")
      yield* by("C")
      yield* leaveB
      const left = made.length
      yield* eventually(Effect.sync(() => made.length > left + texts.length))
      expect(new Set(made.slice(left).map(({ node }) => node))).toEqual(new Set(["C"]))
      isOver = true
      const outputs = yield* Effect.forEach(texts, (text) => Durable.result(steadies, text), { concurrency: 8 })
      expect(outputs).toEqual(texts)
      const steps = made.map(({ step }) => step)
      expect(new Set(steps).size).toBe(steps.length)
    }).pipe(Effect.provide(engineOf("joining")), Effect.scoped)
  })
)

it.live("a session on PostgreSQL is never run by two nodes", () =>
  oneNodeAtATime(
    () => engineOf("turns"),
    () => SessionStore.layerSql.pipe(Layer.provide(server.database("turns")))
  )
)

durableVersions(server.database("shared"), engineOf("shared"))
durableSchedules(server.database("schedules"), () => engineOf("schedules"))
durableTexts(() => engineOf("texts"))

it.live("a process executes more definitions than it has connections", () =>
  Effect.gen(function* () {
    const definitions = ["a", "b", "c", "d", "e"].map((name) =>
      Durable.make(Runner.make(name, { run: (text: string) => Effect.succeed(text) }), {
        name,
        version: "1",
        key: (text) => text
      })
    )
    yield* Layer.build(Durable.worker(...definitions))
    const outputs = yield* Effect.forEach(definitions, (definition) => definition.run("x"), { concurrency: 5 })
    expect(outputs).toEqual(["x", "x", "x", "x", "x"])
  }).pipe(Effect.provide(engineOf("connections", { maxConnections: 2 })), Effect.scoped)
)

it.live("what was decided stays decided, and what was done stays done, when the machine is lost", () =>
  Effect.gen(function* () {
    const folder = join(yield* temporaryFile, "..")
    const ledger = join(folder, "ledger")
    const program = bundled("machine", folder)
    const url = yield* Effect.promise(() => server.urlOf("machines"))
    const flows = flowsOf({ machine: "", note: () => Effect.void })
    const starting = (machine: string) =>
      Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [program], {
            env: { ...process.env, ENGINE: url, LEDGER: ledger, MACHINE: machine },
            stdio: ["ignore", "ignore", "inherit"]
          })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
    yield* Effect.gen(function* () {
      yield* Effect.forEach(names, (name) => Durable.submit(flows, name), { discard: true })
      const first = yield* starting("one")
      yield* eventually(
        Effect.sync(() => [...counts(ledger).keys()].filter((line) => / holds /.test(line)).length === 4)
      )
      first.kill("SIGKILL")
      yield* starting("two")
      const outputs = yield* Effect.forEach(names, (name) => Durable.result(flows, name))
      expect(outputs).toEqual(["Failure", "a", "a,c", "0,10,20,30,40,50"])
      const sql = Context.get(yield* Layer.build(server.database("machines")), SqlClient.SqlClient)
      const nodes = yield* sql<{ readonly worker: string }>`SELECT DISTINCT worker FROM troupe_runs`
      expect(nodes.map(({ worker }) => worker.split(" ")[0])).toEqual(["two"])
    }).pipe(Effect.provide(engineOf("machines")))
    const did = readFileSync(ledger, "utf8")
      .trim()
      .split("\n")
      .filter((line) => !/ holds /.test(line))
    expect(did.toSorted()).toEqual([
      "one failFast refused",
      "one map 0",
      "one map 1",
      "one map 2",
      "one quorum a",
      "one quorum c",
      "one race a",
      "two map 3",
      "two map 4",
      "two map 5"
    ])
  })
)
