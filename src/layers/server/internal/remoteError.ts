/** Errors of runners on a server, as their client has them. */
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { schemaOf } from "../../../internal/knownErrors.ts"

/** The server could not be used, refused the request, or failed with an error that its client does not know. */
export class RemoteError extends Schema.TaggedError<RemoteError>()("RemoteError", {
  /** The name of the runner on the server. */
  runner: Schema.String,
  /**
   * - `unreachable`: no answer came, or it broke off;
   * - `unauthorized`: the token is missing or not accepted;
   * - `busy`: the server takes no request now, or not so many;
   * - `refused`: the request does not fit;
   * - `suspended`: the run waits for answers, which are given at `/runs/ID/approvals`;
   * - `failed`: the run failed with an error that is not known here, see `error`;
   * - `interrupted`: the run was interrupted on the server;
   * - `unreadable`: the answer is not one of such a server;
   * - `too-large`: the answer is larger than `limit`.
   */
  reason: Schema.Literals([
    "unreachable",
    "unauthorized",
    "busy",
    "refused",
    "suspended",
    "failed",
    "interrupted",
    "unreadable",
    "too-large"
  ]),
  /** The HTTP status, where there was an answer. */
  status: Schema.optionalKey(Schema.Int),
  /** The tag of the run's error. */
  error: Schema.optionalKey(Schema.String),
  runId: Schema.optionalKey(Schema.String),
  /** How long to wait before the next request, in milliseconds, where the server says so. */
  retryAfterMs: Schema.optionalKey(Schema.Finite),
  detail: Schema.String
}) {
  override get message(): string {
    return `"${this.runner}" on the server: ${this.detail}${next[this.reason]}`
  }
}

const next: Readonly<Record<RemoteError["reason"], string>> = {
  unreachable: " Check that the server is up and its url is right.",
  unauthorized: " Give AgentServer.client a token that the server accepts.",
  busy: " Try again later.",
  refused: "",
  suspended: " Answer what it waits for at the server.",
  failed: "",
  interrupted: " Start it again.",
  unreadable: " Check that the url is that of an AgentServer of the same version.",
  "too-large": " Give AgentServer.client a larger limit."
}

/** The parts of a failure that a server sends. */
export interface Failure {
  readonly failure: Schema.Json | undefined
  readonly usage: unknown
  readonly cost: number | undefined
  readonly steps: number
  readonly detail: string
}

/** The same error as on the server; `undefined` for one that is not known here. */
export const errorOf = (
  { cost, detail, failure, steps, usage }: Failure,
  known: ReadonlyArray<Schema.Top>
): unknown => {
  if (!Predicate.hasProperty(failure, "_tag") || typeof failure._tag !== "string") return undefined
  const fields = withMembers(failure as unknown as Fields)
  const reason = failure._tag === "ModelError" ? { reason: reasonOf(fields["reason"], detail) } : {}
  const spent = {
    ...nothing.spent,
    usage: usage ?? nothing.spent.usage,
    ...(cost === undefined ? {} : { cost }),
    steps
  }
  const whole = { ...nothing, spent, ...fields, ...reason }
  const own = schemaOf(failure._tag)
  const schemas = own === undefined ? known : [own, ...known]
  for (const schema of schemas) {
    const decoded = Schema.decodeUnknownOption(schema as Schema.Codec<unknown, unknown>)(whole)
    if (decoded._tag === "Some") return decoded.value
  }
  return undefined
}

type Fields = Readonly<Record<string, unknown>>

/** In place of what a server sends of no member: its bill and its transcript. */
const nothing = {
  spent: { usage: { inputTokens: {}, outputTokens: {} }, steps: 0, text: "", toolCalls: [] },
  transcript: Schema.encodeSync(Prompt.Prompt)(Prompt.empty)
} as const

/** The errors of members in the error of a workflow, with all that their schemas ask for. */
const withMembers = (error: Fields): Fields => {
  const { failures } = error
  if (!Array.isArray(failures)) return error
  const whole = (failure: unknown): unknown => {
    const inner = Predicate.hasProperty(failure, "error") ? failure.error : undefined
    if (!Predicate.hasProperty(inner, "_tag")) return failure
    return { ...(failure as Fields), error: { ...nothing, ...withMembers(inner as Fields) } }
  }
  return { ...error, failures: failures.map(whole) }
}

const decodeReason = Schema.decodeUnknownOption(AiError.AiError as unknown as Schema.Codec<AiError.AiError, unknown>)
const encodeReason = Schema.encodeUnknownSync(AiError.AiError as unknown as Schema.Codec<unknown, unknown>)

/** The provider's error of the same kind, encoded; a server reports only its kind. */
const reasonOf = (given: unknown, detail: string): unknown => {
  const at = { _tag: "AiError", module: "AgentServer", method: "client" }
  if (decodeReason(given)._tag === "Some") return given
  const tag = Predicate.hasProperty(given, "_tag") ? given._tag : "UnknownError"
  const same = { ...at, reason: { _tag: tag, description: detail, kind: "Unknown" } }
  if (decodeReason(same)._tag === "Some") return same
  const unknown = AiError.make({
    module: at.module,
    method: at.method,
    reason: new AiError.UnknownError({ description: detail })
  })
  return encodeReason(unknown)
}
