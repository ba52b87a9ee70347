/** Programs of a model: what they can do, how they end, and what is known of them. */
import { assert, describe, it } from "@effect/vitest"
import { vi } from "vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Schema } from "effect"
import {
  Agent,
  AgentTool,
  Approvals,
  CodeMode,
  FileTools,
  Middleware,
  Runner,
  Sandbox,
  ShellTools,
  SyncEdge,
  TestModel,
  ToolSearch,
  ToolSource
} from "troupe"
import { declarations } from "../../../src/layers/code/internal/declarations.ts"
import { Engine } from "../../support/codeEngine.ts"
import { collect } from "../../support/grammar.ts"

const double = AgentTool.fromFunction("double", {
  description: "Doubles a number",
  parameters: Schema.Struct({ n: Schema.Finite }),
  success: Schema.Struct({ value: Schema.Finite }),
  execute: ({ n }) => ({ value: n * 2 })
})
const broken = AgentTool.fromFunction("broken", { description: "Breaks", execute: () => Effect.fail("broken") })

const run = <const T extends ReadonlyArray<CodeMode.Member>>(
  source: string,
  tools: T,
  options: CodeMode.LimitOptions = {}
) => CodeMode.run(source, tools, options).pipe(Effect.provide(CodeMode.layerQuickJs))
const errorOf = (
  source: string,
  tools: ReadonlyArray<AgentTool.AgentTool<string, never>> = [double, broken],
  options: CodeMode.LimitOptions = {}
) =>
  Effect.flip(run(source, tools, options)).pipe(
    Effect.map((error) => (error._tag === "ProgramError" ? error : assert.fail(String(error))))
  )

describe("a program", () => {
  it.live("calls tools at once, handles their failures, and returns JSON", () =>
    Effect.gen(function* () {
      const value = yield* run(
        `const all = await Promise.all([1, 2, 3].map((n) => tools.double({ n })))
         let failure
         try { await tools.broken() } catch (e) { failure = e.name + ": " + e.message }
         return { sum: all.reduce((sum, { value }) => sum + value, 0), failure }`,
        [double, broken]
      )
      assert.deepStrictEqual(value, { sum: 12, failure: "ToolError: broken" })
    })
  )

  it("runs under Effect.runSync", () => {
    const value = Effect.runSync(
      run("return (await tools.double({ n: 21 })).value", [double]).pipe(Effect.provide(SyncEdge.layer))
    )
    assert.strictEqual(value, 42)
  })

  it.live("has nothing but its tools and its console", () =>
    Effect.gen(function* () {
      const value = yield* run(
        `const names = ["process", "require", "fetch", "Atomics", "setTimeout", "WebAssembly", "navigator"]
         let imported
         try { imported = await import("node:fs") } catch { imported = "no" }
         return [names.filter((name) => name in globalThis), imported, Object.keys(tools)]`,
        [double]
      )
      assert.deepStrictEqual(value, [[], "no", ["double"]])
    })
  )

  it.live("does not see time go by", () =>
    Effect.gen(function* () {
      const value = yield* run(`const t = Date.now(); for (let i = 0; i < 1e5; i++); return Date.now() - t`, [])
      assert.strictEqual(value, 0)
    })
  )

  for (const [name, source] of [
    ["a loop", "for (;;) {}"],
    ["a loop that catches", "for (;;) { try { for (;;) {} } catch {} }"],
    ["a regular expression", `return /^(a+)+$/.test("a".repeat(40) + "!")`],
    ["jobs without end", "const again = () => Promise.resolve().then(again); await again()"],
    ["a loop of the engine's own", "return new Array(4e7).join('x').length"]
  ] as const) {
    it.live(`is stopped: ${name}`, () =>
      Effect.gen(function* () {
        const { done, reason } = yield* errorOf(`await tools.double({ n: 1 }); ${source}`, [double], {
          turnTimeout: "500 millis"
        })
        // The last one can also run out of memory first.
        assert.include(["Time", "Memory"], reason)
        assert.deepStrictEqual(
          done.map(({ tool }) => tool),
          ["double"]
        )
      })
    )
  }

  it.live("is stopped when it uses too much memory, which it cannot catch", () =>
    Effect.gen(function* () {
      const { reason } = yield* errorOf(
        "const all = []; for (;;) { try { all.push(new Array(1e5).fill(1)) } catch {} }"
      )
      assert.include(["Memory", "Time"], reason)
    })
  )

  for (const [what, source, reason, detail] of [
    ["a mistake in its syntax", "return (", "Threw", /SyntaxError/],
    ["an error that it throws", "const x = undefined;\nreturn x.y", "Threw", /TypeError.*line 2/],
    [
      "a call that it does not await",
      "tools.double({ n: 1 }); return 1",
      "Unawaited",
      /double was called and not awaited/
    ],
    ["what never comes", "await new Promise(() => {})", "Stuck", /never comes/]
  ] as const) {
    it.live(`fails for ${what}, and says so`, () =>
      Effect.gen(function* () {
        const error = yield* errorOf(source)
        assert.strictEqual(error.reason, reason)
        assert.match(error.message, detail)
      })
    )
  }

  it.live("makes no more calls than it may", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        run("for (let n = 0; ; n++) await tools.double({ n })", [double], { maxCalls: 5 })
      )
      assert.match(error.message, /more than 5 calls. Calls that were done: double\(\{"n":0\}\)/)
    })
  )

  it.live("interrupts the loser of a race when it returns, and all calls when it is interrupted", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      let interrupted = 0
      const hangs = AgentTool.fromFunction("hangs", {
        description: "Hangs",
        execute: () =>
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.sync(() => interrupted++))
          )
      })
      assert.strictEqual(
        yield* run("return await Promise.race([tools.hangs(), tools.double({ n: 1 }).then(() => 'won')])", [
          hangs,
          double
        ]),
        "won"
      )
      assert.strictEqual(interrupted, 1)
      const fiber = yield* Effect.forkChild(run("await tools.hangs()", [hangs]))
      yield* Deferred.await(begun)
      yield* Effect.yieldNow
      const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
      assert.isTrue(Exit.hasInterrupts(exit))
    })
  )
})

