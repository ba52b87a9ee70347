/** Takes the place of `node.ts` on platforms other than Node: its threads are refused. */
import * as Effect from "effect/Effect"
import { CodeEngineError } from "../../../services/CodeEngine.ts"
import type * as Node from "./node.ts"

const refused = Effect.fail(
  new CodeEngineError({ problem: "there are no threads of Node here", remedy: "Use CodeMode.layerQuickJsInline" })
)

export const find: typeof Node.find = refused
export const start: typeof Node.start = () => refused
