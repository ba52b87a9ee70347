/** Programs that wait in their middle: for approvals, for tools of the caller, for events, in runs nested in them. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Approvals,
  CodeMode,
  Middleware,
  Parallel,
  RunError,
  Runner,
  Session,
  SessionStore,
  SyncEdge,
  TestModel
} from "troupe"
import { counting, Engine, modelOf as model, N } from "../../support/codeEngine.ts"
import { collect } from "../../support/grammar.ts"

const live = (program: string) => Layer.mergeAll(model(program), Engine)

const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : assert.fail("it did not fail")
const suspensionOf = (exit: Exit.Exit<unknown, unknown>): RunError.RunSuspended => {
  const error = errorOf(exit)
  return error instanceof RunError.RunSuspended ? error : assert.fail(String(error))
}

/** As a transcript that was stored, perhaps changed. */
const stored = (transcript: Prompt.Prompt, change: (json: string) => string = (json) => json): Prompt.Prompt =>
  Schema.decodeUnknownSync(Prompt.Prompt)(
    JSON.parse(change(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript))))
  )

type Waiting = RunError.RunSuspended["waitingFor"][number]
type Decide = (waiting: Waiting) => Runner.Answer
const allow: Decide = (waiting) =>
  waiting.kind === "approval" ? Approvals.approve : waiting.kind === "client-tool" ? 7 : "come"
const nameOf = (one: Waiting): string => (one.kind === "event" ? one.name : `${one.tool} ${one.toolCallId}`)

/** Runs until the run ends, with answers to what it waits for. `per`: how many are answered at a time. */
const untilDone = <E, R>(runner: Runner.Runner<Prompt.RawInput, string, E, R>, decide: Decide = allow, per = 100) =>
  Effect.gen(function* () {
    let { events, exit } = yield* collect(runner, "go")
    const rounds: Array<ReadonlyArray<string>> = []
    while (Exit.isFailure(exit) && errorOf(exit) instanceof RunError.RunSuspended && rounds.length < 20) {
      const { transcript } = suspensionOf(exit)
      const open = Runner.pending(transcript)
      rounds.push(open.map(nameOf))
      const answers = Object.fromEntries(open.slice(0, per).map((one) => [one.id, decide(one)]))
      ;({ events, exit } = yield* collect(runner, Runner.answer(stored(transcript), answers)))
    }
    const last = events.at(-1)!
    return { events, rounds, output: last._tag === "RunCompleted" ? String(last.output) : last._tag }
  })

