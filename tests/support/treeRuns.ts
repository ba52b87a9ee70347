/** Runs a tree of `trees.ts` to its end, in one of several ways, under a test clock, and checks the laws on it. */
import { Effect, Exit, type Fiber, Metric, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Runner } from "troupe"
import type { RunEvent } from "troupe"
import { check } from "./treeLaws.ts"
import { type Any, build, text, type Tree, World } from "./trees.ts"

export const ways = {
  run: (runner: Any, _count: number) => runner.run("go"),
  result: (runner: Any, _count: number) => Effect.map(runner.result("go"), ({ output }) => output),
  stream: (runner: Any, _count: number) =>
    Effect.map(Stream.runLast(runner.stream("go")), (last) =>
      last._tag === "Some" && last.value._tag === "RunCompleted" ? String(last.value.output) : "no output"
    ),
  "slow stream": (runner: Any, count: number) =>
    Effect.as(
      Stream.runForEach(runner.stream("go"), () => Effect.sleep(count * 1e6)),
      "read"
    ).pipe(Effect.provideService(Runner.StreamBuffer, 2)),
  "stream that is left": (runner: Any, count: number) =>
    Effect.as(Stream.runDrain(Stream.take(runner.stream("go"), count)), "left")
}
export type Way = keyof typeof ways

const range = 1e9
/** Longer than any tree takes. */
const ever = 1e13

/** One tree, how it is run, and when it is stopped. */
export interface Case {
  readonly tree: Tree
  readonly salt: number
  readonly way: Way
  /** How many events a stream is read for. */
  readonly count: number
  /** When it is interrupted: after so many yields, at a time, or when nothing more happens. */
  readonly stop: number | "at a time" | "at the end"
  readonly instants: boolean
}

/** Lets everything run that does not wait for time. */
const quiet = Effect.repeat(Effect.yieldNow, { times: 50 })

/** Runs a tree to its end under a clock that goes on by itself, and gives the books. */
export const drive = (given: Case) =>
  Effect.gen(function* () {
    // The first sleep of a test clock can be interrupted where nothing else can, unless it has been adjusted before.
    yield* TestClock.adjust(0)
    const world = new World(given.salt, range, given.instants)
    const events: Array<RunEvent.RunEvent> = []
    const runner = Runner.onEvent(build(given.tree, world), (event) => Effect.sync(() => void events.push(event)))
    const fibers = { started: 0, ended: 0 }
    const seen = { alive: -1, events: -1 }
    const fiber: Fiber.Fiber<string, unknown> = yield* ways[given.way](runner, given.count).pipe(
      Effect.provideService(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => void fibers.started++,
        recordFiberEnd: () => void fibers.ended++
      }),
      Effect.forkChild
    )
    fiber.addObserver(() => {
      world.end()
      seen.alive = fibers.started - fibers.ended
      seen.events = events.length
    })
    if (typeof given.stop === "string") yield* quiet
    if (given.stop === "at a time") yield* TestClock.adjust(world.time("interrupt"))
    else if (given.stop === "at the end") yield* TestClock.adjust(ever)
    else for (let n = 0; n < given.stop; n++) yield* Effect.yieldNow
    if (typeof given.stop === "string") yield* quiet
    fiber.interruptUnsafe()
    for (let n = 0; n < 5 && fiber.pollUnsafe() === undefined; n++) yield* TestClock.adjust(ever)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) return yield* Effect.die(new Error("it hangs"))
    yield* quiet
    // A stream of items that has failed is stopped by a fiber of its own, whose last moment may come after the outcome.
    const alive = JSON.stringify(given.tree).includes('"mapStream"') ? fibers.started - fibers.ended : seen.alive
    world.expect(alive === 0, () => `${alive} fibers are alive after the outcome`)
    // Whatever is still there would do something now.
    yield* TestClock.adjust(ever)
    world.expect(events.length === seen.events, () => "events after the outcome")
    const isStopped = Exit.hasInterrupts(exit) || given.way === "stream that is left"
    return { exit, events, problems: check(events, world, { isStopped, isSlow: given.way === "slow stream" }) }
  })

/** How it ended, as one text. */
export const outcome = (exit: Exit.Exit<string, unknown>): string =>
  Exit.isSuccess(exit)
    ? exit.value
    : exit.cause.reasons
        .map((reason) =>
          reason._tag === "Fail"
            ? text(reason.error)
            : reason._tag === "Die"
              ? `died: ${text(reason.defect)}`
              : "interrupted"
        )
        .join("; ")

/** The terminal event that belongs to an exit. */
export const tagOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? "RunCompleted" : Exit.hasFails(exit) || Exit.hasDies(exit) ? "RunFailed" : "RunInterrupted"
