/** What is logged of a run: one line when it fails, and nothing else. */
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, type LogLevel, Redacted, References, Stream } from "effect"
import { AiError } from "effect/ai"
import { Agent, AgentTool, OpenAi, Parallel, Runner, Telemetry, TestModel } from "troupe"

interface Line {
  readonly level: LogLevel.LogLevel
  readonly text: string
  readonly annotations: Readonly<Record<string, unknown>>
}

const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const logger = Logger.make(({ fiber, logLevel, message }) => {
      const annotations = fiber.getRef(References.CurrentLogAnnotations)
      lines.push({ level: logLevel, text: String(message), annotations })
    })
    const exit = yield* Effect.exit(effect).pipe(Effect.provide(Logger.layer([logger])))
    return { lines, exit }
  })

const down = TestModel.fail(new AiError.AuthenticationError({ kind: "InvalidKey", description: "no such key" }))
const agent = Agent.make("agent", { retry: "none" })

describe("a run that fails", () => {
  it.effect("logs one error with its id, however it is run", () =>
    Effect.gen(function* () {
      const ways: ReadonlyArray<Effect.Effect<unknown, unknown, never>> = [
        agent.run("go").pipe(Effect.provide(TestModel.layer([down]))),
        agent.result("go").pipe(Effect.provide(TestModel.layer([down]))),
        Stream.runDrain(agent.stream("go")).pipe(Effect.provide(TestModel.layer([down])))
      ]
      for (const way of ways) {
        const { lines } = yield* logged(way)
        assert.strictEqual(lines.length, 1)
        assert.strictEqual(lines[0]!.level, "Error")
        assert.match(String(lines[0]!.annotations["runId"]), /^run_/)
        assert.strictEqual(lines[0]!.text, 'run of "agent" failed: ModelError (AuthenticationError)')
      }
    })
  )

  it.effect("logs it once, with nested runs too", () =>
    Effect.gen(function* () {
      const panel = Parallel.make("panel", { agent, other: Runner.named(agent, "other") })
      const { lines } = yield* logged(panel.run("go").pipe(Effect.provide(TestModel.layer(() => down))))
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0]!.text, 'run of "panel" failed')
    })
  )

  it.effect("logs nothing where the program reports failures itself", () =>
    Effect.gen(function* () {
      const run = agent.run("go").pipe(Effect.provide(TestModel.layer([down])))
      const { exit, lines } = yield* logged(Effect.provideService(run, Telemetry.LogFailures, false))
      assert.strictEqual(exit._tag, "Failure")
      assert.deepStrictEqual(lines, [])
    })
  )

  it.effect("marks a defect as unexpected", () =>
    Effect.gen(function* () {
      const dies = Runner.make("dies", { run: () => Effect.die(new TypeError("x is undefined")) })
      const { lines } = yield* logged(dies.run("go"))
      assert.deepStrictEqual(
        lines.map(({ text }) => text),
        ['run of "dies" failed unexpectedly: TypeError']
      )
    })
  )

  it.effect("logs what was said only when that is asked for", () =>
    Effect.gen(function* () {
      const run = agent.run("go").pipe(Effect.provide(TestModel.layer([down])))
      const { lines } = yield* logged(Effect.provideService(run, Telemetry.CaptureContent, true))
      assert.match(lines[0]!.text, /^run of "agent" failed: ModelError \(AuthenticationError\): .*no such key/)
    })
  )

  it.live("logs no key", () =>
    Effect.gen(function* () {
      const model = OpenAi.layer({
        model: "m",
        apiKey: Redacted.make("sk-secret-1"),
        baseUrl: "http://127.0.0.1:9",
        retry: "none"
      })
      const { lines } = yield* logged(agent.run("go").pipe(Effect.provide(model)))
      assert.strictEqual(lines.length, 1)
      assert.notInclude(JSON.stringify(lines), "sk-secret-1")
    })
  )
})

describe("a run that fails without a logger", () => {
  it("says so on standard error, and leaves standard output to the program", async () => {
    const program = `
      import { Effect, References } from "effect"
      import * as Runner from "troupe/Runner"
      import * as Telemetry from "troupe/Telemetry"
      const fails = Runner.make("fails", { run: () => Effect.fail(new Error("no such luck")) })
      await Effect.runPromise(Effect.flip(fails.run("go")))
      Effect.runSync(Effect.flip(fails.run("go")))
      Effect.runSync(Effect.flip(fails.run("go")).pipe(Effect.provideService(References.MinimumLogLevel, "None")))
      Effect.runSync(Effect.flip(fails.run("go")).pipe(Effect.provideService(Telemetry.LogFailures, false)))
      console.log("done")`
    const args = ["--conditions=troupe-source", "--input-type=module", "-e", program]
    const { stderr, stdout } = await promisify(execFile)(process.execPath, args)
    assert.strictEqual(stdout, "done\n")
    assert.match(stderr, /^(troupe: run of "fails" failed: Error \(run_\w+\)\n){2}$/)
  })
})

describe("a run that does not fail", () => {
  it.effect("logs nothing: neither when it succeeds, nor when it is interrupted, nor when it waits for approval", () =>
    Effect.gen(function* () {
      const asks = Agent.make("asks", {
        tools: [AgentTool.fromFunction("act", { description: "Acts", needsApproval: true, execute: () => 1 })]
      })
      const stops = Runner.make("stops", { run: (_input: string) => Effect.interrupt })
      for (const effect of [
        agent.run("go").pipe(Effect.provide(TestModel.layer(["fine"]))),
        stops.run("go"),
        asks.run("go").pipe(Effect.provide(TestModel.layer([TestModel.toolCall("act", {})])))
      ]) {
        assert.deepStrictEqual((yield* logged<unknown, unknown, never>(effect)).lines, [])
      }
    })
  )
})
