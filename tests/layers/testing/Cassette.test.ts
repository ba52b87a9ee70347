/** What is recorded is replayed: without the server, without a key, on both edges and across them. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Exit, Fiber, Layer, Redacted, Schedule, Schema, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Cassette, OpenAi, Parallel, type RunEvent } from "troupe"
import * as ChildServer from "../../support/childServer.ts"
import { directModel } from "../../support/directModel.ts"
import { exitOn } from "../../support/edges.ts"
import { request } from "../../support/openAiRequest.ts"
import { error, type Reply, text, toolCalls } from "../../support/openAiServer.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const secret = "sk-very-secret-0123456789"

type Edge = keyof typeof exitOn
const other = (edge: Edge): Edge => (edge === "async" ? "sync" : "async")

const add = AgentTool.fromFunction("add", {
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => a + b
})
const adder = Agent.make("adder", { instructions: "Add.", tools: [add], retry: "none" })
const talker = Agent.make("talker", { retry: "none" })

const valueOf = <A>(exit: Exit.Exit<A, unknown>): A =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
const failureOf = <E>(exit: Exit.Exit<unknown, E>): E =>
  Exit.isSuccess(exit) ? assert.fail(`succeeded with ${JSON.stringify(exit.value)}`) : (Cause.squash(exit.cause) as E)

/** The deltas of a stream, in their pieces. */
const deltas = (events: Stream.Stream<RunEvent.RunEvent, Agent.Error, LanguageModel.LanguageModel>) =>
  Effect.map(Stream.runCollect(events), (all) =>
    [...all].flatMap((event) => (event._tag === "TextDelta" ? [event.delta] : []))
  )

type Program<A> = Effect.Effect<A, unknown, LanguageModel.LanguageModel>

