/** The linter's rules about imports, tried on imports that break them: a rule that catches nothing looks like a clean project. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")

interface Plant {
  /** What is wrong, or right, with it. */
  readonly name: string
  readonly file: string
  readonly code: string
  /** Part of what the linter says; none: it says nothing. */
  readonly refused?: RegExp
}

const use = (from: string) => `import * as X from "${from}"\nexport const x = X\n`
const plant = (name: string, file: string, from: string, refused?: RegExp): Plant => ({
  name,
  file,
  code: use(from),
  ...(refused === undefined ? {} : { refused })
})

const plants: ReadonlyArray<Plant> = [
  plant("an agent imports a layer", "src/agents/a1.ts", "../layers/l.ts", /agents import services/),
  plant(
    "an agent imports what is inside of a layer",
    "src/agents/a2.ts",
    "../layers/inner/l.ts",
    /agents import services/
  ),
  plant("an agent imports a workflow", "src/agents/a3.ts", "../workflows/w.ts", /agents import services/),
  plant("an agent imports a service", "src/agents/a4.ts", "../services/s.ts"),
  plant("an agent imports the core", "src/agents/a5.ts", "../core.ts"),
  plant("an agent imports the public face", "src/agents/a6.ts", "../index.ts", /public face/),
  {
    name: "an agent imports a layer's types only",
    file: "src/agents/a7.ts",
    code: `import type * as X from "../layers/l.ts"\nexport type Y = keyof typeof X\n`,
    refused: /agents import services/
  },
  {
    name: "an agent re-exports a layer",
    file: "src/agents/a8.ts",
    code: `export * from "../layers/l.ts"\n`,
    refused: /agents import services/
  },
  plant("ready-made middleware imports an agent", "src/middleware/m1.ts", "../agents/a.ts"),
  plant("ready-made middleware imports a layer", "src/middleware/m2.ts", "../layers/l.ts", /ready-made middleware/),
  plant("ready-made middleware imports a module of Node", "src/middleware/m3.ts", "node:fs", /nothing of Node/),
  plant("an agent imports ready-made middleware", "src/agents/a13.ts", "../middleware/m.ts", /agents import services/),
  plant("a layer imports an agent", "src/layers/l1.ts", "../agents/a.ts", /layers implement services/),
  plant("an inner file of a layer imports an agent", "src/layers/inner/l2.ts", "../../agents/a.ts", /layers implement/),
  plant("a layer imports a workflow", "src/layers/l3.ts", "../workflows/w.ts", /layers implement services/),
  plant("a layer imports a layer", "src/layers/l4.ts", "./inner/l.ts"),
  plant("a layer does I/O", "src/layers/l5.ts", "node:fs"),
  plant("a service imports a layer", "src/services/s1.ts", "../layers/l.ts", /services are ports/),
  plant("a service imports an agent", "src/services/s2.ts", "../agents/a.ts", /services are ports/),
  plant("a service does I/O", "src/services/s3.ts", "node:fs", /services do no I\/O/),
  {
    name: "an agent uses a global of Node",
    file: "src/agents/a12.ts",
    code: `export const x = Buffer.from("x")\n`,
    refused: /nothing of Node/
  },
  {
    name: "the model's Layer uses a global of Node",
    file: "src/layers/openai/internal/o1.ts",
    code: `export const x = process.env\n`,
    refused: /nothing of Node/
  },
  plant("an agent imports a module of Node", "src/agents/a10.ts", "node:fs", /nothing of Node/),
  plant("a private part of the agents does so", "src/agents/internal/a11.ts", "node:path", /nothing of Node/),
  plant("a workflow imports a module of Node", "src/workflows/w4.ts", "node:fs", /nothing of Node/),
  plant("the core imports a module of Node", "src/core3.ts", "node:url", /nothing of Node/),
  plant("src/internal imports a module of Node", "src/internal/i3.ts", "node:fs", /nothing of Node/),
  plant("a workflow imports a layer", "src/workflows/w1.ts", "../layers/l.ts", /workflows never import layers/),
  plant("a workflow imports an agent", "src/workflows/w2.ts", "../agents/a.ts"),
  plant("an evaluation imports a layer", "src/eval/e1.ts", "../layers/l.ts", /evaluations import runners/),
  plant("an evaluation imports an agent", "src/eval/e2.ts", "../agents/a.ts"),
  plant("an evaluation imports a module of Node", "src/eval/e3.ts", "node:fs", /nothing of Node/),
  plant("a workflow imports an evaluation", "src/workflows/w6.ts", "../eval/e.ts", /workflows never import layers/),
  plant("the core imports an agent", "src/core1.ts", "./agents/a.ts", /the core/),
  plant("src/internal imports a layer", "src/internal/i1.ts", "../layers/l.ts", /the core/),
  plant("the command line imports a layer", "src/bin.ts", "./layers/l.ts"),
  plant("a layer imports a private part of its own", "src/layers/one/L7.ts", "./internal/p.ts"),
  plant("a private part imports one of its family", "src/layers/one/internal/server/l8.ts", "../p.ts"),
  plant("a layer imports what all layers share", "src/layers/one/L9.ts", "../internal/shared.ts"),
  plant("a layer imports what all of src shares", "src/layers/one/internal/l10.ts", "../../../internal/i.ts"),
  plant(
    "a layer imports a private part of another",
    "src/layers/two/L11.ts",
    "../one/internal/p.ts",
    /private to its family/
  ),
  plant(
    "a private part imports one of another family",
    "src/layers/two/internal/l12.ts",
    "../../one/internal/p.ts",
    /private to/
  ),
  plant(
    "a workflow imports a private part of the agents",
    "src/workflows/w5.ts",
    "../agents/internal/p.ts",
    /private to/
  ),
  plant(
    "the command line imports a private part of a layer",
    "src/cli/c1.ts",
    "../layers/one/internal/p.ts",
    /private to/
  ),
  ...["core2", "services/s4", "agents/a9", "layers/l6", "workflows/w3", "internal/i2"].flatMap((module) => [
    plant(`${module} imports Effect's barrel`, `src/${module}.ts`, "effect", /Import by subpath/),
    plant(`${module} imports a barrel inside of Effect`, `src/${module}-ai.ts`, "effect/ai", /Import by subpath/),
    plant(`${module} imports Effect by subpath`, `src/${module}-sub.ts`, "effect/ai/LanguageModel"),
    plant(`${module} imports the package by name`, `src/${module}-self.ts`, "troupe/Agent", /relative path/)
  ]),
  plant("a test imports Effect's barrel and a layer", "tests/t.test.ts", "effect"),
  {
    name: "two files import each other",
    file: "src/agents/circle.ts",
    code: use("./circle2.ts"),
    refused: /Dependency cycle/
  },
  { name: "and the other one", file: "src/agents/circle2.ts", code: use("./circle.ts"), refused: /Dependency cycle/ },
  {
    name: "three files in a circle",
    file: "src/layers/ring1.ts",
    code: use("./ring2.ts"),
    refused: /Dependency cycle/
  },
  { name: "the second of three", file: "src/layers/ring2.ts", code: use("./ring3.ts"), refused: /Dependency cycle/ },
  { name: "the third of three", file: "src/layers/ring3.ts", code: use("./ring1.ts"), refused: /Dependency cycle/ }
]

