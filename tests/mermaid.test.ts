/** Pictures of runners: what they are made of, and what became of them in a run. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Handoffs,
  Parallel,
  Router,
  Runner,
  type RunEvent,
  TestModel
} from "troupe"

const quick = Runner.make("quick", { run: (text: string) => Effect.succeed(text) })
const slow = Runner.make("slow", { run: (text: string) => Effect.as(Effect.sleep(1500), text) })
const broken = Runner.make("broken", { run: (_text: string) => Effect.andThen(Effect.sleep(20), Effect.fail("no")) })
const add = AgentTool.fromFunction("add", { description: "Adds", execute: () => 2 })

/** Lines hold a node, an edge, a box's begin or end, or a style, and edges join what was drawn. */
const check = (picture: string): void => {
  const [head, ...lines] = picture.split("\n").map((line) => line.trim())
  assert.strictEqual(head, "flowchart TD")
  const nodes = new Set<string>()
  let open = 0
  for (const line of lines) {
    const node = /^(n\d+)(\["|\[\/"|\(\["|\{"|\(\(").*"(\]|\/\]|\]\)|\}|\)\))$/.exec(line)
    const box = /^subgraph (n\d+)\[".*"\]$/.exec(line)
    const edge = /^(n\d+) (-->|==>|-\.->)(\|"[^"|]+"\|)? (n\d+)$/.exec(line)
    const style = /^class (n\d+) \w+$/.exec(line)
    const inQuotes = /"(.*)"/.exec(line)?.[1] ?? ""
    assert.notMatch(inQuotes.replaceAll(/<br\/><small>[^<]*<\/small>/g, ""), /["<>\\`]/, line)
    if (node !== null) nodes.add(node[1]!)
    else if (box !== null) {
      nodes.add(box[1]!)
      open++
    } else if (line === "end") open--
    else if (edge !== null) assert.isTrue(nodes.has(edge[1]!) && nodes.has(edge[4]!), line)
    else if (style !== null) assert.isTrue(nodes.has(style[1]!), line)
    else assert.match(line, /^classDef \w+ [\w:#,.; -]+$/)
  }
  assert.strictEqual(open, 0)
}

const eventsOf = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.gen(function* () {
    const events: Array<RunEvent.RunEvent> = []
    const stream = Stream.runForEach(runner.stream(input), (event) => Effect.sync(() => events.push(event)))
    const fiber = yield* Effect.forkChild(Effect.exit(stream))
    yield* TestClock.adjust(5000)
    yield* Fiber.join(fiber)
    return events
  })

describe("a picture of handoffs", () => {
  const agents = {
    a: Agent.make("a", { tools: [Handoffs.to("b")] }),
    b: Agent.make("b", { tools: [Handoffs.to("c"), Handoffs.to("a")] }),
    c: Agent.make("c", {})
  }
  const ring = Handoffs.make("ring", agents, { start: "a" })
  const edgesIn = (picture: string) => {
    check(picture)
    const names = new Map([...picture.matchAll(/(n\d+)\["(\w)[^"]*"\]/g)].map(([, id, name]) => [id!, name!]))
    return [...picture.matchAll(/(n\d+) (\S+)\|"hands off"\| (n\d+)/g)].map(
      ([, from, link, to]) => `${names.get(from!)} ${link} ${names.get(to!)}`
    )
  }

  it("has an edge for each agent that another can hand over to", () => {
    assert.deepStrictEqual(edgesIn(Runner.toMermaid(ring)), ["a -.-> b", "b -.-> a", "b -.-> c"])
  })

  it.effect("shows which way a conversation took", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf(ring, "go")
      assert.deepStrictEqual(edgesIn(Runner.toMermaid(ring, events)), ["a ==> b", "b -.-> a", "b ==> c"])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("transfer_to_b", { reason: "r", message: "m" }),
          TestModel.toolCall("transfer_to_c", { reason: "r", message: "m" }),
          "done"
        ])
      )
    )
  )
})

describe("a picture of a runner", () => {
  it("shows every kind of composition, and the members in it", () => {
    const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
    const inner = Agent.make("inner", { description: "Helps", tools: [add] })
    const writer = Agent.make("writer", { tools: [AgentTool.fromRunner(inner, { name: "ask" })] })
    const refined = EvaluatorOptimizer.make("refined", { generator: writer, evaluator: judge }, { accept: () => true })
    const desk = Router.make("desk", { quick, slow }, { fallback: "slow" })
    const panel = Parallel.make("panel", { desk, quick }, { mode: Parallel.quorum(1), combine: writer })
    const hedged = Parallel.hedge("hedged", refined, { delay: "2 seconds" })
    const all = Chain.make("all", [
      Chain.gate("is it short?", (text: string) => text),
      panel,
      (text: string) => Effect.succeed(text),
      hedged
    ])
    const picture = Runner.toMermaid(all)
    check(picture)
    for (const part of [
      "all: chain",
      "panel: parallel (quorum of 1)",
      "desk: router (one of, else slow)",
      "refined: evaluator-optimizer (at most 3 rounds)",
      "hedged: hedge (at most 2 attempts, 2s apart)",
      "is it short?",
      "step 3",
      '["judge"]',
      '(["add"])',
      "revise"
    ]) {
      assert.include(picture, part)
    }
    assert.notInclude(picture, "class ")
  })

  it("leaves out the members of what is nested more than a hundred levels deep", () => {
    let runner: Runner.Runner<string, unknown, unknown, never> = Runner.make("leaf", {
      run: (_input: string) => Effect.succeed("x")
    })
    for (let level = 0; level < 5000; level++) runner = Chain.make(`level ${level}`, [runner])
    const picture = Runner.toMermaid(runner)
    assert.include(picture, '"level 4900: chain"')
    assert.include(picture, '"level 4899 ..."')
    assert.notInclude(picture, "level 4898")
  })

  it("says how a gather is set only where it says something", () => {
    assert.include(Runner.toMermaid(Gather.map("all", quick)), "all: gather (map)")
    const either = Gather.broadcast("either", [quick, slow], { mode: Parallel.race })
    assert.include(Runner.toMermaid(either), "either: gather (broadcast, race)")
  })

  it("is the same inside of all combinators", () => {
    const inner = Chain.make("inner", [quick, slow])
    const wrapped = inner.pipe(
      Runner.map((text) => text.length),
      Runner.withTimeout("1 second"),
      Runner.withRetry({ times: 2 }),
      Runner.described("It is wrapped")
    )
    assert.strictEqual(Runner.toMermaid(wrapped), Runner.toMermaid(inner))
    assert.include(Runner.toMermaid(Runner.named(inner, "other")), "other: chain")
  })

  it("holds for all names", () => {
    const odd = `end "of" <b>\n]) --> #quot; | \\ \`x\` {{`
    const runner = Parallel.make(odd, { [odd]: Runner.named(quick, odd), other: Agent.make(odd, { tools: [add] }) })
    check(Runner.toMermaid(runner))
  })
})

describe("a picture of a run", () => {
  it.effect("shows the way that was taken, how long it took and how often, and what was not used", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [add] })
      const desk = Router.make(
        "desk",
        { agent, slow: Chain.make("slow", [slow]), quick },
        { classify: (text: string) => Effect.succeed(text === "sum" ? "agent" : "slow") }
      )
      const twice = Chain.make("twice", [desk, (_text: string) => Effect.succeed("other"), desk])
      const events = yield* eventsOf(twice, "sum")
      const picture = Runner.toMermaid(twice, events)
      check(picture)
      assert.include(picture, "1.5 s")
      assert.match(picture, /"desk: router \(one of\)<br\/><small>2 times, 1\.5 s<\/small>"/)
      assert.match(picture, /\(\["add<br\/><small>0 ms<\/small>"\]\)/)
      assert.include(picture, "==>")
      const unused = /(n\d+)\[\/"quick"\/\]/.exec(picture)?.[1]
      assert.include(picture, `class ${unused} unused`)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("add", {}), "two"])))
  )

  it.effect("shows what failed and what was interrupted", () =>
    Effect.gen(function* () {
      const panel = Parallel.make("panel", { broken, slow, quick })
      const picture = Runner.toMermaid(panel, yield* eventsOf(panel, "go"))
      check(picture)
      assert.match(picture, /"broken<br\/><small>20 ms, failed<\/small>"/)
      assert.match(picture, /"slow<br\/><small>20 ms, interrupted<\/small>"/)
      for (const [name, status] of [
        ["panel", "failed"],
        ["broken", "failed"],
        ["slow", "interrupted"],
        ["quick", "completed"]
      ]) {
        const id = new RegExp(`(n\\d+)\\[/?"${name}\\b`).exec(picture)?.[1]
        assert.include(picture, `class ${id} ${status}`)
      }
    })
  )

  it.effect("under way shows what is running", () =>
    Effect.gen(function* () {
      const events: Array<RunEvent.RunEvent> = []
      const watched = Runner.onEvent(slow, (event) => Effect.sync(() => void events.push(event)))
      const fiber = yield* Effect.forkChild(watched.run("go"))
      yield* TestClock.adjust(1)
      assert.match(Runner.toMermaid(slow, events), /running/)
      yield* TestClock.adjust(2000)
      yield* Fiber.join(fiber)
      assert.notMatch(Runner.toMermaid(slow, events), /running/)
    })
  )
})
