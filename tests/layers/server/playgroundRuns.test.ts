/** The playground's page as data: events become a run with parts in time, bounded, the same in whichever pieces they come. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { Agent, AgentTool, Gather, Parallel, RunEvent, Runner, TestModel } from "troupe"
import {
  type ClientEvent,
  eventIn,
  readEvent
} from "../../../src/layers/server/internal/playground/page/model/events.ts"
import { Replay } from "../../../src/layers/server/internal/playground/page/model/replay.ts"
import { defaultLimits, RunModel } from "../../../src/layers/server/internal/playground/page/model/run.ts"
import { pathKey, rowsOf, type Span } from "../../../src/layers/server/internal/playground/page/model/spans.ts"
import { SseReader } from "../../../src/layers/server/internal/playground/page/model/sse.ts"

const encode = Schema.encodeSync(RunEvent.Client)
const expose = ["arguments", "results", "reasoning", "nested", "errors"] as const

/** The events of a run, as the page gets them. */
const eventsOf = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) => {
  const events: Array<ClientEvent> = []
  const toClient = RunEvent.toClientWith({ expose })
  const observed = Runner.onEvent(runner, (event) =>
    Effect.sync(() => {
      const shown = toClient(event)
      if (shown !== undefined) events.push(encode(shown))
    })
  )
  return Effect.as(Effect.exit(Stream.runDrain(observed.stream(input))), events)
}

const modelOf = (events: ReadonlyArray<ClientEvent>, limits?: RunModel["limits"]): RunModel => {
  const model = new RunModel("root", limits)
  for (const event of events) model.apply(event)
  return model
}

const shown = ({ depth, kind, label, status, text }: Span) =>
  `${"  ".repeat(depth)}${kind} ${kind === "text" || kind === "reasoning" ? JSON.stringify(text) : label}: ${status}`
const rows = (model: RunModel) => rowsOf(model.root!).map(shown)

const usage = (input: number, output: number) => {
  const inputTokens = { uncached: input, total: input, cacheRead: 0, cacheWrite: 0 }
  return { inputTokens, outputTokens: { total: output, text: output, reasoning: 0 } }
}

/** Events with their numbers and times. */
const numbered = (events: ReadonlyArray<Readonly<Record<string, unknown>>>): ReadonlyArray<ClientEvent> =>
  events.flatMap((event, seq) => eventIn({ v: 2, seq, at: 1000 + seq * 10, ...event }) ?? [])

const started = { _tag: "Started", runId: "run_1" }
const completed = { _tag: "Completed", usage: usage(10, 5), steps: 1, durationMs: 50, output: "Hi" }
const nested = (runId: string, ...names: ReadonlyArray<string>) => ({ runId, path: ["root", ...names] })

const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.String }),
  execute: ({ at }) => (at === "hell" ? Effect.fail(new Error("no")) : Effect.succeed(`saw ${at}`))
})

