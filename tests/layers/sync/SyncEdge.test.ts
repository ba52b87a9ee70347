import { type ChildProcess, execFileSync, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  ManagedRuntime,
  Queue,
  Ref,
  Schedule,
  Semaphore,
  Stream,
  Tracer
} from "effect"
import { HttpClient } from "effect/http"
import { Agent, AgentTool, ModelInfo, SyncEdge, TestModel } from "troupe"
import { LanguageModel } from "effect/ai"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

let child: ChildProcess
let base = ""
beforeAll(async () => {
  child = fork(fileURLToPath(new URL("../../support/delayServerMain.ts", import.meta.url)), { execArgv: [] })
  const port = await new Promise<number>((resolve) => child.once("message", (message) => resolve(message as number)))
  base = `http://127.0.0.1:${port}`
})
afterAll(() => {
  child.kill("SIGKILL")
})

const get = (path: string) => Effect.flatMap(HttpClient.get(`${base}${path}`), (response) => response.text)
/** Waits until the server has counted so many, and tells how many it has. */
const reaches = (path: "/count" | "/aborted", least: number) =>
  Effect.map(get(path), Number).pipe(
    Effect.repeat({ until: (count) => count >= least, schedule: Schedule.spaced("5 millis") }),
    Effect.andThen(Effect.map(get(path), Number)),
    Effect.timeout("20 seconds")
  )
type Services = HttpClient.HttpClient
type RunExit = <A, E>(effect: Effect.Effect<A, E, Services>) => Exit.Exit<A, E> | Promise<Exit.Exit<A, E>>

const Http = SyncEdge.layerHttpClient
const managed = () => ManagedRuntime.make(Layer.provideMerge(Http, SyncEdge.layer))
const shared = managed()
const sharedAsync = ManagedRuntime.make(Layer.provideMerge(Http, SyncEdge.layer))

const edges: Record<string, RunExit> = {
  runPromise: (effect) => Effect.runPromiseExit(Effect.provide(effect, Http)),
  "runPromise, the edge provided": (effect) =>
    Effect.runPromiseExit(effect.pipe(Effect.provide(Http), Effect.provide(SyncEdge.layer))),
  runSync: (effect) => {
    try {
      return Exit.succeed(Effect.runSync(effect.pipe(Effect.provide(Http), Effect.provide(SyncEdge.layer)))) as never
    } catch (error) {
      return Exit.fail(error) as never
    }
  },
  runSyncExit: (effect) => Effect.runSyncExit(effect.pipe(Effect.provide(Http), Effect.provide(SyncEdge.layer))),
  "runSyncExit, layers merged": (effect) =>
    Effect.runSyncExit(Effect.provide(effect, Layer.mergeAll(Http, SyncEdge.layer))),
  "runSyncExit, the edge inside": (effect) =>
    Effect.runSyncExit(effect.pipe(Effect.provide(SyncEdge.layer), Effect.provide(Http))),
  "ManagedRuntime.runSync, its first run": (effect) => managed().runSyncExit(effect),
  "ManagedRuntime.runSync, a later run": (effect) => {
    shared.runSync(Effect.void)
    return shared.runSyncExit(effect)
  },
  "ManagedRuntime.runPromise": (effect) => sharedAsync.runPromiseExit(effect)
}

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const value = yield* effect
    return [value, (yield* Clock.currentTimeMillis) - before] as const
  })

const tag = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit)
    ? JSON.stringify(exit.value)
    : String((Cause.squash(exit.cause) as { readonly _tag?: string })?._tag ?? Cause.squash(exit.cause))

