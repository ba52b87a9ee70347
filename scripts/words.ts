/**
 * The project's English, as far as words can be checked: source, tests, scripts, examples and documents are written in
 * the plain English of Effect's own documentation, subject first. This finds the words that have a plainer one, also
 * within names and across the end of a line. Quoted text of others belongs in a block quote of Markdown, which is not
 * checked; generated files are left out.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./support.ts"

interface Rule {
  readonly pattern: RegExp
  readonly plain: string
}

const rules: ReadonlyArray<Rule> = [
  { pattern: /\btold\b/gi, plain: 'name who acts and how: "the model sees", "emits", "reports"' },
  { pattern: /\bheard\b/gi, plain: '"received"' },
  { pattern: /\bnobody\b/gi, plain: '"no one", or say what is missing: "without a reader"' },
  { pattern: /\bwhoever\b/gi, plain: 'name them: "the caller", "a reader that"' },
  { pattern: /\bwhatever\b/gi, plain: '"all", "each", "any", or "even if"' },
  { pattern: /\bmend(s|ed|ing|able)?\b/gi, plain: '"fix" or "correct"' },
  { pattern: /\banew\b/gi, plain: '"again"' },
  { pattern: /\bbesides\b/gi, plain: '"other than", "also" or "beyond"' },
  { pattern: /\bit touches\b/gi, plain: "leave it out: the linter knows what a module may import" },
  { pattern: /(?<!\b[Tt]here )\b(is|are|was|were) none\b/g, plain: '"is not a ..."' },
  { pattern: /(?<!\b[Tt]here )\b(is|are|was|were) no (?!longer\b|one\b)(?=\w)/g, plain: '"is not a ..."' }
]

/** A word that has a plainer one. */
export interface Found {
  /** Counted from 1. */
  readonly line: number
  readonly word: string
  readonly plain: string
}

/** Words within names, as words: `isTold` and `is_told` hold "told". */
const separated = (line: string): string => line.replace(/([a-z0-9])(?=[A-Z])/g, "$1 ").replaceAll("_", " ")

/** The text of a line, without the marks of a comment, a list or a block quote. */
const proseOf = (line: string): string =>
  separated(line)
    .replace(/^\s*(\/\*\*?|\*(?!\/)|\/\/|[-*>]) ?/, "")
    .trim()

/** The words of a text that have plainer ones. `isMarkdown`: block quotes are text of others. */
export const find = (text: string, isMarkdown: boolean): ReadonlyArray<Found> => {
  const lines = text.split("\n")
  return lines.flatMap((raw, index) => {
    if (isMarkdown && raw.startsWith(">")) return []
    const line = proseOf(raw)
    const next = lines[index + 1]
    const both = next === undefined || (isMarkdown && next.startsWith(">")) ? line : `${line} ${proseOf(next)}`
    return rules.flatMap(({ pattern, plain }) =>
      [...both.matchAll(pattern)].flatMap((match) =>
        match.index < line.length ? [{ line: index + 1, word: match[0].trim(), plain }] : []
      )
    )
  })
}

/** These name the words. */
const exempt = new Set(["scripts/words.ts", "tests/architecture/words.test.ts"])

/** Not those in hidden folders, which tests make and remove while they run. */
const files = (): ReadonlyArray<string> => {
  const within = ["src", "tests", "docs", "scripts", "examples", "bench"].flatMap((directory) =>
    fs
      .readdirSync(path.join(root, directory), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(tsx?|mjs|js|md)$/.test(file) && !/\.generated\.ts$|(^|\/)(node_modules\/|\.)/.test(file))
      .map((file) => path.posix.join(directory, file))
  )
  const documents = fs.readdirSync(root).filter((file) => file.endsWith(".md"))
  return [...documents, ...within].filter((file) => !exempt.has(file)).toSorted()
}

/** Every such word of the project, a line for each: its position, and what to write. */
export const check = (): ReadonlyArray<string> =>
  files().flatMap((file) =>
    find(fs.readFileSync(path.join(root, file), "utf8"), file.endsWith(".md")).map(
      ({ line, plain, word }) => `${file}:${line}: "${word}": write ${plain}`
    )
  )

if (import.meta.main) {
  const found = check()
  for (const line of found) console.log(line)
  process.exitCode = found.length === 0 ? 0 : 1
}
