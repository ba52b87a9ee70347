/** The part of the conformance fixture that needs more of the protocol than a run has. */
import { createHmac } from "node:crypto"
import { Context, Effect } from "effect"
import { McpSchema, McpServer } from "effect/ai"

const text = (value: string) => ({ type: "text" as const, text: value })

type Handler = Effect.Effect<
  McpSchema.CallToolResult | McpSchema.InputRequired,
  McpSchema.InvalidParams,
  McpSchema.McpRequestContext | McpServer.McpServer
>

const anyObject = { type: "object" as const, properties: {} }
const result = (value: string) => new McpSchema.CallToolResult({ content: [text(value)] })

/** A tool that needs more of the protocol than a run has. */
const raw = (name: string, handle: Handler, inputSchema: Record<string, unknown> = anyObject) =>
  Effect.gen(function* () {
    const server = yield* McpServer.McpServer
    yield* server.addTool({
      tool: new McpSchema.Tool({
        name,
        description: `Tests ${name}`,
        inputSchema: inputSchema as typeof McpSchema.Tool.fields.inputSchema.Type
      }),
      annotations: Context.empty(),
      handle: () => Effect.provideService(handle, McpServer.McpServer, server)
    })
  })

type Responses = NonNullable<McpSchema.McpRequestContext["Service"]["inputResponses"]>
interface Round {
  readonly responses: Responses
  readonly state: Record<string, unknown> | undefined
  readonly capabilities: Record<string, unknown>
}
type Answer = string | McpSchema.InputRequired

const secret = "only this fixture knows it"
const sign = (payload: Record<string, unknown>): string => {
  const data = JSON.stringify(payload)
  return JSON.stringify({ data, mac: createHmac("sha256", secret).update(data).digest("hex") })
}
const verify = (signed: string): Record<string, unknown> | undefined => {
  try {
    const { data, mac } = JSON.parse(signed)
    return createHmac("sha256", secret).update(data).digest("hex") === mac ? JSON.parse(data) : undefined
  } catch {
    return undefined
  }
}

const round = Effect.gen(function* () {
  const context = yield* McpSchema.McpRequestContext
  const state = context.requestState === undefined ? undefined : verify(context.requestState)
  if (context.requestState !== undefined && state === undefined) {
    return yield* new McpSchema.InvalidParams({ message: "requestState is not what this server gave" })
  }
  return { responses: context.inputResponses ?? {}, state, capabilities: context.clientCapabilities } as Round
})
const rounds = (name: string, f: (round: Round) => Answer) =>
  raw(
    name,
    Effect.map(round, (one) => {
      const answer = f(one)
      return typeof answer === "string" ? result(answer) : answer
    })
  )

const needs = (
  inputRequests: NonNullable<McpSchema.InputRequired["inputRequests"]>,
  state?: Record<string, unknown>
): McpSchema.InputRequired =>
  new McpSchema.InputRequired({ inputRequests, ...(state === undefined ? {} : { requestState: sign(state) }) })
const form = (message: string, field: string, type = "string") => ({
  method: "elicitation/create" as const,
  params: { message, requestedSchema: { type: "object", properties: { [field]: { type } }, required: [field] } }
})
const sampling = (question: string, maxTokens: number) => ({
  method: "sampling/createMessage" as const,
  params: { messages: [{ role: "user", content: text(question) }], maxTokens }
})
const roots = { method: "roots/list" as const, params: {} }
const field = (response: unknown, name: string): string | undefined => {
  const value = (response as { readonly content?: Record<string, unknown> } | undefined)?.content?.[name]
  return typeof value === "string" ? value : undefined
}

