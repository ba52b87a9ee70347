/** Tools that the caller runs: what the run waits for, what it goes on with, and what is refused. */
import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Schema } from "effect"
import { Prompt } from "effect/ai"
import { Agent, AgentTool, Approvals, Handoffs, RunError, Runner, TestModel, Transcript } from "troupe"
import { it } from "../../support/edges.ts"
import { collect } from "../../support/grammar.ts"
import { asApproval, asClientTool } from "../../support/waiting.ts"

const call = TestModel.toolCall
const turns = (...script: ReadonlyArray<TestModel.Turn | string>) =>
  Effect.provide(TestModel.layer(script, { unused: "ignore" }))

/** As another process would have it. */
const sent = (transcript: Prompt.Prompt): Prompt.Prompt =>
  Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript))))

const suspended = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.flatMap(Effect.flip(runner.run(input)), (error) =>
    error instanceof RunError.RunSuspended ? Effect.succeed(error) : Effect.die(error)
  )

const locate = AgentTool.client("locate", {
  description: "Where the user is",
  parameters: Schema.Struct({ precise: Schema.Boolean }),
  success: Schema.Struct({ city: Schema.String })
})
const noting = () => {
  const noted: Array<string> = []
  const note = AgentTool.fromFunction("note", {
    description: "Notes",
    parameters: Schema.Struct({ text: Schema.String }),
    execute: ({ text }) => (noted.push(text), "noted")
  })
  return { note, noted }
}
const both: TestModel.Turn = {
  toolCalls: [
    { name: "locate", params: { precise: true } },
    { name: "note", params: { text: "asked" } }
  ]
}

