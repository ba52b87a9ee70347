/** The laws of traces: what holds for every store. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Stream } from "effect"
import { AiError } from "effect/ai"
import {
  Agent,
  Parallel,
  RunError,
  RunEvent,
  Runner,
  Session,
  SessionStore,
  Telemetry,
  TestModel,
  TraceStore
} from "troupe"
import { ConversationId } from "../../src/services/CurrentRun.ts"

const model = TestModel.layer(
  ({ prompt }) => {
    const text = JSON.stringify(prompt.content.at(-1))
    if (text.includes("fail")) return { fail: new AiError.InvalidRequestError({ description: "no" }) }
    if (text.includes("hang")) return { hang: true }
    return "Yes."
  },
  { unused: "ignore" }
)
const clerk = Agent.make("clerk", {})
const desk = Parallel.make("desk", { one: clerk, two: Agent.make("other", {}) })

/** `store` keeps what it was given for as long as the tests of one law; `fresh` names what no other law has. */
export const traceLaws = (store: Layer.Layer<TraceStore.TraceStore, unknown>): void => {
  const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(
      // Released at its end, so that all is written.
      Effect.provide(TraceStore.record, { local: true }),
      Effect.provideService(Telemetry.LogFailures, false)
    )
  const law = <A, E>(
    name: string,
    effect: () => Effect.Effect<A, E, TraceStore.TraceStore | Layer.Success<typeof model>>
  ) => it.live(name, () => effect().pipe(Effect.provide([store, model])))

  law("the events that are kept are those that were emitted, nested runs included", () =>
    Effect.gen(function* () {
      const events = yield* recorded(Stream.runCollect(desk.stream("Hello")))
      const { runId } = events[0]!
      const kept = yield* Stream.runCollect(TraceStore.events(runId))
      const linesOf = (all: ReadonlyArray<RunEvent.RunEvent>) => Effect.forEach(all, RunEvent.toJsonLine)
      assert.deepStrictEqual(yield* linesOf(kept), yield* linesOf(events))
      const lines = yield* Stream.runCollect(TraceStore.toNdjson(runId))
      assert.deepStrictEqual(
        lines,
        (yield* linesOf(events)).map((line) => `${line}\n`)
      )
      const run = (yield* TraceStore.runs({ limit: 1000 })).find((one) => one.runId === runId)
      assert.deepInclude(run, { runner: "desk", status: "completed", events: events.length, steps: 2, inputTokens: 20 })
      assert.deepStrictEqual(yield* Stream.runCollect(TraceStore.events("run_none")), [])
      yield* TraceStore.remove(runId)
      assert.deepStrictEqual(yield* Stream.runCollect(TraceStore.events(runId)), [])
    })
  )

  law("runs are found by runner, session, status, error and time, the newest first and in pages", () =>
    Effect.gen(function* () {
      const named = Agent.make(`clerk-${Date.now()}`, {})
      const of = { runner: named.name }
      yield* recorded(
        Effect.gen(function* () {
          yield* Session.of(named, "user-42").run("a")
          yield* Effect.exit(named.run("fail"))
          const fiber = yield* Effect.forkChild(named.run("hang"), { startImmediately: true })
          yield* Effect.sleep(2)
          yield* Fiber.interrupt(fiber)
          yield* named.run("last")
        }).pipe(Effect.provide(SessionStore.layerMemory))
      )
      const all = yield* TraceStore.runs(of)
      assert.deepStrictEqual(all.map(({ status }) => status).toSorted(), [
        "completed",
        "completed",
        "failed",
        "interrupted"
      ])
      assert.deepStrictEqual(
        all.map(({ startedAt }) => startedAt),
        all.map(({ startedAt }) => startedAt).toSorted((a, b) => b - a)
      )
      assert.deepStrictEqual(
        (yield* TraceStore.runs({ ...of, session: "user-42" })).map(({ session }) => session),
        ["user-42"]
      )
      const [failed, ...others] = yield* TraceStore.runs({ ...of, status: "failed" })
      assert.deepInclude(failed, { status: "failed", error: "ModelError" })
      assert.match(failed!.message ?? "", /the model call failed/)
      assert.deepStrictEqual(others, [])
      assert.strictEqual((yield* TraceStore.runs({ ...of, error: "ModelError" })).length, 1)
      assert.strictEqual((yield* TraceStore.runs({ ...of, error: "ToolError" })).length, 0)
      const { startedAt } = all[0]!
      assert.strictEqual((yield* TraceStore.runs({ ...of, since: startedAt + 1 })).length, 0)
      assert.strictEqual((yield* TraceStore.runs({ ...of, until: startedAt + 1 })).length, 4)
      const pages: Array<string> = []
      for (let before: string | undefined; pages.length < 10; before = pages.at(-1)) {
        const page = yield* TraceStore.runs({ ...of, limit: 3, before })
        if (page.length === 0) break
        pages.push(...page.map(({ runId }) => runId))
      }
      assert.deepStrictEqual(
        pages,
        all.map(({ runId }) => runId)
      )
    })
  )

  law("a run with a strange error, session or number is kept, and so are those after it", () =>
    Effect.gen(function* () {
      const strange = "a\0b half \uD800 🙂"
      const long = Array.from({ length: 20_000 }, (_, i) => String.fromCharCode(33 + ((i * 31) % 90))).join("")
      const failing = (problem: string) =>
        Runner.make(`${problem.slice(0, 5000)} runner`, {
          run: () => Effect.fail(Object.assign(new Error(problem), { _tag: problem }))
        })
      const spent = TestModel.layer(
        [
          { text: "Yes.", usage: { inputTokens: { total: 1.5 }, outputTokens: { total: Number.NaN } } },
          { text: "Yes.", usage: { inputTokens: { total: 1e300 } } }
        ],
        { unused: "ignore" }
      )
      const after = `after ${Date.now()}`
      yield* recorded(
        Effect.gen(function* () {
          for (const problem of [strange, long]) {
            yield* Effect.exit(failing(problem).run(undefined)).pipe(Effect.provideService(ConversationId, problem))
          }
          yield* Effect.provide(Effect.andThen(Effect.exit(clerk.run("x")), Effect.exit(clerk.run("x"))), spent)
          yield* Agent.make(after, {}).run("x")
        })
      )
      assert.strictEqual((yield* TraceStore.runs({ runner: after })).length, 1)
      const [first] = yield* TraceStore.runs({ error: strange })
      assert.deepInclude(first, { status: "failed" })
      assert.include(first!.message, "half")
      assert.strictEqual((yield* TraceStore.runs({ session: strange })).length, 1)
      assert.strictEqual((yield* TraceStore.runs({ session: long })).length, 1)
      const events = yield* Stream.runCollect(TraceStore.events(first!.runId))
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["RunStarted", "RunFailed"]
      )
      for (const query of [
        { before: strange },
        { runner: long },
        { since: Number.NaN },
        { until: Infinity, limit: -1 }
      ]) {
        assert.isArray(yield* TraceStore.runs(query))
      }
      assert.deepStrictEqual(yield* Stream.runCollect(TraceStore.events(strange)), [])
      yield* TraceStore.remove(strange)
    })
  )

  law("a run that has ended has ended in the store as well, at once", () =>
    Effect.gen(function* () {
      const { runId } = yield* clerk.result("x")
      const [run] = yield* TraceStore.runs()
      assert.deepInclude(run, { runId, status: "completed" })
      assert.strictEqual((yield* Stream.runCollect(TraceStore.events(runId))).at(-1)?._tag, "RunCompleted")
      const { runId: removed } = yield* clerk.result("x")
      yield* TraceStore.remove(removed)
      assert.notInclude(
        (yield* TraceStore.runs()).map((run) => run.runId),
        removed
      )
    }).pipe(Effect.provide([TraceStore.record, model], { local: true }))
  )

  law("pruning removes the oldest runs, by age and by size", () =>
    Effect.gen(function* () {
      yield* recorded(Effect.forEach([1, 2, 3], () => clerk.run("x")))
      yield* Effect.sleep(5)
      assert.strictEqual(yield* TraceStore.prune({ olderThan: "1 hour" }), 0)
      const before = yield* TraceStore.runs({ limit: 1000 })
      const kept = before.slice(0, 2)
      const maxBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0)
      assert.strictEqual(yield* TraceStore.prune({ maxBytes }), before.length - 2)
      assert.deepStrictEqual(yield* TraceStore.runs({ limit: 1000 }), kept)
      assert.strictEqual(yield* TraceStore.prune({ olderThan: 0 }), 2)
      assert.deepStrictEqual(yield* TraceStore.runs(), [])
    })
  )
}

