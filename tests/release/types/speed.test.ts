/**
 * How much work an agent's type is for the compiler: instantiations, which do not depend on the machine. The limits are
 * what it was when they were written (453, 12.7 and 87.3) and a tenth more; `docs/guides/tools.md` says what to do above 100 tools.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { packed } from "../../support/packed.ts"

const root = path.resolve(import.meta.dirname, "../../..")
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-types-"))
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))
fs.symlinkSync(path.join(root, "node_modules"), path.join(directory, "node_modules"))
fs.writeFileSync(path.join(directory, "package.json"), '{ "type": "module" }')

/** Type-checks a module over the declarations of a build, and counts. */
const instantiations = async (name: string, code: string): Promise<number> => {
  const { stage } = await packed()
  const config = path.join(directory, `${name}.json`)
  fs.writeFileSync(path.join(directory, `${name}.ts`), code)
  fs.writeFileSync(
    config,
    JSON.stringify({
      extends: path.join(root, "tsconfig.json"),
      include: [`${name}.ts`],
      exclude: [],
      compilerOptions: {
        incremental: false,
        tsBuildInfoFile: null,
        paths: { troupe: [path.join(stage, "dist/index.d.ts")] },
        typeRoots: [path.join(root, "node_modules/@types")]
      }
    })
  )
  const args = [
    path.join(root, "node_modules/typescript/bin/tsc"),
    "-p",
    config,
    "--singleThreaded",
    "--extendedDiagnostics"
  ]
  return new Promise((resolve, reject) =>
    execFile(process.execPath, args, (error, stdout) =>
      error === null ? resolve(Number(/Instantiations:\s+(\d+)/.exec(stdout)?.[1])) : reject(new Error(stdout))
    )
  )
}

const head = `import { Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool } from "troupe"
`
const parameters = "Schema.Struct({ a: Schema.Finite, b: Schema.String })"
const names = Array.from({ length: 220 }, (_, index) => `tool${index}`)
/** 220 tools of each kind, and a first agent, which makes the types that all share. What they cost is left out of what an agent with them costs. */
const tools = [
  ...names.map(
    (name) =>
      `const ${name} = AgentTool.fromFunction("${name}", { description: "d", parameters: ${parameters}, execute: ({ a }) => a })`
  ),
  ...names.map(
    (name) =>
      `const of_${name} = Tool.make("${name}", { description: "d", parameters: ${parameters}, success: Schema.Finite })`
  ),
  `const kit = Toolkit.make(${names.map((name) => `of_${name}`).join(", ")})`,
  'const first = Agent.make("first", { instructions: () => Effect.succeed("x"), output: Schema.Struct({ n: Schema.Int }) })',
  `export const used: unknown = [Effect, kit, first.run("x"), ${names.join(", ")}]`
].join("\n")

/** What an agent costs whose options are `options`. */
const costs = async (name: string, options: string): Promise<number> => {
  const agent = `\nexport const agent = Agent.make("agent", ${options})\nexport const run = agent.run("x")\n`
  return (await instantiations(name, head + tools + agent)) - (await base)
}
const base = instantiations("base", head + tools)

// The first one waits for the build.
describe("the work that an agent's type is for the compiler", { timeout: 240_000 }, () => {
  it("is little without tools, with functions and an output", async () => {
    const options = `{
  instructions: () => Effect.succeed("You judge."),
  output: Schema.Struct({ score: Schema.Int }),
  stopWhen: ({ step }) => step > 3
}`
    const count = await costs("small", options)
    assert.isAbove(count, 0)
    assert.isAtMost(count, 500)
  })

  it("grows by less than 20 instantiations with each tool that carries its handler", async () => {
    const count = await costs("functions", `{ tools: [${names.join(", ")}] }`)
    assert.isAbove(count, 0)
    assert.isAtMost(count / names.length, 14)
  })

  it("grows by less than 100 with each tool of a toolkit", async () => {
    const count = await costs("toolkit", "{ toolkit: kit }")
    assert.isAbove(count, 0)
    assert.isAtMost(count / names.length, 96)
  })
})
