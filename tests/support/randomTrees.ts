/**
 * A child process that runs random trees of workflows under `runSync`. It prints each case before it runs it, so that
 * a watchdog that kills it for hanging knows which one hung.
 */
import { Arbitrary, Cause, Effect, Exit } from "effect"
import { SyncEdge } from "troupe"
import { Case, driveLive } from "./treeRuns.ts"

const [, , seed, count] = process.argv
const cases = Effect.runSync(
  Arbitrary.sampleEffect(Arbitrary.schema(Case), { count: Number(count), seed: Number(seed) })
)
for (const [index, given] of cases.entries()) {
  const said = `${index} ${JSON.stringify(given)}`
  process.stdout.write(`${said}\n`)
  const exit = Effect.runSyncExit(driveLive(given).pipe(Effect.provide(SyncEdge.layer)))
  const problem = Exit.isSuccess(exit) ? exit.value.problems.join("\n") : Cause.pretty(exit.cause)
  if (problem !== "") {
    process.stderr.write(`${said}\n${problem}\n`)
    process.exit(1)
  }
}
process.exit(0)
