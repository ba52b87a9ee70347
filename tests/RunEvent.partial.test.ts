/** Typed output as it streams. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import { Agent, Chain, RunEvent, Runner, SyncEdge, TestModel } from "troupe"
import { cpuTime } from "./support/cpuTime.ts"

const Section = Schema.Struct({ title: Schema.String, pages: Schema.Int })
const Report = Schema.Struct({
  kind: Schema.Literals(["short", "long"]),
  due: Schema.DateFromString,
  sections: Schema.Array(Section)
})
const report = {
  kind: "long" as const,
  due: "2026-01-02T00:00:00.000Z",
  sections: [
    { title: "One", pages: 10 },
    { title: "Two", pages: 20 }
  ]
}
const reporter = Agent.make("reporter", { output: Report, retry: "none" })
const streamed = (value: unknown, chunk = 1): TestModel.Turn => ({ text: JSON.stringify(value), chunk })
const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) => Effect.map(Stream.runCollect(stream), (all) => [...all])
/** The values that differ from the one before, as JSON. */
const changes = (values: ReadonlyArray<unknown>) =>
  values.map((value) => JSON.stringify(value)).filter((json, index, all) => json !== all[index - 1])

describe("a typed output as it streams", () => {
  it.effect("has what has come, and nothing that does not fit", () =>
    Effect.gen(function* () {
      const values = yield* collect(RunEvent.partial(reporter.stream("go"), Report))
      const seen = changes(values)
      assert.deepStrictEqual(seen.slice(0, 3), ["{}", '{"kind":"long"}', '{"kind":"long","due":""}'])
      assert.include(seen, '{"kind":"long","due":"2026-01-02T00:00:00.000Z","sections":[{"title":"On"}]}')
      assert.include(
        seen,
        '{"kind":"long","due":"2026-01-02T00:00:00.000Z","sections":[{"title":"One","pages":10},{"title":"T"}]}'
      )
      // A number is there when it is whole.
      assert.isFalse(seen.some((json) => json.includes('"pages":1}')))
      assert.deepStrictEqual(values.at(-1), report)
      const first = values[0]!
      const title: string | undefined = first.sections?.[0]?.title
      assert.strictEqual(title, undefined)
    }).pipe(Effect.provide(TestModel.layer([streamed(report)])))
  )

  it.effect("reads an answer that is not an object, in a union, and in a recursive shape", () =>
    Effect.gen(function* () {
      interface Tree {
        readonly name: string
        readonly children: ReadonlyArray<Tree>
      }
      const Tree: Schema.Codec<Tree> = Schema.Struct({
        name: Schema.String,
        children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
      })
      const Shape = Schema.Union([
        Schema.Struct({ type: Schema.Literal("dot"), at: Schema.Int }),
        Schema.Struct({ type: Schema.Literal("tree"), tree: Tree })
      ])
      const list = Agent.make("list", { output: Schema.Array(Shape) })
      const shapes = [
        { type: "dot" as const, at: 1 },
        { type: "tree" as const, tree: { name: "a", children: [{ name: "b", children: [] }] } }
      ]
      const values = yield* collect(RunEvent.partial(list.stream("go"), Schema.Array(Shape)))
      const seen = changes(values)
      assert.include(seen, '[{"type":"dot","at":1},{"type":"tree","tree":{"name":"a","children":[{"name":"b"}]}}]')
      assert.deepStrictEqual(values.at(-1), shapes)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          streamed({
            value: [
              { type: "dot", at: 1 },
              { type: "tree", tree: { name: "a", children: [{ name: "b", children: [] }] } }
            ]
          })
        ])
      )
    )
  )

  it.effect("begins again with a new attempt, and with a corrected answer", () =>
    Effect.gen(function* () {
      const values = yield* collect(RunEvent.partial(Runner.withRetry(reporter, { times: 1 }).stream("go"), Report))
      const seen = changes(values)
      assert.isAbove(seen.lastIndexOf("{}"), 0)
      assert.deepStrictEqual(values.at(-1), report)
      assert.isFalse(seen.some((json) => json.includes("other")))
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: '{"kind":"short","due":"', chunk: 1, after: 23, fail: new AiError.QuotaExhaustedError({}) },
          streamed({ kind: "other" }),
          streamed(report)
        ])
      )
    )
  )

  it.effect("is the whole output of a run that does not stream it", () =>
    Effect.gen(function* () {
      const chain = Chain.make("chain", [reporter])
      const values = yield* collect(RunEvent.partial(chain.stream("go"), Report))
      assert.deepStrictEqual(values, [report])
    }).pipe(Effect.provide(TestModel.layer([streamed(report)])))
  )

  it.effect("fails as the run does", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(collect(RunEvent.partial(reporter.stream("go"), Report)))
      assert.strictEqual(error._tag, "ModelError")
    }).pipe(Effect.provide(TestModel.layer([{ fail: new AiError.QuotaExhaustedError({}) }])))
  )

  it("does the same on the sync edge", () => {
    const program = collect(RunEvent.elements(reporter.stream("go"), Section)).pipe(
      Effect.provide(TestModel.layer([streamed(report)]))
    )
    assert.deepStrictEqual(Effect.runSync(Effect.provide(program, SyncEdge.layer)), report.sections)
  })
})

