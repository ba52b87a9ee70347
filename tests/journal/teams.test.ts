/** Teams that are killed at their steps and made again. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Schema } from "effect"
import { Agent, AgentTool, type RunEvent, Runner, Team, TestModel, Transcript } from "troupe"
import { attempt, MemoryJournal, type Moment } from "../support/journal.ts"

/** How long work on a task takes, in turns of the scheduler: members overtake each other. */
const turns: Record<string, number> = { A: 8, B: 1, C: 2, D: 5, E: 1, F: 1 }
const titles = Object.keys(turns)

interface World {
  readonly worked: Array<string>
  calls: number
}

const teamIn = (world: World) => {
  const work = AgentTool.fromFunction("work", {
    description: "Works",
    hints: { idempotent: true },
    parameters: Schema.Struct({ on: Schema.String }),
    execute: ({ on }) =>
      Effect.gen(function* () {
        world.worked.push(on)
        for (let turn = 0; turn < (turns[on] ?? 0); turn++) yield* Effect.yieldNow
        return `worked on ${on}`
      })
  })
  const hand = Agent.make("hand", { tools: [work] })
  return Team.make("team", { leader: Agent.make("lead", {}), members: { one: hand, other: hand, third: hand } })
}

const modelIn = (world: World) =>
  TestModel.layer(
    ({ prompt, tools }) => {
      world.calls++
      const { toolCalls, user } = Transcript.turns(prompt).at(-1)!
      if (tools.includes("create_task")) {
        if (user !== "Go") return user
        const create = (title: string) => ({
          name: "create_task",
          params: { title, description: `Do ${title}.`, ...(title === "F" ? { blockedBy: ["1", "4"] } : {}) }
        })
        return toolCalls.length === 0 ? { toolCalls: titles.map(create) } : "created"
      }
      if (user === "You have messages.") return "read"
      // A message may have come since the task.
      const all = Transcript.turns(prompt)
      const from = all.findLastIndex((turn) => turn.user.startsWith("Task"))
      const title = /^Task \d+: (\w)/.exec(all[from]?.user ?? "")?.[1]
      if (title === undefined) return "read"
      const called = new Set(all.slice(from).flatMap((turn) => turn.toolCalls.map(({ tool }) => tool)))
      if (!called.has("work")) return TestModel.toolCall("work", { on: title })
      return title === "B" && !called.has("send_message")
        ? TestModel.toolCall("send_message", { to: "all", text: "B is done." })
        : `result of ${title}`
    },
    { unused: "ignore" }
  )

const run = (world: World, journal: MemoryJournal, kill?: { readonly at: number; readonly moment: Moment }) =>
  Effect.gen(function* () {
    const events: Array<RunEvent.RunEvent> = []
    const watched = Runner.onEvent(teamIn(world), (event) => Effect.sync(() => void events.push(event)))
    const exit = yield* attempt(Effect.provide(watched.run("Go"), modelIn(world)), journal, kill)
    return { exit, events }
  })
const resultsOf = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  Object.fromEntries(
    events.flatMap((event) =>
      event._tag === "TaskChanged" && event.task.status === "done" ? [[event.task.title, event.task.result]] : []
    )
  )
const expected = Object.fromEntries(titles.map((title) => [title, `result of ${title}`]))

describe("a team that is killed at a step and made again", () => {
  it.live("works on each task once, and each result is of its task", () =>
    Effect.gen(function* () {
      const whole = new MemoryJournal()
      const world = { worked: [], calls: 0 }
      const first = yield* run(world, whole)
      assert.isTrue(first.exit !== undefined && Exit.isSuccess(first.exit))
      assert.deepStrictEqual(resultsOf(first.events), expected)
      const count = whole.ended.length
      assert.isAbove(count, 20)
      // Every seventh step, each at another moment.
      for (const [index, moment] of (["before", "within", "after"] as const).entries()) {
        for (let at = 2 * index; at < count; at += 7) {
          const journal = new MemoryJournal()
          const again: World = { worked: [], calls: 0 }
          const killed = yield* run(again, journal, { at, moment })
          const kept = journal.ended.filter(({ kind }) => kind === "tool").length
          const before = again.worked.length
          const second = killed.exit === undefined ? yield* run(again, journal) : killed
          const how = `killed ${moment} step ${at} of ${count}`
          assert.isTrue(second.exit !== undefined && Exit.isSuccess(second.exit), how)
          assert.deepStrictEqual(resultsOf(second.events), expected, how)
          assert.deepStrictEqual([...new Set(again.worked)].toSorted(), titles, how)
          // What was under way is done again, and nothing that was kept.
          if (killed.exit === undefined) assert.strictEqual(again.worked.length - before, titles.length - kept, how)
        }
      }
    })
  )
})

