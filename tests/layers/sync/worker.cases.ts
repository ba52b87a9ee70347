/** Cases for `worker.test.ts`, which runs them in processes of their own: any of them may hang. */
import { registerHooks } from "node:module"
import { inspect } from "node:util"
import { assert } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schedule, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as Agent from "troupe/Agent"
import * as OpenAi from "troupe/OpenAi"
import * as SyncEdge from "troupe/SyncEdge"
import * as TestModel from "troupe/TestModel"
import * as IoWorker from "../../../src/layers/internal/io/ioWorker.ts"
import type { Cases } from "../../support/isolated.ts"

const base = process.env["BASE"]
const get = (path: string) => Effect.flatMap(HttpClient.get(`${base}${path}`), (response) => response.text)
const Http = Effect.provide(SyncEdge.layerHttpClient)
const on = <A, E>(effect: Effect.Effect<A, E, HttpClient.HttpClient>): Effect.Effect<A, E> =>
  effect.pipe(Http, Effect.provide(SyncEdge.layer))
const tell = (what: string) => Effect.sync(() => IoWorker.peek()!.tell(what))
/** Waits until the server has got one more request than before. */
const arrived = (before: number) =>
  Effect.repeat(Effect.andThen(Effect.sleep("5 millis"), Effect.map(get("/count"), Number)), {
    until: (count) => count > before
  })
/** Requests of each kind that are under way while the thread gets a message, and their outcomes. */
const underWay = (what: string) =>
  Effect.gen(function* () {
    const before = Number(yield* get("/count"))
    const begun = yield* Deferred.make<void>()
    const body = Stream.unwrap(Effect.map(HttpClient.get(`${base}/drip`), (response) => response.stream))
    const reader = yield* Effect.forkChild(
      Effect.exit(Stream.runForEach(body, () => Deferred.succeed(begun, undefined)))
    )
    const waiter = yield* Effect.forkChild(Effect.exit(get("/hang")))
    yield* Deferred.await(begun)
    yield* arrived(before + 1)
    yield* tell(what)
    return [yield* Fiber.join(reader), yield* Fiber.join(waiter)]
  })
const assertEnded = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) => {
  for (const exit of exits) {
    if (Exit.isSuccess(exit)) return assert.fail("succeeded")
    const error = Cause.squash(exit.cause) as { readonly _tag: string }
    assert.strictEqual(error._tag, "HttpClientError")
    assert.include(inspect(error, { depth: 9 }), "I/O thread")
  }
}
const boundMs = 60_000
const inTime = async <A>(run: () => A | Promise<A>): Promise<A> => {
  const begun = performance.now()
  const value = await run()
  assert.isBelow(performance.now() - begun, boundMs)
  return value
}

/** Those that take a while, mostly without doing anything: each has a process of its own. */
export const slow: Cases = {
  "a thread of another copy of this package is waited for as well": async () => {
    const hooks = registerHooks({
      resolve: (specifier, context, next) => {
        const found = next(specifier, context)
        const ours = context.parentURL?.endsWith("?copy") === true && !found.url.includes("/node_modules/")
        return ours && found.url.startsWith("file:") ? { ...found, url: `${found.url}?copy` } : found
      }
    })
    const main = new URL("../../../src/index.ts?copy", import.meta.url).href
    const copy = (await import(main)) as typeof import("troupe")
    hooks.deregister()
    assert.notStrictEqual<unknown>(copy.SyncEdge, SyncEdge)
    const module = new URL("../../support/modules/tools.ts", import.meta.url)
    const tool = copy.WorkerTool.fromModule(module, { name: "strange", export: "strange", description: "A tool" })
    const agent = Agent.make("agent", { tools: [tool] })
    const run = agent.run("Go").pipe(Effect.provide(TestModel.layer([TestModel.toolCall("strange", {}), "done"])))
    const both = Effect.all([run, get("/ok/300"), Effect.sleep(5)], { concurrency: "unbounded" })
    assert.deepStrictEqual(Effect.runSync(on(both)), ["done", "ok300", undefined])
    assert.strictEqual(Effect.runSync(run.pipe(Effect.provide(SyncEdge.layer))), "done")
  },

  "a thread that hangs fails the requests under way": async () => {
    assertEnded(await inTime(() => Effect.runSync(on(underWay("block")))))
    assert.strictEqual(Effect.runSync(on(get("/ok/1"))), "ok1")
  },

  "a thread that hangs is noticed while timers keep coming": async () => {
    const ticking = Effect.race(underWay("block"), Effect.repeat(Effect.void, Schedule.spaced("50 millis")))
    assertEnded((await inTime(() => Effect.runSync(on(ticking)))) as ReadonlyArray<Exit.Exit<unknown, unknown>>)
  },

  "a thread that hangs is noticed under runPromise, and after the run": async () => {
    assertEnded(await inTime(() => Effect.runPromise(Http(underWay("block")))))
    assert.strictEqual(await Effect.runPromise(Http(get("/ok/1"))), "ok1")
  },

  "an unused thread that hangs is not given the next request": async () => {
    Effect.runSync(on(get("/ok/1")))
    IoWorker.peek()!.tell("block")
    await new Promise((resolve) => setTimeout(resolve, 6000))
    Effect.runSync(on(Effect.void))
    const hung = IoWorker.peek()
    assert.strictEqual(Effect.runSync(on(get("/ok/1"))), "ok1")
    assert.notStrictEqual(IoWorker.peek(), hung)
  }
}

