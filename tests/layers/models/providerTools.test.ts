/** Tools that a model's provider runs itself, and the search that any model may have. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Redacted, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, AgentTool, AiSdk, Cassette, DemoModel, Fallback, OpenAi, TestModel, WebSearch } from "troupe"
import { collect } from "../../support/grammar.ts"
import { json, serve } from "../../support/wire.ts"

const cited = {
  type: "message",
  id: "msg_1",
  role: "assistant",
  content: [
    {
      type: "output_text",
      text: "Found.",
      annotations: [{ type: "url_citation", url: "https://effect.website", title: "Effect" }]
    }
  ]
}
const items = [
  {
    type: "web_search_call",
    id: "ws_1",
    status: "completed",
    action: { type: "search", query: "effect", sources: [{ type: "url", url: "https://effect.website" }] }
  },
  { type: "file_search_call", id: "fs_1", status: "completed", queries: ["q"], results: [{ file_id: "f", text: "t" }] },
  { type: "code_interpreter_call", id: "ci_1", status: "failed", code: "1/0", container_id: "c", outputs: null },
  { type: "image_generation_call", id: "ig_1", status: "completed", revised_prompt: "a cat", result: "iVBORw0KGgo=" },
  cited
]

/** OpenAI's own host, by a function. */
const openAi = (options: Partial<OpenAi.Options> = {}, output: ReadonlyArray<object> = items) => {
  const response = { id: "resp_1", model: "gpt-5", status: "completed", output, usage: {} }
  const bodies: Array<any> = []
  const transport = (_url: string, init: { readonly body?: unknown }) => {
    const body = JSON.parse(String(init.body))
    bodies.push(body)
    if (body.stream !== true) return Promise.resolve(Response.json(response))
    const events = [
      ...output.flatMap((item, index) => [
        { type: "response.output_item.added", output_index: index, item: { ...item, status: "in_progress" } },
        { type: "response.output_item.done", output_index: index, item }
      ]),
      { type: "response.completed", response }
    ]
    const text = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")
    return Promise.resolve(new Response(text, { headers: { "content-type": "text/event-stream" } }))
  }
  return { bodies, layer: OpenAi.layer({ model: "gpt-5", apiKey: Redacted.make("k"), transport, ...options }) }
}

const finder = Agent.make("finder", {
  tools: [
    OpenAi.tools.webSearch({ allowedDomains: ["effect.website"], contextSize: "low", location: { country: "DE" } }),
    OpenAi.tools.fileSearch({ vectorStoreIds: ["vs_1"], maxResults: 3 }),
    OpenAi.tools.codeInterpreter({ fileIds: ["f_1"] }),
    OpenAi.tools.imageGeneration({ size: "1024x1024", format: "webp" })
  ]
})

const parameter = (error: unknown): string =>
  (error as { readonly reason: { readonly reason: { readonly parameter: string } } }).reason.reason.parameter

