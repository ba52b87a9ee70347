/** The port `Runs` on the durable engine. */
import { DatabaseSync } from "node:sqlite"
import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, Scope, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Approvals from "troupe/Approvals"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Runs from "troupe/Runs"
import * as TestModel from "troupe/TestModel"
import { vi } from "vitest"
import { checkGrammar } from "../../support/grammar.ts"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const model = TestModel.layer(
  ((call: {
    readonly prompt: { readonly content: ReadonlyArray<{ readonly role: string }> }
    readonly tools: ReadonlyArray<string>
  }) => (call.prompt.content.at(-1)?.role === "user" ? TestModel.toolCall(call.tools[0]!, {}) : "done")) as never,
  { unused: "ignore" }
)
const layerOf = (file: string, ...runners: ReadonlyArray<Runner.Member>) =>
  Durable.layerRuns(runners).pipe(
    Layer.provide([model, Runs.layerMemory()]),
    Layer.provide(engine(file, { drain: 0 }))
  ) as Layer.Layer<Runs.Runs>

const tagsOf = (runId: string) =>
  Effect.map(Stream.runCollect(Runs.follow(runId)), (events) => (checkGrammar(events), events))

it.live("a run that is started detached goes on in another process, under its id", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    let [works, isStuck] = [0, true]
    const tools = [AgentTool.fromFunction("work", { description: "Works.", execute: () => `worked ${++works}` })]
    const worker = Agent.make("worker", { tools })
    const desk = Runner.make("desk", {
      run: (text: string) => Effect.andThen(worker.run(text), isStuck ? Effect.never : Effect.succeed("served"))
    })
    const first = yield* Scope.make()
    const runs = yield* Layer.build(layerOf(file, desk)).pipe(Scope.provide(first))
    const runId = yield* Effect.provideContext(
      Runs.start(desk as Runner.Runner<string, string, never, never>, "go", { owner: "ada" }),
      runs
    )
    yield* eventually(Effect.sync(() => works === 1))
    yield* eventually(
      Effect.provideContext(
        Effect.map(Runs.poll(runId), ({ nextSeq }) => nextSeq > 5),
        runs
      ).pipe(Effect.orDie)
    )
    yield* Scope.close(first, Exit.void)
    isStuck = false
    yield* Effect.gen(function* () {
      expect(yield* Runs.ended(runId)).toMatchObject({ _tag: "RunCompleted", output: "served", path: ["desk"] })
      expect(yield* Runs.poll(runId)).toMatchObject({ status: "completed", owner: "ada", runner: "desk", firstSeq: 0 })
      const events = yield* tagsOf(runId)
      expect(events.filter(({ _tag }) => _tag === "TextDelta").length).toBeGreaterThan(0)
      expect((yield* Runs.list).map((info) => info.runId)).toEqual([runId])
      expect(works).toBe(1)
    }).pipe(Effect.provide(layerOf(file, desk)))
  })
)

it.live("a run that waits ends as suspended, and is resumed once", () =>
  Effect.gen(function* () {
    const send = AgentTool.fromFunction("send", { description: "Sends.", needsApproval: true, execute: () => "sent" })
    const mailer = Agent.make("mailer", { tools: [send] })
    yield* Effect.gen(function* () {
      const runId = yield* Runs.start(mailer as unknown as Runner.Runner<string, string, never, never>, "go")
      const ended = yield* Runs.ended(runId)
      if (ended._tag !== "RunSuspended") return expect.fail(ended._tag)
      expect(yield* Runs.poll(runId)).toMatchObject({ status: "suspended" })
      const [waiting] = ended.waitingFor
      const answer = (decision: Runner.Answer) => Runner.answer(ended.transcript!, { [waiting!.id]: decision })
      const next = yield* Runs.resume(runId, answer(Approvals.approve))
      expect(yield* Runs.ended(next)).toMatchObject({ _tag: "RunCompleted", output: "done" })
      expect(yield* Runs.poll(runId)).toMatchObject({ resumedAs: next })
      const again = yield* Effect.flip(Runs.resume(runId, answer(Approvals.deny("no"))))
      expect(again.reason).toBe("not-waiting")
    }).pipe(Effect.provide(layerOf(yield* temporaryFile, mailer)))
  })
)

it.live("a run that is given up takes no answers in any process, and is not one run more", () =>
  Effect.gen(function* () {
    const sent: Array<string> = []
    const send = AgentTool.fromFunction("send", {
      description: "Sends.",
      needsApproval: true,
      execute: () => void sent.push("sent")
    })
    const mailer = Agent.make("mailer", { tools: [send] })
    const file = yield* temporaryFile
    const waits = Effect.gen(function* () {
      const runId = yield* Runs.start(mailer as unknown as Runner.Runner<string, string, never, never>, "go")
      const ended = yield* Runs.ended(runId)
      if (ended._tag !== "RunSuspended") return expect.fail(ended._tag)
      yield* Runs.giveUp(runId)
      yield* Runs.giveUp(runId)
      return { runId, answered: Runner.answer(ended.transcript!, { [ended.waitingFor[0]!.id]: Approvals.approve }) }
    })
    const { answered, runId } = yield* Effect.provide(waits, Layer.fresh(layerOf(file, mailer)))
    yield* Effect.gen(function* () {
      expect(yield* Runs.poll(runId)).toMatchObject({ status: "interrupted", resumedAs: undefined })
      expect((yield* Effect.flip(Runs.resume(runId, answered))).reason).toBe("not-waiting")
      expect((yield* Runs.list).map((info) => info.runId)).toEqual([runId])
    }).pipe(Effect.provide(Layer.fresh(layerOf(file, mailer))))
    expect(sent).toEqual([])
  })
)

