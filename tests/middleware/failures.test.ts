/** What failures of middleware become, hooks of every kind, and what middleware of Layers runs in. */
import { assert, describe, it as async } from "@effect/vitest"
import { exitOn, it } from "../support/edges.ts"
import { Cause, Context, Effect, Exit, Layer, References, Schema } from "effect"
import { Agent, AgentTool, Middleware, Parallel, RunError, TestModel } from "troupe"
import { collect, textOf } from "../support/grammar.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}
const turns = (...script: ReadonlyArray<string | TestModel.Turn>) => TestModel.layer(script)
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const errorOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.MiddlewareError ? Effect.succeed(error) : Effect.die(error)
  )
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const around = (middleware: Middleware.Middleware) => Agent.make("agent", { tools: [look], middleware: [middleware] })
const looking = TestModel.toolCall("look", {})

describe("a middleware that breaks", () => {
  const boom = new Error("boom")
  const kinds: Record<string, Middleware.Middleware> = {
    "throws around a run": Middleware.make("m", {
      run: () => {
        throw boom
      }
    }),
    "dies around a run": Middleware.make("m", { run: (run, next) => Effect.andThen(next(run), Effect.die(boom)) }),
    "dies around a model call": Middleware.make("m", { model: () => Effect.die(boom) }),
    "throws around a tool": Middleware.make("m", {
      tool: () => {
        throw boom
      }
    }),
    "throws in a part": Middleware.make("m", {
      part: () => {
        throw boom
      }
    }),
    "throws in a hook before": Middleware.hooks("m", {
      beforeModel: () => {
        throw boom
      }
    }),
    "throws in a hook after": Middleware.hooks("m", {
      afterTool: () => {
        throw boom
      }
    }),
    "dies in a hook": Middleware.hooks("m", { afterModel: () => Effect.die(boom) })
  }
  it.effect.each(Object.keys(kinds))("and %s fails the run with its name and cause", (kind) =>
    Effect.gen(function* () {
      const error = yield* errorOf(around(kinds[kind]!).run("go"))
      assert.deepStrictEqual([error.middleware, error.path, error.cause], ["m", ["agent"], boom])
      assert.strictEqual(error.message, '"agent": middleware "m" failed: boom.')
    }).pipe(Effect.provide(TestModel.layer(({ index }) => (index === 0 ? looking : "done"), { unused: "ignore" })))
  )

  it.effect.each([
    ["run", "not a run's output"],
    ["model", "not a turn"],
    ["tool", "not an outcome"]
  ] as const)("and gives something else around a %s fails the run", ([place, says]) =>
    Effect.gen(function* () {
      const wrong = Middleware.make("wrong", { [place]: () => Effect.succeed({ text: 1 }) } as object)
      const error = yield* errorOf(around(wrong).run("go"))
      assert.include(error.message, says)
    }).pipe(Effect.provide(TestModel.layer(({ index }) => (index === 0 ? looking : "done"), { unused: "ignore" })))
  )

  it.effect.each(["run", "model", "tool"] as const)(
    "and is interrupted from within around a %s fails the run",
    (place) =>
      Effect.gen(function* () {
        const stops = Middleware.make("stops", { [place]: () => Effect.interrupt } as object)
        assert.include((yield* errorOf(around(stops).run("go"))).message, "interrupted from within")
      }).pipe(Effect.provide(TestModel.layer(() => looking, { unused: "ignore" })))
  )

  it.effect("and returns no Effect is pointed to hooks", () =>
    Effect.gen(function* () {
      const wrong = Middleware.make("wrong", { model: () => "text" as never })
      assert.include((yield* errorOf(around(wrong).run("go"))).message, "Middleware.hooks")
    }).pipe(Effect.provide(turns()))
  )

  it.effect("and whose part gives another kind of part fails the run", () =>
    Effect.gen(function* () {
      const wrong = Middleware.make("wrong", { part: (() => Promise.resolve()) as never })
      assert.include((yield* errorOf(around(wrong).run("go"))).message, "did not return a text-delta")
    }).pipe(Effect.provide(turns("hello")))
  )

  it.effect("is not blamed for a defect that comes from further in", () =>
    Effect.gen(function* () {
      const inner = Middleware.make("inner", { model: () => Effect.die("bad") })
      const outer = Middleware.make("outer", { model: (request, next) => next(request), run: (run, next) => next(run) })
      const error = yield* errorOf(Agent.make("agent", { middleware: [outer, inner] }).run("go"))
      assert.strictEqual(error.middleware, "inner")
      const dies = Agent.make("agent", { instructions: () => Effect.die("instructions"), middleware: [outer] })
      const exit = yield* Effect.exit(dies.run("go"))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }).pipe(Effect.provide(turns()))
  )

  it.effect(
    "fails the run with its typed error where the agent has it, and with MiddlewareError where a Layer gives it",
    () =>
      Effect.gen(function* () {
        const strict = Middleware.make("strict", { model: () => Effect.fail(new Refused({ why: "no" })) })
        const own = yield* Effect.flip(Agent.make("agent", { middleware: [strict] }).run("go"))
        assert.deepInclude(own, { _tag: "Refused" })
        const error = yield* errorOf(
          Agent.make("agent", {})
            .run("go")
            .pipe(Effect.provide(Middleware.layer(strict)))
        )
        assert.strictEqual(error.middleware, "strict")
        assert.instanceOf(error.cause, Refused)
      }).pipe(Effect.provide(turns()))
  )

  it.effect("of a Layer passes on the errors of the agent", () =>
    Effect.gen(function* () {
      const strict = Middleware.make("strict", { model: () => Effect.fail(new Refused({ why: "no" })) })
      const outer = Middleware.layer(
        Middleware.make("outer", { run: (run, next) => next(run), model: (request, next) => next(request) })
      )
      const error = yield* Effect.flip(
        Agent.make("agent", { middleware: [strict] })
          .run("go")
          .pipe(Effect.provide(outer))
      )
      assert.deepInclude(error, { _tag: "Refused" })
    }).pipe(Effect.provide(turns()))
  )
})

