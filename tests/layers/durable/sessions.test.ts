/** Turns of one session that are durable runs: whichever nodes execute them, one is at work at a time. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Agent from "troupe/Agent"
import * as Durable from "troupe/Durable"
import * as Session from "troupe/Session"
import * as SessionStore from "troupe/SessionStore"
import * as Sqlite from "troupe/Sqlite"
import * as TestModel from "troupe/TestModel"
import * as AgentTool from "troupe/AgentTool"
import { engine, temporaryFile } from "../../support/durable.ts"

it.live("a session is never run by two nodes, and each turn is in its history once", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
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
    const model = TestModel.layer(
      ((call: { readonly prompt: { readonly content: ReadonlyArray<{ readonly role: string }> } }) =>
        call.prompt.content.at(-1)?.role === "user" ? TestModel.toolCall("work", {}) : "done") as never,
      { unused: "ignore" }
    )
    // Each node has an engine and a store of its own, on the files that they share.
    const storeOf = () =>
      Layer.fresh(SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: `${file}.sessions` }))))
    const node = () => Layer.provideMerge(Layer.merge(model, storeOf()), Layer.fresh(engine(file)))
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
)
