/** What middleware does to requests, seen by the server that they are sent to. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { Cause, Effect, Exit } from "effect"
import { Agent, Guardrail, Middleware, OpenAi, Runner, SyncEdge } from "troupe"
import { long, settings, ways } from "../support/wireRuns.ts"
import * as WireServer from "../support/wireServer.ts"

let server: WireServer.WireServer
beforeAll(() => {
  server = WireServer.start()
})
afterAll(() => server.stop())

const edges = {
  async: <A, E>(program: Effect.Effect<A, E>) => Effect.runPromiseExit(program),
  sync: async <A, E>(program: Effect.Effect<A, E>) => Effect.runSyncExit(Effect.provide(program, SyncEdge.layer))
}
/** By then the request has come to the server, also where the machine has other things to do. */
const patience = "3 seconds"
const cases = (["async", "sync"] as const).flatMap((edge) =>
  (["whole", "streamed"] as const).map((way) => ({ edge, way }))
)
const agentOf = <E>(middleware: Middleware.Middleware<E>) =>
  Agent.make("agent", { instructions: WireServer.plan("slow", { slow: true }), middleware: [middleware] })

describe.each(cases)("on the $edge edge, $way", ({ edge, way }) => {
  const run = async <E>(middleware: Middleware.Middleware<E>) => {
    const model = OpenAi.layer(settings(await server.renew(), "chat"))
    const begun = performance.now()
    const exit = await edges[edge](Effect.provide(ways[way](agentOf(middleware), "go"), model))
    return { exit, ms: performance.now() - begun, report: await server.report() }
  }

  it("a request is aborted that a middleware gives up, and the run goes on", async () => {
    const limit = Middleware.make("limit", {
      model: (request, next) =>
        Effect.timeoutOrElse(next(request), {
          duration: patience,
          orElse: () => Effect.succeed(Middleware.turn("too slow"))
        })
    })
    const { exit, ms, report } = await run(limit)
    assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
    assert.isBelow(ms, long)
    assert.deepStrictEqual([report.aborted, report.answered, report.open], [["slow"], [], []])
  })

  it("a request is aborted when the run is interrupted within next", async () => {
    const spy = Middleware.make("spy", { model: (request, next) => next(request), run: (run, next) => next(run) })
    const model = OpenAi.layer(settings(await server.renew(), "chat"))
    const limited = Runner.withTimeout(agentOf(spy), patience)
    const exit = await edges[edge](Effect.provide(ways[way](limited, "go"), model))
    assert.isTrue(Exit.isFailure(exit))
    const report = await server.report()
    assert.deepStrictEqual([report.aborted, report.open], [["slow"], []])
  })

  it("a guardrail that trips alongside a request has aborted it at the server within 50 ms", async () => {
    let checkedAt = 0
    const slow = Guardrail.input("slow", () =>
      Effect.delay(
        Effect.sync(() => {
          checkedAt = Date.now()
          return Guardrail.trip("no")
        }),
        "200 millis"
      )
    )
    const after: Array<number> = []
    // The server is another process, which a busy machine may let wait: one of several requests has to be in time.
    for (let tries = 0; tries < 8 && !after.some((ms) => ms <= 50); tries++) {
      const { exit, report } = await run(slow)
      assert.isTrue(Exit.isFailure(exit))
      // The check was done before the request had reached the server.
      if (report.begun.length === 0) continue
      assert.deepStrictEqual([report.aborted, report.answered, report.open], [["slow"], [], []])
      after.push(report.abortedAt! - checkedAt)
    }
    assert.isAtMost(Math.min(...after), 50, String(after))
  })

  it("nothing is sent when a middleware answers", async () => {
    const { exit, report } = await run(
      Middleware.make("closed", { model: () => Effect.succeed(Middleware.turn("closed")) })
    )
    assert.isTrue(Exit.isSuccess(exit))
    assert.deepStrictEqual(report.begun, [])
  })
})
