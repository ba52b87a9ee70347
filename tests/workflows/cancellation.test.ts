/**
 * Fail-fast, proven on the wire: agents of `OpenAi.layer` against a server in another process, which counts what becomes
 * of each request. For each program and edge, nothing that a run has begun is left when it has ended.
 */
import { Effect, Exit, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import {
  Agent,
  AgentTool,
  Chain,
  Gather,
  OpenAi,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  RunError,
  Runner
} from "troupe"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { checkGrammar } from "../support/grammar.ts"
import {
  breaks,
  cases,
  failureOf,
  isParallelError,
  Ledger,
  long,
  names,
  run as runWith,
  settings,
  slow,
  ways
} from "../support/wireRuns.ts"
import * as WireServer from "../support/wireServer.ts"

let server: WireServer.WireServer
beforeAll(() => {
  server = WireServer.start()
})
afterAll(() => server.stop())

const run = <A, E>(
  edge: "async" | "sync",
  api: "chat" | "responses",
  ledger: Ledger,
  program: Effect.Effect<A, E, LanguageModel.LanguageModel>
) => runWith(server, edge, api, ledger, program)

describe("one of 50 branches fails", () => {
  const others = names(49)
  for (const { edge, api, way } of cases) {
    it(`${edge}, ${api}, ${way}`, async () => {
      const ledger = new Ledger()
      const panel = Parallel.make("panel", {
        ...ledger.members(others.slice(0, 20), slow),
        broken: ledger.member("broken", [breaks(50)]),
        ...ledger.members(others.slice(20, -2), slow),
        spiteful: ledger.member("spiteful", [slow], Effect.die(new Error("and another thing"))),
        stubborn: Runner.make("stubborn", {
          run: (input: string) =>
            Effect.onInterrupt(ledger.member("stubborn", [slow]).run(input), () =>
              Effect.fail("not like this" as const)
            )
        })
      })
      const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(panel), "go"))

      assert.isBelow(ms, long)
      assert.strictEqual(report.begun.length, 50)
      assert.deepStrictEqual(report.answered, ["broken"])
      assert.strictEqual(report.aborted.length, 49)
      assert.isBelow(report.abortedAfterMs, long)

      const error = failureOf(exit)
      if (!isParallelError(error)) return assert.fail(String(error))
      assert.strictEqual(error.failures[0]?.branch, "broken")
      assert.isTrue(error.failures[0]?.error instanceof RunError.ModelError)
      assert.deepStrictEqual(
        error.failures
          .slice(1)
          .map(({ branch }) => branch)
          .toSorted(),
        ["spiteful", "stubborn"]
      )
      for (const said of ["no such thing", "and another thing", "not like this"]) assert.include(error.message, said)
      assert.deepStrictEqual(error.interrupted, others.slice(0, -2))
      assert.deepStrictEqual(
        ledger.pathsOf("RunInterrupted").filter((path) => path.split(" > ").length === 2),
        others.slice(0, -2).map((name) => `panel > ${name}`)
      )
    })
  }
})

describe("one of 20 branches succeeds", () => {
  for (const { edge, api, way } of cases.filter(({ api, way }) => (api === "chat") === (way === "streamed"))) {
    it(`a race, ${edge}, ${api}, ${way}`, async () => {
      const ledger = new Ledger()
      const race = Parallel.make(
        "race",
        { ...ledger.members(names(19), slow), quick: ledger.member("quick", [{ text: "first", barrier: 20 }]) },
        { mode: Parallel.race }
      )
      const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(race), "go"))
      assert.isTrue(Exit.isSuccess(exit))
      if (way === "whole" && Exit.isSuccess(exit)) assert.strictEqual(exit.value, "first")
      assert.isBelow(ms, long)
      assert.deepStrictEqual([report.answered, report.aborted], [["quick"], names(19)])
    })
  }
})

