/** Takes the place of `nodeCommands.ts` on platforms other than Node: commands of the machine are refused. */
import { InvalidDefinition } from "../../../RunError.ts"
import type * as Node from "./nodeCommands.ts"

export const machine: typeof Node.machine = () => {
  throw new InvalidDefinition({
    subject: "ShellTools.layer",
    problem: "this platform is not Node, which gives the commands of a machine",
    remedy: "Use ShellTools.feature() with Sandbox.layerMemory"
  })
}
