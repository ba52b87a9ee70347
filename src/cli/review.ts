/** `troupe review`: several reviewers look at each file at once, and an editor merges what they say. */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Agent from "../agents/Agent.ts"
import * as Runner from "../Runner.ts"
import { execute } from "./execute.ts"
import { badInput, type CliFailure } from "./failure.ts"
import { readText, type TextFile } from "./files.ts"
import { choose } from "./model.ts"

/** What the person typed. */
export interface Input {
  readonly files: ReadonlyArray<string>
  readonly model: Option.Option<string>
  readonly reviewers: Option.Option<string>
  readonly concurrency: number
  readonly json: boolean
}

const rules =
  "Report each problem on a line of its own as `- line N: what is wrong, and how to mend it`. Report only what you can point at. If there is nothing, say so in one line."

const reviewer = (name: string, looksAt: string) =>
  Agent.make(name, {
    description: `Reviews a file: ${looksAt}`,
    instructions: `You review one file and look only at ${looksAt}. ${rules}`,
    onLength: "accept"
  })

/** The reviewers there are, by name. */
export const reviewers = {
  correctness: reviewer(
    "correctness",
    "correctness: bugs, wrong or contradicting statements, broken links and markup, unfinished work such as TODO"
  ),
  clarity: reviewer(
    "clarity",
    "clarity: long or tangled sentences, undefined terms and acronyms, structure and headings"
  ),
  style: reviewer("style", "style: repeated words, passive voice, spelling, long lines, inconsistent wording"),
  security: reviewer("security", "security: secrets, unsafe calls, unchecked input, dangerous advice")
} as const

type Name = keyof typeof reviewers
const names = Object.keys(reviewers) as ReadonlyArray<Name>

const editor = Agent.make("editor", {
  description: "Merges reviews into one report",
  instructions:
    "You merge the reviews of several reviewers into one report: group what belongs together, say everything once, the gravest first, keep the line numbers. Write a short list in Markdown, without a heading.",
  onLength: "accept"
})

/** One runner, so that every review is nested in it: they start together, and stop together when one fails. */
const crew = (chosen: ReadonlyArray<Name>, concurrency: number) =>
  Runner.make("review", {
    description: "Reviews files and merges one report",
    run: (files: ReadonlyArray<TextFile>) =>
      Effect.gen(function* () {
        const tasks = files.flatMap((file) => chosen.map((name) => ({ file, name })))
        const reviews = yield* Effect.forEach(
          tasks,
          ({ file, name }) =>
            Effect.map(Runner.named(reviewers[name], `${name} ${file.name}`).run(inputOf(file)), (text) => ({
              file: file.name,
              name,
              text: text.trim()
            })),
          { concurrency }
        )
        const all = reviews.map((one) => `## ${one.name} on ${one.file}\n\n${one.text}`).join("\n\n")
        const merged = yield* editor.run(`Merge these reviews into one report.\n\n${all}`)
        return report(files, chosen, reviews, merged)
      })
  })

const inputOf = (file: TextFile) => [
  {
    role: "user" as const,
    content: [
      { type: "text" as const, text: `Review this file: ${file.name}` },
      {
        type: "file" as const,
        mediaType: "text/plain",
        fileName: file.name,
        data: Buffer.from(file.text, "utf8").toString("base64")
      }
    ]
  }
]

const report = (
  files: ReadonlyArray<TextFile>,
  chosen: ReadonlyArray<Name>,
  reviews: ReadonlyArray<{ readonly file: string; readonly name: Name; readonly text: string }>,
  merged: string
): string => {
  const title = files.length === 1 ? files[0]!.name : `${files.length} files`
  const sections = files.flatMap((file) => [
    ...(files.length === 1 ? [] : [`## ${file.name}`]),
    ...chosen.map((name) => {
      const found = reviews.find((one) => one.file === file.name && one.name === name)
      return `${files.length === 1 ? "##" : "###"} ${name}\n\n${found?.text ?? ""}`
    })
  ])
  // The report has its own title, whatever the editor begins with.
  return [`# Review of ${title}`, merged.trim().replace(/^#\s[^\n]*\n+/, ""), ...sections].join("\n\n")
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const chosen = yield* chooseReviewers(input.reviewers)
    if (!(input.concurrency >= 1)) return yield* badInput("--concurrency must be 1 or more.")
    const files = yield* Effect.forEach([...new Set(input.files)], readText)
    const model = yield* choose(input.model)
    const runner: Runner.Runner<ReadonlyArray<TextFile>, string, Agent.Error, LanguageModel.LanguageModel> = crew(
      chosen,
      input.concurrency
    )
    yield* execute(runner, files, model, { json: input.json, live: false })
  })

const chooseReviewers = (typed: Option.Option<string>): Effect.Effect<ReadonlyArray<Name>, CliFailure> => {
  if (Option.isNone(typed)) return Effect.succeed(names)
  const asked = typed.value.split(",").map((name) => name.trim())
  const unknown = asked.find((name) => !Object.hasOwn(reviewers, name))
  return unknown === undefined
    ? Effect.succeed(names.filter((name) => asked.includes(name)))
    : Effect.fail(badInput(`unknown reviewer "${unknown}". There are: ${names.join(", ")}.`))
}
