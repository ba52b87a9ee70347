/** What goes wrong with a request, in one form for every transport, read from what servers answer. */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import { messageOf } from "../../../internal/message.ts"
import type { TransportFailure } from "../../../services/HttpTransport.ts"
import * as ContextLength from "../../../internal/contextLength.ts"
import { parseJson } from "../../../internal/json.ts"
import type { Fields } from "./wire.ts"

/** A failed request: answered with an error, not answered at all, or answered with something unreadable. */
export type Problem =
  | StatusProblem
  | NetworkProblem
  | { readonly kind: "timeout"; readonly message: string }
  | Malformed
  | Unusable

/** A request that cannot be made; asking again does not help. */
export interface Unusable {
  readonly kind: "unsupported"
  readonly message: string
  /** What the model lacks, such as `reasoning`; unset where it is the request that is wrong. */
  readonly lacks?: string | undefined
  /** The error of the transport. */
  readonly failure?: TransportFailure | undefined
}

/** A request without an answer, or an answer that was cut off. */
export interface NetworkProblem {
  readonly kind: "network"
  readonly message: string
  readonly code: string | undefined
  /** True for an answer that had begun. */
  readonly isCut?: boolean | undefined
}

/** An answer that cannot be read. */
export interface Malformed {
  readonly kind: "malformed"
  readonly message: string
  readonly remedy?: string | undefined
  /** True for a web page, which a wrong address answers with. */
  readonly isPage?: boolean | undefined
}

/** An error that the server answered with. */
export interface StatusProblem {
  readonly kind: "status"
  readonly status: number
  readonly message: string
  readonly code: string | undefined
  readonly type: string | undefined
  readonly header: (name: string) => string | null | undefined
  /** How long the error itself says to wait. */
  readonly retryDelay: Duration.Duration | undefined
  /** True when the error came inside of an answer that had begun well: its status is only guessed. */
  readonly inAnswer: boolean
}

/** Thrown by the encoders for what an API cannot be asked. It never leaves this Layer. */
export class Unsupported extends Error {}

/** Thrown for a setting that the model cannot be asked for. */
export class Lacking extends Unsupported {
  readonly what: string

  constructor(what: string, message: string) {
    super(message)
    this.what = what
  }
}

/** The problem behind a request that could not be written down. */
export const ofEncoding = (error: unknown): Problem => ({
  kind: "unsupported",
  lacks: error instanceof Lacking ? error.what : undefined,
  message: error instanceof Unsupported ? error.message : `the request cannot be written as JSON: ${messageOf(error)}`
})

/** The codes of an exhausted account. Not retried, even if the status is a transient one. */
const quota = /^(insufficient_quota|billing_not_active|billing_hard_limit_reached)$/
const policy = /^content_filter|_policy|^invalid_prompt$/
/** The words of servers that have no code for it, or codes of their own. */
const rateWords = /rate.?limit|too many requests/i
const quotaWords =
  /(insufficient|not enough).{0,20}(balance|quota|credit)|(balance|quota|credits?).{0,20}(insufficient|exhausted|not enough)/i
/** Anthropic says in words that an account is empty, and Google that a key is wrong: both with the status of a bad request. */
const creditWords = /credit balance is too low/i
const keyWords = /api key (not valid|expired)/i
/** Codes by which an answer that had begun well says that it was the request that was wrong. */
const refusal = /^(invalid|image|unsupported|empty)_|^failed_to_download_image|^data_residency/

/** The kinds of error answers. */
export type Refusal =
  | "quota"
  | "policy"
  | "overflow"
  | "key"
  | "permission"
  | "rate"
  | "server"
  | "request"
  | "response"

