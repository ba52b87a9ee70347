/** The public face is written down three times: as files, in src/index.ts and in package.json. They must agree. */
import * as fs from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"
import { apart } from "../../scripts/support.ts"

const root = path.resolve(import.meta.dirname, "../..")
const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly exports: Record<string, unknown>
  readonly imports: Record<string, Record<string, unknown>>
  readonly type: string
  readonly sideEffects: boolean
}

/** Files with the place and the name of a public module that are closed on purpose. */
const closed = new Set([
  "services/Approver",
  "services/CodeEngine",
  "services/HttpTape",
  "services/HttpTransport",
  "services/Images",
  "services/MemoryStore",
  "services/Runs",
  "services/Sandbox",
  "services/Waiting",
  "services/Sandbox",
  "services/SessionStore",
  "services/Skills",
  "services/Speech",
  "services/SyncBridge",
  "services/TraceStore",
  "services/Transcription",
  "services/WorkerThreads"
])

const entry = (module: string) => ({
  "troupe-source": `./src/${module}.ts`,
  types: `./dist/${module}.d.ts`,
  default: `./dist/${module}.js`
})

/** Node finds the one that loads modules when they are used, by a condition that bundlers do not look at first. */
const barrel = {
  "troupe-source": "./src/index.ts",
  types: "./dist/index.d.ts",
  module: "./dist/index.js",
  "module-sync": "./dist/index.deferred.js",
  default: "./dist/index.js"
}

/** What src/index.ts exports: the name, and the module's path without extension. */
const index = (): ReadonlyArray<readonly [name: string, module: string]> =>
  fs
    .readFileSync(path.join(root, "src/index.ts"), "utf8")
    .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const match = /^export \* as (\w+) from "\.\/([\w/]+)\.ts"$/.exec(line)
      expect(match, `src/index.ts has only lines like export * as X from "./X.ts", not: ${line}`).not.toBeNull()
      return [match![1]!, match![2]!] as const
    })

it("src/index.ts names every namespace after its module", () => {
  for (const [name, module] of index()) expect(path.basename(module)).toBe(name)
})

it("every module of src/index.ts has an entry in the exports of package.json, and no other has", () => {
  const expected = Object.fromEntries([
    [".", barrel],
    ...[...index(), ...Object.entries(apart)].map(([name, module]) => [`./${name}`, entry(module)]),
    ["./package.json", "./package.json"]
  ])
  expect(manifest.exports, "run `npm run exports`").toEqual(expected)
})

// Public modules are PascalCase and stand on top of their family's folder; what is in an `internal/` is camelCase.
it("every file with the place and the name of a public module is public, or is listed as closed", () => {
  const isPublic = new Set([...index().map(([, module]) => module), ...Object.values(apart)])
  const modules = fs
    .readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => /^(\w+\/)*[A-Z]\w*\.ts$/.test(file))
    .map((file) => file.slice(0, -3))
  expect(modules.filter((module) => !isPublic.has(module) && !closed.has(module))).toEqual([])
  expect([...closed].filter((module) => !modules.includes(module))).toEqual([])
  expect(modules.filter((module) => module.includes("internal/"))).toEqual([])
})

it("an import of this package by name reaches the source, at the root and at a subpath", async () => {
  const face = await import("troupe")
  expect(Object.keys(face).toSorted()).toEqual(
    index()
      .map(([name]) => name)
      .toSorted()
  )
  expect(import.meta.resolve("troupe/RunEvent")).toMatch(/src\/RunEvent\.ts$/)
  expect((await import("troupe/RunEvent")).RunEvent).toBe(face.RunEvent.RunEvent)
})

it("the package.json above the sources is small, and has what Node asks of it", () => {
  // Node parses the one above a file for each import of another package: with the exports in it, a cold start takes a third longer.
  const text = fs.readFileSync(path.join(root, "src/package.json"), "utf8")
  const { imports, ...others } = JSON.parse(text) as { readonly imports: Record<string, Record<string, string>> }
  expect(others).toEqual({ type: manifest.type, sideEffects: manifest.sideEffects })
  const written = Object.entries(manifest.imports).map(([name, { "troupe-source": targets }]) => [name, targets])
  const inPackage = (targets: Record<string, string>) =>
    Object.fromEntries(Object.entries(targets).map(([on, target]) => [on, `./src/${target.slice(2)}`]))
  expect(Object.fromEntries(written), "npm run exports").toEqual(
    Object.fromEntries(Object.entries(imports).map(([name, targets]) => [name, inPackage(targets)]))
  )
  const targets = Object.values(imports).flatMap((conditions) => Object.values(conditions))
  expect(targets.filter((target) => !fs.existsSync(path.join(root, "src", target)))).toEqual([])
  expect(text.length).toBeLessThan(4000)
})

it("each public module stands in the README's table", () => {
  const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
  const rows = readme.slice(readme.indexOf("## What there is"), readme.indexOf("## More")).match(/^\| `.*$/gm) ?? []
  const named = rows.flatMap((row) => [...row.split("|")[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!))
  const modules = Object.keys(manifest.exports).filter((subpath) => subpath !== "." && subpath !== "./package.json")
  expect(named.toSorted()).toEqual(modules.map((subpath) => subpath.slice(2)).toSorted())
})