export const cases: Cases = {
  ...slow,

  "a thread that crashes fails the requests under way, however often": () => {
    for (const _ of [1, 2, 3]) {
      assertEnded(Effect.runSync(on(underWay("crash"))))
      assert.strictEqual(Effect.runSync(on(get("/ok/1"))), "ok1")
    }
  },

  "a thread that crashes is noticed under runPromise": async () => {
    assertEnded(await Effect.runPromise(Http(underWay("crash"))))
    assert.strictEqual(await Effect.runPromise(Http(get("/ok/1"))), "ok1")
  },

  "no error shows a header's value, nor the password of an address": async () => {
    const secret = "sk-very-secret"
    const values = [`${secret}\n`, `a\n${secret}`, `${secret}\u0000`, `${secret}ключ`, `Bearer ${secret}\r\nX: y`]
    const said: Array<string> = []
    const keep = (exit: Exit.Exit<unknown, unknown>) => {
      if (Exit.isSuccess(exit)) return
      const error = Cause.squash(exit.cause)
      said.push(inspect(exit, { depth: 12 }), Cause.pretty(exit.cause), inspect(error, { depth: 12 }))
      said.push(JSON.stringify(error), String(error), String((error as Error).stack))
    }
    for (const value of values) {
      const header = HttpClient.execute(HttpClientRequest.get(`${base}/ok/1`, { headers: { authorization: value } }))
      // The request is part of the error, and `effect/http` redacts this header there.
      keep(Effect.runSyncExit(on(header)))
      const agent = Agent.make("agent", { retry: "none" })
      const model = (edge: Layer.Layer<never>) =>
        OpenAi.layer({ model: "m", baseUrl: `${base}/500/1`, apiKey: Redacted.make(value), retry: "none" }).pipe(
          Layer.provideMerge(edge)
        )
      keep(Effect.runSyncExit(agent.run("go").pipe(Effect.provide(model(SyncEdge.layer)))))
      keep(await Effect.runPromiseExit(agent.run("go").pipe(Effect.provide(model(Layer.empty)))))
    }
    assert.isAbove(said.length, 30)
    const address = `http://user:${secret}@unknown.invalid/`
    const bridge = Effect.runSyncExit(on(HttpClient.get(address)))
    const failure = Exit.findError(bridge)
    assert.isTrue(failure._tag === "Success")
    if (failure._tag === "Success") {
      const cause = failure.success.reason.cause as { readonly message: string }
      assert.notInclude(cause.message, secret)
    }
    for (const text of said) assert.notInclude(text, secret)
  },

  "a request that a fiber leaves open ends with the run, with a typed error": async () => {
    const exits: Array<Exit.Exit<unknown, unknown>> = []
    const program = Effect.gen(function* () {
      const before = Number(yield* get("/count"))
      const left = get("/hang").pipe(
        Effect.exit,
        Effect.tap((exit) => Effect.sync(() => exits.push(exit)))
      )
      yield* Effect.forkDetach(left)
      yield* arrived(before)
    })
    Effect.runSync(on(program))
    await new Promise((resolve) => setImmediate(resolve))
    assert.strictEqual(exits.length, 1)
    const [exit] = exits
    if (exit === undefined || Exit.isSuccess(exit)) return assert.fail("succeeded")
    assert.strictEqual((Cause.squash(exit.cause) as { readonly _tag: string })._tag, "HttpClientError")
    assert.strictEqual(IoWorker.peek()!.pending, 0)
  },

  "nothing is left open by requests that are answered, fail, or are interrupted": () => {
    const program = Effect.gen(function* () {
      for (const path of ["/ok/1", "/500/1", "/big/100000", "/reset"]) yield* Effect.exit(get(path))
      yield* Effect.timeoutOption(get("/hang"), "10 millis")
      yield* HttpClient.get("http://127.0.0.1:1/").pipe(Effect.exit)
      const body = Stream.unwrap(Effect.map(HttpClient.get(`${base}/drip`), (response) => response.stream))
      yield* Stream.runDrain(Stream.take(body, 2))
    })
    Effect.runSync(on(program))
    assert.strictEqual(IoWorker.peek()!.pending, 0)
    assert.strictEqual(IoWorker.userCount(), 0)
  }
}