for (const [edge, runExit] of Object.entries(edges)) {
  const run = async <A, E>(effect: Effect.Effect<A, E, Services>): Promise<A> => {
    const exit = await runExit(effect)
    return Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
  }
  describe(`by ${edge}`, () => {
    it("requests overlap", async () => {
      // The server answers when it has all three, so that a busy machine does not matter.
      const three = Effect.forEach([1, 2, 3], () => get("/meet/3"), { concurrency: "unbounded" })
      assert.deepStrictEqual(await run(Effect.timeout(three, "20 seconds")), ["met3", "met3", "met3"])
    })

    it("timers, timeouts and schedules keep time", async () => {
      const [, ms] = await run(timed(Effect.all([Effect.sleep(60), Effect.sleep(40)], { concurrency: 2 })))
      assert.isAtLeast(ms, 58)
      assert.strictEqual(tag(await runExit(Effect.timeout(get("/hang"), "60 millis"))), "TimeoutError")
      const tries = Ref.makeUnsafe(0)
      const failing = Effect.andThen(
        Ref.update(tries, (n) => n + 1),
        Effect.fail("again")
      )
      assert.strictEqual(
        tag(await runExit(Effect.retry(failing, { times: 2, schedule: Schedule.spaced("5 millis") }))),
        "again"
      )
      assert.strictEqual(Ref.getUnsafe(tries), 3)
    })

    it("streams flow, one after the other and several at once", async () => {
      const streamed = Stream.range(1, 4).pipe(
        Stream.mapEffect((n) => get(`/ok/${n * 10}`), { concurrency: 4 }),
        Stream.runCollect
      )
      assert.deepStrictEqual(await run(streamed), ["ok10", "ok20", "ok30", "ok40"])
      const merged = Stream.merge(
        Stream.fromSchedule(Schedule.spaced("5 millis")).pipe(Stream.take(3)),
        Stream.make(10, 11)
      )
      assert.sameMembers(await run(Stream.runCollect(merged)), [0, 1, 2, 10, 11])
    })

    it("fibers meet: queues, deferreds, semaphores, every kind of fork", async () => {
      const program = Effect.gen(function* () {
        const queue = yield* Queue.bounded<number>(1)
        const done = yield* Deferred.make<string>()
        const semaphore = yield* Semaphore.make(1)
        const order: Array<string> = []
        yield* Effect.forkChild(Effect.forEach([1, 2, 3], (n) => Queue.offer(queue, n)))
        const detached = yield* Effect.forkDetach(Effect.as(Effect.sleep(5), "detached"))
        const taken = yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Effect.forkScoped(Effect.andThen(Effect.sleep(5), Deferred.succeed(done, "scoped")))
            return [
              yield* Queue.take(queue),
              yield* Queue.take(queue),
              yield* Queue.take(queue),
              yield* Deferred.await(done)
            ]
          })
        )
        yield* Effect.forEach(
          ["a", "b"],
          (name) =>
            semaphore.withPermits(1)(
              Effect.andThen(
                Effect.sleep(3),
                Effect.sync(() => order.push(name))
              )
            ),
          { concurrency: 2 }
        )
        return [...taken, yield* Fiber.join(detached), ...order]
      })
      assert.deepStrictEqual(await run(program), [1, 2, 3, "scoped", "detached", "a", "b"])
    })

    it("the first failure interrupts the others on the wire, and their finalizers are waited for", async () => {
      const before = Number(await run(get("/aborted")))
      const log: Array<string> = []
      const requests = Number(await run(get("/count")))
      const slow = get("/hang").pipe(
        Effect.onInterrupt(() =>
          Effect.andThen(
            Effect.sleep(20),
            Effect.sync(() => log.push("finalizer"))
          )
        )
      )
      const boom = Effect.andThen(reaches("/count", requests + 1), Effect.fail("boom"))
      const exit = await runExit(Effect.all([slow, boom], { concurrency: 2 }))
      assert.strictEqual(tag(exit), "boom")
      assert.deepStrictEqual(log, ["finalizer"])
      assert.strictEqual(await run(reaches("/aborted", before + 1)), before + 1)
      assert.strictEqual(await run(Effect.race(Effect.never, get("/ok/10"))), "ok10")
    })

    it("errors, defects and what the server does wrong are as they are", async () => {
      assert.strictEqual(tag(await runExit(Effect.fail({ _tag: "Mine" }))), "Mine")
      assert.strictEqual(tag(await runExit(Effect.die(new Error("bug")))), "Error: bug")
      assert.strictEqual(await run(get("/500/1")), "5001")
      assert.strictEqual(tag(await runExit(get("/reset"))), "HttpClientError")
      assert.strictEqual(tag(await runExit(HttpClient.get("http://127.0.0.1:1/"))), "HttpClientError")
    })

    it("a large body comes through, no more than a window ahead", async () => {
      const size = 5_000_000
      const response = Effect.flatMap(HttpClient.get(`${base}/big/${size}`), (one) =>
        Stream.runFold(
          one.stream,
          () => 0,
          (total, chunk) => total + chunk.length
        )
      )
      assert.strictEqual(await run(response), size)
    })

    it("long computations, many fibers and spans are nothing special", async () => {
      const names: Array<string> = []
      const tracer: Tracer.Tracer = {
        span: (options) => {
          names.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      }
      const many = Effect.forEach(
        Array.from({ length: 2000 }, (_, n) => n),
        (n) => Effect.as(Effect.yieldNow, n),
        { concurrency: "unbounded" }
      )
      const program = Effect.withSpan(Effect.andThen(many, Effect.sleep(1)), "outer").pipe(
        Effect.provideService(Tracer.Tracer, tracer)
      )
      await run(program)
      assert.deepStrictEqual(names, ["outer"])
    })
  })
}

