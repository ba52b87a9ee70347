/** How the documentation's code is found: a snippet that is overlooked is never checked. */
import { expect, it } from "vitest"
import { ofMarkdown, ofSource } from "../../scripts/snippets.ts"

const lines = (...all: ReadonlyArray<string>) => all.join("\n")

it("takes every ts fence of a document, with the line it stands on", () => {
  const text = lines(
    "# T",
    "",
    "```ts",
    "const a = 1",
    "",
    "const b = 2",
    "```",
    "text",
    "```ts",
    "export {}",
    "```",
    ""
  )
  expect(ofMarkdown(text)).toEqual([
    { line: 4, code: ["const a = 1", "", "const b = 2"] },
    { line: 10, code: ["export {}"] }
  ])
})

it("leaves out other languages and what is marked nocheck", () => {
  expect(ofMarkdown(lines("```sh", "ls", "```", "```ts nocheck", "nope", "```", "```", "plain", "```"))).toEqual([])
})

it("takes a fence inside of a longer fence as text", () => {
  expect(ofMarkdown(lines("````ts", "`", "```ts", "````"))).toEqual([{ line: 2, code: ["`", "```ts"] }])
})

it("refuses a fence that is never closed", () => {
  expect(() => ofMarkdown(lines("a", "```ts", "const a = 1"))).toThrow("line 2")
})

it("takes an example to the end of its docstring or to the next tag", () => {
  const text = lines(
    "/** One. */",
    "/**",
    " * Says.",
    " *",
    " * @example",
    " * const a = {",
    " *   b: 1",
    " * }",
    " * @example",
    " * const c = 1",
    " * @internal",
    " * no code",
    " */",
    "export const x = 1",
    "  /**",
    "   * @example",
    "   * const d = 1 */",
    ""
  )
  expect(ofSource(text)).toEqual([
    { line: 6, code: ["const a = {", "  b: 1", "}"] },
    { line: 10, code: ["const c = 1"] },
    { line: 17, code: ["const d = 1"] }
  ])
})

it("is not misled by a glob in a string", () => {
  expect(ofSource(`const a = "src/**/*.ts"\nconst b = "x */"\n`)).toEqual([])
})