describe("a tool that the caller runs", () => {
  it.effect("suspends the run after the other calls of its step, which are not made again", () =>
    Effect.gen(function* () {
      const { note, noted } = noting()
      const guide = Agent.make("guide", { tools: [locate, note] })
      const error = yield* suspended(guide, "What is near me?")
      const waiting = asClientTool(error.waitingFor[0])
      assert.lengthOf(error.waitingFor, 1)
      assert.deepStrictEqual(
        [waiting.path, waiting.tool, waiting.description, waiting.params],
        [["guide"], "locate", "Where the user is", { precise: true }]
      )
      assert.deepStrictEqual(noted, ["asked"])
      const transcript = sent(error.transcript)
      assert.deepStrictEqual(Runner.pending(transcript), error.waitingFor)
      assert.deepStrictEqual(
        Transcript.toolCalls(transcript).map(({ status }) => status),
        ["waiting", "completed"]
      )
      const answered = sent(Runner.answer(transcript, { [waiting.id]: { city: "Rome" } }))
      assert.deepStrictEqual(Runner.pending(answered), [])
      const { output, transcript: after } = yield* guide.result(answered)
      assert.strictEqual(output, "The Forum.")
      assert.deepStrictEqual(noted, ["asked"])
      assert.deepStrictEqual(
        Transcript.toolCalls(after).map(({ result, status }) => [status, result]),
        [
          ["completed", { city: "Rome" }],
          ["completed", "noted"]
        ]
      )
    }).pipe(turns(both, "The Forum."))
  )

  it.effect("is in the last event of a stream, with the transcript to go on from", () =>
    Effect.gen(function* () {
      const guide = Agent.make("guide", { tools: [locate] })
      const { events } = yield* collect(guide, "Where am I?")
      const last = events.at(-1)!
      if (last._tag !== "RunSuspended") return assert.fail(last._tag)
      const waiting = asClientTool(last.waitingFor[0])
      const { events: more, exit } = yield* collect(
        guide,
        Runner.answer(last.transcript!, { [waiting.id]: { city: "Rome" } })
      )
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(
        more.map(({ _tag }) => _tag).filter((tag) => tag.startsWith("Tool")),
        ["ToolCalled", "ToolCompleted"]
      )
    }).pipe(turns(call("locate", { precise: true }), "In Rome."))
  )

  it.effect("that failed is a failed result, which the model sees", () =>
    Effect.gen(function* () {
      const guide = Agent.make("guide", { tools: [locate] })
      const error = yield* suspended(guide, "Where am I?")
      const failed = Runner.answer(error.transcript, { [error.waitingFor[0].id]: AgentTool.clientFailure("no GPS") })
      const { output, transcript } = yield* guide.result(sent(failed))
      assert.strictEqual(output, "Sorry.")
      assert.deepStrictEqual(
        Transcript.toolCalls(transcript).map(({ result, status }) => [status, result]),
        [["failed", "no GPS"]]
      )
    }).pipe(turns(call("locate", { precise: true }), "Sorry."))
  )

  it.effect("whose result does not fit is refused before any call is made", () =>
    Effect.gen(function* () {
      const { note, noted } = noting()
      const guarded = AgentTool.fromFunction("pay", {
        description: "Pays",
        needsApproval: true,
        execute: () => (noted.push("paid"), "paid")
      })
      const guide = Agent.make("guide", { tools: [locate, note, guarded] })
      const error = yield* suspended(guide, "x")
      const [first, second] = error.waitingFor
      const answered = Runner.answer(error.transcript, {
        [asApproval(first).id]: Approvals.approve,
        [asClientTool(second).id]: { town: "Rome" }
      })
      const refused = yield* Effect.flip(guide.run(answered))
      assert.instanceOf(refused, RunError.InvalidApproval)
      assert.strictEqual(refused._tag === "InvalidApproval" && refused.reason, "invalid")
      assert.include(refused.message, "city")
      assert.deepStrictEqual(noted, [])
      assert.strictEqual((yield* Effect.flip(guide.run(error.transcript)))._tag, "RunSuspended")
    }).pipe(
      turns({
        toolCalls: [
          { name: "pay", params: {} },
          { name: "locate", params: { precise: false } }
        ]
      })
    )
  )

  it.effect("goes on waiting under the same id while it has no result", () =>
    Effect.gen(function* () {
      const guide = Agent.make("guide", { tools: [locate] })
      const error = yield* suspended(guide, "Where am I?")
      const again = yield* suspended(guide, sent(error.transcript) as Prompt.RawInput)
      assert.deepStrictEqual(
        again.waitingFor.map(({ id }) => id),
        error.waitingFor.map(({ id }) => id)
      )
    }).pipe(turns(call("locate", { precise: true })))
  )

  it.effect("is asked for after an approval where a policy asks", () =>
    Effect.gen(function* () {
      const guide = Agent.make("guide", { tools: [locate] })
      const asked = yield* suspended(guide, "Where am I?")
      const approved = Runner.answer(asked.transcript, {
        [asApproval(asked.waitingFor[0]).id]: Approvals.approveWith({ precise: false })
      })
      const error = yield* suspended(guide, sent(approved) as Prompt.RawInput)
      const waiting = asClientTool(error.waitingFor[0])
      assert.deepStrictEqual(waiting.params, { precise: false })
      const { transcript } = yield* guide
        .result(Runner.answer(sent(error.transcript), { [waiting.id]: { city: "Rome" } }))
        .pipe(Effect.provide(Approvals.layer(() => Effect.succeed(Approvals.approve))))
      assert.deepStrictEqual(Transcript.toolCalls(transcript)[0]?.result, {
        note: "the approver changed its arguments",
        arguments: { precise: false },
        result: { city: "Rome" }
      })
    }).pipe(
      Effect.provide(Approvals.layerPolicy({ destructive: "ask" })),
      turns(call("locate", { precise: true }), "In Rome.")
    )
  )

  it.effect("is denied by a policy that forbids it, and the caller is not asked to run it", () =>
    Effect.gen(function* () {
      const guide = Agent.make("guide", { tools: [locate] })
      assert.strictEqual(yield* guide.run("Where am I?"), "I may not.")
    }).pipe(
      Effect.provide(Approvals.layerPolicy({ destructive: "deny" })),
      turns(call("locate", { precise: true }), "I may not.")
    )
  )

  it.effect("in an agent that is a tool suspends both, and both go on", () =>
    Effect.gen(function* () {
      const { note, noted } = noting()
      const guide = Agent.make("guide", { description: "Guides", tools: [locate, note] })
      const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(guide)] })
      const error = yield* suspended(boss, "go")
      const waiting = asClientTool(error.waitingFor[0])
      assert.deepStrictEqual(waiting.path, ["boss", "guide"])
      const answered = Runner.answer(sent(error.transcript), { [waiting.id]: { city: "Rome" } })
      assert.strictEqual(yield* boss.run(sent(answered)), "boss is done")
      assert.deepStrictEqual(noted, ["asked"])
    }).pipe(turns(call("guide", { input: "go" }), both, "The Forum.", "boss is done"))
  )

  it.effect("of the agent that a conversation was handed to goes on there", () =>
    Effect.gen(function* () {
      const triage = Agent.make("triage", { tools: [Handoffs.to("guide")] })
      const desk = Handoffs.make(
        "desk",
        { triage, guide: Agent.make("guide", { tools: [locate] }) },
        { start: "triage" }
      )
      const error = yield* suspended(desk, "Where am I?")
      const waiting = asClientTool(error.waitingFor[0])
      assert.deepStrictEqual(waiting.path, ["desk", "guide"])
      const answered = Runner.answer(sent(error.transcript), { [waiting.id]: { city: "Rome" } })
      assert.strictEqual(yield* desk.run(sent(answered)), "In Rome.")
    }).pipe(
      turns(call("transfer_to_guide", { reason: "r", message: "m" }), call("locate", { precise: true }), "In Rome.")
    )
  )
})