/** The kind of an error answer. */
export const kindOf = (problem: StatusProblem): Refusal => {
  const { code = "", message, status, type = "" } = problem
  if (quota.test(code) || quota.test(type) || status === 402) return "quota"
  if (status < 500 && creditWords.test(message)) return "quota"
  if (status < 500 && policy.test(code)) return "policy"
  if (code === "context_length_exceeded" || isOverflow(status, message)) return "overflow"
  if (status === 401 || (status === 400 && keyWords.test(message))) return "key"
  if (status === 403) return "permission"
  if (status === 429) return "rate"
  if (status === 408 || status === 409 || status >= 500) return "server"
  return status >= 400 ? "request" : "response"
}

const isOverflow = (status: number, words: string): boolean => {
  if (status === 400 || status === 413 || status === 422) return ContextLength.isSaidInRefusal(words)
  return status >= 500 && ContextLength.isSaid(words)
}

/** The fields by which servers say in words what is wrong, and in a code. */
const wordFields = ["message", "detail", "msg", "error_msg", "error_message", "status_msg"] as const
const codeFields = ["code", "error_code", "status_code"] as const
/** One of these has to be filled for an object to be an error. */
const errorFields = [...wordFields, ...codeFields, "type"]

const textOf = (value: unknown): string | undefined =>
  (typeof value === "string" && value.trim() !== "") || (typeof value === "number" && value !== 0)
    ? String(value)
    : undefined

const firstOf = (error: unknown, names: ReadonlyArray<string>): string | undefined => {
  if (!Predicate.isObject(error)) return undefined
  const fields = error as { readonly [key: string]: unknown }
  for (const name of names) {
    const value = textOf(fields[name])
    if (value !== undefined) return value
  }
  return undefined
}

/** An answer, for a message: about its first 200 characters, and no partial word, which could begin a secret. */
export const quote = (value: unknown): string => {
  const text = typeof value === "string" ? value.trim() : (JSON.stringify(value) ?? String(value))
  return text.length > 200 ? `${text.slice(0, 200).replace(/[\w.~+/=-]{1,120}$/, "")}...` : text
}

/** True for a page, which proxies and wrong addresses answer with. */
export const isHtml = (text: string): boolean => /^\s*<(!doctype|html|head|body|title|h1|p|center)\b/i.test(text)

/** The text of a page: its title, otherwise its body. */
export const pageWords = (html: string): string => {
  const page = html.slice(0, 20_000)
  const title = /<title[^>]*>([^<]*)/i.exec(page)?.[1] ?? /<h1[^>]*>([^<]*)/i.exec(page)?.[1] ?? ""
  const words = title.trim() === "" ? page.replace(/<(script|style)\b[^]*?<\/\1>|<[^>]*>/gi, " ") : title
  return quote(words.replace(/\s+/g, " "))
}

/** The problem in the body of an error answer, or in an `error` object inside of a good one. */
export const ofBody = (
  status: number,
  body: unknown,
  header: (name: string) => string | null | undefined
): StatusProblem => {
  const outer = errorOf(body)
  const error = Array.isArray(outer) ? errorOf(outer) : outer
  const words =
    typeof error === "string"
      ? isHtml(error)
        ? pageWords(error)
        : quote(error)
      : (firstOf(error, wordFields) ?? fieldsOf(error))
  return {
    kind: "status",
    status,
    message: [words, innerWords(error)]
      .filter((one) => one !== "")
      .join(": ")
      .slice(0, 2000),
    code: firstOf(error, codeFields),
    type: firstOf(error, ["type"]),
    header,
    retryDelay: retryDelayOf(error),
    inAnswer: false
  }
}

/** OpenRouter says only that a provider behind it has failed, and has what that one said among its metadata, as JSON or in words. */
const innerWords = (error: unknown): string => {
  const metadata = Predicate.hasProperty(error, "metadata") ? error.metadata : undefined
  const raw = Predicate.hasProperty(metadata, "raw") ? metadata.raw : undefined
  if (typeof raw !== "string" || raw.trim() === "") return ""
  const inner = errorOf(parseJson(raw))
  return firstOf(inner, wordFields) ?? quote(raw)
}

