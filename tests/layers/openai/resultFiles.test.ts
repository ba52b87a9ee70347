/** Files in the results of tools: sent where the API takes them, described to the model where it does not. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import type { Prompt } from "effect/ai"
import { Agent, Mcp, OpenAi } from "troupe"
import { rawServer } from "../../support/mcpRaw.ts"
import { bodyOf } from "../../support/openAiAsk.ts"
import * as Server from "../../support/openAiServer.ts"

const apis = ["chat", "responses"] as const
type Api = (typeof apis)[number]

/** A transcript as it may have been kept, with a tool's result of these parts. */
const transcript = (...modelOutput: ReadonlyArray<object>): Prompt.RawInput =>
  [
    { role: "user", content: "go" },
    { role: "assistant", content: [{ type: "tool-call", id: "c", name: "good", params: {}, providerExecuted: false }] },
    {
      role: "tool",
      content: [{ type: "tool-result", id: "c", name: "good", isFailure: false, result: "r", modelOutput }]
    }
  ] as never

const text = (said: string) => ({ type: "text", text: said })
const file = (mediaType: string, data: unknown = "AQID", more: object = {}) => ({
  type: "file",
  mediaType,
  data,
  ...more
})

/** What the model gets of the result, of either API, as a list of parts. */
const shown = (api: Api, ...parts: ReadonlyArray<object>) =>
  Effect.map(bodyOf(api, { prompt: transcript(...parts) }), (body) => {
    const items = (api === "chat" ? body["messages"] : body["input"]) as ReadonlyArray<Record<string, any>>
    const outputs = items.slice(2).flatMap((item) => item["content"] ?? item["output"])
    return outputs.map((one) => (typeof one === "string" ? text(one) : one)) as ReadonlyArray<Record<string, any>>
  })

for (const api of apis) {
  describe(api, () => {
    it.live("files that it does not take are described, and their text is passed on", () =>
      Effect.gen(function* () {
        const refused = [
          file("video/mp4"),
          file("image/svg+xml"),
          file("image/bmp"),
          file("application/octet-stream"),
          file("application/zip", "AQID", { fileName: "a.zip" }),
          file("image/png", ""),
          file("image/png", "not base64!"),
          file("audio/ogg"),
          file("video/mp4", new URL("https://example.com/a.mp4"))
        ]
        const parts = yield* shown(api, text("recorded"), ...refused)
        const said = parts.map((part) => part["text"]).join("\n")
        assert.deepStrictEqual(new Set(parts.map(({ type }) => String(type).replace("input_", ""))), new Set(["text"]))
        assert.include(said, "recorded")
        assert.include(said, "[file: video/mp4, 3 bytes; it cannot be shown here]")
        assert.include(said, '[file "a.zip": application/zip, 3 bytes; it cannot be shown here]')
        assert.include(said, "[file: image/png, 0 bytes; it cannot be shown here]")
        assert.include(said, "[file: video/mp4 at https://example.com/a.mp4; it cannot be shown here]")
        assert.lengthOf(said.match(/it cannot be shown here/g) ?? [], refused.length)
      })
    )

    it.live("images and PDF are sent, texts are written out", () =>
      Effect.gen(function* () {
        const parts = yield* shown(
          api,
          file("image/jpg"),
          file("image/WEBP; q=1"),
          file("application/pdf", "JVBERi0=", { fileName: "a.pdf" }),
          file("application/json", Buffer.from("{}").toString("base64"), { fileName: "a.json" })
        )
        const sent = JSON.stringify(parts)
        for (const one of ["data:image/jpeg;base64,AQID", "data:image/webp;base64,AQID", "a.pdf", "a.json:\\n{}"]) {
          assert.include(sent, one)
        }
        assert.notInclude(sent, "cannot be shown")
      })
    )
  })
}

it.live("audio is sent to Chat Completions, and described to Responses", () =>
  Effect.gen(function* () {
    const wav = file("audio/wav", "UklGRg==")
    assert.include(JSON.stringify(yield* shown("chat", wav)), "input_audio")
    assert.deepStrictEqual(yield* shown("responses", wav), [
      text("[file: audio/wav, 4 bytes; it cannot be shown here]")
    ])
  })
)

it.live("documents of offices are sent to Responses, and described to Chat Completions", () =>
  Effect.gen(function* () {
    const sheet = file("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    assert.include(JSON.stringify(yield* shown("responses", sheet)), "input_file")
    assert.include(JSON.stringify(yield* shown("chat", sheet)), "cannot be shown here")
  })
)

it.live("an image of an answer is described to Chat Completions, which takes none back", () =>
  Effect.gen(function* () {
    const drawn = { role: "assistant", content: [file("image/png")] }
    const prompt = [{ role: "user", content: "draw" }, drawn, { role: "user", content: "again" }] as never
    const body = yield* bodyOf("chat", { prompt })
    assert.deepStrictEqual((body["messages"] as ReadonlyArray<unknown>)[1], {
      role: "assistant",
      content: "[file: image/png, 3 bytes; it cannot be shown here]"
    })
  })
)

for (const api of apis) {
  it.live(`a server whose tool gives audio does not end the run, over ${api}`, () =>
    Effect.gen(function* () {
      const content = [text("recorded"), { type: "audio", data: "UklGRg==", mimeType: "audio/ogg" }]
      const server = yield* Server.make([{ calls: [{ name: "good", args: "{}" }] }, { text: "done" }])
      const Model = OpenAi.layer({ model: "m", baseUrl: server.url, api, apiKey: Redacted.make("k"), retry: "none" })
      const Servers = Mcp.layer({ servers: { raw: rawServer({ "tools/call": { content } }) } })
      const agent = Agent.make("agent", { tools: [Mcp.tools()] })
      const { output } = yield* agent.result("go").pipe(Effect.provide(Layer.merge(Servers, Model)))
      assert.strictEqual(output, "done")
      const second = JSON.stringify(server.requests[1]!.body)
      for (const one of ["recorded", "audio/ogg, 4 bytes"]) assert.include(second, one)
    }).pipe(Effect.scoped)
  )
}
