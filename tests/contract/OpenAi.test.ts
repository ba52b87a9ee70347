import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { Effect, Layer, Redacted } from "effect"
import OpenAI from "openai"
import { Cassette, OpenAi } from "troupe"
import * as Undici from "troupe/Undici"
import { afterAll } from "vitest"
import * as Server from "../support/openAiServer.ts"
import { suite } from "./model.ts"
import { replyBy } from "./openAiResponder.ts"
import { text } from "./responder.ts"

const options = (api: "chat" | "responses") => ({ model: "m", api, retry: "none" }) as const

/** What carries the requests: the contract is the same by each. */
const ways = {
  "its default": (url: string, api: "chat" | "responses") =>
    OpenAi.layer({ ...options(api), baseUrl: url, apiKey: Redacted.make("k") }),
  undici: (url: string, api: "chat" | "responses") =>
    OpenAi.layer({ ...options(api), baseUrl: url, apiKey: Redacted.make("k"), transport: Undici.transport }),
  fetch: (url: string, api: "chat" | "responses") =>
    OpenAi.layer({ ...options(api), baseUrl: url, apiKey: Redacted.make("k"), transport: fetch }),
  "a client": (url: string, api: "chat" | "responses") =>
    OpenAi.layerClient(new OpenAI({ baseURL: url, apiKey: "k" }), options(api)),
  "a recording": (url: string, api: "chat" | "responses") =>
    OpenAi.layer({ ...options(api), baseUrl: url, apiKey: Redacted.make("k") }).pipe(
      Layer.provide(Cassette.layer({ path: `${scratch}/${count++}.json`, mode: "record" }))
    )
}
const scratch = mkdtempSync(`${tmpdir()}/troupe-contract-`)
let count = 0
afterAll(() => rmSync(scratch, { recursive: true }))

for (const api of ["chat", "responses"] as const) {
  for (const [name, layerOf] of Object.entries(ways)) {
    const on = (script: Server.Script) =>
      Effect.map(Server.make(script), (server) => ({ server, layer: layerOf(server.url, api) }))
    suite(`OpenAi by ${api} and ${name}`, () => Effect.map(on(replyBy(api)), ({ layer }) => layer), {
      readsTheRequest: true,
      endless: Effect.map(
        on(({ body }) => (body["stream"] === true ? Server.text(text, { hangAfter: 6 }) : { hang: true })),
        ({ layer, server }) => ({
          layer,
          running: Effect.sync(() => server.requests.length - server.aborted())
        })
      )
    })
  }
}
