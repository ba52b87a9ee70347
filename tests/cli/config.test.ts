/** `troupe run agent.yaml`: agents that a file describes. The command runs in this process. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { run } from "../../src/cli/run.ts"
import { troupe } from "../support/commandOutput.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const folder = temporaryFolder()
const agent = (name: string, text: string): string => {
  const file = path.join(folder(), name)
  fs.writeFileSync(file, text)
  return file
}

/** Asks; gives the exit code, the answer, and the message. */
const ask = (question: string, more: string | undefined, model?: string) =>
  troupe(
    run({
      agent: Option.none(),
      model: Option.fromUndefinedOr(model),
      json: false,
      question: Option.some(question),
      more: Option.fromUndefinedOr(more)
    })
  )

describe("troupe run agent.yaml", () => {
  it.effect("asks the agent of the file, with its model or that of the command", () =>
    Effect.gen(function* () {
      const own = agent("own.yaml", "name: clerk\nmodel: demo\ntools: [add]\n")
      assert.include((yield* ask(own, "Add 2 and 40.")).stdout, "42")
      const given = agent("given.json", '{"name":"clerk","tools":["add"]}')
      assert.include((yield* ask(given, "Add 2 and 40.", "demo")).stdout, "42")
    })
  )

  it.effect("says the line of what is wrong, and which tools there are", () =>
    Effect.gen(function* () {
      const { code, message } = yield* ask(agent("wrong.yaml", "name: clerk\nmodel: demo\ntools: [serach]\n"), "?")
      assert.strictEqual(code, 2)
      assert.match(message, /wrong\.yaml:3:9: there is no tool "serach"\. The registry has: add, .*current_time\./)
      const words = yield* ask("What", "is")
      assert.include(words.message, "a question of several words is quoted")
    })
  )

  it.effect("names the flag for a file of code in place of a question", () =>
    Effect.gen(function* () {
      for (const file of ["agents.ts", "./lib/agent.mjs"]) {
        for (const { code, message } of [yield* ask(file, undefined), yield* ask(file, "What is 2 + 40?")]) {
          assert.strictEqual(code, 2)
          assert.include(message, `troupe run --agent ${file} "`)
        }
      }
    })
  )
})