describe("a middleware of a Layer that fails with an error of agents", () => {
  it.effect("fails the run with it as it is", () =>
    Effect.gen(function* () {
      const refuses = Middleware.make("refuses", {
        run: ({ path }) => Effect.fail(new RunError.InvalidTranscript({ path, problem: "it is too long" }))
      })
      const run = Agent.make("agent", {})
        .run("go")
        .pipe(Effect.provide(Middleware.layer(refuses)))
      assert.deepInclude(yield* Effect.flip(run), { _tag: "InvalidTranscript", problem: "it is too long" })
    }).pipe(Effect.provide(turns()))
  )
})

describe("a part", () => {
  it.effect("that is dropped or changed is so in events, output and transcript", () =>
    Effect.gen(function* () {
      const stars = Middleware.make("stars", {
        part: (part) => (part.type === "text-delta" ? { ...part, delta: part.delta.replaceAll("a", "*") } : part)
      })
      const { events } = yield* collect(around(stars), "go")
      assert.strictEqual(textOf(events), "b*n*n*")
      assert.deepInclude(events.at(-1)!, { output: "b*n*n*" })
      const { output, transcript } = yield* around(stars).result("go")
      assert.strictEqual(output, "b*n*n*")
      assert.include(JSON.stringify(transcript.content), "b*n*n*")
    }).pipe(Effect.provide(TestModel.layer(() => ({ text: "banana", chunk: 1 }), { unused: "ignore" })))
  )

  it.effect("of reasoning is changed in events only", () =>
    Effect.gen(function* () {
      const muted = Middleware.make("muted", {
        part: (part) => (part.type === "reasoning-delta" ? undefined : part)
      })
      const { events } = yield* collect(around(muted), "go")
      assert.notInclude(
        events.map(({ _tag }) => _tag),
        "ReasoningDelta"
      )
      const { transcript } = yield* around(muted).result("go")
      assert.include(JSON.stringify(transcript.content), "because")
    }).pipe(Effect.provide(TestModel.layer(() => ({ reasoning: "because", text: "so" }), { unused: "ignore" })))
  )

  it.effect("passes the outer middleware also of an answer that an inner one made", () =>
    Effect.gen(function* () {
      const stars = Middleware.make("stars", {
        part: (part) => (part.type === "text-delta" ? { ...part, delta: part.delta.replaceAll("a", "*") } : part)
      })
      const cached = Middleware.make("cached", { model: () => Effect.succeed(Middleware.turn("banana")) })
      assert.strictEqual(yield* Agent.make("agent", { middleware: [stars, cached] }).run("go"), "b*n*n*")
      assert.strictEqual(yield* Agent.make("agent", { middleware: [cached, stars] }).run("go"), "banana")
    }).pipe(Effect.provide(turns()))
  )

  it.effect("is every part of a stream, and one delta of each kind of a whole answer", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const spy = Middleware.make("spy", {
        part: (part) => {
          seen.push(part.type === "text-delta" ? part.delta : part.type)
          return part
        }
      })
      yield* around(spy).run("go")
      assert.deepStrictEqual(seen, ["abc", "finish"])
      seen.length = 0
      yield* collect(around(spy), "go")
      assert.deepStrictEqual(seen, ["text-start", "ab", "c", "text-end", "finish"])
    }).pipe(Effect.provide(TestModel.layer(() => ({ text: "abc", chunk: 2 }), { unused: "ignore" })))
  )
})

