/** What an error of the SDK means: who failed, whether the server may have acted, and a short text. */
import type { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js"
import type { McpError } from "@modelcontextprotocol/sdk/types.js"
import type { Problem } from "./protocol.ts"

/** The kinds of errors. */
export interface ProblemParts {
  readonly UnauthorizedError: typeof UnauthorizedError
  readonly types: typeof import("@modelcontextprotocol/sdk/types.js")
}

/** How much is read of an HTTP error's body, and how much is shown of it and of a failure's data. Characters. */
const maxBody = 20_000
const maxText = 200
const maxData = 4000

/** The system's codes for a request that was not sent. */
const notSent =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPIPE|UND_ERR_CONNECT_TIMEOUT|ENOENT|EACCES)$/

const field = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined

const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most)}...` : text)

/** The text of an HTTP error's body, without the markup of a page. */
const bodyText = (body: string): string => {
  let text = body
  try {
    const json: unknown = JSON.parse(body)
    const error = field(json, "error")
    const said = [field(error, "message"), field(json, "error_description"), field(json, "message"), error]
    text = said.find((one) => typeof one === "string") ?? body
  } catch {
    if (/<[a-z!]/i.test(body)) {
      const title = /<title[^>]*>([^<]*)/i.exec(body)?.[1]?.trim()
      text = title || body.replace(/<(script|style)\b[^]*?<\/\1>/gi, " ").replace(/<[^>]*>/g, " ")
    }
  }
  return cut(text.replace(/\s+/g, " ").trim(), maxText)
}

/** The SDK's prefix of an answer's body. */
const introduction =
  /^(?:[A-Za-z ]+ error: )?(?:Error POSTing to endpoint(?: \(HTTP \d+\))?: |HTTP \d+: (?:Invalid OAuth error response: [^]{0,500}?Raw body: )?)?/

const httpMessage = (status: number, message: string): string => {
  const text = bodyText(message.replace(introduction, "").slice(0, maxBody))
  return text === "" || text === "null" ? `HTTP ${status}` : `HTTP ${status}: ${text}`
}

/** The data that a server adds to a failure, as text behind its message. */
const withData = (message: string, data: unknown): string => {
  if (data === undefined || data === null) return message
  try {
    const text = typeof data === "string" ? data : JSON.stringify(data)
    const isKnown = text === "{}" || text === "[]" || message.includes(text)
    return isKnown ? message : `${message}: ${cut(text, maxData)}`
  } catch {
    return message
  }
}

interface Read {
  readonly message: string
  readonly code: unknown
}

/** The message of an error with those of its causes, and the first code. */
const read = (error: unknown): Read => {
  let message = String(field(error, "message") ?? error)
  let code = field(error, "code")
  let cause = field(error, "cause")
  for (let depth = 0; cause !== undefined && depth < 4; depth++) {
    const all = field(cause, "errors")
    const inner: unknown = Array.isArray(all) ? all[0] : cause
    const said = String(field(inner, "message") ?? "")
    if (typeof code !== "string") code = field(inner, "code") ?? code
    if (said !== "" && !message.includes(said)) message += `: ${said}`
    cause = field(cause, "cause")
  }
  // The address may hold a password, with an "@" of its own.
  return { message: message.replace(/\/\/[^/\s]*@/g, "//"), code }
}

/** The library's own message is the whole list of misfits, as JSON. */
const misfitMessage = (issues: ReadonlyArray<unknown>): string => {
  const said = issues.slice(0, 3).map((issue) => {
    const place = field(issue, "path")
    return `${Array.isArray(place) ? place.join(".") : ""}: ${String(field(issue, "message"))}`
  })
  return `the server's answer does not fit the protocol: ${said.join("; ")}`
}

const ofRpcError = (error: McpError, { message }: Read, closed: number): Omit<Problem, "code"> => {
  // Servers use the same code for errors of their own.
  const isLost = /: (Connection closed|the connection was lost before the answer came)$/.test(message)
  return error.code === closed && isLost
    ? { message: "the server closed the connection", kind: "connection", executed: "unknown" }
    : { message: withData(message, error.data), kind: "rejected", executed: "unknown" }
}

const ofTransport = ({ code, message }: Read, isUnauthorized: boolean, hasSession: boolean): Omit<Problem, "code"> => {
  const inText = /^HTTP (\d{3}): |\(HTTP (\d{3})\)/.exec(message)
  const status = typeof code === "number" && code > 0 ? code : Number(inText?.[1] ?? inText?.[2])
  const shown = status >= 300 ? httpMessage(status, message) : message
  const problem = (kind: Problem["kind"], executed: Problem["executed"]) => ({ message: shown, kind, executed })
  if (isUnauthorized || code === 401 || code === 403) return problem("auth", "no")
  if (hasSession && (code === 404 || (code === 400 && /session/i.test(message)))) return problem("session", "no")
  if (status >= 400 && status < 500) return problem("other", "no")
  if (notSent.test(String(code)) || message === "Not connected") return problem("connection", "no")
  if (/^(fetch failed|terminated|the server's process)/.test(message)) return problem("connection", "unknown")
  return problem("other", "unknown")
}

/** Reads an error. `hasSession`: the server knows us by a session, which it may have forgotten. */
export const problemOf = ({ UnauthorizedError, types }: ProblemParts, error: unknown, hasSession: boolean): Problem => {
  const issues = field(error, "issues")
  if (Array.isArray(issues)) {
    return { message: misfitMessage(issues), code: undefined, kind: "invalid", executed: "unknown" }
  }
  const found = read(error)
  const code = found.code === undefined || found.code === null ? undefined : String(found.code)
  if (code === "TOO_LARGE") return { message: found.message, code, kind: "invalid", executed: "unknown" }
  if (error instanceof types.McpError) return { ...ofRpcError(error, found, types.ErrorCode.ConnectionClosed), code }
  return { ...ofTransport(found, error instanceof UnauthorizedError, hasSession), code }
}
