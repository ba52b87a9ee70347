/**
 * `troupe review`: several reviewers look at each file at once, and one report says what they found. With a model they
 * are agents, and an editor merges what they say; without one they are functions.
 */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Agent from "../agents/Agent.ts"
import * as Runner from "../Runner.ts"
import * as Parallel from "../workflows/Parallel.ts"
import { execute } from "./execute.ts"
import { badInput, type CliFailure } from "./failure.ts"
import { readText, type TextFile } from "./files.ts"
import { absent, find } from "./model.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly files: ReadonlyArray<string>
  readonly model: Option.Option<string>
  readonly reviewers: Option.Option<string>
  readonly concurrency: number
  readonly json: boolean
}

/** A reviewer of one file: an agent or a function. */
type Reviewer = Runner.Runner<TextFile, string, unknown, LanguageModel.LanguageModel>

const rules =
  "Report each problem on a line of its own as `- line N: what is wrong, and how to fix it`. Report only what you can point at. If there is nothing, say so in one line."

const reviewer = (name: string, looksAt: string): Reviewer =>
  Agent.make(name, {
    description: `Reviews a file: ${looksAt}`,
    instructions: `You review one file and look only at ${looksAt}. ${rules}`,
    onLength: "accept"
  }).pipe(Runner.mapInput(inputOf))

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

/** The reviewers that are agents, by name. */
const agents = {
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
}

const editor = Agent.make("editor", {
  description: "Merges reviews into one report",
  instructions:
    "You merge the reviews of several reviewers into one report: group what belongs together, say everything once, the gravest first, keep the line numbers. Write a short list in Markdown, without a heading.",
  onLength: "accept"
})

interface Review {
  readonly file: string
  readonly texts: Readonly<Record<string, string>>
}

/** The head of the report, above the reviews. */
type Summary = (reviews: ReadonlyArray<Review>) => Effect.Effect<string, unknown, LanguageModel.LanguageModel>

const merged: Summary = (reviews) => {
  const sections = reviews.flatMap(({ file, texts }) =>
    Object.entries(texts).map(([name, text]) => `## ${name} on ${file}\n\n${text}`)
  )
  return Effect.map(editor.run(`Merge these reviews into one report.\n\n${sections.join("\n\n")}`), (text) =>
    // The report has its own title.
    text.trim().replace(/^#\s[^\n]*\n+/, "")
  )
}

const said: Summary = (reviews) => {
  const names = Object.keys(reviews[0]!.texts)
  const remarks =
    reviews
      .flatMap(({ texts }) => Object.values(texts))
      .join("\n")
      .match(/^- line /gm)?.length ?? 0
  const which =
    names.length === 1
      ? `a function, not a language model: ${names[0]}`
      : `functions, not a language model: ${names.join(", ")}`
  const count = remarks === 1 ? "1 remark" : `${remarks} remarks`
  return Effect.succeed(`${count}. Reviewed by ${which}. With a model the reviewers are agents.`)
}

/** One runner, so that every review is nested in it: they start together, and stop together when one fails. */
const crew = (reviewers: Readonly<Record<string, Reviewer>>, concurrency: number, summary: Summary) =>
  Runner.make("review", {
    description: "Reviews files and writes one report",
    run: (files: ReadonlyArray<TextFile>) =>
      Effect.gen(function* () {
        const reviews = yield* Effect.forEach(
          files,
          (file) => Effect.map(Parallel.make(file.name, reviewers).run(file), (texts) => ({ file: file.name, texts })),
          { concurrency }
        )
        return report(reviews, yield* summary(reviews))
      })
  })

const report = (reviews: ReadonlyArray<Review>, summary: string): string => {
  const one = reviews.length === 1
  const title = one ? reviews[0]!.file : `${reviews.length} files`
  const sections = reviews.flatMap(({ file, texts }) => [
    ...(one ? [] : [`## ${file}`]),
    ...Object.entries(texts).map(([name, text]) => `${one ? "##" : "###"} ${name}\n\n${text.trim()}`)
  ])
  return [`# Review of ${title}`, summary, ...sections].join("\n\n")
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    if (!(input.concurrency >= 1)) return yield* badInput("--concurrency must be 1 or more.")
    const found = yield* find(input.model)
    const isModel = Option.isSome(found)
    const checks = yield* Effect.promise(() => import("./review/checks.ts"))
    const chosen = yield* chooseReviewers(input.reviewers, isModel ? Object.keys(agents) : checks.names, isModel)
    const files = yield* Effect.forEach([...new Set(input.files)], (file) => readText(file))
    if (!isModel) yield* Effect.forEach(files, checks.accepts)
    const all: Readonly<Record<string, Reviewer>> = isModel ? agents : yield* checks.reviewers
    if (!isModel) yield* err(`troupe: no model is configured, so the reviewers are functions: ${chosen.join(", ")}\n`)
    const reviewers = Object.fromEntries(chosen.map((name) => [name, all[name]!]))
    const runner = crew(reviewers, input.concurrency, isModel ? merged : said)
    yield* execute(runner, files, isModel ? found.value : absent, { json: input.json, live: false })
  })

const chooseReviewers = (
  typed: Option.Option<string>,
  names: ReadonlyArray<string>,
  isModel: boolean
): Effect.Effect<ReadonlyArray<string>, CliFailure> => {
  if (Option.isNone(typed)) return Effect.succeed(names)
  const asked = typed.value.split(",").map((name) => name.trim())
  const unknown = asked.find((name) => !names.includes(name))
  if (unknown === undefined) return Effect.succeed(names.filter((name) => asked.includes(name)))
  const which = isModel ? "With a model there are" : "Without a model there are"
  return Effect.fail(badInput(`unknown reviewer "${unknown}". ${which}: ${names.join(", ")}.`))
}
