/** PostgreSQL is stopped and started again while runs are under way, wait and sleep: each ends once, with each tool called once. */
import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Approvals from "troupe/Approvals"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import { DurableError } from "troupe/RunError"
import * as RunEvent from "troupe/RunEvent"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import { eventually } from "../../support/durable.ts"
import { checkGrammar } from "../../support/grammar.ts"
import { postgres } from "../../support/postgres.ts"

const server = postgres()
const keys = (kind: string, count: number) => Array.from({ length: count }, (_, index) => `${kind} ${index}`)

/** A tool that takes a while, and notes the runs that have called it. */
const noting = (name: string, calls: Array<string>, options: { readonly needsApproval?: boolean } = {}) =>
  AgentTool.fromFunction(name, {
    description: "Notes",
    ...options,
    execute: () =>
      Effect.gen(function* () {
        const { rootId } = yield* Effect.fromOption(yield* Runner.current)
        calls.push(`${name} ${rootId}`)
        yield* Effect.sleep(150)
        return "noted"
      }).pipe(Effect.orDie)
  })

/** Calls each of its tools once, one after the other. */
const Model = TestModel.layer(({ prompt, tools }) => {
  const made = prompt.content.filter(({ role }) => role === "tool").length
  const next = tools[made]
  return next === undefined ? "done" : { toolCalls: [{ id: `call ${made}`, name: next, params: {} }] }
})

/** The engine of the test is cut off too, and says so. */
const insisting = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, {
    while: (error) => error instanceof DurableError && error.reason === "engine",
    schedule: Schedule.spaced("200 millis")
  })

it.live.each([
  ["is stopped", "stop"],
  ["crashes", "kill"]
] as const)(
  "every run ends once with every tool called once where the server %s and starts again",
  ([, end]) =>
    Effect.gen(function* () {
      const url = yield* Effect.promise(() => server.urlOf(`restart_${end}`))
      const calls: Array<string> = []
      const [first, second, third] = ["a", "b", "c"].map((name) => noting(name, calls))
      const worker = Agent.make("worker", { tools: [first!, second!, third!] })
      const sleeping = Runner.make("sleeping", {
        run: (text: string) => Effect.as(Step.sleep("a while", "3 seconds"), text)
      })
      const signalled = Runner.make("signalled", {
        run: (text: string) => Effect.as(Effect.orDie(Step.signal("go", Schema.String)), text)
      })
      const careful = Agent.make("careful", { tools: [noting("pay", calls, { needsApproval: true })] })
      const working = Durable.make(worker, { name: "working", version: "1", key: String })
      const asleep = Durable.make(Chain.make("asleep", [sleeping, worker]), {
        name: "asleep",
        version: "1",
        key: String
      })
      const signalling = Durable.make(Chain.make("signalling", [signalled, worker]), {
        name: "signalling",
        version: "1",
        key: String
      })
      const asked = Durable.make(careful, { name: "asked", version: "1", key: String })
      const all = [
        [working, keys("work", 12)],
        [asleep, keys("sleep", 6)],
        [signalling, keys("signal", 6)],
        [asked, keys("approval", 6)]
      ] as const
      yield* Effect.gen(function* () {
        for (const [runs, inputs] of all)
          yield* Effect.forEach(inputs, (input) => Durable.submit(runs as typeof working, input))
        for (const [runs, inputs] of all.slice(1)) {
          for (const key of inputs)
            yield* eventually(Effect.map(Durable.status(runs, key), (status) => status === "suspended"))
        }
        yield* Effect.promise(() => server[end]())
        const answers = Effect.gen(function* () {
          for (const key of all[2][1]) yield* insisting(Durable.signal(signalling, key, "go", "went"))
          for (const key of all[3][1]) {
            const [wait] = yield* insisting(Durable.pending(asked, key))
            yield* insisting(Durable.decide(asked, key, wait!.id, Approvals.approve))
          }
        })
        const answering = yield* Effect.forkChild(answers)
        yield* Effect.promise(server.restart)
        yield* Fiber.join(answering)
        for (const [runs, inputs] of all) {
          for (const key of inputs) {
            expect(yield* insisting(Durable.result(runs as typeof working, key)), key).toBe("done")
            const events = yield* insisting(Stream.runCollect(Durable.events(runs, key)))
            expect(
              events.map(({ seq }) => seq),
              key
            ).toEqual(events.map((_, index) => index))
            expect(events.filter((event) => event.path.length === 1 && RunEvent.isTerminal(event)).length, key).toBe(1)
            checkGrammar(events)
          }
        }
      }).pipe(
        Effect.provide(Durable.worker(working, asleep, signalling, asked)),
        Effect.provide(Durable.layerPostgres({ url })),
        Effect.provide(Model)
      )
      expect(new Set(calls).size).toBe(calls.length)
      expect(calls.length).toBe(24 * 3 + 6)
    }),
  120_000
)
