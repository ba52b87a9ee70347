/** Structured output of the offline model: what its values are. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { LanguageModel, type Prompt } from "effect/ai"
import * as ModelInfo from "../../src/services/ModelInfo.ts"
import { quiet, N, say, withSystem, after, story } from "../support/offline.ts"

describe("structured output", () => {
  const Verdict = Schema.Struct({
    label: Schema.Literals(["positive", "negative", "neutral"]),
    score: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
  })
  const object = <S extends Schema.Encoder<Record<string, any>, unknown>>(schema: S, prompt: Prompt.RawInput) =>
    Effect.map(
      LanguageModel.generateObject({ prompt, schema, objectName: "out" }),
      (response) => response.value as S["Type"]
    )

  it.effect("classifies feeling and routes by what is said of the labels", () =>
    Effect.gen(function* () {
      expect((yield* object(Verdict, "I absolutely hated this film; it was boring.")).label).toBe("negative")
      expect((yield* object(Verdict, "What a lovely day, I love it!")).label).toBe("positive")
      expect((yield* object(Verdict, "The train leaves at noon.")).label).toBe("neutral")
      const Route = Schema.Struct({ route: Schema.Literals(["billing", "technical", "sales"]) })
      const system =
        "Route the request.\n- billing: invoices, refunds and payments\n- technical: bugs and errors\n- sales: prices and new contracts"
      expect((yield* object(Route, withSystem(system, "I was charged twice, please refund me."))).route).toBe("billing")
      expect((yield* object(Route, withSystem(system, "The app crashes when I open it."))).route).toBe("technical")
      expect(
        (yield* object(Route, withSystem(system, "We want a contract for 40 seats, what are your prices?"))).route
      ).toBe("sales")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("extracts names, numbers, dates and addresses from the user's text, never from the instructions", () =>
    Effect.gen(function* () {
      const Person = Schema.Struct({ name: Schema.String, age: Schema.Int, email: Schema.String, city: Schema.String })
      expect(
        yield* object(
          Person,
          withSystem(
            "Extract the person. For example Bob Stone, 99 years, bob@nowhere.test, Paris.",
            "My name is José García, I am 34 years old, I live in Berlin and my mail is jose@example.org."
          )
        )
      ).toEqual({ name: "José García", age: 34, email: "jose@example.org", city: "Berlin" })
      const Invoice = Schema.Struct({
        invoiceNumber: Schema.String,
        date: Schema.String,
        total: N,
        currency: Schema.String
      })
      expect(
        yield* object(
          Invoice,
          "Invoice INV-2024-001\nDate: 3 May 2024\n\n- Keyboard $91.00\n- Mouse $20.00\n\nTotal: $111.00"
        )
      ).toEqual({ invoiceNumber: "INV-2024-001", date: "2024-05-03", total: 111, currency: "USD" })
    }).pipe(Effect.provide(quiet))
  )

  it.effect("takes the items of an enumeration inside a sentence", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ values: Schema.Array(Schema.String) })
      expect(yield* object(schema, "Lisbon, Porto and Faro are in Portugal.")).toEqual({
        values: ["Lisbon", "Porto", "Faro"]
      })
      expect(yield* object(schema, "- tea\n- coffee with milk\n- water")).toEqual({
        values: ["tea", "coffee with milk", "water"]
      })
    }).pipe(Effect.provide(quiet))
  )

  it.effect("takes the numbers of a text for a list of any numbers, and cuts none in two", () =>
    Effect.gen(function* () {
      const text = "They cost 1,234.50, 12 and 3.5 EUR."
      for (const item of [Schema.Number, Schema.Finite, Schema.NullOr(Schema.Number)])
        expect(yield* object(Schema.Struct({ prices: Schema.Array(item) }), text)).toEqual({
          prices: [1234.5, 12, 3.5]
        })
      const Items = Schema.Struct({ items: Schema.Array(Schema.String) })
      expect(yield* object(Items, "Buy milk, 1,000 eggs, and bread.")).toEqual({
        items: ["Buy milk", "1,000 eggs", "bread"]
      })
    }).pipe(Effect.provide(quiet))
  )

  it.effect("makes an object of each clause, the last one too", () =>
    Effect.gen(function* () {
      const People = Schema.Struct({ people: Schema.Array(Schema.Struct({ name: Schema.String, age: Schema.Int })) })
      const people = [
        { name: "Ann", age: 31 },
        { name: "Bob", age: 27 }
      ]
      for (const text of ["Ann is 31 and Bob is 27.", "Ann is 31 years old, and Bob is 27 years old."])
        expect(yield* object(People, text)).toEqual({ people })
    }).pipe(Effect.provide(quiet))
  )

  it.effect("rates worse writing lower, within the scale that is written", () =>
    Effect.gen(function* () {
      const Judgement = Schema.Struct({ score: Schema.Int, reason: Schema.String })
      const system = "Judge the text. Score from 1 to 10."
      const bad = yield* object(
        Judgement,
        withSystem(
          system,
          "Teh report is is late. It was written by the team in order to utilize the the tools. We definately recieve it alot."
        )
      )
      const good = yield* object(
        Judgement,
        withSystem(
          system,
          "The report arrived on Monday. It explains the plan in three short steps. The team can start at once."
        )
      )
      expect(good.score).toBeGreaterThan(bad.score)
      for (const { score } of [good, bad]) {
        expect(score).toBeGreaterThanOrEqual(1)
        expect(score).toBeLessThanOrEqual(10)
      }
      expect(bad.reason).toMatch(/is is|Teh/)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("reads the output format that the agent loop sets", () =>
    Effect.gen(function* () {
      const text = yield* say(`Count:\n\n${story}`).pipe(
        Effect.provideService(ModelInfo.OutputFormat, {
          name: "counts",
          description: undefined,
          jsonSchema: {
            type: "object",
            properties: { sentenceCount: { type: "integer" } },
            required: ["sentenceCount"]
          }
        })
      )
      expect(JSON.parse(text)).toEqual({ sentenceCount: 8 })
    }).pipe(Effect.provide(quiet))
  )

  it.effect("takes numbers from tool results first", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ answer: N })
      expect(
        yield* object(schema, after("What is 2 + 40?", [{ name: "add", params: { a: 2, b: 40 }, result: 42 }]))
      ).toEqual({ answer: 42 })
    }).pipe(Effect.provide(quiet))
  )

  it.effect("fails with a typed error for a schema that no value satisfies", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        say("x").pipe(
          Effect.provideService(ModelInfo.OutputFormat, {
            name: "none",
            description: undefined,
            jsonSchema: { type: "object", properties: { a: { not: {} } }, required: ["a"] }
          })
        )
      )
      expect(error._tag).toBe("AiError")
      expect(error.reason._tag).toBe("UnsupportedSchemaError")
      expect(error.isRetryable).toBe(false)
    }).pipe(Effect.provide(quiet))
  )
})