it.live("a program is stopped where the clock stands still while it runs, as in Cloudflare's Workers", () =>
  Effect.gen(function* () {
    const still = performance.now()
    const clock = vi.spyOn(performance, "now").mockReturnValue(still)
    const error = yield* Effect.flip(CodeMode.run("for (;;) {}", [], { turnTimeout: "50 millis" })).pipe(
      Effect.provide(Engine),
      Effect.ensuring(Effect.sync(() => clock.mockRestore()))
    )
    assert.strictEqual(error._tag === "ProgramError" && error.reason, "Time")
  })
)

describe("what is given to a program and to its model", () => {
  const long = (length: number) =>
    AgentTool.fromFunction("long", { description: "Gives much", execute: () => "x".repeat(length) })

  it.effect("has a limit for each call's arguments and result", () =>
    Effect.gen(function* () {
      const take = AgentTool.fromFunction("take", {
        description: "Takes much",
        parameters: Schema.Struct({ text: Schema.String }),
        execute: ({ text }) => text.length
      })
      const value = yield* CodeMode.run(
        `const failed = []
         try { await tools.long() } catch (e) { failed.push(e.message) }
         try { await tools.take({ text: "x".repeat(1000001) }) } catch (e) { failed.push(e.message) }
         return failed`,
        [long(4_000_001), take]
      )
      assert.deepStrictEqual(value, [
        "its result is longer than 4000000 characters",
        "not called: its parameters are longer than 1000000 characters"
      ])
    }).pipe(Effect.provide(Engine))
  )

  it.effect("has a limit for all that a program is kept with while it waits, and the call that would wait fails", () =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
      const use = [CodeMode.feature([long(2_500_000), pay])]
      const program = `await tools.long(); await tools.long(); try { return await tools.pay() } catch (e) { return e.message }`
      const { events } = yield* collect(Agent.make("a", { use }), "go").pipe(
        Effect.provide(
          TestModel.layer([{ toolCalls: [{ id: "p", name: "run_program", params: { program } }] }, "done"])
        )
      )
      const end = events.find((event) => event._tag === "ToolCompleted" && event.toolCallId === "p")
      assert.match(JSON.stringify(end), /have given more than 4000000 characters. Make such calls first/)
    }).pipe(Effect.provide(Engine))
  )

  it("is declared in the order of the tools, as much as there is room for", () => {
    const many = Array.from({ length: 300 }, (_, n) =>
      AgentTool.fromFunction(`tool_${n}`, { description: "A tool with a description. ".repeat(10), execute: () => n })
    )
    const { left, text } = declarations(many)
    assert.isBelow(text.length, 31_000)
    const shown = Array.from(text.matchAll(/tool_(\d+)\(/g), ([, n]) => Number(n))
    assert.deepStrictEqual(shown, [...shown.keys()])
    assert.deepStrictEqual([left[0], left.length], [`tool_${shown.length}`, 300 - shown.length])
    assert.strictEqual(declarations(many).text, text)
  })
})

