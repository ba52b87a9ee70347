/** The files of a directory of this machine, which needs Node. `noNodeFiles.ts` takes its place elsewhere. */
import * as Effect from "effect/Effect"
import type { InvalidDefinition } from "../../../RunError.ts"
import type { Denied } from "../../internal/files/denied.ts"
import { directoryAt } from "../../internal/files/directory.ts"
import * as Rooted from "../../internal/files/rooted.ts"
import { ofRooted } from "../../internal/files/rootedTree.ts"
import type { Tree } from "../../internal/files/tree.ts"

/** The tree of files below a directory. */
export const treeAt = (root: string | URL, denied: Denied): Effect.Effect<Tree, InvalidDefinition> =>
  Effect.map(directoryAt(`FileTools.layer for ${String(root)}`, "root", root), (path) =>
    ofRooted(Rooted.make(path, denied))
  )