describe("OpenAi.tools", () => {
  for (const streams of [false, true]) {
    it.live(
      `are run by OpenAI: calls, results, files and sources ${streams ? "as they stream" : "of a whole answer"}`,
      () =>
        Effect.gen(function* () {
          const { bodies, layer } = openAi()
          const run = Effect.gen(function* () {
            if (!streams) return [[], (yield* finder.result("Look")).transcript] as const
            const { events } = yield* collect(finder, "Look")
            const last = events.at(-1)!
            return [events, last._tag === "RunCompleted" ? last.transcript! : assert.fail()] as const
          })
          const [events, transcript] = yield* Effect.provide(run, layer)
          const [web, files, code, images] = bodies[0].tools
          assert.deepStrictEqual(web, {
            type: "web_search",
            filters: { allowed_domains: ["effect.website"] },
            search_context_size: "low",
            user_location: { type: "approximate", country: "DE" }
          })
          assert.deepStrictEqual(files, { type: "file_search", vector_store_ids: ["vs_1"], max_num_results: 3 })
          assert.deepStrictEqual(code, { type: "code_interpreter", container: { type: "auto", file_ids: ["f_1"] } })
          assert.deepStrictEqual(images, { type: "image_generation", size: "1024x1024", output_format: "webp" })
          assert.includeMembers(bodies[0].include, ["web_search_call.action.sources", "file_search_call.results"])

          const said: ReadonlyArray<any> = transcript.content.at(-1)!.content as ReadonlyArray<any>
          const types = said.map(({ type }) => type)
          assert.strictEqual(types.filter((type) => type === "tool-call").length, 4)
          assert.strictEqual(types.filter((type) => type === "tool-result").length, 4)
          assert.include(types, "file")
          const search = said.find(({ type }) => type === "tool-result")
          assert.deepInclude(search, { name: "web_search", providerExecuted: true, isFailure: false })
          assert.deepStrictEqual(search.result.sources, [{ type: "url", url: "https://effect.website" }])
          if (!streams) return
          const of = events.flatMap((event) =>
            "providerExecuted" in event && event._tag !== "ToolCalled" ? [`${event._tag} ${event.tool}`] : []
          )
          assert.deepStrictEqual(of, [
            "ToolCompleted web_search",
            "ToolCompleted file_search",
            "ToolFailed code_interpreter",
            "ToolCompleted image_generation"
          ])
          const asked = events.find((event) => event._tag === "ToolCalled")
          assert.deepInclude(asked, { tool: "web_search", params: { type: "search", query: "effect" } })
        })
    )
  }

  it.live("keep sources, and send back the image, without the other calls", () =>
    Effect.gen(function* () {
      const { bodies, layer } = openAi()
      const { content } = yield* LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        content.flatMap((part) => (part.type === "source" && part.sourceType === "url" ? [part.url.href] : [])),
        ["https://effect.website/"]
      )
      const { transcript } = yield* finder.result("Look").pipe(Effect.provide(layer))
      yield* finder.run([...transcript.content, { role: "user", content: "Sure?" }]).pipe(Effect.provide(layer))
      const kinds = bodies[2].input.map((item: { type: string }) => item.type)
      assert.deepStrictEqual(kinds, ["message", "image_generation_call", "message", "message"])
      assert.deepStrictEqual(bodies[2].input[1], {
        type: "image_generation_call",
        id: "ig_1",
        status: "completed",
        result: "iVBORw0KGgo="
      })
    })
  )

  it.live("send the image to another server in words", () =>
    Effect.gen(function* () {
      const { transcript } = yield* finder.result("Look").pipe(Effect.provide(openAi().layer))
      const { bodies, layer } = openAi({ baseUrl: "http://127.0.0.1:9/v1", api: "responses" })
      const asked = [...transcript.content, { role: "user" as const, content: "Sure?" }]
      yield* Agent.make("other", {}).run(asked).pipe(Effect.provide(layer))
      assert.notInclude(JSON.stringify(bodies[0]), "image_generation_call")
      assert.include(JSON.stringify(bodies[0]), "[file: image/png, 8 bytes; it cannot be shown here]")
    })
  )

  for (const streams of [false, true]) {
    it.live(`say of what ${streams ? "a streamed" : "a whole"} answer has that it is left out, once`, () =>
      Effect.gen(function* () {
        const said: Array<unknown> = []
        const logger = Logger.layer([
          Logger.make(({ logLevel, message }) => void said.push(`${logLevel}: ${String(message)}`))
        ])
        const odd = { ...cited, content: [{ type: "output_hologram", data: "x" }, ...cited.content] }
        const { layer } = openAi({}, [{ type: "compaction", id: "c_1", encrypted_content: "x" }, odd])
        const asked = streams ? Stream.runDrain(finder.stream("Look")) : finder.run("Look")
        yield* Effect.andThen(asked, asked).pipe(Effect.provide(layer), Effect.provide(logger))
        const left = (kind: string) => `Warn: openai: an answer has a part of the kind "${kind}", which is left out`
        assert.deepStrictEqual(said, [left("compaction"), left("output_hologram")])
      })
    )
  }

  it.live("are refused, before a request, where the provider does not run them", () =>
    Effect.gen(function* () {
      const chat = openAi({ api: "chat" })
      const server = yield* serve(json({}))
      const claude = AiSdk.layer(createAnthropic({ apiKey: "k", baseURL: `${server.url}/v1` })("claude-sonnet-4-5"))
      for (const model of [chat.layer, claude, DemoModel.layer]) {
        const error = yield* Effect.flip(finder.run("Look").pipe(Effect.provide(model)))
        assert.strictEqual(parameter(error), "web_search")
      }
      assert.lengthOf([...chat.bodies, ...server.bodies], 0)
    })
  )
})

