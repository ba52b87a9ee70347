/** Workflows that have decided something, or done a part, when their machine is lost. */
import { Effect, Schema } from "effect"
import * as Durable from "troupe/Durable"
import * as Gather from "troupe/Gather"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"

export interface Place {
  readonly machine: string
  readonly note: (what: string) => Effect.Effect<void>
}

/** The names of the flows. */
export const names = ["failFast", "race", "quorum", "map"] as const

/** The definition, with what it does where it runs. */
export const flowsOf = ({ machine, note }: Place) => {
  const isFirst = machine === "one"
  /** Says so, and stays there, on the first machine. */
  const hold = (name: string) => (isFirst ? Effect.andThen(note(`holds ${name}`), Effect.never) : Effect.void)
  const branch = (name: string, millis: number) =>
    Runner.make(name, {
      run: (flow: string) =>
        Effect.delay(Step.run("work", Schema.String, Effect.as(note(`${flow} ${name}`), name)), millis)
    })
  const refused = Runner.make("refused", {
    run: (flow: string) =>
      Step.run(
        "refuse",
        { success: Schema.String, error: Schema.String },
        Effect.andThen(note(`${flow} refused`), Effect.fail("refused"))
      )
  })
  // Elsewhere the others would be first.
  const [early, late] = isFirst ? [0, 60_000] : [500, 0]
  const [a, b, c] = [branch("a", early), branch("b", late), branch("c", early)]
  const item = Runner.make("item", {
    run: (n: number) =>
      Effect.andThen(
        n === 3 ? hold("map") : Effect.void,
        Step.run("work", Schema.Int, Effect.as(note(`map ${n}`), n * 10))
      )
  })
  const flows = {
    failFast: Effect.map(Effect.exit(Parallel.make("both", { refused, b }).run("failFast")), ({ _tag }) => _tag),
    race: Parallel.make("first", { a, b }, { mode: Parallel.race }).run("race"),
    quorum: Effect.map(Parallel.make("two", { a, b, c }, { mode: Parallel.quorum(2) }).run("quorum"), (outputs) =>
      Object.keys(outputs).join()
    ),
    map: Effect.map(Gather.map("items", item, { concurrency: 1 }).run([0, 1, 2, 3, 4, 5]), (outputs) => outputs.join())
  }
  const runner = Runner.make("flow", {
    run: (name: string) =>
      Effect.tap(Effect.orDie(flows[name as keyof typeof flows]), () => (name === "map" ? Effect.void : hold(name)))
  })
  return Durable.make(runner, { name: "flows", version: "1", key: (name) => name })
}
