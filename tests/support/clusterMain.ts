/** A worker of a cluster that serves connections, and what `Effect.runSync` says before and after it begins to. */
import cluster from "node:cluster"
import { createServer } from "node:http"
import { Effect } from "effect"
import * as SyncEdge from "troupe/SyncEdge"

const attempt = () => {
  try {
    return Effect.runSync(Effect.sleep(1).pipe(Effect.as("slept"), Effect.provide(SyncEdge.layer)))
  } catch (error) {
    return (error as { readonly situation?: string }).situation ?? String(error)
  }
}

if (cluster.isPrimary) {
  cluster.fork().on("message", (said: string) => {
    console.log(said)
    process.exit()
  })
} else {
  const before = attempt()
  const server = createServer()
  // The state of the worker changes with the listeners of its server.
  server.listen(0, "127.0.0.1", () => setImmediate(() => process.send?.(`${before} ${attempt()}`)))
}
