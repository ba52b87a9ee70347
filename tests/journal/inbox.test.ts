/** Messages to a run that is killed and made again: each is there once, at the step that took it. */
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import type { LanguageModel, Prompt } from "effect/ai"
import { Agent, AgentTool, Chain, Handoffs, Inbox, Parallel, type RunEvent, Runner, Team, TestModel } from "troupe"
import { it } from "../support/edges.ts"
import { CurrentJournal, type Journal } from "../../src/services/Journal.ts"
import { attempt, MemoryJournal, type Moment } from "../support/journal.ts"

const outputOf = <A, E>(exit: Exit.Exit<A, E> | undefined): A => {
  if (exit === undefined) return assert.fail("it was killed")
  return Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
}
const moments: ReadonlyArray<Moment> = ["before", "within", "after"]
const textOf = ({ content }: Prompt.Message): string =>
  typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part.text : "")).join("")

/** Hands over where it can, works once, and answers with all that users have said to it. */
const model = TestModel.layer(({ prompt, tools }) => {
  const done = new Set(
    prompt.content.flatMap(({ content, role }) =>
      role === "tool" ? content.map((part) => ("name" in part ? part.name : "")) : []
    )
  )
  const next = tools.find((name) => (name === "work" || name.startsWith("transfer")) && !done.has(name))
  if (next !== undefined) {
    return { toolCalls: [{ name: next, id: next, params: next === "work" ? {} : { reason: "r", message: "m" } }] }
  }
  return prompt.content
    .filter(({ role }) => role === "user")
    .map(textOf)
    .join(" | ")
})

type AnyRunner = Runner.Runner<string, unknown, unknown, LanguageModel.LanguageModel>
type Work = AgentTool.AgentTool<"work", never>

/** What became of a message. */
type Fate = Inbox.Delivery | "not sent"

/**
 * One process, with an inbox of its own: a message to steer by is sent while the tool works, and one is queued. What an earlier process
 * knows to be delivered is not sent.
 */
const process = Effect.fnUntraced(function* (
  make: (work: Work) => AnyRunner,
  journal: MemoryJournal,
  fates: { readonly steered: Fate; readonly queued: Fate },
  kill?: { readonly at: number; readonly moment: Moment }
) {
  const inbox = yield* Inbox.make
  const works = yield* Deferred.make<void>()
  const work = AgentTool.fromFunction("work", {
    description: "Works",
    execute: () =>
      Deferred.succeed(works, undefined).pipe(
        Effect.andThen(Effect.repeat(Effect.yieldNow, { times: 5 })),
        Effect.as("worked")
      )
  })
  const received: Array<string> = []
  const watched = Runner.onEvent(make(work), (event) =>
    Effect.sync(() => {
      if (event._tag !== "InputReceived") return
      const [message] = event.prompt.content as ReadonlyArray<Prompt.Message>
      received.push(`${event.path.join(">")} ${event.step} ${event.when} ${textOf(message!)}`)
    })
  )
  let sent = fates.steered === "undelivered"
  const steered = Effect.gen(function* () {
    if (fates.steered === "delivered") return "delivered" as const
    if (fates.steered === "not sent") yield* Deferred.await(works)
    sent = true
    return yield* inbox.steer("steered")
  })
  const sending = yield* Effect.forkChild(steered)
  const queueing = yield* Effect.forkChild(
    fates.queued === "delivered" ? Effect.succeed("delivered" as const) : inbox.queue("queued")
  )
  yield* Effect.yieldNow
  const exit = yield* attempt(watched.run("Write.").pipe(Inbox.listen(inbox), Effect.provide(model)), journal, kill)
  const after = {
    steered: sent || fates.steered === "delivered" ? yield* Fiber.join(sending) : ("not sent" as const),
    queued: yield* Fiber.join(queueing)
  }
  yield* Fiber.interrupt(sending)
  return { exit, received, fates: after }
})
const unsent = { steered: "not sent", queued: "not sent" } as const

const writer = (work: Work) => Agent.make("writer", { description: "Writes", tools: [work] })
const other = Agent.make("other", { description: "Does something else" })
const cases: Record<string, (work: Work) => AnyRunner> = {
  "an agent": writer,
  "Handoffs, to the agent that has the conversation": (work) =>
    Handoffs.make(
      "desk",
      { first: Agent.make("first", { tools: [Handoffs.to("writer")] }), writer: writer(work) },
      { start: "first" }
    ),
  "Runner.orElse, to the second one": (work) =>
    Runner.orElse(Runner.make("first", { run: (_input: string) => Effect.fail("no") }), writer(work)),
  "an agent that is retried": (work) => {
    let tries = 0
    const flaky = Runner.mapEffect(writer(work), (text) => (++tries === 1 ? Effect.fail("no") : Effect.succeed(text)))
    return Runner.withRetry(flaky, { times: 1 })
  },
  "a team, to its leader": (work) => Team.make("team", { leader: writer(work), members: { other } })
}

