/** Tools of the offline model: which it calls, with what arguments, and what it says of their results. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import { quiet, N, ask, calls, after } from "../support/offline.ts"

describe("tools", () => {
  it.effect.each<readonly [string, ReadonlyArray<{ readonly name: string; readonly params: unknown }>]>([
    ["What is 2 + 40?", [{ name: "add", params: { a: 2, b: 40 } }]],
    ["Please add 1,234.5 and -7", [{ name: "add", params: { a: 1234.5, b: -7 } }]],
    ["multiply twelve by three", [{ name: "multiply", params: { a: 12, b: 3 } }]],
    ["subtract 5 from 20", [{ name: "subtract", params: { a: 20, b: 5 } }]],
    ["20 - 5", [{ name: "subtract", params: { a: 20, b: 5 } }]],
    [
      "What's the weather in Oslo and Paris?",
      [
        { name: "get_weather", params: { city: "Oslo" } },
        { name: "get_weather", params: { city: "Paris" } }
      ]
    ],
    [
      "What's the weather like in São Paulo in fahrenheit, and what is 6 times 7?",
      [
        { name: "get_weather", params: { city: "São Paulo", unit: "fahrenheit" } },
        { name: "multiply", params: { a: 6, b: 7 } }
      ]
    ],
    [
      'Send an email to ann@example.com with subject "Lunch" saying see you at noon',
      [{ name: "send_email", params: { to: "ann@example.com", subject: "Lunch", body: "see you at noon" } }]
    ],
    ["convert 10 km to miles", [{ name: "convert_units", params: { value: 10, from: "km", to: "miles" } }]],
    [
      "Book a table for four at Noma tomorrow",
      [{ name: "book_table", params: { restaurant: "Noma", people: 4, date: "1970-01-02" } }]
    ],
    [
      'translate "good morning" to French',
      [{ name: "translate", params: { text: "good morning", target_language: "French" } }]
    ],
    ["read src/index.ts", [{ name: "read_file", params: { path: "src/index.ts" } }]],
    ["Search for the history of tea", [{ name: "search", params: { query: "history of tea" } }]],
    ["What is the average of 3, 4.5 and 12?", [{ name: "average", params: { numbers: [3, 4.5, 12] } }]],
    ["I'm in Berlin. How is the weather?", [{ name: "get_weather", params: { city: "Berlin" } }]],
    ["¿Cuánto es 3 + 4?", [{ name: "add", params: { a: 3, b: 4 } }]]
  ])("calls what fits for: %s", ([prompt, expected]) =>
    Effect.gen(function* () {
      expect(yield* calls(prompt)).toEqual(expected)
    }).pipe(Effect.provide(quiet))
  )

  it.effect.each([
    "Tell me a joke",
    "Hello",
    "",
    "I have 2 cats and 40 dogs",
    "The meeting went well.",
    "\u0000\ud800"
  ])("calls nothing for: %s", (prompt) =>
    Effect.gen(function* () {
      const response = yield* ask(prompt)
      expect(response.toolCalls).toEqual([])
      expect(response.finishReason).toBe("stop")
      expect(response.text.length).toBeGreaterThan(20)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("fills nested objects, arrays, enums, numbers with units and booleans of a raw JSON schema", () =>
    Effect.gen(function* () {
      const order = Tool.dynamic("create_order", {
        description: "Create an order for a customer",
        parameters: {
          $defs: {
            who: {
              type: "object",
              properties: { name: { type: "string" }, email: { type: "string", format: "email" } },
              required: ["name", "email"]
            }
          },
          type: "object",
          properties: {
            customer: { $ref: "#/$defs/who" },
            quantity: { type: "integer", minimum: 1 },
            price: { type: "number" },
            shipping: { enum: ["standard", "express"] },
            gift: { type: "boolean" },
            due: { type: "string", format: "date" },
            coupon: { type: "string", pattern: "^[A-Z]{4}\\d{2}$" }
          },
          required: ["customer", "quantity", "shipping", "gift"]
        }
      })
      const response = yield* LanguageModel.generateText({
        prompt:
          "Create an order for Maria Silva (maria@example.org): quantity 3, price $1,250.50, express shipping, without gift wrapping, due 3 May 2031.",
        toolkit: Toolkit.make(order),
        disableToolCallResolution: true
      })
      expect(response.toolCalls.map((call) => call.params)).toEqual([
        {
          customer: { name: "Maria Silva", email: "maria@example.org" },
          quantity: 3,
          price: 1250.5,
          shipping: "express",
          gift: false,
          due: "2031-05-03"
        }
      ])
    }).pipe(Effect.provide(quiet))
  )

  it.effect("answers in text from the results, and does not ask again", () =>
    Effect.gen(function* () {
      const response = yield* ask(after("What is 2 + 40?", [{ name: "add", params: { a: 2, b: 40 }, result: 42 }]))
      expect(response.toolCalls).toEqual([])
      expect(response.text).toContain("42")
      const two = yield* ask(
        after("Weather in Oslo and Paris?", [
          { name: "get_weather", params: { city: "Oslo" }, result: { sky: "cloudy", temperature: 4 } },
          { name: "get_weather", params: { city: "Paris" }, result: "sunny" }
        ])
      )
      for (const word of ["Oslo", "cloudy", "4", "Paris", "sunny"]) expect(two.text).toContain(word)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("reports a failed tool as failed", () =>
    Effect.gen(function* () {
      const response = yield* ask(
        after("What is 2 + 40?", [
          { name: "add", params: { a: 2, b: 40 }, result: { error: "out of paper" }, isFailure: true }
        ])
      )
      expect(response.toolCalls).toEqual([])
      expect(response.text).toMatch(/failed.*out of paper/)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("works a later step out of an earlier result, once", () =>
    Effect.gen(function* () {
      const prompt = "add 2 and 3, then multiply the result by 4"
      const first = { name: "add", params: { a: 2, b: 3 } }
      expect(yield* calls(prompt)).toEqual([first])
      const second = { name: "multiply", params: { a: 5, b: 4 } }
      expect(yield* calls(after(prompt, [{ ...first, result: 5 }]))).toEqual([second])
      const end = yield* ask(
        after(prompt, [
          { ...first, result: 5 },
          { ...second, result: 20 }
        ])
      )
      expect(end.toolCalls).toEqual([])
      expect(end.text).toContain("20")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("keeps to the tool choice", () =>
    Effect.gen(function* () {
      expect(yield* calls("What is 2 + 40?", "none")).toEqual([])
      expect(yield* calls("What is 2 + 40?", { tool: "search" })).toEqual([
        { name: "search", params: { query: "What is 2 + 40" } }
      ])
      expect((yield* calls("Tell me a joke", "required")).length).toBe(1)
      expect(yield* calls("Tell me a joke", { tool: "add" })).toMatchObject([{ name: "add" }])
      expect(yield* calls("What is 2 + 40?", { oneOf: ["multiply", "search"] })).not.toMatchObject([{ name: "add" }])
      expect(
        yield* calls(after("What is 2 + 40?", [{ name: "add", params: { a: 2, b: 40 }, result: 42 }]), { tool: "add" })
      ).toEqual([])
    }).pipe(Effect.provide(quiet))
  )

  it.effect("lets effect/ai run the tools it calls", () =>
    Effect.gen(function* () {
      const Add = Tool.make("add", {
        description: "Add two numbers",
        parameters: Schema.Struct({ a: N, b: N }),
        success: N
      })
      const kit = Toolkit.make(Add)
      const response = yield* LanguageModel.generateText({ prompt: "What is 17 plus 25?", toolkit: kit }).pipe(
        Effect.provide(kit.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) }))
      )
      expect(response.toolResults.map((result) => result.result)).toEqual([42])
      expect(response.finishReason).toBe("tool-calls")
    }).pipe(Effect.provide(quiet))
  )

  const text = { type: "string" }
  const number = { type: "number" }
  const dynamic = (
    name: string,
    description: string,
    properties: { readonly [name: string]: unknown },
    required: ReadonlyArray<string> = Object.keys(properties)
  ) => Tool.dynamic(name, { description, parameters: { type: "object", properties, required } })
  const desk = Toolkit.make(
    dynamic("get_order_status", "Look up the status of an order", { order_id: text }),
    dynamic("refund", "Refund a payment to the customer", { order_id: text, amount: number }),
    dynamic("schedule_meeting", "Schedule a meeting with people", {
      attendees: { type: "array", items: text },
      start: { type: "string", format: "date-time" },
      duration_minutes: { type: "integer" }
    }),
    dynamic(
      "search_flights",
      "Search flights between two cities",
      { origin: text, destination: text, date: { type: "string", format: "date" }, passengers: { type: "integer" } },
      ["origin", "destination"]
    ),
    dynamic("get_stock_price", "Get the stock price of a ticker symbol", { symbol: text }),
    dynamic(
      "create_user",
      "Create a user account",
      { name: text, email: text, admin: { type: "boolean" }, age: { type: "integer" } },
      ["name", "email"]
    ),
    dynamic("exchange", "Convert an amount of money between currencies", { amount: number, from: text, to: text }),
    dynamic("calculator", "Evaluate a math expression", { expression: text }),
    dynamic("list_files", "List the files of a directory", { directory: text }, []),
    dynamic("send_sms", "Send an SMS to a phone number", { phone: text, message: text }),
    dynamic("fetch_url", "Fetch a web page", { url: text }),
    dynamic(
      "set_light",
      "Turn a light on or off",
      { room: text, on: { type: "boolean" }, color: { enum: ["red", "green", "blue"] } },
      ["room", "on"]
    ),
    dynamic("billing_agent", "Handles invoices and refund questions", { input: text })
  )

  it.effect.each<readonly [string, string | undefined, unknown?]>([
    ["Where is my order #12345?", "get_order_status", { order_id: "12345" }],
    ["refund $45.90 for order ORD-991 because it was broken", "refund", { order_id: "ORD-991", amount: 45.9 }],
    [
      "Schedule a meeting with Anna Smith and Bob Jones on 3 June 2030 at 14:00 for 45 minutes",
      "schedule_meeting",
      { attendees: ["Anna Smith", "Bob Jones"], start: "2030-06-03T14:00:00.000Z", duration_minutes: 45 }
    ],
    [
      "Find flights from Lisbon to New York on 12 March 2031 for 2 passengers",
      "search_flights",
      { origin: "Lisbon", destination: "New York", date: "2031-03-12", passengers: 2 }
    ],
    [
      "Create an admin user named José Pérez with email jose@example.org, age 41",
      "create_user",
      { name: "José Pérez", email: "jose@example.org", admin: true, age: 41 }
    ],
    ["How much is 100 USD in euros?", "exchange", { amount: 100, from: "USD", to: "EUR" }],
    ["convert $250 to yen", "exchange", { amount: 250, from: "USD", to: "JPY" }],
    ["compute (2+3)*4^2", "calculator", { expression: "(2+3)*4^2" }],
    ["list the files in src/layers", "list_files", { directory: "src/layers" }],
    ["Text +44 7700 900123 saying I'm late", "send_sms", { phone: "+44 7700 900123", message: "I'm late" }],
    ["fetch https://example.com/a?b=1.", "fetch_url", { url: "https://example.com/a?b=1" }],
    ["turn off the kitchen light", "set_light", { room: "kitchen", on: false }],
    ["Turn on the light in the bedroom and make it red", "set_light", { room: "bedroom", on: true, color: "red" }],
    ["My invoice is wrong", "billing_agent", { input: "My invoice is wrong" }],
    ["write me a poem about autumn", undefined],
    ["bonjour", undefined]
  ])("of many tools picks one and fills it: %s", ([prompt, name, params]) =>
    Effect.gen(function* () {
      const response = yield* LanguageModel.generateText({ prompt, toolkit: desk, disableToolCallResolution: true })
      expect(response.toolCalls.map((call) => ({ name: call.name, params: call.params }))).toEqual(
        name === undefined ? [] : [{ name, params }]
      )
    }).pipe(Effect.provide(quiet))
  )
})