describe("an agent in code mode", () => {
  const program = (source: string) =>
    TestModel.layer([{ toolCalls: [{ id: "p", name: "run_program", params: { program: source } }] }, "done"], {
      unused: "ignore"
    })

  it.effect("calls its tools the loop's one way, and only the result enters the conversation", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const audit = Middleware.make("audit", {
        tool: (call, next) => {
          seen.push(`${call.toolCallId} ${call.tool}`)
          return next(call)
        }
      })
      const shout = Runner.make("shout", {
        description: "Shouts",
        run: (text: string) => Effect.succeed(text.toUpperCase())
      })
      const agent = Agent.make("analyst", { use: [CodeMode.feature([double, shout])], middleware: [audit] })
      const { events } = yield* collect(agent, "go").pipe(
        Effect.provide([
          program(
            `console.log("begun"); const { value } = await tools.double({ n: 4 }); return [value, await tools.shout({ input: "hi" })]`
          ),
          Engine
        ])
      )
      assert.deepStrictEqual(seen, ["p run_program", "p/1 double", "p/2 shout"])
      const parents = events.flatMap((event) =>
        event._tag === "ToolCalled" ? [[event.tool, event.parentToolCallId ?? ""]] : []
      )
      assert.deepStrictEqual(parents, [
        ["run_program", ""],
        ["double", "p"],
        ["shout", "p"]
      ])
      const end = events.find((event) => event._tag === "ToolCompleted" && event.toolCallId === "p")
      assert.deepStrictEqual(end?._tag === "ToolCompleted" && end.result, {
        result: [8, "HI"],
        console: "begun\n"
      })
    })
  )

  it.effect("shows the model the declarations of its tools", () =>
    Effect.gen(function* () {
      const odd = AgentTool.fromFunction("odd-name", {
        description: "Ends */ a comment",
        parameters: Schema.Struct({ city: Schema.String, days: Schema.optionalKey(Schema.Finite) }),
        execute: () => 1
      })
      yield* Agent.make("analyst", { use: [CodeMode.feature([double, odd], { direct: ["double"] })] }).run("go")
      const { calls } = yield* TestModel.TestModel
      const { tools } = (yield* calls)[0]!
      assert.deepStrictEqual(tools, ["double", "run_program"])
      const description = declarations([double, odd]).text
      assert.include(description, "/** Doubles a number */")
      assert.include(description, "double(input: {\n    n: number\n  }): Promise<{\n    value: number\n  }>")
      assert.include(description, `"odd-name"(input: {\n    city: string\n    days?: number\n  }): Promise<any>`)
      assert.include(description, "Ends * / a comment")
    }).pipe(Effect.provide([TestModel.layer(["done"]), Engine]))
  )

  it.effect("has the tools of features, and their instructions", () =>
    Effect.gen(function* () {
      const use = [
        CodeMode.feature([FileTools.feature(), ShellTools.feature({ allow: ["wc"] })], { destructive: "allow" })
      ]
      const { events } = yield* collect(Agent.make("a", { use }), "go")
      const end = events.find((event) => event._tag === "ToolCompleted" && event.toolCallId === "p")
      assert.include(JSON.stringify(end), '"result":["a","b",2]')
      const { calls } = yield* TestModel.TestModel
      assert.include(JSON.stringify((yield* calls)[0]!.prompt), "Commands run here: Files in memory")
    }).pipe(
      Effect.provide([
        program(
          `const { entries } = await tools.list_files({})
           const { stdout } = await tools.run_command({ command: "wc", args: entries.map(({ path }) => path) })
           return [...entries.map(({ path }) => path), Number(stdout)]`
        ),
        Engine,
        Sandbox.layerMemory({
          files: { "/a": "1", "/b": "2" },
          commands: { wc: (args) => Effect.succeed(String(args.length)) }
        })
      ])
    )
  )

  it.effect("asks before a program calls a tool that destroys, unless it may", () =>
    Effect.gen(function* () {
      const wipe = AgentTool.fromFunction("wipe", {
        description: "Wipes",
        hints: { destructive: true },
        execute: () => "wiped"
      })
      const model = program("return await tools.wipe()")
      const resultOf = (destructive: "ask" | "allow") =>
        Effect.map(
          collect(Agent.make("a", { use: [CodeMode.feature([wipe], { destructive })] }), "go").pipe(
            Effect.provide([model, Engine])
          ),
          ({ events }) => {
            const last = events.at(-1)!
            const ended = events.find((e) => e._tag === "ToolCompleted" && e.toolCallId === "p")
            return last._tag === "RunSuspended" ? last.waitingFor.map((one) => one.kind) : JSON.stringify(ended)
          }
        )
      assert.deepStrictEqual(yield* resultOf("ask"), ["approval"])
      assert.include(String(yield* resultOf("allow")), "wiped")
      const asked = yield* resultOf("ask").pipe(
        Effect.provide(Approvals.layer(() => Effect.succeed(Approvals.approve)))
      )
      assert.include(String(asked), "wiped")
    })
  )

  it.effect("learns of a failed program which calls were done", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("a", { use: [CodeMode.feature([double])] }), "go").pipe(
        Effect.provide([program("await tools.double({ n: 1 }); throw new Error('over')"), Engine])
      )
      const failed = events.find((event) => event._tag === "ToolFailed" && event.toolCallId === "p")
      const text = JSON.stringify(failed)
      assert.include(text, "Error: over")
      assert.include(text, "Calls that were done: double")
    })
  )

  it.effect("cuts a long result, and says so", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(
        Agent.make("a", { use: [CodeMode.feature([double], { maxResultChars: 100 })] }),
        "go"
      ).pipe(Effect.provide([program("return 'x'.repeat(1000)"), Engine]))
      const end = events.find((event) => event._tag === "ToolCompleted" && event.toolCallId === "p")
      assert.match(JSON.stringify(end), /The result has 1002 characters, and these are the first 100. Return less./)
    })
  )
})

