/** Cases for `liveness.test.ts`, which runs them in a process of their own: any of them may hang. */
import { assert } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Queue, Schedule } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as SyncEdge from "troupe/SyncEdge"
import * as TestModel from "troupe/TestModel"
import { Timers } from "../../../src/layers/sync/internal/timers.ts"
import type { Cases } from "../../support/isolated.ts"

const tagOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? `success: ${String(exit.value)}` : String((Cause.squash(exit.cause) as { _tag?: string })._tag)

const tool = (name: string, execute: () => Effect.Effect<unknown>) =>
  AgentTool.fromFunction(name, { description: name, execute })

/** One agent that calls the tool once, under `runSync`, with a Layer of the application around it. */
const runTool = (execute: () => Effect.Effect<unknown>, application: Layer.Layer<never> = Layer.empty) =>
  Effect.runSyncExit(
    Agent.make("a", { tools: [tool("t", execute)] })
      .run("go")
      .pipe(
        Effect.provide(TestModel.layer([TestModel.toolCall("t", {}), "ok"], { unused: "ignore" })),
        Effect.provide(application),
        Effect.provide(SyncEdge.layer)
      )
  )

const ticking = Layer.effectDiscard(Effect.forkScoped(Effect.repeat(Effect.void, Schedule.spaced("20 millis"))))
const promised = Effect.promise(() => Promise.resolve(1))
const signalled = Effect.promise((signal) => Promise.resolve(signal.aborted))

/** A service whose fiber works through a queue of jobs, one of which waits for a promise and has a fallback. */
const worker = Effect.gen(function* () {
  const jobs = yield* Queue.unbounded<Deferred.Deferred<string>>()
  const job = Effect.catchCause(Effect.as(promised, "promise"), () => Effect.succeed("fallback"))
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(jobs), (done) => Deferred.complete(done, job))))
  return Effect.gen(function* () {
    const done = yield* Deferred.make<string>()
    yield* Queue.offer(jobs, done)
    return yield* Deferred.await(done)
  })
})

const nested = (depth: number): Effect.Effect<number, unknown> =>
  Effect.suspend(() =>
    depth === 0 ? Effect.as(Effect.sleep(1), 0) : Effect.sync(() => 1 + Effect.runSync(nested(depth - 1)))
  ).pipe(Effect.provide(SyncEdge.layerNested))

