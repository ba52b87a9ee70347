/**
 * The `AiError` of what a model of the AI SDK throws or says in a stream. Errors are known by their names and fields: the
 * package that has their classes may be there in several versions.
 */
import * as AiError from "effect/ai/AiError"
import * as Predicate from "effect/Predicate"
import { describe } from "../../../internal/connectionError.ts"
import { jsonOrText } from "../../../internal/json.ts"
import { messageOf } from "../../../internal/message.ts"
import * as Advice from "../../internal/model/advice.ts"
import { toAiError } from "../../internal/model/errors.ts"
import {
  errorIn,
  errorInPlaceOf,
  isHtml,
  malformed,
  ofBody,
  ofEncoding,
  ofErrorObject,
  pageWords,
  type Problem,
  quote,
  type StatusProblem,
  unfinished,
  Unsupported
} from "../../internal/model/problems.ts"
import { isFields } from "../../internal/model/wire.ts"
import type { Provider } from "./provider.ts"

/** The call that failed. */
export interface Failing {
  readonly method: "generateText" | "streamText" | "embedMany" | "generateImages" | "synthesize" | "transcribe"
  readonly provider: Provider
  readonly model: string
  /** Texts that no message may hold. */
  readonly secrets: ReadonlyArray<string>
}

const nameOf = (error: unknown): string =>
  Predicate.hasProperty(error, "name") && typeof error.name === "string" ? error.name : ""

/** The error of a failed call. `now` is for `retry-after` dates, in milliseconds. */
export const ofThrown = (error: unknown, failing: Failing, now: number): AiError.AiError => {
  const { method, provider } = failing
  if (/^AI_Load(APIKey|Setting)Error$/.test(nameOf(error))) {
    const description = `${messageOf(error)}\n\nGive it where the model is made, or set the variable of the environment that it names.`
    const reason = new AiError.AuthenticationError({ kind: "MissingKey", description })
    return AiError.make({ module: "AiSdk", method, reason })
  }
  if (isUnknown(error)) {
    const description = `the model of ${provider.package ?? provider.name} failed: ${quote(messageOf(error))}`
    return AiError.make({ module: "AiSdk", method, reason: new AiError.UnknownError({ description }) })
  }
  return ofProblem(problemOf(error), failing, now, urlOf(error))
}

/** The error of a problem. */
export const ofProblem = (problem: Problem, failing: Failing, now: number, url?: string): AiError.AiError => {
  const asked = {
    module: "AiSdk",
    method: failing.method,
    url: url ?? failing.provider.name,
    secrets: failing.secrets,
    remedy: remedyOf(problem, failing)
  }
  return toAiError(problem, asked, now)
}

/** The problem of an answer that was cut off. */
export const cut = (): Problem => unfinished(undefined)

/** The problem that stands in a stream in place of a part. */
export const ofStreamed = (error: unknown): Problem => {
  const statusCode = isFields(error) ? error["statusCode"] : undefined
  return typeof statusCode === "number" && statusCode >= 400
    ? { ...ofBody(statusCode, error, noHeaders), inAnswer: true }
    : ofErrorObject(error)
}

const noHeaders = () => undefined

/** The fields of which one stands in each answer, each piece of one, and each error. */
const answerFields =
  /^(choices|delta|message|content|candidates|output|item|response|tool_calls|finish_reason|type|error|errors|detail|msg|code|error_\w+|status\w*|base_resp)$/

/** Servers written in Go say null for an empty list. */
const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === "" ||
  (typeof value === "object" && Object.keys(value).length === 0)

/** True for an event that says nothing of an answer and that the model's package does not know: a bill, a list of sources. */
export const isBeside = (error: unknown): boolean => {
  const value = nameOf(error) === "AI_TypeValidationError" && Predicate.hasProperty(error, "value") && error.value
  if (!isFields(value) || Array.isArray(value)) return false
  return !Object.entries(value).some(([name, one]) => answerFields.test(name) && !isEmpty(one))
}

/** The error that a server says in place of an answer, in a form that the model's package does not know. */
const saidIn = (value: unknown): Problem | undefined =>
  isFields(value) ? (errorIn(value) ?? errorInPlaceOf(value)) : undefined

/** A defect of the model's package, which asking again does not repair. */
const isUnknown = (error: unknown): boolean =>
  !(error instanceof Unsupported) && !nameOf(error).startsWith("AI_") && !isNetwork(error)

