/**
 * How the wire test runs its programs: on both edges, whole and streamed, against the server of `wireServer.ts`. `run`
 * counts what is left when a program has ended.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Cause, Effect, Exit, Metric, Redacted, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, OpenAi, Parallel, Runner, SyncEdge } from "troupe"
import { assert } from "vitest"
import type { RunEvent } from "troupe"
import { checkGrammar } from "./grammar.ts"
import * as WireServer from "./wireServer.ts"

/** What a slow answer takes is a minute; anything that comes before this has not waited for one, however busy the machine. */
export const long = 20_000

const edges = {
  async: <A, E>(program: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> => Effect.runPromiseExit(program),
  sync: async <A, E>(program: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> =>
    Effect.runSyncExit(Effect.provide(program, SyncEdge.layer))
}
type Edge = keyof typeof edges
type Api = "chat" | "responses"

export const ways = {
  whole: <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I): Effect.Effect<unknown, E, R> => runner.run(input),
  streamed: <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I): Effect.Effect<unknown, E, R> =>
    Stream.runDrain(runner.stream(input))
}

const all = <A, B>(some: ReadonlyArray<A>, others: ReadonlyArray<B>) =>
  some.flatMap((one) => others.map((other) => [one, other] as const))
export const cases = all(
  ["async", "sync"] as const,
  all(["chat", "responses"] as const, ["whole", "streamed"] as const)
).map(([edge, [api, way]]) => ({ edge, api, way }))

/** What the branches of a program hold, and have given back. */
export class Ledger {
  readonly held = new Set<string>()
  taken = 0
  readonly events: Array<RunEvent.RunEvent> = []

  /** An agent that answers as the turns say and holds something for as long as it runs, which takes time to give back. */
  member(id: string, turns: ReadonlyArray<WireServer.Turn>, release: Effect.Effect<void> = Effect.void) {
    const agent = Agent.make("agent", { description: id, instructions: WireServer.plan(id, ...turns) })
    return Runner.make(id, { description: id, run: (input: string) => this.#holding(agent.run(input), release) })
  }

  /** The same, but the request says how it is answered. */
  get asked() {
    const agent = Agent.make("agent", {})
    return Runner.make("asked", { run: (input: string) => this.#holding(agent.run(input), Effect.void) })
  }

  #holding<A, E, R>(effect: Effect.Effect<A, E, R>, release: Effect.Effect<void>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const one = `${this.taken++}`
        this.held.add(one)
        return one
      }),
      () => effect,
      (one) => Effect.sleep(20).pipe(Effect.andThen(Effect.sync(() => this.held.delete(one))), Effect.andThen(release))
    )
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

const timers = () => process.getActiveResourcesInfo().filter((one) => one === "Timeout").length

export const settings = (url: string, api: Api) => ({
  model: "m",
  baseUrl: url,
  api,
  apiKey: Redacted.make("k"),
  retry: "none" as const
})

/** Runs the program on the edge, and checks what must be true of every program: nothing is left of it. */
export const run = async <A, E>(
  server: WireServer.WireServer,
  edge: Edge,
  api: Api,
  ledger: Ledger,
  program: Effect.Effect<A, E, LanguageModel.LanguageModel>
) => {
  const url = await server.renew()
  const fibers = { started: 0, ended: 0 }
  const seen = { alive: -1, held: [""], events: 0, ms: 0 }
  const before = timers()
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
  const report = await server.report()
  // The test runner has timers too, short ones; ours that were left would be of seconds.
  for (let n = 0; n < 100 && timers() > before; n++) await sleep(10)
  const after = timers()
  assert.isAbove(fibers.started, 0)
  assert.strictEqual(seen.alive, 0, "fibers that outlive the run")
  assert.isAbove(ledger.taken, 0)
  assert.deepStrictEqual(seen.held, [], "finalizers that had not run")
  assert.strictEqual(ledger.events.length, seen.events, "events after the outcome")
  assert.deepStrictEqual(report.open, [], "requests that outlive the run")
  assert.isAtMost(report.connections, report.answered.length, "sockets of aborted requests")
  assert.isAtMost(after, before, "timers that outlive the run")
  if (ledger.events.length > 0) checkGrammar(ledger.events)
  return { exit, report, ms: seen.ms }
}

export const failureOf = <E>(exit: Exit.Exit<unknown, E>): E =>
  Exit.isFailure(exit) ? (Cause.squash(exit.cause) as E) : assert.fail("it succeeded")
export const isParallelError = (error: unknown): error is Parallel.ParallelError<unknown> =>
  error instanceof Parallel.ParallelError

export const names = (count: number, prefix = "b") => Array.from({ length: count }, (_, n) => `${prefix}${n + 10}`)
export const slow = { slow: true } as const
/** Fails 50 ms after all of so many requests have come. */
export const breaks = (barrier: number) => ({
  status: 400,
  delayMs: 50,
  barrier,
  body: { error: { message: "no such thing" } }
})