/** What holds for the recorder, with every store. */
export const recorderLaws = (): void => {
  /** A store that fails while it is down. */
  const failing = (isUp: () => boolean, batches: Array<number>) =>
    Layer.succeed(TraceStore.TraceStore)({
      append: (entries) =>
        Effect.suspend(() => {
          if (!isUp()) {
            return Effect.fail(
              new RunError.StoreError({ store: "traces", reason: "unreachable", problem: "disk full" })
            )
          }
          batches.push(entries.length)
          return Effect.void
        }),
      runs: () => Effect.succeed([]),
      events: () => Effect.succeed([]),
      remove: () => Effect.void,
      prune: () => Effect.succeed(0)
    })
  const logged = () => {
    const lines: Array<string> = []
    return [lines, Logger.layer([Logger.make(({ message }) => lines.push(JSON.stringify(message)))])] as const
  }

  it.live("a store that cannot be written fails no run, and is one warning", () =>
    Effect.gen(function* () {
      const [lines, logger] = logged()
      const runs = Effect.forEach(Array.from({ length: 20 }), () => Effect.andThen(clerk.run("x"), Effect.sleep(20)))
      yield* runs.pipe(
        Effect.provide(TraceStore.record, { local: true }),
        Effect.provide([failing(() => false, []), model, logger])
      )
      assert.strictEqual(lines.filter((line) => line.includes("cannot be kept now")).length, 1)
      assert.match(lines[0]!, /disk full/)
      assert.match(lines.at(-1)!, /events of runs were not kept/)
    })
  )

  it.live("events wait for a store that comes back, and are written in batches", () =>
    Effect.gen(function* () {
      const [lines, logger] = logged()
      const batches: Array<number> = []
      let isUp = false
      yield* Effect.gen(function* () {
        for (let i = 0; i < 20; i++) yield* clerk.run("x")
        yield* Effect.sleep(150)
        isUp = true
      }).pipe(
        Effect.provide(TraceStore.record, { local: true }),
        Effect.provide([failing(() => isUp, batches), model, logger])
      )
      assert.strictEqual(
        batches.reduce((sum, n) => sum + n, 0),
        20 * 5
      )
      assert.isAtMost(batches.length, 2)
      assert.strictEqual(lines.length, 1)
    })
  )

  it("a run under Effect.runSync is recorded as well", () => {
    const events = Effect.runSync(
      Effect.gen(function* () {
        yield* clerk.run("x").pipe(Effect.provide(TraceStore.record, { local: true }))
        const [run] = yield* TraceStore.runs()
        return yield* Stream.runCollect(TraceStore.events(run!.runId))
      }).pipe(Effect.provide([TraceStore.layerMemory, model]))
    )
    assert.deepStrictEqual(
      events.map(({ _tag }) => _tag),
      ["RunStarted", "StepStarted", "TextDelta", "StepCompleted", "RunCompleted"]
    )
  })
}
