/** The files of a directory of this machine, which needs Node. `noNodeFiles.ts` takes its place elsewhere. */
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { messageOf } from "../../../internal/message.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import type { Denied } from "../../internal/files/denied.ts"
import * as Rooted from "../../internal/files/rooted.ts"
import { ofRooted } from "../../internal/files/rootedTree.ts"
import type { Tree } from "../../internal/files/tree.ts"

/** The tree of files below a directory. */
export const treeAt = (root: string | URL, denied: Denied): Effect.Effect<Tree, InvalidDefinition> =>
  Effect.try({
    try: () => {
      const path = fs.realpathSync(typeof root === "string" ? root : fileURLToPath(root))
      if (!fs.statSync(path).isDirectory()) throw new Error("it is a file")
      return ofRooted(Rooted.make(path, denied))
    },
    catch: (cause) =>
      new InvalidDefinition({
        subject: `FileTools.layer for ${String(root)}`,
        problem: `its root cannot be used: ${messageOf(cause)}`,
        remedy: "Give a directory that exists"
      })
  })
