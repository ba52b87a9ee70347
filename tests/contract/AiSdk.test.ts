import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { type ChatCompletionRequest, LLMock } from "@copilotkit/aimock"
import { Effect } from "effect"
import { AiSdk } from "troupe"
import { claudeBegins } from "../support/vendorAnswers.ts"
import { suite } from "./model.ts"
import { type Request, respond } from "./responder.ts"

const textOf = (content: ChatCompletionRequest["messages"][number]["content"] | undefined): string =>
  typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("")

const json = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** aimock reads each wire into the form of Chat Completions. */
const read = (request: ChatCompletionRequest): Request => {
  const last = request.messages.at(-1)
  const { choice, json: isJson } = notesIn(request.model)
  return {
    said: textOf(request.messages.findLast(({ role }) => role === "user")?.content),
    result: last?.role === "tool" ? { value: json(textOf(last.content)) } : undefined,
    tools: (request.tools ?? []).map((tool) => tool.function.name),
    choice:
      choice === "any" ? { force: undefined } : choice === "auto" || choice === "none" ? choice : { force: choice },
    json: isJson === "json"
  }
}

/** It leaves out which tool is to be called and the format of the answer: they travel in the name of the model. */
const noted = (body: any): string => {
  const { output_config: output, tool_choice: choice, toolConfig: config, generationConfig: google } = body
  const calling = config?.functionCallingConfig
  const name = calling?.allowedFunctionNames?.[0] ?? choice?.name ?? choice?.function?.name
  const mode = String(calling?.mode ?? choice?.type ?? choice ?? "auto").toLowerCase()
  const isJson = (output?.format ?? google?.responseMimeType ?? body.response_format) !== undefined
  return `--${name ?? (mode === "required" ? "any" : mode)}--${isJson ? "json" : "text"}`
}

const notesIn = (model: string) => {
  const [, choice = "auto", json = "text"] = model.split("--")
  return { choice, json }
}

const noting: typeof fetch = (input, init) => {
  const body = JSON.parse(String(init?.body))
  const url = String(input).replace(/(models\/[\w.-]+):/, `$1${noted(body)}:`)
  return fetch(url, {
    ...init,
    body: JSON.stringify({ ...body, ...(body.model && { model: body.model + noted(body) }) })
  })
}

const mock = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = new LLMock({ port: 0 })
    server.addFixture({
      match: { predicate: () => true },
      response: (request) => {
        const answer = respond(read(request))
        return "text" in answer
          ? { content: answer.text }
          : { toolCalls: [{ name: answer.name, arguments: JSON.stringify(answer.params) }] }
      }
    })
    await server.start()
    return server
  }),
  (server) => Effect.promise(() => server.stop())
)

/** The models of real packages, each on the wire of its provider. */
const models = {
  Anthropic: (url: string) =>
    createAnthropic({ apiKey: "k", baseURL: `${url}/v1`, fetch: noting })("claude-sonnet-4-5"),
  Google: (url: string) =>
    createGoogle({ apiKey: "k", baseURL: `${url}/v1beta`, fetch: noting })("gemini-3-pro-preview"),
  "a compatible server": (url: string) =>
    createOpenAICompatible({
      name: "local",
      apiKey: "k",
      baseURL: `${url}/v1`,
      fetch: noting,
      includeUsage: true,
      supportsStructuredOutputs: true
    })("m")
}

/** The first words of a streamed answer on each wire. */
const begun: Readonly<Record<keyof typeof models, ReadonlyArray<object>>> = {
  Anthropic: claudeBegins("The "),
  Google: [{ candidates: [{ content: { role: "model", parts: [{ text: "The " }] } }] }],
  "a compatible server": [{ choices: [{ index: 0, delta: { role: "assistant", content: "The " } }] }]
}

/** A server that never ends an answer. */
const endless = (events: ReadonlyArray<object>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      let running = 0
      const server = createServer((request, response) => {
        let body = ""
        request.on("data", (chunk) => (body += chunk))
        request.on("end", () => {
          running++
          response.on("close", () => running--)
          if (!/stream/i.test(`${request.url} ${body}`)) return
          response.writeHead(200, { "content-type": "text/event-stream" })
          for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`)
        })
      })
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
      const { port } = server.address() as AddressInfo
      return { server, url: `http://127.0.0.1:${port}`, running: Effect.sync(() => running) }
    }),
    ({ server }) =>
      Effect.promise(() => {
        server.closeAllConnections()
        return new Promise<void>((done) => server.close(() => done()))
      })
  )

for (const [name, modelAt] of Object.entries(models) as ReadonlyArray<
  [keyof typeof models, (typeof models)["Google"]]
>) {
  const layerAt = (url: string) => AiSdk.layer(modelAt(url), { retry: "none" })
  suite(`AiSdk by ${name}`, () => Effect.map(mock, (server) => layerAt(server.url)), {
    readsTheRequest: true,
    endless: Effect.map(endless(begun[name]), ({ running, url }) => ({ layer: layerAt(url), running }))
  })
}
