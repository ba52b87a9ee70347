/** A process that executes trees until it is killed. With SIGUSR2 its clock jumps an hour, forth and back. */
import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import * as Durable from "troupe/Durable"
import { engine, Model, trees } from "./tree.ts"

const real = Date.now
let shift = 0
Date.now = () => real() + shift
process.on("SIGUSR2", () => {
  shift = shift === 0 ? 3_600_000 : 0
})

Layer.launch(Durable.worker(trees).pipe(Layer.provide([Model, engine()]))).pipe(NodeRuntime.runMain)
