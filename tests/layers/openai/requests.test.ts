/** What is sent, to the last field, as a strict server sees it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { type LanguageModel, Prompt, Tool } from "effect/ai"
import { OpenAi } from "troupe"
import { directModel } from "../../support/directModel.ts"
import { chatFields } from "../../../src/layers/openai/internal/options.ts"
import { serve } from "../../support/openAiServer.ts"

type Api = "chat" | "responses"
const apis = ["chat", "responses"] as const

interface Asked {
  readonly prompt?: Prompt.RawInput
  readonly tools?: ReadonlyArray<Tool.Any>
  readonly toolChoice?: LanguageModel.ToolChoice<string>
}

/** Asks a strict server, and gives the body and headers that it got; fails when it refused. */
const send = (api: Api, asked: Asked, more: Partial<OpenAi.Options> = {}, calling: OpenAi.CallOptions = {}) =>
  Effect.gen(function* () {
    const { seen, url } = yield* Effect.acquireRelease(
      Effect.promise(() => serve([{ text: "ok" }])),
      (server) => Effect.sync(() => server.close())
    )
    yield* Effect.flatMap(directModel, (self) =>
      self.generateText({
        prompt: Prompt.make(asked.prompt ?? "go"),
        tools: asked.tools ?? [],
        toolChoice: asked.toolChoice ?? "auto",
        responseFormat: { type: "text" },
        span: { attribute: () => {} } as never,
        previousResponseId: undefined,
        incrementalPrompt: undefined,
        toolCallValidation: "deferred"
      })
    ).pipe(
      OpenAi.withOptions(calling),
      Effect.provide(
        OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make("k"), retry: "none", ...more })
      )
    )
    return seen[0]!
  }).pipe(Effect.scoped)

const refused = (api: Api, asked: Asked) =>
  Effect.map(Effect.flip(send(api, asked)), (error) => {
    const { reason } = error as { readonly reason: { readonly _tag: string; readonly description?: string } }
    // What the model lacks, or what the request should not hold.
    assert.include(["InvalidUserInputError", "InvalidRequestError"], reason._tag)
    return reason.description ?? ""
  })

const user = (...content: ReadonlyArray<unknown>): Prompt.RawInput => [{ role: "user", content }] as never
const file = (mediaType: string, data: unknown, more: object = {}) => ({ type: "file", mediaType, data, ...more })
const bytes = new Uint8Array([1, 2, 3])

const Strictable = Tool.make("strictable", { description: "S", parameters: Schema.Struct({ a: Schema.Int }) })
const Loose = Tool.make("loose", { parameters: Schema.Struct({ a: Schema.optionalKey(Schema.Int) }) })
const Rest = Tool.make("rest", {
  parameters: Schema.StructWithRest(Schema.Struct({ a: Schema.Int }), [Schema.Record(Schema.String, Schema.Unknown)])
})
const rawSchema = { type: "object", properties: { q: { type: "string" } }, additionalProperties: true } as const
const Raw = Tool.dynamic("raw", { description: "R", parameters: rawSchema })
const Web = Tool.providerDefined({
  id: "openai.web_search",
  customName: "Web",
  providerName: "web_search",
  args: Schema.Struct({ search_context_size: Schema.String })
})({ search_context_size: "low" })
const Shell = Tool.providerDefined({
  id: "openai.shell",
  customName: "Shell",
  providerName: "shell",
  requiresHandler: true
})({})

const fn = (api: Api, tool: any) => (api === "chat" ? tool.function : tool)

