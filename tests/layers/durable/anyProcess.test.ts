/** What one process executes, others see, follow and interrupt, without its runner and without a worker. */
import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

it.live(
  "a run is polled, followed from the beginning or from now, and interrupted, from a process without its runner",
  () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      let isInterrupted = false
      const inner = Runner.make("inner", { run: (text: string) => Effect.succeed(text) })
      const runner = Runner.make("outer", {
        run: (text: string) =>
          Effect.gen(function* () {
            yield* inner.run(text)
            yield* Effect.orDie(Step.signal("go", Schema.Null))
            yield* Runner.named(inner, "second").run(text)
            yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => (isInterrupted = true)))
            return text
          })
      })
      const outers = Durable.make(runner, { name: "outers", version: "1", key: (text) => text })
      const named = Durable.byName("outers")
      // Each has an engine of its own on the file.
      yield* Layer.build(Durable.worker(outers).pipe(Layer.provide(Layer.fresh(engine(file)))))
      yield* Effect.gen(function* () {
        expect(yield* Durable.status(named, "a")).toBe("unknown")
        yield* Durable.submit(outers, "a")
        yield* eventually(Effect.map(Durable.status(named, "a"), (status) => status === "suspended"))
        const tagsOf = (options?: { readonly from: "now" }) =>
          Effect.map(Stream.runCollect(Durable.events(named, "a", options)), (events) =>
            events.map(({ _tag, path }) => `${_tag} ${path.join("/")}`)
          )
        const fromNow = yield* Effect.forkChild(tagsOf({ from: "now" }), { startImmediately: true })
        yield* Effect.sleep(50)
        yield* Durable.signal(named, "a", "go", null)
        const isThere = Effect.map(Durable.status(named, "a"), (status) => status === "running")
        yield* eventually(isThere)
        yield* eventually(
          Effect.map(Stream.runCollect(Stream.take(Durable.events(named, "a"), 5)), (events) => events.length === 5)
        )
        yield* Durable.interrupt(named, "a")
        expect(yield* Durable.status(named, "a")).toBe("interrupted")
        const late = ["RunStarted outer/second", "RunCompleted outer/second", "RunInterrupted outer"]
        const early = ["RunStarted outer", "RunStarted outer/inner", "RunCompleted outer/inner"]
        const rename = (texts: ReadonlyArray<string>) => texts.map((text) => text.replace("outer", "outers"))
        // Now is when the reader asked, which may have been a moment later.
        const seen = yield* Fiber.join(fromNow)
        expect(seen).toEqual(rename(late.slice(-seen.length)))
        expect(yield* tagsOf()).toEqual(rename([...early, ...late]))
        expect(Exit.hasInterrupts(yield* Effect.exit(Durable.result(outers, "a")))).toBe(true)
        yield* eventually(Effect.sync(() => isInterrupted))
      }).pipe(Effect.provide(Layer.fresh(engine(file))))
    }).pipe(Effect.scoped)
)