describe("one of 20 fails, on each runner", () => {
  const ids = [...names(19), "broken"]
  const turn = (id: string) => (id === "broken" ? breaks(20) : slow)
  const ways20 = {
    "Gather.broadcast": (ledger: Ledger) =>
      Gather.broadcast(
        "all",
        ids.map((id) => ledger.member(id, [turn(id)]))
      ),
    "Gather.map": (ledger: Ledger) =>
      Runner.mapInput(Gather.map("all", ledger.asked, { concurrency: 20 }), (_input: string) =>
        ids.map((id) => WireServer.plan(id, turn(id)))
      ),
    "Gather.mapStream": (ledger: Ledger) =>
      Gather.mapStream("all", ledger.asked, {
        inputs: (_input: string) => Stream.fromIterable(ids.map((id) => WireServer.plan(id, turn(id)))),
        into: Stream.runDrain,
        concurrency: 20
      }),
    PlanExecuteEvaluate: (ledger: Ledger) =>
      PlanExecuteEvaluate.make(
        "all",
        {
          planner: Effect.succeed({ steps: ids.map((id) => ({ id, task: "do it" })) }),
          executor: ({ step }: PlanExecuteEvaluate.Task<string>) => ledger.member(step.id, [turn(step.id)]).run("go")
        },
        { concurrency: 20 }
      )
  }
  for (const [name, make] of Object.entries(ways20)) {
    for (const [edge, api, way] of [
      ["async", "responses", "streamed"],
      ["sync", "chat", "whole"]
    ] as const) {
      it(`${name}, ${edge}, ${api}, ${way}`, async () => {
        const ledger = new Ledger()
        const runner: Runner.Runner<string, unknown, unknown, LanguageModel.LanguageModel> = make(ledger)
        const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(runner), "go"))
        assert.isBelow(ms, long)
        assert.deepStrictEqual([report.answered, report.aborted], [["broken"], names(19)])
        const error = failureOf(exit)
        assert.isTrue(isParallelError(error) || error instanceof PlanExecuteEvaluate.StepsFailed, String(error))
        const { failures, interrupted } = error as Parallel.ParallelError<unknown>
        assert.deepStrictEqual([failures.length, interrupted.length], [1, 19])
      })
    }
  }

  it("a hedge, whose slow attempt is given up when a later one wins", async () => {
    const ledger = new Ledger()
    let attempts = 0
    const member = Runner.make("member", {
      run: (input: string) =>
        Effect.suspend(() =>
          ledger.member(`attempt ${attempts++}`, attempts === 1 ? [slow] : [{ text: "won", barrier: 2 }]).run(input)
        )
    })
    const hedge = Parallel.hedge("hedge", member, { delay: "100 millis" })
    const { exit, ms, report } = await run("async", "chat", ledger, hedge.run("go"))
    assert.deepStrictEqual(exit, Exit.succeed("won"))
    assert.isBelow(ms, long)
    assert.deepStrictEqual([report.answered, report.aborted], [["attempt 1"], ["attempt 0"]])
  })
})

describe("a parallel in a chain in a router under an agent's tool", () => {
  for (const { edge, api, way } of cases.filter(({ api, way }) => (api === "chat") === (way === "whole"))) {
    it(`${edge}, ${api}, ${way}`, async () => {
      const ledger = new Ledger()
      const panel = Parallel.make("panel", {
        ...ledger.members(names(10), slow),
        // The caller's own request, the first of the chain and the sibling's came before.
        broken: ledger.member("broken", [breaks(14)])
      })
      const chain = Chain.make("chain", [ledger.member("first", [{ text: "go on" }]), panel])
      const desk = Router.make(
        "desk",
        { chain },
        { description: "Does it", classify: (_input: string) => Effect.succeed("chain" as const) }
      )
      const caller = Agent.make("caller", {
        instructions: WireServer.plan("caller", {
          calls: [
            { name: "desk", args: `{"input":"go"}`, id: "to-desk" },
            { name: "sibling", args: `{"input":"go"}`, id: "to-sibling" }
          ]
        }),
        tools: [
          AgentTool.fromRunner(desk, { failureMode: "error" }),
          AgentTool.fromRunner(ledger.member("sibling", [slow]))
        ]
      })
      const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(caller), "go"))

      assert.isBelow(ms, long)
      assert.deepStrictEqual(report.answered, ["broken", "caller", "first"])
      assert.deepStrictEqual(report.aborted, [...names(10), "sibling"])

      const error = failureOf(exit)
      if (!(error instanceof RunError.ToolError)) return assert.fail(String(error))
      assert.deepStrictEqual(error.path, ["caller"])
      assert.deepStrictEqual(error.interrupted, ["to-sibling"])
      assert.deepStrictEqual(
        error.failures.map(({ tool, toolCallId }) => [tool, toolCallId]),
        [["desk", "to-desk"]]
      )
      const inner = error.failures[0].cause
      if (!isParallelError(inner)) return assert.fail(String(inner))
      assert.deepStrictEqual(
        [inner.name, inner.failures.map(({ branch }) => branch), inner.interrupted],
        ["panel", ["broken"], names(10)]
      )
      for (const said of ["desk", "broken", "no such thing", "b10", "to-sibling"]) assert.include(error.message, said)
      assert.include(ledger.pathsOf("RunInterrupted"), "caller > desk > chain > panel > b10")
      assert.include(ledger.pathsOf("RunFailed"), "caller > desk > chain > panel > broken")
      return undefined
    })
  }
})