describe("a run of an agent", () => {
  it.effect("has its reasoning, calls with arguments and results, and text, in their order", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf(Agent.make("desk", { tools: [look] }), "Hi")
      const model = modelOf(events)
      assert.deepStrictEqual(rows(model), [
        "run root: completed",
        '  reasoning "I look.": completed',
        "  tool look: completed",
        '  text "It is there.": completed'
      ])
      const [, , tool] = rowsOf(model.root!)
      assert.deepStrictEqual([tool!.params, tool!.result], [{ at: "home" }, "saw home"])
      assert.strictEqual(model.output, "It is there.")
      assert.strictEqual(model.tokens, 30)
      assert.isUndefined(model.cost)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { reasoning: "I look.", ...TestModel.toolCall("look", { at: "home" }) },
          { text: ["It is ", "there."] }
        ])
      )
    )
  )

  it.effect("says how it failed", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf(Agent.make("desk", { maxSteps: 1, tools: [look] }), "Hi")
      const model = modelOf(events)
      assert.strictEqual(model.status, "failed")
      assert.strictEqual(model.error?.tag, "MaxStepsExceeded")
      assert.isString(model.error?.message)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("look", { at: "home" })])))
  )

  it("waits for approval, and is over with the call suspended", () => {
    const call = { toolCallId: "c", tool: "pay" }
    const waitingFor = [{ kind: "approval", id: "a", ...call }]
    const model = modelOf(
      numbered([
        started,
        { _tag: "Tool", ...call, state: "called" },
        { _tag: "Tool", ...call, state: "waiting" },
        { ...completed, _tag: "Suspended", waitingFor }
      ])
    )
    assert.deepStrictEqual(rows(model), ["run root: suspended", "  tool pay: suspended"])
    assert.deepStrictEqual(model.waitingFor, waitingFor as RunModel["waitingFor"])
  })

  it("keeps a call that was denied as denied, also when its failure comes", () => {
    const call = { _tag: "Tool", toolCallId: "c", tool: "pay" }
    const states = ["called", "waiting", "denied", "failed"].map((state) => ({ ...call, state }))
    assert.deepStrictEqual(rows(modelOf(numbered([started, ...states, completed])))[1], "  tool pay: denied")
  })

  it("has the arguments of a call as they come, until they are whole", () => {
    const call = { toolCallId: "c", tool: "pay" }
    const events = numbered([
      started,
      { _tag: "ToolParams", ...call, delta: '{"a' },
      { _tag: "ToolParams", ...call, delta: '":1}' },
      { _tag: "Tool", ...call, state: "called", params: { a: 1 } }
    ])
    assert.strictEqual(rowsOf(modelOf(events.slice(0, 3)).root!)[1]!.text, '{"a":1}')
    const tool = rowsOf(modelOf(events).root!)[1]!
    assert.deepStrictEqual([tool.text, tool.params], ["", { a: 1 }])
  })

  it("takes back what a retry makes void, and nothing before it", () => {
    const events = numbered([
      started,
      { _tag: "Text", delta: "kept " },
      { _tag: "Text", delta: "void" },
      { _tag: "Discarded", discardFrom: 2 },
      { _tag: "Text", delta: "new" },
      { _tag: "Used", step: 1, usage: usage(1, 1) },
      { _tag: "Text", delta: "all void" },
      { _tag: "Discarded", discardFrom: 6 },
      completed
    ])
    assert.deepStrictEqual(rows(modelOf(events)), [
      "run root: completed",
      '  text "kept new": completed',
      '  text "": discarded'
    ])
  })
})

describe("nested runs", () => {
  it.effect("of one path are apart, each with its own text", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf(Gather.map("many", Agent.make("worker", {})), ["a", "b", "c"])
      const model = modelOf(events)
      const runs = rowsOf(model.root!).filter(({ label }) => label === "worker")
      assert.deepStrictEqual(
        runs.map(({ children }) => children.map(({ text }) => text)),
        [["<a>"], ["<b>"], ["<c>"]]
      )
      assert.strictEqual(model.seen.get(pathKey(["worker"]))?.count, 3)
      assert.strictEqual(model.seen.get(pathKey(["worker"]))?.open, 0)
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt }) => {
          const text = JSON.stringify(prompt.content.at(-1)?.content)
          return `<${/"text":"(.)"/.exec(text)?.[1]}>`
        })
      )
    )
  )

  it.effect("stand below the run that began them, branches one after the other", () =>
    Effect.gen(function* () {
      const inner = Parallel.make("inner", { left: Agent.make("l", {}), right: Agent.make("r", {}) })
      const events = yield* eventsOf(Parallel.make("outer", { inner, other: Agent.make("o", {}) }), "Hi")
      const labels = rowsOf(modelOf(events).root!)
        .filter(({ kind }) => kind === "run")
        .map(({ depth, label }) => `${depth} ${label}`)
      assert.deepStrictEqual(labels, ["0 root", "1 inner", "2 left", "2 right", "1 other"])
    }).pipe(Effect.provide(TestModel.layer(() => "Done.")))
  )

  it("are shown where their first events are missing", () => {
    const events = numbered([{ _tag: "Text", delta: "x", ...nested("r/1", "worker") }])
    assert.deepStrictEqual(rows(modelOf(events)), [
      "run root: running",
      "  run worker: running",
      '    text "x": running'
    ])
  })

  it("end with a run that is lost", () => {
    const model = modelOf(numbered([started, { ...started, ...nested("r/1", "worker") }]))
    model.lose("The connection is lost.")
    assert.strictEqual(model.status, "lost")
    assert.deepStrictEqual(rows(model), ["run root: interrupted", "  run worker: interrupted"])
  })
})