layer(ChildServer.layer, { excludeTestServices: true })("Cassette", (it) => {
  for (const edge of ["async", "sync"] as const) {
    for (const api of ["chat", "responses"] as const) {
      /** Records a program against a server that is then gone, and replays it without a key: on this edge, and on the other. */
      const both = <A>(
        program: Program<A>,
        replies: ReadonlyArray<Reply>,
        more: {
          readonly cassette?: Partial<Cassette.Options>
          readonly model?: Partial<OpenAi.Options>
          readonly replayed?: Program<A>
        } = {}
      ) =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script(...replies)
          const file = path.join(yield* scopedFolder, "fixtures/cassette.json")
          const run = (mode: "record" | "replay", edge: Edge, program: Program<A>) => {
            const Tape = Cassette.layer({ path: file, mode, unused: "die", ...more.cassette })
            const options: OpenAi.Options = { model: "m", baseUrl: url, api, retry: "none", ...more.model }
            const key = mode === "record" ? { apiKey: Redacted.make(secret) } : {}
            const Model = OpenAi.layer({ ...key, ...options }).pipe(Layer.provide(Tape))
            return exitOn[edge](
              program.pipe(
                Effect.provide(Model),
                Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))
              )
            )
          }
          const recorded = yield* run("record", edge, program)
          const seen = yield* server.seen
          // The server's address is dead from here on.
          yield* server.script()
          const before = fs.statSync(file)
          const replayed = yield* run("replay", edge, more.replayed ?? program)
          const crossed = yield* run("replay", other(edge), more.replayed ?? program)
          assert.deepStrictEqual(yield* server.seen, [])
          assert.strictEqual(fs.statSync(file).mtimeMs, before.mtimeMs)
          assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["cassette.json"])
          return { file, text: fs.readFileSync(file, "utf8"), recorded, replayed, crossed, seen }
        })

      describe(`${edge} ${api}`, () => {
        it.effect("replays an answer without server and key", () =>
          Effect.gen(function* () {
            const { crossed, recorded, replayed } = yield* both(talker.result("Say hello."), [text("Hello!")])
            const { output, transcript, usage } = valueOf(recorded)
            assert.strictEqual(output, "Hello!")
            for (const exit of [replayed, crossed]) {
              const result = valueOf(exit)
              assert.deepStrictEqual(
                [result.output, result.usage, JSON.stringify(result.transcript)],
                [output, usage, JSON.stringify(transcript)]
              )
            }
          })
        )

        it.effect("replays a stream in its chunks", () =>
          Effect.gen(function* () {
            const { crossed, file, recorded, replayed } = yield* both(deltas(talker.stream("Say hello.")), [
              text("Grüß Gott, Welt 🎭", { paceMs: 5 })
            ])
            assert.strictEqual(valueOf(recorded).join(""), "Grüß Gott, Welt 🎭")
            assert.isAbove(valueOf(recorded).length, 3)
            assert.deepStrictEqual(valueOf(replayed), valueOf(recorded))
            assert.deepStrictEqual(valueOf(crossed), valueOf(recorded))
            const { exchanges } = JSON.parse(fs.readFileSync(file, "utf8"))
            // One event each, however many came at once.
            assert.isAbove(exchanges[0].response.body.chunks.flat().length, 3)
          })
        )

        it.effect("replays characters that the network has cut in two", () =>
          Effect.gen(function* () {
            const { recorded, replayed } = yield* both(deltas(talker.stream("Say hello.")), [
              text("Grüß Gott, Welt 🎭", { split: 3 })
            ])
            assert.strictEqual(valueOf(recorded).join(""), "Grüß Gott, Welt 🎭")
            assert.strictEqual(valueOf(replayed).join(""), "Grüß Gott, Welt 🎭")
          })
        )

        it.effect("replays the tool loop of an agent, also when the server gives calls no ids", () =>
          Effect.gen(function* () {
            const calls = [1, 2].map((a) => ({
              name: "add",
              args: { a, b: 40 },
              ...(api === "chat" ? { id: "" } : {})
            }))
            const replies = [toolCalls(calls), text("41 and 42")]
            const whole = yield* both(
              Effect.map(adder.result("Add."), ({ output, transcript }) => [output, JSON.stringify(transcript)]),
              replies
            )
            assert.strictEqual(valueOf(whole.recorded)[0], "41 and 42")
            assert.strictEqual(whole.seen.length, 2)
            assert.deepStrictEqual(valueOf(whole.replayed), valueOf(whole.recorded))
            assert.deepStrictEqual(valueOf(whole.crossed), valueOf(whole.recorded))
            const streamed = yield* both(deltas(adder.stream("Add.")), replies)
            assert.strictEqual(valueOf(streamed.recorded).join(""), "41 and 42")
            assert.deepStrictEqual(valueOf(streamed.crossed), valueOf(streamed.recorded))
          })
        )

        it.effect("replays concurrent requests of agents by their content, in any order", () =>
          Effect.gen(function* () {
            const ask = (inputs: ReadonlyArray<string>) =>
              Effect.map(
                Effect.forEach(inputs, (input) => Effect.map(talker.run(input), (output) => [input, output] as const), {
                  concurrency: "unbounded"
                }),
                (pairs) => Object.fromEntries(pairs)
              )
            const inputs = ["a", "b", "c", "d"]
            const { crossed, recorded, replayed } = yield* both(
              ask(inputs),
              inputs.map((_, index) => text(`answer ${index}`, { delayMs: 40 - index * 10 })),
              { replayed: ask(inputs.toReversed()) }
            )
            assert.strictEqual(new Set(Object.values(valueOf(recorded))).size, 4)
            assert.deepStrictEqual(valueOf(replayed), valueOf(recorded))
            assert.deepStrictEqual(valueOf(crossed), valueOf(recorded))
          })
        )

        it.effect("replays the same request made twice in the recorded order", () =>
          Effect.gen(function* () {
            const twice = Effect.all([talker.run("Roll."), talker.run("Roll.")])
            const { recorded, replayed } = yield* both(twice, [text("five"), text("three")])
            assert.deepStrictEqual(valueOf(recorded), ["five", "three"])
            assert.deepStrictEqual(valueOf(replayed), ["five", "three"])
          })
        )

        it.effect("replays error answers, and the retries after them", () =>
          Effect.gen(function* () {
            const stubborn = Agent.make("stubborn", { retry: Schedule.recurs(2) })
            const ask = Effect.all([stubborn.run("Hello"), Effect.flip(stubborn.run("Once more"))])
            const { crossed, recorded, replayed, seen } = yield* both(ask, [
              error(429, { error: { message: "slow down" } }, { "retry-after-ms": "1" }),
              error(500),
              text("Hello!"),
              error(401, { error: { message: "no such key" } })
            ])
            assert.strictEqual(seen.length, 4)
            const [output, failed] = valueOf(recorded)
            assert.strictEqual(output, "Hello!")
            assert.include(failed.message, "no such key")
            for (const exit of [replayed, crossed]) {
              assert.deepStrictEqual([valueOf(exit)[0], valueOf(exit)[1].message], [output, failed.message])
            }
          })
        )

        it.effect("replays lost connections: refused, before the answer, and within it", () =>
          Effect.gen(function* () {
            for (const reply of [text("never", { resetAfter: 0 }), text("Hello, hello, hello!", { resetAfter: 40 })]) {
              for (const program of [talker.run("Hello"), deltas(talker.stream("Hello"))] as const) {
                const { crossed, recorded, replayed } = yield* both(Effect.flip<unknown, unknown, any>(program), [
                  reply
                ])
                const { message } = valueOf(recorded) as Error
                assert.include(message, "NetworkError")
                assert.strictEqual((valueOf(replayed) as Error).message, message)
                assert.strictEqual((valueOf(crossed) as Error).message, message)
              }
            }
            const { recorded, replayed } = yield* both(Effect.flip(talker.run("Hello")), [], {
              model: { baseUrl: "http://127.0.0.1:1/v1" }
            })
            assert.include(valueOf(recorded).message, "127.0.0.1:1")
            assert.strictEqual(valueOf(replayed).message, valueOf(recorded).message)
          })
        )

        it.effect("replays structured output", () =>
          Effect.gen(function* () {
            const namer = Agent.make("namer", { output: Schema.Struct({ name: Schema.String }), retry: "none" })
            const { recorded, replayed } = yield* both(namer.run("Which city?"), [text('{"name":"Paris"}')])
            assert.deepStrictEqual(valueOf(recorded), { name: "Paris" })
            assert.deepStrictEqual(valueOf(replayed), { name: "Paris" })
          })
        )

        it.effect("replays a request that was interrupted: the loser of a race loses again", () =>
          Effect.gen(function* () {
            const slow = Agent.make("slow", { instructions: "slow", retry: "none" })
            const fast = Agent.make("fast", { instructions: "fast", retry: "none" })
            const race = Parallel.make("race", { slow, fast }, { mode: Parallel.race })
            const server = yield* ChildServer.Server
            const url = yield* server.script(text("late", { hang: true }), text("soon"))
            const file = path.join(yield* scopedFolder, "race.json")
            const run = (mode: "record" | "replay") =>
              exitOn[edge](
                race.run("Go.").pipe(
                  Effect.provide(
                    OpenAi.layer({
                      model: "m",
                      baseUrl: url,
                      api,
                      apiKey: Redacted.make(secret),
                      timeout: "25 seconds"
                    }).pipe(Layer.provide(Cassette.layer({ path: file, mode, unused: "die" })))
                  )
                )
              )
            const recorded = valueOf(yield* run("record"))
            const { exchanges } = JSON.parse(fs.readFileSync(file, "utf8"))
            assert.strictEqual(exchanges.filter((one: object) => "interrupted" in one).length, 1)
            yield* server.script()
            assert.deepStrictEqual(valueOf(yield* run("replay")), recorded)
          })
        )

        it.effect("fails for a request that differs, and says where", () =>
          Effect.gen(function* () {
            const { recorded, replayed, crossed } = yield* both(talker.run("What is 2 + 2?"), [text("4")], {
              cassette: { unused: "ignore" },
              replayed: talker.run("What is 2 + 3?")
            })
            assert.strictEqual(valueOf(recorded), "4")
            for (const exit of [replayed, crossed]) {
              const failed = failureOf(exit) as Agent.Error
              assert.strictEqual(failed._tag, "ModelError")
              assert.match(
                failed.message,
                /cassette .*cassette\.json: request 1 \(POST \/v1\/(chat\/completions|responses)\)/
              )
              assert.include(failed.message, "is not recorded; it differs from recording 1: body.")
              assert.match(failed.message, /expected "What is 2 \+ 2\?", got "What is 2 \+ 3\?"/)
              assert.include(failed.message, 'To record again, set mode: "record"')
              assert.notInclude(failed.message, "\n")
              if (failed._tag !== "ModelError") return
              assert.strictEqual(failed.attempts, 1)
              const typed = Cassette.notRecorded(failed.reason)
              assert.strictEqual(typed?._tag, "RequestNotRecorded")
              assert.deepStrictEqual([typed?.request, typed?.nearest, typed?.differences.length], [1, 1, 1])
            }
          })
        )

        it.effect("writes what there was when the run fails, and only whole exchanges when it is interrupted", () =>
          Effect.gen(function* () {
            const server = yield* ChildServer.Server
            const file = path.join(yield* scopedFolder, "cut.json")
            const use = (program: Program<unknown>, ...replies: ReadonlyArray<Reply>) =>
              Effect.gen(function* () {
                const url = yield* server.script(...replies)
                const exit = yield* exitOn[edge](
                  program.pipe(
                    Effect.provide(
                      OpenAi.layer({
                        model: "m",
                        baseUrl: url,
                        api,
                        retry: "none",
                        apiKey: Redacted.make(secret)
                      }).pipe(Layer.provide(Cassette.layer({ path: file, mode: "record" })))
                    )
                  )
                )
                assert.isTrue(Exit.isFailure(exit))
                return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : undefined
              })
            const failing = Effect.andThen(talker.run("a"), talker.run("b"))
            const failed = yield* use(failing, text("A"), error(500))
            assert.deepStrictEqual(
              failed.exchanges.map((one: any) => one.response.status),
              [200, 500]
            )
            const dies = yield* use(Effect.andThen(talker.run("a"), Effect.die("oops")), text("A"))
            assert.strictEqual(dies.exchanges.length, 1)
            // A fiber that interrupts itself stands for a caller that interrupts the run.
            const interrupted = Effect.andThen(
              talker.run("a"),
              Effect.flatMap(Effect.forkChild(talker.run("b")), (fiber) =>
                Effect.andThen(Effect.sleep("150 millis"), Effect.andThen(Effect.interrupt, Fiber.join(fiber)))
              )
            )
            const cut = yield* use(interrupted, text("A"), text("B", { hang: true }))
            assert.strictEqual(cut.interrupted, true)
            assert.deepStrictEqual(
              cut.exchanges.map((one: any) => [one.response.status, "interrupted" in one]),
              [[200, false]]
            )
            assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["cut.json"])
          })
        )
      })
    }
  }

  it.effect("waits where the recorded program was interrupted, and then says so", () =>
    Effect.gen(function* () {
      const server = yield* ChildServer.Server
      const url = yield* server.script(text("Hello, hello!", { hangAfter: 3 }))
      const file = path.join(yield* scopedFolder, "cut.json")
      const use = <A, E>(mode: "record" | "replay", program: Effect.Effect<A, E, LanguageModel.LanguageModel>) =>
        Effect.exit(
          Effect.provide(
            program,
            OpenAi.layer({ model: "m", baseUrl: url, api: "chat", apiKey: Redacted.make(secret), retry: "none" }).pipe(
              Layer.provide(Cassette.layer({ path: file, mode }))
            )
          )
        )
      const some = talker.stream("Hi").pipe(
        Stream.filter((event) => event._tag === "TextDelta"),
        Stream.take(1),
        Stream.runCollect
      )
      const recorded = valueOf(yield* use("record", some))
      assert.deepStrictEqual(
        valueOf(yield* use("replay", some)).map(({ delta }) => delta),
        recorded.map(({ delta }) => delta)
      )
      const failed = failureOf(yield* use("replay", talker.run("Hi")))
      assert.include(failed.message, "is not recorded; it differs from recording 1")
      // A reader that continues waits by Effect's clock: as long as the recorded program had, and 5 seconds more.
      const waited = yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(use("replay", Stream.runDrain(talker.stream("Hi"))))
        let seconds = 0
        for (; fiber.pollUnsafe() === undefined && seconds < 60; seconds++) yield* TestClock.adjust("1 second")
        assert.isAtLeast(seconds, 5)
        assert.isBelow(seconds, 60)
        return failureOf(yield* Fiber.join(fiber))
      }).pipe(Effect.provide(TestClock.layer()))
      assert.include(waited.message, "request 1 (POST /v1/chat/completions) waits for more than recording 1 holds")
    })
  )

  it.effect("a stub's answer has short names for calls without an id, the same for the same request", () =>
    Effect.gen(function* () {
      const call = { type: "function", function: { name: "add", arguments: "{}" } }
      const stub = Cassette.layerStub(() => ({
        body: {
          choices: [{ index: 0, message: { role: "assistant", tool_calls: [call] }, finish_reason: "tool_calls" }]
        }
      }))
      const model = OpenAi.layer({ model: "m", api: "chat", apiKey: Redacted.make("k") }).pipe(Layer.provide(stub))
      const { generateText } = yield* Effect.provide(directModel, model)
      const ids = (yield* Effect.all([generateText(request), generateText(request)])).map((parts) =>
        parts.flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
      )
      assert.deepStrictEqual(ids[0], ids[1])
      assert.match(ids[0]![0]!, /^call_[0-9a-f]{16}_0$/)
    })
  )
})
