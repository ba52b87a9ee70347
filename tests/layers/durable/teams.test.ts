/** Teams in durable runs. */
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import * as Team from "troupe/Team"
import * as TestModel from "troupe/TestModel"
import * as Transcript from "troupe/Transcript"
import { engine, eventually } from "../../support/durable.ts"

const task = (title: string, more: Record<string, unknown> = {}) => ({
  name: "create_task",
  params: { title, description: `Do ${title}.`, ...more }
})
/** The leader creates the tasks and answers with the news; a member works on its task, and answers with its result. */
const play =
  (tasks: ReadonlyArray<ReturnType<typeof task>>): TestModel.Script =>
  ({ prompt, tools }) => {
    const { toolCalls, user } = Transcript.turns(prompt).at(-1)!
    if (tools.includes("create_task")) {
      if (user !== "Go") return user
      return toolCalls.length === 0 ? { toolCalls: tasks } : "created"
    }
    const [, title = user] = /^Task \d+: (\w)/.exec(user) ?? []
    return toolCalls.length === 0 ? TestModel.toolCall("work", { on: title }) : `result of ${title}`
  }
const waiter = Runner.make("waiter", {
  run: (text: string) => Effect.map(Effect.orDie(Step.signal("go", Schema.String)), (go) => `${text} ${go}`)
})
const leader = Agent.make("lead", { instructions: "You lead." })
const key = () => "a"
const suspended = (self: Durable.Named) =>
  eventually(Effect.map(Durable.status(self, "a"), (status) => status === "suspended"))
const live = (tasks: ReadonlyArray<ReturnType<typeof task>>) =>
  Layer.merge(engine(":memory:"), TestModel.layer(play(tasks), { unused: "ignore" }))

it.live("a member that goes on has the tasks that it had begun, whichever are open by then", () =>
  Effect.gen(function* () {
    const worked: Array<string> = []
    const [begun, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    // The one member works on A and then on E, while the other one does B, C and D.
    const meanwhile: Record<string, Effect.Effect<unknown>> = {
      A: Deferred.await(begun),
      D: Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(ended)),
      E: Deferred.succeed(ended, undefined)
    }
    const work = AgentTool.fromFunction("work", {
      description: "Works",
      parameters: Schema.Struct({ on: Schema.String }),
      execute: ({ on }) =>
        Effect.suspend(() => {
          worked.push(on)
          return Effect.as(meanwhile[on] ?? Effect.void, `worked on ${on}`)
        })
    })
    const hand = Agent.make("hand", { tools: [work] })
    const members = { one: hand, other: hand, waiter }
    const teams = Durable.make(Team.make("team", { leader, members }), { name: "teams", version: "1", key })
    const fiber = yield* Effect.forkChild(teams.run("Go"))
    yield* suspended(teams)
    expect(worked.toSorted()).toEqual(["A", "B", "C", "D", "E"])
    yield* Durable.signal(teams, "a", "go", "gone")
    yield* Fiber.join(fiber)

    expect(worked.toSorted()).toEqual(["A", "B", "C", "D", "E"])
    const events = yield* Stream.runCollect(Durable.events(teams, "a"))
    const done = events.flatMap((event) =>
      event._tag === "TaskChanged" && event.task.status === "done" ? [event.task] : []
    )
    for (const { result, title } of done) if (title !== "F") expect(result).toBe(`result of ${title}`)
    expect(done.map(({ title }) => title).toSorted()).toEqual(["A", "B", "C", "D", "E", "F"])
  }).pipe(
    Effect.provide(live([...["A", "B", "C", "D", "E"].map((title) => task(title)), task("F", { assignee: "waiter" })]))
  )
)
