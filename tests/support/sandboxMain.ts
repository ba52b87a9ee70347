/** Runs a command in bubblewrap that ends by itself only after long: `node sandboxMain.ts DIRECTORY EDGE SECONDS PART`. */
import { Effect } from "effect"
import { ChildProcess } from "effect/process"
import * as Sandbox from "troupe/Sandbox"
import * as SyncEdge from "troupe/SyncEdge"

const [, , root = "", edge, whole, part] = process.argv

const program = Effect.flatMap(Sandbox.Sandbox, ({ processes }) =>
  processes.exitCode(ChildProcess.make("sh", ["-c", `sleep ${whole}.${part} & wait`]))
).pipe(Effect.provide(Sandbox.layerBubblewrap({ root })))

if (edge === "runSync") Effect.runSync(Effect.provide(program, SyncEdge.layer))
else await Effect.runPromise(program)