export const cases: Cases = {
  "a promise alongside a timer of a Layer that repeats forever fails the tool": () => {
    assert.strictEqual(tagOf(runTool(() => promised, ticking)), "AsyncToolError")
  },

  "a promise that heeds a signal does so too": () => {
    assert.strictEqual(tagOf(runTool(() => signalled, ticking)), "AsyncToolError")
  },

  "alongside such a timer a run that is moved by timers of its own goes on": () => {
    const slow = Effect.all([Effect.sleep(300), Effect.sleep(200)], { concurrency: "unbounded" })
    assert.strictEqual(tagOf(runTool(() => slow, ticking)), "success: ok")
    const joined = Effect.flatMap(Effect.forkChild(Effect.as(Effect.sleep(300), "joined")), Fiber.join)
    assert.strictEqual(tagOf(runTool(() => joined, ticking)), "success: ok")
  },

  "a run that waits for a Layer's fiber is not given up while that has not fired for long": () => {
    const program = Effect.gen(function* () {
      const done = yield* Deferred.make<string>()
      let ticks = 0
      const service = Effect.sync(() => ++ticks).pipe(
        Effect.tap((n) => (n === 5 ? Deferred.succeed(done, "fifth tick") : Effect.void)),
        Effect.repeat(Schedule.spaced("5 millis"))
      )
      yield* Effect.forkScoped(service)
      return yield* Deferred.await(done)
    })
    assert.strictEqual(Effect.runSync(Effect.scoped(program).pipe(Effect.provide(SyncEdge.layer))), "fifth tick")
  },

  "a tool that waits for a service with a fallback gets the fallback": () => {
    const outside = Effect.scoped(Effect.flatten(worker)).pipe(Effect.provide(SyncEdge.layer))
    assert.strictEqual(Effect.runSync(outside), "fallback")
    const inside = Effect.scoped(
      Effect.flatMap(worker, (ask) =>
        Agent.make("a", { tools: [tool("t", () => ask)] })
          .run("go")
          .pipe(
            Effect.provide(
              TestModel.layer(({ index, prompt }) =>
                index === 0 ? TestModel.toolCall("t", {}) : `I received ${JSON.stringify(prompt)}`
              )
            )
          )
      )
    ).pipe(Effect.provide(SyncEdge.layer))
    assert.include(Effect.runSync(inside), "fallback")
  },

  "the edge alongside a Layer that waits is refused, and the program does not run on behind the caller": async () => {
    const log: Array<string> = []
    const slow = Layer.effectDiscard(
      Effect.acquireRelease(
        Effect.sync(() => log.push("acquired")),
        () => Effect.sync(() => log.push("released"))
      )
    ).pipe(Layer.provideMerge(Layer.effectDiscard(Effect.sleep(5))))
    const model = TestModel.layer(() => (log.push("asked"), "x"))
    const early = Layer.effectDiscard(
      Effect.acquireRelease(
        Effect.sync(() => log.push("early")),
        () => Effect.sync(() => log.push("early released"))
      )
    )
    const program = Effect.provide(Agent.make("a", {}).run("go"), [early, model, slow, SyncEdge.layer])
    const exit = Effect.runSyncExit(program)
    assert.strictEqual(tagOf(exit), "StuckSyncEdge")
    assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "around everything else")
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.deepStrictEqual(log, ["early", "early released"])
  },

  "the edge in an array of Layers that do not wait is fine": () => {
    const program = Effect.provide(Agent.make("a", {}).run("go"), [TestModel.layer(["x"]), SyncEdge.layer])
    assert.strictEqual(Effect.runSync(program), "x")
    const sleeping = Effect.provide(Effect.as(Effect.sleep(5), "slept"), [Layer.empty, SyncEdge.layer])
    assert.strictEqual(Effect.runSync(sleeping), "slept")
  },

  "runs nested beyond a hundred are refused with a typed error": () => {
    assert.strictEqual(Effect.runSync(nested(50)), 50)
    const exit = Effect.runSyncExit(nested(600))
    assert.strictEqual(tagOf(exit), "NestedSyncEdge")
    assert.strictEqual(
      (Cause.squash((exit as Exit.Failure<unknown, unknown>).cause) as { situation: string }).situation,
      "depth"
    )
  },

  "adding and removing one of n timers moves no more than log n others": () => {
    const fiber = Effect.runFork(Effect.never)
    const count = 10_000
    const timers = new Timers()
    let moves = 0
    const add = (ms: number) => {
      const timer = timers.add(ms, fiber, false, () => {})
      let { index } = timer
      const set = (value: number) => {
        moves++
        index = value
      }
      return Object.defineProperty(timer, "index", { get: () => index, set })
    }
    // The later one is due before all others, so it passes the most of them.
    const all = Array.from({ length: count }, (_, i) => add(1_000_000 - 100 * i))
    const depth = Math.ceil(Math.log2(count))
    assert.isBelow(moves, 2 * depth * count)
    moves = 0
    for (const timer of all) timers.remove(timer)
    assert.isBelow(moves, (4 * depth + 4) * count)
    assert.isTrue(timers.isEmpty)
    Effect.runFork(Fiber.interrupt(fiber))
  },

  "timers fire in the order in which they are due, the removed ones never": () => {
    const fiber = Effect.runFork(Effect.never)
    const timers = new Timers()
    const fired: Array<number> = []
    const all = Array.from({ length: 1000 }, (_, i) =>
      timers.add((i * 7919) % 50, fiber, i % 3 === 0, () => fired.push(i))
    )
    all.forEach((timer, i) => i % 4 === 0 && timers.remove(timer))
    const expected = all
      .map((timer, i) => ({ at: timer.at, i }))
      .filter(({ i }) => i % 4 !== 0)
      .toSorted((a, b) => a.at - b.at || a.i - b.i)
    while (!timers.isEmpty) timers.runDue()
    assert.deepStrictEqual(
      fired,
      expected.map(({ i }) => i)
    )
    assert.isTrue(timers.areBackground)
    Effect.runFork(Fiber.interrupt(fiber))
  }
}
