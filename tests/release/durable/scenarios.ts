/** The scenarios that are swept: small runs with every kind of durable write. Their effects stand in a ledger, a file. */
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { Effect, Layer, Schema, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"

const note = (ledger: string, what: string) => Effect.sync(() => appendFileSync(ledger, `${what}\n`))

/** The lines of a ledger that begin so, without that. */
export const lines = (ledger: string, kind: "effect" | "model"): ReadonlyArray<string> =>
  existsSync(ledger)
    ? readFileSync(ledger, "utf8")
        .split("\n")
        .filter((line) => line.startsWith(`${kind} `))
        .map((line) => line.slice(kind.length + 1))
    : []

const agentOf = (name: string, ledger: string) =>
  Agent.make(name, {
    instructions: `you are ${name}`,
    tools: [
      AgentTool.fromFunction("work", {
        description: "Works.",
        execute: (_, { idempotencyKey }) => Effect.as(note(ledger, `effect ${idempotencyKey}`), `${name} worked`)
      }),
      AgentTool.fromFunction("look", {
        description: "Looks.",
        hints: { readOnly: true },
        execute: () => Effect.succeed(`${name} looked`)
      })
    ]
  })

/** The names of the scenarios. */
export const names = ["an agent", "agents at once", "a function that waits", "a run that fails"] as const
export type Name = (typeof names)[number]

/** The durable definition of a scenario. */
export const runsOf = (name: Name, ledger: string) => {
  const of = <E extends { readonly message: string }, R>(effect: Effect.Effect<string, E, R>) =>
    Effect.mapError(effect, (error): string => error.message)
  const steps = Effect.gen(function* () {
    yield* Step.run("first", Schema.Null, Effect.as(note(ledger, "effect first"), null))
    yield* Step.sleep("a moment", "1100 millis")
    const go = yield* Effect.orDie(Step.signal("go", Schema.String))
    return `${go}, ${yield* agentOf("last", ledger).run("go")}`
  })
  const both = Parallel.make("both", { one: agentOf("one", ledger), two: agentOf("two", ledger) })
  const part = (name: string) =>
    Runner.make(name, {
      run: () => Step.run(name, Schema.String, Effect.as(note(ledger, `effect ${name}`), name)),
      compensate: () => note(ledger, `effect undo ${name}`)
    })
  // It ends: a run whose step is asked about sleeps, and can be answered, once its other branches have ended.
  const slow = Runner.make("slow", { run: (text: string) => Effect.delay(Effect.succeed(text), 500) })
  const refused = Runner.make("refused", {
    // Refused at once where the run is made again, and so before the other branch has come as far as it was.
    run: () =>
      Step.run(
        "refused",
        { success: Schema.Never, error: Schema.Struct({ message: Schema.String }) },
        Effect.delay(Effect.fail({ message: "refused" }), 50)
      )
  })
  const booking = Chain.make("booking", [part("hotel"), part("car"), slow])
  const trip = Chain.make("trip", [part("flight"), Parallel.make("rest", { booking, refused })])
  const scenarios = {
    "a run that fails": of(Effect.as(trip.run("go"), "booked")),
    "an agent": of(agentOf("alone", ledger).run("go")),
    "agents at once": of(Effect.map(both.run("go"), ({ one, two }) => `${one}, ${two}`)),
    "a function that waits": of(steps)
  }
  const runner = Runner.make("scenario", {
    run: (input: string) => (input === "" ? Effect.succeed("") : scenarios[name])
  })
  return Durable.make(runner, { name: "swept", version: "1", key: (text) => text })
}

/** What a scenario gives. */
export const outputs: Record<Name, string> = {
  "an agent": "alone is done",
  "agents at once": "one is done, two is done",
  "a function that waits": "went, last is done",
  "a run that fails": "failed"
}

/** Two tool calls, and then an answer. */
export const modelOf = (ledger: string): Layer.Layer<LanguageModel.LanguageModel> =>
  Layer.effect(
    LanguageModel.LanguageModel,
    LanguageModel.make({
      generateText: ({ prompt }) => {
        const who = /you are (\w+)/.exec(JSON.stringify(prompt.content))?.[1]
        const round = prompt.content.filter(({ role }) => role === "assistant").length
        const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
        const call = (name: string) => ({ type: "tool-call", id: name, name, params: {}, providerExecuted: false })
        const parts =
          round === 0
            ? [call("work"), call("look"), { type: "finish", reason: "tool-calls", usage }]
            : [
                { type: "text", text: `${who} is done` },
                { type: "finish", reason: "stop", usage }
              ]
        return Effect.as(note(ledger, `model ${who} ${round}`), parts) as never
      },
      streamText: () => Stream.die("the scenarios do not stream")
    })
  )

/** What stands in the ledger of a step: of a tool its key, of any other step its name. */
const factOf = (id: string): string => {
  const [, undone] = /(\w+)\/part\/undone$/.exec(id) ?? []
  if (undone !== undefined) return `undo ${undone}`
  return /\/(first|flight|hotel|car)$/.exec(id)?.[1] ?? id
}

/** Executes the run of a scenario in this process, and gives its output. */
export const finish = (name: Name, file: string, ledger: string, options: Durable.EngineOptions) =>
  Effect.gen(function* () {
    const runs = runsOf(name, ledger)
    yield* Durable.submit(runs, "x")
    const waiting = Effect.gen(function* () {
      for (const { id, kind } of yield* Durable.pending(runs, "x")) {
        if (kind === "signal") yield* Durable.signal(runs, "x", "go", "went")
        if (kind !== "outcome") continue
        // What is not known is found out, and answered truly.
        const fact = factOf(id)
        const happened = lines(ledger, "effect").includes(fact)
        const result = /^(first|undo .*)$/.test(fact) ? null : fact === id ? "worked" : fact
        yield* Durable.answer(runs, "x", id, happened ? Durable.happened(result) : Durable.didNotHappen)
      }
    })
    yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.ignoreCause(waiting), Effect.sleep(20))))
    return yield* Effect.catch(Durable.result(runs, "x"), (error) =>
      typeof error === "string" && name === "a run that fails" ? Effect.succeed("failed") : Effect.fail(error)
    ).pipe(Effect.provide(Durable.worker(runs).pipe(Layer.provide(modelOf(ledger)))))
  }).pipe(Effect.provide(Durable.layerSqlite({ filename: file, poll: "20 millis", ...options })), Effect.scoped)
