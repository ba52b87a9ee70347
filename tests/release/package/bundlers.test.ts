/**
 * The I/O thread's program is found wherever the package's code ends up: in src/, in a build, in a packed install, and in
 * a bundle that runs in an empty directory, where there is nothing to be found.
 */
import { type ChildProcess, execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, it } from "vitest"
import { delayServer } from "../../support/isolated.ts"
import { packed, plainEnv } from "../../support/packed.ts"

const root = path.resolve(import.meta.dirname, "../../..")
const program = `
  import * as Effect from "effect/Effect"
  import * as Redacted from "effect/Redacted"
  import * as Stream from "effect/Stream"
  import * as HttpClient from "effect/http/HttpClient"
  import * as Agent from "troupe/Agent"
  import * as OpenAi from "troupe/OpenAi"
  import * as ShellTools from "troupe/ShellTools"
  import * as SyncEdge from "troupe/SyncEdge"

  const get = (ms) =>
    HttpClient.get(process.env.BASE + "/ok/" + ms).pipe(
      Effect.flatMap((response) => response.text),
      Effect.provide(SyncEdge.layerHttpClient)
    )
  const both = Effect.all([get(5), get(6)], { concurrency: 2 })
  const model = OpenAi.layer({
    model: "m", baseUrl: process.env.BASE + "/500/1", apiKey: Redacted.make("k"), retry: "none"
  })
  const agent = Agent.make("agent", { retry: "none" })
  const failing = agent.run("go").pipe(Effect.provide(model), Effect.flip, Effect.map((error) => error._tag))
  const command = ShellTools.toolkit.pipe(
    Effect.flatMap((kit) => kit.handle("run_command", { command: "echo", args: ["said"] })),
    Effect.flatMap(Stream.runCollect),
    Effect.map((results) => results[0].result.stdout ?? results[0].result),
    Effect.provide(ShellTools.layer({ allow: ["echo"], cwd: "." }))
  )
  const all = Effect.all([both, failing, command])
  const sync = Effect.runSync(all.pipe(Effect.provide(SyncEdge.layer)))
  const later = await Effect.runPromise(all)
  console.log(JSON.stringify([sync, later]))
`
const expected = JSON.stringify([
  [["ok5", "ok6"], "ModelError", "said\n"],
  [["ok5", "ok6"], "ModelError", "said\n"]
])

let base = ""
let server: ChildProcess
let directory: string
let stage: string
/** A project that has the packed package, and everything it depends on. */
let project: string

const run = async (cwd: string, command: string, args: ReadonlyArray<string>): Promise<string> => {
  const { stderr, stdout } = await promisify(execFile)(command, args, {
    cwd,
    env: { ...plainEnv(), BASE: base },
    maxBuffer: 16_000_000
  })
  // The runs that fail log themselves.
  expect(stderr.replace(/^troupe: run of .*\n/gm, "")).toBe("")
  return stdout.trim()
}
const node = (cwd: string, ...args: ReadonlyArray<string>) => run(cwd, process.execPath, args)

beforeAll(async () => {
  ;({ base, child: server } = await delayServer())
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-bundlers-"))
  project = path.join(directory, "project")
  const modules = path.join(project, "node_modules")
  fs.mkdirSync(path.join(modules, "troupe"), { recursive: true })
  const made = await packed()
  stage = made.stage
  await run(directory, "tar", ["-xzf", made.tarball, "-C", path.join(modules, "troupe"), "--strip-components=1"])
  for (const name of fs.readdirSync(path.join(root, "node_modules")))
    if (!name.startsWith(".")) fs.symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
  fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
  fs.writeFileSync(path.join(project, "entry.js"), program)
}, 240_000)
afterAll(() => {
  server.kill("SIGKILL")
  fs.rmSync(directory, { recursive: true, force: true })
})

it("from src/", async () => {
  const args = ["--conditions=troupe-source", "--input-type=module", "--eval", program]
  expect(await node(root, ...args)).toBe(expected)
}, 30_000)

it("from dist/, and from a packed install", async () => {
  expect(await node(stage, "--input-type=module", "--eval", program)).toBe(expected)
  expect(fs.existsSync(path.join(project, "node_modules/troupe/dist/layers/sync/SyncEdge.js"))).toBe(true)
  expect(await node(project, "entry.js")).toBe(expected)
}, 30_000)

const esbuild = async (input: string, output: string, minify: boolean) => {
  const { build } = await import("esbuild")
  // What of the dependencies is CommonJS asks for Node's own modules by `require`.
  const banner = { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url)` }
  const options = {
    bundle: true,
    minify,
    // When minified, what it wraps functions with to keep their names has a random name.
    keepNames: minify,
    format: "esm",
    platform: "node",
    banner,
    logLevel: "silent"
  } as const
  return build({ entryPoints: [input], outfile: output, ...options })
}

/** Each writes one file that needs nothing but Node. */
const bundlers: Record<string, (input: string, output: string) => Promise<unknown>> = {
  esbuild: (input, output) => esbuild(input, output, false),
  "esbuild, minified, with names kept": (input, output) => esbuild(input, output, true),
  rolldown: async (input, output) => {
    const { rolldown } = await import("rolldown")
    const bundle = await rolldown({ input, platform: "node", logLevel: "silent" })
    return bundle.write({ file: output, format: "esm", codeSplitting: false })
  },
  rollup: async (input, output) => {
    const { rollup } = await import("rollup")
    const { nodeResolve } = await import("@rollup/plugin-node-resolve")
    const bundle = await rollup({ input, plugins: [nodeResolve({ preferBuiltins: true })], logLevel: "silent" })
    return bundle.write({ file: output, format: "esm", inlineDynamicImports: true })
  },
  webpack: async (input, output) => {
    const { default: webpack } = await import("webpack")
    const compiler = webpack({
      mode: "development",
      devtool: false,
      target: "node22",
      entry: input,
      experiments: { outputModule: true },
      output: {
        path: path.dirname(output),
        filename: path.basename(output),
        module: true,
        library: { type: "module" }
      },
      module: { parser: { javascript: { dynamicImportMode: "eager" } } }
    })
    const stats = await promisify(compiler.run.bind(compiler))()
    await promisify(compiler.close.bind(compiler))()
    expect(stats?.compilation.errors).toEqual([])
  }
}

it.each(Object.keys(bundlers))("from a bundle of %s, in an empty directory", { timeout: 60_000 }, async (name) => {
  const empty = fs.mkdtempSync(path.join(directory, "empty-"))
  await bundlers[name]!(path.join(project, "entry.js"), path.join(empty, "bundle.mjs"))
  expect(fs.readdirSync(empty)).toEqual(["bundle.mjs"])
  expect(await node(empty, "bundle.mjs")).toBe(expected)
})
