/**
 * Programs of a model that wait or are killed, at each of their calls: what they have called is not called again, and what they
 * received first is first.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schema } from "effect"
import type { Prompt } from "effect/ai"
import { Agent, AgentTool, Approvals, CodeMode, RunError, Runner, TestModel } from "troupe"
import { Engine } from "../support/codeEngine.ts"
import { attempt, MemoryJournal } from "../support/journal.ts"

const N = Schema.Struct({ n: Schema.Finite, at: Schema.optionalKey(Schema.Finite) })

/** The text of a program out of random numbers, and how many calls it has. */
const programOf = (numbers: ReadonlyArray<number>, hasRaces: boolean): string => {
  let at = 0
  let count = 0
  const next = (): number => numbers[at++ % numbers.length]! + Math.floor(at / numbers.length)
  const tools = ["get", "get", "pay", "ask"]
  const expression = (depth: number): string => {
    const kind = next() % (depth >= 2 ? 2 : 7)
    const many = () => Array.from({ length: 2 + (next() % 2) }, () => expression(depth + 1)).join(", ")
    // The time and chance are arguments, so that a program that saw others would make other calls.
    if (kind < 2) return `tools.${tools[next() % 4]!}({ n: ${++count}, at: Date.now() + Math.random() })`
    if (kind < 4) return `Promise.all([${many()}])`
    if (kind === 4 && hasRaces) return `Promise.race([${many()}])`
    return `(async () => [await ${expression(depth + 1)}, await ${expression(depth + 1)}])()`
  }
  return `return await ${expression(0)}`
}

/** An agent whose model has the program run, and says what it gave. `made`: the calls of its tools. */
const clerk = (program: string, made: Array<number>) => {
  const note = ({ n }: typeof N.Type) => {
    made.push(n)
    return n * 10
  }
  const get = AgentTool.fromFunction("get", { description: "Gets", parameters: N, execute: note })
  const pay = AgentTool.fromFunction("pay", {
    description: "Pays",
    parameters: N,
    needsApproval: true,
    execute: note
  })
  const ask = AgentTool.client("ask", { description: "Asks", parameters: N, success: Schema.Finite })
  const model = TestModel.layer(({ prompt }) => {
    const last = prompt.content.at(-1)!
    if (last.role !== "tool") return { toolCalls: [{ id: "p", name: "run_program", params: { program } }] }
    const [part] = last.content
    return part?.type === "tool-result" ? JSON.stringify(part.result) : "no result"
  })
  const agent = Agent.make("clerk", { use: [CodeMode.feature([get, pay, ask])] })
  return (input: Prompt.RawInput) => agent.run(input).pipe(Effect.provide(model))
}

const Small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 }))
const Numbers = Schema.Array(Small).check(Schema.isMinLength(4), Schema.isMaxLength(16))

/** Answers what a run waits for, `per` at a time, until it ends. Gives the ends of calls that each of its programs had received. */
const untilDone = (
  run: (input: Prompt.RawInput) => Effect.Effect<string, unknown, CodeMode.CodeEngine>,
  made: Array<number>,
  per: number
) =>
  Effect.gen(function* () {
    const ledgers: Array<ReadonlyArray<unknown>> = []
    let input: Prompt.RawInput = "go"
    for (let rounds = 0; rounds < 40; rounds++) {
      const exit: Exit.Exit<string, unknown> = yield* Effect.exit(run(input))
      if (Exit.isSuccess(exit)) return { output: exit.value, ledgers }
      const error = Cause.squash(exit.cause)
      if (!(error instanceof RunError.RunSuspended)) return assert.fail(Cause.pretty(exit.cause))
      const { transcript } = error
      ledgers.push(receivedIn(transcript))
      const open = Runner.pending(transcript).slice(0, per)
      const answers = open.flatMap((one): ReadonlyArray<readonly [string, Runner.Answer]> => {
        if (one.kind === "event") return []
        const { n } = one.params as typeof N.Type
        if (one.kind === "client-tool") made.push(n)
        return [[one.id, one.kind === "approval" ? Approvals.approve : n * 10]]
      })
      input = Runner.answer(transcript, Object.fromEntries(answers))
    }
    return assert.fail("it goes on waiting")
  })

const receivedIn = (transcript: Prompt.Prompt): ReadonlyArray<unknown> => {
  const [, list] = /"received":(\[.*?\]),"waiting"/.exec(JSON.stringify(transcript)) ?? []
  return list === undefined ? assert.fail("there is no ledger") : (JSON.parse(list) as ReadonlyArray<unknown>)
}

const isOnce = (made: ReadonlyArray<number>): boolean => new Set(made).size === made.length

describe("a random program", () => {
  it.effect.prop(
    "gives the same however often it waits, and makes each call once",
    [Numbers],
    ([numbers]) =>
      Effect.gen(function* () {
        const results = new Set<string>()
        for (const per of [100, 1]) {
          const made: Array<number> = []
          const { output } = yield* untilDone(clerk(programOf(numbers, false), made), made, per)
          results.add(output)
          assert.isTrue(isOnce(made), String(made))
        }
        assert.strictEqual(results.size, 1)
      }).pipe(Effect.provide(Engine)),
    { arbitrary: { runs: 25 } }
  )

  it.effect.prop(
    "goes on after what it has received, in that order, also where it has raced",
    [Numbers],
    ([numbers]) =>
      Effect.gen(function* () {
        const made: Array<number> = []
        const { ledgers } = yield* untilDone(clerk(programOf(numbers, true), made), made, 1)
        assert.isTrue(isOnce(made), String(made))
        for (const [index, before] of ledgers.slice(0, -1).entries()) {
          assert.deepStrictEqual(ledgers[index + 1]!.slice(0, before.length), before)
        }
      }).pipe(Effect.provide(Engine)),
    { arbitrary: { runs: 25 } }
  )

  it.effect.prop(
    "is the same when it is killed at each of its steps, and waits in between",
    [Numbers],
    ([numbers]) =>
      Effect.gen(function* () {
        const source = programOf(numbers, true)
        const made: Array<number> = []
        const run = clerk(source, made)
        /** Each attempt gets one step further, and is killed when that one is kept. */
        const killedOften = (input: Prompt.RawInput) =>
          Effect.gen(function* () {
            const journal = new MemoryJournal()
            let exit: Exit.Exit<string, unknown> | undefined
            for (let tries = 0; exit === undefined && tries < 80; tries++) {
              exit = yield* attempt(run(input), journal, { at: 0, moment: "after" })
            }
            const before = made.length
            const again = yield* attempt(run(input), journal)
            assert.strictEqual(made.length, before)
            assert.strictEqual(again?._tag, exit?._tag)
            return exit === undefined ? assert.fail("it does not come to its end") : yield* exit
          })
        const { output } = yield* untilDone(killedOften, made, 100)
        assert.isTrue(isOnce(made), String(made))
        assert.notInclude(output, "error")
      }).pipe(Effect.provide(Engine)),
    { arbitrary: { runs: 12 } }
  )
})
