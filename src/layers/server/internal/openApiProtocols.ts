/** The routes of the protocols that a server speaks apart from its own. Each is specified elsewhere, and is only named here. */
import { json, type Json, operation, type Paths, taking, text } from "./openApiParts.ts"

/** The body of one, and the type of an answer that streams. */
const posted = (id: string, summary: string, takes: string): Json => ({
  post: operation(
    id,
    summary,
    {
      200: {
        description: "As the protocol says.",
        content: { "text/event-stream": { schema: text }, "application/json": { schema: { type: "object" } } }
      },
      default: { description: "What went wrong, as the protocol says it." }
    },
    taking({ type: "object", description: takes })
  )
})

const found = (id: string, summary: string): Json => ({
  get: operation(id, summary, { 200: json("It.", { type: "object" }) })
})

const card = "/.well-known/agent-card.json"
const model = "`model` is the name of a runner."

/** The routes of all protocols. */
export const ofProtocols: Paths = {
  "/v1/chat/completions": posted("chat-completions", "OpenAI's chat completions", model),
  "/v1/responses": posted("responses", "OpenAI's responses", model),
  "/v1/models": found("models", "The runners, as models of OpenAI"),
  "/v1/models/{name}": found("model", "A runner, as a model of OpenAI"),
  "/ui/{name}/{id}/stream": {
    get: operation("ui-resume", "What useChat asks for with `resume`", {
      204: { description: "No stream goes on: a run ends when its client hangs up." }
    })
  },
  "/ui/{name}": posted("ui", "The UI message stream of the AI SDK", "What useChat's transport sends."),
  "/ag-ui/{name}": posted("ag-ui", "AG-UI 1.0", "RunAgentInput."),
  "/a2a/{name}": posted("a2a", "A2A 1.0 over JSON-RPC", "A request of JSON-RPC."),
  [card]: found("agent-card", "The card of all runners, for agents of A2A"),
  [`/a2a/{name}${card}`]: found("runner-card", "The card of one runner, for agents of A2A")
}
