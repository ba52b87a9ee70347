/**
 * The `AiError` of what went wrong with a request. Nothing here ever holds a request header, so a key cannot get out
 * through an error.
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Lacking from "../../../internal/lacking.ts"
import * as Scrubber from "../../../internal/scrubber.ts"
import { kindOf, type Problem, type StatusProblem } from "./problems.ts"

/** The prefix of each description of a context overflow; the server's own words follow. */
export const contextLengthPrefix = "context length exceeded"

/** What was asked, for the error of a failed request. */
export interface Asked {
  /** The module that errors are of, such as `OpenAi`. */
  readonly module: string
  readonly method: string
  /** The server, as errors may show it. */
  readonly url: string
  /** Secrets that no message may hold, such as the key. */
  readonly secrets: ReadonlyArray<string>
  /** The next step; `undefined` if unknown. */
  readonly remedy: string | undefined
}

/** The error of a failed request, with the right retryability. `now` is for `retry-after` dates, in milliseconds. */
export const toAiError = (problem: Problem, asked: Asked, now: number): AiError.AiError => {
  const { method, module, remedy, secrets } = asked
  const safe = { ...problem, message: withoutSecrets(problem.message, secrets) }
  const advice = remedy === undefined ? undefined : withoutSecrets(remedy, secrets)
  return AiError.make({ module, method, reason: reasonOf(safe, advice, asked.url, now) })
}

/** The first paragraph says what went wrong, the second one what to do about it, where that is known. */
const withRemedy = (description: string, remedy: string | undefined): string =>
  remedy === undefined ? description : `${description}\n\n${remedy}`

const reasonOf = (problem: Problem, remedy: string | undefined, url: string, now: number): AiError.AiErrorReason => {
  switch (problem.kind) {
    case "malformed":
      return new AiError.InvalidResponseError({ description: withRemedy(problem.message, remedy) })
    case "unsupported":
      return problem.lacks === undefined
        ? new AiError.InvalidUserInputError({ description: problem.message })
        : Lacking.reasonOf({ what: problem.lacks, description: problem.message })
    case "timeout":
    case "network":
      return new AiError.NetworkError({
        reason: "TransportError",
        method: "POST",
        url,
        description: withRemedy(`${url}: ${problem.message}`, remedy)
      })
    case "status":
      return ofStatus(problem, remedy, now)
  }
}

const ofStatus = (problem: StatusProblem, remedy: string | undefined, now: number): AiError.AiErrorReason => {
  const { status } = problem
  const words = problem.message === "" ? (problem.inAnswer ? "no reason given" : `HTTP ${status}`) : problem.message
  const said = problem.inAnswer ? `the server reported an error: ${words}` : `HTTP ${status}: ${words}`
  const wait = retryAfterOf(problem, now)
  const own = { shouldRetry: shouldRetryOf(problem) }
  const kind = kindOf(problem)
  switch (kind) {
    case "quota":
      return new AiError.QuotaExhaustedError({ metadata: metadataOf({ ...own, description: words }) })
    case "policy":
      return new AiError.ContentPolicyError({ description: withRemedy(words, remedy), metadata: metadataOf(own) })
    case "overflow": {
      const description = withRemedy(`${contextLengthPrefix}: ${words}`, remedy)
      return new AiError.InvalidRequestError({ description, metadata: metadataOf(own) })
    }
    case "key":
    case "permission":
      return new AiError.AuthenticationError({
        kind: kind === "key" ? "InvalidKey" : "InsufficientPermissions",
        description: withRemedy(words, remedy),
        metadata: metadataOf(own)
      })
    case "rate": {
      const metadata = metadataOf({ ...own, description: words })
      return new AiError.RateLimitError(wait === undefined ? { metadata } : { metadata, retryAfter: wait })
    }
    case "server": {
      const retryAfterMillis = wait === undefined ? undefined : Duration.toMillis(wait)
      const metadata = metadataOf({ ...own, retryAfterMillis })
      return new AiError.InternalProviderError({ description: withRemedy(said, remedy), metadata })
    }
    case "request":
      return new AiError.InvalidRequestError({ description: withRemedy(said, remedy), metadata: metadataOf(own) })
    case "response":
      return new AiError.InvalidResponseError({ description: withRemedy(said, remedy), metadata: metadataOf(own) })
  }
}

/** Notes for our own readers. Metadata is typed by what programs declare of providers. */
const metadataOf = (notes: Readonly<Record<string, string | number | boolean | undefined>>) => {
  const known = Object.entries(notes).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const]))
  return known.length === 0 ? {} : { openai: Object.fromEntries(known) }
}

/** Servers repeat keys, whole or in part, in their messages, and so does `fetch`; no log may hold them. */
const withoutSecrets = (message: string, secrets: ReadonlyArray<string>): string => {
  const scrubber = Scrubber.make()
  scrubber.learn(secrets)
  return scrubber.text(message)
}

/** Some servers say whether asking again helps; that goes before what the status says. */
const shouldRetryOf = ({ header }: StatusProblem): boolean | undefined => {
  const said = header("x-should-retry")?.trim().toLowerCase()
  return said === "true" ? true : said === "false" ? false : undefined
}

const retryAfterOf = ({ header, retryDelay }: StatusProblem, now: number): Duration.Duration | undefined => {
  const ms = Number.parseFloat(header("retry-after-ms") ?? "")
  if (Number.isFinite(ms) && ms >= 0) return Duration.millis(ms)
  const value = header("retry-after")
  if (value === null || value === undefined || value === "") return retryDelay
  const seconds = Number(value)
  if (Number.isFinite(seconds)) return seconds >= 0 ? Duration.seconds(seconds) : undefined
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Duration.millis(Math.max(0, date - now))
}