/** One vendor puts its answer into a list. */
const errorOf = (body: unknown): unknown => {
  const one: unknown = Array.isArray(body) ? body[0] : body
  return Predicate.hasProperty(one, "error") ? one.error : one
}

/** An error that has no message says in its fields what is wrong. */
const fieldsOf = (error: unknown): string =>
  Predicate.isObject(error) && Object.keys(error).length > 0 ? JSON.stringify(error) : ""

/** Google says how long to wait among the details of its errors. */
const retryDelayOf = (error: unknown): Duration.Duration | undefined => {
  const details: unknown = Predicate.hasProperty(error, "details") ? error.details : undefined
  for (const one of Array.isArray(details) ? details : []) {
    const delay: unknown = Predicate.hasProperty(one, "retryDelay") ? one.retryDelay : undefined
    const seconds = typeof delay === "string" ? Number(/^([\d.]+)s$/.exec(delay)?.[1]) : Number.NaN
    if (Number.isFinite(seconds)) return Duration.seconds(seconds)
  }
  return undefined
}

const noHeaders = () => undefined

/** An error that the server puts into a stream or a 200 answer: its status is in the code, or it is the server's fault. */
export const ofErrorObject = (error: unknown): Problem => {
  const problem: StatusProblem = { ...ofBody(500, { error }, noHeaders), inAnswer: true }
  const code = problem.code ?? ""
  const status = Number(code)
  if (Number.isInteger(status) && status >= 400 && status < 600) return { ...problem, status }
  if (code === "rate_limit_exceeded" || rateWords.test(problem.message)) return { ...problem, status: 429 }
  if (quotaWords.test(problem.message)) return { ...problem, status: 402 }
  const { type = "" } = problem
  if (Object.hasOwn(statuses, type)) return { ...problem, status: statuses[type]! }
  return policy.test(code) || refusal.test(code) ? { ...problem, status: 400 } : problem
}

/** Types that stand for a status at Anthropic, and at servers in its manner. */
const statuses: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429
}

/** True for an error that says something: a text, or an object with a message, code or type that is not empty. */
const says = (error: unknown): boolean =>
  textOf(error) !== undefined || firstOf(error, errorFields) !== undefined || hasList(error)

/** Some servers list what is wrong. */
const hasList = (error: unknown): boolean =>
  Array.isArray(error) ? error.some(says) : Predicate.hasProperty(error, "detail") && hasList(error.detail)

/**
 * The error in an answer, a chunk or a choice that should have been good: an object, a text, or the whole of it. Some
 * servers give every answer an error with nothing in it.
 */
export const errorIn = (fields: Fields): Problem | undefined => {
  const { error } = fields
  // Asked of each event of a stream, and almost none has one.
  if (error === undefined && fields["object"] !== "error") return undefined
  if (says(error)) return ofErrorObject(error)
  return fields["object"] === "error" || (error === true && says(fields)) ? ofErrorObject(fields) : undefined
}

/** A server's error in a form of its own, in place of an answer. */
export const errorInPlaceOf = (fields: Fields): Problem | undefined => {
  const inner = fields["base_resp"]
  if (says(inner)) return ofErrorObject(inner)
  return firstOf(fields, wordFields) === undefined ? undefined : ofErrorObject(fields)
}

/** A failure to read an answer. */
export const malformed = (message: string, more?: Pick<Malformed, "remedy" | "isPage">): Malformed => ({
  kind: "malformed",
  message,
  ...more
})

/** A stream that ended too early; `last` is what came in place of an answer. */
export const unfinished = (last: unknown): Problem => {
  const message = "the stream ended before the answer was finished"
  return {
    kind: "network",
    message: last === undefined ? message : `${message}; it held ${quote(last)}`,
    code: undefined,
    isCut: true
  }
}

/** True for what went wrong in place of what was read. */
export const isProblem = <A>(u: ReadonlyArray<A> | Problem): u is Problem => !Array.isArray(u)