describe("hooks", () => {
  const script = TestModel.layer(({ index }) => (index % 2 === 0 ? looking : "done"), { unused: "ignore" })
  const noted = (log: Array<string>) => ({
    beforeAgent: () => void log.push("beforeAgent"),
    afterAgent: () => void log.push("afterAgent"),
    beforeModel: () => void log.push("beforeModel"),
    afterModel: () => void log.push("afterModel"),
    beforeTool: () => void log.push("beforeTool"),
    afterTool: () => void log.push("afterTool")
  })
  const order = [
    "beforeAgent",
    "beforeModel",
    "afterModel",
    "beforeTool",
    "afterTool",
    "beforeModel",
    "afterModel",
    "afterAgent"
  ]

  it.effect("are functions", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      yield* around(Middleware.hooks("hooks", noted(log))).run("go")
      assert.deepStrictEqual(log, order)
    }).pipe(Effect.provide(script))
  )

  it.effect("are Effects", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const lazy = Object.fromEntries(Object.entries(noted(log)).map(([name, hook]) => [name, () => Effect.sync(hook)]))
      yield* around(Middleware.hooks("hooks", lazy) as Middleware.Middleware).run("go")
      assert.deepStrictEqual(log, order)
    }).pipe(Effect.provide(script))
  )

  async.effect("are async functions on the async edge", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const later = Object.fromEntries(Object.entries(noted(log)).map(([name, hook]) => [name, async () => hook()]))
      yield* around(Middleware.hooks("hooks", later)).run("go")
      assert.deepStrictEqual(log, order)
      const changes = Middleware.hooks("changes", { afterModel: async (turn) => ({ ...turn, text: `${turn.text}!` }) })
      assert.strictEqual(yield* around(changes).run("go"), "done!")
    }).pipe(Effect.provide(script))
  )

  async.effect("that reject fail the run", () =>
    Effect.gen(function* () {
      const rejects = Middleware.hooks("rejects", { beforeModel: () => Promise.reject(new Error("late")) })
      assert.strictEqual(
        (yield* errorOf(around(rejects).run("go"))).message,
        '"agent": middleware "rejects" failed: late.'
      )
    }).pipe(Effect.provide(script))
  )

  async.effect("that return a promise under runSync fail the run, and say what to do", () =>
    Effect.gen(function* () {
      const later = Middleware.hooks("later", { beforeModel: async () => {} })
      const exit = yield* exitOn.sync(around(later).run("go").pipe(Effect.provide(script)))
      if (Exit.isSuccess(exit)) return assert.fail("it succeeds")
      const error = Cause.squash(exit.cause)
      assert.instanceOf(error, RunError.MiddlewareError)
      assert.include(
        (error as RunError.MiddlewareError).message,
        "Run the program with Effect.runPromise, or make the hook"
      )
    })
  )
})

