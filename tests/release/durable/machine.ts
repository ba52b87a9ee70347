/**
 * A worker that says that it is on the machine `MACHINE`. On machine "one" each flow comes to where it has decided, and stays
 * there. What its branches did stands in a ledger.
 */
import { appendFileSync } from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import os from "node:os"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as Durable from "troupe/Durable"
import { flowsOf } from "./flows.ts"
import { engine } from "./tree.ts"

const machine = process.env["MACHINE"]!
// The engine, which is loaded later, knows its machine by this.
os.hostname = () => machine
syncBuiltinESMExports()

const note = (what: string) => Effect.sync(() => appendFileSync(process.env["LEDGER"]!, `${machine} ${what}\n`))

Layer.launch(Durable.worker(flowsOf({ machine, note })).pipe(Layer.provide(engine({ lease: "1 second" })))).pipe(
  NodeRuntime.runMain
)
