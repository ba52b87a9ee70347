/** `AgentServer.toWebHandler` where there is no Node: bundled for a browser, without anything of Node, and run by Bun and Deno. */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { build } from "esbuild"
import { afterAll, beforeAll, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../../..")
const program = `
  import * as Agent from "troupe/Agent"
  import * as AgentServer from "troupe/AgentServer"
  import * as DemoModel from "troupe/DemoModel"
  const runners = { desk: Agent.make("desk", {}) }
  const { handler, dispose } = AgentServer.toWebHandler({ runners }, DemoModel.layer)
  const headers = { "content-type": "application/json" }
  const body = JSON.stringify({ input: "What is 2 + 40?" })
  for (const path of ["/runners/desk", "/runners/desk/stream"]) {
    const response = await handler(new Request("http://localhost" + path, { method: "POST", headers, body }))
    console.log(response.status, JSON.stringify(await response.text()))
  }
  await dispose()
`

let folder = ""
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "troupe-server-"))
  await build({
    stdin: { contents: program, resolveDir: root, loader: "ts" },
    bundle: true,
    platform: "browser",
    format: "esm",
    conditions: ["troupe-source"],
    outfile: path.join(folder, "server.mjs"),
    logLevel: "silent"
  })
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
