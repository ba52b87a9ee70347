/** The OpenAI server of `openAiServer.ts` in a child process, for tests of both edges. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Context, Effect, Layer } from "effect"
import type { Reply, Seen } from "./openAiServer.ts"

/** Gives the server another script and returns its address; `seen` returns what it has received since. */
export interface ChildServer {
  readonly script: (...replies: ReadonlyArray<Reply>) => Effect.Effect<string>
  readonly seen: Effect.Effect<ReadonlyArray<Seen>>
}

/** Starts the child; it ends with the scope. */
export const start = Effect.acquireRelease(
  Effect.sync(() =>
    fork(fileURLToPath(new URL("./openAiServer.ts", import.meta.url)), {
      execArgv: [],
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
  ),
  (child) =>
    Effect.sync(() => {
      child.kill("SIGKILL")
    })
).pipe(
  Effect.map((child): ChildServer => {
    const ask = <A>(message: object) =>
      Effect.callback<A>((resume) => {
        const hear = (answer: unknown) => resume(Effect.succeed(answer as A))
        child.once("message", hear)
        child.send(message)
        return Effect.sync(() => child.off("message", hear))
      })
    return {
      script: (...script) => Effect.map(ask<{ readonly url: string }>({ script }), ({ url }) => url),
      seen: Effect.map(ask<{ readonly seen: ReadonlyArray<Seen> }>({ ask: true }), ({ seen }) => seen)
    }
  })
)

/** The server of a whole suite. */
export class Server extends Context.Service<Server, ChildServer>()("test/Server") {}

export const layer = Layer.effect(Server, start)