const lines = (count: number): string => Array.from({ length: count }, (_, n) => `  use(${n})\n`).join("")
const head = "declare const use: (value: unknown) => void\n"
const tooLong = /too many lines/

/** Functions of a size: with their first and last line they have two lines more than their body. */
const sizes: ReadonlyArray<Plant> = [
  {
    name: "a function of 61 lines",
    file: "src/agents/internal/long1.ts",
    code: `${head}export const long = () => {\n${lines(59)}}\n`,
    refused: tooLong
  },
  {
    name: "a function of 61 lines, of which the most are those of a generator in it",
    file: "src/layers/inner/long2.ts",
    code: `${head}export const long = () =>\n  use(function* () {\n${lines(58)}})\n`,
    refused: tooLong
  },
  {
    name: "a method of 61 lines",
    file: "src/workflows/internal/long3.ts",
    code: `${head}export class Long {\n  long() {\n${lines(59)}  }\n}\n`,
    refused: tooLong
  },
  {
    name: "a component of 61 lines",
    file: "src/layers/server/internal/playground/page/long4.tsx",
    code: `${head}export function long() {\n${lines(59)}}\n`,
    refused: tooLong
  },
  {
    name: "a function of 60 lines and comments",
    file: "src/agents/internal/long5.ts",
    code: `${head}export const long = () => {\n  // Why.\n\n${lines(58)}}\n`
  },
  {
    name: "a function of six parameters",
    file: "src/layers/inner/wide.ts",
    code: "export const wide = (a: 1, b: 1, c: 1, d: 1, e: 1, f: 1) => [a, b, c, d, e, f]\n",
    refused: /too many parameters/
  }
]

/** What the plants import. */
const ground = [
  "core",
  "agents/a",
  "agents/internal/p",
  "layers/l",
  "layers/inner/l",
  "layers/internal/shared",
  "layers/one/internal/p",
  "services/s",
  "workflows/w",
  "internal/i",
  "index"
]

let directory: string
const said = new Map<string, string>()

beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-arrows-"))
  const put = (file: string, text: string) => {
    fs.mkdirSync(path.dirname(path.join(directory, file)), { recursive: true })
    fs.writeFileSync(path.join(directory, file), text)
  }
  fs.copyFileSync(path.join(root, ".oxlintrc.json"), path.join(directory, ".oxlintrc.json"))
  for (const module of ground) put(`src/${module}.ts`, "export const nothing = 0\n")
  for (const { file, code } of [...plants, ...sizes]) put(file, code)
  const output = await new Promise<string>((resolve) => {
    const oxlint = path.join(root, "node_modules/.bin/oxlint")
    execFile(oxlint, ["--format=json"], { cwd: directory }, (_error, stdout) => resolve(stdout))
  })
  const { diagnostics } = JSON.parse(output) as {
    readonly diagnostics: ReadonlyArray<{ readonly filename: string; readonly message: string; readonly help?: string }>
  }
  for (const { filename, message, help } of diagnostics) {
    said.set(filename, `${said.get(filename) ?? ""}${message} ${help ?? ""}\n`)
  }
})
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

describe("refused", () => {
  for (const { name, file, refused } of [...plants, ...sizes]) {
    if (refused !== undefined) it(name, () => expect(said.get(file)).toMatch(refused))
  }
})

describe("allowed", () => {
  for (const { name, file, refused } of [...plants, ...sizes]) {
    if (refused === undefined) it(name, () => expect(said.get(file)).toBeUndefined())
  }
})

it("no file of src turns off the limits of functions", () => {
  const source = path.join(root, "src")
  const off = fs
    .readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.tsx?$/.test(file) && !file.endsWith(".generated.ts"))
    .filter((file) => /lint-disable.*(max-lines|max-params)/.test(fs.readFileSync(path.join(source, file), "utf8")))
  expect(off).toEqual([])
})
