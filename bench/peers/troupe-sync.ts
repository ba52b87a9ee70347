/** Troupe at the sync edge: the same agents under `runSync`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SyncEdge from "../../dist/layers/sync/SyncEdge.js"
import type { Peer } from "../peer.ts"
import { makePeer, modelOf, talker } from "../troupe.ts"

const made = makePeer(
  (model) => Layer.provideMerge(model, SyncEdge.layer),
  async (runtime, effect) => runtime.runSync(effect)
)

export const peer: Peer = {
  ...made,
  together: (waits) => {
    const runs = waits.map((ms) => Effect.provide(talker.run("go"), modelOf(`wait-${ms}`)))
    return made.on("text", Effect.all(runs, { concurrency: "unbounded" }))
  }
}