const refusalOf = (effect: Effect.Effect<unknown, unknown>): string => {
  try {
    Effect.runSync(effect)
  } catch (error) {
    return String((error as { readonly _tag?: string })._tag ?? error)
  }
  return assert.fail("was not refused")
}
const onEdge = Effect.provide(SyncEdge.layer)
const message = (effect: Effect.Effect<unknown, unknown>): string => {
  try {
    Effect.runSync(effect)
  } catch (error) {
    return String((error as Error).message)
  }
  return assert.fail("was not refused")
}

describe("the sync edge refuses", () => {
  const tool = (name: string, execute: () => unknown) => AgentTool.fromFunction(name, { description: "x", execute })
  const calling = (name: string, execute: () => unknown) =>
    Agent.make("agent", { tools: [tool(name, execute)] })
      .run("go")
      .pipe(Effect.provide(TestModel.layer([TestModel.toolCall(name, {})], { unused: "ignore" })))

  it("a tool that waits for a promise, in each of its forms, and names it", () => {
    const tools = {
      declared: async () => 1,
      returned: () => Promise.reject(new Error("not handled")),
      inside: () => Effect.promise(() => Promise.resolve(1)),
      generated: function* () {
        return yield* Effect.promise(() => new Promise(() => {}))
      }
    }
    for (const [name, execute] of Object.entries(tools)) {
      assert.strictEqual(refusalOf(onEdge(calling(name, execute))), "AsyncToolError")
      assert.include(message(onEdge(calling(name, execute))), `"${name}"`)
    }
    assert.strictEqual(refusalOf(calling("declared", tools.declared)), "AsyncToolError")
  })

  it("what nothing can move, naming what is waited for", () => {
    const stuck: Record<string, Effect.Effect<unknown, unknown>> = {
      promise: Effect.promise(() => Promise.resolve(1)),
      never: Effect.never,
      deferred: Effect.flatMap(Deferred.make(), Deferred.await),
      queue: Effect.flatMap(Queue.unbounded<number>(), Queue.take),
      semaphore: Effect.flatMap(Semaphore.make(1), (one) => one.withPermits(1)(one.withPermits(1)(Effect.void))),
      "one of several": Effect.all([Effect.sleep(10), Effect.never], { concurrency: 2 }),
      "a callback": Effect.callback(() => {})
    }
    for (const [name, effect] of Object.entries(stuck)) {
      const log: Array<string> = []
      const program = Effect.ensuring(
        effect,
        Effect.sync(() => log.push("finalizer"))
      )
      assert.strictEqual(refusalOf(onEdge(program)), "StuckSyncEdge", name)
      assert.deepStrictEqual(log, ["finalizer"])
    }
    assert.include(message(onEdge(Effect.withSpan(Effect.never, "the answer"))), "the answer")
  })

  it("a model that needs the network, without the edge", () => {
    const Networked = Layer.effectContext(
      Effect.map(
        LanguageModel.make({
          generateText: () => Effect.promise(() => Promise.resolve([])),
          streamText: () => Stream.empty
        }),
        (model) => ModelInfo.context(model, { provider: "p", model: "m", structuredOutput: true, network: true })
      )
    )
    assert.strictEqual(refusalOf(Agent.make("agent", {}).run("go").pipe(Effect.provide(Networked))), "MissingSyncEdge")
  })

  it("to block a running fiber, unless nested is allow", async () => {
    const nested = (layer: Layer.Layer<never>, ms = 5) =>
      Effect.sync(() => Effect.runSyncExit(Effect.sleep(ms).pipe(Effect.as("slept"), Effect.provide(layer))))
    const outers: ReadonlyArray<<A>(effect: Effect.Effect<A>) => A | Promise<A>> = [
      (effect) => Effect.runPromise(effect),
      (effect) => Effect.runSync(effect),
      (effect) => Effect.runSync(onEdge(Effect.andThen(Effect.sleep(1), effect)))
    ]
    for (const outer of outers) {
      // Long: a time that has passed already, as on a busy machine, needs no block.
      assert.strictEqual(tag(await outer(nested(SyncEdge.layer, 10_000))), "NestedSyncEdge")
      assert.strictEqual(tag(await outer(nested(SyncEdge.layerNested))), '"slept"')
    }
    const after = Effect.gen(function* () {
      const inner = yield* nested(SyncEdge.layerNested)
      yield* Effect.sleep(5)
      return tag(inner)
    })
    assert.strictEqual(Effect.runSync(onEdge(after)), '"slept"')
  })

  it("to block a process that is serving connections", () => {
    const script = `
      import { createServer } from "node:http"
      import { Effect } from "effect"
      import * as SyncEdge from "troupe/SyncEdge"
      createServer().listen(0, "127.0.0.1", () => {
        for (const layer of [SyncEdge.layer, SyncEdge.layerNested]) {
          try { console.log(Effect.runSync(Effect.sleep(300).pipe(Effect.as("slept"), Effect.provide(layer)))) }
          catch (error) { console.log(error._tag, error.situation) }
        }
        process.exit(0)
      })`
    assert.strictEqual(inNode(script), "NestedSyncEdge server\nslept\n")
  })
})

