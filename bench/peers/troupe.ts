/** Troupe at the async edge. */
import { makePeer } from "../troupe.ts"

export const peer = makePeer(
  (model) => model,
  (runtime, effect) => runtime.runPromise(effect)
)
