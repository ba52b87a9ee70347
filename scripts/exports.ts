/**
 * `npm run exports`: writes the `exports` of package.json from src/index.ts, one entry for each namespace, and its `imports` from
 * src/package.json. Run it after adding a public module; tests/architecture/exports.test.ts fails until it is done.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { apart, root } from "./support.ts"

const entry = (module: string) => ({
  "troupe-source": `./src/${module}.ts`,
  types: `./dist/${module}.d.ts`,
  default: `./dist/${module}.js`
})

/** Bundlers take the one that names all modules, Node the one that loads them when they are used: see scripts/build.ts. */
const barrel = {
  "troupe-source": "./src/index.ts",
  types: "./dist/index.d.ts",
  module: "./dist/index.js",
  "module-sync": "./dist/index.deferred.js",
  default: "./dist/index.js"
}

const index = fs.readFileSync(path.join(root, "src/index.ts"), "utf8")
const named = Array.from(index.matchAll(/^export \* as (\w+) from "\.\/(.*)\.ts"$/gm), ([, name, module]) => [
  name!,
  module!
])
const modules = [...named, ...Object.entries(apart)]
  .map(([name, module]) => [`./${name}`, entry(module!)] as const)
  .toSorted(([a], [b]) => (a < b ? -1 : 1))

/** An import of src/package.json as the package has it, for resolvers that look at its root alone: sources, then compiled files. */
const inPackage = (targets: Record<string, string>): Record<string, unknown> => {
  const to = (at: (target: string) => string) =>
    Object.fromEntries(Object.entries(targets).map(([condition, target]) => [condition, at(target)]))
  return {
    "troupe-source": to((target) => `./src/${target.slice(2)}`),
    ...to((target) => `./dist/${target.slice(2).replace(/\.ts$/, ".js")}`)
  }
}
const { imports } = JSON.parse(fs.readFileSync(path.join(root, "src/package.json"), "utf8")) as {
  readonly imports: Record<string, Record<string, string>>
}

const file = path.join(root, "package.json")
const manifest = JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, unknown>
manifest["exports"] = {
  ".": barrel,
  ...Object.fromEntries(modules),
  "./package.json": "./package.json"
}
manifest["imports"] = Object.fromEntries(Object.entries(imports).map(([name, targets]) => [name, inPackage(targets)]))
fs.writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`)
console.log(`${modules.length} modules are exported`)