describe("OpenAi sends", () => {
  for (const api of apis) {
    describe(api, () => {
      it.live("every form of tool choice", () =>
        Effect.gen(function* () {
          const tools = [Strictable, Loose]
          const named =
            api === "chat" ? { type: "function", function: { name: "loose" } } : { type: "function", name: "loose" }
          for (const [toolChoice, sent] of [
            ["auto", "auto"],
            ["none", "none"],
            ["required", "required"],
            [{ tool: "loose" }, named],
            [{ oneOf: ["loose"] }, "auto"],
            [{ mode: "required", oneOf: ["loose"] }, "required"]
          ] as const) {
            const { body } = yield* send(api, { tools, toolChoice })
            assert.deepStrictEqual(body["tool_choice"], sent)
          }
          const { body } = yield* send(api, { toolChoice: "none" })
          assert.notProperty(body, "tool_choice")
          assert.notProperty(body, "tools")
        })
      )

      it.live("tools by schema: strict where it can be, closed where it is ours, untouched where it is not", () =>
        Effect.gen(function* () {
          const Marked = Tool.make("marked", { parameters: Schema.Struct({ a: Schema.Int }) }).annotate(
            Tool.Strict,
            true
          )
          const { body } = yield* send(api, { tools: [Strictable, Loose, Rest, Raw, Marked] })
          const [strictable, loose, rest, raw, annotated] = (body["tools"] as Array<any>).map((tool) => fn(api, tool))
          assert.strictEqual(strictable.description, "S")
          assert.strictEqual(strictable.parameters.additionalProperties, false)
          assert.strictEqual(loose.parameters.additionalProperties, false)
          assert.notProperty(rest.parameters, "additionalProperties")
          assert.deepStrictEqual(raw.parameters, rawSchema)
          assert.strictEqual(annotated.strict, true)
          assert.deepStrictEqual(
            [strictable, loose, rest, raw].map((tool) => tool.strict),
            api === "chat" ? [undefined, undefined, undefined, undefined] : [true, false, false, false]
          )
        })
      )

      it.live("a key and headers as given, and no key where there is none", () =>
        Effect.gen(function* () {
          const { headers } = yield* send(
            api,
            {},
            { apiKey: Redacted.make(" the-key\n"), organization: "org", project: "proj", headers: { "x-own": "1" } }
          )
          assert.deepStrictEqual(
            ["authorization", "openai-organization", "openai-project", "x-own"].map((name) => headers[name]),
            ["Bearer the-key", "org", "proj", "1"]
          )
          const none = yield* send(api, {}, { apiKey: undefined })
          assert.isUndefined(none.headers["authorization"])
          const own = yield* send(api, {}, { apiKey: undefined, headers: { authorization: "Basic abc" } })
          assert.strictEqual(own.headers["authorization"], "Basic abc")
        })
      )

      it.live("the description of a field next to its type, and no pattern with lookarounds", () =>
        Effect.gen(function* () {
          const Place = Schema.Struct({ city: Schema.String }).annotate({ identifier: "Place" })
          const described = Tool.make("described", {
            parameters: Schema.Struct({
              a: Schema.String.annotateKey({ description: "the a" }),
              from: Place,
              to: Place.annotateKey({ description: "where to" })
            })
          })
          const properties = {
            mail: { type: "string", pattern: "^(?!x).+@", description: "whom" },
            literal: { type: "string", pattern: "^\\(?=" },
            pattern: { type: "string", pattern: "^[a-z]+$" }
          }
          const mail = Tool.dynamic("mail", { description: "M", parameters: { type: "object", properties } as never })
          const { body } = yield* send(api, { tools: [described, mail] })
          const [first, second] = (body["tools"] as Array<any>).map((tool) => fn(api, tool))
          if (api === "responses") assert.isTrue(first.strict)
          assert.deepStrictEqual(first.parameters.properties, {
            a: { type: "string", description: "the a" },
            from: { $ref: "#/$defs/Place" },
            to: { anyOf: [{ $ref: "#/$defs/Place" }], description: "where to" }
          })
          assert.deepStrictEqual(second.parameters.properties, {
            ...properties,
            mail: { type: "string", description: "whom\nMatches the regular expression ^(?!x).+@" }
          })
        })
      )

      it.live("options: the call's over the Layer's, the API's own over the shared ones, the body over all", () =>
        Effect.gen(function* () {
          const layered: OpenAi.CallOptions = {
            temperature: 0.1,
            topP: 0.5,
            parallelToolCalls: false,
            serviceTier: "flex",
            metadata: { a: "b" },
            chat: { n: 1, logprobs: true },
            responses: { truncation: "auto" },
            body: { top_k: 5 }
          }
          const { body } = yield* send(
            api,
            { tools: [Loose] },
            { options: layered },
            {
              temperature: 0.9,
              chat: { temperature: 0.7 },
              responses: { temperature: 0.7 },
              body: { vendor: { deep: [1] } }
            }
          )
          assert.strictEqual(body["temperature"], 0.7)
          assert.deepStrictEqual(
            [
              body["top_p"],
              body["parallel_tool_calls"],
              body["service_tier"],
              body["metadata"],
              body["top_k"],
              body["vendor"]
            ],
            [0.5, false, "flex", { a: "b" }, 5, { deep: [1] }]
          )
          assert.strictEqual(body["logprobs"], api === "chat" ? true : undefined)
          assert.strictEqual(body["truncation"], api === "chat" ? undefined : "auto")
        })
      )

      it.live("images and files by bytes, address and id, and texts as text", () =>
        Effect.gen(function* () {
          const { body } = yield* send(api, {
            prompt: user(
              file("image/png", bytes, { options: { openai: { imageDetail: "low" } } }),
              file("image/*", "https://example.com/a", { options: { openai: { imageDetail: "original" } } }),
              file("application/pdf", bytes, { fileName: "a.pdf" }),
              file("application/pdf", bytes, { options: { openai: { fileId: "file-1" } } }),
              file("text/csv", "data:text/csv,a%2Cb", { fileName: "a.csv" })
            )
          })
          const content = (api === "chat" ? body["messages"] : body["input"])[0].content
          assert.deepStrictEqual(
            content,
            api === "chat"
              ? [
                  { type: "image_url", image_url: { url: "data:image/png;base64,AQID", detail: "low" } },
                  { type: "image_url", image_url: { url: "https://example.com/a", detail: "original" } },
                  { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AQID" } },
                  { type: "file", file: { file_id: "file-1" } },
                  { type: "text", text: "a.csv:\na,b" }
                ]
              : [
                  { type: "input_image", image_url: "data:image/png;base64,AQID", detail: "low" },
                  { type: "input_image", image_url: "https://example.com/a", detail: "original" },
                  { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,AQID" },
                  { type: "input_file", file_id: "file-1" },
                  { type: "input_text", text: "a.csv:\na,b" }
                ]
          )
        })
      )

      it.live("results with images where the API takes them", () =>
        Effect.gen(function* () {
          const result = (modelOutput: unknown) => ({
            type: "tool-result",
            id: "c1",
            name: "look",
            isFailure: false,
            result: { size: 3 },
            providerExecuted: false,
            modelOutput
          })
          const prompt = (modelOutput: unknown): Prompt.RawInput =>
            [
              { role: "user", content: "look" },
              {
                role: "assistant",
                content: [{ type: "tool-call", id: "c1", name: "look", params: "not json", providerExecuted: false }]
              },
              { role: "tool", content: [result(modelOutput)] }
            ] as never
          const shown = [{ type: "text", text: "a cat" }, file("image/png", bytes)]
          const { body } = yield* send(api, { prompt: prompt(shown) })
          const sent = api === "chat" ? body["messages"] : body["input"]
          const image = "data:image/png;base64,AQID"
          if (api === "chat") {
            assert.deepStrictEqual(sent[2], { role: "tool", tool_call_id: "c1", content: "a cat" })
            assert.strictEqual(sent[3].content[1].image_url.url, image)
            assert.strictEqual(sent[1].tool_calls[0].function.arguments, '{"invalid_json":"not json"}')
          } else {
            assert.deepStrictEqual(sent[2].output, [
              { type: "input_text", text: "a cat" },
              { type: "input_image", image_url: image, detail: "auto" }
            ])
          }
          const seen = yield* send(api, { prompt: prompt([file("image/png", bytes)]) })
          assert.notInclude(JSON.stringify(seen.body), '{\\"size\\":3}')
          const plain = yield* send(api, { prompt: prompt(undefined) })
          assert.include(JSON.stringify(plain.body), '{\\"size\\":3}')
        })
      )

      it.live("nothing, when the conversation cannot be written as JSON", () =>
        Effect.gen(function* () {
          const prompt: Prompt.RawInput = [
            { role: "user", content: "go" },
            {
              role: "assistant",
              content: [{ type: "tool-call", id: "c1", name: "p", params: { n: 1n }, providerExecuted: false }]
            }
          ]
          assert.include(yield* refused(api, { prompt }), "BigInt")
        })
      )
    })
  }

  it.live("the limit of an answer by the name that the model or the server knows", () =>
    Effect.gen(function* () {
      const limit = { maxOutputTokens: 5 }
      for (const [model, name] of [
        ["llama", "max_tokens"],
        ["gpt-oss-120b", "max_tokens"],
        ["gpt-5-mini", "max_completion_tokens"],
        ["azure/o3", "max_completion_tokens"]
      ] as const) {
        const { body } = yield* send("chat", {}, { model }, limit)
        assert.deepStrictEqual([model, body[name]], [model, 5])
      }
      const azure = chatFields(limit, "my-deployment", { host: "mine.openai.azure.com", compatible: true }, false)
      assert.deepStrictEqual(azure, { max_completion_tokens: 5 })
    })
  )

  it.live("audio to Chat Completions, and refuses it to Responses", () =>
    Effect.gen(function* () {
      for (const [type, format] of [
        ["audio/wav", "wav"],
        ["audio/x-wav", "wav"],
        ["audio/mpeg", "mp3"]
      ] as const) {
        const { body } = yield* send("chat", { prompt: user(file(type, bytes)) })
        assert.deepStrictEqual(body["messages"][0].content[0], {
          type: "input_audio",
          input_audio: { data: "AQID", format }
        })
      }
      assert.include(yield* refused("responses", { prompt: user(file("audio/wav", bytes)) }), "chat")
    })
  )

  it.live("a document's address to Responses, and refuses it to Chat Completions", () =>
    Effect.gen(function* () {
      const prompt = user(file("application/pdf", new URL("https://example.com/a.pdf")))
      const { body } = yield* send("responses", { prompt })
      assert.deepStrictEqual(body["input"][0].content[0], { type: "input_file", file_url: "https://example.com/a.pdf" })
      assert.include(yield* refused("chat", { prompt }), "responses")
    })
  )

  it.live("the provider's own tools to Responses, and refuses them where they could not run", () =>
    Effect.gen(function* () {
      const { body } = yield* send("responses", { tools: [Web, Strictable], toolChoice: { tool: "Web" } })
      assert.deepStrictEqual(body["tools"][0], { type: "web_search", search_context_size: "low" })
      assert.deepStrictEqual(body["tool_choice"], { type: "web_search" })
      assert.include(yield* refused("chat", { tools: [Web] }), '"Web"')
      assert.include(yield* refused("responses", { tools: [Shell] }), '"Shell"')
    })
  )

  it.live("for encrypted reasoning to models that reason, and to no others", () =>
    Effect.gen(function* () {
      const asks = (model: string, calling: OpenAi.CallOptions = {}) =>
        Effect.map(send("responses", {}, { model }, calling), ({ body }) => {
          assert.strictEqual(body["store"], false)
          return body["include"] !== undefined
        })
      for (const model of [
        "o3",
        "o4-mini",
        "gpt-5",
        "gpt-5.1-codex",
        "gpt-6-mini",
        "openai/gpt-5",
        "ft:o4-mini:x",
        "codex-mini"
      ]) {
        assert.isTrue(yield* asks(model), model)
      }
      for (const model of [
        "gpt-4.1-mini",
        "gpt-4o",
        "gpt-3.5-turbo",
        "gpt-5-chat-latest",
        "gpt-oss-120b",
        "llama",
        "ft:gpt-4.1:x"
      ]) {
        assert.isFalse(yield* asks(model), model)
      }
      assert.isTrue(yield* asks("new-thinker", { reasoningEffort: "low" }))
      assert.isTrue(yield* asks("gpt-4.1", { model: "o3" }))
      assert.isFalse(yield* asks("o3", { model: "gpt-4.1" }))
      const sealed = "reasoning.encrypted_content"
      const drawn = "message.input_image.image_url"
      for (const [include, sent] of [
        [[drawn], [sealed, drawn]],
        [[sealed], [sealed]],
        [[], [sealed]],
        [null, undefined]
      ] as const) {
        const { body } = yield* send(
          "responses",
          {},
          { model: "o3" },
          { responses: { include: include && [...include] } }
        )
        assert.deepStrictEqual(body["include"], sent)
      }
    })
  )

  it.live("reasoning back only with the calls or the text after it", () =>
    Effect.gen(function* () {
      const reasoning = (itemId: string, text: string, encryptedContent: string | null = "sealed") => ({
        type: "reasoning",
        text,
        options: { openai: { itemId, encryptedContent } }
      })
      const { body } = yield* send("responses", {
        prompt: [
          { role: "user", content: "go" },
          {
            role: "assistant",
            content: [
              reasoning("rs_1", "one"),
              reasoning("rs_1", "two"),
              reasoning("rs_0", "open", null),
              { type: "text", text: "so" }
            ]
          },
          { role: "user", content: "on" },
          { role: "assistant", content: [{ type: "text", text: "well" }, reasoning("rs_2", "cut off")] },
          { role: "user", content: "and" }
        ] as never
      })
      const summary = ["one", "two"].map((text) => ({ type: "summary_text", text }))
      assert.deepStrictEqual(body["input"].slice(1, 3), [
        { type: "reasoning", id: "rs_1", encrypted_content: "sealed", summary },
        {
          type: "message",
          id: "msg_2",
          status: "completed",
          role: "assistant",
          content: [{ type: "output_text", text: "so", annotations: [] }]
        }
      ])
      assert.notInclude(JSON.stringify(body), "rs_2")
      assert.notInclude(JSON.stringify(body), "open")
    })
  )
})
