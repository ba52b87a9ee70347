/** A run that is interrupted at any of its operations, one after the other, or while it waits for a reader: what it has begun is ended. */
import { assert, it } from "@effect/vitest"
import { Clock, Effect, type Exit, Fiber, Scheduler, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, type RunEvent, Runner, TestModel } from "troupe"
import { type Begun, Place } from "../../src/internal/place.ts"
import { CurrentState, guarded } from "../../src/internal/runState.ts"
import { checkGrammar } from "../support/grammar.ts"
import { recording } from "../support/spans.ts"

/** Has `stop` called in the midst of the `at`th operation, whichever fiber makes it. */
class StoppingAt extends Scheduler.MixedScheduler {
  operations = 0
  readonly #at: number
  readonly #stop: () => void
  constructor(at: number, stop: () => void) {
    super("async")
    this.#at = at
    this.#stop = stop
  }
  override shouldYield(): boolean {
    if (++this.operations === this.#at) this.#stop()
    return false
  }
}

/** Runs it once to its end, and then as often as it has operations, each time interrupted in another one. */
const interruptedAnywhere = <A>(run: Effect.Effect<A, unknown>, check: (exit: Exit.Exit<A, unknown>) => void) =>
  Effect.gen(function* () {
    const once = (at: number) =>
      Effect.gen(function* () {
        let fiber: Fiber.Fiber<A, unknown> | undefined
        const scheduler = new StoppingAt(at, () => fiber?.interruptUnsafe())
        const stepped = Effect.provideService(run, Scheduler.Scheduler, scheduler)
        fiber = yield* Effect.forkChild(stepped)
        check(yield* Fiber.await(fiber))
        return scheduler.operations
      })
    const all = yield* once(0)
    for (let at = 1; at <= all; at++) yield* once(at)
    assert.isAbove(all, 10)
  })

const add = AgentTool.fromFunction("add", { description: "Adds", execute: () => Effect.succeed("2") })
const inner = Agent.make("inner", { tools: [add] })
const outer = Agent.make("outer", { tools: [AgentTool.fromRunner(inner, { description: "Knows" })] })
const Model = TestModel.layer(({ prompt, tools }) =>
  prompt.content.some(({ role }) => role === "tool")
    ? "done"
    : TestModel.toolCalls({ name: tools[0]!, params: tools[0] === "inner" ? { input: "go" } : {} })
)

it.live(
  "each span that a run has begun has ended",
  () => {
    const { spans, tracer } = recording()
    const run = Effect.provideService(outer.run("go"), Tracer.Tracer, tracer)
    return interruptedAnywhere(Effect.provide(run, Model), () => {
      const open = spans.filter(({ status }) => status._tag === "Started").map(({ name }) => name)
      assert.deepStrictEqual(open, [])
      spans.length = 0
    })
  },
  60_000
)

it.live(
  "the events of a run are whole",
  () => {
    let events: Array<RunEvent.RunEvent> = []
    const run = Runner.onEvent(inner, (event) => Effect.sync(() => void events.push(event))).run("go")
    return interruptedAnywhere(Effect.provide(run, Model), () => {
      checkGrammar(events)
      events = []
    })
  },
  60_000
)

it.live(
  "what has begun at a place is over",
  () => {
    let begun: Begun | undefined
    const place = (fiber: Fiber.Fiber<unknown, unknown>) => new Place(fiber.getRef(CurrentState)!, "")
    const run = Runner.make("runner", {
      run: () =>
        Effect.withFiber((fiber) => {
          const own = { id: "own", fiber, isUnderWay: true }
          begun = undefined
          const noted = Object.assign(place(fiber), {
            begin: () => {
              begun = own
              return undefined
            }
          })
          return guarded(noted, "step", "same", own, Effect.yieldNow)
        })
    }).run("go")
    return interruptedAnywhere(run, () => {
      if (begun !== undefined) assert.isFalse(begun.isUnderWay)
      begun = undefined
    })
  },
  60_000
)

it.effect("a run that has just begun is interrupted at once, however slowly its stream is read", () =>
  Effect.gen(function* () {
    const inner = Runner.make("inner", { run: () => Effect.never })
    let givenUp = 0
    const outer = Runner.make("outer", {
      run: (text: string) =>
        Effect.gen(function* () {
          yield* Effect.timeoutOption(inner.run(text), "1 second")
          givenUp = yield* Clock.currentTimeMillis
          return "without it"
        })
    })
    const events: Array<RunEvent.RunEvent> = []
    const reading = Stream.runForEach(outer.stream("go"), (event) =>
      Effect.delay(
        Effect.sync(() => void events.push(event)),
        "1 minute"
      )
    )
    const fiber = yield* Effect.forkChild(Effect.provideService(reading, Runner.StreamBuffer, 0))
    // Both begin before the clock goes on.
    yield* Effect.repeat(Effect.yieldNow, { times: 20 })
    yield* TestClock.adjust("1 hour")
    yield* Fiber.join(fiber)
    assert.isBelow(givenUp, 60_000)
    checkGrammar(events)
    assert.deepStrictEqual(
      events.map(({ _tag, path }) => `${path.at(-1)} ${_tag}`),
      ["outer RunStarted", "inner RunStarted", "inner RunInterrupted", "outer RunCompleted"]
    )
  })
)
