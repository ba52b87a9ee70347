/**
 * What reviewers check without a model: links, structure and prose of Markdown, by markdownlint and its parser. Each
 * reviewer is a runner made of a function.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Runner from "../../Runner.ts"
import { badInput, type CliFailure, chooseModel } from "../failure.ts"
import type { TextFile } from "../files.ts"

/** What is used of markdownlint, which is an optional peer: types and bundles have to work without it. */
interface Markdownlint {
  readonly lint: (options: {
    readonly strings: Readonly<Record<string, string>>
    readonly config: Configuration
    readonly customRules: ReadonlyArray<Rule>
    readonly noInlineConfig: boolean
  }) => Promise<Readonly<Record<string, ReadonlyArray<LintError>>>>
}
type Configuration = Readonly<Record<string, boolean | object>>
interface LintError {
  readonly lineNumber: number
  readonly ruleNames: ReadonlyArray<string>
  readonly ruleDescription: string
  readonly errorDetail: string | null
  readonly errorContext: string | null
}
interface MicromarkToken {
  readonly type: string
  readonly text: string
  readonly startLine: number
  readonly children: ReadonlyArray<MicromarkToken>
}
interface Rule {
  readonly names: ReadonlyArray<string>
  readonly description: string
  readonly tags: ReadonlyArray<string>
  readonly parser: "micromark"
  readonly function: (
    params: { readonly parsers: { readonly micromark: { readonly tokens: ReadonlyArray<MicromarkToken> } } },
    onError: (error: { readonly lineNumber: number; readonly detail: string }) => void
  ) => void
}

interface Remark {
  readonly line: number
  readonly text: string
}

type Lint = (file: TextFile, config: Configuration, rules: ReadonlyArray<Rule>) => Promise<ReadonlyArray<LintError>>
type Reviewer = Runner.Runner<TextFile, string, CliFailure, never>

const missing = `markdownlint is not installed, which checks files without a model. Install it (npm install markdownlint), or choose a model. ${chooseModel}.`

const library: string = "markdownlint/promise"

/** Loads markdownlint. */
const loadLint: Effect.Effect<Lint, CliFailure> = Effect.map(
  Effect.tryPromise({
    try: () => import(library) as Promise<Markdownlint>,
    catch: () => badInput(missing)
  }),
  ({ lint }) =>
    async (file, config, customRules) => {
      // The text under review must not turn checks off.
      const options = { strings: { [file.name]: file.text }, config, customRules, noInlineConfig: true }
      return (await lint(options))[file.name] ?? []
    }
)

const remarkOf = ({ errorContext, errorDetail, lineNumber, ruleDescription, ruleNames }: LintError): Remark => ({
  line: lineNumber,
  text: [`${ruleDescription} (${ruleNames[0]})`, errorDetail, errorContext].filter((part) => part).join(": ")
})

const listOf = (remarks: ReadonlyArray<Remark>): string =>
  remarks.length === 0
    ? "Nothing to remark."
    : remarks
        .toSorted((a, b) => a.line - b.line)
        .map(({ line, text }) => `- line ${line}: ${text}`)
        .join("\n")

const rule = (
  name: string,
  run: (tokens: ReadonlyArray<MicromarkToken>, report: (remark: Remark) => void) => void
): Rule => ({
  names: [name],
  description: name,
  tags: ["troupe"],
  parser: "micromark",
  function: ({ parsers }, onError) =>
    run(parsers.micromark.tokens, ({ line, text }) => onError({ lineNumber: line, detail: text }))
})

const all = (tokens: ReadonlyArray<MicromarkToken>): ReadonlyArray<MicromarkToken> =>
  tokens.flatMap((token) => [token, ...all(token.children)])

const linkRules = ["MD011", "MD042", "MD051", "MD052", "MD053", "MD059"]

