/** What is loaded at the start: a program that imports one module must not pay for the others. */
import { execFile } from "node:child_process"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")

/** The files that `import "specifier"` loads, relative to the project, ES modules and CommonJS alike. */
const loaded = async (specifier: string): Promise<ReadonlyArray<string>> => {
  const program = `
    import { registerHooks } from "node:module"
    const urls = new Set()
    registerHooks({ load: (url, context, next) => { urls.add(url); return next(url, context) } })
    await import(${JSON.stringify(specifier)})
    console.log(JSON.stringify([...urls]))
  `
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=troupe-source", "--input-type=module", "--eval", program],
    { cwd: root, maxBuffer: 16_000_000 }
  )
  const urls = JSON.parse(stdout) as ReadonlyArray<string>
  return urls.map((url) =>
    url.replace(/^.*\/node_modules\//, "node_modules/").replace(`${pathToFileURL(root).href}/`, "")
  )
}

const barrel = /^node_modules\/effect\/dist\/((\w|-)+\/)?index\.js$/

it.for(["Agent", "AgentTool", "Runner", "RunEvent", "RunError"])(
  "importing troupe/%s loads no SDK, no layer and no barrel",
  { timeout: 30_000 },
  async (module) => {
    const files = await loaded(`troupe/${module}`)
    expect(files).toContainEqual(expect.stringMatching(new RegExp(`^src/(agents/)?${module}\\.ts$`)))
    expect(files).toContainEqual(expect.stringMatching(/^node_modules\/effect\/dist\/Effect\.js$/))
    expect(
      files.filter(
        (file) =>
          /node_modules\/(?!effect\/)/.test(file) &&
          !/node_modules\/fast-check|node_modules\/@standard-schema/.test(file)
      )
    ).toEqual([])
    expect(files.filter((file) => /^src\/(layers|workflows|index|bin)/.test(file))).toEqual([])
    expect(files.filter((file) => barrel.test(file))).toEqual([])
  }
)

it("the check sees a barrel and a dependency when they are loaded", async () => {
  const files = await loaded("effect/ai")
  expect(files.filter((file) => barrel.test(file))).toContain("node_modules/effect/dist/ai/index.js")
  expect((await loaded("openai")).filter((file) => file.startsWith("node_modules/openai/")).length).toBeGreaterThan(5)
}, 30_000)
