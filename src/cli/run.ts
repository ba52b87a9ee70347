/** `troupe run`: one question to one agent, from a file or the built-in one. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import type * as Stdio from "effect/Stdio"
import * as Agent from "../agents/Agent.ts"
import * as AgentTool from "../AgentTool.ts"
import { issuesOf } from "../internal/issues.ts"
import { codec } from "../internal/jsonForm.ts"
import { encodeOutput, inputOf, takesText } from "../internal/runnerSchemas.ts"
import * as Runner from "../Runner.ts"
import { execute } from "./execute.ts"
import { badInput, type CliFailure } from "./failure.ts"
import { readStdin } from "./files.ts"
import { absent, choose, find } from "./model.ts"
import { runnersOf } from "./module.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly agent: Option.Option<string>
  readonly model: Option.Option<string>
  readonly json: boolean
  readonly question: Option.Option<string>
}

type Asked = Runner.Runner<unknown, string, unknown, LanguageModel.LanguageModel>

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path | Stdio.Stdio> =>
  Effect.gen(function* () {
    const show = { json: input.json, live: true }
    if (Option.isNone(input.agent)) {
      const model = yield* choose(input.model)
      const question = yield* questionOf(input.question)
      return yield* execute(
        Runner.mapInput(assistant, (text: string) => text),
        question,
        model,
        show
      )
    }
    const question = yield* questionOf(input.question)
    const agent = yield* load(input.agent.value)
    const given = yield* inputFor(agent, question)
    // It may need no model, or bring its own.
    const model = Option.getOrElse(yield* find(input.model), () => absent)
    return yield* execute(agent, given, model, show)
  })

const questionOf = (typed: Option.Option<string>): Effect.Effect<string, CliFailure, Stdio.Stdio> =>
  Effect.gen(function* () {
    const fromStdin = Option.isNone(typed) || typed.value === "-"
    if (fromStdin && process.stdin.isTTY === true) yield* err("troupe: type the question, and end it with Ctrl-D\n")
    const question = fromStdin ? yield* readStdin : typed.value
    if (question.trim() === "") {
      return yield* badInput('the question is empty. Ask something: troupe run "What is 2 + 40?"')
    }
    return question
  })

/** The question, or for a runner with another input than a text, what its schema reads in it. */
const inputFor = (runner: Asked, question: string): Effect.Effect<unknown, CliFailure> => {
  const schema = inputOf(runner)
  if (schema === undefined || takesText(schema)) return Effect.succeed(question)
  // The schema of an input needs no services.
  const coded = codec(`runner "${runner.name}"`, schema, "input") as Schema.Codec<unknown, unknown>
  return Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(coded))(question), (error) =>
    badInput(`"${runner.name}" takes JSON, and the question does not fit: ${issuesOf(error)}`)
  )
}

/** The runner that a file exports: as `default`, or as `agent`. */
export const load = (file: string): Effect.Effect<Asked, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const runners = yield* runnersOf(file)
    const found = runners.get("default") ?? runners.get("agent")
    if (found === undefined) {
      return yield* badInput(
        `${file} exports runners, and none as default or "agent". Export the one to ask as default: export default Agent.make(...)`
      )
    }
    // A file cannot promise its types; what is missing shows as the run's error. Any output can be written as text.
    return Runner.map(found as Runner.Runner<unknown, unknown, unknown, LanguageModel.LanguageModel>, (output) =>
      typeof output === "string" ? output : JSON.stringify(encodeOutput(found, output), null, 2)
    )
  })

const numbers = Schema.Struct({ a: Schema.Finite, b: Schema.Finite })
const arithmetic = (name: string, description: string, f: (a: number, b: number) => number) =>
  AgentTool.fromFunction(name, {
    description,
    parameters: numbers,
    success: Schema.Finite,
    execute: ({ a, b }) => f(a, b)
  })

/** The built-in agent. */
export const assistant = Agent.make("assistant", {
  description: "Answers questions, calculates, tells the time",
  instructions: "You are a helpful assistant. Answer briefly and to the point. Use your tools where they help.",
  tools: [
    arithmetic("add", "Add two numbers: a + b, a plus b, the sum of a and b", (a, b) => a + b),
    arithmetic(
      "subtract",
      "Subtract the number b from the number a: a - b, a minus b, the difference",
      (a, b) => a - b
    ),
    arithmetic("multiply", "Multiply two numbers: a * b, a times b, the product of a and b", (a, b) => a * b),
    AgentTool.fromFunction("divide", {
      description: "Divide the number a by the number b: a / b, a divided by b, the quotient",
      parameters: numbers,
      success: Schema.Finite,
      execute: ({ a, b }) => (b === 0 ? Effect.fail("b is 0: nothing can be divided by it") : a / b)
    }),
    AgentTool.fromFunction("current_time", {
      description: "Tell the current date and time, in UTC",
      execute: () => Effect.map(DateTime.now, DateTime.formatIso)
    })
  ]
})