describe("OpenAi.tools.mcp", () => {
  const token = Redacted.make("token-of-the-server")
  const desk = Agent.make("desk", {
    retry: "none",
    tools: [
      OpenAi.tools.mcp({
        label: "orders",
        url: "https://orders.example/mcp",
        allowedTools: ["find"],
        readOnly: true,
        authorization: token,
        headers: { "x-tenant": Redacted.make("tenant-of-the-server") }
      }),
      OpenAi.tools.mcp({ label: "mail", connectorId: "connector_gmail" })
    ]
  })
  const called = [
    { type: "mcp_list_tools", id: "ml_1", server_label: "mail", tools: [] },
    {
      type: "mcp_call",
      id: "mc_1",
      server_label: "mail",
      name: "search",
      arguments: '{"q":"bill"}',
      output: '["a bill"]'
    },
    { type: "mcp_call", id: "mc_2", server_label: "orders", name: "find", arguments: "{}", error: "not found" },
    cited
  ]

  it.live("knows its calls by their servers, with the tool's name, arguments and result", () =>
    Effect.gen(function* () {
      const { bodies, layer } = openAi({}, called)
      const { events } = yield* Effect.provide(collect(desk, "Look"), layer)
      assert.deepStrictEqual(bodies[0].tools, [
        {
          type: "mcp",
          server_label: "orders",
          server_url: "https://orders.example/mcp",
          require_approval: "never",
          allowed_tools: { read_only: true, tool_names: ["find"] },
          authorization: "token-of-the-server",
          headers: { "x-tenant": "tenant-of-the-server" }
        },
        { type: "mcp", server_label: "mail", connector_id: "connector_gmail", require_approval: "never" }
      ])
      const of = events.flatMap((event) =>
        event._tag === "ToolCalled"
          ? [[event.tool, event.params]]
          : event._tag === "ToolCompleted" || event._tag === "ToolFailed"
            ? [[event._tag, event.tool]]
            : []
      )
      assert.deepStrictEqual(of, [
        ["mcp_mail", { name: "search", arguments: { q: "bill" } }],
        ["ToolCompleted", "mcp_mail"],
        ["mcp_orders", { name: "find", arguments: {} }],
        ["ToolFailed", "mcp_orders"]
      ])
    })
  )

  it.live("keeps its token and headers out of events, errors and tapes", () =>
    Effect.gen(function* () {
      const echo = "token-of-the-server and tenant-of-the-server are wrong"
      const transport = () => Promise.resolve(Response.json({ error: { message: echo } }, { status: 400 }))
      const { events, exit } = yield* Effect.provide(collect(desk, "Look"), openAi({ transport }).layer)
      assert.match(JSON.stringify(exit), /are wrong/)
      assert.notMatch(JSON.stringify([events, exit]), /(token|tenant)-of-the-server/)
      const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-mcp-")), "tape.json")
      yield* Effect.provide(desk.run("Look"), [
        openAi({}, called).layer.pipe(Layer.provide(Cassette.layer({ path: file, mode: "record" })))
      ])
      assert.notMatch(fs.readFileSync(file, "utf8"), /(token|tenant)-of-the-server/)
    })
  )

  it("refuses a server that is not said, and a label that OpenAI does not take", () => {
    assert.throws(() => OpenAi.tools.mcp({ label: "a" }), /one of them/)
    assert.throws(() => OpenAi.tools.mcp({ label: "a b", url: "https://x.example" }), /label/)
  })
})

it.live("tools of OpenAI reach a model of the AI SDK in the spelling of that", () =>
  Effect.gen(function* () {
    let sent: unknown
    const model = {
      specificationVersion: "v4",
      provider: "openai.responses",
      modelId: "gpt-5",
      supportedUrls: {},
      doStream: () => Promise.reject(new Error("not asked")),
      doGenerate: ({ tools }: { readonly tools: unknown }) => {
        sent = tools
        const finishReason = { unified: "stop", raw: "stop" }
        return Promise.resolve({ content: [{ type: "text", text: "Done." }], finishReason, usage: {}, warnings: [] })
      }
    } as unknown as AiSdk.Model
    yield* Effect.provide(finder.run("Look"), AiSdk.layer(model))
    assert.deepStrictEqual(
      (sent as ReadonlyArray<{ readonly id: string; readonly args: unknown }>).map(({ args, id }) => [id, args]),
      [
        [
          "openai.web_search",
          {
            filters: { allowedDomains: ["effect.website"] },
            searchContextSize: "low",
            userLocation: { type: "approximate", country: "DE" }
          }
        ],
        ["openai.file_search", { vectorStoreIds: ["vs_1"], maxNumResults: 3 }],
        ["openai.code_interpreter", { container: { type: "auto", fileIds: ["f_1"] } }],
        ["openai.image_generation", { size: "1024x1024", outputFormat: "webp" }]
      ]
    )
  })
)

