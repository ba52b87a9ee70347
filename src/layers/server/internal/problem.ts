/** Answers that say what is wrong: problem details of RFC 9457, without anything of the inside of the server. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { clientError } from "../../../internal/clientError.ts"
import { issuesOf } from "../../../internal/issues.ts"
import { clientMessage } from "../../internal/clientMessage.ts"
import * as RunError from "../../../RunError.ts"
import { type Exposed, Spent } from "../../../RunEvent.ts"
import type { Ended, RunsError } from "../../../services/Runs.ts"
import type { Settings } from "./settings.ts"

/** Why a request is not answered as it asked. */
export interface Problem {
  readonly _tag: "Problem"
  readonly status: number
  readonly detail: string
  readonly headers: Readonly<Record<string, string>>
  /** Further fields of the body. */
  readonly fields: Schema.JsonObject
}

/** Makes a problem. */
export const problem = (
  status: number,
  detail: string,
  fields: Schema.JsonObject = {},
  headers: Readonly<Record<string, string>> = {}
): Problem => ({ _tag: "Problem", status, detail, headers, fields })

/** Fails with a problem. */
export const refuse = (
  status: number,
  detail: string,
  fields?: Schema.JsonObject,
  headers?: Readonly<Record<string, string>>
): Effect.Effect<never, Problem> => Effect.fail(problem(status, detail, fields, headers))

/** Reads what a client has sent. Fails with where it does not fit. */
export const reading = <A>(
  schema: Schema.Codec<A, unknown>,
  what = "The request does not fit",
  fields: Schema.JsonObject = {}
) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (sent: unknown): Effect.Effect<A, Problem> =>
    Effect.mapError(decode(sent), (error) => problem(400, `${what}: ${issuesOf(error)}`, fields))
}

/** An answer would be larger than answers may be. */
export const tooLarge = ({ answer }: Pick<Settings, "answer">, fields: Schema.JsonObject = {}): Problem =>
  problem(500, `The answer is larger than ${answer} bytes.`, fields)

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  426: "Upgrade Required",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout"
}

/** The body of a problem. */
export const bodyOf = ({ detail, fields, status }: Problem): Schema.JsonObject => ({
  type: "about:blank",
  title: titles[status] ?? "Error",
  status,
  detail,
  ...fields
})

/** A run's failure: what happened, and with which status it is answered. */
export interface Failure {
  readonly status: number
  /** The tag of its error. */
  readonly error: string
  readonly detail: string
}

/** What a client can do about a failure that is not one of the server. */
const advice: Readonly<Record<string, string>> = {
  InvalidApproval:
    "An answer does not count: what it answers was answered already, has changed, or was not signed here. Ask again from the start.",
  SessionWaiting:
    "The session waits for answers: see /sessions/ID. Send them to /runners/NAME with the session, or DELETE /sessions/ID/waiting.",
  SessionConflict: "Another turn of the session is under way. Try again when it has ended."
}

/** The failure of a run that has ended without an output. */
export const failureOf = (ended: Ended): Failure => {
  if (ended._tag === "RunSuspended") {
    return { status: 409, error: "RunSuspended", detail: "The run waits for answers: see /runs/ID/approvals." }
  }
  if (ended._tag !== "RunFailed") return { status: 503, error: "Interrupted", detail: "The run was interrupted." }
  const { error } = ended
  const tag = Predicate.hasProperty(error, "_tag") ? error._tag : undefined
  const name = typeof tag === "string" ? tag : "Error"
  const known = decodeKnown(name, ended)
  // What has no tag may have been thrown unexpectedly: its words are for the log.
  const isForeign = typeof tag !== "string" || (known === undefined && isKnown(name))
  const said = isForeign ? undefined : (clientMessage(known ?? error) ?? advice[name])
  return {
    status: statusOf(name, known),
    error: name,
    detail: said ?? "The run failed. The server's operator finds it by its id."
  }
}

/** The problem that a run's failure is for its client. */
export const problemOf = (ended: Ended, expose: ReadonlyArray<Exposed>): Problem => {
  const { detail, error, status } = failureOf(ended)
  const headers = status === 503 ? { "retry-after": "5" } : {}
  const failure = ended._tag === "RunFailed" ? clientError(ended.error, expose.includes("errors")) : undefined
  const fields = { error, runId: ended.runId, ...(failure === undefined ? {} : { failure }) }
  return problem(status, detail, fields, headers)
}

type Failed = Extract<Ended, { readonly _tag: "RunFailed" }>
const encodeSpent = Schema.encodeSync(Spent)
const classes = RunError as unknown as Readonly<Record<string, unknown>>
const isKnown = (name: string): boolean => Schema.isSchema(classes[name])

/** An error of a run as it was thrown, from its JSON, which leaves out what the event itself has. */
const decodeKnown = (name: string, { error, spent, transcript }: Failed): object | undefined => {
  const schema = classes[name]
  if (!Schema.isSchema(schema) || typeof error !== "object") return undefined
  const whole = { spent: encodeSpent(spent), transcript: transcript ?? { content: [] }, ...error }
  const decoded = Schema.decodeUnknownOption(schema as Schema.Codec<object, unknown>)(whole)
  return decoded._tag === "Some" ? decoded.value : undefined
}

const statusOf = (name: string, known: object | undefined): number => {
  if (known instanceof RunError.ModelError) {
    const { reason } = known.reason
    return reason._tag === "RateLimitError" || reason._tag === "QuotaExhaustedError" ? 503 : 502
  }
  switch (name) {
    case "RunTimedOut":
      return 504
    case "StoreError":
      return 503
    case "SessionConflict":
    case "SessionWaiting":
      return 409
    case "InvalidTranscript":
    case "InvalidApproval":
    case "CannotResume":
      return 400
    default:
      return 500
  }
}

/** The problem that a refusal of the engine is. */
export const ofRuns = (error: RunsError): Problem => {
  switch (error.reason) {
    case "unknown-run":
      return problem(404, "There is no such run, or it has expired.")
    case "full":
      return problem(503, "The server is busy. Try again later.", {}, { "retry-after": "5" })
    case "events-lost":
      return problem(410, "The events from there on are not kept any more. Ask for the state of the run.")
    case "not-waiting":
      return problem(409, "The run does not wait for this.")
    case "not-listening":
      return problem(409, "The run takes no input. Start a run with the conversation so far.")
    case "engine":
      return problem(503, "The server cannot start or read runs now. Try again later.", {}, { "retry-after": "5" })
  }
}
