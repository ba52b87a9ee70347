/** Troupe at the async edge, on undici. */
import * as Undici from "../../dist/layers/openai/Undici.js"
import { makePeer, modelOf } from "../troupe.ts"

export const peer = makePeer(
  (model) => model,
  (runtime, effect) => runtime.runPromise(effect),
  (model) => modelOf(model, { transport: Undici.transport })
)
