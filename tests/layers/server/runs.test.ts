/** Runs in memory: started by one fiber, followed, interrupted and resumed by others, and bounded. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Approvals, Parallel, Runner, Runs, TestModel } from "troupe"
import { model } from "../../support/serverClients.ts"
import { till } from "../../support/till.ts"

const clerk = Agent.make("clerk", {})
const hanging = model([{ text: "never", hang: true }])

/** An agent's answer in this many pieces. */
const pieces = (count: number) => model([{ text: Array.from({ length: count }, (_, n) => `${n} `) }])

/** Lets every other fiber do what it can. */
const settled = Effect.yieldNow.pipe(Effect.repeat({ times: 50 }))

describe("Runs", () => {
  it.effect("a run is followed by its id, to its end and after it", () =>
    Effect.gen(function* () {
      const runId = yield* Runs.start(clerk, "Hello")
      const events = yield* Stream.runCollect(Runs.follow(runId))
      assert.strictEqual(events[0]!._tag, "RunStarted")
      assert.strictEqual(events.at(-1)!._tag, "RunCompleted")
      assert.deepStrictEqual(
        events.map(({ seq }) => seq),
        events.map((_, n) => n)
      )
      assert.deepStrictEqual(yield* Stream.runCollect(Runs.follow(runId)), events)
      assert.deepStrictEqual(yield* Stream.runCollect(Runs.follow(runId, { from: 3 })), events.slice(3))
      assert.deepStrictEqual(yield* Stream.runCollect(Runs.follow(runId, { from: "now" })), events.slice(-1))
      const info = yield* Runs.poll(runId)
      assert.strictEqual(info.status, "completed")
      assert.strictEqual(info.runner, "clerk")
      assert.strictEqual(info.nextSeq, events.length)
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(model(["Hello."])))
  )

  it.effect("a run is not nested in the run that starts it, and outlives it", () =>
    Effect.gen(function* () {
      const outer = Runner.make("outer", { run: () => Runs.start(clerk, "Hello") })
      const runId = yield* outer.run(undefined)
      const ended = yield* Runs.ended(runId)
      assert.deepStrictEqual(ended.path, ["clerk"])
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(model(["Hello."])))
  )

  it.effect("interrupting a run interrupts its model call, and its last event says so", () =>
    Effect.gen(function* () {
      const test = yield* TestModel.TestModel
      const runId = yield* Runs.start(clerk, "Hello")
      yield* settled
      assert.strictEqual((yield* Runs.poll(runId)).status, "running")
      yield* Runs.interrupt(runId)
      assert.strictEqual((yield* test.calls)[0]!.interrupted, true)
      const events = yield* Stream.runCollect(Runs.follow(runId))
      assert.strictEqual(events.at(-1)!._tag, "RunInterrupted")
      assert.strictEqual((yield* Runs.poll(runId)).status, "interrupted")
      yield* Runs.interrupt(runId)
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(hanging))
  )

  it.effect("runs are interrupted when the Layer is released", () =>
    Effect.gen(function* () {
      const test = yield* TestModel.TestModel
      yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(Runs.layerMemory())
          yield* Effect.provideContext(Runs.start(clerk, "Hello"), context)
          yield* settled
        })
      )
      assert.strictEqual((yield* test.calls)[0]!.interrupted, true)
    }).pipe(Effect.provide(hanging))
  )

  it.effect("a paced run waits for its slowest reader", () =>
    Effect.gen(function* () {
      const runId = yield* Runs.start(clerk, "Hello", { paced: true })
      yield* settled
      const alone = (yield* Runs.poll(runId)).nextSeq
      assert.isBelow(alone, 40)
      const taken = yield* Stream.runCollect(Stream.take(Runs.follow(runId), 5))
      assert.lengthOf(taken, 5)
      yield* settled
      assert.strictEqual((yield* Runs.poll(runId)).status, "running")
      assert.isBelow((yield* Runs.poll(runId)).nextSeq, alone + 40)
      const rest = yield* Stream.runCollect(Runs.follow(runId, { from: 5 }))
      assert.strictEqual(rest.at(-1)!._tag, "RunCompleted")
      assert.isAbove(rest.length, 490)
    }).pipe(Effect.provide(Runs.layerMemory({ ahead: 8 })), Effect.provide(pieces(500)))
  )

  it.effect("a run that is not paced keeps its last events, and a late reader learns that others are lost", () =>
    Effect.gen(function* () {
      const runId = yield* Runs.start(clerk, "Hello")
      yield* Runs.ended(runId)
      const { firstSeq, nextSeq } = yield* Runs.poll(runId)
      assert.strictEqual(nextSeq - firstSeq, 20)
      const error = yield* Effect.flip(Stream.runCollect(Runs.follow(runId)))
      assert.strictEqual(error.reason, "events-lost")
      assert.include(error.message, `Follow it from ${firstSeq}`)
      assert.lengthOf(yield* Stream.runCollect(Runs.follow(runId, { from: firstSeq })), 20)
    }).pipe(Effect.provide(Runs.layerMemory({ events: 20 })), Effect.provide(pieces(200)))
  )

  it.effect("bytes of all runs are bounded", () =>
    Effect.gen(function* () {
      const first = yield* Runs.start(clerk, "Hello")
      yield* Runs.ended(first)
      const second = yield* Runs.start(clerk, "Hello")
      yield* Runs.ended(second)
      const error = yield* Effect.flip(Runs.poll(first))
      assert.strictEqual(error.reason, "unknown-run")
      assert.strictEqual((yield* Runs.poll(second)).status, "completed")
    }).pipe(
      Effect.provide(Runs.layerMemory({ bytes: 20_000 })),
      Effect.provide(model(() => ({ text: Array.from({ length: 30 }, () => "x".repeat(200)) })))
    )
  )

  it.effect("an ended run is forgotten for a new one, a run that runs is not", () =>
    Effect.gen(function* () {
      const done = yield* Runs.start(Runner.make("quick", { run: () => Effect.succeed("done") }), undefined)
      yield* Runs.ended(done)
      const running = yield* Runs.start(clerk, "Hello")
      assert.strictEqual((yield* Effect.flip(Runs.poll(done))).reason, "unknown-run")
      const error = yield* Effect.flip(Runs.start(clerk, "Hello"))
      assert.strictEqual(error.reason, "full")
      yield* Runs.interrupt(running)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(Runs.start(clerk, "Hello"))))
    }).pipe(Effect.provide(Runs.layerMemory({ runs: 1 })), Effect.provide(hanging))
  )

  it.effect("an ended run expires", () =>
    Effect.gen(function* () {
      const runId = yield* Runs.start(clerk, "Hello")
      yield* Runs.ended(runId)
      yield* TestClock.adjust(Duration.minutes(9))
      assert.strictEqual((yield* Runs.poll(runId)).status, "completed")
      yield* TestClock.adjust(Duration.minutes(11))
      assert.strictEqual((yield* Effect.flip(Runs.poll(runId))).reason, "unknown-run")
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(model(["Hello."])))
  )

  it.effect("without deltas the model is not streamed, and the end is the same", () =>
    Effect.gen(function* () {
      const test = yield* TestModel.TestModel
      const ended = yield* Effect.flatMap(Runs.start(clerk, "Hello", { deltas: false }), Runs.ended)
      assert.strictEqual(ended._tag === "RunCompleted" && ended.output, "Hello.")
      assert.strictEqual((yield* test.calls)[0]!.streamed, false)
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(model(["Hello."])))
  )

  it.effect("a start that is given up before the run has begun leaves no run", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Runs.start(clerk, "Hello"), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* settled
      const infos = yield* Runs.list
      assert.isTrue(infos.every(({ status }) => status !== "running"))
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(hanging))
  )

  it.effect("a suspended run goes on once with the answers", () => {
    const { clerk, paid } = till()
    return Effect.gen(function* () {
      const runId = yield* Runs.start(clerk, "Pay 5")
      const { transcript } = yield* Runs.ended(runId)
      assert.strictEqual((yield* Runs.poll(runId)).status, "suspended")
      const waiting = Schema.decodeUnknownSync(Prompt.Prompt)(transcript)
      const [request] = Runner.pending(waiting)
      const answered = Runner.answer(waiting, { [request!.id]: Approvals.approve })
      const next = yield* Runs.resume(runId, answered)
      assert.strictEqual((yield* Runs.ended(next))._tag, "RunCompleted")
      assert.deepStrictEqual(paid, [5])
      assert.strictEqual((yield* Runs.poll(runId)).resumedAs, next)
      assert.strictEqual((yield* Effect.flip(Runs.resume(runId, answered))).reason, "not-waiting")
      assert.strictEqual((yield* Effect.flip(Runs.resume(next, answered))).reason, "not-waiting")
    }).pipe(
      Effect.provide(Runs.layerMemory()),
      Effect.provide(model([TestModel.toolCall("pay", { amount: 5 }), "Done."]))
    )
  })

  it.effect("a suspended run whose answer does not fit goes on waiting, and is answered again", () => {
    const ask = AgentTool.client("ask", { description: "Asks", success: Schema.Finite })
    const agent = Agent.make("asker", { tools: [ask] })
    return Effect.gen(function* () {
      const runId = yield* Runs.start(agent, "Ask")
      const { transcript } = yield* Runs.ended(runId)
      const waiting = Schema.decodeUnknownSync(Prompt.Prompt)(transcript)
      const [request] = Runner.pending(waiting)
      for (const wrong of ["five", null]) {
        const refused = yield* Runs.resume(runId, Runner.answer(waiting, { [request!.id]: wrong }))
        const ended = yield* Runs.ended(refused)
        assert.strictEqual(ended._tag === "RunFailed" && (ended.error as { _tag: string })._tag, "InvalidApproval")
        assert.strictEqual((yield* Runs.poll(runId)).resumedAs, undefined)
      }
      const next = yield* Runs.resume(runId, Runner.answer(waiting, { [request!.id]: 5 }))
      assert.strictEqual((yield* Runs.ended(next))._tag, "RunCompleted")
      assert.strictEqual((yield* Runs.poll(runId)).resumedAs, next)
    }).pipe(Effect.provide(Runs.layerMemory()), Effect.provide(model([TestModel.toolCall("ask", {}), "Done."])))
  })

  it.effect("a suspended run is not answered again when something was done before an answer did not fit", () => {
    const ask = AgentTool.client("ask", { description: "Asks", success: Schema.Finite })
    const sent: Array<string> = []
    const send = AgentTool.fromFunction("send", {
      description: "Sends",
      needsApproval: true,
      execute: () => sent.push("sent")
    })
    const both = Parallel.make("both", [Agent.make("sender", { tools: [send] }), Agent.make("asker", { tools: [ask] })])
    return Effect.gen(function* () {
      const runId = yield* Runs.start(both, "Go")
      const { transcript } = yield* Runs.ended(runId)
      const waiting = Schema.decodeUnknownSync(Prompt.Prompt)(transcript)
      const [approval, result] = Runner.pending(waiting)
      const answered = Runner.answer(waiting, { [approval!.id]: Approvals.approve, [result!.id]: "five" })
      const next = yield* Runs.resume(runId, answered)
      assert.strictEqual((yield* Runs.ended(next))._tag, "RunFailed")
      assert.deepStrictEqual(sent, ["sent"])
      assert.strictEqual((yield* Effect.flip(Runs.resume(runId, answered))).reason, "not-waiting")
      assert.strictEqual((yield* Runs.poll(runId)).resumedAs, next)
    }).pipe(
      Effect.provide(Runs.layerMemory()),
      Effect.provide(TestModel.layer(({ tools }) => TestModel.toolCall(tools[0]!, {})))
    )
  })

  it("a limit that is not a count is refused where it is given", () => {
    assert.throws(() => Runs.layerMemory({ events: 0 }), /events is 0/)
    assert.throws(() => Runs.layerMemory({ runs: 1.5 }), /runs is 1.5/)
  })
})
