/** Plans on the wire: a strict OpenAI server in another process counts how each step's request ends. */
import { Effect, Exit, Redacted } from "effect"
import { Agent, OpenAi, PlanExecuteEvaluate, RunError, SyncEdge } from "troupe"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { failureOf, type Given, planOf, step } from "../support/plans.ts"
import * as WireServer from "../support/wireServer.ts"

let server: WireServer.WireServer
beforeAll(() => {
  server = WireServer.start()
})
afterAll(() => server.stop())

const edges = {
  async: <A, E>(program: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> => Effect.runPromiseExit(program),
  sync: async <A, E>(program: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> =>
    Effect.runSyncExit(Effect.provide(program, SyncEdge.layer))
}

const worker = (id: string, turn: WireServer.Turn) =>
  Agent.make(id, { description: id, instructions: WireServer.plan(id, turn) })
const by = (id: string, dependsOn: ReadonlyArray<string> = []) => step(id, dependsOn, { worker: id })

const work = (workers: Readonly<Record<string, ReturnType<typeof worker>>>, ...steps: ReadonlyArray<Given>) =>
  PlanExecuteEvaluate.make(
    "work",
    {
      planner: Agent.make("planner", {
        instructions: WireServer.plan("planner", { text: JSON.stringify(planOf(...steps)) }),
        output: PlanExecuteEvaluate.Plan
      }),
      workers
    },
    { onStepFailure: "fail" }
  )

for (const edge of ["async", "sync"] as const) {
  for (const api of ["chat", "responses"] as const) {
    describe(`${edge}, ${api}`, () => {
      const model = (url: string) =>
        OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make("k"), retry: "none" })

      it("steps that do not depend on one another are under way together", async () => {
        const url = await server.renew()
        // Neither a nor b is answered before both have asked.
        const a = worker("a", { text: "from a", barrier: 3 })
        const b = worker("b", { text: "from b", barrier: 3 })
        const c = worker("c", { text: "from c" })
        const exit = await edges[edge](
          work({ a, b, c }, by("c", ["a", "b"]), by("a"), by("b"))
            .run("go")
            .pipe(Effect.provide(model(url)), Effect.orDie)
        )
        assert.deepStrictEqual(exit, Exit.succeed({ c: "from c" }))
        assert.deepStrictEqual((await server.report()).answered, ["a", "b", "c", "planner"])
      })

      it("a step that fails has the requests of the others aborted", async () => {
        const url = await server.renew()
        const bad = worker("bad", { status: 400, barrier: 4, body: { error: { message: "no such thing" } } })
        const slow = worker("slow", { slow: true })
        const late = worker("late", { slow: true })
        const never = worker("never", { text: "never" })
        const exit = await edges[edge](
          work({ bad, slow, late, never }, by("slow"), by("bad"), by("late"), by("never", ["slow"]))
            .run("go")
            .pipe(Effect.provide(model(url)))
        )
        const { aborted, answered, begun } = await server.report()
        assert.deepStrictEqual(
          [begun, answered, aborted],
          [
            ["bad", "late", "planner", "slow"],
            ["bad", "planner"],
            ["late", "slow"]
          ]
        )
        const error = failureOf(exit) as PlanExecuteEvaluate.StepsFailed<unknown>
        assert.deepStrictEqual(error.interrupted, ["slow", "late", "never"])
        assert.deepStrictEqual(
          error.failures.map(({ error, step }) => [step, error instanceof RunError.ModelError]),
          [["bad", true]]
        )
      })
    })
  }
}