it.effect(
  "an agent that is a service keeps what each of the sources in a search and in programs takes its tools from",
  () =>
    Effect.gen(function* () {
      class Shelf extends Context.Service<Shelf, string>()("test/Shelf") {}
      class Desk extends Context.Service<Desk, string>()("test/Desk") {}
      const said: Array<string> = []
      const sourceOf = <R>(from: Context.Key<R, string>) => {
        const list = Effect.map(Effect.service(from), (own) => {
          said.push(own)
          return []
        })
        return ToolSource.make(from.key, () => list, { from })
      }
      const sources = [sourceOf(Shelf), sourceOf(Desk)] as const
      class Finder extends Agent.Service<Finder>()("test/Finder", { tools: [ToolSearch.make(sources)] }) {}
      class Coder extends Agent.Service<Coder>()("test/Coder", { use: [CodeMode.feature(sources)] }) {}
      const own = Layer.mergeAll(
        Layer.succeed(Shelf, "its own"),
        Layer.succeed(Desk, "its own"),
        Engine,
        TestModel.layer(["done"])
      )
      const theirs = Context.make(Shelf, "the caller's").pipe(Context.add(Desk, "the caller's"))
      yield* Effect.provide(Effect.provide(Finder.run("go"), theirs), Layer.provide(Finder.layer, own))
      yield* Effect.provide(Effect.provide(Coder.run("go"), theirs), Layer.provide(Coder.layer, own))
      assert.deepStrictEqual(said, ["its own", "its own", "its own", "its own"])
    })
)
