import { Effect, Layer, Stream, Schedule, Exit, Cause, ManagedRuntime, Deferred, Queue, Fiber } from "effect"
import { HttpClient } from "effect/http"
import * as SyncEdge from "../src/layers/SyncEdge.ts"
const url = "http://127.0.0.1:8123"
const get = (p: string) => HttpClient.get(url + p).pipe(Effect.flatMap((r) => r.text))
const Live = SyncEdge.layerHttpClient
const t = (name: string, f: () => any) => { const s = performance.now(); let out; try { out = f() } catch (e) { out = "THREW " + String(e).slice(0, 300) } console.log(name, JSON.stringify(out), (performance.now() - s) | 0, "ms") }
const run = <A, E>(e: Effect.Effect<A, E, HttpClient.HttpClient>) => Effect.runSync(e.pipe(Effect.provide(Live), Effect.provide(SyncEdge.layer)))
const runExit = <A, E>(e: Effect.Effect<A, E, HttpClient.HttpClient>) => { const x = Effect.runSyncExit(e.pipe(Effect.provide(Live), Effect.provide(SyncEdge.layer))); return Exit.isSuccess(x) ? x.value : Cause.pretty(x.cause).split("\n")[0]!.slice(0, 300) }
t("one", () => run(get("/ok/50")))
t("three", () => run(Effect.all([get("/ok/300"), get("/ok/200"), get("/ok/300")], { concurrency: "unbounded" })))
t("merged", () => Effect.runSync(Effect.all([get("/ok/100"), get("/ok/50")], { concurrency: "unbounded" }).pipe(Effect.provide(Layer.mergeAll(Live, SyncEdge.layer)))))
t("sleep", () => run(Effect.sleep("100 millis")))
t("timeout", () => runExit(get("/ok/2000").pipe(Effect.timeout("150 millis"))))
t("failfast", () => runExit(Effect.all([get("/ok/2000"), Effect.sleep("50 millis").pipe(Effect.andThen(Effect.fail("boom")))], { concurrency: 2 })))
t("refused", () => runExit(HttpClient.get("http://127.0.0.1:1/")))
t("stream", () => run(Stream.range(1, 5).pipe(Stream.mapEffect((n) => get(`/ok/${n * 20}`), { concurrency: 5 }), Stream.runCollect)))
t("retry", () => runExit(Effect.fail("x").pipe(Effect.retry({ times: 2, schedule: Schedule.spaced("50 millis") }))))
t("promise", () => runExit(Effect.promise(() => Promise.resolve(1))))
t("never", () => runExit(Effect.never))
t("deferred", () => runExit(Effect.flatMap(Deferred.make<number>(), Deferred.await)))
t("race", () => runExit(Effect.race(Effect.never, Effect.sleep("20 millis").pipe(Effect.as("won")))))
t("nested", () => runExit(Effect.sync(() => run(get("/ok/10")))))
t("nested in gen", () => runExit(Effect.gen(function*() { yield* Effect.sleep("1 millis"); return yield* Effect.sync(() => run(get("/ok/10"))) })))
const rt = ManagedRuntime.make(Live.pipe(Layer.provideMerge(SyncEdge.layer)))
t("managed", () => rt.runSync(Effect.all([get("/ok/100"), get("/ok/50")], { concurrency: "unbounded" })))
t("managed again", () => rt.runSync(Effect.all([get("/ok/100"), get("/ok/50")], { concurrency: "unbounded" })))
t("forkDetach", () => run(Effect.gen(function*() { const f = yield* Effect.forkDetach(get("/ok/20")); return yield* Fiber.join(f) })))
t("finalizer", () => { const log: string[] = []; runExit(Effect.all([get("/ok/2000").pipe(Effect.onInterrupt(() => Effect.sleep("30 millis").pipe(Effect.andThen(Effect.sync(() => log.push("fin")))))), Effect.sleep("20 millis").pipe(Effect.andThen(Effect.fail("boom")))], { concurrency: 2 })); return log })
t("1000", () => { for (let i = 0; i < 1000; i++) run(get("/ok/0")); return 1 })
await Effect.runPromise(Effect.promise(async () => { t("nested async", () => runExit(get("/ok/10"))) }))
await Effect.runPromise(Effect.sync(() => { t("nested sync in fiber", () => runExit(get("/ok/10"))) }))
console.log("async", await Effect.runPromise(get("/ok/20").pipe(Effect.provide(Live), Effect.provide(SyncEdge.layer))))
console.log("managed async", await rt.runPromise(Effect.all([get("/ok/100"), Effect.sleep(50)], { concurrency: "unbounded" })))
