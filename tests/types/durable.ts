/** The types of durable runs: which schemas are asked for, and what each function needs. Compiled, never run. */
import { Effect, type Layer, Schema, type Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import * as Agent from "troupe/Agent"
import * as Durable from "troupe/Durable"
import type * as RunError from "troupe/RunError"
import type * as RunEvent from "troupe/RunEvent"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"
import { type Equal, proven } from "../support/typeEquality.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

// An agent needs no schema: its errors, its output and its input are known.
const desk = Agent.make("desk", { output: Schema.Struct({ at: Schema.Date }) })
const orders = Durable.make(desk, { name: "orders", version: "1", key: () => "k" })
proven<Equal<Runner.Output<typeof orders>, { readonly at: Date }>>()
proven<Equal<Runner.Error<typeof orders>, Agent.Error | RunError.DurableError>>()
proven<Equal<Runner.Services<typeof orders>, LanguageModel.LanguageModel | Durable.Engine>>()

// A workflow of agents needs none either: the errors of its branches are known.
Durable.make(Parallel.make("both", { one: Agent.make("one", {}) }), { name: "both", version: "1", key: () => "k" })

// What is not JSON is asked for.
const dated = Runner.make("dated", { run: (at: Date) => Effect.succeed(at) })
// @ts-expect-error -- neither the input nor the output is JSON
Durable.make(dated, { name: "dated", version: "1", key: () => "k" })
Durable.make(dated, {
  name: "dated",
  version: "1",
  key: (at) => at.toISOString(),
  input: Schema.Date,
  output: Schema.Date
})

// So is an error of the program.
const refusing = Runner.make("refusing", {
  run: (text: string) => Effect.fail(new Refused({ why: text })) as Effect.Effect<string, Refused>
})
// @ts-expect-error -- its error has no schema here
Durable.make(refusing, { name: "refusing", version: "1", key: (text) => text })
const refuses = Durable.make(refusing, { name: "refusing", version: "1", key: (text) => text, error: Refused })

// Only executing needs what the runner needs.
proven<Equal<ReturnType<typeof refuses.run>, Effect.Effect<string, Refused | RunError.DurableError, Durable.Engine>>>()
const submitted = Durable.submit(orders, "Hello")
proven<Equal<typeof submitted, Effect.Effect<string, RunError.DurableError, Durable.Engine>>>()
const result = Durable.result(refuses, "k")
proven<Equal<typeof result, Effect.Effect<string, Refused | RunError.DurableError, Durable.Engine>>>()
const events = Durable.events(orders, "k")
proven<Equal<typeof events, Stream.Stream<RunEvent.RunEvent, RunError.DurableError, Durable.Engine>>>()
const worker = Durable.worker(orders, refuses)
proven<Equal<typeof worker, Layer.Layer<never, never, LanguageModel.LanguageModel | Durable.Engine>>>()
// @ts-expect-error -- an agent is not durable by itself
Durable.worker(desk)
// @ts-expect-error -- the input of another runner
export const wrong = Durable.submit(refuses, 5)
