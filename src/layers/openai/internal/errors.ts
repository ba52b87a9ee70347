/**
 * What goes wrong with a request, in one form for both edges, and its `AiError`. Nothing here ever holds a request
 * header, so a key cannot get out through an error.
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Scrubber from "../../../internal/scrubber.ts"

/** A failed request: answered with an error, not answered at all, or answered with something unreadable. */
export type Problem =
  | {
      readonly kind: "status"
      readonly status: number
      readonly message: string
      readonly code: string | undefined
      readonly type: string | undefined
      readonly header: (name: string) => string | null | undefined
      /** True when the error came inside of an answer that had begun well: its status is only guessed. */
      readonly inAnswer: boolean
    }
  | { readonly kind: "network"; readonly message: string; readonly code: string | undefined }
  | { readonly kind: "timeout"; readonly message: string }
  | { readonly kind: "malformed"; readonly message: string }
  | { readonly kind: "unsupported"; readonly message: string }

/** Where the request went, for messages: no path, no query, no credentials. */
export interface Target {
  readonly method: string
  readonly url: string
  /** What no message may hold, such as the key. */
  readonly secrets: ReadonlyArray<string>
}

/** Thrown by the encoders for what an API cannot be asked. It never leaves this Layer. */
export class Unsupported extends Error {}

/** The problem behind a request that could not be written down. */
export const ofEncoding = (error: unknown): Problem => ({
  kind: "unsupported",
  message:
    error instanceof Unsupported
      ? error.message
      : `the request cannot be written as JSON: ${error instanceof Error ? error.message : String(error)}`
})

/** How a description of a context overflow begins, whatever the server's own words are. */
export const contextLengthPrefix = "context length exceeded"

const overflow =
  /context.?(length|window|size)|maximum context|(model|prompt) length (of|is) \d|model token limit|number of tokens allowed|max_new_tokens. must be|(prompt|input) is too long/i
/** These words mean it only in a refusal: servers written in Go say "context" of deadlines. */
const looseOverflow = /too many tokens|exceed.{0,40}context|reduce the length of the messages/i

/** What an account has run out of until somebody pays: waiting does not help, whatever the status says. */
const quota = /^(insufficient_quota|billing_not_active|billing_hard_limit_reached)$/
const policy = /^content_filter|_policy|^invalid_prompt$/
/** Codes by which an answer that had begun well says that it was the request that was wrong. */
const refusal = /^(invalid|image|unsupported|empty)_|^failed_to_download_image|^data_residency/

/** The error of a failed request, with the right retryability. `now` is for `retry-after` dates, in milliseconds. */
export const toAiError = (problem: Problem, target: Target, now: number): AiError.AiError =>
  AiError.make({
    module: "OpenAi",
    method: target.method,
    reason: reasonOf({ ...problem, message: withoutSecrets(problem.message, target.secrets) }, target, now)
  })

const reasonOf = (problem: Problem, target: Target, now: number): AiError.AiErrorReason => {
  switch (problem.kind) {
    case "malformed":
      return new AiError.InvalidResponseError({ description: problem.message })
    case "unsupported":
      return new AiError.InvalidUserInputError({ description: problem.message })
    case "timeout":
    case "network":
      return new AiError.NetworkError({
        reason: "TransportError",
        method: "POST",
        url: target.url,
        description: `${target.url}: ${problem.message}`
      })
    case "status":
      return ofStatus(problem, now)
  }
}

const ofStatus = (problem: Extract<Problem, { kind: "status" }>, now: number): AiError.AiErrorReason => {
  const { status, code } = problem
  const description =
    problem.message === "" ? (problem.inAnswer ? "no reason given" : `HTTP ${status}`) : problem.message
  const said = problem.inAnswer ? `the server reported an error: ${description}` : `HTTP ${status}: ${description}`
  if (quota.test(code ?? "") || quota.test(problem.type ?? "") || status === 402) {
    return new AiError.QuotaExhaustedError({ metadata: metadataOf(description) })
  }
  if (status < 500 && policy.test(code ?? "")) return new AiError.ContentPolicyError({ description })
  if (code === "context_length_exceeded" || isOverflow(status, description)) {
    return new AiError.InvalidRequestError({ description: `${contextLengthPrefix}: ${description}` })
  }
  switch (status) {
    case 401:
      return new AiError.AuthenticationError({ kind: "InvalidKey", description })
    case 403:
      return new AiError.AuthenticationError({ kind: "InsufficientPermissions", description })
    case 408:
    case 409:
      return new AiError.InternalProviderError({ description: said })
    case 429: {
      const retryAfter = retryAfterOf(problem.header, now)
      const metadata = metadataOf(description)
      return new AiError.RateLimitError(retryAfter === undefined ? { metadata } : { metadata, retryAfter })
    }
    default:
      if (status >= 500) {
        const wait = retryAfterOf(problem.header, now)
        const metadata = wait === undefined ? {} : { openai: { retryAfterMillis: Duration.toMillis(wait) } }
        // Metadata is typed by what programs declare of providers.
        return new AiError.InternalProviderError({ description: said, metadata: metadata as never })
      }
      if (status >= 400) return new AiError.InvalidRequestError({ description: said })
      return new AiError.InvalidResponseError({ description: said })
  }
}