/** A tool that takes some turns of the scheduler, and none when its outcome is kept. */
const waits = (name: string, turns: number) =>
  AgentTool.fromFunction(name, {
    description: "Waits",
    hints: { idempotent: true },
    parameters: Schema.Struct({}),
    execute: () =>
      Effect.gen(function* () {
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        return "waited"
      })
  })

describe("a team whose leader releases a task that is worked on", () => {
  it.live("has nothing of it done again when the run is made again", () =>
    Effect.gen(function* () {
      let calls = 0
      const leader = Agent.make("lead", { tools: [waits("look", 20)] })
      const team = Team.make("team", { leader, members: { one: Agent.make("hand", { tools: [waits("work", 60)] }) } })
      const steps = [
        TestModel.toolCall("create_task", { title: "A", description: "Do A." }),
        TestModel.toolCall("look", {}),
        TestModel.toolCall("release_task", { id: "1" })
      ]
      const model = TestModel.layer(
        ({ prompt, tools }) => {
          calls++
          const { toolCalls, user } = Transcript.turns(prompt).at(-1)!
          if (!tools.includes("create_task")) return toolCalls.length === 0 ? TestModel.toolCall("work", {}) : "done"
          return user === "Go" ? (steps[toolCalls.length] ?? "created") : user
        },
        { unused: "ignore" }
      )
      const statuses: Array<string> = []
      const watched = Runner.onEvent(team, (event) =>
        Effect.sync(() => event._tag === "TaskChanged" && statuses.push(event.task.status))
      )
      const journal = new MemoryJournal()
      const once = () => attempt(Effect.provide(watched.run("Go"), model), journal)
      const first = yield* once()
      assert.isTrue(first !== undefined && Exit.isSuccess(first))
      assert.deepStrictEqual(statuses, ["open", "working", "open", "working", "done"])
      calls = 0
      assert.deepStrictEqual(yield* once(), first)
      assert.strictEqual(calls, 0)
    })
  )
})

describe("a team that is killed as a task is released", () => {
  it.live("releases it once when it is made again", () =>
    Effect.gen(function* () {
      const create = (title: string, assignee: string) => ({
        name: "create_task",
        params: { title, description: "Do it.", assignee }
      })
      const team = Team.make("team", {
        leader: Agent.make("lead", {}),
        members: {
          one: Agent.make("one", { tools: [waits("work", 3000)] }),
          other: Agent.make("other", { maxSteps: 60, tools: [waits("look", 1)] })
        }
      })
      const model = TestModel.layer(
        ({ prompt, tools }) => {
          const { toolCalls, user } = Transcript.turns(prompt).at(-1)!
          if (tools.includes("work")) return toolCalls.length === 0 ? TestModel.toolCall("work", {}) : "done"
          if (tools.includes("look")) return toolCalls.length < 30 ? TestModel.toolCall("look", {}) : "done"
          if (toolCalls.length > 0) return "so be it"
          if (user === "Go") return { toolCalls: [create("A", "one"), create("U", "other")] }
          return user.includes("(U)") ? TestModel.toolCall("release_task", { id: "1" }) : user
        },
        { unused: "ignore" }
      )
      const begun: Array<string> = []
      const watched = Runner.onEvent(team, (event) =>
        Effect.sync(
          () => event._tag === "TaskChanged" && event.task.status === "working" && begun.push(event.task.title)
        )
      )
      const run = (journal: MemoryJournal, kill?: { readonly at: number; readonly moment: Moment }) =>
        attempt(Effect.provide(watched.run("Go"), model), journal, kill)
      const whole = new MemoryJournal()
      yield* run(whole)
      const stopped = whole.ended.findIndex(({ name }) => name === "team stopped")
      assert.isAbove(stopped, 0)
      for (let at = stopped - 3; at < stopped + 6; at++) {
        const journal = new MemoryJournal()
        yield* run(journal, { at, moment: "after" })
        begun.length = 0
        const exit = yield* run(journal)
        assert.isTrue(exit !== undefined && Exit.isSuccess(exit), `killed at ${at}`)
        assert.deepStrictEqual(
          begun.filter((title) => title === "A"),
          ["A", "A"],
          `killed at ${at}`
        )
      }
    })
  )
})

