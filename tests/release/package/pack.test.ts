/**
 * The package as a user gets it: built, packed, installed in an empty project, and used from there. Installing asks the
 * npm cache first and then the registry.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as module from "node:module"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { build } from "esbuild"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import { afterAll, beforeAll, expect, it } from "vitest"
import { packed, plainEnv } from "../../support/packed.ts"

const root = path.resolve(import.meta.dirname, "../../..")
const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly name: string
  readonly exports: Record<string, unknown>
  readonly devDependencies: Record<string, string>
  readonly files: ReadonlyArray<string>
}

/** Runs a command; gives what it wrote. A failure's message holds what it wrote to both streams. */
const run = async (cwd: string, command: string, args: ReadonlyArray<string>): Promise<string> => {
  try {
    return (await promisify(execFile)(command, args, { cwd, env: plainEnv(), maxBuffer: 16_000_000 })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`${command} ${args.join(" ")} failed\n${stdout ?? ""}${stderr ?? String(error)}`, { cause: error })
  }
}

let directory: string
let project: string
let tarball: string
const install = ["install", "--prefer-offline", "--no-audit", "--no-fund"]

beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-pack-"))
  project = path.join(directory, "project")
  fs.mkdirSync(project)
  ;({ tarball } = await packed())
  fs.writeFileSync(
    path.join(project, "package.json"),
    JSON.stringify({ name: "project", private: true, type: "module" })
  )
  // Our declarations name types of two optional peers, and this project checks declarations too. A module
  // imports undici.
  const others = ["@types/node", "@modelcontextprotocol/sdk", "@ai-sdk/provider", "undici"].map(
    (name) => `${name}@${manifest.devDependencies[name]}`
  )
  await run(project, "npm", [...install, tarball, ...others])
  fs.cpSync(path.join(import.meta.dirname, "consumer"), project, { recursive: true })
}, 240_000)
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

/** The files that a bundle of a program holds something of, with how many bytes. */
const parts = async (absWorkingDir: string, entry: string): Promise<ReadonlyArray<readonly [string, number]>> => {
  const { metafile } = await build({
    absWorkingDir,
    entryPoints: [entry],
    bundle: true,
    platform: "node",
    format: "esm",
    metafile: true,
    write: false
  })
  const inputs = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.entries(inputs))
  return inputs.flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [[file, bytesInOutput] as const] : []))
}
const bundled = async (absWorkingDir: string, entry: string): Promise<ReadonlyArray<string>> =>
  (await parts(absWorkingDir, entry)).map(([file]) => file)

const expected = { answer: "42, twice", same: "42, twice", length: 9, steps: 2, last: "RunCompleted", oneModule: true }

it("publint finds nothing to say about it", async () => {
  const { messages } = await publint({ pkgDir: path.join(project, "node_modules/troupe"), pack: false, strict: true })
  const said = messages.map((message) => formatMessage(message, manifest, { color: false }))
  // Node looks for imports in the nearest package.json, and those of the root are the same.
  const nested = /^\.\/(dist|src)\/package\.json has an "imports" field/
  expect(said.filter((message) => message === undefined || !nested.test(message))).toEqual([])
}, 180_000)

it("holds the licence, the sources that its maps point to, and nothing of the project's own", () => {
  const files = fs.readdirSync(path.join(project, "node_modules/troupe"), { recursive: true, encoding: "utf8" })
  expect(files).toContain("LICENSE")
  expect(files.filter((file) => /^(tests|scripts|bench|\.)/.test(file))).toEqual([])
  const maps = files.filter((file) => file.endsWith(".map"))
  expect(maps.length).toBeGreaterThan(10)
  for (const map of maps) {
    const file = path.join(project, "node_modules/troupe", map)
    const { sources } = JSON.parse(fs.readFileSync(file, "utf8")) as { readonly sources: ReadonlyArray<string> }
    for (const source of sources) expect(fs.existsSync(path.resolve(path.dirname(file), source)), map).toBe(true)
  }
})

it("has what every agent loads in one file, and each module once", async () => {
  const dist = path.join(project, "node_modules/troupe/dist")
  const names = /^export \{[^}]*\} from "(?:\.\.?\/)+core\.js";\s*$/
  for (const module of ["agents/Agent", "Runner", "internal/json"]) {
    expect(fs.readFileSync(path.join(dist, `${module}.js`), "utf8")).toMatch(names)
  }
  const program = `
    const [agent, chain, runner] = await Promise.all(["Agent", "Chain", "Runner"].map((name) => import("troupe/" + name)))
    console.log(runner.isRunner(chain.make("two", [agent.make("a", {}), agent.make("b", {})])))`
  expect(await run(project, "node", ["--input-type=module", "--eval", program])).toBe("true\n")
})

