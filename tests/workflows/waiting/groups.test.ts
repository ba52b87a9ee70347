/** Branches that wait: what the others do meanwhile, what is waited for, and which transcripts are refused. */
import { assert, describe } from "@effect/vitest"
import { Effect, Redacted, Result, Schema, Stream } from "effect"
import { Prompt } from "effect/ai"
import { Agent, Approvals, Chain, Gather, Parallel, RunError, RunEvent, Runner, TestModel } from "troupe"
import { it } from "../../support/edges.ts"
import { collect } from "../../support/grammar.ts"

const paid = Runner.event("paid", { schema: Schema.Finite, description: "A payment" })
const signed = Runner.event("signed", { schema: Schema.String })
const working = () => {
  const did: Array<string> = []
  const work = (name: string) =>
    Runner.make(name, {
      run: () =>
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => (did.push(name), name))
        )
    })
  return { did, work }
}
const broken = Runner.make("broken", { run: () => Effect.andThen(Effect.yieldNow, Effect.fail("no" as const)) })

const sent = (transcript: Prompt.Prompt): Prompt.Prompt =>
  Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript))))
const suspended = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.flatMap(Effect.flip(runner.run(input)), (error) =>
    error instanceof RunError.RunSuspended ? Effect.succeed(error) : Effect.die(error)
  )
/** The answers by the names of events. */
const answers = ({ transcript, waitingFor }: RunError.RunSuspended, values: Readonly<Record<string, Schema.Json>>) =>
  sent(
    Runner.answer(
      sent(transcript),
      Object.fromEntries(
        waitingFor.flatMap((waiting) =>
          waiting.kind === "event" && waiting.name in values ? [[waiting.id, values[waiting.name]!]] : []
        )
      )
    )
  )

describe("a branch that waits", () => {
  it.effect("does not stop the others, which are not run again", () =>
    Effect.gen(function* () {
      const { did, work } = working()
      const panel = Parallel.make("panel", { paid, signed, slow: work("slow") }, { concurrency: 1 })
      const error = yield* suspended(panel, "go")
      assert.deepStrictEqual(did, ["slow"])
      assert.deepStrictEqual(
        error.waitingFor.map((waiting) => waiting.kind === "event" && [waiting.name, waiting.path]),
        [
          ["paid", ["panel", "paid"]],
          ["signed", ["panel", "signed"]]
        ]
      )
      const half = yield* suspended(panel, answers(error, { signed: "Ada" }))
      assert.deepStrictEqual(
        half.waitingFor.map(({ id }) => id),
        [error.waitingFor[0].id]
      )
      assert.deepStrictEqual(yield* panel.run(answers(half, { paid: 5 })), { paid: 5, signed: "Ada", slow: "slow" })
      assert.deepStrictEqual(did, ["slow"])
    })
  )

  it.effect("is over where another one fails, which is the failure of the group", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Parallel.make("panel", { paid, broken }).run("go"))
      if (!(error instanceof Parallel.ParallelError)) return assert.fail(error._tag)
      assert.deepStrictEqual(error.failures, [{ branch: "broken", error: "no" }])
      assert.deepStrictEqual(error.interrupted, ["paid"])
    })
  )

  it.effect("is not waited for where the others decide", () =>
    Effect.gen(function* () {
      const { work } = working()
      const race = Parallel.make("race", { paid, quick: work("quick") }, { mode: Parallel.race })
      assert.strictEqual(yield* race.run("go"), "quick")
      const quorum = Parallel.make("quorum", { paid, a: work("a"), b: work("b") }, { mode: Parallel.quorum(2) })
      assert.deepStrictEqual(yield* quorum.run("go"), { a: "a", b: "b" })
    })
  )

  it.effect("is waited for where what the others gave does not decide, and their failures count then", () =>
    Effect.gen(function* () {
      const race = Parallel.make("race", { paid, broken }, { mode: Parallel.race })
      const error = yield* suspended(race, "go")
      assert.strictEqual(yield* race.run(answers(error, { paid: 5 })), 5)
      const refused = yield* Effect.flip(race.run(answers(error, { paid: "five" })))
      if (!(refused instanceof Parallel.ParallelError)) return assert.fail(refused._tag)
      assert.deepStrictEqual(
        refused.failures.map(({ branch, error }) => [branch, typeof error === "string" ? error : error._tag]),
        [
          ["broken", "no"],
          ["paid", "InvalidApproval"]
        ]
      )
      const settle = Parallel.make("settle", { paid, broken }, { mode: Parallel.settle })
      const waiting = yield* suspended(settle, "go")
      assert.deepStrictEqual(yield* settle.run(answers(waiting, { paid: 5 })), {
        paid: Result.succeed(5),
        broken: Result.fail("no" as const)
      })
    })
  )

  it.effect("is an item that has not ended, in events", () =>
    Effect.gen(function* () {
      const { work } = working()
      const panel = Parallel.make("panel", { paid, slow: work("slow") })
      const { events } = yield* collect(panel, "go")
      const items = (events: ReadonlyArray<RunEvent.RunEvent>) =>
        events.flatMap((event) => (event._tag === "ItemCompleted" ? [[event.item, event.done, event.total]] : []))
      assert.deepStrictEqual(items(events), [["slow", 1, 2]])
      const last = events.at(-1)!
      if (last._tag !== "RunSuspended") return assert.fail(last._tag)
      const answered = Runner.answer(last.transcript!, { [last.waitingFor[0]!.id]: 5 })
      const { events: more } = yield* collect(panel, answered)
      assert.deepStrictEqual(items(more), [["paid", 2, 2]])
      assert.include(yield* Stream.mkString(RunEvent.render(Stream.fromIterable(events))), "waits for the event paid")
      assert.deepStrictEqual(RunEvent.toClient(last)?._tag, "Suspended")
    })
  )

  it.effect("gets its own input again, where it is a function", () =>
    Effect.gen(function* () {
      const each = Runner.make("each", {
        run: (item: { readonly name: string }) =>
          Effect.map(paid.run(undefined), (amount) => `${item.name} paid ${amount}`)
      })
      const all = Gather.map("all", each)
      const error = yield* suspended(all, [{ name: "Ada" }, { name: "Bob" }])
      assert.lengthOf(error.waitingFor, 2)
      const answered = answers(error, { paid: 5 }) as never
      assert.deepStrictEqual(yield* all.run(answered), ["Ada paid 5", "Bob paid 5"])
    })
  )
})

