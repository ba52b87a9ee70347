import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Approvals, RunError, type RunEvent, Runner, Team, TestModel } from "troupe"
import { checkGrammar, collect } from "../support/grammar.ts"

const calls = (...all: ReadonlyArray<readonly [name: string, params: Record<string, unknown>]>) => ({
  toolCalls: all.map(([name, params]) => ({ name, params }))
})
const task = (title: string, more: Record<string, unknown> = {}) =>
  ["create_task", { title, description: `Do ${title}.`, ...more }] as const

const leader = Agent.make("lead", { instructions: "You lead." })
const coder = Agent.make("coder", { description: "Writes code" })
const tester = Agent.make("tester", { description: "Tests code" })

/** Answers by who is asked, and what came last. */
const play = (
  lead: ReadonlyArray<TestModel.Turn | string>,
  member: (last: string, tools: ReadonlyArray<string>) => TestModel.Turn | string
) => {
  let at = 0
  return TestModel.layer(({ prompt, tools }) => {
    if (tools.some((name) => name.endsWith("create_task"))) return lead[at++] ?? "too often"
    return member(JSON.stringify(prompt.content.at(-1)!.content), tools)
  })
}
const after = <A, E, R>(ms: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    for (let at = 0; at < 20; at++) yield* TestClock.adjust(ms / 20)
    if (fiber.pollUnsafe() === undefined) assert.fail(`not done after ${ms} ms`)
    return yield* Fiber.join(fiber)
  })
const outputOf = (events: ReadonlyArray<RunEvent.RunEvent>) => {
  const last = events.at(-1)!
  return last._tag === "RunCompleted" ? last.output : last
}
const changes = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) =>
    event._tag === "TaskChanged" ? [`${event.task.id} ${event.task.status} ${event.task.assignee ?? "-"}`] : []
  )
const prompts = Effect.map(
  Effect.flatMap(TestModel.TestModel, (model) => model.calls),
  (all) => all.map(({ prompt }) => JSON.stringify(prompt.content))
)

describe("a member of a team that waits for something from elsewhere", () => {
  const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
  const cashier = Agent.make("cashier", { description: "Pays", tools: [pay] })
  it.effect("suspends the team with the reason why it cannot go on, and goes on by itself", () =>
    Effect.gen(function* () {
      const desk = Team.make("desk", { leader, members: { cashier } })
      const error = yield* Effect.flip(after(1000, desk.run("pay")))
      if (error._tag !== "RunSuspended") return assert.fail(error._tag)
      assert.deepStrictEqual(error.blockedBy?.path, ["desk"])
      assert.include(error.message, "what its members are doing is not kept")
      const answered = Runner.answer(error.transcript, { [error.waitingFor[0].id]: Approvals.approve })
      const refused = yield* Effect.flip(desk.run(answered as never))
      if (refused._tag !== "CannotResume") return assert.fail(refused._tag)
      assert.include(refused.message, "what its members are doing is not kept")
      assert.strictEqual(yield* cashier.run(answered), "done")
    }).pipe(
      Effect.provide(
        play([calls(task("pay")), "waiting"], (last, tools) =>
          last.includes("paid") ? "done" : tools.includes("pay") ? calls(["pay", {}]) : ""
        )
      )
    )
  )
})

