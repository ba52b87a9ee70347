/**
 * What goes wrong with a request, in one form for both edges, and its `AiError`. Nothing here ever holds a request
 * header, so a key cannot get out through an error.
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"

/** A failed request: answered with an error, not answered at all, or answered with something unreadable. */
export type Problem =
  | {
      readonly kind: "status"
      readonly status: number
      readonly message: string
      readonly code: string | undefined
      readonly type: string | undefined
      readonly header: (name: string) => string | null | undefined
    }
  | { readonly kind: "network"; readonly message: string; readonly code: string | undefined }
  | { readonly kind: "timeout"; readonly message: string }
  | { readonly kind: "malformed"; readonly message: string }

/** Where the request went, for messages: no path, no query, no credentials. */
export interface Target {
  readonly method: string
  readonly url: string
}

/** How a description of a context overflow begins, whatever the server's own words are. */
export const contextLengthPrefix = "context length exceeded"

const overflow =
  /context.?(length|window|size)|maximum context|too many tokens|prompt is too long|exceed.{0,40}context/i

/** The error of a failed request, with the right retryability. `now` is for `retry-after` dates, in milliseconds. */
export const toAiError = (problem: Problem, target: Target, now: number): AiError.AiError =>
  AiError.make({ module: "OpenAi", method: target.method, reason: reasonOf(problem, target, now) })

const reasonOf = (problem: Problem, target: Target, now: number): AiError.AiErrorReason => {
  switch (problem.kind) {
    case "malformed":
      return new AiError.InvalidResponseError({ description: problem.message })
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
  const description = problem.message === "" ? `HTTP ${status}` : problem.message
  if (code === "insufficient_quota" || problem.type === "insufficient_quota" || status === 402) {
    return new AiError.QuotaExhaustedError({ metadata: { openai: { description } } as never })
  }
  if (code === "context_length_exceeded" || (status === 400 && overflow.test(description))) {
    return new AiError.InvalidRequestError({ description: `${contextLengthPrefix}: ${description}` })
  }
  switch (status) {
    case 401:
      return new AiError.AuthenticationError({ kind: "InvalidKey", description: withoutKeys(description) })
    case 403:
      return new AiError.AuthenticationError({ kind: "InsufficientPermissions", description: withoutKeys(description) })
    case 408:
    case 409:
      return new AiError.InternalProviderError({ description: `HTTP ${status}: ${description}` })
    case 429: {
      const retryAfter = retryAfterOf(problem.header, now)
      return new AiError.RateLimitError(retryAfter === undefined ? {} : { retryAfter })
    }
    default:
      if (status >= 500) return new AiError.InternalProviderError({ description: `HTTP ${status}: ${description}` })
      if (status >= 400) return new AiError.InvalidRequestError({ description: `HTTP ${status}: ${description}` })
      return new AiError.InvalidResponseError({ description: `HTTP ${status}: ${description}` })
  }
}

/** Servers repeat a part of a wrong key in their message; none of it is for logs. */
const withoutKeys = (message: string): string =>
  message.replace(/\bsk-[^\s.,;"']+|\bBearer\s+[^\s,;"']+/g, "[redacted]")

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
  const error = Predicate.hasProperty(body, "error") ? body.error : body
  const field = (name: string): string | undefined => {
    const value = Predicate.hasProperty(error, name) ? error[name] : undefined
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined
  }
  const message = field("message") ?? (typeof error === "string" ? error : "")
  return { kind: "status", status, message: message.slice(0, 2000), code: field("code"), type: field("type"), header }
}

/** An error that the server puts into a stream or a 200 answer: its status is in the code, or it is the server's fault. */
export const ofErrorObject = (error: unknown): Problem => {
  const problem = ofBody(500, { error }, () => undefined)
  const status = Number(problem.code)
  if (Number.isInteger(status) && status >= 400 && status < 600) return { ...problem, status }
  if (problem.code === "rate_limit_exceeded") return { ...problem, status: 429 }
  return problem.type === "invalid_request_error" ? { ...problem, status: 400 } : problem
}

/** A failure to read an answer. */
export const malformed = (message: string): Problem => ({ kind: "malformed", message })
