/** A program of a model that is killed and made again: what it has called is not called again, and what it received first is first. */
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { Agent, AgentTool, CodeMode, TestModel } from "troupe"
import { attempt, MemoryJournal } from "../support/journal.ts"

const source = `
  const first = await Promise.race([tools.ask({ n: 1 }), tools.ask({ n: 2 })])
  const all = await Promise.all([tools.ask({ n: 3 })])
  return { first, all, now: Date.now(), random: Math.random() }`

it.live("is the same when it is made again after a kill at any of its steps", () =>
  Effect.gen(function* () {
    const journal = new MemoryJournal()
    const called: Array<number> = []
    const ask = AgentTool.fromFunction("ask", {
      description: "Answers",
      parameters: Schema.Struct({ n: Schema.Finite }),
      execute: ({ n }) => {
        called.push(n)
        return n * 10
      }
    })
    const results: Array<unknown> = []
    const model = TestModel.layer(({ prompt }) => {
      const last = prompt.content.at(-1)!
      if (last.role !== "tool") return { toolCalls: [{ id: "p", name: "run_program", params: { program: source } }] }
      const [part] = last.content
      results.push(part?.type === "tool-result" ? part.result : undefined)
      return "done"
    })
    const agent = Agent.make("analyst", { use: [CodeMode.feature([ask])] })
    const program = agent.run("go").pipe(Effect.provide([model, CodeMode.layerQuickJs]))
    // Each attempt gets one step further, and is killed when that one is kept.
    let exit: Exit.Exit<string, unknown> | undefined
    for (let tries = 0; exit === undefined && tries < 30; tries++) {
      exit = yield* attempt(program, journal, { at: 0, moment: "after" })
    }
    assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
    assert.deepStrictEqual(called.toSorted(), [1, 2, 3])
    const again = yield* attempt(program, journal)
    assert.isTrue(again !== undefined && Exit.isSuccess(again))
    assert.strictEqual(called.length, 3)
    const [result] = results as ReadonlyArray<{ readonly result: { readonly all: unknown; readonly first: unknown } }>
    assert.include([10, 20], result?.result.first)
    assert.deepStrictEqual(result?.result.all, [30])
  })
)
