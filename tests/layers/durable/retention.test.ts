/** Retention, retries, answers by the program itself, and what the command line says of runs. */
import { statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import { vi } from "vitest"
import * as Command from "../../../src/cli/runs.ts"
import { checkGrammar } from "../../support/grammar.ts"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const inFile = Layer.unwrap(Effect.map(temporaryFile, engine))
const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
const echoes = Durable.make(echo, { name: "echoes", version: "1", key: (text) => text })
const waits = Runner.make("waits", {
  run: (text: string) => Effect.map(Effect.orDie(Step.signal("go", Schema.String)), (went) => `${text} ${went}`)
})
const waiting = Durable.make(waits, { name: "waiting", version: "1", key: (text) => text })
const suspended = (self: Durable.Named, key: string) =>
  eventually(Effect.map(Durable.status(self, key), (status) => status === "suspended"))

/** What is kept of runs, by the engine too. */
const rowsIn = (file: string): number => {
  const database = new DatabaseSync(file)
  try {
    const kept = ["runs", "steps", "events", "signals", "wakes", "cluster_messages", "cluster_replies"]
    const counted = kept.map((name) => database.prepare(`SELECT COUNT(*) AS n FROM troupe_${name}`).get()!["n"])
    return counted.reduce((sum: number, n) => sum + Number(n), 0)
  } finally {
    database.close()
  }
}

it.live("runs that have ended are removed by age, and their room is used again", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const round = (name: string) =>
      Effect.gen(function* () {
        yield* Effect.forEach(
          Array.from({ length: 30 }, (_, index) => `${name} ${index} ${"x".repeat(500)}`),
          (text) => echoes.run(text),
          { concurrency: 10, discard: true }
        )
        yield* Effect.sleep(20)
        const removed = yield* Durable.prune("10 millis")
        expect(removed).toBe(30)
        expect(yield* Durable.list()).toEqual([])
        expect(rowsIn(file)).toBe(0)
        return statSync(file).size + statSync(`${file}-wal`).size
      })
    yield* Effect.gen(function* () {
      const first = yield* round("a")
      const second = yield* round("b")
      expect(second).toBeLessThan(first * 1.5)
      const unknown = yield* Effect.flip(Durable.find(echoes, "a 0"))
      expect(unknown).toMatchObject({ reason: "unknown-run" })
    }).pipe(Effect.provide(engine(file)))
  })
)

it.live("the engine removes by itself what is older than it keeps", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    yield* Effect.gen(function* () {
      yield* Durable.submit(echoes, "x")
      yield* eventually(Effect.map(Durable.list({ name: "echoes" }), (runs) => runs.length === 0))
    }).pipe(Effect.provide(Durable.worker(echoes)), Effect.provide(engine(file, { keep: "50 millis" })))
  })
)

it.live("a run that failed is tried again: what it has done is kept, and what failed is made again", () =>
  Effect.gen(function* () {
    const log: Array<string> = []
    let isDown = true
    const runner = Runner.make("flaky", {
      run: (text: string) =>
        Effect.gen(function* () {
          yield* Step.run(
            "first",
            Schema.Int,
            Effect.sync(() => log.push("first"))
          )
          const call = Effect.suspend(() => {
            log.push("second")
            return isDown ? Effect.fail("down") : Effect.succeed("up")
          })
          return `${text} ${yield* Step.run("second", { success: Schema.String, error: Schema.String }, call)}`
        })
    })
    const flaky = Durable.make(runner, { name: "flaky", version: "1", key: (text) => text })
    expect(yield* Effect.flip(flaky.run("x"))).toBe("down")
    isDown = false
    yield* Durable.retry(flaky, "x")
    expect(yield* flaky.run("x")).toBe("x up")
    expect(log).toEqual(["first", "second", "second"])
    const events = yield* Stream.runCollect(Durable.events(flaky, "x"))
    expect(events.map(({ _tag }) => _tag)).toEqual(["RunStarted", "RunFailed", "RunCompleted"])
    expect(yield* Effect.flip(Durable.retry(flaky, "x"))).toMatchObject({ _tag: "DurableError" })
  }).pipe(Effect.provide(inFile))
)

it.live("onUnknown answers a step whose outcome is not known", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    let calls = 0
    const runner = Runner.make("pay", {
      run: (text: string) =>
        Effect.map(
          Step.run(
            "charge",
            Schema.String,
            Effect.suspend(() => (++calls === 1 ? Effect.never : Effect.succeed("again")))
          ),
          (paid) => `${text} ${paid}`
        )
    })
    const asked: Array<string> = []
    const pay = Durable.make(runner, {
      name: "pay",
      version: "1",
      key: (text) => text,
      onUnknown: (question) =>
        Effect.sync(() => {
          asked.push(`${question.key} ${question.name}`)
          return Durable.happened("found out")
        })
    })
    const killed = Layer.build(Durable.worker(pay)).pipe(
      Effect.andThen(Durable.submit(pay, "x")),
      Effect.andThen(eventually(Effect.sync(() => calls === 1))),
      Effect.andThen(Effect.sleep(50)),
      Effect.scoped,
      Effect.provide(engine(file, { drain: 0 }))
    )
    yield* killed
    expect(yield* pay.run("x").pipe(Effect.provide(engine(file)))).toBe("x found out")
    expect([calls, asked]).toEqual([1, ["x charge"]])
  })
)