describe("a message to a run that is killed and made again", () => {
  for (const [name, make] of Object.entries(cases)) {
    it.effect(`is there once, at the same step, wherever it was killed: ${name}`, () =>
      Effect.gen(function* () {
        const whole = new MemoryJournal()
        const first = yield* process(make, whole, unsent)
        const expected = outputOf(first.exit)
        assert.match(String(expected), /steered \| queued$/)
        assert.deepStrictEqual(first.fates, { steered: "delivered", queued: "delivered" })
        for (let at = 0; at < whole.ended.length; at++) {
          const journal = new MemoryJournal()
          const moment = moments[at % 3]!
          const how = `killed ${moment} ${whole.ended[at]!.key}, ${at} of ${whole.ended.length}`
          const killed = yield* process(make, journal, unsent, { at, moment })
          const again = yield* process(make, journal, killed.fates)
          assert.deepStrictEqual(outputOf(again.exit), expected, how)
          assert.deepStrictEqual(again.received, first.received, how)
        }
      })
    )
  }

  for (const isGivenUp of [false, true]) {
    it.effect(`is given back where keeping it fails${isGivenUp ? ", unless its sender has given it up" : ""}`, () =>
      Effect.gen(function* () {
        const inbox = yield* Inbox.make
        const journal = new MemoryJournal().attempt()
        const taken = yield* Deferred.make<void>()
        const drained = yield* Deferred.make<void>()
        // As an engine does that hands the run to another process.
        const draining: Journal = {
          ...journal,
          run: (step, effect) =>
            step.name !== "inbox"
              ? journal.run(step, effect)
              : Effect.andThen(
                  Deferred.succeed(taken, undefined),
                  Effect.andThen(Deferred.await(drained), Effect.interrupt)
                )
        }
        const run = (journal: Journal) =>
          Agent.make("writer", {})
            .run("Write.")
            .pipe(Effect.provide(model), Effect.provideService(CurrentJournal, journal))
        const sent = yield* Effect.forkChild(inbox.steer("Shorter."))
        yield* Effect.yieldNow
        const both = Effect.gen(function* () {
          const first = yield* Effect.forkChild(run(draining))
          yield* Deferred.await(taken)
          if (isGivenUp) yield* Fiber.interrupt(sent)
          yield* Deferred.succeed(drained, undefined)
          const exit = yield* Fiber.await(first)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
          return yield* run(journal)
        })
        assert.strictEqual(yield* both.pipe(Inbox.listen(inbox)), isGivenUp ? "Write." : "Write. | Shorter.")
        if (!isGivenUp) assert.strictEqual(yield* Fiber.join(sent), "delivered")
      })
    )
  }

  it.effect("is undelivered where no other run takes it", () =>
    Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const draining: Journal = { ...new MemoryJournal().attempt(), run: () => Effect.interrupt }
      const sent = yield* Effect.forkChild(inbox.steer("Shorter."))
      yield* Effect.yieldNow
      const run = Agent.make("writer", {}).run("Write.").pipe(Inbox.listen(inbox), Effect.provide(model))
      const fiber = yield* Effect.forkChild(Effect.provideService(run, CurrentJournal, draining))
      yield* Fiber.await(fiber)
      assert.strictEqual(yield* Fiber.join(sent), "undelivered")
    })
  )

  it.effect("is for none of the branches, steps and tools of a run, which say so", () =>
    Effect.gen(function* () {
      const agent = Agent.make("writer", {})
      const none: ReadonlyArray<AnyRunner> = [
        Chain.make("chain", [agent, agent]),
        Parallel.make("both", { agent }),
        Runner.make("function", { run: (input: string) => Parallel.make("both", { agent }).run(input) })
      ]
      for (const runner of none) {
        const inbox = yield* Inbox.make
        const sent = yield* Effect.forkChild(inbox.queue("Hello?"))
        yield* Effect.yieldNow
        const events: Array<RunEvent.RunEvent> = []
        yield* runner.stream("go").pipe(
          Inbox.listen(inbox),
          Stream.runForEach((event) => Effect.sync(() => events.push(event))),
          Effect.provide(model)
        )
        assert.strictEqual(yield* Fiber.join(sent), "undelivered")
        assert.notInclude(
          events.map(({ _tag }) => _tag),
          "InputReceived"
        )
      }
    })
  )
})
