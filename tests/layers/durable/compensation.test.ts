import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, Stream } from "effect"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import { checkGrammar } from "../../support/grammar.ts"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const inFile = Layer.unwrap(Effect.map(temporaryFile, engine))
const part = (name: string, log: Array<string>) =>
  Runner.make(name, {
    run: (input: string) =>
      Step.run(
        name,
        Schema.String,
        Effect.as(
          Effect.sync(() => log.push(name)),
          `${input}+${name}`
        )
      ),
    compensate: () => Effect.sync(() => log.push(`undo ${name}`))
  })

it.live("a run that fails undoes what has finished in it, once, and cannot be tried again then", () =>
  Effect.gen(function* () {
    const log: Array<string> = []
    const pay = Runner.make("pay", { run: () => Effect.fail("refused") })
    const trips = Durable.make(Chain.make("trip", [part("hotel", log), part("car", log), pay]), {
      name: "trips",
      version: "1",
      key: (text) => text
    })
    expect(yield* Effect.flip(trips.run("x"))).toBe("refused")
    expect(yield* Effect.flip(trips.run("x"))).toBe("refused")
    expect(log).toEqual(["hotel", "car", "undo car", "undo hotel"])
    const undone = (yield* Durable.steps(trips, "x")).filter(({ kind }) => kind === "compensation")
    expect(undone.map(({ name, state }) => `${name} ${state}`).toSorted()).toEqual(["car done", "hotel done"])
    expect(yield* Effect.flip(Durable.retry(trips, "x"))).toMatchObject({ _tag: "DurableError" })
  }).pipe(Effect.provide(inFile))
)

it.live("a run that is given up undoes what has finished in it, also in another branch", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const log: Array<string> = []
    const stuck = Runner.make("stuck", {
      run: () =>
        Step.run(
          "charge",
          Schema.String,
          Effect.andThen(
            Effect.sync(() => log.push("charge")),
            Effect.never
          )
        )
    })
    const both = Parallel.make("both", { one: Chain.make("one", [part("hotel", log), part("car", log)]), two: stuck })
    const trips = Durable.make(
      Runner.map(both, () => "done"),
      { name: "trips", version: "1", key: (text) => text }
    )
    const first = yield* trips.run("x").pipe(Effect.provide(engine(file, { drain: 0 })), Effect.forkChild)
    yield* eventually(Effect.sync(() => log.length === 3))
    yield* Effect.sleep(100)
    yield* Fiber.interrupt(first)
    const rest = Effect.gen(function* () {
      yield* eventually(Effect.map(Durable.status(trips, "x"), (status) => status === "suspended"))
      const [wait] = yield* Durable.pending(trips, "x")
      yield* Durable.answer(trips, "x", wait!.id, Durable.giveUp)
      const error = yield* Effect.flip(Durable.result(trips, "x"))
      const events = yield* Stream.runCollect(Durable.events(trips, "x"))
      checkGrammar(events)
      expect(events.at(-1)).toMatchObject({ _tag: "RunFailed", path: ["trips"], error: { reason: "given-up" } })
      return error
    })
    const error = yield* rest.pipe(Effect.provide(Durable.worker(trips)), Effect.provide(engine(file)))
    expect(error).toMatchObject({ _tag: "DurableError", reason: "given-up" })
    expect(log.slice(3)).toEqual(["undo car", "undo hotel"])
  })
)
