/**
 * `npm run build`: compiles src to dist, with declarations and source maps, after removing what was there; joins the modules that
 * every agent loads; marks what bundlers may leave out; writes the entrance that Node finds, `dist/index.deferred.js`; then
 * makes the command line one bundle.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { bundleCommandLine, bundlePlatform, writeLicenses } from "./bundles.ts"
import { join, loadedBy } from "./chunks.ts"
import { marked } from "./pure.ts"
import { report, root, run } from "./support.ts"

const out = path.join(root, "dist")
const read = (module: string): string => fs.readFileSync(path.join(out, `${module}.js`), "utf8")

/** What every agent loads, what adapters of models share, and the first of these. */
const chunks = [
  { name: "core", entry: "agents/Agent" },
  { name: "models", entry: "layers/openai/OpenAi", without: "layers/openai/" },
  { name: "openai", entry: "layers/openai/OpenAi" }
]

/**
 * The barrel for Node: what an agent loads is imported, and the other namespaces load their modules when they are first used.
 * Node finds it by the condition `module-sync`, which says that it can `require` ES modules; bundlers, which leave out what a
 * program does not use, find the other one.
 */
const entrance = (): string => {
  const first = loadedBy(out, "agents/Agent")
  const lines = Array.from(read("index").matchAll(/^export \* as (\w+) from "\.\/(.*)\.js";?$/gm), ([, name, module]) =>
    first.has(module!)
      ? `export * as ${name} from "./${module}.js"`
      : `export const ${name} = deferred("${name}", () => require("./${module}.js"))`
  )
  return [
    `import { createRequire } from "node:module"`,
    `import { deferred } from "./internal/deferred.js"`,
    `const require = createRequire(import.meta.url)`,
    ...lines,
    ""
  ].join("\n")
}

/**
 * The package.json of dist: that of src, with compiled files. For each import of another package Node reads and parses the whole
 * package.json above the file, and `exports` make the one of the package large: a small one takes a quarter off a cold start.
 */
const manifest = (): string => fs.readFileSync(path.join(root, "src/package.json"), "utf8").replace(/\.ts"/g, '.js"')

/** Removes the maps of declarations that no program can name, which are a tenth of the files. */
const withoutMaps = (): void => {
  for (const file of fs.readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (!/\binternal\/.*\.d\.ts$/.test(file)) continue
    const declarations = path.join(out, file)
    const source = fs.readFileSync(declarations, "utf8")
    fs.writeFileSync(declarations, source.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"))
    fs.rmSync(`${declarations}.map`)
  }
}

/** The packages that a user may install or not. */
const optional = (): ReadonlyArray<string> => {
  const { peerDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
    readonly peerDependencies: Record<string, string>
  }
  return Object.keys(peerDependencies).filter((name) => name !== "effect")
}

/**
 * Lets declarations be checked where an optional package is not installed: its types are `any` there, which only a program
 * that uses the package meets.
 */
const withoutOptional = (): void => {
  const names = optional().join("|")
  const imported = new RegExp(`^import type .* from "(?:${names})(?:/[^"]*)?";$`, "gm")
  for (const file of fs.readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".d.ts")) continue
    const declarations = path.join(out, file)
    const source = fs.readFileSync(declarations, "utf8")
    fs.writeFileSync(declarations, source.replace(imported, "// @ts-ignore An optional package.\n$&"))
  }
}

/** Marks the calls of all modules. */
const markAll = (): void => {
  for (const file of fs
    .readdirSync(out, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js") && fs.existsSync(path.join(out, `${file}.map`)))) {
    const module = path.join(out, file)
    const { map, source } = marked(
      fs.readFileSync(module, "utf8"),
      JSON.parse(fs.readFileSync(`${module}.map`, "utf8")) as { readonly mappings: string }
    )
    fs.writeFileSync(module, source)
    fs.writeFileSync(`${module}.map`, JSON.stringify(map))
  }
}

fs.rmSync(out, { recursive: true, force: true })
const outcome = await run("tsc", ["-p", "tsconfig.build.json"])
report("build", outcome)
if (outcome.ok) {
  const deferred = entrance()
  await join(out, chunks)
  markAll()
  withoutMaps()
  withoutOptional()
  fs.writeFileSync(path.join(out, "index.deferred.js"), deferred)
  fs.writeFileSync(path.join(out, "package.json"), manifest())
  const bundled = [await bundlePlatform(out), await bundleCommandLine(out, optional())]
  writeLicenses(out, new Set(bundled.flatMap((files) => [...files])))
}
const bin = path.join(out, "bin.js")
if (fs.existsSync(bin)) fs.chmodSync(bin, 0o755)
process.exitCode = outcome.ok ? 0 : 1