it.live("a run that waits goes on waiting when an answer does not fit, and is answered again", () =>
  Effect.gen(function* () {
    const ask = AgentTool.client("ask", { description: "Asks.", success: Schema.Finite })
    const asker = Agent.make("asker", { tools: [ask] })
    yield* Effect.gen(function* () {
      const runId = yield* Runs.start(asker as unknown as Runner.Runner<string, string, never, never>, "go")
      const ended = yield* Runs.ended(runId)
      if (ended._tag !== "RunSuspended") return expect.fail(ended._tag)
      const answer = (value: Runner.Answer) => Runner.answer(ended.transcript!, { [ended.waitingFor[0]!.id]: value })
      for (const wrong of ["five", "six"]) {
        const refused = yield* Runs.resume(runId, answer(wrong))
        expect(yield* Runs.ended(refused)).toMatchObject({ _tag: "RunFailed", error: { _tag: "InvalidApproval" } })
        yield* eventually(Effect.orDie(Effect.map(Runs.poll(runId), ({ resumedAs }) => resumedAs === undefined)))
      }
      const next = yield* Runs.resume(runId, answer(5))
      expect(yield* Runs.ended(next)).toMatchObject({ _tag: "RunCompleted", output: "done" })
      expect(yield* Runs.poll(runId)).toMatchObject({ resumedAs: next })
      expect((yield* Effect.flip(Runs.resume(runId, answer(6)))).reason).toBe("not-waiting")
    }).pipe(Effect.provide(layerOf(yield* temporaryFile, asker)))
  })
)

it.live("a run takes what is sent to it, and is interrupted by its id; others are left to the Runs around", () =>
  Effect.gen(function* () {
    let isOpen = false
    const wait = AgentTool.fromFunction("wait", {
      description: "Waits.",
      execute: () => Effect.as(eventually(Effect.sync(() => isOpen)), "waited")
    })
    const clerk = Agent.make("clerk", { tools: [wait] }) as unknown as Runner.Runner<string, string, never, never>
    const other = Runner.make("other", { run: (text: string) => Effect.succeed(text) })
    yield* Effect.gen(function* () {
      const runId = yield* Runs.start(clerk, "go")
      yield* eventually(Effect.orDie(Effect.map(Runs.poll(runId), ({ nextSeq }) => nextSeq > 2)))
      const sending = yield* Effect.forkChild(Runs.Runs.use((runs) => runs.input(runId, "hurry", "steer")))
      yield* Effect.sleep(150)
      isOpen = true
      expect(yield* Fiber.join(sending)).toBe("delivered")
      expect((yield* tagsOf(runId)).map(({ _tag }) => _tag)).toContain("InputReceived")
      isOpen = false
      const second = yield* Runs.start(clerk, "go")
      yield* eventually(Effect.orDie(Effect.map(Runs.poll(second), ({ nextSeq }) => nextSeq > 2)))
      yield* Runs.interrupt(second)
      expect(yield* Runs.poll(second)).toMatchObject({ status: "interrupted", ended: { _tag: "RunInterrupted" } })
      const third = yield* Runs.start(other, "x")
      expect(yield* Runs.ended(third)).toMatchObject({ _tag: "RunCompleted", output: "x" })
      const unknown = yield* Effect.flip(Runs.poll("run_nothing"))
      expect(unknown.reason).toBe("unknown-run")
    }).pipe(Effect.provide(layerOf(yield* temporaryFile, clerk)))
  })
)

it.live(
  "a run at work asks for messages and followers for events because of what is theirs, not of what others do",
  () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const asked = { messages: 0, events: 0 }
      const { prepare } = DatabaseSync.prototype
      const spied = vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (
        this: DatabaseSync,
        sql: string
      ) {
        const statement = prepare.call(this, sql)
        const kind = /^\s*SELECT seq, value FROM troupe_signals/.test(sql)
          ? "messages"
          : /^\s*SELECT first, events FROM troupe_events/.test(sql)
            ? "events"
            : undefined
        if (kind === undefined) return statement
        const own = statement.all.bind(statement) as (...args: ReadonlyArray<never>) => never
        return Object.assign(statement, { all: (...args: ReadonlyArray<never>) => (asked[kind]++, own(...args)) })
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => spied.mockRestore()))
      const inner = Runner.make("inner", { run: (text: string) => Effect.succeed(text) })
      const busy = Runner.make("busy", {
        run: (text: string) =>
          Effect.as(
            Effect.forEach(Array.from({ length: 8 }), () => Effect.andThen(inner.run(text), Effect.sleep(60))),
            text
          )
      }) as Runner.Runner<string, string, never, never>
      const count = 6
      const Kept = Durable.layerRuns([busy]).pipe(
        Layer.provide([model, Runs.layerMemory()]),
        Layer.provide(engine(file, { poll: "3 seconds" }))
      ) as Layer.Layer<Runs.Runs>
      yield* Effect.gen(function* () {
        const ids = yield* Effect.forEach(Array.from({ length: count }), () => Runs.start(busy, "go"))
        yield* Effect.forEach(ids, (runId) => Stream.runDrain(Runs.follow(runId)), { concurrency: "unbounded" })
      }).pipe(Effect.provide(Kept))
      // Each run writes its events about ten times, and each of its readers looks after each.
      expect(asked.messages).toBeLessThan(count * 4)
      expect(asked.events).toBeLessThan(count * 25)
    }).pipe(Effect.scoped)
)
