/** Models by their names: where requests go, with which keys, and what is refused before one is made. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer, Redacted, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, AgentTool, Images, ModelInfo, Models, OpenAi, SyncEdge } from "troupe"
import { chatSays, claudeSays, geminiSays } from "../../support/vendorAnswers.ts"
import { json, serve } from "../../support/wire.ts"

const config = (variables: Readonly<Record<string, string>>) =>
  Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))

const ask = (name: string, variables: Readonly<Record<string, string>> = {}) =>
  Agent.make("agent", {})
    .run("Hello")
    .pipe(Effect.provide(Models.layer(name)), Effect.provide(config(variables)))

const refused = (name: string, variables: Readonly<Record<string, string>> = {}) =>
  Layer.build(Models.layer(name)).pipe(Effect.provide(config(variables)), Effect.scoped, Effect.flip)

const apiKey = Redacted.make("sk")

const chat = chatSays("Hi")
const claude = claudeSays("Hi")
const gemini = geminiSays("Hi")

describe("Models.layer", () => {
  it.live("sends to the provider that a name begins with, with its key from Config", () =>
    Effect.gen(function* () {
      const server = yield* serve(chat, chat, chat, claude, gemini)
      const { headers, url } = server
      const secret = { OPENAI_API_KEY: "sk-openai" }
      assert.strictEqual(yield* ask("ollama:qwen3", { ...secret, OLLAMA_HOST: url.slice("http://".length) }), "Hi")
      assert.strictEqual(yield* ask(`compatible:a@b@${url}/v1`, secret), "Hi")
      assert.strictEqual(yield* ask(`compatible:a@${url}/v1`, { ...secret, COMPATIBLE_API_KEY: "mine" }), "Hi")
      assert.deepStrictEqual(
        server.bodies.map(({ model }) => model),
        ["qwen3", "a@b", "a"]
      )
      // A key of OpenAI's is for OpenAI.
      assert.deepStrictEqual(
        headers.map(({ authorization }) => authorization),
        [undefined, undefined, "Bearer mine"]
      )
      const anthropic = { ANTHROPIC_API_KEY: "sk-ant", ANTHROPIC_BASE_URL: `${url}/v1` }
      assert.strictEqual(yield* ask("anthropic:claude-sonnet-4-5", anthropic), "Hi")
      assert.strictEqual(headers[3]!["x-api-key"], "sk-ant")
      const google = { GEMINI_API_KEY: "g", GOOGLE_GENERATIVE_AI_BASE_URL: url }
      assert.strictEqual(yield* ask("google:gemini-3-pro-preview", google), "Hi")
      assert.strictEqual(headers[4]!["x-goog-api-key"], "g")
    })
  )

  it.live("answers by the demo model, and by the variable TROUPE_MODEL", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {}).run("What is 2 + 40?")
      assert.strictEqual(yield* Effect.provide(agent, Models.layer("demo")), "2 + 40 = 42")
      const chosen = Effect.provide(agent, Models.layerConfig)
      assert.strictEqual(yield* Effect.provide(chosen, config({ TROUPE_MODEL: "demo" })), "2 + 40 = 42")
      const error = yield* Effect.flip(Effect.provide(chosen, config({})))
      assert.match(error.message, /TROUPE_MODEL/)
    })
  )

  it("takes what needs no promise under runSync, and says what does", () => {
    const agent = Agent.make("agent", {})
    const run = (name: string) =>
      Effect.runSync(
        agent
          .run("What is 2 + 40?")
          .pipe(
            Effect.provide(Models.layer(name)),
            Effect.provide(config({ ANTHROPIC_API_KEY: "k" })),
            Effect.provide(SyncEdge.layer),
            Effect.exit
          )
      )
    assert.deepStrictEqual(run("demo"), Exit.succeed("2 + 40 = 42"))
    const exit = run("anthropic:claude-sonnet-4-5")
    assert.match(JSON.stringify(exit), /ModelUnavailable.*Effect\.runPromise/)
  })

  it.live("says which package to install, which key to set, and which names there are", () =>
    Effect.gen(function* () {
      const missing = yield* refused("mistral:mistral-large-latest", { MISTRAL_API_KEY: "k" })
      assert.strictEqual(missing._tag, "ModelUnavailable")
      if (missing._tag === "ModelUnavailable") assert.strictEqual(missing.install, "npm install @ai-sdk/mistral")
      assert.match(missing.message, /npm install @ai-sdk\/mistral/)
      assert.match((yield* refused("anthropic:claude-sonnet-4-5")).message, /ANTHROPIC_API_KEY/)
      for (const name of ["gpt-4.1", "nope:x", "openai:", "compatible:m", "compatible:m@ftp://x", ""]) {
        assert.match((yield* refused(name)).message, /compatible:NAME@URL/, name)
      }
      assert.match((yield* refused("openai:gpt-4.1-mini")).message, /OPENAI_API_KEY/)
    })
  )

  it.live("asks OpenAI, or the server of OPENAI_BASE_URL", () =>
    Effect.gen(function* () {
      const server = yield* serve(chat)
      const variables = { OPENAI_API_KEY: "sk-openai", OPENAI_BASE_URL: `${server.url}/v1` }
      assert.strictEqual(yield* ask("openai:gpt-4.1-mini", variables), "Hi")
      assert.strictEqual(server.headers[0]!["authorization"], "Bearer sk-openai")
      assert.strictEqual(server.bodies[0]!["model"], "gpt-4.1-mini")
    })
  )

  it.live("says the line to type for each package that is not installed, and the file that is not there", () =>
    Effect.gen(function* () {
      const missing = [
        ["bedrock", "amazon-bedrock", "X"],
        ["vertex", "google-vertex", "X"],
        ["azure", "azure", "AZURE_API_KEY"],
        ["mistral", "mistral", "MISTRAL_API_KEY"],
        ["groq", "groq", "GROQ_API_KEY"],
        ["xai", "xai", "XAI_API_KEY"],
        ["deepseek", "deepseek", "DEEPSEEK_API_KEY"],
        ["cohere", "cohere", "COHERE_API_KEY"],
        ["perplexity", "perplexity", "PERPLEXITY_API_KEY"],
        ["cerebras", "cerebras", "CEREBRAS_API_KEY"]
      ] as const
      for (const [provider, name, key] of missing) {
        const error = yield* refused(`${provider}:some-model`, { [key]: "k" })
        assert.include(error.message, `npm install @ai-sdk/${name}`)
      }
      const file = yield* refused("llamacpp:./there-is-no-such-model.gguf")
      assert.strictEqual(file._tag, "ModelUnavailable")
      assert.include(file.message, "there-is-no-such-model.gguf")
    })
  )
})

describe("the catalog of models", () => {
  const add = AgentTool.fromFunction("add", { description: "Adds", execute: () => 1 })
  const image = { type: "file", mediaType: "image/png", data: new Uint8Array([137]) } as const

  it.live("refuses before a request what a model lacks, and names it", () =>
    Effect.gen(function* () {
      const server = yield* serve(chat)
      const at = config({ OLLAMA_HOST: server.url })
      const says = (
        name: string,
        run: Effect.Effect<unknown, { readonly message: string }, LanguageModel.LanguageModel>
      ) =>
        run.pipe(
          Effect.provide(Models.layer(name)),
          Effect.provide(at),
          Effect.flip,
          Effect.map((error) => error.message)
        )
      assert.match(
        yield* says("ollama:llava:7b", Agent.make("a", { tools: [add] }).run("x")),
        /llava:7b does not take tools/
      )
      const looking = LanguageModel.generateText({ prompt: [{ role: "user", content: [image] }] })
      assert.match(yield* says("ollama:llama3.1", looking), /does not take images/)
      const thinking = Agent.make("a", {})
        .run("x")
        .pipe(Effect.provideService(ModelInfo.CurrentSettings, { reasoning: "high" }))
      assert.match(yield* says("ollama:llama3.1", thinking), /does not take reasoning/)
      assert.deepStrictEqual(server.bodies, [])
    })
  )

  it.live("describes the images of tools to a model that reads none", () =>
    Effect.gen(function* () {
      const called = json({
        choices: [
          {
            index: 0,
            message: {
              content: null,
              tool_calls: [{ id: "c", type: "function", function: { name: "draw_image", arguments: '{"prompt":"x"}' } }]
            },
            finish_reason: "tool_calls"
          }
        ]
      })
      const server = yield* serve(called, chat)
      const painter = Layer.succeed(Images.Images, {
        generate: () =>
          Effect.succeed({
            images: [{ mediaType: "image/png", data: new Uint8Array([137, 80]) }],
            usage: { inputTokens: 1, outputTokens: 1 }
          })
      })
      const run = Agent.make("a", { tools: [Images.tool({ name: "draw_image" })] }).run("Draw")
      const at = config({ OLLAMA_HOST: server.url })
      yield* run.pipe(Effect.provide([Models.layer("ollama:llama3.1"), painter]), Effect.provide(at))
      const sent = JSON.stringify(server.bodies[1])
      assert.match(sent, /image\/png image; this model reads no images/)
      assert.notMatch(sent, /base64|image_url/)
    })
  )

  it.live("asks a model of OpenAI for typed output by a schema, or in words where it takes none", () =>
    Effect.gen(function* () {
      const agent = Agent.make("a", { output: Schema.Struct({ sum: Schema.Int }) })
      const sent: Array<string> = []
      const transport = async (_: unknown, init?: RequestInit) => {
        sent.push(String(init?.body))
        const message = { content: '{"sum":42}' }
        return new Response(JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop" }] }))
      }
      for (const model of ["gpt-4", "gpt-4.1"]) {
        const layer = OpenAi.layer({ model, baseUrl: "https://api.openai.com/v1", apiKey, api: "chat", transport })
        assert.deepStrictEqual(yield* Effect.provide(agent.run("2 + 40?"), layer), { sum: 42 })
      }
      assert.notInclude(sent[0], "response_format")
      assert.match(sent[0]!, /fits this JSON schema/)
      assert.include(sent[1], "json_schema")
    })
  )

  it.live("asks a model that it does not have for anything, and is extended and corrected by a program", () =>
    Effect.gen(function* () {
      const server = yield* serve(chat)
      const name = `compatible:mine@${server.url}/v1`
      const run = Agent.make("a", { tools: [add] }).run("x")
      assert.strictEqual(yield* Effect.provide(run, Models.layer(name)), "Hi")
      const catalog = Models.withCatalog({ "compatible:mine": { tools: false, contextTokens: 1000 } })
      const corrected = Models.layer(name).pipe(Layer.provide(catalog))
      assert.match((yield* Effect.flip(Effect.provide(run, corrected))).message, /does not take tools/)
      const info = yield* Effect.provide(ModelInfo.get, corrected)
      assert.strictEqual(info?.capabilities?.contextTokens, 1000)
    })
  )

  it.effect("takes a name, that without its date, and the longest beginning that fits", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Models.capabilities("openai:gpt-4.1-mini-2025-04-14"))?.contextTokens, 1_047_576)
      assert.strictEqual((yield* Models.capabilities("vertex:gemini-2.5-pro@20250617"))?.tools, true)
      assert.strictEqual((yield* Models.capabilities("openai:o3-mini"))?.images, false)
      assert.strictEqual((yield* Models.capabilities("openai:o3"))?.images, true)
      assert.isUndefined(yield* Models.capabilities("openai:davinci-9"))
      assert.match(Models.date, /^\d{4}-\d\d-\d\d$/)
    })
  )

  it.effect("has tools, images, reasoning, schemas, tokens and prices of hundreds of models", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Models.capabilities("anthropic:claude-sonnet-4-5"), {
        tools: true,
        images: true,
        reasoning: true,
        structuredOutput: true,
        toolSearch: true,
        contextTokens: 200_000,
        outputTokens: 64_000,
        price: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 }
      })
      const pro = yield* Models.capabilities("google:gemini-2.5-pro")
      assert.deepStrictEqual(pro?.price?.above, [
        { inputTokens: 200_000, input: 2.5, output: 15, cacheRead: 0.25, cacheWrite: undefined }
      ])
      const catalog = yield* Models.CurrentCatalog
      assert.isAbove(Object.keys(catalog).length, 400)
      for (const [name, { contextTokens, outputTokens, price, ...abilities }] of Object.entries(catalog)) {
        for (const number of [contextTokens, outputTokens]) assert.isTrue(number === undefined || number > 0, name)
        for (const known of Object.values(abilities)) assert.isBoolean(known, name)
        assert.isTrue(price === undefined || (price.input > 0 && price.output > 0), name)
      }
    })
  )

  it.effect("lets a beginning that a program adds go before the names that it stands for", () =>
    Effect.gen(function* () {
      const known = Models.capabilities("openai:gpt-4.1-mini")
      const of = (entries: Models.Catalog) => Effect.provide(known, Models.withCatalog(entries))
      assert.deepStrictEqual(yield* of({ "openai:gpt-4.1*": { tools: false } }), { tools: false })
      assert.strictEqual((yield* of({ "openai:gpt-4o*": { tools: false } }))?.tools, true)
    })
  )
})
