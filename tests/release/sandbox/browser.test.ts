/** Where there is no Node: an agent edits files, runs commands and writes programs in a page of Chromium. */
import * as fs from "node:fs"
import * as http from "node:http"
import { createRequire } from "node:module"
import * as os from "node:os"
import * as path from "node:path"
import { build } from "esbuild"
import { assert, it } from "vitest"
import { launch } from "../../support/chromium.ts"

const wasm = fs.readFileSync(createRequire(import.meta.url).resolve("quickjs-wasi/quickjs.wasm"))

const program = `
  import { Effect, Exit, Layer, Schema } from "effect"
  import * as Agent from "troupe/Agent"
  import * as AgentTool from "troupe/AgentTool"
  import * as Approvals from "troupe/Approvals"
  import * as CodeMode from "troupe/CodeMode"
  import * as FileTools from "troupe/FileTools"
  import * as Runner from "troupe/Runner"
  import * as Sandbox from "troupe/Sandbox"
  import * as ShellTools from "troupe/ShellTools"
  import * as TestModel from "troupe/TestModel"
  import * as Workspace from "troupe/Workspace"

  const Memory = Sandbox.layerMemory({
    files: { "/sum.ts": "export const sum = (a, b) => a - b" },
    commands: {
      test: (_, { files }) =>
        Effect.map(files.readFileString("/sum.ts"), (text) => text.includes("a + b") ? "passed" : { stdout: "failed", exitCode: 1 })
    }
  })
  const coder = Agent.make("coder", { use: [FileTools.feature({ write: true }), ShellTools.feature({ allow: ["test"] })] })
  const edits = TestModel.layer([
    TestModel.toolCall("run_command", { command: "test" }),
    TestModel.toolCall("edit_file", { path: "sum.ts", find: "a - b", replace: "a + b" }),
    TestModel.toolCall("run_command", { command: "test" }),
    "It passes."
  ])
  const coding = Effect.gen(function*() {
    const before = yield* Workspace.snapshot
    const { output, steps } = yield* coder.result("Fix the test")
    const changes = yield* Workspace.diff(before)
    return { output, changes: changes.map(({ path, change }) => [path, change]) }
  }).pipe(Effect.provide([edits, Memory]))

  const pay = AgentTool.fromFunction("pay", {
    description: "Pays",
    parameters: Schema.Struct({ n: Schema.Finite }),
    needsApproval: true,
    execute: ({ n }) => n * 10
  })
  const clerk = Agent.make("clerk", { use: [CodeMode.feature([pay])] })
  const programs = TestModel.layer(({ prompt }) => {
    const last = prompt.content.at(-1)
    if (last.role === "tool") return JSON.stringify(last.content[0].result)
    return TestModel.toolCall("run_program", { program: "return await Promise.all([1, 2].map((n) => tools.pay({ n })))" })
  })
  const paying = (wasm) => Effect.gen(function*() {
    const { transcript, waitingFor } = yield* Effect.flip(clerk.run("Pay"))
    const answers = Object.fromEntries(waitingFor.map(({ id }) => [id, Approvals.approve]))
    const endless = yield* Effect.flip(CodeMode.run("for (;;) {}", [], { turnTimeout: "50 millis" }))
    return { paid: yield* clerk.run(Runner.answer(transcript, answers)), endless: endless.reason }
  }).pipe(Effect.provide([programs, CodeMode.layerQuickJsInline({ wasm })]))

  const refusal = (layer) => Effect.map(Effect.flip(Effect.scoped(Layer.build(layer))), ({ _tag, remedy }) => _tag + ": " + remedy)
  const refused = Effect.all([
    refusal(Sandbox.layerLocal({ root: "." })),
    refusal(FileTools.layer({ root: "." })),
    refusal(ShellTools.layer({ cwd: ".", allow: ["ls"] })),
    refusal(CodeMode.layerQuickJs)
  ])
  globalThis.main = async () => {
    const wasm = await (await fetch("/quickjs.wasm")).arrayBuffer()
    return Effect.runPromise(Effect.all({ coding, paying: paying(wasm), refused }))
  }
`

const root = path.resolve(import.meta.dirname, "../../..")
const bundled = async (): Promise<string> => {
  const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-browser-")))
  try {
    fs.mkdirSync(path.join(directory, "node_modules"))
    for (const name of ["effect", "quickjs-wasi"])
      fs.symlinkSync(path.join(root, "node_modules", name), path.join(directory, "node_modules", name))
    fs.symlinkSync(root, path.join(directory, "node_modules/troupe"))
    fs.writeFileSync(path.join(directory, "main.js"), program)
    const { outputFiles } = await build({
      entryPoints: [path.join(directory, "main.js")],
      bundle: true,
      write: false,
      format: "iife",
      platform: "browser",
      conditions: ["troupe-source"],
      logLevel: "silent"
    })
    return outputFiles[0]!.text
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

it("a page has files and commands in memory, and programs that wait", { timeout: 60_000 }, async () => {
  const files = new Map<string, readonly [type: string, body: string | Uint8Array]>([
    ["/", ["text/html", `<!doctype html><script src="/main.js"></script>`]],
    ["/main.js", ["text/javascript", await bundled()]],
    ["/quickjs.wasm", ["application/wasm", wasm]]
  ])
  const server = http.createServer(({ url = "" }, response) => {
    const found = files.get(url)
    if (found === undefined) response.writeHead(404).end()
    // WebAssembly is all that the engine needs beyond a strict policy.
    else response.writeHead(200, { "content-type": found[0], ...policy }).end(found[1])
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as { readonly port: number }
  const browser = await launch()
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${port}/`)
    assert.deepStrictEqual(await page.evaluate("main()"), {
      coding: { output: "It passes.", changes: [["sum.ts", "modified"]] },
      paying: { paid: '{"result":[10,20]}', endless: "Time" },
      refused: [
        "InvalidDefinition: Use Sandbox.layerMemory, or Sandbox.layerAiSdk with a hosted sandbox",
        "InvalidDefinition: Use FileTools.feature() with Sandbox.layerMemory",
        "InvalidDefinition: Use ShellTools.feature() with Sandbox.layerMemory",
        "CodeEngineError: Use CodeMode.layerQuickJsInline"
      ]
    })
  } finally {
    await browser.close()
    server.close()
    server.closeAllConnections()
  }
})

const policy = { "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" }
