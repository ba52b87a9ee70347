/** The scenarios that are swept: small runs with every kind of durable write. Their effects stand in a ledger, a file. */
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { Deferred, Effect, Layer, Schema, Stream } from "effect"
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
export const lines = (ledger: string, kind: "attempt" | "effect" | "model"): ReadonlyArray<string> =>
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
export const names = [
  "an agent",
  "agents at once",
  "a function that waits",
  "a run that fails",
  "a run that is asked about",
  "a run that is given up and tried again",
  "a run that is interrupted and removed"
] as const
export type Name = (typeof names)[number]

/** The durable definition of a scenario. `stuck` is done where a step is at work that will not end in this execution. */
export const runsOf = (name: Name, ledger: string, stuck: Effect.Effect<unknown> = Effect.void) => {
  /** Does not come to its end the first time. */
  const once = (what: string) =>
    lines(ledger, "attempt").includes(what)
      ? Effect.void
      : Effect.andThen(note(ledger, `attempt ${what}`), Effect.andThen(stuck, Effect.never))
  const act = (what: string) => Effect.as(note(ledger, `effect ${what}`), null)
  const stepOf = (what: string, effect: Effect.Effect<null>) => Step.run(what, Schema.Null, effect)
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
    "a function that waits": of(steps),
    "a run that is asked about": Effect.andThen(
      stepOf(
        "first",
        Effect.andThen(
          Effect.suspend(() => once("first")),
          act("first")
        )
      ),
      Effect.as(
        stepOf(
          "second",
          Effect.tap(act("second"), () => once("second"))
        ),
        "asked"
      )
    ),
    "a run that is given up and tried again": Effect.as(
      stepOf(
        "third",
        Effect.andThen(
          Effect.suspend(() => once("third")),
          act("third")
        )
      ),
      "tried again"
    ),
    "a run that is interrupted and removed": Effect.orDie(Step.signal("never", Schema.String))
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
  "a run that fails": "failed",
  "a run that is asked about": "asked",
  "a run that is given up and tried again": "tried again",
  "a run that is interrupted and removed": "removed"
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
  return /\/(first|second|third|flight|hotel|car)$/.exec(id)?.[1] ?? id
}

/** Gives a run what it waits for: what is not known is found out, and answered truly. */
const operator = (name: Name, runs: ReturnType<typeof runsOf>, ledger: string) =>
  Effect.gen(function* () {
    for (const { id, kind } of yield* Durable.pending(runs, "x")) {
      const fact = factOf(id)
      if (kind === "signal" && name === "a function that waits") yield* Durable.signal(runs, "x", "go", "went")
      if (kind !== "outcome") continue
      const happened = lines(ledger, "effect").includes(fact)
      const result = /^(first|second|third|undo .*)$/.test(fact) ? null : fact === id ? "worked" : fact
      const isGivenUp = fact === "third" && !happened
      yield* Durable.answer(
        runs,
        "x",
        id,
        isGivenUp ? Durable.giveUp : happened ? Durable.happened(result) : Durable.didNotHappen
      )
    }
  }).pipe(Effect.ignoreCause, Effect.andThen(Effect.sleep(20)), Effect.forever)

/** Ends the run of `runs` as the scenario does, in an engine: `undefined` when a step of it is stuck. */
const ending = (name: Name, runs: ReturnType<typeof runsOf>): Effect.Effect<string, unknown, Durable.Engine> => {
  if (name === "a run that is interrupted and removed") {
    return Effect.gen(function* () {
      while ((yield* Durable.status(runs, "x")) === "running") yield* Effect.sleep(10)
      yield* Durable.interrupt(runs, "x")
      while ((yield* Durable.status(runs, "x")) !== "unknown") {
        yield* Durable.prune(0)
        yield* Effect.sleep(5)
      }
      return "removed"
    })
  }
  return Effect.catch(Durable.result(runs, "x"), (error): Effect.Effect<string, unknown, Durable.Engine> => {
    if (typeof error === "string" && name === "a run that fails") return Effect.succeed("failed")
    const isGivenUp = typeof error !== "string" && error.reason === "given-up"
    return isGivenUp ? Effect.andThen(Durable.retry(runs, "x"), ending(name, runs)) : Effect.fail(error)
  })
}

/** Executes the run of a scenario in this process, and gives its output. */
export const finish = (name: Name, file: string, ledger: string, options: Durable.EngineOptions) =>
  Effect.gen(function* () {
    while (true) {
      const stuck = yield* Deferred.make<void>()
      const runs = runsOf(name, ledger, Deferred.succeed(stuck, undefined))
      const engine = Durable.layerSqlite({ filename: file, poll: "20 millis", drain: 0, ...options })
      const once = Effect.gen(function* () {
        yield* Durable.submit(runs, "x")
        yield* Effect.forkChild(operator(name, runs, ledger))
        return yield* Effect.raceFirst(ending(name, runs), Effect.as(Deferred.await(stuck), undefined)).pipe(
          Effect.provide(Durable.worker(runs).pipe(Layer.provide(modelOf(ledger))))
        )
      })
      // With its engine ends, as with its process, what is stuck.
      const output = yield* Effect.scoped(Effect.provide(once, engine))
      if (output !== undefined) return output
    }
  })
