/** Tools in worker threads, at both edges. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { Cause, Context, Duration, Effect, Exit, Schedule, Schema, Stream } from "effect"
import { Tool } from "effect/ai"
import { assert, describe, it } from "vitest"
import * as IoWorker from "../../../src/layers/internal/io/ioWorker.ts"
import { Agent, AgentTool, RunError, Runner, SyncEdge, TestModel, WorkerPool, WorkerTool, type RunEvent } from "troupe"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const url = new URL("../../support/modules/tools.ts", import.meta.url)
const File = Schema.Struct({ file: Schema.String })
const plain = (name: string) => WorkerTool.fromModule(url, { name, export: name, description: name })
const onFile = (name: string) => WorkerTool.fromModule(url, { name, export: name, description: name, parameters: File })
const blocking = WorkerTool.fromModule(url, {
  name: "block",
  export: "block",
  description: "Blocks",
  parameters: Schema.Struct({ ms: Schema.Finite })
})

const directory = temporaryFolder()
let files = 0
const fresh = () => path.join(directory(), `file-${files++}`)
const sizeOf = (file: string) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0
/** Waits until all of the files have something in them: until the tools that write them are at work. */
const grown = (...files: ReadonlyArray<string>) =>
  Effect.whileLoop({
    while: () => files.some((file) => sizeOf(file) === 0),
    body: () => Effect.sleep(5),
    step: () => {}
  })
const pause = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** What the tools are called with: one step, then the answer "done". */
type Call = readonly [tool: AgentTool.AgentTool<string, never>, params: unknown]
type Options = { readonly toolTimeout?: Duration.Input }
const agentOf = (calls: ReadonlyArray<Call>, options: Options = {}) =>
  Agent.make("agent", { ...options, tools: [...new Set(calls.map(([tool]) => tool))] })
const model = (calls: ReadonlyArray<Call>) =>
  TestModel.layer([TestModel.toolCalls(...calls.map(([tool, params]) => ({ name: tool.name, params }))), "done"])

/** The results of the calls, failures marked, with the events. */
const observe = (calls: ReadonlyArray<Call>, options?: Options) =>
  Effect.gen(function* () {
    const events: Array<RunEvent.RunEvent> = []
    const agent = Runner.onEvent(agentOf(calls, options), (event) => Effect.sync(() => events.push(event)))
    const { transcript } = yield* agent.result("go")
    const results = transcript.content.flatMap((message) =>
      message.role === "tool"
        ? message.content.flatMap((part) =>
            part.type === "tool-result" ? [part.isFailure ? { failed: part.result } : part.result] : []
          )
        : []
    )
    return { events, results }
  }).pipe(Effect.provide(model(calls)))
const resultsOf = (calls: ReadonlyArray<Call>, options?: Options) =>
  Effect.map(observe(calls, options), ({ results }) => results)

const edges: Record<string, <A, E>(effect: Effect.Effect<A, E>) => Promise<Exit.Exit<A, E>>> = {
  runPromise: (effect) => Effect.runPromiseExit(effect),
  runSync: async (effect) => Effect.runSyncExit(Effect.provide(effect, SyncEdge.layer))
}