/** Addresses elsewhere are not opened: a review needs no network. */
const isElsewhere = (target: string): boolean => /^(?:[a-z][a-z0-9+.-]*:|\/|#|\?|$)/i.test(target)

/** Relative links whose file is not there. */
const brokenLinks = (file: TextFile, targets: ReadonlyArray<Remark>) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const checked = yield* Effect.forEach(targets, ({ line, text }) => {
      const [name] = text.split(/[#?]/)
      const target = path.resolve(path.dirname(file.name), decodeURI(name!))
      return Effect.map(
        Effect.orElseSucceed(fs.exists(target), () => true),
        (exists) => (exists ? [] : [{ line, text: `Broken link: there is no file ${name}` }])
      )
    })
    return checked.flat()
  })

const only = (rules: ReadonlyArray<string>): Configuration => ({
  default: false,
  ...Object.fromEntries(rules.map((name) => [name, true]))
})

const links = (lint: Lint) => (file: TextFile) =>
  Effect.gen(function* () {
    const targets: Array<Remark> = []
    const collect = rule("link-targets", (tokens) => {
      for (const token of all(tokens)) {
        const isTarget = token.type === "resourceDestinationString" || token.type === "definitionDestinationString"
        if (isTarget && !isElsewhere(token.text)) targets.push({ line: token.startLine, text: token.text })
      }
    })
    const errors = yield* Effect.promise(() => lint(file, { ...only(linkRules), "link-targets": true }, [collect]))
    return [...errors.map(remarkOf), ...(yield* brokenLinks(file, targets))]
  })

/** Rules on taste, such as the length of lines, are left out. */
const taste = ["MD013", "MD033", "MD036", "MD060"]

const structure = (lint: Lint) => (file: TextFile) => {
  const off = Object.fromEntries([...taste, ...linkRules].map((name) => [name, false]))
  const config: Configuration = { default: true, MD024: { siblings_only: true }, ...off }
  return Effect.map(
    Effect.promise(() => lint(file, config, [])),
    (errors) => errors.map(remarkOf)
  )
}

const maxWords = 40
const sentences = new Intl.Segmenter("en", { granularity: "sentence" })

/** The words of a paragraph. Code is one character that is not a letter, so that it separates words. */
const proseOf = (token: MicromarkToken): string => {
  if (/^(?:codeText|htmlText|mathText|resource|reference|autolink|literalAutolink)$/.test(token.type)) return "\uFFFC"
  return token.children.length === 0 ? token.text : token.children.map(proseOf).join("")
}

const checkProse = (token: MicromarkToken, report: (remark: Remark) => void): void => {
  const text = proseOf(token)
  const lineAt = (index: number) => token.startLine + text.slice(0, index).split("\n").length - 1
  for (const match of text.matchAll(/(?<![\p{L}\p{N}'’-])(\p{L}+)[ \n]+\1(?![\p{L}\p{N}'’-])/giu)) {
    if (!/^(?:that|had)$/i.test(match[1]!)) report({ line: lineAt(match.index), text: `"${match[1]}" stands twice` })
  }
  for (const match of text.matchAll(/\b(?:TODO|FIXME|TBD)\b/g)) {
    report({ line: lineAt(match.index), text: `unfinished: ${match[0]}` })
  }
  for (const { index, segment } of sentences.segment(text)) {
    const count = segment.match(/[\p{L}\p{N}\uFFFC][\p{L}\p{N}\uFFFC'’-]*/gu)?.length ?? 0
    if (count > maxWords) report({ line: lineAt(index), text: `a sentence of ${count} words; ${maxWords} are enough` })
  }
}

const prose = (lint: Lint) => (file: TextFile) => {
  const check = rule("prose", (tokens, report) => {
    for (const token of all(tokens)) {
      if (token.type === "paragraph" || token.type === "atxHeadingText") checkProse(token, report)
    }
  })
  return Effect.map(
    Effect.promise(() => lint(file, { default: false, prose: true }, [check])),
    (errors) => errors.map(({ errorDetail, lineNumber }) => ({ line: lineNumber, text: errorDetail ?? "" }))
  )
}

const descriptions = {
  links: "Checks that links lead somewhere: files, headings, references",
  structure: "Checks headings, lists, tables and code fences",
  prose: "Checks for words that stand twice, long sentences and unfinished work"
} as const

/** The names of the reviewers. */
export const names = Object.keys(descriptions) as ReadonlyArray<keyof typeof descriptions>

/** The reviewers that are functions, by name. Fails when markdownlint is not installed. */
export const reviewers: Effect.Effect<
  Readonly<Record<(typeof names)[number], Reviewer>>,
  CliFailure,
  FileSystem.FileSystem | Path.Path
> = Effect.gen(function* () {
  const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
  const lint = yield* loadLint
  const make = (
    name: (typeof names)[number],
    check: (file: TextFile) => Effect.Effect<ReadonlyArray<Remark>, never, FileSystem.FileSystem | Path.Path>
  ): Reviewer =>
    Runner.make(name, {
      description: descriptions[name],
      run: (file: TextFile) => Effect.map(Effect.provideContext(check(file), context), listOf)
    })
  return {
    links: make("links", links(lint)),
    structure: make("structure", structure(lint)),
    prose: make("prose", prose(lint))
  }
})

/** Refuses what only a model can review. */
export const accepts = (file: TextFile): Effect.Effect<void, CliFailure> =>
  /\.(?:md|markdown)$/i.test(file.name)
    ? Effect.void
    : Effect.fail(
        badInput(`${file.name} is not Markdown (.md), and nothing else is checked without a model. ${chooseModel}.`)
      )
