/**
 * Fail-fast, proven on the wire: agents of `OpenAi.layer` against a server in another process, which counts what becomes
 * of each request. Whatever the program and the edge, nothing that a run has begun is there any more when it has ended.
 */
import { Cause, Effect, Exit, Metric, Redacted, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, Chain, OpenAi, Parallel, Router, RunError, Runner, SyncEdge } from "troupe"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { RunEvent } from "troupe"
import { checkGrammar } from "../support/grammar.ts"
import * as WireServer from "../support/wireServer.ts"

let server: WireServer.WireServer
beforeAll(() => {
  server = WireServer.start()
})
afterAll(() => server.stop())

/** What a slow answer takes is 5 s; whatever comes before this has not waited for one. */
const long = 3_000

const edges = {
  async: <A, E>(program: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> => Effect.runPromiseExit(program),
  sync: async <A, E>(program: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> =>
    Effect.runSyncExit(Effect.provide(program, SyncEdge.layer))
}
type Edge = keyof typeof edges
type Api = "chat" | "responses"

const ways = {
  whole: <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I): Effect.Effect<unknown, E, R> => runner.run(input),
  streamed: <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I): Effect.Effect<unknown, E, R> =>
    Stream.runDrain(runner.stream(input))
}

const all = <A, B>(some: ReadonlyArray<A>, others: ReadonlyArray<B>) =>
  some.flatMap((one) => others.map((other) => [one, other] as const))
const cases = all(["async", "sync"] as const, all(["chat", "responses"] as const, ["whole", "streamed"] as const)).map(
  ([edge, [api, way]]) => ({ edge, api, way })
)

/** What the branches of a program hold, and have given back. */
class Ledger {
  readonly held = new Set<string>()
  taken = 0
  readonly events: Array<RunEvent.RunEvent> = []

  /** An agent that answers as the turns say and holds something for as long as it runs, which takes time to give back. */
  member(id: string, turns: ReadonlyArray<WireServer.Turn>, release: Effect.Effect<void> = Effect.void) {
    const agent = Agent.make("agent", { description: id, instructions: WireServer.plan(id, ...turns) })
    return Runner.make(id, {
      description: id,
      run: (input: string) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            this.taken++
            this.held.add(id)
          }),
          () => agent.run(input),
          () => Effect.sleep(20).pipe(Effect.andThen(Effect.sync(() => this.held.delete(id))), Effect.andThen(release))
        )
    })
  }

  members(names: ReadonlyArray<string>, ...turns: ReadonlyArray<WireServer.Turn>) {
    return Object.fromEntries(names.map((name) => [name, this.member(name, turns)]))
  }

  observe<I, A, E, R>(runner: Runner.Runner<I, A, E, R>): Runner.Runner<I, A, E, R> {
    return Runner.onEvent(runner, (event) => Effect.sync(() => void this.events.push(event)))
  }

  pathsOf(tag: RunEvent.RunEvent["_tag"]): ReadonlyArray<string> {
    return this.events.flatMap((event) => (event._tag === tag ? [event.path.join(" > ")] : [])).toSorted()
  }
}

const resources = () =>
  Object.fromEntries(
    ["Timeout", "Immediate"].map((kind) => [
      kind,
      process.getActiveResourcesInfo().filter((one) => one === kind).length
    ])
  )

const settings = (url: string, api: Api) => ({
  model: "m",
  baseUrl: url,
  api,
  apiKey: Redacted.make("k"),
  retry: "none" as const
})

/** Runs the program on the edge, and checks what must be true of every program: nothing is left of it. */
const run = async <A, E>(
  edge: Edge,
  api: Api,
  ledger: Ledger,
  program: Effect.Effect<A, E, LanguageModel.LanguageModel>
) => {
  const url = await server.renew()
  const fibers = { started: 0, ended: 0 }
  const seen = { alive: -1, held: [""], events: 0, ms: 0 }
  const before = resources()
  const begun = performance.now()
  const exit = await edges[edge](
    Effect.exit(program).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          seen.ms = performance.now() - begun
          seen.alive = fibers.started - fibers.ended
          seen.held = [...ledger.held]
          seen.events = ledger.events.length
        })
      ),
      Effect.provideService(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => void fibers.started++,
        recordFiberEnd: () => void fibers.ended++
      }),
      Effect.provide(OpenAi.layer(settings(url, api))),
      Effect.flatten
    )
  )
  const after = resources()
  const report = await server.report()
  assert.isAbove(fibers.started, 0)
  assert.strictEqual(seen.alive, 0, "fibers that outlive the run")
  assert.isAbove(ledger.taken, 0)
  assert.deepStrictEqual(seen.held, [], "finalizers that had not run")
  assert.strictEqual(ledger.events.length, seen.events, "events after the outcome")
  assert.deepStrictEqual(report.open, [], "requests that outlive the run")
  assert.isAtMost(report.connections, report.answered.length, "sockets of aborted requests")
  for (const [kind, count] of Object.entries(after)) assert.isAtMost(count, before[kind]!, kind)
  if (ledger.events.length > 0) checkGrammar(ledger.events)
  return { exit, report, ms: seen.ms }
}

const failureOf = <E>(exit: Exit.Exit<unknown, E>): E =>
  Exit.isFailure(exit) ? (Cause.squash(exit.cause) as E) : assert.fail("it succeeded")
const isParallelError = (error: unknown): error is Parallel.ParallelError<unknown> =>
  error instanceof Parallel.ParallelError

const names = (count: number, prefix = "b") => Array.from({ length: count }, (_, n) => `${prefix}${n + 10}`)
const slow = { slow: true } as const
/** Fails 50 ms after all of so many requests have come. */
const breaks = (barrier: number) => ({
  status: 400,
  delayMs: 50,
  barrier,
  body: { error: { message: "no such thing" } }
})

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
      const desk = Router.make("desk", {
        description: "Does it",
        routes: { chain },
        classify: (_input: string) => Effect.succeed("chain" as const)
      })
      const caller = Agent.make("caller", {
        instructions: WireServer.plan("caller", {
          calls: [
            { name: "desk", args: `{"input":"go"}`, id: "to-desk" },
            { name: "sibling", args: `{"input":"go"}`, id: "to-sibling" }
          ]
        }),
        tools: [Runner.asTool(desk, { failureMode: "error" }), Runner.asTool(ledger.member("sibling", [slow]))]
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
          Runner.asTool(
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
      const timed = Runner.withTimeout(chain, "1 second")
      const { exit, ms, report } = await run(edge, api, ledger, ways[way](ledger.observe(timed), "go"))
      const error = failureOf(exit)
      if (!(error instanceof RunError.RunTimedOut)) return assert.fail(String(error))
      assert.deepStrictEqual(error.path, ["chain"])
      assert.isBelow(ms, 1_000 + long)
      // How far it came in a second is the machine's affair; what it had begun is over.
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

describe("whoever runs the program interrupts it", () => {
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
