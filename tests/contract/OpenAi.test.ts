import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { Effect, Layer, Redacted } from "effect"
import OpenAI from "openai"
import { Cassette, OpenAi } from "troupe"
import * as Undici from "troupe/Undici"
import { afterAll } from "vitest"
import * as Server from "../support/openAiServer.ts"
import { suite } from "./model.ts"
import { type Request, respond, text } from "./responder.ts"

type Body = Server.Seen["body"]

const choiceOf = (choice: any): Request["choice"] => {
  if (choice === undefined) return "auto"
  if (typeof choice === "string") return choice === "required" ? { force: undefined } : (choice as "auto" | "none")
  return { force: choice.function?.name ?? choice.name }
}

const saidIn = (content: any): string =>
  typeof content === "string" ? content : content.map((part: { readonly text?: string }) => part.text ?? "").join("")

const json = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const read: Record<"chat" | "responses", (body: Body) => Request> = {
  chat: (body) => {
    const last = body["messages"].at(-1)
    return {
      said: saidIn(body["messages"].findLast((message: any) => message.role === "user").content),
      result: last.role === "tool" ? { value: json(last.content) } : undefined,
      tools: (body["tools"] ?? []).map((tool: any) => tool.function.name),
      choice: choiceOf(body["tool_choice"]),
      json: body["response_format"]?.type === "json_schema"
    }
  },
  responses: (body) => {
    const last = body["input"].at(-1)
    return {
      said: saidIn(body["input"].findLast((item: any) => item.role === "user").content),
      result: last.type === "function_call_output" ? { value: json(last.output) } : undefined,
      tools: (body["tools"] ?? []).map((tool: any) => tool.name),
      choice: choiceOf(body["tool_choice"]),
      json: body["text"]?.format?.type === "json_schema"
    }
  }
}

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
  const reply = ({ body }: Server.Seen): Server.Reply => {
    const answer = respond(read[api](body))
    // Pieces end in the middle of events, and of characters.
    return "text" in answer
      ? Server.text(answer.text, { split: 97 })
      : Server.toolCalls([{ name: answer.name, args: answer.params }], { split: 97 })
  }
  for (const [name, layerOf] of Object.entries(ways)) {
    const on = (script: Server.Script) =>
      Effect.map(Server.make(script), (server) => ({ server, layer: layerOf(server.url, api) }))
    suite(`OpenAi by ${api} and ${name}`, () => Effect.map(on(reply), ({ layer }) => layer), {
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