for (const [edge, runExit] of Object.entries(edges)) {
  const run = async <A, E>(effect: Effect.Effect<A, E>): Promise<A> => {
    const exit = await runExit(effect)
    return Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
  }
  describe(`by ${edge}`, () => {
    it("a tool of a module works as it does in place, its schemas on both sides", async () => {
      const double = WorkerTool.fromModule(url)
      const later = WorkerTool.fromModule(url, { export: "later" })
      const results = await run(
        resultsOf([
          [double, { n: 21 }],
          [later, { at: "2026-01-01T00:00:00.000Z" }],
          [double, { n: "many" }]
        ])
      )
      assert.deepStrictEqual(results.slice(0, 2), [42, { next: "2026-01-01T00:00:01.000Z" }])
      assert.match(JSON.stringify(results[2]), /do not fit the tool's parameters/)
    })

    it("receives its run, and reports its progress in order", async () => {
      const tool = WorkerTool.fromModule(url, { export: "generator" })
      const { events, results } = await run(observe([[tool, {}]]))
      const called = events.find((event) => event._tag === "ToolCalled")!
      const context = results[0] as Record<string, unknown>
      assert.strictEqual(context["runId"], called.runId)
      assert.strictEqual(context["rootId"], called.runId)
      assert.strictEqual(context["conversationId"], called.runId)
      assert.deepStrictEqual(context["path"], ["agent"])
      assert.strictEqual(context["step"], 1)
      assert.strictEqual(context["toolCallId"], called.toolCallId)
      assert.strictEqual(context["idempotencyKey"], `${called.runId}/1/${called.toolCallId}`)
      assert.strictEqual(context["same"], true)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "ToolProgress" ? [event.result] : [])),
        ["one", "two"]
      )
    })

    it("a plain function gets and gives JSON, also of a module that awaits at its top level", async () => {
      const tool = WorkerTool.fromModule(new URL("../../support/modules/awaits.ts", import.meta.url), {
        name: "next",
        description: "The next number",
        parameters: Schema.Struct({ n: Schema.Finite }),
        success: Schema.Finite
      })
      const wrong = WorkerTool.fromModule(url, {
        name: "wrong",
        export: "wrong",
        description: "Wrong",
        success: Schema.Finite
      })
      const results = await run(
        resultsOf([
          [tool, { n: 1 }],
          [plain("strange"), {}],
          [plain("circular"), {}],
          [plain("effectful"), {}],
          [wrong, {}]
        ])
      )
      assert.deepStrictEqual(results.slice(0, 2), [2, { big: "1", at: "1970-01-01T00:00:00.000Z" }])
      assert.match(JSON.stringify(results[2]), /failed.*circular/)
      assert.match(JSON.stringify(results[3]), /failed.*AgentTool\.fromFunction/)
      assert.match(JSON.stringify(results[4]), /failed.*does not fit its success schema/)
    })

    it("what it throws or fails with comes back as data", async () => {
      const fails = WorkerTool.fromModule(url, { export: "fails" })
      const results = await run(
        resultsOf([
          [fails, {}],
          [plain("throwing"), {}],
          [WorkerTool.fromModule(url, { export: "misfit" }), {}]
        ])
      )
      const context =
        'the tool returned a result that does not fit its success schema: Expected a value greater than 1\n  at ["n"]'
      assert.deepStrictEqual(results, [
        { failed: { error: "the file is not there", tag: "NotThere" } },
        { failed: { error: "too far" } },
        { failed: { error: context } }
      ])
      const fatal = WorkerTool.fromModule(url, {
        name: "throwing",
        export: "throwing",
        description: "Throws",
        failureMode: "error"
      })
      const exit = await runExit(resultsOf([[fatal, {}]]))
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, RunError.ToolError)
      const cause = error.failures[0].cause
      assert.instanceOf(cause, WorkerTool.ModuleToolFailed)
      assert.deepStrictEqual([cause.errorName, cause.errorMessage], ["RangeError", "too far"])
    })

    it("a crash fails that call alone, with a typed error", async () => {
      const small = WorkerPool.layer({ resourceLimits: { maxOldGenerationSizeMb: 24, maxYoungGenerationSizeMb: 8 } })
      const calls: ReadonlyArray<Call> = [
        [plain("exits"), {}],
        [plain("greedy"), {}],
        [plain("uncaught"), {}],
        [blocking, { ms: 1 }]
      ]
      const results = await run(Effect.provide(resultsOf(calls), small))
      const failed = results as ReadonlyArray<{ readonly failed?: { readonly error: string; readonly tag: string } }>
      assert.deepStrictEqual(
        failed.map((one) => one.failed?.tag),
        ["WorkerCrashed", "WorkerCrashed", "WorkerCrashed", undefined]
      )
      assert.match(failed[0]!.failed!.error, /exited with code 3/)
      assert.match(failed[1]!.failed!.error, /out of memory.*resourceLimits/)
      assert.match(failed[2]!.failed!.error, /an error without a handler/)
    }, 60_000)

    it("reports a module that cannot be used in a thread", async () => {
      const broken = WorkerTool.fromModule(new URL("../../support/modules/broken.ts", import.meta.url), {
        name: "broken",
        description: "Broken"
      })
      const results = await run(
        resultsOf([
          [broken, {}],
          [plain("absent"), {}],
          [plain("nothing"), {}]
        ])
      )
      assert.match(JSON.stringify(results[0]), /it is broken.*ModuleUnusable/)
      assert.match(JSON.stringify(results[1]), /no export named.*ModuleUnusable/)
      assert.match(JSON.stringify(results[2]), /neither a function nor a tool.*ModuleUnusable/)
    })

    it("an endless loop, and one that awaits, end when the run is interrupted, threads and all", async () => {
      const awaiting = fresh()
      const looping = fresh()
      const calls: ReadonlyArray<Call> = [
        [onFile("deaf"), { file: awaiting }],
        [WorkerTool.fromModule(url, { export: "endless" }), { file: looping }]
      ]
      const program = Effect.gen(function* () {
        yield* Effect.raceFirst(resultsOf(calls), grown(awaiting, looping))
        const sizes = [sizeOf(awaiting), sizeOf(looping)]
        pause(100)
        assert.deepStrictEqual([sizeOf(awaiting), sizeOf(looping)], sizes)
        // Both threads are gone, or this could not run.
        return yield* resultsOf([[blocking, { ms: 1 }]])
      })
      assert.deepStrictEqual(await run(Effect.provide(program, WorkerPool.layer({ size: 2 }))), [{ calls: 1 }])
    })

    it("the end of the I/O thread fails the call, and ends the tool's thread with it", async () => {
      const file = fresh()
      const loop = WorkerTool.fromModule(url, { export: "endless" })
      const crash = Effect.andThen(
        grown(file),
        Effect.sync(() => IoWorker.peek()!.tell("crash"))
      )
      const program = Effect.andThen(
        Effect.raceFirst(resultsOf([[loop, { file }]]), Effect.andThen(crash, Effect.never)),
        (results) => Effect.map(resultsOf([[blocking, { ms: 1 }]]), (next) => [results, next])
      )
      const [failed, next] = await run(program)
      assert.match(JSON.stringify(failed), /WorkerCrashed/)
      assert.deepStrictEqual(next, [{ calls: 1 }])
      let size = -1
      while (size !== sizeOf(file)) {
        size = sizeOf(file)
        pause(100)
      }
    })

    it("a tool's timeout ends its thread", async () => {
      const file = fresh()
      const loop = WorkerTool.fromModule(url, { export: "endless" })
      const program = Effect.gen(function* () {
        const results = yield* resultsOf([[loop, { file }]], { toolTimeout: "300 millis" })
        return [results, yield* resultsOf([[blocking, { ms: 1 }]])]
      })
      const [timedOut, next] = await run(Effect.provide(program, WorkerPool.layer({ size: 1 })))
      assert.match(JSON.stringify(timedOut), /failed.*did not answer within 300ms/)
      assert.deepStrictEqual(next, [{ calls: 1 }])
      const size = sizeOf(file)
      pause(50)
      assert.strictEqual(sizeOf(file), size)
    })

    it("a module that takes longer to load than its tool may take is loaded for the next call", async () => {
      const gate = fresh()
      const module = new URL(`../../support/modules/slow.ts?gate=${encodeURIComponent(gate)}`, import.meta.url)
      const slow = WorkerTool.fromModule(module, {
        name: "slow",
        description: "Loads slowly",
        parameters: Schema.Struct({ attempt: Schema.Finite })
      })
      const program = Effect.gen(function* () {
        for (let attempt = 1; ; attempt++) {
          const results = yield* resultsOf([[slow, { attempt }]], { toolTimeout: "200 millis" })
          if (!JSON.stringify(results).includes("did not answer")) return { attempt, results }
          // The first call is over before the module is loaded.
          fs.writeFileSync(gate, "open")
        }
      })
      const { attempt, results } = await run(
        program.pipe(Effect.timeout("30 seconds"), Effect.provide(WorkerPool.layer({ size: 1 })))
      )
      assert.isAbove(attempt, 1)
      const [{ attempts }] = results as unknown as readonly [{ readonly attempts: ReadonlyArray<number> }]
      assert.notInclude(attempts, 1)
      assert.strictEqual(attempts.at(-1), attempt)
    })

    it("a module that is never loaded holds up no others", async () => {
      const hung = WorkerTool.fromModule(new URL("../../support/modules/hung.ts", import.meta.url), {
        name: "hung",
        description: "Never loads"
      })
      const program = Effect.gen(function* () {
        const results = yield* resultsOf([[hung, {}]], { toolTimeout: "200 millis" })
        return [results, yield* resultsOf([[blocking, { ms: 1 }]])]
      })
      const [timedOut, next] = await run(Effect.provide(program, WorkerPool.layer({ size: 1 })))
      assert.match(JSON.stringify(timedOut), /did not answer within 200ms/)
      assert.deepStrictEqual(next, [{ calls: 1 }])
    })

    it("a function that heeds its signal, or has a finalizer, gets to its end", async () => {
      const heeding = fresh()
      const cleaning = fresh()
      const calls: ReadonlyArray<Call> = [
        [onFile("heeding"), { file: heeding }],
        [WorkerTool.fromModule(url, { export: "cleaning" }), { file: cleaning }]
      ]
      const program = Effect.raceFirst(resultsOf(calls), grown(heeding, cleaning))
      await run(Effect.provide(program, WorkerPool.layer({ size: 2, grace: "20 seconds" })))
      assert.strictEqual(fs.readFileSync(heeding, "utf8"), "aborted: true")
      assert.strictEqual(fs.readFileSync(cleaning, "utf8"), "clean")
    })

    it("as many calls run at once as the pool has threads, and threads are used again", async () => {
      const calls = Array.from({ length: 6 }, (): Call => [blocking, { ms: 20 }])
      const results = await run(Effect.provide(resultsOf(calls), WorkerPool.layer({ size: 2 })))
      const counted = results.map((one) => (one as { readonly calls: number }).calls)
      // Each thread counts its own calls.
      assert.strictEqual(counted.filter((n) => n === 1).length, 2)
      assert.isAtLeast(Math.max(...counted), 3)
    })

    it("interrupting the run while calls wait for a thread leaves nothing behind", async () => {
      const [first, second] = [fresh(), fresh()]
      const deaf = onFile("deaf")
      const calls: ReadonlyArray<Call> = [
        [deaf, { file: first }],
        [deaf, { file: second }]
      ]
      const program = Effect.raceFirst(resultsOf(calls), grown(first)).pipe(
        Effect.andThen(resultsOf([[blocking, { ms: 1 }]])),
        Effect.provide(WorkerPool.layer({ size: 1 }))
      )
      assert.deepStrictEqual(await run(program), [{ calls: 1 }])
      const size = sizeOf(first)
      pause(50)
      assert.deepStrictEqual([sizeOf(first), sizeOf(second)], [size, 0])
    })
  })
}

