/** The order of events where fibers, slow consumers and slow observers meet, and what comes after the end: nothing. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { Agent, AgentTool, type RunEvent, Runner, TestModel } from "troupe"
import { checkGrammar } from "../support/grammar.ts"

type Event = RunEvent.RunEvent

const noisy = AgentTool.fromFunction("noisy", {
  description: "Tells progress forever",
  execute: (_, { progress }) => Effect.forever(progress("more"))
})
const burst = AgentTool.fromFunction("burst", {
  description: "Tells progress a few times",
  execute: (_, { progress }) => Effect.as(Effect.forEach([1, 2, 3, 4, 5], progress, { discard: true }), "done")
})
const fatal = AgentTool.fromFunction("fatal", {
  description: "Fails the run",
  failureMode: "error",
  execute: () => Effect.andThen(Effect.sleep("20 millis"), Effect.fail("fatal"))
})
const many = (name: string, count: number) => Array.from({ length: count }, () => ({ name, params: {} }))

describe("the events of concurrent tools", () => {
  it.live.each([1, 2, 7])(
    "lose none in a stream of %s when one of them is interrupted while it waits to tell",
    (buffer) =>
      Effect.gen(function* () {
        const events: Array<Event> = []
        const exit = yield* Agent.make("agent", { tools: [noisy, fatal] })
          .stream("go")
          .pipe(
            Stream.rechunk(1),
            Stream.runForEach((event) =>
              Effect.andThen(
                Effect.sync(() => void events.push(event)),
                Effect.sleep("2 millis")
              )
            ),
            Effect.provideService(Runner.StreamBuffer, buffer),
            Effect.exit
          )
        assert.isTrue(Exit.isFailure(exit))
        checkGrammar(events)
        assert.strictEqual(events.at(-1)?._tag, "RunFailed")
      }).pipe(Effect.provide(TestModel.layer([TestModel.toolCalls(...many("noisy", 5), ...many("fatal", 1))])))
  )

  it.live("stand in order in the stream, however slow an observer is", () =>
    Effect.gen(function* () {
      let calls = 0
      const observed: Array<number> = []
      const runner = Runner.onEvent(Agent.make("agent", { tools: [burst] }), (event) =>
        Effect.andThen(
          Effect.sync(() => void observed.push(event.seq)),
          Effect.sleep(calls++ % 3 === 0 ? 8 : 1)
        )
      )
      const events = yield* Stream.runCollect(runner.stream("go"))
      checkGrammar(events)
      assert.deepStrictEqual(
        observed,
        events.map((event) => event.seq)
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCalls(...many("burst", 4)), "done"])))
  )

  it.live("stand in order in the stream of a nested run too", () =>
    Effect.gen(function* () {
      const inner = Agent.make("inner", { tools: [burst] })
      const seen: Array<Event> = []
      const outer = Runner.make("outer", {
        run: (_input: void) =>
          Stream.runForEach(inner.stream("go"), (event) =>
            Effect.andThen(
              Effect.sync(() => void seen.push(event)),
              Effect.sleep("1 millis")
            )
          )
      })
      const events = yield* Stream.runCollect(outer.stream()).pipe(Effect.provideService(Runner.StreamBuffer, 2))
      checkGrammar(events)
      assert.deepStrictEqual(
        seen.map((event) => event.seq),
        events.filter((event) => event.path.length === 2).map((event) => event.seq)
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCalls(...many("burst", 4)), "done"])))
  )

  it.live("reach an observer even when the run is interrupted while the observer is at work", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Deferred.make<void>()
      const runner = Runner.onEvent(Agent.make("agent", { tools: [burst] }), (event) =>
        Effect.gen(function* () {
          log.push(`begin ${event.seq}`)
          if (event._tag === "ToolProgress") yield* Deferred.succeed(begun, undefined)
          yield* Effect.sleep("5 millis")
          log.push(`end ${event.seq}`)
        })
      )
      const fiber = yield* Effect.forkChild(runner.run("go"))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      const ids = (word: string) =>
        log.filter((line) => line.startsWith(word)).map((line) => Number(line.split(" ")[1]))
      assert.deepStrictEqual(ids("end").toSorted(), ids("begin").toSorted())
      assert.deepStrictEqual(
        ids("begin"),
        ids("begin").map((_, index) => index)
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCalls(...many("burst", 3))])))
  )
})

describe("after its end", () => {
  const observe = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>) => {
    const events: Array<Event> = []
    return { events, runner: Runner.onEvent(runner, (event) => Effect.sync(() => void events.push(event))) }
  }

  it.live.each(["0 millis", "30 millis"] as const)(
    "a tool call tells no progress, though a fiber it left behind tries (next answer after %s)",
    (delay) =>
      Effect.gen(function* () {
        const emitted = yield* Deferred.make<void>()
        const forgetful = AgentTool.fromFunction("forgetful", {
          description: "Leaves a fiber behind",
          execute: (_, { progress }) =>
            Effect.as(
              Effect.forkDetach(
                Effect.sleep("10 millis").pipe(
                  Effect.andThen(progress("late")),
                  Effect.andThen(Deferred.succeed(emitted, undefined))
                )
              ),
              "done"
            )
        })
        const { events, runner } = observe(Agent.make("agent", { tools: [forgetful] }))
        yield* runner.run("go")
        yield* Deferred.await(emitted)
        checkGrammar(events)
        assert.isFalse(events.some((event) => event._tag === "ToolProgress"))
      }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("forgetful", {}), { text: "done", delay }])))
  )

  it.live("a run emits no events of a run that was detached from it, whose own stream continues", () =>
    Effect.gen(function* () {
      const inner = Agent.make("inner", {})
      const ended = yield* Deferred.make<ReadonlyArray<string>>()
      const detaching = AgentTool.fromFunction("detach", {
        description: "Starts a run and does not wait for it",
        execute: () =>
          Effect.as(
            Effect.forkDetach(
              inner.stream("later").pipe(
                Stream.map((event) => event._tag as string),
                Stream.runCollect,
                Effect.flatMap((tags) => Deferred.succeed(ended, tags))
              )
            ),
            "started"
          )
      })
      const { events, runner } = observe(Agent.make("outer", { tools: [detaching] }))
      yield* runner.run("go")
      const tags = yield* Deferred.await(ended)
      assert.deepStrictEqual([tags[0], tags.at(-1)], ["RunStarted", "RunCompleted"])
      checkGrammar(events, false)
      assert.strictEqual(events.at(-1)?._tag, "RunCompleted")
      assert.deepStrictEqual(events.at(-1)?.path, ["outer"])
    }).pipe(
      Effect.provide(
        TestModel.layer((call) =>
          JSON.stringify(call.prompt.content).includes("later")
            ? { text: "late", delay: "30 millis" }
            : call.index === 0
              ? TestModel.toolCall("detach", {})
              : "done"
        )
      )
    )
  )

  it.live("an observer may run an agent of its own, which is a root and not observed", () =>
    Effect.gen(function* () {
      const titles: Array<string> = []
      const titler = Agent.make("titler", {})
      const events: Array<Event> = []
      const model = yield* Effect.context<Effect.Services<ReturnType<typeof titler.run>>>()
      const runner = Runner.onEvent(Agent.make("agent", {}), (event) =>
        Effect.gen(function* () {
          events.push(event)
          if (event._tag === "StepCompleted") titles.push(yield* Effect.orDie(titler.run("title")))
        }).pipe(Effect.provideContext(model))
      )
      yield* runner.run("go")
      assert.deepStrictEqual(titles, ["a title"])
      checkGrammar(events)
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => (JSON.stringify(call.prompt.content).includes("title") ? "a title" : "done"))
      )
    )
  )
})