const networkWords = /terminated|fetch failed|socket|network|connection|other side closed|aborted|premature/i

const isNetwork = (error: unknown): boolean => {
  const { code, message } = describe(error)
  return code !== undefined || networkWords.test(message)
}

const problemOf = (error: unknown): Problem => {
  if (error instanceof Unsupported) return ofEncoding(error)
  switch (nameOf(error)) {
    case "AI_APICallError":
      return ofApiCall(error as ApiCallError)
    case "AI_UnsupportedFunctionalityError":
    case "AI_InvalidPromptError":
    case "AI_InvalidArgumentError":
    case "AI_NoSuchProviderReferenceError":
      return { kind: "unsupported", message: messageOf(error) }
    case "AI_NoSuchModelError":
      return { ...ofBody(404, { message: messageOf(error), code: "model_not_found" }, noHeaders) }
    case "AI_InvalidResponseDataError":
      return /ended without|incomplete/i.test(messageOf(error)) ? cut() : malformed(quote(messageOf(error)))
    case "AI_EmptyResponseBodyError":
      return cut()
    case "AI_TypeValidationError":
      return (
        saidIn(Predicate.hasProperty(error, "value") ? error.value : undefined) ?? malformed(quote(messageOf(error)))
      )
    default:
      if (nameOf(error).startsWith("AI_")) return malformed(quote(messageOf(error)))
      return { kind: "network", isCut: true, ...describe(error) }
  }
}

/** What the AI SDK's `APICallError` has, as far as it is what it should be. */
interface ApiCallError {
  readonly message?: unknown
  readonly url?: unknown
  readonly statusCode?: unknown
  readonly responseHeaders?: unknown
  readonly responseBody?: unknown
  readonly cause?: unknown
}

const ofApiCall = (error: ApiCallError): Problem => {
  const { responseBody, responseHeaders, statusCode } = error
  if (typeof statusCode !== "number") return { kind: "network", ...describe(error.cause ?? error) }
  if (statusCode < 400) return ofUnread(error)
  const headers = isFields(responseHeaders) ? responseHeaders : {}
  const header = (name: string): string | undefined => {
    const value = headers[name] ?? Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]
    return typeof value === "string" ? value : undefined
  }
  const problem = ofBody(statusCode, parsed(responseBody), header)
  return problem.message === "" ? { ...problem, message: quote(messageOf(error)) } : problem
}

/** An answer that came with a good status and could not be read. */
const ofUnread = ({ message, responseBody, cause }: ApiCallError): Problem => {
  if (typeof responseBody === "string" && isHtml(responseBody)) {
    return malformed(`the server answered with a page: ${pageWords(responseBody)}`, { isPage: true })
  }
  if (isNetwork(cause)) return { kind: "network", isCut: true, ...describe(cause) }
  const said = saidIn(parsed(responseBody))
  if (said !== undefined) return said
  const body = typeof responseBody === "string" && responseBody !== "" ? `: ${quote(responseBody)}` : ""
  return malformed(`${quote(String(message))}${body}`)
}

const parsed = (body: unknown): unknown => (typeof body === "string" ? jsonOrText(body) : {})

/** The server alone: paths and queries can hold secrets. */
const urlOf = (error: unknown): string | undefined => {
  const url = Predicate.hasProperty(error, "url") && typeof error.url === "string" ? error.url : ""
  if (!URL.canParse(url)) return undefined
  const { host, protocol } = new URL(url)
  return `${protocol}//${host}`
}

// -- advice -----------------------------------------------------------------------------------------------------------

const remedyOf = (problem: Problem, { model, provider }: Failing): string | undefined => {
  switch (problem.kind) {
    case "network":
      return problem.isCut === true
        ? "Try again: the connection was lost, or the server did not say that it had finished."
        : "Check that the server is up, and the `baseURL` that the model was made with."
    case "timeout":
      return "Raise `timeout` of AiSdk.layer if the model needs longer to answer."
    case "malformed":
      return problem.isPage === true ? "Check the `baseURL` that the model was made with." : undefined
    case "unsupported":
      return undefined
    case "status":
      return Advice.ofStatus(problem, model, {
        key: `Check the API key that the model${provider.package === undefined ? "" : ` of ${provider.package}`} was made with.`,
        request: (refused) => ofRequest(refused, model)
      })
  }
}

const ofRequest = ({ status }: StatusProblem, model: string): string | undefined =>
  status === 404 ? Advice.wrongModel(model) : status === 413 ? Advice.tooLarge : undefined
