import { assert, describe } from "@effect/vitest"
import { cases } from "../support/cases.ts"
import { it } from "../support/edges.ts"
import { Effect, Exit } from "effect"
import { TestModel } from "troupe"
import { collect, textOf } from "../support/grammar.ts"
import { agent, assertValid, modelOf, Script, tagOf } from "../support/randomScripts.ts"

describe("run, result and stream", () => {
  it.effect.prop(
    "agree for every script, keep the grammar, and send a valid transcript each time",
    { script: Script },
    ({ script }) =>
      Effect.gen(function* () {
        const model = () => modelOf(script)
        const ran = yield* Effect.exit(agent.run("go")).pipe(Effect.provide(model()))
        const resulted = yield* Effect.gen(function* () {
          const exit = yield* Effect.exit(agent.result("go"))
          const { calls } = yield* TestModel.TestModel
          for (const call of yield* calls) assertValid(call.prompt)
          return exit
        }).pipe(Effect.provide(model()))
        const { events, exit: streamed } = yield* collect(agent, "go").pipe(Effect.provide(model()))
        assert.strictEqual(tagOf(ran), tagOf(resulted))
        assert.strictEqual(tagOf(ran), tagOf(streamed))
        const last = events.at(-1)!
        if (Exit.isSuccess(ran) && Exit.isSuccess(resulted)) {
          if (last._tag !== "RunCompleted") return assert.fail(last._tag)
          assert.strictEqual(resulted.value.output, ran.value)
          assert.strictEqual(last.output, ran.value)
          assert.isTrue(textOf(events).endsWith(ran.value))
          assert.strictEqual(last.spent.steps, resulted.value.steps)
          assert.deepStrictEqual({ ...last.spent.usage }, { ...resulted.value.usage })
          assertValid(resulted.value.transcript)
        } else {
          if (last._tag !== "RunFailed") return assert.fail(last._tag)
          assert.deepInclude(last.error, { _tag: tagOf(ran) })
        }
      }),
    { arbitrary: { runs: cases(300) } } as never
  )
})
