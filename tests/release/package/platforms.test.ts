/** An agent on `OpenAi.layer` runs where there is no Node: in a bundle for browsers, in workerd, in Bun and in Deno. */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, it } from "vitest"
import { freePort } from "../../support/mcpEverything.ts"
import { serve, text, toolCalls } from "../../support/openAiServer.ts"

const root = path.resolve(import.meta.dirname, "../../..")
/** A tool round, a stream, and a request that is interrupted. */
const program = `
  import * as Effect from "effect/Effect"
  import * as Redacted from "effect/Redacted"
  import * as Schema from "effect/Schema"
  import * as Stream from "effect/Stream"
  import * as Agent from "troupe/Agent"
  import * as AgentTool from "troupe/AgentTool"
  import * as OpenAi from "troupe/OpenAi"
  import * as Parallel from "troupe/Parallel"

  const add = AgentTool.fromFunction("add", {
    description: "Adds two numbers",
    parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
    execute: ({ a, b }) => a + b
  })
  const agent = (name) => Agent.make(name, { tools: [add] })
  const both = Parallel.make("both", [agent("one"), agent("two")])

  export const main = (baseUrl) => {
    const model = OpenAi.layer({ model: "m", baseUrl, apiKey: Redacted.make("k") })
    const program = Effect.gen(function* () {
      const events = yield* Stream.runCollect(agent("streamed").stream("Add 1 and 2"))
      const texts = events.flatMap((event) => (event._tag === "TextDelta" ? [event.delta] : []))
      const late = yield* Effect.option(Effect.timeout(agent("late").run("hang"), "300 millis"))
      return { both: yield* both.run("Add 1 and 2"), streamed: texts.join(""), late: late._tag }
    })
    return Effect.runPromise(program.pipe(Effect.provide(model), Effect.map(JSON.stringify)))
  }
`
const expected = JSON.stringify({
  both: ["1 and 2 make 3", "1 and 2 make 3"],
  streamed: "1 and 2 make 3",
  late: "None"
})
const onCommandLine = `import { main } from "./main.js"\nconsole.log(await main(process.argv.at(-1)))`
const onFetch = `
  import * as Effect from "effect/Effect"
  import * as CodeMode from "troupe/CodeMode"
  import { main } from "./main.js"
  import wasm from "./quickjs.wasm"
  const answerTo = (url) =>
    url.pathname === "/program"
      ? Effect.runPromise(
          Effect.gen(function*() {
            const endless = yield* Effect.flip(CodeMode.run("for (;;) {}", [], { turnTimeout: "50 millis" }))
            return (yield* CodeMode.run("return 6 * 7", [])) + " " + endless.reason
          }).pipe(Effect.provide(CodeMode.layerQuickJsInline({ wasm })))
        )
      : main(url.searchParams.get("base"))
  export default {
    fetch: (request) =>
      answerTo(new URL(request.url)).then(
        (answer) => new Response(answer),
        (error) => new Response(JSON.stringify(error, null, 1) + String(error.message), { status: 500 })
      )
  }
`

let directory: string
let server: Awaited<ReturnType<typeof serve>>
const file = (name: string) => path.join(directory, name)
beforeAll(async () => {
  directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-platforms-")))
  for (const [name, content] of Object.entries({
    "main.js": program,
    "cli.js": onCommandLine,
    "fetch.js": onFetch,
    "package.json": JSON.stringify({ private: true, type: "module" })
  }))
    fs.writeFileSync(file(name), content)
  fs.mkdirSync(file("node_modules"))
  for (const name of fs.readdirSync(path.join(root, "node_modules")))
    if (!name.startsWith(".")) fs.symlinkSync(path.join(root, "node_modules", name), file(`node_modules/${name}`))
  fs.symlinkSync(root, file("node_modules/troupe"))
  server = await serve(({ body }) => {
    const messages = body["messages"] as ReadonlyArray<{ readonly role: string; readonly content: unknown }>
    const last = messages.at(-1)!
    if (JSON.stringify(last).includes("hang")) return { hang: true }
    if (last.role === "tool") return text(`1 and 2 make ${last.content}`)
    return toolCalls([{ name: "add", args: { a: 1, b: 2 } }])
  })
})
afterAll(() => {
  server.close()
  fs.rmSync(directory, { recursive: true, force: true })
})

/** One file for a platform without Node, in which nothing of Node may be imported. */
const bundled = async (entry: string): Promise<string> => {
  const { build } = await import("esbuild")
  const outfile = file(`bundle-${entry}`)
  await build({
    entryPoints: [file(entry)],
    outfile,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    conditions: ["troupe-source"],
    external: ["./quickjs.wasm"],
    logLevel: "silent"
  })
  return outfile
}
const run = async (command: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const binary = path.join(root, "node_modules/.bin", command)
  const { stdout } = await promisify(execFile)(binary, args, { cwd: directory, timeout: 30_000 })
  return stdout.trim()
}
/** The answer of the program, and that its late request was aborted. */
const holds = (answer: string): void => {
  assert.strictEqual(answer, expected)
  const late = server.seen.filter(({ body }) => JSON.stringify(body).includes("hang"))
  assert.isAbove(late.length, 0)
  assert.isTrue(late.every(({ aborted }) => aborted))
}

it("in workerd, from a bundle for browsers", { timeout: 60_000 }, async () => {
  const script = path.basename(await bundled("fetch.js"))
  fs.copyFileSync(path.join(root, "node_modules/quickjs-wasi/quickjs.wasm"), file("quickjs.wasm"))
  const port = await freePort()
  fs.writeFileSync(
    file("workerd.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [(name = "main", worker = .main), (name = "internet", network = (allow = ["private", "public"]))],
      sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
    );
    const main :Workerd.Worker = (
      modules = [(name = "worker", esModule = embed "${script}"), (name = "quickjs.wasm", wasm = embed "quickjs.wasm")],
      compatibilityDate = "2026-01-01"
    );`
  )
  const worker: ChildProcess = spawn(
    path.join(root, "node_modules/.bin/workerd"),
    ["serve", "--control-fd=3", "workerd.capnp"],
    { cwd: directory, stdio: ["ignore", "inherit", "inherit", "pipe"] }
  )
  try {
    // It says there that it listens.
    await once(worker.stdio[3]!, "data")
    const answer = await fetch(`http://127.0.0.1:${port}/?base=${encodeURIComponent(server.url)}`)
    holds(await answer.text())
    const program = await fetch(`http://127.0.0.1:${port}/program`)
    assert.strictEqual(await program.text(), "42 Time")
  } finally {
    worker.kill("SIGKILL")
  }
})

it("in Bun, from the package and from a bundle for browsers", { timeout: 60_000 }, async () => {
  holds(await run("bun", "--conditions=troupe-source", "cli.js", server.url))
  holds(await run("bun", await bundled("cli.js"), server.url))
})

it("in Deno, from the package and from a bundle for browsers", { timeout: 60_000 }, async () => {
  const allowed = ["run", "--no-prompt", "--allow-net", "--allow-env", "--allow-read", "--allow-sys"]
  holds(await run("deno", ...allowed, "--node-modules-dir=manual", "--conditions=troupe-source", "cli.js", server.url))
  holds(await run("deno", ...allowed, await bundled("cli.js"), server.url))
})
