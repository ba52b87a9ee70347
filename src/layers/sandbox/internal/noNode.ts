/** Takes the place of `node.ts` on platforms other than Node: a machine to work on is refused. */
import * as Effect from "effect/Effect"
import { InvalidDefinition } from "../../../RunError.ts"
import type * as Node from "./node.ts"

const refuse = (name: string) => () =>
  Effect.fail(
    new InvalidDefinition({
      subject: `Sandbox.${name}`,
      problem: "this platform is not Node, which gives the files and commands of a machine",
      remedy: "Use Sandbox.layerMemory, or Sandbox.layerAiSdk with a hosted sandbox"
    })
  )

export const bubblewrap: typeof Node.bubblewrap = refuse("layerBubblewrap")
export const docker: typeof Node.docker = refuse("layerDocker")
export const local: typeof Node.local = refuse("layerLocal")
export const worktree: typeof Node.worktree = refuse("worktree")
