/** Typed output of the demo model: literals of the text, or an error that names the field. */
import { assert, describe } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { fill, refusal } from "../../support/demo.ts"
import { it } from "../../support/edges.ts"

const { Boolean, Finite, Int, String } = Schema
type Fields = Schema.Struct.Fields

describe("a field is taken from", () => {
  it.effect.each<readonly [string, Fields, string, unknown]>([
    [
      "a label",
      { score: Int, reason: String },
      "score: 6, reason: The plot is thin",
      { score: 6, reason: "The plot is thin" }
    ],
    ["a label of several words", { dueDate: String }, "The due date: 2031-05-03", { dueDate: "2031-05-03" }],
    [
      "labels on one line",
      { total: Finite, paid: Boolean },
      "total = 1,250.50; paid: yes.",
      { total: 1250.5, paid: true }
    ],
    ["a label before a number", { population: Int }, "It has a population of 2100000.", { population: 2100000 }],
    ["a quoted label", { name: String }, '"name": "Ann"', { name: "Ann" }],
    ["a quoted string", { title: String }, 'The book is called "Faust".', { title: "Faust" }],
    ["quoted strings in order", { from: String, to: String }, "from “Rome” to 'Oslo'", { from: "Rome", to: "Oslo" }],
    ["numbers in order", { a: Finite, b: Finite }, "What is 2 and -40.5?", { a: 2, b: -40.5 }],
    [
      "JSON in the text",
      { score: Int, reason: String },
      'Here: {"score": 7, "reason": "fine"} ok',
      { score: 7, reason: "fine" }
    ],
    ["nested JSON", { who: Schema.Struct({ name: String }) }, '{"who": {"name": "Ann"}}', { who: { name: "Ann" } }],
    ["labels, for what is nested", { who: Schema.Struct({ name: String }) }, "name: Ann", { who: { name: "Ann" } }],
    [
      "a member of an enum that is named",
      { mood: Schema.Literals(["happy", "sad"]) },
      "I am so Sad today",
      { mood: "sad" }
    ],
    ["a labelled member", { mood: Schema.Literals(["happy", "sad"]) }, "mood: sad\nNot a happy day.", { mood: "sad" }],
    ["all numbers, for a list", { ns: Schema.Array(Finite) }, "3, 4.5 and 12", { ns: [3, 4.5, 12] }],
    [
      "all quoted strings, for a list",
      { tags: Schema.Array(String) },
      'use "red" and "green"',
      { tags: ["red", "green"] }
    ],
    ["a labelled list", { tags: Schema.Array(String) }, "tags: red, green", { tags: ["red", "green"] }],
    ["an arithmetic expression", { expression: String }, "What is (2 + 3) * 4?", { expression: "(2 + 3) * 4" }]
  ])("%s", ([, fields, text, expected]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* fill(fields, text), expected)
    })
  )

  it.effect("what may be missing is left out, or null", () =>
    Effect.gen(function* () {
      const fields = { n: Schema.NullOr(Int), at: Schema.optionalKey(String) }
      assert.deepStrictEqual(yield* fill(fields, "Nothing of that kind."), { n: null })
    })
  )

  it.effect("output that is not an object too", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* fill({ n: Schema.FiniteFromString }, "n: 42"), { n: 42 })
    })
  )
})

describe("a field is not guessed:", () => {
  it.effect.each<readonly [string, Fields, string, string]>([
    ["a score of a text", { score: Int, reason: String }, "The plot is thin, the prose is fine: 6 of 10.", "score"],
    [
      "an invoice",
      { invoiceTotal: Finite, dueDate: String, vendor: String },
      "Thanks for lunch, see you soon.",
      "invoiceTotal"
    ],
    ["a judgement", { isFraud: Boolean, confidence: Finite }, "Transfer of 400 EUR to my sister.", "isFraud"],
    ["a diagnosis", { diagnosis: String, dosageMg: Int }, "Patient has a cough since three days.", "diagnosis"],
    ["a number of something else", { dosageMg: Int }, "Patient has a cough since 3 days.", "dosageMg"],
    ["an amount with another unit", { confidence: Finite }, "400 €", "confidence"],
    ["one number of two", { score: Int }, "6 10", "score"],
    ["a number as a word", { n: Int }, "n: three", "n"],
    ["a fraction as a whole number", { n: Int }, "n: 2.5", "n"],
    ["a label with two values", { n: Int }, "n: 2\nn: 3", "n"],
    ["one quoted string of two", { title: String }, '"Faust" or "Egmont"', "title"],
    ["a choice that is denied", { mood: Schema.Literals(["happy", "sad"]) }, "I am not happy", "mood"],
    ["one of two choices", { mood: Schema.Literals(["happy", "sad"]) }, "happy or sad?", "mood"],
    ["a choice that is not there", { mood: Schema.Literals(["happy", "sad"]) }, "mood: angry", "mood"],
    ["a boolean", { urgent: Boolean }, "It is urgent!", "urgent"],
    ["JSON of another type", { n: Int }, '{"n": "five"}', "n"],
    ["an empty list", { tags: Schema.Array(String) }, "There are none.", "tags"],
    ["a field in a list", { items: Schema.Array(Schema.Struct({ n: Int })) }, "n: 5", "items"],
    ["several types", { x: Schema.Union([Int, String]) }, "x: 5", "x"]
  ])("%s", ([, fields, text, field]) =>
    Effect.gen(function* () {
      const refused = yield* refusal(fill(fields, text))
      assert.strictEqual(refused.field, field)
      assert.include(refused.message, `does not guess \`${field}\``)
      assert.include(refused.message, "Provide a language model")
      assert.strictEqual(refused.attempts, 1)
    })
  )
})
