/** Runs one command by the shell tool, with a long grace: `node shellToolMain.ts DIRECTORY sync|async SCRIPT TIMEOUT`. */
import { type Duration, Effect, Layer } from "effect"
import * as ShellTools from "troupe/ShellTools"
import * as SyncEdge from "troupe/SyncEdge"
import { call } from "./toolCalls.ts"

const [, , cwd, edge, script, timeout] = process.argv

const Shell = ShellTools.layer({
  allow: [process.execPath],
  cwd: cwd!,
  timeout: timeout as Duration.Input,
  grace: "10 minutes"
})
const program = call(ShellTools.toolkit, "run_command", { command: process.execPath, args: ["-e", script] }).pipe(
  Effect.provide(Shell),
  Effect.provide(edge === "sync" ? SyncEdge.layer : Layer.empty)
)
if (edge === "sync") Effect.runSync(program)
else await Effect.runPromise(program)
