/** Answers that are kept on disk: another process, or the same one after a restart, is given them again. */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Persistence } from "effect/persistence"
import { Agent, AgentTool, Middleware, ResponseCache, RunEvent, Sqlite, TestModel } from "troupe"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const agent = Agent.make("agent", { tools: [look] })

const folder = temporaryFolder()
let files = 0
const file = () => path.join(folder(), `cache${files++}.db`)

/** Everything that a process has of its own: the Layers are built for it, and closed with it. */
const processOn = (filename: string, script: TestModel.Script, options: ResponseCache.Options = {}) => {
  const cache = Middleware.layer(ResponseCache.make(options)).pipe(
    Layer.provide(Persistence.layerSql),
    Layer.provide(Sqlite.layer({ filename }))
  )
  return <A, E, R>(program: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const value = yield* program
      const { calls } = yield* TestModel.TestModel
      return { value, calls: (yield* calls).length }
    }).pipe(Effect.provide(cache), Effect.provide(TestModel.layer(script, { unused: "ignore" })))
}

describe("a response cache in a SQLite file", () => {
  it.live("gives what another process has been answered, with its tool calls, whole and streamed", () =>
    Effect.gen(function* () {
      const filename = file()
      const answers: TestModel.Script = [
        { reasoning: "why", text: "I look.", ...TestModel.toolCall("look", {}, "c1") },
        "done"
      ]
      const first = yield* processOn(filename, answers)(agent.run("go"))
      assert.deepStrictEqual(first, { value: "done", calls: 2 })
      const second = yield* processOn(filename, [])(agent.result("go"))
      assert.deepStrictEqual([second.value.output, second.calls], ["done", 0])
      assert.strictEqual(second.value.usage.inputTokens.total ?? 0, 0)
      const streamed = yield* processOn(filename, [])(Stream.mkString(RunEvent.text(agent.stream("go"))))
      assert.deepStrictEqual(streamed, { value: "I look.done", calls: 0 })
    })
  )

  it.live("forgets in time, and keeps stores apart", () =>
    Effect.gen(function* () {
      const filename = file()
      const short = { ttl: "50 millis" } as const
      yield* processOn(filename, ["one"], short)(agent.run("go"))
      yield* Effect.sleep("80 millis")
      assert.strictEqual((yield* processOn(filename, ["two"], short)(agent.run("go"))).value, "two")
      const other = yield* processOn(filename, ["three"], { storeId: "other" })(agent.run("go"))
      assert.deepStrictEqual(other, { value: "three", calls: 1 })
    })
  )

  it.live("is shared by agents at work at once", () =>
    Effect.gen(function* () {
      const filename = file()
      const run = processOn(filename, (call) => `answer ${call.index}`)
      const asked = Effect.forEach(["a", "b", "a"], (name) => Agent.make(name, {}).run("same"), { concurrency: 3 })
      const { calls, value } = yield* run(Effect.andThen(Agent.make("first", {}).run("same"), asked))
      assert.deepStrictEqual([value, calls], [["answer 0", "answer 0", "answer 0"], 1])
    })
  )
})
