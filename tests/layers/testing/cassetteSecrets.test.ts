/** What the file of a cassette never holds, for any traffic over HTTP, and who may read and redirect it. */
import * as fs from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { Cassette } from "troupe"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const serving = (body: string, headers: Readonly<Record<string, string>>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<http.Server>((resume) => {
        const server = http.createServer((request, response) => {
          request.resume()
          response.writeHead(200, headers).end(body)
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  )

const send = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(HttpClient.execute(request), (response) => response.text)

const taped = (file: string, mode: "record" | "replay") =>
  Cassette.layerHttpClient.pipe(
    Layer.provide(Cassette.layer({ path: file, mode })),
    Layer.provide(FetchHttpClient.layer)
  )

describe("a cassette's file", () => {
  it.live("holds no value of a secret name, wherever the name stands", () =>
    Effect.gen(function* () {
      const url = yield* serving(JSON.stringify({ access_token: "SECRET2", refresh_token: "SECRET3" }), {
        "content-location": "/x?access_token=SECRET1",
        link: '<https://me:SECRETE@example.com/?sig=SECRETF>; rel="next"'
      })
      const post = (at: string) => HttpClientRequest.make("POST")(url + at)
      const form = post("/bot123:SECRET4/x?sig=SECRET5&code=SECRET6&pwd=SECRET7&pass=SECRET8").pipe(
        HttpClientRequest.setHeaders({ "x-pass": "SECRET9", "webhook-sig": "SECRETA" }),
        HttpClientRequest.bodyText("client_secret=SECRETB&q=plain", "application/x-www-form-urlencoded")
      )
      const key = "ghp_Aa11Bb22Cc33Dd44Ee55Ff66Gg77Hh88Ii99 AKIAIOSFODNN7EXAMPLE"
      const json = post("/").pipe(
        HttpClientRequest.bodyText(
          JSON.stringify({ password: "SECRETC", api_key: "SECRETD", prompt: key }),
          "application/json"
        )
      )
      const data = new FormData()
      data.set("password", "SECRETG")
      data.set("q", "plain words")
      const multipart = post("/form").pipe(HttpClientRequest.bodyFormData(data))
      const program = Effect.andThen(Effect.andThen(send(form), send(json)), send(multipart))
      const file = path.join(yield* scopedFolder, "a.json")
      yield* Effect.provide(program, taped(file, "record"))
      const text = fs.readFileSync(file, "utf8")
      assert.deepStrictEqual(text.match(/SECRET.|ghp_|AKIA/g), null)
      assert.include(text, "plain words")
      const replayed = yield* Effect.provide(program, taped(file, "replay"))
      assert.deepStrictEqual(JSON.parse(replayed), { access_token: "[redacted]", refresh_token: "[redacted]" })
    })
  )

  it.live("holds no token that an answer gave and a later request repeats", () =>
    Effect.gen(function* () {
      const token = "opaque-0123456789"
      const url = yield* serving(JSON.stringify({ access_token: token }), {})
      const again = (said: string) =>
        HttpClientRequest.make("POST")(`${url}/again`).pipe(HttpClientRequest.bodyText(`I have ${said}`, "text/plain"))
      const program = Effect.gen(function* () {
        const { access_token } = JSON.parse(yield* send(HttpClientRequest.make("GET")(`${url}/token`))) as {
          readonly access_token: string
        }
        return yield* send(again(access_token))
      })
      const file = path.join(yield* scopedFolder, "a.json")
      yield* Effect.provide(program, taped(file, "record"))
      assert.notInclude(fs.readFileSync(file, "utf8"), token)
      yield* Effect.provide(program, taped(file, "replay"))
    })
  )

  it.live("holds no secret of a body of bytes that an answer repeats", () =>
    Effect.gen(function* () {
      const url = yield* serving("I will remember opaque-0123456789", {})
      const body = new TextEncoder().encode(JSON.stringify({ password: "opaque-0123456789" }))
      const request = HttpClientRequest.make("POST")(url).pipe(
        HttpClientRequest.bodyUint8Array(body, "application/json")
      )
      const file = path.join(yield* scopedFolder, "a.json")
      yield* Effect.provide(send(request), taped(file, "record"))
      assert.notInclude(fs.readFileSync(file, "utf8"), "opaque-0123456789")
      assert.strictEqual(yield* Effect.provide(send(request), taped(file, "replay")), "I will remember [redacted]")
    })
  )

  it.live("can be read by its owner only, also where it was readable before", () =>
    Effect.gen(function* () {
      const url = yield* serving("hello", {})
      const file = path.join(yield* scopedFolder, "a.json")
      fs.writeFileSync(file, "{}", { mode: 0o644 })
      yield* Effect.provide(send(HttpClientRequest.make("GET")(url)), taped(file, "record"))
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
    })
  )

  it.live("is written through no link that stands in the way of its temporary file", () =>
    Effect.gen(function* () {
      const url = yield* serving("hello", {})
      const folder = yield* scopedFolder
      const file = path.join(folder, "a.json")
      const victim = path.join(folder, "victim")
      fs.writeFileSync(victim, "mine")
      fs.symlinkSync(victim, `${file}.${process.pid}.tmp`)
      yield* Effect.provide(send(HttpClientRequest.make("GET")(url)), taped(file, "record"))
      assert.strictEqual(fs.readFileSync(victim, "utf8"), "mine")
      assert.include(fs.readFileSync(file, "utf8"), "hello")
    })
  )
})