/** What asks the client for input by answering that it needs some: revision 2026-07-28. */
export const inputRequired = Effect.gen(function* () {
  yield* rounds("test_missing_capability", ({ capabilities }) =>
    capabilities["sampling"] === undefined ? needs({ sample: sampling("Hello?", 10) }) : "Success"
  )
  yield* rounds("test_input_required_result_elicitation", ({ responses }) => {
    const name = field(responses["user_name"], "name")
    return name === undefined ? needs({ user_name: form("What is your name?", "name") }) : `Hello, ${name}!`
  })
  yield* rounds("test_input_required_result_sampling", ({ responses }) =>
    responses["sample_request"] === undefined
      ? needs({ sample_request: sampling("What is the capital of France?", 100) })
      : `Sampling result: ${field({ content: responses["sample_request"]["content"] }, "text")}`
  )
  yield* rounds("test_input_required_result_list_roots", ({ responses }) =>
    responses["roots_request"] === undefined
      ? needs({ roots_request: roots })
      : `Found ${(responses["roots_request"]["roots"] as ReadonlyArray<unknown>).length} root(s)`
  )
  const confirmed = (kind: string, done: string) => (one: Round) =>
    one.state?.["kind"] === kind && one.responses["confirm"] !== undefined
      ? done
      : needs({ confirm: form("Please confirm", "ok", "boolean") }, { kind })
  yield* rounds("test_input_required_result_request_state", confirmed("request-state", "state-ok: it is ours"))
  yield* rounds("test_input_required_result_tampered_state", confirmed("tamper-test", "integrity-ok: it is ours"))
  yield* rounds("test_input_required_result_multiple_inputs", ({ responses, state }) =>
    state !== undefined && responses["user_name"] && responses["greeting"] && responses["client_roots"]
      ? `Name: ${field(responses["user_name"], "name")}; Greeting: ${JSON.stringify(responses["greeting"])}`
      : needs(
          {
            user_name: form("What is your name?", "name"),
            greeting: sampling("Generate a greeting", 50),
            client_roots: roots
          },
          { kind: "multiple-inputs" }
        )
  )
  yield* rounds("test_input_required_result_multi_round", ({ responses, state }) => {
    if (state?.["round"] === 1 && responses["step1"] !== undefined) {
      const name = field(responses["step1"], "name")
      return needs({ step2: form("Step 2: What is your favorite color?", "color") }, { round: 2, name })
    }
    if (state?.["round"] === 2 && responses["step2"] !== undefined) {
      return `${String(state["name"])} likes ${field(responses["step2"], "color")}`
    }
    return needs({ step1: form("Step 1: What is your name?", "name") }, { round: 1 })
  })
  yield* rounds("test_input_required_result_capabilities", ({ capabilities, responses }) => {
    if (Object.keys(responses).length > 0) return `capabilities-ok: received ${Object.keys(responses).join(",")}`
    const requests = {
      ...(capabilities["elicitation"] === undefined ? {} : { elicit_input: form("Elicitation input", "value") }),
      ...(capabilities["sampling"] === undefined ? {} : { sample_input: sampling("Sample request", 50) })
    }
    return Object.keys(requests).length === 0 ? "No supported capabilities" : needs(requests, { kind: "capabilities" })
  })
  const server = yield* McpServer.McpServer
  yield* server.addPrompt({
    prompt: new McpSchema.Prompt({
      name: "test_input_required_result_prompt",
      description: "A prompt that asks for its context",
      arguments: []
    }),
    annotations: Context.empty(),
    completions: {},
    handle: () =>
      Effect.map(round, ({ responses }) => {
        const context = field(responses["user_context"], "context")
        return context === undefined
          ? needs({ user_context: form("What context should the prompt use?", "context") })
          : new McpSchema.GetPromptResult({
              messages: [{ role: "user", content: text(`Prompt with context: ${context}`) }]
            })
      })
  })
})

/** What changes lists, and schemas that no `Schema` writes. */
export const changes = Effect.gen(function* () {
  const changed = (which: "tools" | "prompts") =>
    Effect.flatMap(McpServer.McpServer, (server) =>
      Effect.as(server.notifications[`notifications/${which}/list_changed`]({}), result("changed"))
    )
  yield* raw("test_trigger_tool_change", changed("tools"))
  yield* raw("test_trigger_prompt_change", changed("prompts"))
  yield* raw("test_parameter_headers", Effect.succeed(result("called")), {
    type: "object",
    properties: { region: { type: "string", "x-mcp-header": "Region" } }
  })
  yield* raw("json_schema_2020_12_tool", Effect.succeed(result("called")), {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    $defs: {
      address: {
        $anchor: "addressDef",
        type: "object",
        properties: { street: { type: "string" }, city: { type: "string" } }
      }
    },
    properties: {
      name: { type: "string" },
      address: { $ref: "#/$defs/address" },
      contactMethod: { type: "string", enum: ["phone", "email"] },
      phone: { type: "string" },
      email: { type: "string" }
    },
    allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
    if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: { required: ["phone"] },
    else: { required: ["email"] },
    additionalProperties: false
  })
})