it("gives a bundle of that file what the program uses of it", async () => {
  fs.writeFileSync(
    path.join(project, "page.js"),
    'import * as RunEvent from "troupe/RunEvent"; console.log(RunEvent.Client)'
  )
  fs.writeFileSync(
    path.join(project, "agent.js"),
    'import * as Agent from "troupe/Agent"; console.log(Agent.make("a", {}))'
  )
  const ofCore = async (entry: string) =>
    new Map(await parts(project, entry)).get("node_modules/troupe/dist/core.js") ?? 0
  const [page, agent] = [await ofCore("page.js"), await ofCore("agent.js")]
  expect(page).toBeGreaterThan(0)
  expect(page).toBeLessThan(agent / 4)
})

it("has a small package.json above its modules, whose imports are there", () => {
  const dist = path.join(project, "node_modules/troupe/dist")
  const { imports, ...others } = JSON.parse(fs.readFileSync(path.join(dist, "package.json"), "utf8")) as {
    readonly imports: Record<string, Record<string, string>>
  }
  expect(others).toEqual({ type: "module", sideEffects: false })
  const targets = Object.values(imports).flatMap((conditions) => Object.values(conditions))
  expect(targets.length).toBeGreaterThan(0)
  for (const target of targets) expect(fs.existsSync(path.join(dist, target)), target).toBe(true)
})

