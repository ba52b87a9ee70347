/** What a server's tool gave, also about a failure, reaches the model: all of it, once, and its bytes as files. */
import { Effect } from "effect"
import type { Prompt } from "effect/ai"
import { describe, expect, it } from "vitest"
import { callThroughAgent, collectLogs, edges, type RawAnswers, resultsThroughAgent } from "../../support/mcpRaw.ts"

const png = { type: "image", data: "iVBORw0KGgo=", mimeType: "image/png" }
const text = (said: string) => ({ type: "text", text: said })
const file = { type: "file", mediaType: "image/png", data: png.data }

/** What the model reads: its parts, where there are files. */
const shown = ({ modelOutput, result }: Prompt.ToolResultPart) =>
  modelOutput?.map((part) =>
    part.type === "text" ? part.text : { type: part.type, mediaType: part.mediaType, data: part.data }
  ) ?? result

describe.each(edges)("under %s", (_name, run, rawServer) => {
  const resultOf = (result: unknown, answers: RawAnswers = {}) =>
    run(callThroughAgent(rawServer({ ...answers, "tools/call": result })))
  /** What the model reads of tools that give these results, by name. */
  const shownOf = async (byName: Readonly<Record<string, unknown>>) => {
    const results = await run(resultsThroughAgent(byName, rawServer))
    return Object.fromEntries(Object.entries(results).map(([name, part]) => [name, shown(part)]))
  }

  describe("a result with one odd block", () => {
    it("of an unknown type keeps its text, and a failure stays one", async () => {
      const part = await resultOf({ content: [{ type: "error", text: "real reason" }], isError: true })
      expect(part).toMatchObject({ isFailure: true, result: { error: "real reason", tag: "McpToolFailed" } })
    })

    it("gives images of odd forms as files", async () => {
      const said = await shownOf({
        data_url: { content: [text("sound"), { ...png, data: `data:image/png;base64,${png.data}` }] },
        no_mime_type: { content: [text("sound"), { ...png, mimeType: null }] },
        in_lines: { content: [text("sound"), { ...png, data: "iVBORw0\nKGgo=" }] }
      })
      expect(said).toEqual({ data_url: ["sound", file], no_mime_type: ["sound", file], in_lines: ["sound", file] })
    })

    it("is read as far as it can be", async () => {
      const said = await shownOf({
        null_text: { content: [text("sound"), { type: "text", text: null }] },
        null_meta: { content: [{ ...text("sound"), _meta: null, annotations: null }], _meta: null },
        null_structure: { content: [text("sound")], structuredContent: null },
        null_error: { content: [text("sound")], isError: null },
        one_block: { content: text("sound") },
        a_text: { content: "sound" },
        null_block: { content: [null, text("sound")] },
        object_text: { content: [{ type: "text", text: { a: 1 } }] },
        first_protocol: { toolResult: "sound" },
        own_fields: { answer: "sound" }
      })
      const { object_text, own_fields, ...others } = said
      expect(object_text).toBe('{"a":1}')
      expect(own_fields).toEqual({ answer: "sound" })
      expect(new Set(Object.values(others))).toEqual(new Set(["sound"]))
    })

    it("describes bytes that are not base64, and files without bytes", async () => {
      const blocks = [text("sound"), { ...png, data: "not base64!" }, { ...png, data: "" }]
      const said = JSON.stringify(shown(await resultOf({ content: blocks })))
      expect(said).toContain("sound")
      expect(said).toContain("[not base64]")
      expect(said).toContain('\\"bytes\\":0')
    })

    it("that says nothing at all fails, and what is left out of others is logged", async () => {
      expect(await resultOf({ content: [{ type: "text", text: null }] })).toMatchObject({
        isFailure: true,
        result: { error: expect.stringContaining("does not fit the protocol: content.0") }
      })
      const { layer, lines } = collectLogs()
      const server = rawServer({ "tools/call": { content: [text("sound"), null] } })
      await run(Effect.provide(callThroughAgent(server), layer))
      expect(lines.join("\n")).toContain('the result of "good": content.1 cannot be read and is left out')
    })
  })

  describe("a result with a structure", () => {
    it("that is empty gives its text", async () => {
      expect(shown(await resultOf({ content: [text("real text")], structuredContent: {} }))).toBe("real text")
    })

    it("returns a text that says more next to it", async () => {
      const result = { content: [text("the text of the file")], structuredContent: { fileName: "a.txt" } }
      const said = JSON.stringify(shown(await resultOf(result)))
      expect(said).toContain("the text of the file")
      expect(said).toContain("a.txt")
    })

    it("is given once where the text repeats it", async () => {
      const said = await shownOf({
        the_whole: { content: [text('{\n  "b": [1],\n  "a": 1\n}')], structuredContent: { a: 1, b: [1] } },
        what_it_wraps: { content: [text("hello")], structuredContent: { result: "hello" } },
        its_elements: { content: [text("one"), text('{"n":2}')], structuredContent: { result: ["one", { n: 2 }] } },
        no_text: { content: [], structuredContent: { a: 1 } }
      })
      expect(said).toEqual({
        the_whole: { a: 1, b: [1] },
        what_it_wraps: { result: "hello" },
        its_elements: { result: ["one", { n: 2 }] },
        no_text: { a: 1 }
      })
    })

    it("and an image keeps the caption and the links", async () => {
      const link = { type: "resource_link", uri: "file:///a.txt", name: "a.txt" }
      const result = { content: [text("a caption"), png, link], structuredContent: { width: 1 } }
      const parts = shown(await resultOf(result))
      expect(parts).toEqual(['{"width":1}', "a caption", file, expect.stringContaining("file:///a.txt")])
    })
  })

  describe("an image", () => {
    it("that the structure repeats is given once, as a file", async () => {
      const part = await resultOf({ content: [png], structuredContent: { content: [png] } })
      expect(shown(part)).toEqual([file])
      expect(JSON.stringify(part.result)).not.toContain(png.data)
    })

    it("whose bytes stand elsewhere in the structure is described there", async () => {
      const structuredContent = { shot: png.data, again: `data:image/png;base64,${png.data}`, width: 1 }
      const part = await resultOf({ content: [text("a shot"), png], structuredContent })
      const about = "[image/png, 8 bytes]"
      expect(shown(part)).toEqual([JSON.stringify({ shot: about, again: about, width: 1 }), "a shot", file])
      expect(JSON.stringify(part.result)).not.toContain(png.data)
    })

    it("that only the structure holds is given as a file", async () => {
      const part = await resultOf({ content: [], structuredContent: { images: [png], width: 1 } })
      expect(shown(part)).toEqual([expect.stringContaining('"width":1'), file])
      expect(JSON.stringify(part)).toContain("[image/png, 8 bytes]")
      expect(JSON.stringify(part.result)).not.toContain(png.data)
    })

    it("in a block of an unknown form is given as a file", async () => {
      const source = { type: "base64", media_type: "image/png", data: png.data }
      const parts = shown(await resultOf({ content: [{ type: "picture", source }] }))
      expect(parts).toEqual([expect.not.stringContaining(png.data), file])
    })

    it("of 1.2 million characters is not too long", async () => {
      const data = "iVBORw0KGgo$A{1199989}"
      const part = await resultOf({ content: [{ ...png, data }], structuredContent: { content: [{ ...png, data }] } })
      expect(part.isFailure).toBe(false)
      expect(part.modelOutput).toHaveLength(1)
    }, 20_000)
  })

  describe("a failure", () => {
    it("keeps what its structure, its files and its data say", async () => {
      const failed = await resultOf({ isError: true, content: [text("no"), png], structuredContent: { code: "E1" } })
      expect(failed).toMatchObject({ isFailure: true })
      const said = JSON.stringify(failed.result)
      for (const one of ["no", "E1", "image/png"]) expect(said).toContain(one)
      const rejected = await resultOf({ $error: { code: -32000, message: "no", data: { hint: "log in first" } } })
      expect(JSON.stringify(rejected.result)).toContain("log in first")
    })

    it.each<[what: string, result: object, reason: string]>([
      ["has no structure", { content: [text("the useful text")] }, "gave no structured content"],
      [
        "has another one",
        { content: [text("the useful text")], structuredContent: { a: "str" } },
        "does not fit its own definition: a: "
      ]
    ])(
      "to keep the promise of an output schema, as the result %s, comes with the result",
      async (_what, result, reason) => {
        const outputSchema = { type: "object", properties: { a: { type: "number" } }, required: ["a"] }
        const tools = [{ name: "good", inputSchema: { type: "object" }, outputSchema }]
        const failed = await resultOf(result, { "tools/list": { tools } })
        expect(failed.isFailure).toBe(true)
        expect(JSON.stringify(failed.result)).toContain(reason)
        expect(JSON.stringify(failed.result)).toContain("the useful text")
      }
    )
  })

  it("an optional argument that a model gives as null counts as not given", async () => {
    const inputSchema = {
      type: "object",
      properties: {
        path: { type: "string" },
        limit: { type: "number" },
        inner: { type: "object", properties: { deep: { $ref: "#/$defs/text" } } },
        kept: { type: ["string", "null"] }
      },
      required: ["path"],
      $defs: { text: { type: "string" } }
    }
    const answers: RawAnswers = {
      "tools/list": { tools: [{ name: "good", inputSchema }] },
      $ask: { method: "ping" }
    }
    const params = { path: "a", limit: null, inner: { deep: null }, kept: null }
    const part = await run(callThroughAgent(rawServer(answers), params))
    expect(part.isFailure).toBe(false)
    const refused = await run(callThroughAgent(rawServer(answers), { path: null }))
    expect(JSON.stringify(refused.result)).toContain("Fix the arguments and call the tool again.")
  })
})
