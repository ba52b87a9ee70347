/** Turns of sessions in durable runs. */
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schedule, Schema } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Approvals from "troupe/Approvals"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as FileTools from "troupe/FileTools"
import * as Runner from "troupe/Runner"
import * as Sandbox from "troupe/Sandbox"
import * as Session from "troupe/Session"
import * as SessionStore from "troupe/SessionStore"
import * as Sqlite from "troupe/Sqlite"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import * as Transcript from "troupe/Transcript"
import { WorkspaceError } from "troupe/Workspace"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"
import { oneNodeAtATime } from "../../support/durableSessions.ts"

it.live("a session is never run by two nodes, and each turn is in its history once", () =>
  Effect.flatMap(temporaryFile, (file) =>
    oneNodeAtATime(
      () => engine(file),
      () => SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: `${file}.sessions` })))
    )
  )
)

/** A model that pays where it is asked to, and says how many turns it sees. */
const model = TestModel.layer(
  ({ prompt }) => {
    const turns = Transcript.turns(prompt)
    const { toolCalls, user } = turns.at(-1)!
    return user.startsWith("pay") && toolCalls.length === 0 ? TestModel.toolCall("pay", {}) : `${turns.length}: ${user}`
  },
  { unused: "ignore" }
)
const live = Layer.merge(engine(":memory:"), Layer.merge(SessionStore.layerMemory, model))
const turnsOf = (id: string) =>
  Effect.map(SessionStore.history(id), (history) =>
    Transcript.turns(history).map(({ answer, toolCalls, user }) => [user, toolCalls.length, answer])
  )
const suspended = (self: Durable.Named, key: string) =>
  eventually(Effect.map(Durable.status(self, key), (status) => status === "suspended"))

const after = Runner.make("after", {
  run: (text: string) => Effect.map(Effect.orDie(Step.signal("go", Schema.String)), (go) => `${text}, ${go}`)
})

it.live.each(["discard", "keep"] as const)(
  "a run that is made again takes its turn of a session once, with onFailure: %s",
  (onFailure) =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", { description: "Pays", execute: () => "paid" })
      const chat = Session.of(Agent.make("clerk", { tools: [pay] }), "user-42", { onFailure })
      const runs = Durable.make(Chain.make("runs", [chat, after]), { name: "runs", version: "1", key: String })
      const fiber = yield* Effect.forkChild(runs.run("pay one"))
      yield* suspended(runs, "pay one")
      expect(yield* turnsOf("user-42")).toEqual([["pay one", 1, "1: pay one"]])
      // Another turn comes before the run goes on.
      expect(yield* chat.run("two")).toBe("2: two")
      yield* Durable.signal(runs, "pay one", "go", "gone")
      expect(yield* Fiber.join(fiber)).toBe("1: pay one, gone")
      expect(yield* turnsOf("user-42")).toEqual([
        ["pay one", 1, "1: pay one"],
        ["two", 0, "2: two"]
      ])
    }).pipe(Effect.provide(live))
)

it.live.each(["discard", "keep"] as const)(
  "a turn that sleeps in its middle is kept once it has ended, with onFailure: %s",
  (onFailure) =>
    Effect.gen(function* () {
      const paid: Array<string> = []
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        needsApproval: true,
        execute: () => {
          paid.push("paid")
          return "paid"
        }
      })
      const chat = Session.of(Agent.make("clerk", { tools: [pay] }), "user-42", { onFailure })
      const runs = Durable.make(chat, { name: "turns", version: "1", key: String })
      const fiber = yield* Effect.forkChild(runs.run("pay one"))
      yield* suspended(runs, "pay one")
      expect(yield* turnsOf("user-42")).toEqual([])
      const [waiting] = yield* Durable.pending(runs, "pay one")
      yield* Durable.decide(runs, "pay one", waiting!.id, Approvals.approve)
      expect(yield* Fiber.join(fiber)).toBe("1: pay one")
      expect(yield* turnsOf("user-42")).toEqual([["pay one", 1, "1: pay one"]])
      expect(paid).toEqual(["paid"])
    }).pipe(Effect.provide(live))
)

it.live("two attempts at a turn in one run are two turns", () =>
  Effect.gen(function* () {
    let attempts = 0
    const chat = Session.of(Agent.make("clerk", {}), "user-42")
    const moody = Runner.mapEffect(chat, (text) => (++attempts === 1 ? Effect.fail("no") : Effect.succeed(text)))
    const runs = Durable.make(Runner.withRetry(moody, { schedule: Schedule.recurs(1) }), {
      name: "moody",
      version: "1",
      key: String
    })
    expect(yield* runs.run("one")).toBe("2: one")
    expect((yield* turnsOf("user-42")).length).toBe(2)
  }).pipe(Effect.provide(live))
)

