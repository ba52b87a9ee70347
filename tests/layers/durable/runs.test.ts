import { existsSync } from "node:fs"
import { expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Schema, Stream } from "effect"
import * as Durable from "troupe/Durable"
import * as RunEvent from "troupe/RunEvent"
import * as Runner from "troupe/Runner"
import * as SyncEdge from "troupe/SyncEdge"
import { engine, eventually, step, temporaryFile } from "../../support/durable.ts"

const counted = () => {
  const runs: Array<string> = []
  const runner = Runner.make("shout", {
    run: (text: string) => {
      runs.push(text)
      return Effect.succeed(text.toUpperCase())
    }
  })
  return { runs, shouts: Durable.make(runner, { name: "shouts", version: "1", key: (text) => text.slice(0, 5) }) }
}

it.live("the same key again returns the kept output, also in another engine on the same file", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const { runs, shouts } = counted()
    const once = shouts.run("hello").pipe(Effect.provide(engine(file)))
    expect(yield* once).toBe("HELLO")
    expect(yield* once).toBe("HELLO")
    expect(runs).toEqual(["hello"])
  })
)

it.live("the same key with another input is refused", () =>
  Effect.gen(function* () {
    const { shouts } = counted()
    yield* shouts.run("hello")
    const error = yield* Effect.flip(shouts.run("hello, you"))
    expect(error).toMatchObject({ _tag: "DurableError", reason: "key-conflict", key: "hello" })
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it("under Effect.runSync it says that it cannot wait, and what to do", () => {
  const { runs, shouts } = counted()
  const program = shouts.run("hello").pipe(Effect.provide(Durable.layerSqlite({ filename: "never-made.db" })))
  for (const edge of [program, Effect.provide(program, SyncEdge.layer)]) {
    const exit = Effect.runSyncExit(edge)
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : expect.fail("it ran")
    expect(error).toMatchObject({ _tag: "DurableError", reason: "engine" })
    expect(String(error)).toContain("Effect.runPromise")
  }
  expect(runs).toEqual([])
  expect(existsSync("never-made.db")).toBe(false)
})

it.live("two callers with one key share one run", () =>
  Effect.gen(function* () {
    const { runs, shouts } = counted()
    expect(yield* Effect.all([shouts.run("hello"), shouts.run("hello")], { concurrency: 2 })).toEqual([
      "HELLO",
      "HELLO"
    ])
    expect(runs).toEqual(["hello"])
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

class Refused extends Schema.TaggedError<Refused>()("Refused", { what: Schema.String }) {}

it.live("a typed error is kept, and read back as it was", () =>
  Effect.gen(function* () {
    let runs = 0
    const runner = Runner.make("refuser", {
      run: (what: string): Effect.Effect<string, Refused> =>
        Effect.suspend(() => {
          runs++
          return Effect.fail(new Refused({ what }))
        })
    })
    const refuser = Durable.make(runner, { name: "refuser", version: "1", key: (what) => what, error: Refused })
    const first = yield* Effect.flip(refuser.run("no"))
    const second = yield* Effect.flip(refuser.run("no"))
    expect(first).toBeInstanceOf(Refused)
    expect(second).toEqual(new Refused({ what: "no" }))
    expect(runs).toBe(1)
    expect(yield* Durable.status(refuser, "no")).toBe("failed")
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it.live("a run that is submitted waits for a worker, and says so", () =>
  Effect.gen(function* () {
    const { shouts } = counted()
    expect(yield* Durable.status(shouts, "hello")).toBe("unknown")
    yield* Durable.submit(shouts, "hello")
    expect(yield* Durable.status(shouts, "hello")).toBe("unserved")
    const output = Durable.result(shouts, "hello").pipe(Effect.provide(Durable.worker(shouts)))
    expect(yield* output).toBe("HELLO")
    expect(yield* Durable.status(shouts, "hello")).toBe("completed")
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it.live("events are those of the run, from the beginning or from a number on", () =>
  Effect.gen(function* () {
    const { shouts } = counted()
    yield* shouts.run("hello")
    const events = yield* Stream.runCollect(Durable.events(shouts, "hello"))
    expect(events.map(({ _tag }) => _tag)).toEqual(["RunStarted", "RunCompleted"])
    expect(events.map(({ seq }) => seq)).toEqual([0, 1])
    expect(Schema.is(Schema.Array(RunEvent.RunEvent))(events)).toBe(true)
    const rest = yield* Stream.runCollect(Durable.events(shouts, "hello", { from: 1 }))
    expect(rest.map(({ _tag }) => _tag)).toEqual(["RunCompleted"])
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it.live("interrupting ends the run for everyone, and interrupts what it does", () =>
  Effect.gen(function* () {
    let [started, interrupted] = [false, false]
    const runner = Runner.make("endless", {
      run: (text: string) =>
        Effect.andThen(
          Effect.sync(() => (started = true)),
          Effect.onInterrupt(Effect.as(Effect.never, text), () => Effect.sync(() => (interrupted = true)))
        )
    })
    const endless = Durable.make(runner, { name: "endless", version: "1", key: (text) => text })
    const fiber = yield* Effect.forkChild(endless.run("one"))
    yield* eventually(Effect.sync(() => started))
    expect(yield* Durable.status(endless, "one")).toBe("running")
    yield* Durable.interrupt(endless, "one")
    expect(yield* Durable.status(endless, "one")).toBe("interrupted")
    const exit = yield* Fiber.await(fiber)
    expect(Exit.hasInterrupts(exit)).toBe(true)
    yield* eventually(Effect.sync(() => interrupted))
    expect(Exit.hasInterrupts(yield* Effect.exit(Durable.result(endless, "one")))).toBe(true)
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it.live("a run that has not ended goes on only with the definition that it was started with", () =>
  Effect.gen(function* () {
    const runner = Runner.make("waits", { run: (text: string) => Effect.as(Effect.never, text) })
    const of = (version: string) => Durable.make(runner, { name: "waits", version, key: (text) => text })
    yield* Durable.submit(of("1"), "one")
    const error = yield* Effect.flip(of("2").run("one"))
    expect(error).toMatchObject({ _tag: "DurableError", reason: "definition-changed" })
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it.live("workers of two versions live side by side, and each takes only runs of its own", () =>
  Effect.gen(function* () {
    const of = (version: string) => {
      const runner = Runner.make("echo", { run: (text: string) => Effect.succeed(`${text} by ${version}`) })
      return Durable.make(runner, { name: "echoes", version, key: (text) => text })
    }
    const [one, two] = [of("1"), of("2")]
    yield* Durable.submit(one, "old")
    yield* Effect.gen(function* () {
      yield* Durable.submit(two, "new")
      expect(yield* Durable.result(two, "new")).toBe("new by 2")
      expect(yield* Durable.status(one, "old")).toBe("unserved")
      const old = Durable.result(one, "old").pipe(Effect.provide(Durable.worker(one)))
      expect(yield* old).toBe("old by 1")
    }).pipe(Effect.provide(Durable.worker(two)))
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)

it.live("steps that are kept are not made again when another process goes on", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const made: Array<string> = []
    let isStuck = true
    const work = (name: string) =>
      step(
        name,
        Effect.sync(() => (made.push(name), name))
      )
    const runner = Runner.make("three", {
      run: (text: string) =>
        Effect.gen(function* () {
          const first = yield* work("first")
          if (isStuck) yield* Effect.never
          return [text, first, yield* work("second")].join(" ")
        })
    })
    const three = Durable.make(runner, { name: "three", version: "1", key: (text) => text })
    const first = yield* three.run("x").pipe(Effect.provide(engine(file, { drain: 0 })), Effect.forkChild)
    yield* eventually(Effect.sync(() => made.length === 1))
    yield* Fiber.interrupt(first)
    isStuck = false
    expect(yield* three.run("x").pipe(Effect.provide(engine(file)))).toBe("x first second")
    expect(made).toEqual(["first", "second"])
  })
)

it.live("a step of which the outcome is not known is asked about, and never made twice unasked", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    let charges = 0
    const runner = Runner.make("pay", {
      run: (text: string) =>
        Effect.map(
          step(
            "charge",
            Effect.andThen(
              Effect.sync(() => ++charges),
              charges === 0 ? Effect.never : Effect.succeed("paid")
            )
          ),
          (got) => `${text} ${got}`
        )
    })
    const pay = Durable.make(runner, { name: "pay", version: "1", key: (text) => text })
    const first = yield* pay.run("x").pipe(Effect.provide(engine(file, { drain: 0 })), Effect.forkChild)
    yield* eventually(Effect.sync(() => charges === 1))
    yield* Fiber.interrupt(first)
    const rest = Effect.gen(function* () {
      yield* eventually(Effect.map(Durable.status(pay, "x"), (status) => status === "suspended"))
      const [wait] = yield* Durable.pending(pay, "x")
      expect(wait).toMatchObject({ kind: "outcome", id: "charge" })
      expect(charges).toBe(1)
      yield* Durable.answer(pay, "x", "charge", Durable.happened("paid before"))
      return yield* Durable.result(pay, "x")
    })
    expect(yield* rest.pipe(Effect.provide(Durable.worker(pay)), Effect.provide(engine(file)))).toBe("x paid before")
    expect(charges).toBe(1)
  })
)

it.live("a run that waits to know whether a step happened says so in the log, with what to do", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const begun = yield* Deferred.make<void>()
    const charge = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
    const pay = Durable.make(Runner.make("pay", { run: (text: string) => Effect.as(step("charge", charge), text) }), {
      name: "pay",
      version: "1",
      key: (text) => text
    })
    const first = yield* pay.run("x").pipe(Effect.provide(engine(file, { drain: 0 })), Effect.forkChild)
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(first)
    const logged: Array<string> = []
    const logger = Logger.layer([Logger.make(({ logLevel, message }) => void logged.push(`${logLevel} ${message}`))])
    const waits = eventually(Effect.map(Durable.status(pay, "x"), (status) => status === "suspended"))
    yield* waits.pipe(Effect.provide(Durable.worker(pay)), Effect.provide(engine(file)), Effect.provide(logger))
    expect(logged).toEqual([expect.stringMatching(/^Warn .*"charge" was begun.*answer with Durable\.answer/)])
  })
)
