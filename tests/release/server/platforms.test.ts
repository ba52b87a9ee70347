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
  import * as Agent from "troupe/Agent"
  import * as AgentServer from "troupe/AgentServer"
  import * as DemoModel from "troupe/DemoModel"
  const runners = { desk: Agent.make("desk", {}) }
  const { handler, dispose } = AgentServer.toWebHandler({ runners }, DemoModel.layer)
`
const programs = {
  // A program that asks its own server.
  server: `
    ${server}
    const headers = { "content-type": "application/json" }
    const body = JSON.stringify({ input: "What is 2 + 40?" })
    for (const path of ["/runners/desk", "/runners/desk/stream"]) {
      const response = await handler(new Request("http://localhost" + path, { method: "POST", headers, body }))
      console.log(response.status, JSON.stringify(await response.text()))
    }
    await dispose()
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
  ["deno", ["run"]],
  ["node", []]
] as const) {
  it(`runs in ${platform}`, async () => {
    const command = path.join(root, "node_modules/.bin", platform)
    const { stdout } = await promisify(execFile)(command, [...args, path.join(folder, "server.mjs")], {
      timeout: 50_000
    })
    const [whole, stream] = stdout.trim().split("\n")
    expect(whole).toMatch(/^200 .*2 \+ 40 = 42/)
    expect(stream).toMatch(/^200 .*Completed/)
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
    expect(await card.json()).toMatchObject({ skills: [{ name: "desk" }] })
  } finally {
    worker.kill("SIGKILL")
  }
})
