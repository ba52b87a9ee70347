/** What a program does to its own process, and what of it holds for the thread of the sync edge. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { promisify } from "node:util"
import { Effect, Layer } from "effect"
import { HttpClient } from "effect/http"
import * as Agent from "troupe/Agent"
import * as Cassette from "troupe/Cassette"
import * as OpenAi from "troupe/OpenAi"
import * as SyncEdge from "troupe/SyncEdge"
import { assert, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../../..")
const tls = path.join(root, "tests/support/tls")
/** Runs a script in a Node of its own. */
const inNode = (script: string, ...flags: ReadonlyArray<string>) =>
  promisify(execFile)(process.execPath, [...flags, "--conditions=troupe-source", "--input-type=module", "-e", script], {
    cwd: root,
    timeout: 60_000
  })

const get = (url: string) => `
  import * as tls from "node:tls"
  import { Effect, Layer } from "effect"
  import { HttpClient } from "effect/http"
  import { Agent, OpenAi, SyncEdge } from "troupe"
  const program = Effect.flatMap(HttpClient.get(${JSON.stringify(url)}), (response) => response.text).pipe(
    Effect.provide(Layer.provideMerge(SyncEdge.layerHttpClient, SyncEdge.layer))
  )
  const show = (exit) => console.log(exit._tag === "Success" ? exit.value : String(exit.cause))
`

it("a stub answers the requests of a model on both edges", async () => {
  const seen: Array<string> = []
  const Stub = Cassette.layerStub(({ body, method, url }) => {
    seen.push(`${method} ${new URL(url).pathname} ${(JSON.parse(body) as { model: string }).model}`)
    return { body: { choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }] } }
  })
  const Model = OpenAi.layer({ model: "m", api: "chat", baseUrl: "http://127.0.0.1:9/v1" }).pipe(Layer.provide(Stub))
  const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(Model))
  assert.strictEqual(Effect.runSync(Effect.provide(program, SyncEdge.layer)), "Hi")
  assert.strictEqual(await Effect.runPromise(program), "Hi")
  assert.deepStrictEqual(seen, ["POST /v1/chat/completions m", "POST /v1/chat/completions m"])
})

it("a stub answers an HttpClient, with status, headers and chunks", async () => {
  const Stub = Cassette.layerHttpClient.pipe(
    Layer.provide(Cassette.layerStub(() => ({ status: 201, headers: { "X-A": "b" }, body: ["one ", "two"] }))),
    Layer.provide(SyncEdge.layerHttpClient)
  )
  const program = Effect.gen(function* () {
    const response = yield* HttpClient.get("http://127.0.0.1:9/")
    return [response.status, response.headers["x-a"], yield* response.text]
  }).pipe(Effect.provide(Stub))
  assert.deepStrictEqual(Effect.runSync(Effect.provide(program, SyncEdge.layer)), [201, "b", "one two"])
  assert.deepStrictEqual(await Effect.runPromise(program), [201, "b", "one two"])
})

it.each([
  ["globalThis.fetch", `globalThis.fetch = async () => new Response("stub")`],
  ["the global dispatcher", `globalThis[Symbol.for("undici.globalDispatcher.1")] = new (class MockAgent {})()`],
  [
    "the dispatcher of the package undici",
    `const undici = await import("undici"); undici.setGlobalDispatcher(new undici.MockAgent())`
  ]
])("a program that has replaced %s is warned", async (_, replace) => {
  const script = `${get("http://127.0.0.1:9/")}\n${replace}\nshow(Effect.runSyncExit(program)); show(Effect.runSyncExit(program))`
  const { stderr } = await inNode(script)
  assert.strictEqual(stderr.match(/TROUPE_REPLACED_FETCH/g)?.length, 1)
  assert.include(stderr, "Cassette.layerStub")
})

it.each([
  ["nothing", ""],
  ["nothing, but loaded the package undici, which sets a dispatcher of its own", `await import("undici")`]
])("a program that has replaced %s is not warned", async (_, load) => {
  const { stderr } = await inNode(`${get("http://127.0.0.1:9/")}\n${load}\nshow(Effect.runSyncExit(program))`)
  assert.strictEqual(stderr, "")
})

it("certificate authorities that the program has set hold for the thread", async () => {
  const read = (name: string) => fs.readFileSync(path.join(tls, name), "utf8")
  const server = createServer({ cert: read("cert.pem"), key: read("key.pem") }, (_, response) => response.end("secure"))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  try {
    const script = get(`https://localhost:${(server.address() as AddressInfo).port}/`)
    const trust = `tls.setDefaultCACertificates([${JSON.stringify(read("cert.pem"))}])`
    assert.include((await inNode(`${script}\nshow(Effect.runSyncExit(program))`)).stdout, "self-signed certificate")
    assert.strictEqual((await inNode(`${script}\n${trust}\nshow(Effect.runSyncExit(program))`)).stdout, "secure\n")
  } finally {
    server.close()
  }
})

it("a process that may not start threads fails with a typed error that names the flag", async () => {
  const script = `${get("http://127.0.0.1:9/")}
    const agent = Agent.make("a", {}).run("x").pipe(
      Effect.provide(OpenAi.layer({ model: "m", baseUrl: "http://127.0.0.1:9/v1" })), Effect.provide(SyncEdge.layer), Effect.flip)
    const error = Effect.runSync(agent)
    console.log(error._tag, error.message)`
  const { stdout } = await inNode(script, "--permission", "--allow-fs-read=*")
  assert.match(stdout, /^ThreadsForbidden .*--allow-worker/)
})
