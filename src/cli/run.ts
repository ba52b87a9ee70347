/** `troupe run`: one question to one agent, from a file or the built-in one. */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import type * as Stdio from "effect/Stdio"
import * as Agent from "../agents/Agent.ts"
import { issuesOf } from "../internal/issues.ts"
import { codec } from "../internal/jsonForm.ts"
import { encodeOutput, inputOf, takesText } from "../internal/runnerSchemas.ts"
import * as Runner from "../Runner.ts"
import { execute } from "./execute.ts"
import { badInput, type CliFailure } from "./failure.ts"
import { readStdin } from "./files.ts"
import { choose, findOrAbsent } from "./model.ts"
import { isConfig, runnerNamed, runnersOf } from "./module.ts"
import { err } from "./terminal.ts"
import { tools } from "./tools.ts"

/** The arguments of the command. */
export interface Input {
  readonly agent: Option.Option<string>
  /** Which runner of the file; the default one if unset. */
  readonly name?: Option.Option<string>
  readonly model: Option.Option<string>
  readonly json: boolean
  /** The question; or a file that describes an agent, and then the question. */
  readonly question: Option.Option<string>
  readonly more: Option.Option<string>
}

type TextRunner = Runner.Runner<unknown, string, unknown, LanguageModel.LanguageModel>

/** Runs the command. */
export const run = (typed: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path | Stdio.Stdio> =>
  Effect.gen(function* () {
    const input = yield* sorted(typed)
    const show = { json: input.json, live: true }
    if (Option.isNone(input.agent)) {
      yield* assertNameless(input.name)
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
    const agent = yield* load(input.agent.value, input.name)
    const given = yield* inputFor(agent, question)
    return yield* execute(agent, given, yield* findOrAbsent(input.model), show)
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

/** `troupe run agent.yaml "question"` is `troupe run --agent agent.yaml "question"`. */
const sorted = (input: Input): Effect.Effect<Input, CliFailure> => {
  const { agent, more, question } = input
  if (Option.isNone(agent) && Option.isSome(question) && isConfig(question.value)) {
    return Effect.succeed({ ...input, agent: question, question: more })
  }
  if (Option.isNone(agent) && Option.isSome(question) && isCode(question.value)) {
    return badInput(`a file of code is named by a flag: troupe run --agent ${question.value} "What is 2 + 40?"`)
  }
  return Option.isNone(more)
    ? Effect.succeed(input)
    : badInput('a question of several words is quoted: troupe run "What is 2 + 40?"')
}

/** Whether a question is the name of a file that other commands take where `run` takes its question. */
const isCode = (question: string): boolean => /^\S+\.[cm]?[jt]sx?$/.test(question)

/** The question, or for a runner with another input than a text, what its schema reads in it. */
const inputFor = (runner: TextRunner, question: string): Effect.Effect<unknown, CliFailure> => {
  const schema = inputOf(runner)
  if (schema === undefined || takesText(schema)) return Effect.succeed(question)
  // The schema of an input needs no services.
  const coded = codec(`runner "${runner.name}"`, schema, "input") as Schema.Codec<unknown, unknown>
  return Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(coded))(question), (error) =>
    badInput(`"${runner.name}" takes JSON, and the question does not fit: ${issuesOf(error)}`)
  )
}

/** Refuses a name where there is no file with runners. */
export const assertNameless = (name: Option.Option<string> = Option.none()): Effect.Effect<void, CliFailure> =>
  Option.isNone(name) ? Effect.void : badInput("--name says which runner of a file: give the file with --agent.")

/** The runner of a file that is named, otherwise the one that it exports as `default` or as `agent`. */
export const load = (
  file: string,
  name: Option.Option<string> = Option.none()
): Effect.Effect<TextRunner, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const runners = yield* runnersOf(file)
    const found = Option.isSome(name)
      ? yield* runnerNamed(file, runners, name.value)
      : (runners.get("default") ?? runners.get("agent"))
    if (found === undefined) {
      return yield* badInput(
        `${file} exports runners, and none as default or "agent". Name the one to ask (--name ${[...runners.keys()].join(" or --name ")}), or export it as default: export default Agent.make(...)`
      )
    }
    // A file cannot promise its types; what is missing shows as the run's error. Any output can be written as text.
    return Runner.map(found as Runner.Runner<unknown, unknown, unknown, LanguageModel.LanguageModel>, (output) =>
      typeof output === "string" ? output : JSON.stringify(encodeOutput(found, output), null, 2)
    )
  })

/** The built-in agent. */
export const assistant = Agent.make("assistant", {
  description: "Answers questions, calculates, tells the time",
  instructions: "You are a helpful assistant. Answer briefly and to the point. Use your tools where they help.",
  tools
})