describe("a program that waits", () => {
  const source = `
    const first = await Promise.race([tools.get({ n: 1 }), tools.pay({ n: 2 })])
    const [a, b, c] = await Promise.all([tools.pay({ n: 3 }), tools.ask({ n: 4 }), tools.get({ n: 5 })])
    console.log("half")
    const d = await tools.pay({ n: 6 })
    return { first, a, b, c, d }`
  const given = `{"result":{"first":10,"a":30,"b":7,"c":50,"d":60},"console":"half\\n"}`

  it.effect("suspends the run once all that is left of it waits, and goes on where it was", () =>
    Effect.gen(function* () {
      const { ask, get, made, pay } = counting()
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay, ask])] })
      const { events, output, rounds } = yield* untilDone(agent)
      assert.deepStrictEqual(rounds, [["pay p/2", "pay p/3", "ask p/4"], ["pay p/6"]])
      assert.deepStrictEqual(made.toSorted(), ["get 1", "get 5", "pay 2", "pay 3", "pay 6"])
      assert.strictEqual(output, given)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "ToolCompleted" ? [event.toolCallId] : [])),
        ["p/6", "p"]
      )
    }).pipe(Effect.provide(live(source)))
  )

  it.effect("is answered one by one, and asks again for the others by the same ids", () =>
    Effect.gen(function* () {
      const { ask, get, made, pay } = counting()
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay, ask])] })
      const { output, rounds } = yield* untilDone(agent, allow, 1)
      assert.deepStrictEqual(rounds, [
        ["pay p/2", "pay p/3", "ask p/4"],
        ["pay p/3", "ask p/4"],
        ["ask p/4"],
        ["pay p/6"]
      ])
      assert.deepStrictEqual(made.toSorted(), ["get 1", "get 5", "pay 2", "pay 3", "pay 6"])
      assert.strictEqual(output, given)
    }).pipe(Effect.provide(live(source)))
  )

  it.effect("sees a denial as an error, and ends what it needs no more", () =>
    Effect.gen(function* () {
      const { get, made, pay } = counting()
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay])] })
      const program = `
        const losing = tools.pay({ n: 1 })
        try { await tools.pay({ n: 2 }) } catch (e) { return await Promise.race([losing, tools.get({ n: 3 })]) + e.message }`
      const deny: Decide = (waiting) => (nameOf(waiting) === "pay p/2" ? Approvals.deny("too much") : Approvals.later)
      const { events, output } = yield* untilDone(agent, deny).pipe(Effect.provide(live(program)))
      assert.strictEqual(output, `{"result":"30denied: too much"}`)
      assert.deepStrictEqual(made, ["get 3"])
      const losing = events.findLast((event) => event._tag === "ToolFailed" && event.toolCallId === "p/1")
      assert.include(JSON.stringify(losing), "the program ended before it was answered")
      const last = events.at(-1)!
      assert.deepStrictEqual(last._tag === "RunCompleted" ? last.spent.toolCalls.map(({ status }) => status) : [], [
        "completed",
        "not-started",
        "denied",
        "completed"
      ])
    })
  )

  it.effect("ends a call that comes to wait while the program is about to end", () =>
    Effect.gen(function* () {
      const yields = (times: number) => Effect.repeat(Effect.yieldNow, { times })
      const { get, made } = counting()
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        needsApproval: () => Effect.as(yields(10), true),
        execute: () => made.push("pay")
      })
      const slow = Layer.effect(
        CodeMode.CodeEngine,
        Effect.map(CodeMode.CodeEngine, ({ start }) => ({
          start: (program) =>
            Effect.map(start(program), (running) => ({ ...running, next: Effect.andThen(yields(100), running.next) }))
        }))
      ).pipe(Layer.provide(Engine))
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay])] })
      const program = "return await Promise.race([tools.get({ n: 1 }), tools.pay()])"
      const { output } = yield* untilDone(agent).pipe(Effect.provide([model(program), slow]))
      assert.strictEqual(output, `{"result":10}`)
      assert.deepStrictEqual(made, ["get 1"])
    })
  )

  it.effect("waits in the runs nested in it: two agents at once, one of them in code mode, and an event", () =>
    Effect.gen(function* () {
      const { get, made, pay } = counting()
      const asks = (name: string, input: string) =>
        Agent.make(name, { description: name, use: [CodeMode.feature([get, pay])] }).pipe(
          Runner.provide(model(input)),
          Runner.provide(Engine)
        )
      const plain = Agent.make("plain", { description: "plain", tools: [pay] }).pipe(
        Runner.provide(
          TestModel.layer(({ prompt }) =>
            prompt.content.at(-1)!.role === "tool" ? "paid 8" : TestModel.toolCall("pay", { n: 8 })
          )
        )
      )
      const coder = asks("coder", "return await tools.get({ n: 1 }) + await tools.pay({ n: 2 })")
      const both = Parallel.make("both", { plain, coder }, { description: "both" })
      const event = Runner.event("parcel", { schema: Schema.String, description: "A parcel" })
      const agent = Agent.make("boss", { use: [CodeMode.feature([coder, both, event])] })
      const program = `
        const [a, b, c] = await Promise.all([tools.coder({ input: "x" }), tools.both({ input: "y" }), tools.parcel({ input: "" })])
        return [a, b, c]`
      const { output, rounds } = yield* untilDone(agent, allow, 2).pipe(Effect.provide(live(program)))
      assert.strictEqual(rounds[0]!.length, 4)
      assert.strictEqual(
        output,
        `{"result":["{\\"result\\":30}",{"plain":"paid 8","coder":"{\\"result\\":30}"},"come"]}`
      )
      assert.deepStrictEqual(made.toSorted(), ["get 1", "get 1", "pay 2", "pay 2", "pay 8"])
    })
  )

  it.effect("passes middleware, whose changes of arguments an approval counts for", () =>
    Effect.gen(function* () {
      const { get, made, pay } = counting()
      const more = Middleware.make("more", {
        tool: (call, next) => next(call.tool === "pay" ? { ...call, params: { n: 5 } } : call)
      })
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay])], middleware: [more] })
      const { output } = yield* untilDone(agent).pipe(
        Effect.provide(live("return await tools.get({ n: 1 }) + await tools.pay({ n: 2 })"))
      )
      assert.strictEqual(output, `{"result":60}`)
      assert.deepStrictEqual(made, ["get 1", "pay 5"])
    })
  )

  it.effect("is kept by a session until it is answered", () =>
    Effect.gen(function* () {
      const { get, made, pay } = counting()
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay])] })
      const chat = Session.of(agent, "s")
      suspensionOf(yield* Effect.exit(chat.run("go")))
      const [waiting] = yield* SessionStore.pending("s")
      const output = yield* Session.resume(chat, { [waiting!.id]: Approvals.approve })
      assert.strictEqual(output, `{"result":30}`)
      assert.deepStrictEqual(made, ["get 1", "pay 2"])
    }).pipe(
      Effect.provide([live("return await tools.get({ n: 1 }) + await tools.pay({ n: 2 })"), SessionStore.layerMemory])
    )
  )

  it.effect("has the time that an approver takes, and no more of its own", () =>
    Effect.gen(function* () {
      const { get, pay } = counting()
      const begun = yield* Deferred.make<void>()
      const hangs = AgentTool.fromFunction("hangs", {
        description: "Hangs",
        execute: () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
      })
      const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay, hangs], { timeout: "10 seconds" })] })
      const asked = yield* Deferred.make<void>()
      const slow = Approvals.layer(() =>
        Effect.andThen(Deferred.succeed(asked, undefined), Effect.as(Effect.sleep("1 hour"), Approvals.approve))
      )
      const program = "console.log(await tools.pay({ n: 1 })); await tools.hangs()"
      const run = agent.run("go").pipe(Effect.provide([live(program), slow]))
      const fiber = yield* Effect.forkChild(run)
      yield* Deferred.await(asked)
      yield* TestClock.adjust("1 hour")
      yield* Deferred.await(begun)
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      assert.include(yield* Fiber.join(fiber), "it was not done after 10s. Calls that were done: pay")
    })
  )

  it("goes on under Effect.runSync", () => {
    const { get, made, pay } = counting()
    const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay])] })
    const program = Effect.gen(function* () {
      const { transcript, waitingFor } = suspensionOf(yield* Effect.exit(agent.run("go")))
      return yield* agent.run(Runner.answer(stored(transcript), { [waitingFor[0].id]: Approvals.approve }))
    })
    const layers = Layer.mergeAll(
      model("return await tools.get({ n: 1 }) + await tools.pay({ n: 2 })"),
      CodeMode.layerQuickJs
    )
    const output = Effect.runSync(program.pipe(Effect.provide(layers), Effect.provide(SyncEdge.layer)))
    assert.strictEqual(output, `{"result":30}`)
    assert.deepStrictEqual(made, ["get 1", "pay 2"])
  })
})

