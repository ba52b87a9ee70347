/** Programs of a model in durable runs: while they wait there is no process, and they go on where they were. */
import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import * as Agent from "troupe/Agent"
import * as CodeMode from "troupe/CodeMode"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import { counting, Engine, modelOf } from "../../support/codeEngine.ts"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const program = `
  const first = await Promise.race([tools.get({ n: 1 }), tools.pay({ n: 2 })])
  const [a, b, c] = await Promise.all([tools.pay({ n: 3 }), tools.ask({ n: 4 }), tools.delivery({ input: "x" })])
  return [first, a, b, c, await tools.nap({ input: "y" })]`

it.live("a program waits for approvals, its caller, a signal and a sleep, all at once and after one another", () =>
  Effect.gen(function* () {
    const { ask, get, made, pay } = counting()
    const delivery = Runner.make("delivery", {
      description: "Waits for a parcel",
      run: () => Step.signal("parcel", Schema.String)
    })
    const nap = Runner.make("nap", {
      description: "Sleeps",
      run: (text: string) => Effect.as(Step.sleep("nap", "1100 millis"), text)
    })
    const clerk = Agent.make("clerk", { use: [CodeMode.feature([get, pay, ask, delivery, nap])] })
    const clerks = Durable.make(clerk, { name: "clerks", version: "1", key: () => "k" })
    const model = modelOf(program, { unused: "ignore" })
    const fiber = yield* clerks.run("go").pipe(Effect.provide(Layer.merge(model, Engine)), Effect.forkChild)
    const pending = Durable.pending(clerks, "k")
    yield* eventually(Effect.map(pending, (waits) => waits.length === 4))
    const waits = yield* pending
    expect(waits.map(({ kind, name }) => `${kind} ${name}`).toSorted()).toEqual([
      "approval pay",
      "approval pay",
      "client-tool ask",
      "signal parcel"
    ])
    expect(made).toEqual(["get 1"])
    yield* Durable.signal(clerks, "k", "parcel", "a book")
    for (const { id, kind } of waits) {
      if (kind === "approval") yield* Durable.decide(clerks, "k", id, { _tag: "Approved" })
      if (kind === "client-tool") yield* Durable.answer(clerks, "k", id, Durable.happened(7))
    }
    expect(yield* Fiber.join(fiber)).toBe('{"result":[10,30,7,"a book","y"]}')
    expect(made.toSorted()).toEqual(["get 1", "pay 2", "pay 3"])
  }).pipe(Effect.provide(Layer.unwrap(Effect.map(temporaryFile, engine))))
)
