/** Why an agent elsewhere has no answer. */
import * as Schema from "effect/Schema"

/** The agent could not be reached, refused, or its task ended without an output. */
export class RemoteAgentError extends Schema.TaggedError<RemoteAgentError>()("RemoteAgentError", {
  /** The name of the agent, or its url while its card is not read. */
  agent: Schema.String,
  /**
   * - `unreachable`: no answer came, or it broke off;
   * - `unauthorized`: the token is missing or not accepted;
   * - `busy`: the agent takes no request now;
   * - `refused`: the agent did not take the request;
   * - `unsupported`: the agent does not speak A2A 1.0 over JSON-RPC, or its card names an address that is not allowed;
   * - `asked`: the task waits for input or authorization, see `detail`;
   * - `failed`: the task failed or was rejected;
   * - `canceled`: the task was canceled there;
   * - `unreadable`: what came is not A2A;
   * - `too-large`: the answer is larger than `limit`.
   */
  reason: Schema.Literals([
    "unreachable",
    "unauthorized",
    "busy",
    "refused",
    "unsupported",
    "asked",
    "failed",
    "canceled",
    "unreadable",
    "too-large"
  ]),
  /** The HTTP status, where there was an answer. */
  status: Schema.optionalKey(Schema.Int),
  /** The task, where one had begun. */
  taskId: Schema.optionalKey(Schema.String),
  detail: Schema.String
}) {
  override get message(): string {
    return `agent "${this.agent}": ${this.detail}${next[this.reason]}`
  }
}

const next: Readonly<Record<RemoteAgentError["reason"], string>> = {
  unreachable: " Check that the agent is up and its url is right.",
  unauthorized: " Give RemoteAgent.connect a token that the agent accepts.",
  busy: " Try again later.",
  refused: "",
  unsupported: "",
  asked: " Answer it with a client of A2A, by the id of the task.",
  failed: "",
  canceled: " Start it again.",
  unreadable: " Check that the url is that of an agent of A2A 1.0.",
  "too-large": " Give RemoteAgent.connect a larger limit."
}
