/** The port `Runs` on the durable engine. */
import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Approvals from "troupe/Approvals"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Runs from "troupe/Runs"
import * as TestModel from "troupe/TestModel"
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
