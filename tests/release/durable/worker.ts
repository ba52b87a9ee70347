/** A process that executes trees until it is killed. */
import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import * as Durable from "troupe/Durable"
import { engine, Model, trees } from "./tree.ts"

Layer.launch(Durable.worker(trees).pipe(Layer.provide([Model, engine()]))).pipe(NodeRuntime.runMain)