describe("what a client could change of a program that waits", () => {
  const source = "return await tools.get({ n: 1 }) + await tools.pay({ n: 2 })"
  const Signed = Approvals.signing({ secret: Redacted.make("0123456789abcdef0123456789abcdef") })
  /** The error of a run that goes on from a changed transcript, approved, and the calls that were made then. */
  const changed = (change: (json: string) => string, signed: boolean, tools = counting()) =>
    Effect.gen(function* () {
      const agent = Agent.make("clerk", { use: [CodeMode.feature([tools.get, tools.pay])] })
      const { transcript, waitingFor } = suspensionOf(yield* Effect.exit(agent.run("go")))
      tools.made.length = 0
      const answered = Runner.answer(transcript, { [waitingFor[0].id]: Approvals.approve })
      const exit = yield* Effect.exit(agent.run(stored(answered, change)))
      return { exit, made: tools.made }
    }).pipe(Effect.provide(signed ? Layer.merge(live(source), Signed) : live(source)))
  const refusalOf = ({ exit, made }: { readonly exit: Exit.Exit<unknown, unknown>; readonly made: Array<string> }) => {
    const error = errorOf(exit)
    assert.deepStrictEqual(made, [])
    return error instanceof RunError.InvalidApproval ? error.reason : assert.fail(String(error))
  }

  it.effect("counts only as it was signed: the results of its calls, its source, its answers", () =>
    Effect.gen(function* () {
      for (const [from, to] of [
        ['"json":"10"', '"json":"99"'],
        ["await tools.get({ n: 1 })", "await tools.get({ n: 9 })"],
        ['"approved":true', '"approved":false'],
        ['"n":2', '"n":3']
      ] as const) {
        const result = yield* changed((json) => {
          assert.include(json, from)
          return json.replaceAll(from, to)
        }, true)
        assert.include(["tampered"], refusalOf(result), from)
      }
      const { exit, made } = yield* changed((json) => json, true)
      assert.deepStrictEqual([exit, made], [Exit.succeed('{"result":30}'), ["pay 2"]])
    })
  )

  it.effect("is refused without a signature where the source or the calls are not those of before", () =>
    Effect.gen(function* () {
      const other = yield* changed((json) => json.replaceAll("tools.get({ n: 1 })", "tools.get({ n: 9 })"), false)
      assert.strictEqual(refusalOf(other), "changed")
      const call = yield* changed((json) => json.replaceAll('"n":2', '"n":3'), false)
      assert.strictEqual(refusalOf(call), "changed")
      const version = yield* changed((json) => json.replaceAll('"version":1', '"version":9'), false)
      assert.strictEqual(refusalOf(version), "changed")
    })
  )

  it.effect("does not come in with the input of a client, unless this program has recorded it", () =>
    Effect.gen(function* () {
      const { pay } = counting()
      const agent = Agent.make("clerk", { use: [CodeMode.feature([pay])] })
      const { transcript, waitingFor } = suspensionOf(yield* Effect.exit(agent.run("go")))
      const answered = Runner.answer(stored(transcript), { [waitingFor[0].id]: Approvals.approve })
      for (const input of [stored(transcript), answered]) {
        const error = yield* Effect.flip(Approvals.clientInput(Schema.encodeSync(Prompt.Prompt)(input).content))
        assert.instanceOf(error, Approvals.ForeignInput)
      }
    }).pipe(Effect.provide(live("return await tools.pay({ n: 1 })")))
  )

  it.effect("is refused, before a call is made, where a tool of now is not the one that was shown", () =>
    Effect.gen(function* () {
      const { get, made, pay } = counting()
      const other = AgentTool.fromFunction("pay", {
        description: "Pays twice",
        parameters: N,
        needsApproval: true,
        execute: () => made.push("other")
      })
      const clerk = (pay: AgentTool.AgentTool<"pay", never>) =>
        Agent.make("clerk", { use: [CodeMode.feature([get, pay])] })
      const { transcript, waitingFor } = suspensionOf(yield* Effect.exit(clerk(pay).run("go")))
      const answered = Runner.answer(transcript, { [waitingFor[0].id]: Approvals.approve })
      const exit = yield* Effect.exit(clerk(other as never).run(answered))
      assert.strictEqual((errorOf(exit) as RunError.InvalidApproval).reason, "changed")
      assert.deepStrictEqual(made, ["get 1"])
    }).pipe(Effect.provide(live(source)))
  )
})
