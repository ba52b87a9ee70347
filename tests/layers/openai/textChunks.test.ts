/** Chunks that differ in their text alone are read without being parsed, and say what they would say if they were. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { StreamDecoder } from "../../../src/layers/openai/internal/chatStream.ts"
import { ChunkParser, TextChunk } from "../../../src/layers/openai/internal/textChunks.ts"
import { cases } from "../../support/cases.ts"

const chunkOf = (content: string, more: object = {}) =>
  JSON.stringify({ id: "c", created: 1, choices: [{ index: 0, delta: { content }, finish_reason: null, ...more }] })

/** Chunks that are the same but for their texts, and can differ from others in each way that matters. */
const RandomChunks = Schema.Struct({
  texts: Schema.Array(
    Schema.Literals(["a", " b", "", "text", "<think>", "</think>", 'a"b', "\\", "\n", "\u00e9\u{1F3AD}", "content"])
  ).check(Schema.isMaxLength(5)),
  delta: Schema.Literals([
    "{}",
    '{"role":"assistant"}',
    '{"refusal":null,"tool_calls":null}',
    '{"reasoning":"hm"}',
    '{"reasoning_content":""}',
    '{"refusal":"No."}',
    '{"annotations":[{"type":"url_citation","url":"http://a/"}]}',
    '{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}}]}',
    '{"images":[{"content":"a"}]}'
  ]),
  choice: Schema.Literals([
    "{}",
    '{"index":1}',
    '{"finish_reason":"stop"}',
    '{"finish_reason":""}',
    '{"logprobs":{"content":[]}}'
  ]),
  chunk: Schema.Literals([
    "{}",
    '{"usage":{"prompt_tokens":3}}',
    '{"error":{"message":"no"}}',
    '{"object":"content"}',
    '{"created":2}'
  ]),
  isSpaced: Schema.Boolean
})

const written = ({ choice, chunk, delta, isSpaced }: typeof RandomChunks.Type, text: string): string =>
  JSON.stringify(
    {
      id: "c",
      model: "text",
      ...JSON.parse(chunk),
      choices: [{ index: 0, delta: { content: text, ...JSON.parse(delta) }, ...JSON.parse(choice) }]
    },
    null,
    isSpaced ? 1 : 0
  )

/** All that a decoder makes of a stream. */
const decoded = (texts: ReadonlyArray<string>, parse: (decoder: StreamDecoder, text: string) => unknown) => {
  let made = 0
  const decoder = new StreamDecoder(() => `id${made++}`, "host")
  return [...texts.map((text) => decoder.push(parse(decoder, text))), decoder.end(true)]
}

describe("chunks of a stream", () => {
  it("takes the text out of a chunk that is otherwise the one before", () => {
    const parser = new ChunkParser()
    parser.parse(chunkOf("one"))
    assert.deepStrictEqual(parser.parse(chunkOf(" two")), new TextChunk(" two"))
  })

  it("parses a text that stands for another one", () => {
    const parser = new ChunkParser()
    parser.parse(chunkOf("one"))
    assert.deepStrictEqual(parser.parse(chunkOf('a "quote"')), JSON.parse(chunkOf('a "quote"')))
  })

  it("parses a chunk that differs in more than its text", () => {
    const parser = new ChunkParser()
    parser.parse(chunkOf("one"))
    const last = chunkOf("one", { finish_reason: "stop" })
    assert.deepStrictEqual(parser.parse(last), JSON.parse(last))
  })

  it("goes on comparing after a chunk that differs in more", () => {
    const parser = new ChunkParser()
    parser.parse(chunkOf("one"))
    parser.parse(chunkOf("two", { logprobs: 1 }))
    assert.deepStrictEqual(parser.parse(chunkOf("three", { logprobs: 1 })), new TextChunk("three"))
  })

  it("does not take the text of another field for that of the delta", () => {
    const parser = new ChunkParser()
    const withTwo = (content: string) => chunkOf("one", { logprobs: { content } })
    parser.parse(withTwo("a"))
    assert.deepStrictEqual(parser.parse(withTwo("b")), JSON.parse(withTwo("b")))
  })

  it("says of a text that is not JSON that it is not", () => {
    const parser = new ChunkParser()
    parser.parse(chunkOf("one"))
    assert.isUndefined(parser.parse(chunkOf("two").slice(0, -1)))
  })

  it("compares no more in a stream whose chunks all differ", () => {
    const parser = new ChunkParser()
    for (let n = 0; n < 20; n++) parser.parse(chunkOf("one", { obfuscation: n }))
    assert.deepStrictEqual(
      parser.parse(chunkOf("two", { obfuscation: 19 })),
      JSON.parse(chunkOf("two", { obfuscation: 19 }))
    )
  })

  it.prop(
    "are read as if each was parsed",
    { random: Schema.Array(RandomChunks).check(Schema.isMaxLength(6)) },
    ({ random }) => {
      const texts = random.flatMap((chunks) => chunks.texts.map((text) => written(chunks, text)))
      assert.deepStrictEqual(
        decoded(texts, (decoder, text) => decoder.parse(text)),
        decoded(texts, (_, text) => JSON.parse(text))
      )
    },
    { arbitrary: { runs: cases(400) } } as never
  )
})