it("holds every file that its README and its guides link to", () => {
  const root = path.join(project, "node_modules/troupe")
  const files = fs.readdirSync(root, { recursive: true, encoding: "utf8" })
  const documents = files.filter((file) => /^(README\.md|docs\/.*\.md)$/.test(file))
  expect(documents.length).toBeGreaterThan(12)
  const broken = documents.flatMap((file) =>
    Array.from(
      fs.readFileSync(path.join(root, file), "utf8").matchAll(/\]\((?!https?:|#)([^)#\s]+)/g),
      (match) => match[1]!
    )
      .filter((target) => !fs.existsSync(path.join(root, path.dirname(file), target)))
      .map((target) => `${file}: ${target}`)
  )
  expect(broken).toEqual([])
})

/** What the README's section on installing says to do, with the packed package in the place of its name. */
it("what the README says on installing works in an empty folder, and installs no optional part", async () => {
  const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
  const section = /^## Install\n([^]*?)^## /m.exec(readme)![1]!
  const fence = (language: string) => new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "m").exec(section)![1]!
  const empty = fs.mkdtempSync(path.join(directory, "empty-"))
  for (const line of fence("sh").trim().split("\n")) {
    const [command, ...args] = line.split(" ")
    const here = args.map((arg) => (arg === "troupe" ? tarball : arg))
    await run(empty, command!, args[0] === "install" ? [...install, ...here.slice(1)] : here)
  }
  fs.writeFileSync(path.join(empty, "hello.ts"), fence("ts"))
  expect(await run(empty, "node", ["hello.ts"])).toBe("2 + 40 = 42\n")
  const modules = path.join(empty, "node_modules")
  expect(
    ["markdownlint", "@modelcontextprotocol/sdk", "express"].filter((name) => fs.existsSync(path.join(modules, name)))
  ).toEqual([])
  // With `lib` as the README says, declarations can be checked too, although the types of optional parts are not there.
  const [lib] = /"lib": \[[^\]]*\]/.exec(section)!
  fs.writeFileSync(
    path.join(empty, "tsconfig.json"),
    `{ "compilerOptions": { "module": "NodeNext", "strict": true, "noEmit": true, "types": ["node"], ${lib} }, "files": ["hello.ts"] }`
  )
  await run(empty, "npm", [...install, `@types/node@${manifest.devDependencies["@types/node"]}`])
  expect(await run(empty, "tsc", ["--pretty", "false"])).toBe("")
  // A bundle holds what the program uses, and asks for no optional part.
  expect((await bundled(empty, "hello.ts")).filter((file) => /\/(mcp|skills|durable|server)\//.test(file))).toEqual([])
  fs.writeFileSync(
    path.join(empty, "explicit.js"),
    `import * as Agent from "troupe/Agent"
     import * as OpenAi from "troupe/OpenAi"
     console.log(Agent.make("clerk", {}), OpenAi.layer({ model: "gpt-4.1-mini" }))`
  )
  const others = (await bundled(empty, "explicit.js")).filter((file) => !/^node_modules\/(troupe|effect)\//.test(file))
  expect(others).toEqual(["explicit.js"])
  // What an optional part is needed for says so.
  fs.writeFileSync(
    path.join(empty, "mcp.ts"),
    `import { Effect } from "effect"
     import { Mcp } from "troupe"
     const connect = Mcp.connect({ servers: { s: { url: "http://127.0.0.1:9/mcp" } } })
     console.log((await Effect.runPromise(Effect.flip(Effect.scoped(connect)))).message)`
  )
  expect(await run(empty, "node", ["mcp.ts"])).toContain("npm install @modelcontextprotocol/sdk")
}, 240_000)

it("compiles in a strict TypeScript project that makes declarations, with its own included", async () => {
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    target: "ES2023",
    lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable", "ESNext.Disposable"],
    types: ["node"],
    module: "NodeNext",
    declaration: true,
    outDir: "out",
    skipLibCheck: false
  }
  fs.writeFileSync(
    path.join(project, "tsconfig.json"),
    JSON.stringify({ compilerOptions: options, files: ["program.ts", "library.ts"] })
  )
  const said = await run(project, "tsc", ["--pretty", "false"]).catch((error: Error) => error.message)
  expect(fs.existsSync(path.join(project, "out/program.js")), said).toBe(true)
  // Errors in other packages' declarations do not count; ours, and the program, must have none.
  const errors = said.split("\n").filter((line) => /: error TS/.test(line))
  expect(errors.filter((line) => !/node_modules\/(?!troupe\/)/.test(line))).toEqual([])
}, 180_000)

it("runs an agent from TypeScript", async () => {
  expect(JSON.parse(await run(project, "node", ["program.ts"]))).toEqual(expected)
}, 30_000)

it("runs an agent from JavaScript", async () => {
  const source = fs.readFileSync(path.join(project, "program.ts"), "utf8")
  fs.writeFileSync(path.join(project, "program.js"), module.stripTypeScriptTypes(source))
  expect(JSON.parse(await run(project, "node", ["program.js"]))).toEqual(expected)
}, 30_000)

it("every public module can be imported by its subpath", async () => {
  const subpaths = Object.keys(manifest.exports).filter((name) => name !== "./package.json")
  const program = `
    for (const name of ${JSON.stringify(subpaths)}) {
      const loaded = await import("troupe" + name.slice(1))
      if (Object.keys(loaded).length === 0) throw new Error(name + " is empty")
    }
    console.log("all")`
  expect(await run(project, "node", ["--input-type=module", "--eval", program])).toBe("all\n")
}, 30_000)

it("the barrel loads what an agent does, and each other module when it is first used", async () => {
  const program = `
    import { readFileSync } from "node:fs"
    import { registerHooks } from "node:module"
    const loaded = new Set()
    registerHooks({ load: (url, context, next) => (loaded.add(url), next(url, context)) })
    // A module that is in a file with others is a line of names.
    const isNames = (url) => url.startsWith("file:") && /^export \\{[^}]*\\} from "[^"]*";\\s*$/.test(readFileSync(new URL(url), "utf8"))
    const count = () => [...loaded].filter((url) => !isNames(url)).length
    await import("troupe/Agent")
    const ofAgent = count()
    const barrel = await import("troupe")
    const ofBarrel = count()
    const same = []
    for (const name of ["Agent", "Mcp", "Skills", "Durable"]) {
      const used = { ...barrel[name] }
      const explicit = await import("troupe/" + name)
      same.push(Object.keys(explicit).length > 0 && Object.keys(explicit).every((key) => explicit[key] === used[key]))
    }
    console.log(JSON.stringify({ more: ofBarrel - ofAgent, same, used: count() > ofBarrel + 100 }))`
  const said = JSON.parse(await run(project, "node", ["--input-type=module", "--eval", program])) as object
  // The barrel itself, and what makes its namespaces.
  expect(said).toEqual({ more: 2, same: [true, true, true, true], used: true })
}, 30_000)

it.for(["internal/json", "internal/json.js", "dist/Runner.js", "src/Runner.ts", "agents/loop", "bin"])(
  "refuses to give out troupe/%s",
  { timeout: 30_000 },
  async (subpath) => {
    const program = `import("troupe/${subpath}").catch((error) => console.log(error.code))`
    expect(await run(project, "node", ["--eval", program])).toBe("ERR_PACKAGE_PATH_NOT_EXPORTED\n")
  }
)

it("has a command line that says how to use it", async () => {
  const said = await run(project, "npx", ["--no-install", "troupe", "--help"])
  expect(said).toMatch(/review/)
  expect(said).toMatch(/run/)
}, 30_000)
