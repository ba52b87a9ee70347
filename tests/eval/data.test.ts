/** Data sets of files and of traces. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import * as fs from "node:fs"
import * as path from "node:path"
import { Agent, Eval, TestModel, TraceStore } from "troupe"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const folder = temporaryFolder()
const write = (name: string, text: string): string => {
  const file = path.join(folder(), name)
  fs.writeFileSync(file, text)
  return file
}
const collect = <A, E>(cases: Stream.Stream<A, E, NodeServices.NodeServices>) =>
  Effect.provide(Stream.runCollect(cases), NodeServices.layer)

describe("a file of cases", () => {
  it.effect("has a case a line, or one list", () =>
    Effect.gen(function* () {
      const lines = write(
        "a.ndjson",
        '{"input":"a","expected":["b"]}\r\n\n{"input":"ü","name":"two","metadata":{"x":1}}\n'
      )
      assert.deepStrictEqual(yield* collect(Eval.fromFile(lines)), [
        { input: "a", expected: ["b"] },
        { input: "ü", name: "two", metadata: { x: 1 } }
      ])
      const list = write("b.json", '[{"input":{"at":"2026-01-01T00:00:00.000Z"}}]')
      const input = Schema.Struct({ at: Schema.DateFromString })
      const [one] = yield* collect(Eval.fromFile(list, { input }))
      assert.strictEqual(one!.input.at.getUTCFullYear(), 2026)
    })
  )

  it.effect("says the file, the line and what is wrong", () =>
    Effect.gen(function* () {
      const messageOf = (file: string) =>
        Effect.map(Effect.flip(collect(Eval.fromFile(file))), ({ message }) => message)
      assert.match(
        yield* messageOf(write("c.ndjson", '{"input":"a"}\n{"inptu":"b"}\n')),
        /c\.ndjson:2: .*Missing key[\s\S]*input/
      )
      assert.match(yield* messageOf(write("d.ndjson", '{"input":"a"}\n{"input"\n')), /d\.ndjson:2: it is not JSON/)
      assert.match(yield* messageOf(write("e.json", "{}")), /e\.json: it is not a list of cases/)
      assert.match(yield* messageOf(path.join(folder(), "f.ndjson")), /f\.ndjson: there is no such file/)
    })
  )
})

describe("cases of traces", () => {
  it.effect("have what began a conversation, and what was answered", () =>
    Effect.gen(function* () {
      const clerk = Agent.make("clerk", { instructions: "Answer." })
      const recorded = Effect.gen(function* () {
        yield* clerk.run("one")
        const { transcript } = yield* clerk.result("two")
        yield* clerk.run([...transcript.content, { role: "user", content: "three" }])
        yield* Effect.flip(clerk.run("four"))
      })
      yield* Effect.provide(recorded, [
        TraceStore.record,
        TestModel.layer(["1", "2", "3", { fail: new AiError.InvalidRequestError({ description: "no" }) }])
      ])
      const all = yield* Stream.runCollect(Eval.fromTraces({ runner: "clerk" }))
      assert.deepStrictEqual(all.map(({ expected, input }) => [input, expected]).toSorted(), [
        ["four", undefined],
        ["one", "1"],
        ["two", "2"],
        ["two", "3"]
      ])
      const report = yield* Eval.run(
        Eval.make("again", clerk, {
          data: Eval.fromTraces({ runner: "clerk", status: "completed" }),
          scorers: [Eval.exact],
          concurrency: 1
        })
      ).pipe(
        Effect.provide(TestModel.layer((call) => (JSON.stringify(call.prompt.content).includes("one") ? "1" : "other")))
      )
      assert.closeTo(report.runners[0]!.scorers[0]!.mean!, 1 / 3, 1e-9)
    }).pipe(Effect.provide(Layer.mergeAll(TraceStore.layerMemory)))
  )
})