describe("a message that a member took while it worked", () => {
  const create = (title: string, assignee: string) => ({
    name: "create_task",
    params: { title, description: "Do it.", assignee }
  })
  const waiting = (tool: string, times: number, toolCalls: ReadonlyArray<unknown>) =>
    toolCalls.length < times ? TestModel.toolCall(tool, {}) : undefined
  // When the run is made again, what takes few steps is quick, however long it took.
  const cases = [
    ["is sent before it begins that work", 30, 1],
    ["is sent after it has ended that work", 1, 10]
  ] as const
  for (const [when, looks, toils] of cases) {
    it.live(`is not read again where it ${when} when the run is made again`, () =>
      Effect.gen(function* () {
        let calls = 0
        let received = 0
        const team = Team.make("team", {
          leader: Agent.make("lead", {}),
          members: {
            one: Agent.make("one", { tools: [waits("work", 1500)] }),
            two: Agent.make("two", { tools: [waits("toil", 900 / toils)] }),
            three: Agent.make("three", { maxSteps: 60, tools: [waits("look", 1)] })
          }
        })
        const model = TestModel.layer(
          ({ prompt, tools }) => {
            calls++
            const { toolCalls, user } = Transcript.turns(prompt).at(-1)!
            if (tools.includes("create_task")) {
              if (toolCalls.length > 0) return "created"
              if (user === "Go") return { toolCalls: [create("T", "two"), create("U", "three")] }
              return user.includes("(U)") ? { toolCalls: [create("O", "one")] } : user
            }
            if (tools.includes("work")) return (user.startsWith("Task") && waiting("work", 1, toolCalls)) || "done"
            if (tools.includes("look")) return waiting("look", looks, toolCalls) ?? "done"
            const send = TestModel.toolCall("send_message", { to: "one", text: "Hello." })
            return waiting("toil", toils, toolCalls) ?? (toolCalls.length === toils ? send : "done")
          },
          { unused: "ignore" }
        )
        const watched = Runner.onEvent(team, (event) =>
          Effect.sync(() => {
            if (event._tag === "InputReceived") received++
          })
        )
        const journal = new MemoryJournal()
        const once = () => attempt(Effect.provide(watched.run("Go"), model), journal)
        const first = yield* once()
        assert.isTrue(first !== undefined && Exit.isSuccess(first))
        assert.strictEqual(received, 1)
        calls = received = 0
        assert.deepStrictEqual(yield* once(), first)
        assert.deepStrictEqual({ calls, received }, { calls: 0, received: 1 })
      })
    )
  }
})

