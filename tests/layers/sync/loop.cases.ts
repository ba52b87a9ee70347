/** Cases for `loop.test.ts`, which runs them in a process of their own: any of them may hang. */
import { assert } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  ManagedRuntime,
  Queue,
  References,
  Scheduler,
  Stream
} from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as SyncEdge from "troupe/SyncEdge"
import * as IoWorker from "../../../src/layers/internal/io/ioWorker.ts"
import type { Cases } from "../../support/isolated.ts"

const base = process.env["BASE"]
const get = (path: string) => Effect.flatMap(HttpClient.get(`${base}${path}`), (response) => response.text)
const on = <A, E>(effect: Effect.Effect<A, E, HttpClient.HttpClient>): Effect.Effect<A, E> =>
  effect.pipe(Effect.provide(SyncEdge.layerHttpClient), Effect.provide(SyncEdge.layer))
const allow = <A, E>(effect: Effect.Effect<A, E, HttpClient.HttpClient>): Effect.Effect<A, E> =>
  effect.pipe(Effect.provide(SyncEdge.layerHttpClient), Effect.provide(SyncEdge.layerNested))
const runtime = () => ManagedRuntime.make(Layer.provideMerge(SyncEdge.layerHttpClient, SyncEdge.layer))
const aborted = Effect.map(get("/aborted"), Number)
/** Waits until the server has seen one more abort than before. A watchdog ends a wait that is in vain. */
const abortedAfter = (before: number) =>
  Effect.repeat(Effect.andThen(Effect.sleep("5 millis"), aborted), { until: (count) => count > before })
const refusal = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit)
    ? "no refusal"
    : Cause.hasInterruptsOnly(exit.cause)
      ? "interrupted"
      : String((Cause.squash(exit.cause) as { readonly _tag?: string })._tag)
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)

const spinning = (name: string, turn: Effect.Effect<unknown>) => ({
  [`a fiber that spins ${name} starves neither timers nor messages`]: () => {
    let turns = 0
    const spin = Effect.forever(
      Effect.andThen(
        turn,
        Effect.sync(() => turns++)
      )
    )
    const program = Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(spin)
      yield* Effect.sleep("20 millis")
      const text = yield* get("/ok/10")
      const first = yield* Effect.timeoutOption(get("/hang"), "20 millis")
      yield* Fiber.interrupt(fiber)
      return [text, first._tag]
    })
    assert.deepStrictEqual(Effect.runSync(on(program)), ["ok10", "None"])
    const managed = runtime()
    managed.runSync(Effect.void)
    assert.deepStrictEqual(managed.runSync(program), ["ok10", "None"])
    assert.isAbove(turns, 100)
  }
})