describe("the transcript of a workflow that waits", () => {
  const secret = Approvals.signing({ secret: Redacted.make("0123456789abcdef0123456789abcdef") })
  const changed = (transcript: Prompt.Prompt, from: string, to: string): Prompt.Prompt =>
    Schema.decodeSync(Prompt.Prompt)(
      JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript)).replaceAll(from, to))
    )

  it.effect("is signed with all that it keeps", () =>
    Effect.gen(function* () {
      const { work } = working()
      const inner = Parallel.make("inner", { paid, slow: work("slow") })
      const outer = Chain.make("outer", [
        Parallel.make("both", { inner, signed }),
        ({ inner }) => Effect.succeed(inner)
      ])
      const error = yield* suspended(outer, "go").pipe(Effect.provide(secret))
      const answered = answers(error, { paid: 5, signed: "Ada" })
      const reasonOf = (transcript: Prompt.Prompt) =>
        Effect.map(Effect.flip(outer.run(transcript)), (error) =>
          error instanceof RunError.InvalidApproval ? error.reason : error._tag
        ).pipe(Effect.provide(secret))
      assert.strictEqual(yield* reasonOf(changed(answered, '"value":"slow"', '"value":"fast"')), "tampered")
      assert.strictEqual(yield* reasonOf(changed(answered, "Ada", "Eve")), "tampered")
      const unsigned = yield* suspended(outer, "go")
      assert.strictEqual(yield* reasonOf(answers(unsigned, { paid: 5, signed: "Ada" })), "unsigned")
      assert.deepStrictEqual(yield* outer.run(answered).pipe(Effect.provide(secret)), { paid: 5, slow: "slow" })
    })
  )

  it.effect("is refused by a workflow with other branches, and by an agent of its name", () =>
    Effect.gen(function* () {
      const { work } = working()
      const error = yield* suspended(Parallel.make("panel", { paid, slow: work("slow") }), "go")
      const answered = answers(error, { paid: 5 })
      const other = Parallel.make("panel", { paid, other: work("other") })
      assert.strictEqual((yield* Effect.flip(other.run(answered)))._tag, "CannotResume")
      const agent = Agent.make("panel", {})
      assert.strictEqual((yield* Effect.flip(agent.run(answered)))._tag, "CannotResume")
    }).pipe(Effect.provide(TestModel.layer([])))
  )

  it.effect("that nothing of ours wrote is data: it is refused, and does nothing", () =>
    Effect.gen(function* () {
      const { did, work } = working()
      const panel = Parallel.make("panel", { paid, slow: work("slow") })
      const error = yield* suspended(panel, "go")
      did.splice(0)
      for (const [from, to] of [
        ['"keys":["paid","slow"]', '"keys":["paid","paid"]'],
        ['"keys":["paid","slow"]', '"keys":[]'],
        ['"_tag":"branches"', '"_tag":"other"'],
        ['"at":["paid"]', '"at":[]'],
        ['"key":"paid"', '"key":"__proto__"']
      ] as const) {
        const exit = yield* Effect.result(panel.run(changed(answers(error, { paid: 5 }), from, to)))
        assert.isTrue(Result.isFailure(exit), `${from} as ${to}`)
      }
      assert.deepStrictEqual(did, [])
    })
  )
})
