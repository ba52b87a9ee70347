/** Runners on a server as runners of another program: the same results, errors and events, and the same end. */
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import {
  Agent,
  AgentServer,
  AgentTool,
  Compaction,
  Parallel,
  Router,
  RunError,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"
import { handling, listen, until } from "../../support/agentServer.ts"
import { checkGrammar } from "../../support/grammar.ts"
import { endless, fetchOf, model } from "../../support/serverClients.ts"

const Point = Schema.Struct({ x: Schema.Int, at: Schema.DateFromString })
class Broke extends Schema.TaggedError<Broke>()("Broke", { part: Schema.String }) {}
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const desk = Agent.make("desk", { tools: [look], retry: "none", maxSteps: 2 })
const typed = Runner.make("typed", {
  run: ({ x }: typeof Point.Type) => Effect.succeed({ x: x + 1, at: new Date(x) }),
  output: Point
})
const broken = Runner.make("broken", {
  run: (text: string) => (text === "" ? Effect.succeed(1) : Effect.fail(new Broke({ part: text })))
})
const brief = Agent.make("brief", {
  middleware: [
    Compaction.make({ window: 200, tokenizer: (text) => text.length / 4, policies: [Compaction.dropOldest] })
  ]
})
const runners = { desk, brief, typed: { runner: typed, input: Point }, broken }

const serve = (handler: http.RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const server = http.createServer(handler).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`))

const remotely = (
  script: ReturnType<typeof model>,
  options: AgentServer.ServerOptions = {},
  client: Partial<AgentServer.ClientOptions> = {}
) =>
  Effect.map(handling({ runners, ...options }, script), (handler) => {
    return AgentServer.client(runners, { url: "http://localhost", fetch: fetchOf(handler), ...client })
  })

describe("AgentServer.client", () => {
  it.live("takes neither input nor headers to where the server redirects", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const other = yield* serve((request, response) => {
        seen.push(request.headers["x-api-key"])
        response.end("{}")
      })
      const url = yield* serve((request, response) => {
        response.writeHead(307, { location: other + String(request.url) }).end()
      })
      const { desk } = AgentServer.client(runners, { url, headers: { "x-api-key": "secret" } })
      const error = yield* Effect.flip(desk.run("private"))
      assert.include(error.message, "redirect")
      assert.deepStrictEqual(seen, [])
    }).pipe(Effect.scoped)
  )

  it.live("counts no part of a bill that is not one", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: { total: -3, cacheRead: 1 }, outputTokens: { total: 4, reasoning: -1 } }
      const bill = { usage, cost: -1, steps: -2 }
      const lines = [
        { _tag: "Used", v: 2, seq: 1, at: 0, step: 1, usage, cost: -1 },
        { _tag: "Completed", v: 2, seq: 2, at: 0, output: "Done.", durationMs: 0, ...bill }
      ]
      const fetch: typeof globalThis.fetch = (input) => {
        const isStream = String(input).endsWith("/stream")
        const body = isStream ? lines.map((line) => `${JSON.stringify(line)}\n`).join("") : { output: "Done.", ...bill }
        return Promise.resolve(new Response(typeof body === "string" ? body : JSON.stringify(body)))
      }
      const remote = AgentServer.client({ desk }, { url: "http://localhost", fetch }).desk
      const events = yield* Stream.runCollect(remote.stream("Hi"))
      const used = events.find((event) => event._tag === "StepCompleted")
      const end = events.find((event) => event._tag === "RunCompleted")
      const whole = yield* remote.result("Hi")
      const spent = end?.spent
      for (const one of [used, spent, whole]) {
        assert.deepStrictEqual([one?.usage.inputTokens.total, one?.usage.outputTokens.total], [undefined, 4])
        assert.deepStrictEqual([one?.usage.inputTokens.cacheRead, one?.usage.outputTokens.reasoning], [1, undefined])
      }
      assert.notProperty(spent, "cost")
      assert.notProperty(used, "cost")
      assert.deepStrictEqual([spent?.steps, whole.steps], [1, 0])
    })
  )

  it.live("runs, with the output, the usage and the steps of the server", () =>
    Effect.gen(function* () {
      const remote = yield* remotely(model([TestModel.toolCall("look", {}), "Done."]))
      const result = yield* remote.desk.result("Hi")
      assert.strictEqual(result.output, "Done.")
      assert.strictEqual(result.steps, 2)
      assert.strictEqual(result.usage.outputTokens.total, 10)
      const at = new Date(5)
      const point: typeof Point.Type = yield* remote.typed.run({ x: 5, at })
      assert.deepStrictEqual(point, { x: 6, at })
    }).pipe(Effect.scoped)
  )

  it.live("streams events that are in order, with the text as it comes", () =>
    Effect.gen(function* () {
      const remote = yield* remotely(
        model([{ text: "One moment.", ...TestModel.toolCall("look", {}) }, { text: ["It ", "is there."] }])
      )
      const events: ReadonlyArray<RunEvent.RunEvent> = yield* Stream.runCollect(remote.desk.stream("Hi"))
      checkGrammar(events)
      assert.deepStrictEqual(
        events.map((event) => (event._tag === "TextDelta" ? event.delta : event._tag)),
        [
          "RunStarted",
          "StepStarted",
          "One moment.",
          "ToolCalled",
          "ToolCompleted",
          "StepCompleted",
          "StepStarted",
          "It ",
          "is there.",
          "StepCompleted",
          "RunCompleted"
        ]
      )
      const last = events.at(-1)!
      assert.deepInclude(last._tag === "RunCompleted" && last, { output: "It is there." })
    }).pipe(Effect.scoped)
  )

  it.live("streams that a conversation was compacted", () =>
    Effect.gen(function* () {
      const remote = yield* remotely(model(["Done."]))
      const turns = Array.from({ length: 8 }, (_, n) => [
        { role: "user" as const, content: `Question ${n}` },
        { role: "assistant" as const, content: [{ type: "text" as const, text: "word ".repeat(30) }] }
      ]).flat()
      const events = yield* Stream.runCollect(remote.brief.stream([...turns, { role: "user", content: "And now?" }]))
      checkGrammar(events)
      const compacted = events.find((event) => event._tag === "Compacted")
      if (compacted?._tag !== "Compacted") return assert.fail("there is no such event")
      assert.deepStrictEqual([compacted.step, compacted.policy], [1, "dropOldest"])
      assert.isBelow(compacted.after, compacted.before)
    }).pipe(Effect.scoped)
  )

  it.live("fails with the same errors, whole and streamed", () =>
    Effect.gen(function* () {
      const calling = model(() => TestModel.toolCall("look", {}))
      const limited = yield* remotely(calling)
      for (const run of [limited.desk.run("Hi"), Stream.runDrain(limited.desk.stream("Hi"))]) {
        const error: AgentServer.RemoteError | Agent.Error = yield* Effect.flip(run)
        assert.strictEqual(error._tag, "MaxStepsExceeded")
        assert.strictEqual((error as RunError.MaxStepsExceeded).maxSteps, 2)
      }
      const refused = yield* remotely(model(() => ({ fail: new AiError.AuthenticationError({ kind: "InvalidKey" }) })))
      for (const run of [refused.desk.run("Hi"), Stream.runDrain(refused.desk.stream("Hi"))]) {
        const error = yield* Effect.flip(run)
        if (error._tag !== "ModelError") return assert.fail(error._tag)
        assert.strictEqual(error.reason.reason._tag, "AuthenticationError")
      }
    }).pipe(Effect.scoped)
  )

  it.live("has errors of the program where both sides name them, and otherwise their tag", () =>
    Effect.gen(function* () {
      const unknown = yield* remotely(model([]))
      const error = yield* Effect.flip(unknown.broken.run("pump"))
      if (error._tag !== "RemoteError") return assert.fail(error._tag)
      assert.deepInclude({ ...error }, { reason: "failed", error: "Broke", status: 500 })
      const known = yield* remotely(model([]), { expose: ["errors"] }, { errors: [Broke] })
      for (const run of [known.broken.run("pump"), Stream.runDrain(known.broken.stream("pump"))]) {
        const same = yield* Effect.flip(run)
        assert.instanceOf(same, Broke)
        assert.strictEqual((same as Broke).part, "pump")
      }
    }).pipe(Effect.scoped)
  )

  it.live("has errors of workflows, with those of their members, where the server shows errors", () =>
    Effect.gen(function* () {
      const panel = Parallel.make("panel", { desk, other: desk })
      const router = Router.make("router", { desk }, { classify: () => Effect.succeed("none" as string as "desk") })
      const served = { panel, router }
      const handler = yield* handling(
        { runners: served, expose: ["errors"] },
        model(() => TestModel.toolCall("look", {}))
      )
      const remote = AgentServer.client(served, { url: "http://localhost", fetch: fetchOf(handler) })
      for (const run of [remote.panel.run("Hi"), Stream.runDrain(remote.panel.stream("Hi"))]) {
        const error = yield* Effect.flip(run)
        if (error._tag !== "ParallelError") return assert.fail(error._tag)
        assert.instanceOf(error, Parallel.ParallelError)
        const [failed] = error.failures
        assert.instanceOf(failed!.error, RunError.MaxStepsExceeded)
        assert.include(error.message, "did not finish in 2 steps")
      }
      assert.instanceOf(yield* Effect.flip(remote.router.run("Hi")), Router.RouteNotFound)
    }).pipe(Effect.scoped)
  )

  it.live("says what is wrong with the server or the request", () =>
    Effect.gen(function* () {
      const reasonOf = (remote: ReturnType<typeof AgentServer.client<typeof runners>>) =>
        Effect.map(Effect.flip(remote.desk.run("Hi")), (error) =>
          error._tag === "RemoteError" ? error.reason : error._tag
        )
      const bearer = (token: Redacted.Redacted<string>) => Redacted.value(token) === "ada"
      assert.strictEqual(yield* reasonOf(yield* remotely(model(["Hi"]), { bearer })), "unauthorized")
      const token = Redacted.make("ada")
      const accepted = yield* remotely(model(["Hello."]), { bearer }, { token })
      assert.strictEqual(yield* accepted.desk.run("Hi"), "Hello.")
      const dead = AgentServer.client(runners, { url: "http://127.0.0.1:1" })
      assert.strictEqual(yield* reasonOf(dead), "unreachable")
      const other = AgentServer.client(runners, {
        url: "http://localhost",
        fetch: (async () => new Response("<html>", { status: 200 })) as typeof globalThis.fetch
      })
      assert.strictEqual(yield* reasonOf(other), "unreadable")
      const small = yield* remotely(model(["Hi"]), { limits: { body: 5 } })
      assert.strictEqual(yield* reasonOf(small), "refused")
    }).pipe(Effect.scoped)
  )

  it.live("reads no more of an answer than its limit", () =>
    Effect.gen(function* () {
      const long = model(() => ({ text: Array.from({ length: 200 }, () => "word ") }))
      const remote = yield* remotely(long, {}, { limit: 500 })
      for (const run of [remote.desk.run("Hi"), Stream.runDrain(remote.desk.stream("Hi"))]) {
        const error = yield* Effect.flip(run)
        assert.strictEqual(error._tag === "RemoteError" ? error.reason : "", "too-large")
      }
      const endless = AgentServer.client(runners, {
        url: "http://localhost",
        fetch: (() =>
          Promise.resolve(
            new Response(
              new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65_536).fill(32)) })
            )
          )) as typeof fetch
      })
      const error = yield* Effect.flip(endless.desk.run("Hi"))
      assert.strictEqual(error._tag === "RemoteError" ? error.reason : "", "too-large")
    }).pipe(Effect.scoped)
  )

  it.live("an interruption ends the run on the server", () =>
    Effect.gen(function* () {
      const { runner, state } = endless()
      const url = yield* listen({ runners: { endless: runner } }, Layer.empty)
      const remote = AgentServer.client({ endless: runner }, { url })
      for (const run of [remote.endless.run("Hi"), Stream.runDrain(remote.endless.stream("Hi"))]) {
        const { begun } = state
        const fiber = yield* Effect.forkChild(run)
        yield* until(() => state.begun === begun + 1)
        yield* Fiber.interrupt(fiber)
        yield* until(() => state.ended === begun + 1, "the interruption")
      }
    }).pipe(Effect.scoped)
  )
})
