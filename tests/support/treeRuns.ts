/** Runs a random tree to its end, in one of several ways, and checks the laws on it. */
import { Effect, Exit, Metric, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Runner from "troupe/Runner"
import type * as RunEvent from "troupe/RunEvent"
import { check } from "./treeLaws.ts"
import { build, text, Tree } from "./trees.ts"
import { type Any, World } from "./treeWorld.ts"

export const ways = {
  run: (runner: Any, _count: number) => runner.run("go"),
  result: (runner: Any, _count: number) => Effect.map(runner.result("go"), ({ output }) => output),
  stream: (runner: Any, _count: number) =>
    Effect.map(Stream.runLast(runner.stream("go")), (last) =>
      last._tag === "Some" && last.value._tag === "RunCompleted" ? String(last.value.output) : "no output"
    ),
  "slow stream": (runner: Any, count: number, range: number) =>
    Effect.as(
      Stream.runForEach(runner.stream("go"), () => Effect.sleep((count * range) / 1e3)),
      "read"
    ).pipe(Effect.provideService(Runner.StreamBuffer, 2)),
  "stream that is left": (runner: Any, count: number) =>
    Effect.as(Stream.runDrain(Stream.take(runner.stream("go"), count)), "left")
}
export type Way = keyof typeof ways

/** One tree, how it is run, and when it is stopped. */
export interface Case {
  readonly tree: Tree
  readonly salt: number
  readonly way: Way
  /** How many events a stream is read for. */
  readonly count: number
  /** When it is interrupted: after so many yields, at a time, or when nothing more happens. */
  readonly stop: number | "at a time" | "at the end"
  /** Whether leaves may take no time. */
  readonly instants: boolean
}

const Small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
/** Random cases. */
export const Case = Schema.Struct({
  tree: Tree,
  salt: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })),
  way: Schema.Literals(Object.keys(ways) as Array<Way>),
  count: Small,
  stop: Schema.Union([Schema.Literals(["at the end", "at a time"]), Small]),
  instants: Schema.Boolean
})

/** The program of a case, and what is known of it. Its times are picked from `range` ms. */
const begin = (given: Case, range: number) => {
  const world = new World(given.salt, range, given.instants)
  const events: Array<RunEvent.RunEvent> = []
  const fibers = { started: 0, ended: 0 }
  const seen = { alive: -1, events: -1 }
  const runner = Runner.onEvent(build(given.tree, world), (event) => Effect.sync(() => void events.push(event)))
  const program: Effect.Effect<string, unknown> = ways[given.way](runner, given.count, range).pipe(
    Effect.provideService(Metric.FiberRuntimeMetrics, {
      recordFiberStart: () => void fibers.started++,
      recordFiberEnd: () => void fibers.ended++
    })
  )
  return {
    world,
    program,
    /** Its outcome is seen. */
    end: () => {
      world.end()
      seen.alive = fibers.started - fibers.ended
      seen.events = events.length
    },
    /** What has become of it, some time after its end. */
    judge: (exit: Exit.Exit<string, unknown>, isExact: boolean) => {
      // A stream of items that has failed is stopped by a fiber of its own, whose last moment may come after the outcome.
      const alive = /"(mapStream|gatherStream)"/.test(JSON.stringify(given.tree))
        ? fibers.started - fibers.ended
        : seen.alive
      world.expect(alive === 0, () => `${alive} fibers are alive after the outcome`)
      world.expect(events.length === seen.events, () => "events after the outcome")
      const isStopped = Exit.hasInterrupts(exit) || given.way === "stream that is left"
      const isSlow = given.way === "slow stream"
      return { exit, events, problems: check(events, world, { isStopped, isSlow, isExact }) }
    }
  }
}

/** Longer than any tree takes. */
const ever = 1e13
/** Lets everything run that does not wait for time. */
const quiet = Effect.repeat(Effect.yieldNow, { times: 50 })

/** Runs a case to its end under the test clock, which goes on by itself. */
export const drive = (given: Case) =>
  Effect.gen(function* () {
    // The first sleep of a test clock can be interrupted where nothing else can, unless it has been adjusted before.
    yield* TestClock.adjust(0)
    const { end, judge, program, world } = begin(given, 1e9)
    const fiber = yield* Effect.forkChild(program)
    fiber.addObserver(end)
    if (typeof given.stop === "number") for (let n = 0; n < given.stop; n++) yield* Effect.yieldNow
    else {
      yield* quiet
      yield* TestClock.adjust(given.stop === "at a time" ? world.time("interrupt") : ever)
      yield* quiet
    }
    fiber.interruptUnsafe()
    for (let n = 0; n < 5 && fiber.pollUnsafe() === undefined; n++) yield* TestClock.adjust(ever)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) return yield* Effect.die(new Error("it hangs"))
    yield* quiet
    // Anything that is still there would do something now.
    yield* TestClock.adjust(ever)
    return judge(exit, true)
  })

/** Runs a case to its end by the clock on the wall. */
export const driveLive = (given: Case) =>
  Effect.gen(function* () {
    const { end, judge, program, world } = begin(given, 4)
    const { stop } = given
    const duration = typeof stop === "number" ? stop : stop === "at a time" ? 3 * world.time("interrupt") : 60
    const exit = yield* Effect.exit(Effect.timeoutOrElse(program, { duration, orElse: () => Effect.interrupt }))
    end()
    yield* Effect.sleep(6)
    return judge(exit, false)
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
