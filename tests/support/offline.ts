/** What the tests of the offline model share: tools, transcripts, a text. */
import { Effect, Schema } from "effect"
import { LanguageModel, type Prompt, Tool, Toolkit } from "effect/ai"
import * as Offline from "../../src/layers/Offline.ts"

export const quiet = Offline.layerWith({ announce: false })
export const N = Schema.Finite
export const tool = (
  name: string,
  description: string,
  fields: { readonly [name: string]: Schema.Codec<any, any> | Schema.optional<Schema.Codec<any, any>> }
) => Tool.make(name, { description, parameters: Schema.Struct(fields), success: Schema.Unknown })

export const tools = Toolkit.make(
  tool("add", "Add two numbers", { a: N, b: N }),
  tool("subtract", "Subtract one number from another", { a: N, b: N }),
  tool("multiply", "Multiply two numbers", { a: N, b: N }),
  tool("get_weather", "Get the current weather for a city", {
    city: Schema.String,
    unit: Schema.optional(Schema.Literals(["celsius", "fahrenheit"]))
  }),
  tool("send_email", "Send an email message", { to: Schema.String, subject: Schema.String, body: Schema.String }),
  tool("search", "Search the web for information", { query: Schema.String }),
  tool("convert_units", "Convert a value between units", { value: N, from: Schema.String, to: Schema.String }),
  tool("book_table", "Book a table at a restaurant", {
    restaurant: Schema.String,
    people: Schema.Int,
    date: Schema.String
  }),
  tool("translate", "Translate text to another language", { text: Schema.String, target_language: Schema.String }),
  tool("read_file", "Read a file from disk", { path: Schema.String }),
  tool("average", "Average of a list of numbers", { numbers: Schema.Array(N) })
)

export const ask = (prompt: Prompt.RawInput, toolChoice: unknown = "auto") =>
  LanguageModel.generateText({
    prompt,
    toolkit: tools,
    disableToolCallResolution: true,
    toolChoice: toolChoice as "auto"
  })

export const calls = (prompt: Prompt.RawInput, toolChoice?: unknown) =>
  Effect.map(ask(prompt, toolChoice), (response) =>
    response.toolCalls.map((call) => ({ name: call.name, params: call.params }))
  )

export const say = (prompt: Prompt.RawInput) =>
  Effect.map(LanguageModel.generateText({ prompt }), (response) => response.text)
export const withSystem = (system: string, user: string): Prompt.RawInput => [
  { role: "system", content: system },
  { role: "user", content: user }
]

/** The transcript after the tools of one step have run. */
export const after = (
  user: string,
  made: ReadonlyArray<{
    readonly name: string
    readonly params: unknown
    readonly result: unknown
    readonly isFailure?: boolean
  }>
): Prompt.RawInput => [
  { role: "user", content: user },
  {
    role: "assistant",
    content: made.map((call, i) => ({
      type: "tool-call" as const,
      id: `c${i}`,
      name: call.name,
      params: call.params,
      providerExecuted: false
    }))
  },
  {
    role: "tool",
    content: made.map((call, i) => ({
      type: "tool-result" as const,
      id: `c${i}`,
      name: call.name,
      isFailure: call.isFailure ?? false,
      result: call.result,
      providerExecuted: false
    }))
  }
]

export const story =
  "The old bridge in Porto was built in 1886 by Théophile Seyrig. It spans the river Douro. The upper deck carries the metro line. The lower deck carries cars. Every year millions of tourists walk across it. In 2016 the city of Porto decided to restore the lower deck. The work cost 3.3 million euros. Local shops complained about the noise."