it.live("a run that is interrupted while it waits has its last event, for each run in it", () =>
  Effect.gen(function* () {
    const outer = Runner.make("outer", { run: (text: string) => waits.run(text) })
    const outers = Durable.make(outer, { name: "outers", version: "1", key: (text) => text })
    yield* Effect.gen(function* () {
      yield* Durable.submit(outers, "x")
      yield* suspended(outers, "x")
      yield* Durable.interrupt(outers, "x")
      const events = yield* Stream.runCollect(Durable.events(outers, "x"))
      checkGrammar(events)
      expect(events.map(({ _tag, path }) => `${_tag} ${path.join("/")}`)).toEqual([
        "RunStarted outers",
        "RunStarted outers/waits",
        "RunInterrupted outers/waits",
        "RunInterrupted outers"
      ])
    }).pipe(Effect.provide(Durable.worker(outers)))
    yield* Durable.submit(outers, "never begun")
    yield* Durable.interrupt(outers, "never begun")
    const events = yield* Stream.runCollect(Durable.events(outers, "never begun"))
    expect(events.map(({ _tag }) => _tag)).toEqual(["RunStarted", "RunInterrupted"])
  }).pipe(Effect.provide(inFile))
)

it.live("two runs of one name at once in a function are refused, with both places", () =>
  Effect.gen(function* () {
    const slow = Runner.make("slow", { run: (text: string) => Effect.delay(Effect.succeed(text), 20) })
    const runner = Runner.make("both", {
      run: (text: string) =>
        Effect.map(Effect.all([slow.run(text), slow.run(text)], { concurrency: 2 }), (all) => all.join())
    })
    const both = Durable.make(runner, { name: "both", version: "1", key: (text) => text })
    const exit = yield* Effect.exit(both.run("x"))
    const said = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
    expect(said).toContain("Runner.named")
    expect(said).toMatch(/run_\w+\/slow, run_\w+\/slow#2|run_\w+\/slow and run_\w+\/slow#2/)
  }).pipe(Effect.provide(inFile))
)

it.live("a run under a key of which an earlier run was removed gives its tools keys of its own", () =>
  Effect.gen(function* () {
    const keys: Array<string> = []
    const charge = AgentTool.fromFunction("charge", {
      description: "Charges",
      execute: (_params, { idempotencyKey }) => {
        keys.push(idempotencyKey)
        return "charged"
      }
    })
    const desk = Agent.make("desk", { tools: [charge] })
    const orders = Durable.make(desk, { name: "orders", version: "1", key: String })
    yield* Effect.gen(function* () {
      yield* orders.run("a")
      const before = yield* Durable.find(orders, "a")
      yield* eventually(Effect.map(Durable.prune(0), (removed) => removed === 1))
      yield* orders.run("a")
      expect((yield* Durable.find(orders, "a")).id).not.toBe(before.id)
      expect(new Set(keys).size).toBe(2)
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("charge", {}), "done", TestModel.toolCall("charge", {}), "done"])
      ),
      Effect.provide(inFile)
    )
  })
)

it.live("the command line lists, shows, answers, cancels and retries runs", () =>
  Effect.gen(function* () {
    const database = Option.some(yield* temporaryFile)
    const none = Option.none<string>()
    const said: Array<string> = []
    const stdout = vi.spyOn(process.stdout, "write").mockImplementation(((text: string, done: () => void) => {
      said.push(text)
      done()
      return true
    }) as never)
    yield* Effect.addFinalizer(() => Effect.sync(() => stdout.mockRestore()))
    const texts = () => said.splice(0).join("")
    const one = { database, name: "waiting", key: "a" }
    const answer = { happened: none, notHappened: false, giveUp: false, approve: false, deny: none, signal: none }
    yield* Effect.gen(function* () {
      yield* Effect.forEach(["a", "b"], (key) => Durable.submit(waiting, key))
      yield* suspended(waiting, "a")
      yield* suspended(waiting, "b")
      yield* Command.list({ database, name: none, status: Option.some("suspended" as const), limit: 50, json: false })
      expect(texts()).toMatch(/suspended +waiting +[ab]\n.*suspended +waiting +[ab]\n/)
      yield* Command.show({ ...one, json: false })
      expect(texts()).toContain("waits for  signal  go  go")
      const twice = yield* Effect.flip(Command.answer({ ...one, ...answer, id: "go", approve: true, giveUp: true }))
      expect(String(twice)).toContain("give one answer")
      yield* Command.answer({ ...one, ...answer, id: "go", signal: Option.some('"went"') })
      expect(yield* Durable.result(waiting, "a")).toBe("a went")
      yield* Command.show({ ...one, json: true })
      expect(JSON.parse(texts())).toMatchObject({ state: "completed", ended: { _tag: "Output", output: "a went" } })
      yield* Command.cancel({ ...one, key: "b" })
      expect(yield* Durable.status(waiting, "b")).toBe("interrupted")
      yield* Command.retry({ ...one, key: "b" })
      yield* suspended(waiting, "b")
      yield* Command.answer({ ...one, ...answer, key: "b", id: "go", signal: Option.some('"late"') })
      expect(yield* Durable.result(waiting, "b")).toBe("b late")
    }).pipe(Effect.provide(Durable.worker(waiting)), Effect.provide(engine(Option.getOrThrow(database))))
  })
)