/** These errors have no description of their own. Metadata is typed by what programs declare of providers. */
const metadataOf = (description: string) => ({ openai: { description } }) as never

const isOverflow = (status: number, description: string): boolean => {
  if (status === 400 || status === 413 || status === 422)
    return overflow.test(description) || looseOverflow.test(description)
  return status >= 500 && overflow.test(description)
}

/** Servers repeat keys, whole or in part, in their messages, and so does `fetch`; no log may hold them. */
const withoutSecrets = (message: string, secrets: ReadonlyArray<string>): string => {
  const scrubber = Scrubber.make()
  scrubber.learn(secrets)
  return scrubber.text(message)
}

const retryAfterOf = (
  header: (name: string) => string | null | undefined,
  now: number
): Duration.Duration | undefined => {
  const ms = Number.parseFloat(header("retry-after-ms") ?? "")
  if (Number.isFinite(ms) && ms >= 0) return Duration.millis(ms)
  const value = header("retry-after")
  if (value === null || value === undefined || value === "") return undefined
  const seconds = Number(value)
  if (Number.isFinite(seconds)) return seconds >= 0 ? Duration.seconds(seconds) : undefined
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Duration.millis(Math.max(0, date - now))
}

/** The problem in the body of an error answer, or in an `error` object inside of a good one. */
export const ofBody = (
  status: number,
  body: unknown,
  header: (name: string) => string | null | undefined
): Extract<Problem, { kind: "status" }> => {
  const outer = errorOf(body)
  const error = Array.isArray(outer) ? errorOf(outer) : outer
  const field = (name: string): string | undefined => {
    const value = Predicate.hasProperty(error, name) ? error[name] : undefined
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined
  }
  const message = field("message") ?? field("detail") ?? (typeof error === "string" ? error : textOf(error))
  return {
    kind: "status",
    status,
    message: message.slice(0, 2000),
    code: field("code"),
    type: field("type"),
    header,
    inAnswer: false
  }
}

/** One vendor puts its answer into a list. */
const errorOf = (body: unknown): unknown => {
  const one: unknown = Array.isArray(body) ? body[0] : body
  return Predicate.hasProperty(one, "error") ? one.error : one
}

/** An error that has no message says in its fields what is wrong. */
const textOf = (error: unknown): string =>
  Predicate.isObject(error) && Object.keys(error).length > 0 ? JSON.stringify(error) : ""

const noHeaders = () => undefined

/** An error that the server puts into a stream or a 200 answer: its status is in the code, or it is the server's fault. */
export const ofErrorObject = (error: unknown): Problem => {
  const problem = { ...ofBody(500, { error }, noHeaders), inAnswer: true }
  const status = Number(problem.code)
  if (Number.isInteger(status) && status >= 400 && status < 600) return { ...problem, status }
  if (problem.code === "rate_limit_exceeded") return { ...problem, status: 429 }
  const code = problem.code ?? ""
  const refused = problem.type === "invalid_request_error" || policy.test(code) || refusal.test(code)
  return refused ? { ...problem, status: 400 } : problem
}

/** The error in an answer, a chunk or a choice that should have been good: an object, a text, or the whole of it. */
export const errorIn = (fields: { readonly [key: string]: unknown }): Problem | undefined => {
  const { error } = fields
  if (error !== undefined && error !== null) return ofErrorObject(error)
  return fields["object"] === "error" ? ofErrorObject(fields) : undefined
}

/** A failure to read an answer. */
export const malformed = (message: string): Problem => ({ kind: "malformed", message })
