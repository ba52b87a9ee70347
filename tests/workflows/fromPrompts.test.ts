/** Workflows that are made of texts. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { Chain, Parallel, Router, Runner, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

/** Answers with the instructions and what the user said. */
const echo: TestModel.Script = ({ prompt }) => {
  const [system, user] = prompt.content.map((message) =>
    typeof message.content === "string"
      ? message.content
      : message.content.map((part) => (part.type === "text" ? part.text : "")).join("")
  )
  return `${system}(${user})`
}

describe("workflows made of prompts", () => {
  it.effect("chain them, each on what the one before it answered", () =>
    Effect.gen(function* () {
      const prompts = ["a", "b", "c", "d", "e", "f"]
      const chain = Chain.fromPrompts(prompts)
      const { events } = yield* collect(chain, "go")
      const last = events.at(-1)!
      assert.strictEqual(last._tag === "RunCompleted" ? last.output : last, "f(e(d(c(b(a(go))))))")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(" > ")] : [])).slice(0, 3),
        ["chain", "chain > step 1", "chain > step 2"]
      )
      assert.throws(() => Chain.fromPrompts([], { name: "empty" }), /chain "empty": it has no steps/)
    }).pipe(Effect.provide(TestModel.layer(echo)))
  )

  it.effect("run them at once, by name, and combine what they answered", () =>
    Effect.gen(function* () {
      const prompts = { pro: "for", contra: "against" } as const
      assert.deepStrictEqual(yield* Parallel.fromPrompts(prompts).run("go"), {
        pro: "for(go)",
        contra: "against(go)"
      })
      const settled = yield* Parallel.fromPrompts(prompts, { mode: Parallel.settle }).run("go")
      assert.deepStrictEqual(settled.pro, Result.succeed("for(go)"))
      const combined = Parallel.fromPrompts(prompts, { combine: "weigh", name: "panel" })
      assert.strictEqual(yield* combined.run("go"), "weigh(## pro\n\nfor(go)\n\n## contra\n\nagainst(go))")
      assert.include(Runner.toMermaid(combined), "panel: parallel")
    }).pipe(Effect.provide(TestModel.layer(echo)))
  )

  it.effect("choose among them by what they say", () =>
    Effect.gen(function* () {
      const desk = Router.fromPrompts({ billing: "Invoices", technical: "Outages" }, { fallback: "technical" })
      assert.strictEqual(yield* desk.run("It is down"), "Outages(It is down)")
      const [choice] = yield* Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
      assert.include(JSON.stringify(choice!.prompt.content[0]), "- billing: Invoices")
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => (call.output === undefined ? echo(call) : TestModel.json({ route: "technical" })))
      )
    )
  )
})
