/** Runs a script of a skill, to be killed while it runs: `node skillScriptMain.ts FOLDER sync|async`. */
import { Effect, Layer } from "effect"
import * as Skills from "troupe/Skills"
import * as SyncEdge from "troupe/SyncEdge"

const [, , folder, edge] = process.argv

const program = Effect.flatMap(Skills.Skills, ({ run }) => run("s", "scripts/endless.sh")).pipe(
  Effect.provide(Skills.layer({ folders: [folder!], scripts: { timeout: "1 minute" } })),
  Effect.provide(edge === "sync" ? SyncEdge.layer : Layer.empty)
)
if (edge === "sync") Effect.runSync(program)
else await Effect.runPromise(program)