describe("a run that was kept", () => {
  const call = { _tag: "Tool", toolCallId: "c", tool: "pay" }
  const events = numbered([
    started,
    { _tag: "Text", delta: "one " },
    { _tag: "Text", delta: "two" },
    { ...call, state: "called" },
    { ...call, state: "completed" },
    completed
  ])
  const replay = new Replay("root")
  for (const event of events) replay.add(event)

  it("is what it was at each moment, forwards and backwards", () => {
    assert.strictEqual(replay.durationMs, 50)
    for (const at of [0, 10, 25, 49, 50, 30, 0, 50]) {
      const seen = modelOf(events.filter((event) => event.at <= 1000 + at))
      assert.deepStrictEqual(rows(replay.at(at)), rows(seen))
      assert.strictEqual(replay.at(at).status, seen.status)
    }
  })

  it("is not played again where it takes no time, or is too large to be kept twice", () => {
    assert.isFalse(new Replay("root").isPossible)
    const large = new Replay("root")
    for (const event of numbered(Array.from({ length: 20 }, () => ({ _tag: "Text", delta: "x".repeat(1_000_000) })))) {
      large.add(event)
    }
    assert.isFalse(large.isPossible)
  })
})

describe("tokens and cost", () => {
  const step = (cost?: number) => ({
    _tag: "Used",
    step: 1,
    usage: usage(10, 5),
    ...(cost === undefined ? {} : { cost })
  })

  it("are summed as steps end, nested ones too", () => {
    const events = numbered([started, step(0.5), { ...step(0.25), ...nested("r/1", "worker") }])
    const model = modelOf(events)
    assert.deepStrictEqual([model.tokens, model.cost, model.isCostPartial], [30, 0.75, false])
  })

  it("are those of the whole where its end says them, steps that have not ended and hidden runs included", () => {
    const waiting = { ...completed, _tag: "Suspended", waitingFor: [], usage: usage(100, 5), cost: 1.5 }
    const model = modelOf(numbered([started, step(0.5), step(), waiting]))
    assert.deepStrictEqual([model.tokens, model.cost, model.isCostPartial], [105, 1.5, false])
    assert.strictEqual(model.root!.cost, 1.5)
  })

  it("are partial where a price is not known, or a step is not shown", () => {
    assert.isTrue(modelOf(numbered([started, step(0.5), step()])).isCostPartial)
    const hidden = { ...completed, usage: usage(100, 5) }
    assert.isTrue(modelOf(numbered([started, step(0.5), hidden])).isCostPartial)
    const whole = { ...completed, usage: usage(10, 5) }
    assert.isFalse(modelOf(numbered([started, step(0.5), whole])).isCostPartial)
  })
})

describe("a long run", () => {
  const limits = { spans: 50, text: 1000, chars: 5000 }

  it("looks once through the parts of a run when it drops many of them", () => {
    let looked = 0
    class Counted<T> extends Array<T> {
      override filter(...args: Parameters<Array<T>["filter"]>): Array<T> {
        looked++
        return super.filter(...args)
      }
    }
    const model = new RunModel("desk", { ...defaultLimits, spans: 100 })
    let seq = 0
    const apply = (event: object) => model.apply(eventIn({ v: 2, seq, at: seq++, ...event })!)
    apply({ _tag: "Started", runId: "run_1" })
    model.root!.children = new Counted()
    for (let i = 0; i < 1000; i++) apply({ _tag: "Tool", toolCallId: `c${i}`, tool: "look", state: "completed" })
    assert.strictEqual(model.dropped.spans + model.root!.children.length, 1000)
    assert.isAbove(looked, 10)
    assert.isBelow(looked, 120)
  })

  it("keeps its latest parts, and says how many it dropped", () => {
    const call = (n: number) => ({ _tag: "Tool", toolCallId: `c${n}`, tool: `t${n}` })
    const calls = Array.from({ length: 400 }, (_, n) => [
      { ...call(n), state: "called" },
      { ...call(n), state: "completed" }
    ])
    const model = modelOf(numbered([started, ...calls.flat(), completed]), limits)
    const kept = rowsOf(model.root!)
    assert.isAtMost(kept.length, 60)
    assert.strictEqual(kept.length + model.dropped.spans, 401)
    assert.strictEqual(kept.at(-1)!.label, "t399")
    assert.isAtMost(model.seen.size, 50)
  })

  it("keeps the end of a text", () => {
    const deltas = Array.from({ length: 500 }, (_, n) => ({ _tag: "Text", delta: `${n} word ` }))
    const model = modelOf(numbered([started, ...deltas]), limits)
    const text = rowsOf(model.root!)[1]!
    assert.isAtMost(text.text.length, 1100)
    assert.isTrue(text.text.endsWith("499 word "))
    assert.strictEqual(text.cut, model.dropped.chars)
  })

  it("drops the contents of its oldest parts where they are too large together", () => {
    const call = (n: number) => ({ _tag: "Tool", toolCallId: `c${n}`, tool: `t${n}` })
    const calls = Array.from({ length: 40 }, (_, n) => [
      { ...call(n), state: "called", params: "p".repeat(200) },
      { ...call(n), state: "completed", result: "r".repeat(300) }
    ])
    const kept = rowsOf(modelOf(numbered([started, ...calls.flat()]), limits).root!)
    const size = kept.reduce((sum, { params, result }) => sum + [params, result].join("").length, 0)
    assert.isAtMost(size, 5000)
    assert.strictEqual(kept.at(-1)!.result, "r".repeat(300))
    assert.isUndefined(kept[1]!.result)
    assert.isAbove(kept[1]!.cut, 0)
  })
})

