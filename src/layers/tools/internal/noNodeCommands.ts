/** Takes the place of `nodeCommands.ts` where there is no Node: commands of the machine are refused. */
import { InvalidDefinition } from "../../../RunError.ts"
import type * as Node from "./nodeCommands.ts"

export const machine: typeof Node.machine = () => {
  throw new InvalidDefinition({
    subject: "ShellTools.layer",
    problem: "there is no Node here, and so no commands of a machine",
    remedy: "Use ShellTools.feature() with Sandbox.layerMemory"
  })
}
