/**
 * What the conformance scenarios expect of a server, by the names that they call. Tools that a runner can be are
 * runners; what the scenarios ask beyond that (asking the client, resources, prompts) is registered next to them, as a
 * user of `registrations` would.
 */
import { Effect, Layer, Schema } from "effect"
import { McpSchema, McpServer as EffectMcpServer } from "effect/ai"
import { Chain, McpServer, Runner } from "troupe"
import { changes, inputRequired } from "./mcpFixtureRaw.ts"

const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"))
const image = {
  type: "image" as const,
  mimeType: "image/png",
  data: bytes("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
}
const audio = {
  type: "audio" as const,
  mimeType: "audio/wav",
  data: bytes("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")
}
const text = (value: string) => ({ type: "text" as const, text: value })
const embedded = (uri: string, mimeType: string, value: string) => ({
  type: "resource" as const,
  resource: { uri, mimeType, text: value }
})

const Nothing = Schema.Struct({ unused: Schema.optionalKey(Schema.String) })
const noInput = { parameters: Nothing, input: () => "" }

/** A runner that answers with what is written here. */
const says = (name: string, answer: string) =>
  Runner.make(name, { description: `Tests ${name}`, run: () => Effect.succeed(answer) })
const shows = (name: string, content: ReadonlyArray<McpSchema.ContentBlock>) =>
  McpServer.tool(says(name, "shown"), { ...noInput, content: () => content })

const pause = says("pause", "paused")
const steps = Chain.make("test_tool_with_progress", [pause, pause, pause])

/** The client, where it has a session: without one the client cannot be asked in the middle of a run. */
const client = Effect.gen(function* () {
  const session = yield* Effect.serviceOption(McpSchema.McpServerClient)
  return yield* session._tag === "Some" ? session.value.getClient : Effect.fail("This needs a session")
})
type Form = ConstructorParameters<typeof McpSchema.ElicitRequestFormParams>[0]["requestedSchema"]

/** What the connected client answers to a form. */
const ask = (message: string, requestedSchema: Form) =>
  Effect.gen(function* () {
    const answer = yield* (yield* client).elicit(new McpSchema.ElicitRequestFormParams({ message, requestedSchema }))
    const content = answer.action === "accept" ? answer.content : {}
    return `action=${answer.action}, content=${JSON.stringify(content)}`
  }).pipe(Effect.scoped)

const asks = (name: string, form: Form) =>
  McpServer.tool(
    Runner.make(name, { description: `Tests ${name}`, run: () => ask("Please fill in the form", form) }),
    noInput
  )

const log = (data: string) =>
  Effect.flatMap(EffectMcpServer.McpServer, (server) =>
    server.notifications["notifications/message"]({ level: "info", data })
  )

/** The tools that are runners. */
export const tools = [
  McpServer.tool(says("test_simple_text", "This is a simple text response for testing."), noInput),
  shows("test_image_content", [image]),
  shows("test_audio_content", [audio]),
  shows("test_embedded_resource", [embedded("test://embedded-resource", "text/plain", "An embedded resource.")]),
  shows("test_multiple_content_types", [
    text("Multiple content types test:"),
    image,
    embedded("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`)
  ]),
  McpServer.tool(
    Runner.make("test_tool_with_logging", {
      description: "Logs while it runs",
      run: () =>
        Effect.as(
          Effect.forEach(["started", "processing", "completed"], (word) => log(`Tool ${word}`)),
          "logged"
        )
    }),
    noInput
  ),
  McpServer.tool(steps, { ...noInput, description: "Tells its progress", progress: (event) => event._tag }),
  McpServer.tool(steps, {
    ...noInput,
    name: "test_streaming_elicitation",
    description: "Tells its progress on the stream of its answer",
    progress: (event) => event._tag
  }),
  McpServer.tool(
    Runner.make("test_logging_tool", {
      description: "Logs for those who want to know",
      run: () => Effect.as(log("a line"), "logged")
    }),
    noInput
  ),
  McpServer.tool(
    Runner.make("test_error_handling", {
      description: "Always fails",
      run: () => Effect.fail(new Error("This tool intentionally returns an error for testing"))
    }),
    noInput
  ),
  McpServer.tool(says("test_reconnection", "It has not been interrupted."), noInput),
  McpServer.tool(
    Runner.make("test_sampling", {
      description: "Asks the client's model",
      run: (prompt: string) =>
        Effect.gen(function* () {
          const answer = yield* (yield* client).createMessage({
            messages: [{ role: "user", content: text(prompt) }],
            maxTokens: 100
          })
          return `LLM response: ${JSON.stringify(answer.content)}`
        }).pipe(Effect.scoped)
    }),
    { parameters: Schema.Struct({ prompt: Schema.String }), input: ({ prompt }) => prompt }
  ),
  McpServer.tool(
    Runner.make("test_elicitation", {
      description: "Asks the client's person",
      run: (message: string) =>
        ask(message, {
          type: "object",
          properties: { response: { type: "string", description: "The answer" } },
          required: ["response"]
        })
    }),
    { parameters: Schema.Struct({ message: Schema.String }), input: ({ message }) => message }
  ),
  asks("test_elicitation_sep1034_defaults", {
    type: "object",
    properties: {
      name: { type: "string", description: "Name", default: "John Doe" },
      age: { type: "integer", description: "Age", default: 30 },
      score: { type: "number", description: "Score", default: 95.5 },
      status: { type: "string", description: "Status", enum: ["active", "inactive", "pending"], default: "active" },
      verified: { type: "boolean", description: "Verified", default: true }
    },
    required: []
  }),
  asks("test_elicitation_sep1330_enums", {
    type: "object",
    properties: {
      untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
      titledSingle: {
        type: "string",
        oneOf: [
          { const: "value1", title: "First Option" },
          { const: "value2", title: "Second Option" },
          { const: "value3", title: "Third Option" }
        ]
      },
      legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["One", "Two", "Three"] },
      untitledMulti: {
        type: "array",
        minItems: 1,
        maxItems: 3,
        items: { type: "string", enum: ["option1", "option2"] }
      },
      titledMulti: {
        type: "array",
        minItems: 1,
        maxItems: 3,
        items: {
          anyOf: [
            { const: "value1", title: "First Choice" },
            { const: "value2", title: "Second Choice" }
          ]
        }
      }
    },
    required: []
  })
]

const id = McpSchema.param("id", Schema.String)
const contents = (uri: string, mimeType: string, content: { readonly text: string } | { readonly blob: Uint8Array }) =>
  Effect.succeed({ contents: [{ uri, mimeType, ...content }] })
const resources = Layer.mergeAll(
  EffectMcpServer.resource({
    uri: "test://static-text",
    name: "static-text",
    mimeType: "text/plain",
    content: contents("test://static-text", "text/plain", { text: "The static text resource." })
  }),
  EffectMcpServer.resource({
    uri: "test://static-binary",
    name: "static-binary",
    mimeType: "image/png",
    content: contents("test://static-binary", "image/png", { blob: image.data })
  }),
  EffectMcpServer.resource({
    uri: "test://watched-resource",
    name: "watched-resource",
    mimeType: "text/plain",
    content: contents("test://watched-resource", "text/plain", { text: "Watched" })
  }),
  EffectMcpServer.resource`test://template/${id}/data`({
    name: "template",
    mimeType: "application/json",
    content: (uri, value) =>
      contents(uri, "application/json", {
        text: JSON.stringify({ id: value, templateTest: true, data: `Data for ID: ${value}` })
      })
  })
)

const user = (content: McpSchema.PromptMessage["content"]) => ({ role: "user" as const, content })
const prompts = Layer.mergeAll(
  EffectMcpServer.prompt({
    name: "test_simple_prompt",
    description: "A prompt without arguments",
    content: () => Effect.succeed("This is a simple prompt for testing.")
  }),
  EffectMcpServer.prompt({
    name: "test_prompt_with_arguments",
    description: "A prompt with arguments",
    parameters: { arg1: Schema.String, arg2: Schema.String },
    completion: { arg1: () => Effect.succeed(["paris", "park", "party"]) },
    content: ({ arg1, arg2 }) => Effect.succeed(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)
  }),
  EffectMcpServer.prompt({
    name: "test_prompt_with_embedded_resource",
    description: "A prompt with a resource in it",
    parameters: { resourceUri: Schema.String },
    content: ({ resourceUri }) =>
      Effect.succeed([
        user(embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
        user(text("Please process the embedded resource above."))
      ])
  }),
  EffectMcpServer.prompt({
    name: "test_prompt_with_image",
    description: "A prompt with an image in it",
    content: () => Effect.succeed([user(image), user(text("Please analyze the image above."))])
  })
)

/** What is registered next to the tools. */
export const registrations = Layer.mergeAll(
  resources,
  prompts,
  Layer.effectDiscard(inputRequired),
  Layer.effectDiscard(changes)
)
