/** The routes of the protocols that a server speaks apart from its own. Each is specified elsewhere, and is only named here. */
import { answer, content, type Json, type PathItem, text } from "./openApiParts.ts"
import type { ServedRunner } from "./served.ts"

interface Protocol {
  readonly id: string
  readonly summary: string
  /** The body is one of the protocol's. */
  readonly takes: string
  /** The type of an answer that streams, or of the only one. */
  readonly type?: string
}

const posted = (
  { id, summary, takes, type = "text/event-stream" }: Protocol,
  parameters: ReadonlyArray<Json>
): Json => ({
  ...(parameters.length === 0 ? {} : { parameters }),
  post: {
    operationId: id,
    summary,
    requestBody: { required: true, ...content("application/json", { type: "object", description: takes }) },
    responses: {
      200: {
        description: "As the protocol says.",
        content: { [type]: { schema: text }, "application/json": { schema: { type: "object" } } }
      },
      default: { description: "What went wrong, as the protocol says it." }
    }
  }
})

const found = (id: string, summary: string, parameters: ReadonlyArray<Json> = []): Json => ({
  ...(parameters.length === 0 ? {} : { parameters }),
  get: { operationId: id, summary, responses: { 200: answer("It.", "application/json", { type: "object" }) } }
})

/** The routes of all protocols. */
export const ofProtocols = (prefix: string, runners: ReadonlyArray<ServedRunner>): ReadonlyArray<PathItem> => {
  const name: ReadonlyArray<Json> = [
    { name: "name", in: "path", required: true, schema: { enum: runners.map((runner) => runner.name) } }
  ]
  const chat = {
    id: "chat-completions",
    summary: "OpenAI's chat completions",
    takes: "`model` is the name of a runner."
  }
  const responses = { id: "responses", summary: "OpenAI's responses", takes: "`model` is the name of a runner." }
  const ui = { id: "ui", summary: "The UI message stream of the AI SDK", takes: "What useChat's transport sends." }
  const agUi = { id: "ag-ui", summary: "AG-UI 1.0", takes: "RunAgentInput." }
  const a2a = { id: "a2a", summary: "A2A 1.0 over JSON-RPC", takes: "A request of JSON-RPC." }
  const id: Json = { name: "id", in: "path", required: true, schema: text }
  const resumed = {
    parameters: [...name, id],
    get: {
      operationId: "ui-resume",
      summary: "What useChat asks for with `resume`",
      responses: { 204: { description: "No stream goes on: a run ends when its client hangs up." } }
    }
  }
  const card = "/.well-known/agent-card.json"
  return [
    [`${prefix}/v1/chat/completions`, posted(chat, [])],
    [`${prefix}/v1/responses`, posted(responses, [])],
    [`${prefix}/v1/models`, found("models", "The runners, as models of OpenAI")],
    [`${prefix}/v1/models/{name}`, found("model", "A runner, as a model of OpenAI", name)],
    [`${prefix}/ui/{name}/{id}/stream`, resumed],
    [`${prefix}/ui/{name}`, posted(ui, name)],
    [`${prefix}/ag-ui/{name}`, posted(agUi, name)],
    [`${prefix}/a2a/{name}`, posted(a2a, name)],
    [`${prefix}${card}`, found("agent-card", "The card of all runners, for agents of A2A")],
    [`${prefix}/a2a/{name}${card}`, found("runner-card", "The card of one runner, for agents of A2A", name)]
  ]
}
