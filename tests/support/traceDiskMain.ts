/** A program that records its runs: `node traceDiskMain.ts FILE RUNS`. It writes how many of them have succeeded. */
import { Effect, Layer } from "effect"
import * as Agent from "troupe/Agent"
import * as Sqlite from "troupe/Sqlite"
import * as TestModel from "troupe/TestModel"
import * as TraceStore from "troupe/TraceStore"

const [filename, runs] = process.argv.slice(2) as [string, string]
const clerk = Agent.make("clerk", {})
const Traces = TraceStore.record.pipe(
  Layer.provideMerge(TraceStore.layerSql),
  Layer.provide(Sqlite.layer({ filename }))
)
const answer = "y".repeat(20_000)
let succeeded = 0
await Effect.runPromise(
  Effect.gen(function* () {
    for (let i = 0; i < Number(runs); i++) {
      if ((yield* clerk.run("x")) === answer) succeeded++
      yield* Effect.sleep(15)
    }
  }).pipe(Effect.provide([Traces, TestModel.layer(() => answer, { unused: "ignore" })]))
)
console.log(`${succeeded} runs have succeeded`)