describe("the elements of a list as it streams", () => {
  it.effect("come when they are whole, decoded, before the run has ended", () =>
    Effect.gen(function* () {
      const first = yield* collect(Stream.take(RunEvent.elements(reporter.stream("go"), Section), 1))
      assert.deepStrictEqual(first, [report.sections[0]!])
      const dates = Agent.make("dates", { output: Schema.Array(Schema.DateFromString) })
      const decoded = yield* collect(RunEvent.elements(dates.stream("go"), Schema.DateFromString))
      assert.deepStrictEqual(decoded, [new Date(report.due)])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          // Up to the second section, and no further.
          { ...streamed(report), after: JSON.stringify(report).indexOf("Two"), hang: true },
          streamed({ value: [report.due] })
        ])
      )
    )
  )

  it.effect("leave out an item that does not fit, and begin again with the corrected answer", () =>
    Effect.gen(function* () {
      const titles = yield* collect(Stream.map(RunEvent.elements(reporter.stream("go"), Section), ({ title }) => title))
      assert.deepStrictEqual(titles, ["One", "One", "Two"])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          streamed({ ...report, sections: [report.sections[0], { title: "Two", pages: "many" }] }),
          streamed(report)
        ])
      )
    )
  )

  it.effect("come at the end from a run that does not stream them", () =>
    Effect.gen(function* () {
      const chain = Chain.make("chain", [reporter])
      assert.deepStrictEqual(yield* collect(RunEvent.elements(chain.stream("go"), Section)), report.sections)
    }).pipe(Effect.provide(TestModel.layer([streamed(report)])))
  )
})

describe("reading output as it streams", () => {
  const deltas = (items: number): ReadonlyArray<RunEvent.RunEvent> => {
    const text = JSON.stringify({ ...report, sections: Array.from({ length: items }, () => report.sections[0]) })
    const event = (fields: object) => ({ v: 1, seq: 0, runId: "r", path: ["r"], at: 0, step: 1, ...fields })
    const pieces = text.match(/[^]{1,4}/g) ?? []
    return [event({ _tag: "StepStarted" }), ...pieces.map((delta) => event({ _tag: "TextDelta", delta }))] as never
  }
  const millis = (events: ReadonlyArray<RunEvent.RunEvent>): number => {
    const times = [0, 1, 2].map(() => {
      const start = cpuTime()
      Effect.runSync(Stream.runDrain(RunEvent.partial(Stream.fromIterable(events), Report)))
      Effect.runSync(Stream.runDrain(RunEvent.elements(Stream.fromIterable(events), Section)))
      return cpuTime() - start
    })
    return Math.min(...times)
  }

  it("takes time in proportion to the text", { timeout: 60_000 }, () => {
    const [small, large] = [deltas(1_000), deltas(16_000)]
    millis(small)
    const ratio = millis(large) / millis(small)
    // By the square it would be 256.
    assert.isBelow(ratio, 64)
  })
})
