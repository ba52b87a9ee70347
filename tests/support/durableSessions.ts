/** Turns of one session that are durable runs: whichever nodes execute them, one is at work at a time. */
import { Effect, Layer } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Session from "troupe/Session"
import * as SessionStore from "troupe/SessionStore"
import * as TestModel from "troupe/TestModel"
import { expect } from "vitest"

const model = TestModel.layer(
  ((call: { readonly prompt: { readonly content: ReadonlyArray<{ readonly role: string }> } }) =>
    call.prompt.content.at(-1)?.role === "user" ? TestModel.toolCall("work", {}) : "done") as never,
  { unused: "ignore" }
)

/** Runs turns at once, each in a node of its own. Engines and stores are made for each, on what they share. */
export const oneNodeAtATime = <E1, E2>(
  engineOf: () => Layer.Layer<Durable.Engine, E1>,
  storeOf: () => Layer.Layer<SessionStore.SessionStore, E2>
) =>
  Effect.gen(function* () {
    let [now, most] = [0, 0]
    const work = AgentTool.fromFunction("work", {
      description: "Works.",
      execute: () =>
        Effect.gen(function* () {
          most = Math.max(most, ++now)
          yield* Effect.sleep(30)
          now--
          return "worked"
        })
    })
    const clerk = Agent.make("clerk", { tools: [work] })
    const turns = Durable.make(Session.of(clerk, "user-42"), {
      name: "turns",
      version: "1",
      key: (text) => String(text)
    })
    const node = () => Layer.provideMerge(Layer.merge(model, Layer.fresh(storeOf())), Layer.fresh(engineOf()))
    const own = (text: string) => turns.run(text).pipe(Effect.provide(node()))
    const texts = ["one", "two", "three", "four"]
    expect(yield* Effect.forEach(texts, own, { concurrency: "unbounded" })).toEqual(texts.map(() => "done"))
    expect(most).toBe(1)
    const history = yield* SessionStore.history("user-42").pipe(Effect.provide(storeOf()))
    const asked = history.content.flatMap((message) =>
      message.role === "user" ? message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])) : []
    )
    expect(asked.toSorted()).toEqual(texts.toSorted())
  })
