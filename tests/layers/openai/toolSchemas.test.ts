/** Schemas of tools that OpenAI refuses go out in a form that it takes, and arguments are still checked by the true one. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Tool } from "effect/ai"
import { Agent, Mcp, OpenAi } from "troupe"
import { rawServer } from "../../support/mcpRaw.ts"
import { bodyOf } from "../../support/openAiAsk.ts"
import * as Server from "../../support/openAiServer.ts"

type Json = Readonly<Record<string, any>>

/** What a strict server gets as tools with these schemas. */
const sent = (schemas: ReadonlyArray<object>) =>
  Effect.map(
    bodyOf("responses", {
      tools: schemas.map((schema, at) => Tool.dynamic(`tool_${at}`, { description: "", parameters: schema as never }))
    }),
    (body) => body["tools"] as ReadonlyArray<Json>
  )

const parametersOf = (schema: object) => Effect.map(sent([schema]), ([tool]) => tool!["parameters"] as Json)

const text = { type: "string" }
const number = { type: "number" }

describe("at the top", () => {
  for (const union of ["anyOf", "oneOf"]) {
    it.live(`the branches of ${union} are merged, and only what all require is required`, () =>
      Effect.gen(function* () {
        const parameters = yield* parametersOf({
          type: "object",
          properties: { id: text },
          required: ["id"],
          [union]: [
            { properties: { a: text, kind: { const: "a" }, both: number }, required: ["a", "both"] },
            { properties: { b: number, kind: { const: "b" }, both: number }, required: ["b", "both"] }
          ]
        })
        assert.deepStrictEqual(parameters["properties"], {
          id: text,
          a: text,
          kind: { anyOf: [{ const: "a" }, { const: "b" }] },
          both: number,
          b: number
        })
        assert.deepStrictEqual(parameters["required"], ["id", "both"])
        assert.include(parameters["description"], "Give the fields of one of: a, both; b, both.")
      })
    )
  }

  it.live("the parts of allOf are merged, and all that they require is required", () =>
    Effect.gen(function* () {
      const parameters = yield* parametersOf({
        type: "object",
        allOf: [
          { properties: { a: text }, required: ["a"] },
          { anyOf: [{ required: ["b"] }, { required: ["c"] }] },
          { properties: { b: number, c: number } }
        ]
      })
      assert.deepStrictEqual(parameters["properties"], { a: text, b: number, c: number })
      assert.deepStrictEqual(parameters["required"], ["a"])
    })
  )

  it.live("a reference, also in a branch and to itself, is followed", () =>
    Effect.gen(function* () {
      const parameters = yield* parametersOf({
        type: "object",
        anyOf: [{ $ref: "#/$defs/a" }, { $ref: "#/$defs/loop" }, { type: "null" }],
        $defs: {
          a: { type: "object", properties: { x: text }, required: ["x"] },
          loop: { anyOf: [{ $ref: "#/$defs/loop" }, { properties: { y: { $ref: "#/$defs/a" } } }] }
        }
      })
      assert.deepStrictEqual(parameters["properties"], { x: text, y: { $ref: "#/$defs/a" } })
    })
  )

  it.live("not, enum and const are left out", () =>
    Effect.gen(function* () {
      const parameters = yield* parametersOf({
        type: "object",
        properties: { a: text },
        not: {},
        enum: [{}],
        const: {}
      })
      assert.deepStrictEqual(parameters, { type: "object", properties: { a: text } })
    })
  )
})

