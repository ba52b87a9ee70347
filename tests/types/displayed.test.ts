/** The types that an editor shows, and the compile errors of wrong wiring: `hovers.ts` and `mistakes.ts` alongside this file. */
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as LanguageServer from "../support/languageServer.ts"

const read = (file: string) => fs.readFileSync(path.join(import.meta.dirname, file), "utf8")
const oneLine = (text: string) => text.replace(/\s+/g, " ").trim()

interface Expected {
  readonly name: string
  readonly line: number
  readonly column: number
  readonly shows: string
}

/** The names of `hovers.ts` that have a comment above, and what it says. */
const hovers = (() => {
  const found: Array<Expected> = []
  let shows = ""
  for (const [line, text] of read("hovers.ts").split("\n").entries()) {
    const comment = /^\/\/ (shows )?(.*)/.exec(text)
    if (comment !== null) shows += comment[1] === undefined ? ` ${comment[2]}` : comment[2]
    const name = /^export const (\w+)/.exec(text)?.[1]
    if (name === undefined || shows === "") continue
    found.push({ name, line, column: text.indexOf(name), shows })
    shows = ""
  }
  return found
})()

/** The directives of `mistakes.ts`, by the line that the error is expected on. */
const mistakes = read("mistakes.ts")
  .split("\n")
  .flatMap((text, index) => {
    const says = /@ts-expect-error (.*)/.exec(text)?.[1]
    return says === undefined ? [] : [{ line: index + 2, says }]
  })

describe("what an editor shows", () => {
  let server: LanguageServer.LanguageServer
  let printed: ReadonlyArray<LanguageServer.Mistake>
  beforeAll(async () => {
    server = await LanguageServer.start()
    server.open("tests/types/hovers.ts", read("hovers.ts"))
    // Without the directives, which keep the errors to themselves.
    server.open("tests/types/mistakes.ts", read("mistakes.ts").replaceAll("@ts-expect-error", ""))
    printed = await server.mistakes("tests/types/mistakes.ts")
  })
  afterAll(() => server.close())

  for (const { column, line, name, shows } of hovers) {
    it(`is named and complete for ${name}`, async () => {
      assert.strictEqual(oneLine(await server.hover("tests/types/hovers.ts", line, column)), shows)
    })
  }

  for (const { line, says } of mistakes) {
    it(`says at line ${line} of the mistakes: ${says}`, () => {
      const here = printed.filter((mistake) => mistake.line === line).map(({ text }) => text.replaceAll('\\"', '"'))
      assert.include(here.join("\n"), says)
    })
  }

  it("has an error for each mistake, and for nothing else", () => {
    assert.deepStrictEqual(
      printed.map(({ line }) => line),
      mistakes.map(({ line }) => line)
    )
  })

  it("offers the options of an agent, and no others", async () => {
    const text = 'import { Agent } from "troupe"\nexport const agent = Agent.make("agent", { maxSteps: 3,  })\n'
    server.open("tests/types/offered.ts", text)
    const offers = await server.offers("tests/types/offered.ts", 1, text.split("\n")[1]!.indexOf("  }") + 1)
    const options = offers.map((label) => label.replace("?", ""))
    assert.includeMembers(options, ["instructions", "tools", "toolkit", "use", "output", "stopWhen", "maxToolCalls"])
    for (const other of ["model", "llm", "system", "prompt", "name"]) assert.notInclude(options, other)
  })

  for (const [member, says] of [
    ["run", "succeeds with the plain output"],
    ["result", "the output, usage, steps, decisions"],
    ["stream", "emits events as they happen"]
  ] as const) {
    it(`says what ${member} does`, async () => {
      const lines = read("hovers.ts").split("\n")
      const line = lines.findIndex((text) => text.includes(`.${member}("`))
      const column = lines[line]!.indexOf(`.${member}("`) + 1
      assert.include(oneLine(await server.hover("tests/types/hovers.ts", line, column)), says)
    })
  }
})
