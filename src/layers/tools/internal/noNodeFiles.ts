/** Takes the place of `nodeFiles.ts` on platforms other than Node: a directory of the machine is refused. */
import * as Effect from "effect/Effect"
import { InvalidDefinition } from "../../../RunError.ts"
import type * as Node from "./nodeFiles.ts"

export const treeAt: typeof Node.treeAt = (root) =>
  Effect.fail(
    new InvalidDefinition({
      subject: `FileTools.layer for ${String(root)}`,
      problem: "this platform is not Node, which gives the directories of a machine",
      remedy: "Use FileTools.feature() with Sandbox.layerMemory"
    })
  )