describe("middleware that a Layer gives", () => {
  class Store extends Context.Service<Store, { readonly name: string }>()("test/Store") {}
  const Tenant = Context.Reference<string>("test/Tenant", { defaultValue: () => "none" })

  it.effect("is around every agent below it, in workflows and tools too", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const spy = Middleware.hooks("spy", { beforeAgent: ({ path }) => void seen.push(path.join(" > ")) })
      const worker = Agent.make("worker", { description: "Works" })
      const lead = Agent.make("lead", { tools: [AgentTool.fromRunner(worker)] })
      yield* Parallel.make("both", { lead, worker })
        .run("go")
        .pipe(Effect.provide(Middleware.layer(spy)))
      assert.deepStrictEqual(seen.toSorted(), ["both > lead", "both > lead > worker", "both > worker"])
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt, tools }) =>
          tools.length > 0 && prompt.content.length === 1 ? TestModel.toolCall("worker", { input: "x" }) : "done"
        )
      )
    )
  )

  it.effect("has the services that its Layer was built with, and the references of the run", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const spy = Middleware.make("spy", {
        model: Effect.fnUntraced(function* (request: Middleware.ModelRequest, next) {
          seen.push((yield* Store).name, yield* Tenant)
          return yield* next(request)
        })
      })
      const layer = Middleware.layer(spy).pipe(Layer.provide(Layer.succeed(Store, { name: "own" })))
      yield* Agent.make("agent", {}).run("go").pipe(Effect.provideService(Tenant, "42"), Effect.provide(layer))
      assert.deepStrictEqual(seen, ["own", "42"])
    }).pipe(Effect.provide(turns("done")))
  )

  it.effect("runs its own agents on the model of its Layer, and leaves the agent its own", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", {})
      const seen: Array<string> = []
      const judged = Middleware.make("judged", {
        model: (request, next) =>
          Effect.tap(next(request), (turn) =>
            Effect.map(judge.run(turn.text), (verdict) => void seen.push(turn.text, verdict))
          )
      })
      const layer = Middleware.layer(judged).pipe(Layer.provide(turns("fine")))
      assert.strictEqual(yield* Agent.make("agent", {}).run("go").pipe(Effect.provide(layer)), "answer")
      assert.deepStrictEqual(seen, ["answer", "fine"])
    }).pipe(Effect.provide(turns("answer")))
  )

  it.effect("is not around the agents that it runs itself, and around those of the agent's own middleware", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const helper = Agent.make("helper", {})
      const outer = Middleware.make("outer", {
        run: (run, next) => {
          seen.push(run.path.join(" > "))
          return Effect.andThen(helper.run("outer"), next(run))
        }
      })
      const own = Middleware.make("own", { run: (run, next) => Effect.andThen(helper.run("own"), next(run)) })
      yield* Agent.make("agent", { middleware: [own] })
        .run("go")
        .pipe(Effect.provide(Middleware.layer(outer)))
      assert.deepStrictEqual(seen, ["agent", "agent > helper"])
    }).pipe(Effect.provide(TestModel.layer(() => "done")))
  )

  it.effect("passes on what it provides around next", () =>
    Effect.gen(function* () {
      const cheap = Middleware.make("cheap", {
        model: (request, next) =>
          next(request).pipe(Effect.provide(turns("cheap")), Effect.provideService(References.MinimumLogLevel, "None"))
      })
      const layer = Middleware.layer(cheap).pipe(Layer.provide(Layer.succeed(Store, { name: "x" })))
      assert.strictEqual(yield* Agent.make("agent", {}).run("go").pipe(Effect.provide(layer)), "cheap")
      assert.deepStrictEqual(yield* calls, [])
    }).pipe(Effect.provide(turns()))
  )

  it.effect("is around agents that are services, with its services alongside theirs", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/middleware/Clerk", {}) {}
      const seen: Array<string> = []
      const spy = Middleware.hooks("spy", { beforeAgent: ({ path }) => void seen.push(path[0]!) })
      const clerk = Clerk.layer.pipe(Layer.provide(turns("done")))
      assert.strictEqual(yield* Clerk.run("go").pipe(Effect.provide([clerk, Middleware.layer(spy)])), "done")
      assert.deepStrictEqual(seen, ["Clerk"])
    })
  )
})
