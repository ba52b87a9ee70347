/** The types of middleware: what it adds to agents, exactly. Nothing here runs. */
import { Context, Effect, type Layer, Schema } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, AgentTool, Feature, Middleware, Orchestrator, type RunError, type Runner, TestModel } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
class Late extends Schema.TaggedError<Late>()("Late", {}) {}
class Store extends Context.Service<Store, { readonly get: Effect.Effect<string, Late> }>()("test/Store") {}
declare const hit: (request: Middleware.ModelRequest) => boolean
declare const log: (n: number) => void
declare const CheapModel: Layer.Layer<LanguageModel.LanguageModel>
declare const judge: Agent.Agent<string, Agent.Error, LanguageModel.LanguageModel>

// The programs of the design.
const timing = Middleware.make("timing", {
  tool: (call, next) =>
    Effect.tap(next(call), (outcome) => Effect.logDebug(`${call.tool} failed: ${outcome.isFailure}`))
})
const audit = Middleware.hooks("audit", {
  beforeAgent: (_run) => {},
  afterAgent: (_output, _run) => {},
  beforeModel: (request) => {
    log(request.prompt.content.length)
  },
  afterModel: (_turn, _request) => {},
  beforeTool: (call) => ({ ...call, params: { ...call.params, region: "eu" } }),
  afterTool: (_outcome, _call) => {}
})
const cached = Middleware.make("cached", {
  model: (request, next) => (hit(request) ? Effect.succeed(Middleware.turn("from the cache")) : next(request))
})
const cheap = Middleware.make("cheap", { model: (request, next) => next(request).pipe(Effect.provide(CheapModel)) })
const muted = Middleware.make("muted", { part: (part) => (part.type === "reasoning-delta" ? undefined : part) })

proven<Equal<typeof timing, Middleware.Middleware>>()
proven<Equal<typeof audit, Middleware.Middleware>>()
proven<Equal<typeof cached, Middleware.Middleware>>()
proven<Equal<typeof cheap, Middleware.Middleware>>()
proven<Equal<typeof muted, Middleware.Middleware>>()

export const agent = Agent.make("agent", { middleware: [timing, audit], tools: [] })
proven<Equal<Runner.Error<typeof agent>, Agent.Error>>()
proven<Equal<Runner.Services<typeof agent>, LanguageModel.LanguageModel>>()
export const around = Effect.provide(agent.run("go"), Middleware.layer(cached))
proven<Equal<Effect.Error<typeof around>, Agent.Error>>()
proven<Extract<Agent.Error, RunError.MiddlewareError> extends never ? false : true>()

// Errors and services join the agent's type exactly, those of one branch of a condition too.
const strict = Middleware.make("strict", {
  run: (run, next) => (run.path.length > 3 ? Effect.fail(new Refused()) : next(run)),
  tool: (call, next) =>
    Effect.andThen(
      Effect.flatMap(Store, (store) => store.get),
      next(call)
    )
})
proven<Equal<typeof strict, Middleware.Middleware<Refused | Late, Store>>>()
const guarded = Agent.make("guarded", { middleware: [strict, timing] })
proven<Equal<Runner.Error<typeof guarded>, Agent.Error | Refused | Late>>()
proven<Equal<Runner.Services<typeof guarded>, LanguageModel.LanguageModel | Store>>()

// Written in place, the same.
const inPlace = Agent.make("inPlace", {
  middleware: [
    Middleware.make("strict", { model: (request, next) => (hit(request) ? Effect.fail(new Late()) : next(request)) })
  ]
})
proven<Equal<Runner.Error<typeof inPlace>, Agent.Error | Late>>()

// What a middleware catches is gone, and the errors of an agent that it runs are not added.
const calm = Middleware.make("calm", {
  model: (request, next) =>
    Effect.fail(new Refused()).pipe(
      Effect.andThen(next(request)),
      Effect.catchTag("Refused", () => next(request)),
      Effect.catchTag("ModelError", () => Effect.succeed(Middleware.turn("Sorry.")))
    )
})
proven<Equal<Middleware.Error<typeof calm>, never>>()
const judged = Middleware.hooks("judged", { afterModel: (turn) => Effect.asVoid(judge.run(turn.text)) })
proven<Equal<typeof judged, Middleware.Middleware<never, LanguageModel.LanguageModel>>>()

// Hooks: values, promises and Effects, alone and mixed.
const mixed = Middleware.hooks("mixed", {
  beforeAgent: async () => {},
  afterAgent: async (output) => output,
  beforeModel: (request) => (hit(request) ? Effect.fail(new Refused()) : undefined),
  afterModel: (turn) => Effect.succeed({ ...turn, text: "" }),
  afterTool: () => Middleware.outcome({ n: [1, null] })
})
proven<Equal<typeof mixed, Middleware.Middleware<Refused>>>()
// @ts-expect-error a hook gives what it was given
Middleware.hooks("wrong", { beforeTool: () => ({ tool: "x" }) })
// @ts-expect-error a model call gives a turn
Middleware.make("wrong", { model: () => Effect.succeed("text") })
// @ts-expect-error there is no such function
Middleware.make("wrong", { onTool: () => Effect.succeed(Middleware.outcome(1)) })

// A Layer takes the services, and adds no error to those that the agent has.
const given = Middleware.layer(strict, timing)
proven<Equal<typeof given, Layer.Layer<never, never, Store>>>()

// Features.
const tool = AgentTool.fromFunction("tool", { description: "Does something", execute: () => "done" })
const feature = Feature.make("feature", { tools: [tool], middleware: [strict] })
proven<Equal<typeof feature, Feature.Feature<Refused | Late, Store>>>()
const using = Agent.make("using", { use: [feature] })
proven<Equal<Runner.Error<typeof using>, Agent.Error | Refused | Late>>()
proven<Equal<Runner.Services<typeof using>, LanguageModel.LanguageModel | Store>>()

// Copies and orchestrators.
export const copied = Agent.with(agent, { middleware: [strict] })
proven<Equal<Runner.Error<typeof copied>, Agent.Error | Refused | Late>>()
proven<Equal<Runner.Services<typeof copied>, LanguageModel.LanguageModel | Store>>()
export const lead = Orchestrator.make("lead", { worker: judge }, { middleware: [strict] })
proven<Equal<Runner.Error<typeof lead>, Agent.Error | Refused | Late>>()

// Services.
class Clerk extends Agent.Service<Clerk>()("test/Clerk", { middleware: [strict] }) {}
proven<Equal<typeof Clerk.layer, Layer.Layer<Clerk, never, LanguageModel.LanguageModel | Store>>>()
export const clerk = Clerk.run("go")
proven<Equal<Effect.Error<typeof clerk>, Agent.Error | Refused | Late>>()

export const plain: Effect.Effect<string, Agent.Error | Refused> = Agent.make("plain", {
  middleware: [Middleware.make("m", { tool: () => Effect.fail(new Refused()) })]
})
  .run("go")
  .pipe(Effect.provide(TestModel.layer(["done"])))