const root = fileURLToPath(new URL("../../..", import.meta.url))
/** Runs a script in a Node of its own, which must end by itself. */
const inNode = (script: string, ...flags: ReadonlyArray<string>): string =>
  execFileSync(process.execPath, [...flags, "--conditions=troupe-source", "--input-type=module", "-e", script], {
    cwd: root,
    encoding: "utf8",
    timeout: 60_000,
    env: { ...process.env, BASE: base }
  })

describe("the I/O thread", () => {
  it("is replaced after a crash; the request under way fails with a typed error", () => {
    const script = `
      import { Effect } from "effect"
      import { HttpClient } from "effect/http"
      import * as SyncEdge from "troupe/SyncEdge"
      import * as IoWorker from "./src/layers/internal/io/ioWorker.ts"
      const get = (path) => HttpClient.get(process.env.BASE + path).pipe(Effect.flatMap((r) => r.text), Effect.provide(SyncEdge.layerHttpClient))
      const crash = Effect.sleep(20).pipe(Effect.andThen(Effect.sync(() => IoWorker.peek().tell("crash"))))
      const program = Effect.all([Effect.flip(get("/hang")), crash], { concurrency: 2 })
      const [error] = Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer)))
      console.log(error._tag, error.message.includes("I/O thread"))
      console.log(Effect.runSync(get("/ok/1").pipe(Effect.provide(SyncEdge.layer))))`
    assert.strictEqual(inNode(script), "HttpClientError true\nok1\n")
  }, 60_000)

  it("is not needed for timers", () => {
    const script = `
      import { Effect } from "effect"
      import * as SyncEdge from "troupe/SyncEdge"
      import * as IoWorker from "./src/layers/internal/io/ioWorker.ts"
      Effect.runSync(Effect.sleep(5).pipe(Effect.provide(SyncEdge.layer)))
      console.log(IoWorker.peek() === undefined, IoWorker.userCount())`
    assert.strictEqual(inNode(script), "true 0\n")
  })
})

describe("an agent", () => {
  class Tone extends Context.Service<Tone, string>()("test/Tone") {}
  it("gives the same events and the same answer on both edges", async () => {
    const slow = AgentTool.fromFunction("slow", {
      description: "x",
      execute: () => Effect.as(Effect.sleep(10), "slow")
    })
    const agent = Agent.make("agent", {
      instructions: () => Effect.map(Tone, (tone) => `Be ${tone}.`),
      tools: [slow],
      toolTimeout: "5 millis"
    })
    const program = agent.stream("go").pipe(
      Stream.map((event) => event._tag),
      Stream.runCollect,
      Effect.provideService(Tone, "kind"),
      Effect.provide(TestModel.layer(() => ({ text: "abc", chunk: 1, chunkDelay: "1 millis", delay: "2 millis" })))
    )
    assert.deepStrictEqual(Effect.runSync(onEdge(program)), await Effect.runPromise(program))
  })
})