describe("one of 20 tool calls of a step fails", () => {
  for (const { edge, api, way } of cases.filter(({ api, way }) => (api === "chat") === (way === "streamed"))) {
    it(`${edge}, ${api}, ${way}`, async () => {
      const ledger = new Ledger()
      const tools = [...names(17), "spiteful", "broken", "z"]
      const turn = (name: string) => (name === "broken" ? breaks(21) : slow)
      const caller = Agent.make("caller", {
        toolConcurrency: 20,
        instructions: WireServer.plan("caller", {
          calls: tools.map((name) => ({ name, args: `{"input":"go"}`, id: name }))
        }),
        tools: tools.map((name) =>
          AgentTool.fromRunner(
            ledger.member(name, [turn(name)], name === "spiteful" ? Effect.die(new Error("and another")) : Effect.void),
            { failureMode: "error" }
          )
        )
      })
      const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(caller), "go"))
      assert.isBelow(ms, long)
      assert.deepStrictEqual(report.answered, ["broken", "caller"])
      assert.deepStrictEqual(report.aborted, tools.filter((name) => name !== "broken").toSorted())
      const error = failureOf(exit)
      if (!(error instanceof RunError.ToolError)) return assert.fail(String(error))
      assert.deepStrictEqual(
        error.failures.map(({ toolCallId }) => toolCallId),
        ["broken", "spiteful"]
      )
      assert.include(error.message, "and another")
      assert.deepStrictEqual(error.interrupted, [...names(17), "spiteful", "z"])
      return undefined
    })
  }
})

describe("a timeout", () => {
  for (const { edge, api, way } of cases.filter(({ api, way }) => (api === "chat") === (way === "whole"))) {
    it(`${edge}, ${api}, ${way}`, async () => {
      const ledger = new Ledger()
      const chain = Chain.make("chain", [
        ledger.member("first", [{ text: "go on" }]),
        Parallel.make("panel", ledger.members(names(20), slow))
      ])
      const timed = Runner.withTimeout(chain, "2 seconds")
      const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(timed), "go"))
      const error = failureOf(exit)
      if (!(error instanceof RunError.RunTimedOut)) return assert.fail(String(error))
      assert.deepStrictEqual(error.path, ["chain"])
      assert.isBelow(ms, 2_000 + long)
      // How far it came in that time is the machine's affair; what it had begun is over.
      assert.isAbove(report.begun.length, 0)
      assert.strictEqual(report.answered.length + report.aborted.length, report.begun.length)
      assert.notInclude(report.answered, "b10")
      return undefined
    })
  }
})

describe("the consumer of a stream stops", () => {
  for (const { edge, api } of cases.filter(({ way }) => way === "streamed")) {
    it(`when every branch has begun to answer, ${edge}, ${api}`, async () => {
      const ledger = new Ledger()
      const panel = Parallel.make("panel", ledger.members(names(20), slow))
      const spoken = new Set<string>()
      const program = Stream.runDrain(
        ledger
          .observe(panel)
          .stream("go")
          .pipe(
            Stream.takeUntil((event) => {
              if (event._tag === "TextDelta") spoken.add(event.path[1]!)
              return spoken.size === 20
            })
          )
      )
      const { exit, ms, report } = await run(edge, api, ledger, program)
      assert.isTrue(Exit.isSuccess(exit))
      assert.isBelow(ms, long)
      assert.deepStrictEqual([report.answered, report.aborted], [[], names(20)])
      assert.strictEqual(ledger.events.at(-1)?._tag, "RunInterrupted")
    })
  }
})

describe("the caller interrupts the program", () => {
  for (const api of ["chat", "responses"] as const) {
    it(`by an AbortSignal, ${api}`, async () => {
      const ledger = new Ledger()
      const panel = Parallel.make("panel", ledger.members(names(20), slow))
      const url = await server.renew()
      const stop = new AbortController()
      const exit = Effect.runPromiseExit(
        ledger
          .observe(panel)
          .run("go")
          .pipe(Effect.provide(OpenAi.layer(settings(url, api)))),
        { signal: stop.signal }
      )
      while (ledger.pathsOf("StepStarted").length < 20) await new Promise((go) => setTimeout(go, 5))
      stop.abort()
      assert.isTrue(Exit.hasInterrupts(await exit))
      assert.deepStrictEqual([...ledger.held], [])
      checkGrammar(ledger.events)
      const report = await server.report()
      assert.deepStrictEqual([report.answered, report.open, report.connections], [[], [], 0])
    })
  }
})