describe("inside", () => {
  it.live("arrays get items, and tuples of older drafts one schema for all", () =>
    Effect.gen(function* () {
      const parameters = yield* parametersOf({
        type: "object",
        properties: {
          any: { type: "array" },
          maybe: { type: ["array", "null"] },
          tuple: { type: "array", items: [text, number] },
          prefix: { type: "array", prefixItems: [text], items: false },
          nested: { type: "array", items: { type: "array", items: true } }
        }
      })
      assert.deepStrictEqual(parameters["properties"], {
        any: { type: "array", items: {} },
        maybe: { type: ["array", "null"], items: {} },
        tuple: { type: "array", items: { anyOf: [text, number] } },
        prefix: { type: "array", prefixItems: [text], items: {} },
        nested: { type: "array", items: { type: "array", items: {} } }
      })
    })
  )

  it.live("references that lead away or nowhere stand for anything, and others are kept or replaced", () =>
    Effect.gen(function* () {
      const parameters = yield* parametersOf({
        type: "object",
        properties: {
          foreign: { $ref: "https://example.com/schema.json", description: "F" },
          nowhere: { $ref: "#/$defs/none" },
          named: { $ref: "#anchor" },
          kept: { $ref: "#/$defs/text" },
          root: { $ref: "#" },
          other: { $ref: "#/properties/own" },
          own: { type: "object", properties: { again: { $ref: "#/properties/own" } } }
        },
        $defs: { text }
      })
      const { foreign, kept, named, nowhere, other, root } = parameters["properties"] as Json
      assert.deepStrictEqual([foreign, nowhere, named], [{ description: "F" }, {}, {}])
      assert.deepStrictEqual([kept, root], [{ $ref: "#/$defs/text" }, { $ref: "#" }])
      assert.strictEqual(other!["type"], "object")
    })
  )

  it.live("references that double at each level do not grow without end", () =>
    Effect.gen(function* () {
      const properties = Object.fromEntries(
        Array.from({ length: 40 }, (_, level) => {
          const next = { $ref: `#/properties/p${level + 1}` }
          return [`p${level}`, level === 39 ? text : { type: "object", properties: { a: next, b: next } }]
        })
      )
      const [tool] = yield* sent([{ type: "object", properties }])
      assert.isBelow(JSON.stringify(tool).length, 1_000_000)
    })
  )

  it.live("booleans, other languages' types, empty enums and fields of a wrong kind", () =>
    Effect.gen(function* () {
      const parameters = yield* parametersOf({
        type: "object",
        properties: {
          any: true,
          none: false,
          str: { type: "str" },
          odd: { type: "any", description: 5 },
          empty: { type: "string", enum: [] },
          twice: { enum: ["a", "a"] },
          required: { type: "object", properties: [], required: "a" },
          lookahead: { type: "string", pattern: "^(?=a)" },
          broken: { type: "string", pattern: "(" }
        },
        required: null
      })
      const { broken, lookahead, ...rest } = parameters["properties"] as Json
      assert.deepStrictEqual(rest, {
        any: {},
        str: text,
        odd: {},
        empty: text,
        twice: { enum: ["a"] },
        required: { type: "object" }
      })
      for (const one of [broken, lookahead]) assert.include(one!["description"], "regular expression")
    })
  )
})

it.live("a sound schema goes out as it is, held to strictly where it can be", () =>
  Effect.gen(function* () {
    const strict = { type: "object", properties: { a: text }, required: ["a"], additionalProperties: false }
    const open = {
      type: "object",
      properties: { a: { anyOf: [text, number] }, b: { $ref: "#/$defs/n" } },
      $defs: { n: number }
    }
    const beside = { ...strict, properties: { a: { $ref: "#/$defs/n", description: "beside" } }, $defs: { n: number } }
    const many = Array.from({ length: 1001 }, (_, at) => `v${at}`)
    const large = { ...strict, properties: { a: { type: "string", enum: many } } }
    const tools = yield* sent([strict, open, beside, large])
    assert.deepStrictEqual(
      tools.map(({ parameters }) => parameters),
      [strict, open, beside, large]
    )
    assert.deepStrictEqual(
      tools.map((tool) => tool["strict"]),
      [true, false, false, false]
    )
  })
)

it.live("a union of structs as parameters goes out as an object", () =>
  Effect.gen(function* () {
    const Either = Tool.make("either", {
      parameters: Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.Finite })]) as never
    })
    const { tools } = yield* bodyOf("responses", { tools: [Either as Tool.Any] })
    const { parameters } = (tools as ReadonlyArray<Json>)[0]!
    assert.deepStrictEqual(Object.keys((parameters as Json)["properties"]), ["a", "b"])
  })
)

it.live("an agent's calls of such a tool are checked by the schema of its server", () =>
  Effect.gen(function* () {
    const inputSchema = {
      type: "object",
      anyOf: [
        { properties: { a: text }, required: ["a"] },
        { properties: { b: number }, required: ["b"] }
      ]
    }
    const Servers = Mcp.layer({
      servers: { raw: rawServer({ "tools/list": { tools: [{ name: "good", inputSchema }] } }) }
    })
    const call = (args: string) => ({ calls: [{ name: "good", args }] })
    const server = yield* Server.make([call("{}"), call('{"a":"x"}'), { text: "done" }])
    const Model = OpenAi.layer({ model: "m", baseUrl: server.url, api: "responses", apiKey: Redacted.make("k") })
    const { transcript } = yield* Agent.make("agent", { tools: [Mcp.tools()] })
      .result("go")
      .pipe(Effect.provide(Layer.merge(Servers, Model)))
    const results = transcript.content.flatMap((message) =>
      message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part] : [])) : []
    )
    assert.deepStrictEqual(
      results.map(({ isFailure }) => isFailure),
      [true, false]
    )
  }).pipe(Effect.scoped)
)