it.live("a run under a key of which an earlier run was removed takes a turn of its own", () =>
  Effect.gen(function* () {
    const chat = Session.of(Agent.make("clerk", {}), "user-42")
    const runs = Durable.make(chat, { name: "reports", version: "1", key: String })
    expect(yield* runs.run("report")).toBe("1: report")
    // It removes what has ended before now.
    yield* eventually(Effect.map(Durable.prune(0), (removed) => removed === 1))
    expect(yield* runs.run("report")).toBe("2: report")
    expect(yield* turnsOf("user-42")).toEqual([
      ["report", 0, "1: report"],
      ["report", 0, "2: report"]
    ])
  }).pipe(Effect.provide(live))
)

it.live("a turn that goes on after it has written files is taken back with them", () =>
  Effect.gen(function* () {
    const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
    const coder = Agent.make("coder", { tools: [pay], use: [FileTools.feature({ write: true })] })
    const chat = Session.of(coder, "s", { files: "rewind" })
    const runs = Durable.make(chat, { name: "turns", version: "1", key: String, error: WorkspaceError })
    const fiber = yield* Effect.forkChild(runs.run("one"))
    yield* suspended(runs, "one")
    const { files } = yield* Sandbox.Sandbox
    expect(yield* files.readFileString("/a.txt")).toBe("first")
    const [waiting] = yield* Durable.pending(runs, "one")
    yield* Durable.decide(runs, "one", waiting!.id, Approvals.approve)
    expect(yield* Fiber.join(fiber)).toBe("done")
    expect(yield* Session.rewind("s", "again", { before: 1, approved: true }).run()).toEqual(["a.txt"])
    expect(yield* files.readFileString("/a.txt")).toBe("zero")
  }).pipe(
    Effect.provide([
      engine(":memory:"),
      SessionStore.layerMemory,
      Sandbox.layerMemory({ files: { "/a.txt": "zero" } }),
      TestModel.layer([
        TestModel.toolCall("write_file", { path: "a.txt", content: "first" }),
        TestModel.toolCall("pay", {}),
        "done"
      ])
    ])
  )
)

it.live("a run that goes back in a session asks once and goes back once, when it goes on after that too", () =>
  Effect.gen(function* () {
    const coder = Agent.make("coder", { use: [FileTools.feature({ write: true })] })
    yield* Session.of(coder, "s", { files: "rewind" }).run("one")
    const back = Runner.make("back", {
      run: (to: string) =>
        Effect.gen(function* () {
          const paths = yield* Session.rewind("s", to, { before: 1 }).run()
          return `${paths.join()} ${yield* Effect.orDie(Step.signal("go", Schema.String))}`
        })
    })
    const runs = Durable.make(back, { name: "back", version: "1", key: String, error: WorkspaceError })
    const fiber = yield* Effect.forkChild(runs.run("again"))
    yield* suspended(runs, "again")
    const { files } = yield* Sandbox.Sandbox
    expect(yield* files.readFileString("/a.txt")).toBe("first")
    const [asked] = yield* Durable.pending(runs, "again")
    yield* Durable.decide(runs, "again", asked!.id, Approvals.approve)
    yield* eventually(Effect.map(Durable.pending(runs, "again"), ([waiting]) => waiting?.kind === "signal"))
    yield* files.writeFileString("/a.txt", "later")
    yield* Durable.signal(runs, "again", "go", "gone")
    expect(yield* Fiber.join(fiber)).toBe("a.txt gone")
    expect(yield* files.readFileString("/a.txt")).toBe("later")
  }).pipe(
    Effect.provide([
      engine(":memory:"),
      SessionStore.layerMemory,
      Sandbox.layerMemory({ files: { "/a.txt": "zero" } }),
      TestModel.layer([TestModel.toolCall("write_file", { path: "a.txt", content: "first" }), "done"])
    ])
  )
)

it.live("a durable run that finds its session busy takes a turn of its own, also where it could steer", () =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const may = yield* Deferred.make<void>()
    const pay = AgentTool.fromFunction("pay", {
      description: "Pays",
      execute: () => Effect.as(Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(may)), "paid")
    })
    const chat = Session.of(Agent.make("clerk", { tools: [pay] }), "user-42", { whenBusy: "steer" })
    const runs = Durable.make(chat, { name: "turns", version: "1", key: String })
    const first = yield* Effect.forkChild(runs.run("pay one"))
    yield* Deferred.await(begun)
    const second = yield* Effect.forkChild(runs.run("two"))
    yield* eventually(Effect.map(Durable.status(runs, "two"), (status) => status === "running"))
    yield* Effect.sleep(50)
    yield* Deferred.succeed(may, undefined)
    expect(yield* Fiber.join(first)).toBe("1: pay one")
    expect(yield* Fiber.join(second)).toBe("2: two")
    expect(yield* turnsOf("user-42")).toEqual([
      ["pay one", 1, "1: pay one"],
      ["two", 0, "2: two"]
    ])
  }).pipe(Effect.provide(live))
)
