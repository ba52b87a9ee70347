/**
 * `AgentServer.toWebHandler` where there is no Node: bundled for a browser, without anything of Node, and run by workerd, Bun and
 * Deno.
 */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { build } from "esbuild"
import { afterAll, beforeAll, expect, it } from "vitest"
import { freePort } from "../../support/mcpEverything.ts"

const root = path.resolve(import.meta.dirname, "../../..")
const server = `
  import * as Effect from "effect/Effect"
  import * as Agent from "troupe/Agent"
  import * as AgentServer from "troupe/AgentServer"
  import * as DemoModel from "troupe/DemoModel"
  import * as Runner from "troupe/Runner"
  let interrupted = () => {}
  const hungUp = new Promise((resolve) => { interrupted = resolve })
  const waiting = Runner.make("waiting", {
    run: () => Effect.onInterrupt(Effect.never, () => Effect.sync(interrupted))
  })
  const runners = { desk: Agent.make("desk", {}), waiting }
  const { handler, dispose } = AgentServer.toWebHandler({ runners }, DemoModel.layer)
`
const programs = {
  // A program that asks its own server, over a socket where the platform has one for such handlers, and hangs up once.
  server: `
    ${server}
    const listening = globalThis.Bun?.serve({ port: 0, hostname: "127.0.0.1", fetch: handler }) ??
      globalThis.Deno?.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handler)
    const port = listening?.port ?? listening?.addr?.port
    const ask = (path, input, signal) => {
      const headers = { "content-type": "application/json" }
      const request = new Request("http://localhost:" + (port ?? 80) + path, {
        method: "POST", headers, signal, body: JSON.stringify({ input })
      })
      return port === undefined ? handler(request) : fetch(request)
    }
    for (const path of ["/runners/desk", "/runners/desk/stream"]) {
      const response = await ask(path, "What is 2 + 40?")
      console.log(response.status, JSON.stringify(await response.text()))
    }
    const abort = new AbortController()
    const stream = (await ask("/runners/waiting/stream", "go", abort.signal)).body.getReader()
    await stream.read()
    abort.abort()
    await stream.cancel().catch(() => {})
    await hungUp
    console.log("interrupted")
    await dispose()
    await (listening?.stop?.(true) ?? listening?.shutdown?.())
  `,
  worker: `${server} export default { fetch: handler }`
}

let folder = ""
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "troupe-server-"))
  for (const [name, contents] of Object.entries(programs)) {
    await build({
      stdin: { contents, resolveDir: root, loader: "ts" },
      bundle: true,
      platform: "browser",
      format: "esm",
      conditions: ["troupe-source"],
      outfile: path.join(folder, `${name}.mjs`),
      logLevel: "silent"
    })
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

for (const [platform, args] of [
  ["bun", ["run"]],
  ["deno", ["run", "--allow-net=127.0.0.1,localhost"]],
  ["node", []]
] as const) {
  it(`runs in ${platform}`, async () => {
    const command = path.join(root, "node_modules/.bin", platform)
    const { stdout } = await promisify(execFile)(command, [...args, path.join(folder, "server.mjs")], {
      timeout: 50_000
    })
    const [whole, stream, ended] = stdout.trim().split("\n")
    expect(whole).toMatch(/^200 .*2 \+ 40 = 42/)
    expect(stream).toMatch(/^200 .*Completed/)
    expect(ended).toBe("interrupted")
  })
}

it("runs in workerd", { timeout: 60_000 }, async () => {
  const port = await freePort()
  writeFileSync(
    path.join(folder, "workerd.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [(name = "main", worker = .main)],
      sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
    );
    const main :Workerd.Worker = (
      modules = [(name = "worker", esModule = embed "worker.mjs")], compatibilityDate = "2026-01-01"
    );`
  )
  const binary = path.join(root, "node_modules/.bin/workerd")
  const worker = spawn(binary, ["serve", "--control-fd=3", "workerd.capnp"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit", "pipe"]
  })
  try {
    // It says there that it listens.
    await once(worker.stdio[3]!, "data")
    const ask = (at: string) =>
      fetch(`http://127.0.0.1:${port}${at}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ input: "What is 2 + 40?" })
      })
    const whole = await ask("/runners/desk")
    expect(await whole.json()).toMatchObject({ output: expect.stringContaining("2 + 40 = 42") })
    expect(await (await ask("/runners/desk/stream")).text()).toContain('"_tag":"Completed"')
    const card = await fetch(`http://127.0.0.1:${port}/.well-known/agent-card.json`)
    expect(await card.json()).toMatchObject({ skills: [{ name: "desk" }, { name: "waiting" }] })
  } finally {
    worker.kill("SIGKILL")
  }
})