const Place = Schema.Literals(["root", "root", "a", "a again", "b in a"])
const AnyEvent = Schema.Struct({
  place: Place,
  event: Schema.Union([
    Schema.Literals(["Text", "Reasoning", "Used", "Item", "Routed", "Unknown", "Started", "Completed", "Failed"]),
    Schema.Struct({ discardFrom: Schema.Literals([0, 1, 2, 5, 9, 20]) }),
    Schema.Struct({
      toolCallId: Schema.Literals(["1", "2"]),
      state: Schema.Literals(["called", "waiting", "approved", "denied", "completed", "failed"]),
      params: Schema.Literals(["short", "much longer than the others are"])
    })
  ])
})
const AnyEvents = Schema.Array(AnyEvent).check(Schema.isMaxLength(60))

const places: Readonly<Record<typeof Place.Type, object>> = {
  root: {},
  a: nested("r/1", "a"),
  "a again": nested("r/2", "a"),
  "b in a": nested("r/1/3", "a", "b")
}

const fields: Readonly<Record<string, object>> = {
  Text: { delta: "a" },
  Reasoning: { delta: "b" },
  Used: { step: 1, usage: usage(1, 1), cost: 1 },
  Item: { item: "x", status: "completed", done: 1 },
  Routed: { routes: ["<b>x</b>"] },
  Unknown: {},
  Started: started,
  Completed: completed,
  Failed: { ...completed, error: "E" }
}

const made = (all: typeof AnyEvents.Type): ReadonlyArray<ClientEvent> =>
  numbered(
    all.map(({ event, place }) => {
      if (typeof event === "string") return { ...fields[event], _tag: event, ...places[place] }
      const own = "discardFrom" in event ? { _tag: "Discarded" } : { _tag: "Tool", tool: "look" }
      return { ...own, ...event, ...places[place] }
    })
  )

describe("any events", () => {
  it.prop(
    "give parts in one tree, within their bounds, that end after they begin",
    { given: AnyEvents },
    ({ given }) => {
      const model = modelOf(made(given), { spans: 20, text: 40, chars: 200 })
      if (model.root === undefined) return
      const all = rowsOf(model.root)
      assert.strictEqual(new Set(all).size, all.length)
      for (const span of all) {
        for (const child of span.children) assert.strictEqual(child.parent, span)
        assert.isAtMost(span.text.length, 44)
        assert.isTrue(span.end === undefined || span.end >= span.start)
      }
      for (const { count, open } of model.seen.values()) assert.isTrue(count >= 0 && open >= 0)
    }
  )

  it.prop(
    "that come twice, after a lost connection, change nothing",
    { given: AnyEvents, at: Schema.Literals([0, 1, 3, 10, 30]) },
    ({ at, given }) => {
      const events = made(given)
      const model = modelOf(events)
      const again = modelOf([...events.slice(0, at), ...events])
      if (model.root !== undefined) assert.deepStrictEqual(rows(again), rows(model))
    }
  )
})

describe("server-sent events", () => {
  const body =
    'id: run_1:0\ndata: {"_tag":"Text"}\n\n: \n\nevent: lost\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: last\n\n'

  it("are the same in all pieces that they can come in", () => {
    const whole = new SseReader().read(body)
    assert.deepStrictEqual(whole, [
      { id: "run_1:0", event: undefined, data: '{"_tag":"Text"}' },
      { id: undefined, event: "lost", data: '{"a":\n1}' },
      { id: undefined, event: undefined, data: "last" }
    ])
    for (let first = 0; first <= body.length; first++) {
      for (let second = first; second <= body.length; second++) {
        const reader = new SseReader()
        const pieces = [body.slice(0, first), body.slice(first, second), body.slice(second)]
        assert.deepStrictEqual(
          pieces.flatMap((piece) => reader.read(piece)),
          whole
        )
      }
    }
  })

  it("that are not events of a run are left out", () => {
    for (const line of ["", "5", "null", "[]", '{"_tag":1}', '{"_tag":"Text"}', "<script>"]) {
      assert.isUndefined(readEvent(line), line)
    }
  })
})