export const cases: Cases = {
  ...spinning("with yieldNow", Effect.yieldNow),
  ...spinning("and computes", Effect.void),

  "a fiber that spins after its run does not starve Node's event loop": async () => {
    let stop = false
    Effect.runSync(on(Effect.forkDetach(Effect.repeat(Effect.yieldNow, { until: () => stop }))))
    await new Promise((resolve) => setTimeout(resolve, 20))
    stop = true
  },

  "a program that catches its refusal forever ends": () => {
    const caught = Effect.exit(Effect.never)
    assert.strictEqual(refusal(Effect.runSyncExit(on(Effect.forever(caught)))), "interrupted")
    const pausing = Effect.forever(Effect.andThen(caught, Effect.sleep("10 micros")))
    assert.strictEqual(refusal(Effect.runSyncExit(on(pausing))), "interrupted")
    const forking = Effect.forever(Effect.flatMap(Effect.forkChild(Effect.never), Fiber.await))
    assert.strictEqual(refusal(Effect.runSyncExit(on(forking))), "interrupted")
    const stubborn = Effect.uninterruptible(Effect.forever(caught))
    assert.strictEqual(refusal(Effect.runSyncExit(on(stubborn))), "AsyncFiberError")
    assert.strictEqual(Effect.runSync(on(Effect.as(Effect.sleep(1), "after"))), "after")
  },

  "thousands of refusals one after the other are an ordinary program": () => {
    const exits = Effect.runSync(on(Effect.forEach(numbers(3000), () => Effect.exit(Effect.never))))
    assert.deepStrictEqual([...new Set(exits.map(refusal))], ["StuckSyncEdge"])
  },

  "who waits for a fiber that is refused is not refused with it": () => {
    const caught = Effect.catchCause(Effect.never, () => Effect.succeed("caught"))
    const both = Effect.all([caught, Effect.as(Effect.sleep(5), "slept"), caught], { concurrency: "unbounded" })
    assert.deepStrictEqual(Effect.runSync(on(both)), ["caught", "slept", "caught"])
    const settled = Effect.forEach([1, 2, 3], () => Effect.exit(both), { concurrency: "unbounded" })
    assert.isTrue(Effect.runSync(on(settled)).every(Exit.isSuccess))
    const worker = Effect.gen(function* () {
      const jobs = yield* Queue.unbounded<Deferred.Deferred<string>>()
      yield* Effect.forkChild(Effect.forever(Effect.flatMap(Queue.take(jobs), (job) => Deferred.complete(job, caught))))
      const job = yield* Deferred.make<string>()
      yield* Queue.offer(jobs, job)
      return yield* Deferred.await(job)
    })
    assert.strictEqual(Effect.runSync(on(worker)), "caught")
  },

  "a run may be nested in a run in a run, while each has timers and requests under way": () => {
    const level = (depth: number): Effect.Effect<ReadonlyArray<string>, unknown, HttpClient.HttpClient> =>
      Effect.gen(function* () {
        const request = yield* Effect.forkChild(get(`/ok/${10 * depth}`))
        const timer = yield* Effect.forkChild(Effect.as(Effect.sleep(10 * depth), `slept${depth}`))
        yield* Effect.yieldNow
        const inner = depth === 3 ? [] : Effect.runSync(allow(level(depth + 1)))
        return [yield* Fiber.join(request), yield* Fiber.join(timer), ...inner]
      })
    assert.deepStrictEqual(Effect.runSync(allow(level(1))), ["ok10", "slept1", "ok20", "slept2", "ok30", "slept3"])
  },

  "a nested run may be one of the same runtime": () => {
    const managed = ManagedRuntime.make(Layer.provideMerge(SyncEdge.layerHttpClient, SyncEdge.layerNested))
    const nested = Effect.gen(function* () {
      const outer = yield* Effect.forkChild(Effect.as(get("/ok/30"), "outer"))
      yield* Effect.sleep(1)
      const inner = managed.runSync(Effect.all([get("/ok/5"), Effect.as(Effect.sleep(5), "slept")], { concurrency: 2 }))
      return [...inner, yield* Fiber.join(outer)]
    })
    for (const _ of [1, 2, 3]) assert.deepStrictEqual(managed.runSync(nested), ["ok5", "slept", "outer"])
    assert.strictEqual(refusal(managed.runSyncExit(Effect.sync(() => managed.runSync(Effect.never)))), "StuckSyncEdge")
  },

  "a nested run may have a scheduler around the loop's": async () => {
    const program = Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.as(Effect.sleep("1 hour"), "slept"))
      yield* TestClock.adjust("1 hour")
      return yield* Fiber.join(fiber)
    }).pipe(Effect.provide(TestClock.layer()))
    assert.strictEqual(Effect.runSync(on(program)), "slept")
    const nested = Effect.sync(() => Effect.runSync(allow(program)))
    assert.strictEqual(Effect.runSync(on(nested)), "slept")
    assert.strictEqual(Effect.runSync(on(Effect.provide(nested, TestClock.layer()))), "slept")
    assert.strictEqual(await Effect.runPromise(nested), "slept")
  },

  "fibers that outlive the run are served by Node's event loop": async () => {
    const order: Array<string> = []
    const started = Effect.gen(function* () {
      const ended = yield* Deferred.make<ReadonlyArray<string>>()
      yield* Effect.sleep(30).pipe(
        Effect.andThen(Effect.yieldNow),
        // A run's open requests end with it; those that come later have Node's event loop.
        Effect.andThen(get("/ok/20")),
        Effect.tap((text) => Effect.sync(() => order.push(text))),
        Effect.andThen(Effect.all([Effect.sleep(10), Effect.sleep(20)], { concurrency: 2 })),
        Effect.andThen(Effect.suspend(() => Deferred.succeed(ended, order))),
        Effect.forkDetach
      )
      return ended
    })
    const ended = Effect.runSync(on(started))
    order.push("the run has ended")
    assert.deepStrictEqual(await Effect.runPromise(Deferred.await(ended)), ["the run has ended", "ok20"])
  },

  "a runtime runs thousands of programs, and is then given up": async () => {
    const users = IoWorker.userCount()
    const managed = runtime()
    const program = Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.as(Effect.yieldNow, 1))
      return (yield* Fiber.join(fiber)) + (yield* Effect.as(Effect.sleep("1 micros"), 1))
    })
    let sum = 0
    for (let run = 0; run < 3000; run++) sum += managed.runSync(program)
    assert.strictEqual(sum, 6000)
    for (let run = 0; run < 50; run++) assert.strictEqual(managed.runSync(get("/ok/0")), "ok0")
    assert.strictEqual(IoWorker.userCount(), users + 1)
    await managed.dispose()
    assert.strictEqual(IoWorker.userCount(), users)
  },

  "a fiber lets others have their turn after MaxOpsBeforeYield operations, wherever that is set": () => {
    /** How often the two take turns. */
    const turns = Effect.gen(function* () {
      const log: Array<string> = []
      const compute = (name: string) =>
        Effect.gen(function* () {
          for (let op = 0; op < 6000; op++) yield* Effect.sync(() => log.push(name))
        })
      yield* Effect.all([compute("a"), compute("b")], { concurrency: 2 })
      return log.filter((name, index) => index > 0 && name !== log[index - 1]).length
    })
    const often = Effect.provideService(References.MaxOpsBeforeYield, 20)
    const rarely = Effect.provideService(References.MaxOpsBeforeYield, 1e9)
    const plain = Effect.runSync(on(turns))
    assert.isAbove(plain, 1)
    for (const many of [on(often(turns)), often(on(turns))]) assert.isAbove(Effect.runSync(many), 10 * plain)
    for (const none of [on(rarely(turns)), rarely(on(turns))]) assert.isBelow(Effect.runSync(none), 3)
    const managed = runtime()
    for (const _ of [1, 2]) {
      assert.isAtMost(Math.abs(managed.runSync(turns) - plain), plain)
      assert.isAbove(managed.runSync(often(turns)), 10 * plain)
    }
  },

  "a timeout aborts a hanging request on the wire": () => {
    const program = Effect.gen(function* () {
      const before = yield* aborted
      const exit = yield* Effect.exit(Effect.timeout(get("/hang"), "20 millis"))
      assert.strictEqual(refusal(exit), "TimeoutError")
      yield* abortedAfter(before)
    })
    Effect.runSync(on(program))
  },

  "an interruption in the middle of a streamed body aborts the request at the server": () => {
    const body = Stream.unwrap(Effect.map(HttpClient.get(`${base}/drip`), (response) => response.stream))
    const ends: Record<string, Effect.Effect<unknown, unknown, HttpClient.HttpClient>> = {
      "its reader is interrupted": Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const reader = yield* Effect.forkChild(
          Stream.runForEach(body, () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.sleep("1 millis")))
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(reader)
      }),
      "its reader is interrupted while it waits": Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const reader = yield* Effect.forkChild(Stream.runForEach(body, () => Deferred.succeed(begun, undefined)))
        yield* Deferred.await(begun)
        yield* Effect.sleep("1 millis")
        yield* Fiber.interrupt(reader)
      }),
      "its reader has enough": Stream.runDrain(Stream.take(body, 3)),
      "its reader fails": Effect.exit(Stream.runForEach(body, () => Effect.fail("no"))),
      "it takes too long": Effect.timeoutOption(Stream.runDrain(body), "30 millis")
    }
    for (const [, end] of Object.entries(ends)) {
      const program = Effect.gen(function* () {
        const before = yield* aborted
        yield* end
        yield* abortedAfter(before)
      })
      Effect.runSync(on(program))
    }
  },

  "a request that a run leaves open is aborted with it": () => {
    const before = Effect.runSync(on(aborted))
    Effect.runSync(on(Effect.andThen(Effect.forkDetach(get("/hang")), Effect.sleep("30 millis"))))
    Effect.runSync(on(abortedAfter(before)))
  },

  "timers longer than Node's own keep time, in the run and after it": async () => {
    const warnings: Array<string> = []
    const warn = (warning: Error) => warnings.push(warning.name)
    process.on("warning", warn)
    const long = 2 ** 31 + 1000
    const first = Effect.race(Effect.as(Effect.sleep(long), "long"), Effect.as(Effect.sleep(20), "short"))
    assert.strictEqual(Effect.runSync(on(first)), "short")
    assert.strictEqual(Effect.runSync(on(Effect.timeout(get("/ok/1"), long))), "ok1")
    assert.strictEqual(Effect.runSync(on(Effect.timeout(get("/ok/1"), Infinity))), "ok1")
    const fiber = Effect.runSync(on(Effect.forkDetach(Effect.sleep(long))))
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.isUndefined(fiber.pollUnsafe())
    await Effect.runPromise(Fiber.interrupt(fiber))
    process.off("warning", warn)
    assert.deepStrictEqual(warnings, [])
    assert.notInclude(process.getActiveResourcesInfo(), "Timeout")
  },

  "10,000 sleeping fibers all wake, none too early, in the order of their times": () => {
    const woken: Array<number> = []
    const sleeper = (index: number) =>
      Effect.suspend(() => {
        const ms = 1 + ((index * 7919) % 400)
        const due = performance.now() + ms
        const wake = Effect.sync(() => {
          assert.isAtLeast(performance.now(), due)
          woken.push(due)
        })
        return Effect.andThen(Effect.sleep(ms), wake)
      })
    Effect.runSync(on(Effect.forEach(numbers(10_000), sleeper, { concurrency: "unbounded", discard: true })))
    assert.strictEqual(woken.length, 10_000)
    let latest = 0
    const late = woken.filter((due) => due < (latest = Math.max(latest, due)) - 20)
    assert.isBelow(late.length, 100)
  },

  "PreventSchedulerYield changes nothing, wherever it is set": () => {
    const prevent = Effect.provideService(Scheduler.PreventSchedulerYield, true)
    const program = Effect.gen(function* () {
      const texts = yield* Effect.all([get("/ok/20"), get("/ok/10")], { concurrency: 2 })
      const fiber = yield* Effect.forkChild(Effect.as(Effect.andThen(Effect.yieldNow, Effect.sleep(5)), "forked"))
      return [...texts, yield* Fiber.join(fiber)]
    })
    const expected = ["ok20", "ok10", "forked"]
    assert.deepStrictEqual(Effect.runSync(on(prevent(program))), expected)
    assert.deepStrictEqual(Effect.runSync(prevent(on(program))), expected)
    const managed = runtime()
    for (const _ of [1, 2, 3]) assert.deepStrictEqual(managed.runSync(prevent(program)), expected)
    assert.strictEqual(refusal(Effect.runSyncExit(prevent(on(Effect.never)))), "StuckSyncEdge")
    assert.strictEqual(refusal(Effect.runSyncExit(on(prevent(Effect.never)))), "StuckSyncEdge")
    const all = Effect.all([Effect.sleep(5), Effect.sleep(6)], { concurrency: 2, discard: true })
    Effect.runSync(prevent(on(all)))
  },

  "several regions in one run wait together": () => {
    const program = Effect.gen(function* () {
      const first = yield* Effect.forkChild(on(Effect.all([get("/ok/60"), Effect.sleep(20)], { concurrency: 2 })))
      const second = yield* Effect.forkChild(on(Effect.all([Effect.sleep(70), get("/ok/10")], { concurrency: 2 })))
      const third = yield* Effect.forkChild(on(Effect.exit(Effect.never)))
      return [(yield* Fiber.join(first))[0], (yield* Fiber.join(second))[1], refusal(yield* Fiber.join(third))]
    })
    for (const way of [program, Effect.andThen(Effect.yieldNow, program), on(program)])
      assert.deepStrictEqual(Effect.runSync(way), ["ok60", "ok10", "StuckSyncEdge"])
  }
}