describe("the event loop", () => {
  it("goes on while a tool blocks in a worker, and stands still while one blocks in place", async () => {
    let ticks = 0
    const ticksDuring = async (effect: Effect.Effect<unknown>) => {
      ticks = 0
      const timer = setInterval(() => ticks++, 5)
      await Effect.runPromise(effect)
      clearInterval(timer)
      return ticks
    }
    // Counted inside of the tool: around it, a busy machine has time for more.
    let ticksInPlace = -1
    const inPlace = AgentTool.fromFunction("block", {
      description: "Blocks",
      execute: () => {
        const before = ticks
        pause(400)
        ticksInPlace = ticks - before
      }
    })
    const warm = Effect.orDie(resultsOf([[blocking, { ms: 1 }]]))
    await Effect.runPromise(warm)
    assert.isAtLeast(await ticksDuring(Effect.orDie(resultsOf([[blocking, { ms: 1500 }]]))), 10)
    await ticksDuring(Effect.orDie(resultsOf([[inPlace, {}]])))
    assert.strictEqual(ticksInPlace, 0)
  })

  it("threads end with the Layer, also what a tool has left running there", async () => {
    const file = fresh()
    const program = Effect.andThen(resultsOf([[onFile("lingers"), { file }]]), grown(file))
    await Effect.runPromise(Effect.provide(program, WorkerPool.layer()))
    let size = -1
    while (size !== sizeOf(file)) {
      size = sizeOf(file)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })

  it("threads do not keep the process alive", async () => {
    const program = `
      import { Effect } from "effect"
      import { shared } from "./src/layers/internal/io/pool.ts"
      const call = { tool: "t", module: "data:text/javascript,export default () => 42", export: "default", params: {}, context: {} }
      console.log(await Effect.runPromise(shared.call(call)))`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--conditions=troupe-source", "--input-type=module", "--eval", program],
      { cwd: path.resolve(import.meta.dirname, "../../.."), timeout: 20_000 }
    )
    assert.strictEqual(stdout, "42\n")
  })
})

