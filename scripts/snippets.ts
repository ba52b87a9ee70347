/**
 * Takes the code out of the documentation, so that it is type-checked with everything else: every `ts` fence of
 * README.md, CONTRIBUTING.md and docs, and every `@example` of a docstring in src. Each becomes a module of its own in
 * .snippets, named after its source, with its code on the same line numbers as there: an error in
 * `.snippets/docs-agents.md.L40.ts(43,7)` is in docs/agents.md at line 43. A fence marked `ts nocheck` is left out.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./support.ts"

/** One piece of code: the lines, and the line of the source, counted from 1, that the first of them stands on. */
export interface Snippet {
  readonly line: number
  readonly code: ReadonlyArray<string>
}

/** The `ts` fences of a Markdown text. */
export const ofMarkdown = (text: string): ReadonlyArray<Snippet> => {
  const found: Array<Snippet> = []
  let open: { readonly fence: string; readonly wanted: boolean; readonly line: number; code: Array<string> } | undefined
  text.split("\n").forEach((line, index) => {
    const fence = /^\s*(`{3,}|~{3,})(.*)$/.exec(line)
    if (open === undefined) {
      if (fence === null) return
      const [language, ...marks] = fence[2]!.trim().split(/\s+/)
      const wanted = (language === "ts" || language === "typescript") && !marks.includes("nocheck")
      open = { fence: fence[1]!, wanted, line: index + 2, code: [] }
    } else if (fence !== null && fence[2]!.trim() === "" && fence[1]!.startsWith(open.fence)) {
      if (open.wanted) found.push({ line: open.line, code: open.code })
      open = undefined
    } else {
      open.code.push(line)
    }
  })
  if (open !== undefined) throw new Error(`the code fence of line ${open.line - 1} is never closed`)
  return found
}

/** The `@example` blocks of the docstrings of a TypeScript source. */
export const ofSource = (text: string): ReadonlyArray<Snippet> => {
  const found: Array<Snippet> = []
  for (const comment of text.matchAll(/^[ \t]*\/\*\*[\s\S]*?\*\//gm)) {
    const first = text.slice(0, comment.index).split("\n").length
    let open: { readonly line: number; code: Array<string> } | undefined
    const close = () => {
      if (open !== undefined) found.push(open)
      open = undefined
    }
    comment[0]
      .replace(/\s*\*\/$/, "")
      .split("\n")
      .forEach((raw, index) => {
        const line = raw.replace(/^[ \t]*(\/\*\*|\*) ?/, "")
        if (/^@example\b/.test(line)) {
          close()
          open = { line: first + index + 1, code: [] }
        } else if (/^@[a-z]+\b/.test(line)) {
          close()
        } else if (open !== undefined) {
          // A fence inside of an example is allowed and means nothing.
          open.code.push(line.startsWith("```") ? "" : line)
        }
      })
    close()
  }
  return found
}

const files = (directory: string, extension: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, directory), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(extension))
    .map((file) => path.join(directory, file))
    .toSorted()

/** Every snippet of the project, with the file it is from. */
export const all = (): ReadonlyArray<Snippet & { readonly file: string }> => {
  const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8")
  const documents = ["README.md", "CONTRIBUTING.md", ...files("docs", ".md")]
  return [
    ...documents.flatMap((file) => ofMarkdown(read(file)).map((snippet) => ({ ...snippet, file }))),
    ...files("src", ".ts").flatMap((file) => ofSource(read(file)).map((snippet) => ({ ...snippet, file })))
  ]
}

/** Writes .snippets. Returns how many there are. */
export const write = (): number => {
  const directory = path.join(root, ".snippets")
  fs.rmSync(directory, { recursive: true, force: true })
  fs.mkdirSync(directory)
  const snippets = all()
  for (const { file, line, code } of snippets) {
    const name = `${file.replaceAll(path.sep, "-").replace(/\.ts$/, "")}.L${line}.ts`
    // On the last line, so that the lines before it keep their numbers: it makes a module of any snippet.
    const text = "\n".repeat(line - 1) + code.join("\n").trimEnd() + "; export {}\n"
    fs.writeFileSync(path.join(directory, name), text)
  }
  return snippets.length
}

if (import.meta.main) console.log(`${write()} snippets written to .snippets`)
