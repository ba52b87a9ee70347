/**
 * The package where nothing optional is installed: its command line, which is one bundle where it loads nothing of a program, its
 * servers, and what bundlers make of it.
 */
import { execFile, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, it } from "vitest"
import { packed, plainEnv } from "../../support/packed.ts"

let folder: string
let dist: string
/** The bundle where it finds no package. */
let alone: string
beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-command-line-"))
  alone = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-command-line-alone-"))
  const { tarball } = await packed()
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball]
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  await promisify(execFile)("npm", install, { cwd: folder, env: plainEnv() })
  dist = path.join(folder, "node_modules/troupe/dist")
  for (const part of ["bin.js", "package.json", "commandLine"]) {
    fs.cpSync(path.join(dist, part), path.join(alone, part), { recursive: true })
  }
  fs.writeFileSync(path.join(folder, "runs.db"), "")
  fs.writeFileSync(path.join(folder, "agent.yaml"), "name: clerk\ninstructions: Do sums.\ntools: [add]\n")
}, 240_000)
afterAll(() => {
  for (const made of [folder, alone]) fs.rmSync(made, { recursive: true, force: true })
})

interface Said {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}
const node = (file: string, args: ReadonlyArray<string>): Promise<Said> =>
  new Promise((resolve) => {
    execFile(process.execPath, [file, ...args], { cwd: folder, env: plainEnv() }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })

const bundled = async (entry: string, out: string): Promise<void> => {
  const { default: webpack } = await import("webpack")
  const compiler = webpack({
    mode: "production",
    target: "node22",
    entry,
    experiments: { outputModule: true },
    output: { path: out, filename: "bundle.js", module: true, library: { type: "module" } }
  })
  const stats = await promisify(compiler.run.bind(compiler))()
  await promisify(compiler.close.bind(compiler))()
  expect(stats?.compilation.errors).toEqual([])
}

/** Commands, and what they say. */
const commands: ReadonlyArray<readonly [args: ReadonlyArray<string>, code: number, words: RegExp]> = [
  [[], 2, /SUBCOMMANDS|COMMANDS/i],
  [["--help"], 0, /worker/],
  [["--version"], 0, /\d+\.\d+\.\d+/],
  [["run", "--model", "demo", "What is 2 + 40?"], 0, /42/],
  [["run", "--model", "demo", "agent.yaml", "What is 2 + 40?"], 0, /42/],
  [["run", "Hello"], 2, /--model demo/],
  [["run", "--no-such-flag"], 2, /no-such-flag/],
  [["review", "agent.yaml"], 2, /is not Markdown/],
  [["review", "note.md"], 2, /npm install markdownlint/],
  [["runs", "list", "--database", "runs.db"], 0, /no runs/],
  [["trace", "--db", "none.db"], 2, /there is no database/]
]

it.for(commands)("says the same from its bundle, with no package next to it: %j", async ([args, code, words]) => {
  fs.writeFileSync(path.join(folder, "note.md"), "# A note\n\nIt has a sentence.\n")
  const [bundled, whole] = [
    await node(path.join(alone, "bin.js"), args),
    await node(path.join(dist, "cli/main.js"), args)
  ]
  expect(bundled.stdout + bundled.stderr).toMatch(words)
  expect(bundled.code, bundled.stderr).toBe(code)
  const untimed = ({ stderr, ...said }: Said) => ({ ...said, stderr: stderr.replace(/in \d+\.\d s/g, "in a moment") })
  expect(untimed(bundled)).toEqual(untimed(whole))
})

it("loads agents of a file with the effect that the file has", async () => {
  fs.writeFileSync(
    path.join(folder, "agent.js"),
    `import { Effect } from "effect"
     import { Agent, DemoModel, Runner } from "troupe"
     export default Runner.provide(Agent.make("clerk", {}), DemoModel.layer)`
  )
  const said = await node(path.join(dist, "bin.js"), ["run", "--agent", "agent.js", "What is 2 + 40?"])
  expect(said).toMatchObject({ code: 0, stdout: expect.stringContaining("42") })
})

it("serves where @effect/platform-node is not installed", async () => {
  expect(fs.existsSync(path.join(folder, "node_modules/@effect/platform-node"))).toBe(false)
  fs.writeFileSync(
    path.join(folder, "served.js"),
    `import { Effect } from "effect"
     import { Runner } from "troupe"
     export const echo = Runner.make("echo", { run: (text) => Effect.succeed("said " + text) })`
  )
  const child = spawn(process.execPath, [path.join(dist, "bin.js"), "serve", "--port", "0", "served.js"], {
    cwd: folder,
    env: plainEnv()
  })
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let said = ""
      const read = (chunk: Buffer) => {
        said += chunk.toString("utf8")
        const [address] = /http:\/\/[\d.:]+/.exec(said) ?? []
        if (address !== undefined) resolve(address)
      }
      child.stdout.on("data", read)
      child.stderr.on("data", read)
      child.on("error", reject)
      child.on("close", () => reject(new Error(said)))
    })
    const response = await fetch(`${url}/runners/echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: "hello" })
    })
    expect(await response.json()).toMatchObject({ output: "said hello" })
  } finally {
    child.kill("SIGKILL")
  }
}, 60_000)

it("holds the licenses of what is in its bundles", () => {
  const licenses = fs.readFileSync(path.join(dist, "LICENSES.txt"), "utf8")
  for (const name of ["effect", "@effect/platform-node", "@effect/platform-node-shared", "ws", "yaml"]) {
    expect(licenses).toMatch(new RegExp(`^${name} \\d+\\.`, "m"))
  }
})

it("is bundled by webpack", { timeout: 60_000 }, async () => {
  const entry = path.join(folder, "handler.js")
  const out = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-bundled-"))
  fs.writeFileSync(
    entry,
    `import { Agent, AgentServer, DemoModel } from "troupe"
     const desk = Agent.make("desk", {})
     const { handler } = AgentServer.toWebHandler({ runners: { desk } }, DemoModel.layer)
     const headers = { "content-type": "application/json" }
     const body = JSON.stringify({ input: "What is 2 + 40?" })
     const answer = await handler(new Request("http://localhost/runners/desk", { method: "POST", headers, body }))
     console.log((await answer.json()).output)
     process.exit(0)`
  )
  try {
    await bundled(entry, out)
    fs.writeFileSync(path.join(out, "package.json"), JSON.stringify({ type: "module" }))
    expect(await node(path.join(out, "bundle.js"), [])).toMatchObject({ code: 0, stdout: "2 + 40 = 42\n" })
  } finally {
    fs.rmSync(out, { recursive: true, force: true })
  }
})
