/** A server behind HTTP that is killed and started again, as a process. */
import { it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as Mcp from "troupe/Mcp"
import { expect } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { startEverything, until } from "../../support/mcpEverything.ts"

const eventually = (done: () => boolean) => Effect.promise(() => until(done))

it.live.each([
  ["streamableHttp", "http"],
  ["sse", "sse"]
] as const)(
  "%s fails calls when the server is killed, and finds it again when it is back",
  ([transport, wanted]) =>
    Effect.gen(function* () {
      const server = yield* Effect.promise(() => startEverything(transport))
      const servers = { everything: { url: server.url, transport: wanted, patience: "1 second" as const } }
      const mcp = yield* Mcp.connect({ servers })
      const tools = yield* mcp.tools()
      let reported = 0
      const lost = yield* Effect.forkChild(
        Effect.exit(call(tools, "trigger-long-running-operation", { duration: 60, steps: 600 }, () => reported++))
      )
      yield* eventually(() => reported > 0)
      yield* Effect.promise(() => server.stop())
      expect(failure(yield* Fiber.join(lost))).toMatchObject({ reason: "lost", executed: "unknown" })
      yield* Effect.acquireRelease(
        Effect.promise(() => startEverything(transport, server.port)),
        (again) => Effect.promise(() => again.stop())
      )
      // A client that does not learn of the server's end notices it at its first call, which the server has not got; and how
      // soon it looks again depends on how long the server took to start.
      let back = yield* Effect.exit(call(tools, "echo", { message: "back" }))
      for (let calls = 1; Exit.isFailure(back) && calls < 20; calls++) {
        expect(failure(back)).toMatchObject({ executed: "no" })
        back = yield* Effect.exit(call(tools, "echo", { message: "back" }))
      }
      expect(back).toEqual(Exit.succeed("Echo: back"))
    }),
  60_000
)