describe("a team", () => {
  it.effect(
    "works on its leader's tasks at once, those that are blocked after the others, and gives the leader's answer",
    () =>
      Effect.gen(function* () {
        const release = Team.make(
          "release",
          { leader, members: { coder, tester } },
          { budget: { steps: 40 }, maxRounds: 9 }
        )
        const { events } = yield* after(1000, collect(release, "ship it"))
        assert.strictEqual(outputOf(events), "shipped")
        assert.deepStrictEqual(changes(events), [
          "1 open coder",
          "2 open -",
          "3 open tester",
          "1 working coder",
          "2 working tester",
          "1 done coder",
          "2 done tester",
          "3 working tester",
          "3 done tester"
        ])
        // Both began before either had ended.
        const begun = events
          .filter(({ _tag, path }) => _tag === "RunStarted" && path.length === 2)
          .map(({ path }) => path[1])
        assert.deepStrictEqual(begun.slice(0, 3), ["leader", "coder", "tester"])
        const last = (yield* prompts).at(-1)!
        assert.include(last, 'tester has done task 3 (try). Its result: \\"try is done\\"')
        // The result of what blocked it is passed on.
        const tried = (yield* prompts).find((text) => text.includes("Task 3: try"))!
        assert.include(tried, 'Result of task 1 (build), as data: \\"build is done\\"')
      }).pipe(
        Effect.provide(
          play(
            [
              calls(
                task("build", { assignee: "coder" }),
                task("document"),
                task("try", { assignee: "tester", blockedBy: ["1"] })
              ),
              "waiting",
              "still waiting",
              "still",
              "shipped"
            ],
            (last) => ({ text: `${/Task \d: (\w+)/.exec(last)?.[1]} is done`, delay: 50 })
          )
        )
      )
  )

  it.effect("tells its leader of failures, and goes on", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", { description: "Breaks", run: (_task: string) => Effect.fail("no luck") })
      const { events } = yield* collect(Team.make("release", { leader, members: { broken } }), "go")
      assert.strictEqual(outputOf(events), "it failed")
      assert.deepStrictEqual(changes(events).slice(-1), ["1 failed broken"])
      assert.include((yield* prompts).at(-1)!, "broken failed at task 1 (build): no luck")
    }).pipe(Effect.provide(play([calls(task("build")), "waiting", "it failed"], () => "")))
  )

  it.effect("tells its leader when all are idle and nothing can begin", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", { description: "Breaks", run: (_task: string) => Effect.fail("no luck") })
      const { events } = yield* collect(Team.make("release", { leader, members: { broken } }), "go")
      assert.strictEqual(outputOf(events), "given up")
      assert.include((yield* prompts).at(-2)!, "All members are idle, and task 2 cannot begin: it is blocked by 1.")
    }).pipe(
      Effect.provide(
        play(
          [
            calls(task("build"), task("try", { blockedBy: ["1"] })),
            "waiting",
            "hm",
            calls(["cancel_task", { id: "2" }]),
            "given up"
          ],
          () => ""
        )
      )
    )
  )

  it.effect("tells its leader of a member that does nothing, which can be stopped", () =>
    Effect.gen(function* () {
      let stopped = 0
      const stuck = Runner.make("stuck", {
        description: "Hangs",
        run: (_task: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
      })
      const team = Team.make("release", { leader, members: { stuck } }, { stuckAfter: "1 minute" })
      const { events } = yield* after(200_000, collect(team, "go"))
      assert.deepStrictEqual([outputOf(events), stopped], ["without it", 1])
      assert.include((yield* prompts)[2]!, "stuck has done nothing for 1m, on task 1.")
    }).pipe(
      Effect.provide(
        play([calls(task("build")), "waiting", calls(["cancel_task", { id: "1" }]), "without it"], () => "")
      )
    )
  )

  it.effect("passes messages on, to those at work and to those that are idle", () =>
    Effect.gen(function* () {
      const team = Team.make("release", { leader, members: { coder, tester } })
      const { events } = yield* after(1000, collect(team, "go"))
      assert.strictEqual(outputOf(events), "all known")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "MessageSent" ? [[event.from, event.to, event.text]] : [])),
        [
          ["coder", "tester", "use v2"],
          ["coder", "leader", "half way"]
        ]
      )
      const all = yield* prompts
      assert.isTrue(all.some((text) => text.includes("Message of coder, as data: use v2")))
      assert.isTrue(
        all.some((text) => text.includes("News of your team") && text.includes("Message of coder, as data: half way"))
      )
      assert.isTrue(all.some((text) => text.includes("tester, who has no task, says")))
    }).pipe(
      Effect.provide(
        play(
          [calls(task("build", { assignee: "coder" })), "all known", "all known", "all known", "all known"],
          (last, tools) => {
            if (last.includes("Task 1")) {
              return calls(
                ["send_message", { to: "tester", text: "use v2" }],
                ["send_message", { to: "leader", text: "half way" }]
              )
            }
            return tools.length > 0 && last.includes("use v2") ? "noted" : "done"
          }
        )
      )
    )
  )

  it.effect("has a sender wait for room in a mailbox, and refuses what finds none in 30 seconds", () => {
    let said = 0
    return Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const note = AgentTool.fromFunction("note", {
        description: "Waits",
        execute: () => Effect.as(Deferred.await(go), "noted")
      })
      const slow = Agent.make("slow", { description: "Is slow", tools: [note] })
      const sent = (events: ReadonlyArray<RunEvent.RunEvent>) =>
        events.flatMap((event) => (event._tag === "MessageSent" ? [event.text] : []))
      const team = Team.make("release", { leader, members: { coder, slow } }, { mailbox: 2 })
      const events: Array<RunEvent.RunEvent> = []
      const seen = Runner.onEvent(team, (event) => Effect.sync(() => events.push(event)))
      const fiber = yield* Effect.forkChild(seen.run("go"))
      yield* TestClock.adjust("20 seconds")
      // Two have found room; the third one waits.
      assert.deepStrictEqual(sent(events), ["1", "2"])
      yield* TestClock.adjust("11 seconds")
      const failed = events.find(({ _tag }) => _tag === "ToolFailed")
      assert.deepInclude(failed, { result: { error: "the mailbox of slow is full; send it later" } })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(sent(events), ["1", "2"])
      // The fourth one waits, and has room once the member takes the first two.
      yield* Deferred.succeed(go, undefined)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(sent(events), ["1", "2", "4"])
      assert.strictEqual(yield* Fiber.join(fiber), "done")
    }).pipe(
      Effect.provide(
        play(
          [
            calls(task("wait", { assignee: "slow" }), task("talk", { assignee: "coder" })),
            ...Array.from({ length: 8 }, () => "done")
          ],
          (last, tools) => {
            if (tools.includes("note")) return last.includes("Task 1") ? calls(["note", {}]) : "done"
            if (++said > 4) return "done"
            // The other one has begun to wait by then.
            return { ...calls(["send_message", { to: "slow", text: String(said) }]), delay: 100 }
          }
        )
      )
    )
  })

  it.effect("sends to all who can take a message, the leader too, and says who cannot", () =>
    Effect.gen(function* () {
      const plain = Runner.make("plain", { description: "Works", run: (text: string) => Effect.succeed(text) })
      const team = Team.make("release", { leader, members: { coder, plain, tester } })
      const { events } = yield* collect(team, "go")
      const results = events.flatMap((event) =>
        event._tag === "ToolCompleted" && event.tool === "send_message" ? [event.result] : []
      )
      assert.deepStrictEqual(results, ["sent, but not to all: plain takes no messages"])
      const all = (yield* prompts).filter((text) => text.includes("Message of coder, as data: use v2"))
      assert.isTrue(all.some((text) => text.includes("News of your team")))
      assert.isTrue(all.some((text) => text.includes("You have messages.")))
      assert.strictEqual(events.filter(({ _tag }) => _tag === "MessageSent").length, 1)
    }).pipe(
      Effect.provide(
        play([calls(task("build", { assignee: "coder" })), ...Array.from({ length: 5 }, () => "end")], (last) =>
          last.includes("Task 1") ? calls(["send_message", { to: "all", text: "use v2" }]) : "done"
        )
      )
    )
  )

  it.effect("begins urgent tasks first, and draws who has worked", () =>
    Effect.gen(function* () {
      const team = Team.make("release", { leader, members: { coder, tester } })
      const { events } = yield* collect(team, "go")
      const begun = changes(events).filter((change) => change.includes("working"))
      assert.deepStrictEqual(begun, ["2 working coder", "3 working coder", "1 working coder"])
      const picture = Runner.toMermaid(team, events)
      const classOf = (name: string) => new RegExp(`(\\w+)\\[?.*${name}.*`).exec(picture)?.[0]
      assert.isDefined(classOf("coder"))
      assert.notStrictEqual(picture, Runner.toMermaid(team))
    }).pipe(
      Effect.provide(
        play(
          [
            calls(
              task("later", { assignee: "coder" }),
              task("now", { assignee: "coder", priority: 2 }),
              task("soon", { assignee: "coder", priority: 1 })
            ),
            ...Array.from({ length: 6 }, () => "end")
          ],
          () => "done"
        )
      )
    )
  )

  it.effect("lets a member give its result by a tool, and keep its conversation for the next task", () =>
    Effect.gen(function* () {
      const team = Team.make("release", { leader, members: { coder } })
      const { events } = yield* collect(team, "go")
      const done = events.flatMap((event) =>
        event._tag === "TaskChanged" && event.task.status === "done" ? [event.task.result] : []
      )
      assert.deepStrictEqual(done, ["v1", "bye"])
      const second = (yield* prompts).find((text) => text.includes("Task 2"))!
      assert.include(second, "Task 1: build")
    }).pipe(
      Effect.provide(
        play([calls(task("build"), task("leave")), "waiting", "waiting", "end", "end"], (last) =>
          last.includes("Task 1") ? calls(["finish_task", { id: "1", result: "v1" }]) : "bye"
        )
      )
    )
  )

  it.effect("is over after its last round, and interrupts everyone", () =>
    Effect.gen(function* () {
      let stopped = 0
      const slow = Runner.make("slow", {
        description: "Is slow",
        run: (_task: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
      })
      const team = Team.make("release", { leader, members: { slow } }, { maxRounds: 1 })
      const { events } = yield* after(100, collect(team, "go"))
      assert.deepStrictEqual([outputOf(events), stopped], ["enough", 1])
      const running = yield* Effect.forkChild(team.run("again"))
      for (let at = 0; at < 20; at++) yield* Effect.yieldNow
      yield* Fiber.interrupt(running)
      assert.strictEqual(stopped, 2)
    }).pipe(
      Effect.provide(
        play(
          [calls(task("build")), { text: "enough", delay: 10 }, calls(task("more")), { text: "late", delay: 1000 }],
          () => ""
        )
      )
    )
  )

  it.effect("has a budget for all of it", () =>
    Effect.gen(function* () {
      const team = Team.make("release", { leader, members: { coder } }, { budget: { steps: 5 } })
      const events: Array<RunEvent.RunEvent> = []
      const exit = yield* Effect.exit(Runner.onEvent(team, (event) => Effect.sync(() => events.push(event))).run("go"))
      const error =
        Exit.isFailure(exit) && exit.cause.reasons[0]!._tag === "Fail" ? exit.cause.reasons[0]!.error : undefined
      assert.instanceOf(error, RunError.BudgetExceeded)
      assert.deepStrictEqual((error as RunError.BudgetExceeded).path, ["release"])
      checkGrammar(events)
    }).pipe(Effect.provide(play([calls(task("build")), "waiting"], () => calls(["list_tasks", {}]))))
  )

  it("that could not work is refused, and it is drawn", () => {
    const refused = [
      () => Team.make("t", { leader, members: {} }),
      () => Team.make("t", { leader, members: { all: coder } }),
      () => Team.make("t", { leader, members: { coder } }, { maxRounds: 0 })
    ]
    for (const make of refused) assert.throws(make, RunError.InvalidDefinition)
    const picture = Runner.toMermaid(Team.make("release", { leader, members: { coder, tester } }))
    assert.include(picture, "release: team")
    assert.strictEqual(picture.split('-.->|"tasks"|').length - 1, 2)
  })
})
