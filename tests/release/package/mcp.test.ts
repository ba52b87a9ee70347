/**
 * MCP on both edges from a build and from bundles. The I/O thread gets the program of a connection as text and loads the
 * SDK itself, so the text must need nothing of the module that it comes from, however that was rewritten.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, it } from "vitest"
import { packed } from "../../support/packed.ts"
import { everything } from "../../support/mcpEverything.ts"

const root = path.resolve(import.meta.dirname, "../../..")
const program = (from: (module: string) => string) => `
  import * as Effect from "effect/Effect"
  import * as Mcp from "${from("Mcp")}"
  import * as SyncEdge from "${from("SyncEdge")}"
  const program = Effect.gen(function* () {
    const mcp = yield* Mcp.connect({ servers: { everything: ${JSON.stringify(everything)} } })
    const echo = (yield* mcp.tools()).find((tool) => tool.name === "echo")
    return yield* echo.execute({ message: "hi" }, { progress: () => Effect.void }, () => {})
  }).pipe(Effect.scoped, Effect.catch((error) => Effect.succeed(error._tag + ": " + error.message)))
  console.log(JSON.stringify([
    Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))),
    await Effect.runPromise(program)
  ]))
`

let directory: string
const run = async (cwd: string, file: string): Promise<ReadonlyArray<string>> => {
  const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd })
  return JSON.parse(stdout) as ReadonlyArray<string>
}
const link = (to: string) => fs.symlinkSync(path.join(root, "node_modules"), path.join(to, "node_modules"))

beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-mcp-package-"))
  fs.cpSync(path.join((await packed()).stage, "dist"), path.join(directory, "dist"), { recursive: true })
  fs.writeFileSync(path.join(directory, "package.json"), JSON.stringify({ type: "module" }))
  fs.writeFileSync(
    path.join(directory, "entry.js"),
    program((module) => `./dist/layers/${module === "Mcp" ? "mcp" : "sync"}/${module}.js`)
  )
  link(directory)
}, 240_000)
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

it("from a build", async () => {
  expect(await run(directory, "entry.js")).toEqual(["Echo: hi", "Echo: hi"])
}, 30_000)

const banner = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`
const bundlers: Record<string, (input: string, output: string) => Promise<unknown>> = {
  "esbuild, minified, names kept": async (input, output) => {
    const { build } = await import("esbuild")
    const options = { bundle: true, minify: true, keepNames: true, format: "esm", platform: "node" } as const
    return build({ entryPoints: [input], outfile: output, ...options, banner: { js: banner }, logLevel: "silent" })
  },
  "rolldown, minified": async (input, output) => {
    const { rolldown } = await import("rolldown")
    const bundle = await rolldown({ input, platform: "node", logLevel: "silent" })
    return bundle.write({ file: output, format: "esm", minify: true, codeSplitting: false })
  }
}

it.each(Object.keys(bundlers))(
  "from a bundle of %s, with the SDK installed and without",
  { timeout: 60_000 },
  async (name) => {
    const place = fs.mkdtempSync(path.join(directory, "bundle-"))
    await bundlers[name]!(path.join(directory, "entry.js"), path.join(place, "bundle.mjs"))
    expect(await run(place, "bundle.mjs")).toEqual(["Echo: hi", "Echo: hi"])
    const empty = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-mcp-empty-"))
    try {
      fs.copyFileSync(path.join(place, "bundle.mjs"), path.join(empty, "bundle.mjs"))
      const [sync, later] = await run(empty, "bundle.mjs")
      expect(sync).toMatch(/^McpConnectError: .*@modelcontextprotocol\/sdk cannot be loaded/)
      // There it is part of the bundle.
      expect(later).toBe("Echo: hi")
    } finally {
      fs.rmSync(empty, { recursive: true })
    }
  }
)
