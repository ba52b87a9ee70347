/**
 * `npm run check`: every check of the project that does not run it. The types of the source, the tests,
 * the examples and the documentation's snippets; the linter, with the layering and the circles; the format; the words.
 */
import { report, run } from "./support.ts"
import { write } from "./snippets.ts"
import * as Words from "./words.ts"

/** Runs every check, at once, and prints a line for each. Returns how many failed. */
export const check = async (): Promise<number> => {
  const snippets = write()
  const stages: ReadonlyArray<readonly [name: string, command: string, args: ReadonlyArray<string>]> = [
    [`types, with ${snippets} snippets of the documentation`, "tsc", ["-p", "."]],
    ["types of the playground's page", "tsc", ["-p", "tsconfig.page.json"]],
    ["lint", "oxlint", ["--deny-warnings"]],
    ["format", "oxfmt", ["--check", "."]]
  ]
  const started = performance.now()
  const words = Words.check()
  const worded = {
    ok: words.length === 0,
    code: null,
    output: `${words.join("\n")}\n`,
    ms: performance.now() - started
  }
  const outcomes = stages.map(([name, command, args]) => ({ name, outcome: run(command, args) }))
  report("words", worded)
  let failed = worded.ok ? 0 : 1
  for (const { name, outcome } of outcomes) {
    const done = await outcome
    report(name, done)
    if (!done.ok) failed++
  }
  return failed
}

if (import.meta.main) process.exitCode = (await check()) === 0 ? 0 : 1