describe("what its definition says", () => {
  it("of approval and hints holds in either form", () => {
    const inModule = WorkerTool.fromModule(url, { export: "guarded" })
    const here = WorkerTool.fromModule(url, {
      name: "guarded",
      export: "throwing",
      description: "Guarded",
      needsApproval: true,
      hints: { readOnly: true }
    })
    for (const { tool } of [inModule, here]) {
      assert.isTrue(tool.needsApproval)
      assert.isTrue(Context.get(tool.annotations, Tool.Readonly))
    }
    assert.strictEqual(Duration.toMillis(inModule.timeout!), 5000)
  })

  it("of retries holds where it is given with the module", async () => {
    const tool = WorkerTool.fromModule(url, {
      name: "throwing",
      description: "Throws",
      export: "throwing",
      hints: { readOnly: true },
      retry: Schedule.recurs(2)
    })
    const events = await Effect.runPromise(
      Agent.make("agent", { tools: [tool] })
        .stream("go")
        .pipe(Stream.runCollect, Effect.provide(TestModel.layer([TestModel.toolCall("throwing", {}), "done"])))
    )
    assert.deepStrictEqual(
      events.flatMap((event) => (event._tag === "ToolFailed" ? [event.attempts] : [])),
      [3]
    )
  })
})

describe("what cannot be", () => {
  it("an option that there is not, or that the tool of the module has said itself, is refused", () => {
    const loosely = WorkerTool.fromModule as (module: URL, options: object) => unknown
    const misspelt = { name: "throwing", export: "throwing", description: "Throws", timeOut: 5 }
    assert.throws(() => loosely(url, misspelt), 'tool "throwing": it has no option "timeOut"')
    assert.throws(() => loosely(url, { export: "guarded", timeout: 5 }), 'it has no option "timeout"')
  })

  it("a module that is not there, is broken, awaits, or has no such tool, is refused at once", () => {
    const problem = (make: () => unknown) => {
      try {
        make()
        return "none"
      } catch (error) {
        assert.instanceOf(error, RunError.InvalidDefinition)
        return error.message
      }
    }
    const at = (file: string) => new URL(`../../support/modules/${file}`, import.meta.url)
    assert.match(
      problem(() => WorkerTool.fromModule(at("absent.ts"))),
      /Cannot find module/
    )
    assert.match(
      problem(() => WorkerTool.fromModule(at("broken.ts"))),
      /it is broken/
    )
    assert.match(
      problem(() => WorkerTool.fromModule(at("awaits.ts"))),
      /top-level await.*plain function/s
    )
    assert.match(
      problem(() => WorkerTool.fromModule(url, { export: "absent" })),
      /no export named "absent"/
    )
    assert.match(
      problem(() => WorkerTool.fromModule(url, { export: "block" })),
      /is not a tool/
    )
    assert.match(
      problem(() => WorkerTool.fromModule(new URL("https://localhost/x.js"))),
      /it is not a file/
    )
    assert.match(
      problem(() => WorkerTool.fromModule(url, { name: "no good", description: "" })),
      /providers refuse/
    )
  })

  it("runSync without its edge is refused by name", () => {
    const exit = Effect.runSyncExit(resultsOf([[plain("throwing"), {}]]))
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    assert.instanceOf(error, RunError.AsyncToolError)
    assert.match(error.message, /SyncEdge\.layer/)
  })

  it("the name of a module's tool is known to the compiler when it knows the module", () => {
    const tool: AgentTool.AgentTool<"double", never> =
      WorkerTool.fromModule<typeof import("../../support/modules/tools.ts").default>(url)
    assert.strictEqual(tool.name, "double")
    const run: WorkerTool.ModuleFunction<typeof File> = ({ file }, { signal }) => `${file} ${signal.aborted}`
    assert.isFunction(run)
  })
})
