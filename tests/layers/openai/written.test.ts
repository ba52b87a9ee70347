/** Messages of a run are encoded once, and the requests are those that they would be without that. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { LanguageModel, Prompt, Tool } from "effect/ai"
import { Agent, AgentTool, ModelInfo } from "troupe"
import type { RunMemory } from "../../../src/services/ModelInfo.ts"
import * as Chat from "../../../src/layers/openai/internal/chat.ts"
import * as Responses from "../../../src/layers/openai/internal/responses.ts"
import {
  type MessageEncoder,
  toolWriter,
  write,
  Written,
  writeMessages
} from "../../../src/layers/openai/internal/written.ts"

const conversation = Prompt.make([
  { role: "system", content: "Be brief." },
  { role: "system", content: "Add." },
  { role: "user", content: "one" },
  {
    role: "user",
    content: [
      { type: "text", text: "two" },
      { type: "file", mediaType: "image/png", data: "iVBORw==" }
    ]
  },
  {
    role: "assistant",
    content: [
      { type: "text", text: "Let me see." },
      { type: "tool-call", id: "c1", name: "add", params: { a: 1 }, providerExecuted: false }
    ]
  },
  { role: "tool", content: [{ type: "tool-result", id: "c1", name: "add", isFailure: false, result: { sum: 3 } }] },
  { role: "assistant", content: "It is 3." },
  { role: "user", content: "thanks" },
  { role: "user", content: "bye" }
]).content

const servers = [
  { host: "api.openai.com", compatible: false },
  { host: "localhost", compatible: true }
]
const apis = { chat: Chat.messagesOf, responses: Responses.messagesOf }

describe("the messages of a run", () => {
  for (const [api, messagesOf] of Object.entries(apis)) {
    for (const server of servers) {
      it(`are written as those of a single call, however they come: ${api}, ${server.host}`, () => {
        const encoder = messagesOf(server)
        const whole = writeMessages(encoder, Prompt.fromMessages([...conversation]), undefined).text
        assert.doesNotThrow(() => JSON.parse(whole))
        for (const first of conversation.keys()) {
          const growing: Array<Prompt.Message> = []
          const prompt = Prompt.fromMessages(growing)
          const memory: RunMemory = { kept: undefined }
          let last = "[]"
          growing.push(...conversation.slice(0, first))
          writeMessages(encoder, prompt, memory)
          for (const message of conversation.slice(first)) {
            growing.push(message)
            last = writeMessages(encoder, prompt, memory).text
          }
          assert.strictEqual(last, whole)
        }
      })
    }
  }

  it("are encoded once each", () => {
    let count = 0
    const encoder: MessageEncoder = {
      encode: () => [{ count: ++count }],
      place: (item) => ({ item, replaces: false })
    }
    const growing: Array<Prompt.Message> = []
    const prompt = Prompt.fromMessages(growing)
    const memory: RunMemory = { kept: undefined }
    for (let n = 0; n < 100; n++) {
      growing.push(conversation[0]!)
      writeMessages(encoder, prompt, memory)
    }
    assert.strictEqual(count, 100)
  })

  it("are written again for another prompt", () => {
    const encoder = Chat.messagesOf(servers[0]!)
    const memory: RunMemory = { kept: undefined }
    const texts = ["a", "b"].map((text) => writeMessages(encoder, Prompt.make(text), memory).text)
    assert.deepStrictEqual(texts, ['[{"role":"user","content":"a"}]', '[{"role":"user","content":"b"}]'])
  })

  it("fail each time that one of them cannot be encoded", () => {
    const encoder = Chat.messagesOf(servers[0]!)
    const prompt = Prompt.make([
      { role: "user", content: [{ type: "file", mediaType: "application/pdf", data: new URL("https://host/a.pdf") }] }
    ])
    const memory: RunMemory = { kept: undefined }
    for (let n = 0; n < 2; n++) assert.throws(() => writeMessages(encoder, prompt, memory))
  })
})

describe("the tools of an agent", () => {
  it("are written once", () => {
    let count = 0
    const writeTools = toolWriter((tool) => ({ name: tool.name, count: ++count }))
    const tools = [Tool.make("a"), Tool.make("b")]
    const memory: RunMemory = { kept: undefined }
    for (let n = 0; n < 3; n++) writeTools(tools, memory)
    assert.strictEqual(count, 2)
  })
})

describe("a body", () => {
  it("is written as JSON, with what is written already as it is", () => {
    assert.deepStrictEqual(
      [write({}), write({ a: 1, b: undefined, c: new Written("[1,2]"), 'd"': "e" })],
      ["{}", '{"a":1,"c":[1,2],"d\\"":"e"}']
    )
  })
})

describe("a provider that is called directly", () => {
  it.effect("gets one prompt a run, which grows, and the memory of the run", () =>
    Effect.gen(function* () {
      const seen: Array<{ readonly prompt: Prompt.Prompt; readonly length: number; readonly memory: unknown }> = []
      const usage = { inputTokens: {}, outputTokens: {} } as never
      const model = yield* LanguageModel.make({
        generateText: () => Effect.succeed([]),
        streamText: () => Stream.empty
      })
      const context = ModelInfo.context(
        model,
        { provider: "p", model: "m", structuredOutput: true },
        {
          generateText: ({ prompt }, memory) => {
            seen.push({ prompt, length: prompt.content.length, memory })
            const isLast = seen.length % 3 === 0
            return Effect.succeed([
              isLast
                ? { type: "text", text: "done" }
                : { type: "tool-call", id: `c${seen.length}`, name: "look", params: {} },
              { type: "finish", reason: isLast ? "stop" : "tool-calls", usage, response: undefined }
            ])
          },
          streamText: () => Stream.empty
        }
      )
      const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
      const agent = Agent.make("agent", { instructions: "Look.", tools: [look] })
      const first = yield* Effect.provideContext(agent.result("go"), context)
      yield* Effect.provideContext(agent.run("go"), context)
      assert.deepStrictEqual(
        seen.map(({ length }) => length),
        [2, 4, 6, 2, 4, 6]
      )
      assert.strictEqual(new Set(seen.map(({ prompt }) => prompt)).size, 2)
      assert.strictEqual(new Set(seen.map(({ memory }) => memory)).size, 2)
      // What is given to the program is its own.
      assert.notStrictEqual(first.transcript.content, seen[0]!.prompt.content)
    })
  )
})
