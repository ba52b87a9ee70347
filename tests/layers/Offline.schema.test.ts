/** Structured output of the offline model: always an instance of the schema, whatever the schema and the text. */
import { Ajv2020 } from "ajv/dist/2020.js"
import { describe, expect, it } from "vitest"
import type { Conversation } from "../../src/layers/offline/conversation.ts"
import { fillOutput } from "../../src/layers/offline/output.ts"
import { regex } from "../../src/layers/offline/strings.ts"

type Json = { readonly [key: string]: unknown }

/** Mulberry32: the same numbers on every run. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

// ajv passes over `__proto__` in `properties`, so that name has its own test below.
const names =
  "name age email summary score label tags date url reason items price count title constructor toString a b größe findings accepted phone id city when path steps".split(
    " "
  )
const formats = ["date", "date-time", "email", "uri", "uuid", "time", "ipv4", "hostname"]
const patterns = [
  "^[A-Z]{3}-\\d{4}$",
  "^\\d+$",
  "^[a-z]+$",
  "^(red|green)$",
  "^v\\d+\\.\\d+$",
  "^[a-f0-9]{8}$",
  "^\\S+@\\S+$",
  "^\\+?[0-9 ]{5,}$",
  "foo"
]

const schemaOf = (next: () => number, depth: number): Json => {
  const int = (n: number) => Math.floor(next() * n)
  const of = <A>(list: ReadonlyArray<A>): A => list[int(list.length)]!
  const kind = depth <= 0 ? int(7) : int(12)
  switch (kind) {
    case 0: {
      const min = int(30)
      return of<Json>([
        { type: "string" },
        { type: "string", minLength: min },
        { type: "string", maxLength: int(20) },
        { type: "string", minLength: min, maxLength: min + int(10) }
      ])
    }
    case 1:
      return { type: "string", format: of(formats) }
    case 2:
      return { type: "string", pattern: of(patterns) }
    case 3: {
      const low = int(100) - 50
      return of<Json>([
        { type: "integer", minimum: low, maximum: low + int(20) },
        { type: "number", exclusiveMinimum: low, exclusiveMaximum: low + 1 + int(5) },
        { type: "integer", multipleOf: 1 + int(5), minimum: low },
        { type: "number" },
        { type: "integer", exclusiveMinimum: low }
      ])
    }
    case 4:
      return { type: "boolean" }
    case 5:
      return of<Json>([
        { enum: ["positive", "negative", "neutral"] },
        { enum: [1, 2, "x", null] },
        { const: { a: [1] } },
        { const: "fixed" },
        { type: "null" }
      ])
    case 6:
      return of<Json>([{ type: ["string", "null"] }, { type: ["integer", "boolean"] }, {}])
    case 7: {
      const min = int(4)
      const items = schemaOf(next, depth - 1)
      return of<Json>([
        { type: "array", items },
        { type: "array", items, minItems: min, maxItems: min + int(3) },
        { type: "array", items: { type: of(["string", "integer", "number"]) }, minItems: min, uniqueItems: true }
      ])
    }
    case 8:
      return {
        type: "array",
        prefixItems: [schemaOf(next, depth - 1), schemaOf(next, depth - 1)],
        minItems: 2,
        items: false
      }
    case 9:
      return {
        [of(["anyOf", "oneOf"])]: [
          {
            type: "object",
            properties: { kind: { const: "a" }, v: schemaOf(next, depth - 1) },
            required: ["kind", "v"]
          },
          { type: "object", properties: { kind: { const: "b" } }, required: ["kind"], additionalProperties: false }
        ]
      }
    default: {
      const keys = [...new Set(Array.from({ length: 1 + int(5) }, () => of(names)))]
      const properties = Object.fromEntries(keys.map((key) => [key, schemaOf(next, depth - 1)]))
      const required = keys.filter(() => next() < 0.7)
      const object: Json = {
        type: "object",
        properties,
        required,
        ...(kind !== 11 && next() < 0.5 ? { additionalProperties: false } : {})
      }
      return kind === 11
        ? {
            allOf: [
              object,
              { type: "object", properties: { extra: { type: "string", minLength: 1 } }, required: ["extra"] }
            ]
          }
        : object
    }
  }
}

const texts = [
  "",
  "My name is Ann Lee, I am 41, mail ann@example.org, https://example.org/x on 3 May 2024.",
  "# Title\n\n- first item costs $4.50\n- second item costs 7,5 €\n\nThis was bad, really bad!",
  "東京は日本の首都です。人口は約1400万人です。",
  '\u0000\u0001\ud800 __proto__ constructor {"a": [1,2',
  "a ".repeat(3_000),
  "red v1.2 ABC-1234 foo deadbeef +44 1234 567"
]

const conversation = (text: string): Conversation => ({
  instructions: "Extract what is asked. Score from 1 to 10.",
  task: "",
  documents: text === "" ? [] : [{ name: undefined, text }],
  message: text,
  earlier: [],
  calls: [],
  results: [],
  unreadable: [],
  unread: 0,
  length: 1
})

const makeAjv = () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: true, ownProperties: true })
  ajv.addFormat("date", /^\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])$/)
  ajv.addFormat("date-time", {
    validate: (text: string) =>
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text))
  })
  ajv.addFormat("time", /^\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/)
  ajv.addFormat("email", /^[^\s@]+@[^\s@]+\.[^\s@]+$/)
  ajv.addFormat("uri", { validate: (text: string) => URL.canParse(text) })
  ajv.addFormat("uuid", /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i)
  ajv.addFormat("ipv4", /^(?:\d{1,3}\.){3}\d{1,3}$/)
  ajv.addFormat("hostname", /^[a-z0-9.-]+$/i)
  return ajv
}

describe("an instance of any schema", () => {
  it("fills 300 generated schemas from 7 texts with valid instances", () => {
    const next = random(7)
    const failures: Array<string> = []
    let checked = 0
    for (let i = 0; i < 300; i++) {
      const schema: Json = {
        type: "object",
        properties: { value: schemaOf(next, 3), other: schemaOf(next, 2) },
        required: ["value"]
      }
      const validate = makeAjv().compile(schema)
      for (const text of texts) {
        const found = fillOutput(schema, conversation(text), 0)
        checked++
        const value = found === undefined ? undefined : (JSON.parse(JSON.stringify(found.value)) as unknown)
        if (!validate(value))
          failures.push(
            `${JSON.stringify(schema)} <- ${JSON.stringify(text.slice(0, 30))}: ${JSON.stringify(value)?.slice(0, 200)} ${JSON.stringify(validate.errors?.[0])}`
          )
      }
    }
    expect(checked).toBe(2_100)
    expect(failures.toSorted((a, b) => a.length - b.length).slice(0, 5)).toEqual([])
  }, 60_000)

  it.each([
    [
      "a recursive tree",
      {
        $defs: {
          node: {
            type: "object",
            properties: { name: { type: "string" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
            required: ["name", "children"],
            additionalProperties: false
          }
        },
        $ref: "#/$defs/node"
      }
    ],
    [
      "a recursive list",
      {
        $defs: {
          list: {
            anyOf: [
              { type: "null" },
              {
                type: "object",
                properties: { head: { type: "integer" }, tail: { $ref: "#/$defs/list" } },
                required: ["head", "tail"]
              }
            ]
          }
        },
        type: "object",
        properties: { list: { $ref: "#/$defs/list" } },
        required: ["list"]
      }
    ],
    [
      "a reference to the root",
      {
        type: "object",
        properties: { next: { anyOf: [{ $ref: "#" }, { type: "null" }] }, label: { type: "string" } },
        required: ["next", "label"]
      }
    ],
    [
      "encoded references",
      {
        $defs: { "a/b c": { type: "integer", minimum: 3 } },
        type: "object",
        properties: { n: { $ref: "#/$defs/a~1b%20c" } },
        required: ["n"]
      }
    ],
    [
      "dependent properties",
      {
        type: "object",
        properties: { email: { type: "string", format: "email" }, phone: { type: "string" } },
        dependentRequired: { email: ["phone"] }
      }
    ],
    [
      "a list that contains",
      {
        type: "object",
        properties: { l: { type: "array", items: { type: "integer" }, contains: { const: 7 }, maxItems: 3 } },
        required: ["l"]
      }
    ],
    [
      "an open record",
      {
        type: "object",
        properties: { r: { type: "object", additionalProperties: { type: "number" } } },
        required: ["r"]
      }
    ]
  ])("fills %s", (_, schema) => {
    const validate = makeAjv().compile(schema)
    for (const text of texts) {
      const found = fillOutput(schema, conversation(text), 0)
      expect(validate(found?.value), JSON.stringify([found?.value, validate.errors])).toBe(true)
    }
  })

  it("gives nothing, rather than something wrong, for a schema that nothing satisfies", () => {
    expect(
      fillOutput({ type: "object", properties: { a: { not: {} } }, required: ["a"] }, conversation("x"), 0)
    ).toBeUndefined()
    expect(
      fillOutput(
        { type: "object", properties: { a: { type: "string", pattern: "^a$", minLength: 5 } }, required: ["a"] },
        conversation("x"),
        0
      )
    ).toBeUndefined()
  })

  it("does not add to the prototype of an object", () => {
    const schema = JSON.parse(
      '{"type":"object","properties":{"__proto__":{"type":"string"}},"required":["__proto__"]}'
    ) as Json
    const found = fillOutput(schema, conversation("hello there"), 0)
    expect(Object.keys(found?.value as object)).toEqual(["__proto__"])
    expect(({} as Json)["polluted"]).toBeUndefined()
    expect(regex("(")).toBeUndefined()
  })
})