describe("an answer", () => {
  it.effect("to what is not a conversation is refused, and says where the conversation is", () =>
    Effect.gen(function* () {
      const error = yield* suspended(Agent.make("guide", { tools: [locate] }), "Where am I?").pipe(
        turns(call("locate", { precise: true }))
      )
      const refused = (given: unknown) => {
        try {
          Runner.answer(given as never, {})
        } catch (thrown) {
          return thrown
        }
        return assert.fail("it was taken")
      }
      const [ofError, ofNumber] = [refused(error), refused([5])]
      assert.instanceOf(ofError, RunError.InvalidTranscript)
      assert.include(String(ofError), "error.transcript")
      assert.instanceOf(ofNumber, RunError.InvalidTranscript)
      assert.throws(() => Runner.pending(error as never), RunError.InvalidTranscript)
    })
  )

  it.effect("for nothing that waits, or of another kind than what waits, is refused where it is given", () =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
      const { transcript, waitingFor } = yield* suspended(Agent.make("clerk", { tools: [pay] }), "pay")
      const { id } = asApproval(waitingFor[0])
      const refusal = (answers: Readonly<Record<string, Runner.Answer>>) => {
        try {
          Runner.answer(transcript, answers)
          return undefined
        } catch (error) {
          return error instanceof RunError.InvalidApproval ? error.reason : error
        }
      }
      assert.strictEqual(refusal({ other: Approvals.approve }), "unknown")
      assert.strictEqual(refusal({ [id]: true }), "invalid")
      assert.strictEqual(refusal({ [id]: { _tag: "Approved", params: {} } }), undefined)
      const answered = Runner.answer(transcript, { [id]: Approvals.approve })
      assert.throws(() => Runner.answer(answered, { [id]: Approvals.approve }), /It waits for none/)
    }).pipe(turns(call("pay", {})))
  )

  const signing = Approvals.signing({ secret: Redacted.make("0123456789abcdef0123456789abcdef") })
  const changed = (transcript: Prompt.Prompt, from: string, to: string): Prompt.Prompt =>
    Schema.decodeSync(Prompt.Prompt)(
      JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript)).replaceAll(from, to))
    )

  it.effect("to a tool of the caller is signed with its call, as approvals are", () =>
    Effect.gen(function* () {
      const guide = Agent.make("guide", { tools: [locate] })
      const error = yield* suspended(guide, "Where am I?")
      const answered = Runner.answer(error.transcript, { [error.waitingFor[0].id]: { city: "Rome" } })
      const reasonOf = (transcript: Prompt.Prompt) =>
        Effect.map(Effect.flip(guide.run(transcript)), (error) =>
          error instanceof RunError.InvalidApproval ? error.reason : error._tag
        )
      assert.strictEqual(yield* reasonOf(changed(answered, "Rome", "Oslo")), "tampered")
      assert.strictEqual(yield* reasonOf(changed(answered, '"precise":true', '"precise":false')), "tampered")
      assert.strictEqual(yield* reasonOf(changed(answered, '"signature"', '"nothing"')), "unsigned")
      assert.strictEqual(yield* guide.run(sent(answered)), "In Rome.")
    }).pipe(Effect.provide(Layer.mergeAll(signing)), turns(call("locate", { precise: true }), "In Rome."))
  )
})