describe("WebSearch.tool", () => {
  it("refuses an option that there is not", () => {
    const loosely = WebSearch.tool as (options: object) => unknown
    assert.throws(() => loosely({ domains: ["example.com"] }), 'WebSearch.tool: it has no option "domains"')
  })

  const searched: Array<string> = []
  const search = WebSearch.tool({
    location: { country: "DE" },
    fallback: async ({ query }) => {
      searched.push(query)
      return [{ title: "Effect", url: "https://effect.website" }]
    }
  })
  const own = Agent.make("own", { tools: [WebSearch.tool({ location: { country: "DE" } })] })

  it.live("is the search of OpenAI, Claude and Gemini, each in its own form", () =>
    Effect.gen(function* () {
      const openai = openAi()
      yield* own.run("x").pipe(Effect.provide(openai.layer))
      assert.strictEqual(openai.bodies[0].tools[0].type, "web_search")
      const claude = yield* serve(
        json({
          id: "m",
          type: "message",
          role: "assistant",
          model: "m",
          content: [
            { type: "server_tool_use", id: "srv_1", name: "web_search", input: { query: "effect" } },
            { type: "web_search_tool_result", tool_use_id: "srv_1", content: [] },
            { type: "text", text: "ok" }
          ],
          stop_reason: "end_turn",
          usage: { input_tokens: 1, output_tokens: 1 }
        })
      )
      const anthropic = createAnthropic({ apiKey: "k", baseURL: `${claude.url}/v1` })("claude-sonnet-4-5")
      const { transcript } = yield* own.result("x").pipe(Effect.provide(AiSdk.layer(anthropic)))
      assert.deepInclude(claude.bodies[0].tools[0], {
        type: "web_search_20250305",
        name: "web_search",
        user_location: { type: "approximate", country: "DE" }
      })
      assert.include(JSON.stringify(transcript), '"name":"web_search"')
      const gemini = yield* serve(
        json({ candidates: [{ content: { parts: [{ text: "ok" }] }, finishReason: "STOP" }] })
      )
      const google = AiSdk.layer(createGoogle({ apiKey: "k", baseURL: gemini.url })("gemini-2.5-flash"))
      yield* own.run("x").pipe(Effect.provide(google))
      assert.deepStrictEqual(gemini.bodies[0].tools, [{ googleSearch: {} }])
    })
  )

  it.effect("searches by the program's function on other models", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [search] })
      const model = TestModel.layer([TestModel.toolCall("web_search", { query: "effect" }), "done"])
      assert.strictEqual(yield* agent.run("x").pipe(Effect.provide(model)), "done")
      assert.deepStrictEqual(searched, ["effect"])
    })
  )

  it.live(
    "can be a tool of the program, and its own function where a provider cannot be asked for what is wanted",
    () =>
      Effect.gen(function* () {
        const mine = AgentTool.fromFunction("lookup", { description: "Looks up", execute: () => "found" })
        const { bodies, layer } = openAi()
        const agent = Agent.make("agent", {
          tools: [WebSearch.tool({ fallback: mine, blockedDomains: ["spam.example"] })]
        })
        yield* agent.run("x").pipe(Effect.provide(layer))
        assert.deepInclude(bodies[0].tools[0], { type: "function", name: "lookup" })
      })
  )

  it.live("fails before a request where nothing searches, and passed over by a Fallback", () =>
    Effect.gen(function* () {
      const foreign = Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({ generateText: () => Effect.succeed([]), streamText: () => Stream.empty })
      )
      const chat = openAi({ api: "chat", baseUrl: "http://localhost:9/v1" })
      for (const model of [chat.layer, DemoModel.layer, foreign]) {
        const error = yield* Effect.flip(own.run("x").pipe(Effect.provide(model)))
        assert.strictEqual(parameter(error), "web_search")
      }
      assert.lengthOf(chat.bodies, 0)
      const openai = openAi()
      const both = Fallback.layer([chat.layer, openai.layer])
      yield* own.run("x").pipe(Effect.provide(both))
      assert.strictEqual(openai.bodies[0].tools[0].type, "web_search")
    })
  )

  it("takes a function or a tool, and its services", () => {
    assert.throws(() => WebSearch.tool({ fallback: "google" as never }), /its fallback is/)
    assert.throws(() =>
      AgentTool.fromProvider(AgentTool.fromFunction("f", { description: "f", execute: () => 1 }).tool)
    )
  })
})