describe("a task that is given to another member", () => {
  const create = (title: string, blockedBy: ReadonlyArray<string> = []) => ({
    name: "create_task",
    params: { title, description: "Do it.", blockedBy }
  })
  const assign = (id: string) => ({ name: "assign_task", params: { id, assignee: "two" } })
  const hand = Agent.make("hand", { tools: [waits("work", 4000)] })
  // What a runner does is done again when the run is made again: then the first member is quick, and the leader is not.
  const ponder = Runner.make("ponder", {
    run: (_input: string) => Effect.as(Effect.repeat(Effect.yieldNow, { times: 1500 }), "pondered")
  })
  const lead = Agent.make("lead", { tools: [AgentTool.fromRunner(ponder, { description: "Ponders" })] })
  const team = Team.make("team", { leader: lead, members: { one: hand, two: hand } })
  const givenIn = (events: ReadonlyArray<RunEvent.RunEvent>, id: string) =>
    events.flatMap((event) =>
      (event._tag === "ToolCompleted" || event._tag === "ToolFailed") && event.tool === "assign_task"
        ? [event._tag === "ToolCompleted" ? "given" : JSON.stringify(event.result)]
        : event._tag === "TaskChanged" && event.task.id === id && event.task.status === "working"
          ? [event.task.assignee]
          : []
    )
  /** Runs the team with a leader that makes these calls, a step for each list, and with members that work once. */
  const played = (
    steps: ReadonlyArray<Effect.Effect<ReadonlyArray<object>>>,
    journal: MemoryJournal,
    kill?: { readonly at: number; readonly moment: Moment }
  ) =>
    Effect.gen(function* () {
      const events: Array<RunEvent.RunEvent> = []
      const watched = Runner.onEvent(team, (event) => Effect.sync(() => void events.push(event)))
      const model = TestModel.layer(
        ({ prompt, tools }) => {
          const { toolCalls, user } = Transcript.turns(prompt).at(-1)!
          if (!tools.includes("create_task")) return toolCalls.length === 0 ? TestModel.toolCall("work", {}) : "done"
          const next =
            user === "Go" ? steps[prompt.content.filter(({ role }) => role === "assistant").length] : undefined
          return next === undefined ? user : Effect.map(next, (calls) => ({ toolCalls: calls as never }))
        },
        { unused: "ignore" }
      )
      const exit = yield* attempt(Effect.provide(watched.run("Go"), model), journal, kill)
      return { exit, events }
    })

  it.live("is not said to be given while the first one begins it", () =>
    Effect.gen(function* () {
      const begins = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      const journal = new (class extends MemoryJournal {
        override attempt(...args: Parameters<MemoryJournal["attempt"]>) {
          const own = super.attempt(...args)
          return {
            ...own,
            run: (...[step, effect]: Parameters<typeof own.run>) =>
              step.name === "team task"
                ? Effect.andThen(Deferred.succeed(begins, undefined), Deferred.await(asked)).pipe(
                    Effect.andThen(Effect.repeat(Effect.yieldNow, { times: 50 })),
                    Effect.andThen(own.run(step, effect))
                  )
                : own.run(step, effect)
          }
        }
      })()
      const second = Effect.andThen(Deferred.await(begins), Deferred.succeed(asked, undefined)).pipe(
        Effect.as([assign("1")])
      )
      const { events, exit } = yield* played([Effect.succeed([create("A")]), second], journal)
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
      assert.deepStrictEqual(givenIn(events, "1"), ["one", '{"error":"task 1 is working"}'])
    })
  )

  it.live("is worked on by that one, however the run is killed and made again", () =>
    Effect.gen(function* () {
      const pondering = [{ name: "ponder", params: { input: "hm" } }]
      const steps = [[create("A"), create("B", ["1"])], pondering, [assign("2")]].map((calls) => Effect.succeed(calls))
      const whole = new MemoryJournal()
      assert.deepStrictEqual(givenIn((yield* played(steps, whole)).events, "2"), ["given", "two"])
      for (let at = 0; at < whole.ended.length; at++) {
        const journal = new MemoryJournal()
        const killed = yield* played(steps, journal, { at, moment: "after" })
        const isGiven = givenIn(killed.events, "2").includes("given")
        const { events, exit } = killed.exit === undefined ? yield* played(steps, journal) : killed
        assert.isTrue(exit !== undefined && Exit.isSuccess(exit), `killed at ${at}`)
        if (isGiven) assert.deepStrictEqual(givenIn(events, "2").toSorted(), ["given", "two"], `killed at ${at}`)
      }
    })
  )
})
