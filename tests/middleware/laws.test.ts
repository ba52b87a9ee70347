import { assert, describe } from "@effect/vitest"
import { cases } from "../support/cases.ts"
import { it } from "../support/edges.ts"
import { Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { LanguageModel, Prompt, type Response } from "effect/ai"
import { Agent, AgentTool, Middleware, type RunEvent, type Runner, TestModel } from "troupe"
import { collect, textOf } from "../support/grammar.ts"
import { idle, Kinds, middlewareOf, replacesOutput } from "../support/randomMiddleware.ts"
import { agent, assertValid, modelOf, options, Script, tagOf } from "../support/randomScripts.ts"

const runs = (count: number) => ({ arbitrary: { runs: cases(count) } }) as never

/** An event without the ids that every run makes up. */
const bare = (event: RunEvent.RunEvent): unknown => JSON.parse(JSON.stringify({ ...event, runId: "", parentId: "" }))

/** All that can be seen of an agent in one run of each view. */
const seen = <E>(agent: Runner.Runner<Prompt.RawInput, string, E, never>) =>
  Effect.gen(function* () {
    const ran = yield* Effect.exit(agent.run("go"))
    const resulted = yield* Effect.exit(agent.result("go"))
    const { events, exit } = yield* collect(agent, "go")
    return { ran, resulted, streamed: exit, events }
  })

describe("an agent with middleware that changes nothing", () => {
  it.effect.prop(
    "gives the events, results, transcripts and bills of one without",
    { script: Script, kinds: Schema.Array(Schema.Literals(idle)).check(Schema.isMinLength(1), Schema.isMaxLength(3)) },
    ({ kinds, script }) =>
      Effect.gen(function* () {
        const provide = <E, R>(agent: Runner.Runner<Prompt.RawInput, string, E, R>) =>
          Effect.gen(function* () {
            const ran = yield* Effect.provide(Effect.exit(agent.run("go")), modelOf(script) as never)
            const result = yield* Effect.provide(Effect.exit(agent.result("go")), modelOf(script) as never)
            const { events } = yield* Effect.provide(collect(agent, "go"), modelOf(script) as never)
            const shown = Exit.isSuccess(result)
              ? {
                  ...result.value,
                  duration: undefined,
                  runId: undefined,
                  transcript: Schema.encodeSync(Prompt.Prompt)(result.value.transcript)
                }
              : JSON.parse(JSON.stringify(result).replaceAll(/run_[0-9a-z]+/g, "run"))
            return { ran: Exit.isSuccess(ran) ? ran.value : tagOf(ran as never), shown, events: events.map(bare) }
          })
        const without = yield* provide(agent as never)
        const own = yield* provide(Agent.make("agent", { ...options, middleware: kinds.map(middlewareOf) }) as never)
        assert.deepStrictEqual(own, without)
        const given = Middleware.layer(...kinds.map(middlewareOf))
        assert.deepStrictEqual(yield* Effect.provide(provide(agent as never), given), without)
      }) as never,
    runs(60)
  )
})

describe("with middleware of any kind", () => {
  it.effect.prop(
    "run, result and stream agree, events keep the grammar, and prompts are valid",
    { script: Script, kinds: Kinds },
    ({ kinds, script }) =>
      Effect.gen(function* () {
        const agent = Agent.make("agent", { ...options, middleware: kinds.map(middlewareOf) })
        const ran = yield* Effect.exit(agent.run("go")).pipe(Effect.provide(modelOf(script)))
        const resulted = yield* Effect.gen(function* () {
          const exit = yield* Effect.exit(agent.result("go"))
          const { calls } = yield* TestModel.TestModel
          if (!kinds.includes("shortens the prompt")) for (const call of yield* calls) assertValid(call.prompt)
          return exit
        }).pipe(Effect.provide(modelOf(script)))
        const { events, exit } = yield* collect(agent, "go").pipe(Effect.provide(modelOf(script)))
        assert.strictEqual(tagOf(ran), tagOf(resulted))
        assert.strictEqual(tagOf(ran), tagOf(exit))
        const last = events.at(-1)!
        if (Exit.isFailure(ran) || Exit.isFailure(resulted)) return assert.strictEqual(last._tag, "RunFailed")
        if (last._tag !== "RunCompleted") return assert.fail(last._tag)
        assert.strictEqual(resulted.value.output, ran.value)
        assert.strictEqual(last.output, ran.value)
        if (!kinds.some(replacesOutput)) assert.isTrue(textOf(events).endsWith(ran.value))
        assert.strictEqual(last.spent.steps, resulted.value.steps)
        assert.deepStrictEqual({ ...last.spent.usage }, { ...resulted.value.usage })
        assertValid(resulted.value.transcript)
      }),
    runs(200)
  )
})

/** The list with one more in it. */
const inserted = <A>(list: ReadonlyArray<A>, at: number, one: A): ReadonlyArray<A> => list.toSpliced(at, 0, one)
const Position = Schema.Literals([0, 1, 2, 3])

describe("a middleware that never calls next", () => {
  it.effect.prop(
    "sends nothing to the model, with any other around it and in it",
    {
      script: Script,
      kinds: Kinds,
      at: Position,
      what: Schema.Literals(["answers for the model", "answers for the agent"])
    },
    ({ at, kinds, script, what }) =>
      Effect.gen(function* () {
        const middleware = inserted(kinds, at, what).map(middlewareOf)
        const agent = Agent.make("agent", { ...options, middleware })
        yield* Effect.exit(agent.run("go"))
        assert.lengthOf(yield* (yield* TestModel.TestModel).calls, 0)
      }).pipe(Effect.provide(modelOf(script))),
    runs(60)
  )

  it.effect.prop(
    "runs no tool, with any other around it and in it",
    { kinds: Kinds, at: Position },
    ({ at, kinds }) =>
      Effect.gen(function* () {
        let ran = 0
        const tool = AgentTool.fromFunction("ok", { description: "ok", execute: () => ++ran })
        const middleware = inserted(kinds, at, "answers for tools" as const).map(middlewareOf)
        yield* Effect.exit(Agent.make("agent", { tools: [tool], middleware, maxSteps: 3 }).run("go"))
        assert.strictEqual(ran, 0)
      }).pipe(Effect.provide(TestModel.layer(() => TestModel.toolCall("ok", {})))),
    runs(60)
  )
})

describe("a run that is interrupted within next", () => {
  it.effect.prop(
    "leaves no model call and no tool at work, with any middleware around them",
    { kinds: Kinds, inTool: Schema.Boolean },
    ({ inTool, kinds }) =>
      Effect.gen(function* () {
        const work = { begun: 0, ended: 0 }
        const stuck = Effect.suspend(() => {
          work.begun++
          return Effect.onExit(Effect.never, () => Effect.sync(() => void work.ended++))
        })
        const tool = AgentTool.fromFunction("ok", { description: "ok", execute: () => stuck })
        const asks = { type: "tool-call", id: "c1", name: "ok", params: {}, providerExecuted: false } as const
        const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
        const finish = { type: "finish", reason: "tool-calls", usage, response: undefined } as never
        const answer = (): Effect.Effect<Array<Response.PartEncoded>> =>
          inTool ? Effect.succeed([asks, finish]) : stuck
        const model = yield* LanguageModel.make({
          generateText: answer,
          streamText: () => Stream.unwrap(Effect.map(answer(), Stream.fromIterable)) as never
        })
        const agent = Agent.make("agent", {
          tools: [tool],
          middleware: kinds.map(middlewareOf),
          maxSteps: 3,
          retry: "none"
        })
        for (const view of [agent.run("go"), agent.result("go"), Stream.runDrain(agent.stream("go"))]) {
          const run = Effect.provideService(view as Effect.Effect<unknown, unknown>, LanguageModel.LanguageModel, model)
          const fiber = yield* Effect.forkChild(run)
          for (let n = 0; n < 20; n++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(work.ended, work.begun)
          if (kinds.length === 0) assert.isAbove(work.begun, 0)
        }
      }),
    runs(60)
  )
})

/** One middleware that is `outer` around `inner`. */
const nested = <E>(outer: Middleware.Middleware<E>, inner: Middleware.Middleware<E>): Middleware.Middleware<E> => {
  const of = (kind: "run" | "model" | "tool") => {
    const [a, b] = [outer.around[kind], inner.around[kind]] as ReadonlyArray<unknown> as ReadonlyArray<
      ((request: unknown, next: unknown) => unknown) | undefined
    >
    if (a === undefined || b === undefined) return a ?? b
    return (request: unknown, next: unknown) => a(request, (changed: unknown) => b(changed, next))
  }
  const part = (part: Middleware.Part) => {
    const inside = inner.around.part === undefined ? part : inner.around.part(part)
    if (inside === Middleware.hold) return inside
    return inside === undefined || outer.around.part === undefined ? inside : outer.around.part(inside)
  }
  return Middleware.make("both", { run: of("run"), model: of("model"), tool: of("tool"), part } as never) as never
}

describe("two middleware", () => {
  const pure = Schema.Literals([
    "looks on",
    "shouts",
    "mutes the reasoning",
    "calls the model twice",
    "changes arguments",
    "replaces outcomes",
    "answers for tools",
    "fails after tools",
    "changes the input",
    "replaces the output",
    "answers for the agent",
    "fails after the run"
  ])
  it.effect.prop(
    "in a list are the first around the second",
    { script: Script, first: pure, second: pure },
    ({ first, script, second }) =>
      Effect.gen(function* () {
        const [a, b] = [middlewareOf(first), middlewareOf(second)]
        const ends = (middleware: ReadonlyArray<typeof a>) =>
          Effect.gen(function* () {
            const agent = Agent.make("agent", { ...options, middleware })
            const all = yield* Effect.provide(seen(agent as never), modelOf(script) as never)
            return {
              ends: ([all.ran, all.resulted, all.streamed] as ReadonlyArray<Exit.Exit<unknown, unknown>>).map((exit) =>
                Exit.isSuccess(exit) ? "succeeds" : tagOf(exit as never)
              ),
              output: Exit.isSuccess(all.ran) ? all.ran.value : undefined,
              events: all.events.map(bare).map((event) => (event as { readonly _tag: string })._tag)
            }
          })
        assert.deepStrictEqual(yield* ends([a, b]), yield* ends([nested(a, b)]))
      }) as never,
    runs(60)
  )
})

describe("Layers of middleware", () => {
  const names = ["a", "b", "c", "d"] as const
  const Places = Schema.Array(
    Schema.Struct({
      names: Schema.Array(Schema.Literals(names)).check(Schema.isMinLength(1), Schema.isMaxLength(3)),
      merged: Schema.Boolean
    })
  ).check(Schema.isMaxLength(4))

  it.effect.prop(
    "add up, outermost first, each once, however they are provided",
    { places: Places },
    ({ places }) =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const around = Object.fromEntries(
          names.map((name) => [
            name,
            Middleware.make(name, {
              run: (run, next) => {
                log.push(name)
                return next(run)
              }
            })
          ])
        ) as Record<(typeof names)[number], Middleware.Middleware>
        const own = Middleware.make("own", {
          run: (run, next) =>
            Effect.andThen(
              Effect.sync(() => log.push("own")),
              next(run)
            )
        })
        const run = Agent.make("agent", { middleware: [own] })
          .run("go")
          .pipe(Effect.provide(TestModel.layer(["done"])))
        // The last one provided is the outermost.
        const provided = places.reduceRight((effect, { merged, names }) => {
          const [first, ...rest] = names.map((name) => Middleware.layer(around[name]))
          return merged
            ? Effect.provide(effect, Layer.mergeAll(first!, ...rest))
            : Effect.provide(effect, [first!, ...rest])
        }, run)
        yield* provided
        assert.deepStrictEqual(log, [...new Set(places.flatMap(({ names }) => names)), "own"])
      }),
    runs(200)
  )
})
