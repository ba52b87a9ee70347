/** The programs of guides print what their comments say. */
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"
import { ofMarkdown } from "../../scripts/snippets.ts"

const root = path.resolve(import.meta.dirname, "../..")
const guides = [
  "middleware",
  "guardrails",
  "budgets",
  "steering",
  "teams",
  "suspending",
  "many-tools",
  "code-mode",
  "durable",
  "context",
  "recovery",
  "evaluation",
  "config"
]

/**
 * What the lines that print are said to print, in their order; a line that prints several times says so with semicolons, and what
 * one prints that is only called by another is said there.
 */
const said = (code: ReadonlyArray<string>): ReadonlyArray<string> =>
  code.flatMap((line) => (line.includes("console.log(") ? (line.split(") // ")[1]?.split("; ") ?? []) : []))

const ofStores = ["conversations", "memory", "traces"]

describe.each([...guides, ...ofStores])("a program of the guide %s", (guide) => {
  const programs = ofMarkdown(fs.readFileSync(path.join(root, `docs/guides/${guide}.md`), "utf8"))
  let folder: string
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(root, "tests/docs/.programs-"))
  })
  afterAll(() => fs.rmSync(folder, { recursive: true }))

  for (const { code, line } of programs) {
    it(`prints what it says, at line ${line}`, async () => {
      const printed: Array<string> = []
      const log = vi.spyOn(console, "log").mockImplementation((text) => void printed.push(String(text)))
      try {
        const file = path.join(folder, `line${line}.ts`)
        fs.writeFileSync(file, code.join("\n"))
        await import(file)
      } finally {
        log.mockRestore()
      }
      assert.deepStrictEqual(printed, said(code))
    })
  }
})
