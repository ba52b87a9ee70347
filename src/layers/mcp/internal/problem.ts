/** What an error of the SDK means. */
import type { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js"
import type { Problem } from "./protocol.ts"

/** What it is told apart by. */
export interface ProblemParts {
  readonly UnauthorizedError: typeof UnauthorizedError
  readonly types: typeof import("@modelcontextprotocol/sdk/types.js")
}

/** Reads an error. `hasSession`: the server knows us by a session, which it may have forgotten. */
export const problemOf = ({ UnauthorizedError, types }: ProblemParts, error: unknown, hasSession: boolean): Problem => {
  const notSent =
    /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPIPE|UND_ERR_CONNECT_TIMEOUT|ENOENT|EACCES)$/
  const field = (value: unknown, key: string): unknown =>
    typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined
  const maxBody = 20_000
  const maxText = 200
  const maxData = 4000
  /** What an HTTP error's body says, without the markup of a page. */
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
    const line = text.replace(/\s+/g, " ").trim()
    return line.length > maxText ? `${line.slice(0, maxText)}...` : line
  }
  /** What a server adds to a failure, as text. */
  const dataText = (data: unknown): string => {
    if (data === undefined || data === null) return ""
    try {
      const text = typeof data === "string" ? data : JSON.stringify(data)
      if (text === "{}" || text === "[]" || message.includes(text)) return ""
      return `: ${text.length > maxData ? `${text.slice(0, maxData)}...` : text}`
    } catch {
      return ""
    }
  }
  let message = String(field(error, "message") ?? error)
  let code = field(error, "code")
  let depth = 0
  for (let cause = field(error, "cause"); cause !== undefined && depth < 4; cause = field(cause, "cause"), depth++) {
    const all = field(cause, "errors")
    const inner: unknown = Array.isArray(all) ? all[0] : cause
    const said = String(field(inner, "message") ?? "")
    if (typeof code !== "string") code = field(inner, "code") ?? code
    if (said !== "" && !message.includes(said)) message += `: ${said}`
  }
  // The address may hold a password, with an "@" of its own.
  message = message.replace(/\/\/[^/\s]*@/g, "//")
  const shown = code === undefined || code === null ? undefined : String(code)
  const problem = (kind: Problem["kind"], executed: Problem["executed"]): Problem => ({
    message,
    code: shown,
    kind,
    executed
  })
  const issues = field(error, "issues")
  if (Array.isArray(issues)) {
    // The library's own message is the whole list, as JSON.
    const said = issues.slice(0, 3).map((issue) => {
      const place = field(issue, "path")
      return `${Array.isArray(place) ? place.join(".") : ""}: ${String(field(issue, "message"))}`
    })
    const message = `the server's answer does not fit the protocol: ${said.join("; ")}`
    return { message, code: undefined, kind: "invalid", executed: "unknown" }
  }
  if (code === "TOO_LARGE") return problem("invalid", "unknown")
  if (error instanceof types.McpError) {
    // Servers use the same code for errors of their own.
    const isLost = /: (Connection closed|the connection was lost before the answer came)$/.test(message)
    if (error.code !== types.ErrorCode.ConnectionClosed || !isLost) {
      message += dataText(error.data)
      return problem("rejected", "unknown")
    }
    return { ...problem("connection", "unknown"), message: "the server closed the connection" }
  }
  const inText = /^HTTP (\d{3}): |\(HTTP (\d{3})\)/.exec(message)
  const status = typeof code === "number" && code > 0 ? code : Number(inText?.[1] ?? inText?.[2])
  const saysSession = /session/i.test(message)
  if (status >= 300) {
    const introduction =
      /^(?:[A-Za-z ]+ error: )?(?:Error POSTing to endpoint(?: \(HTTP \d+\))?: |HTTP \d+: (?:Invalid OAuth error response: [^]{0,500}?Raw body: )?)?/
    const text = bodyText(message.replace(introduction, "").slice(0, maxBody))
    message = text === "" || text === "null" ? `HTTP ${status}` : `HTTP ${status}: ${text}`
  }
  if (error instanceof UnauthorizedError || code === 401 || code === 403) return problem("auth", "no")
  if (hasSession && (code === 404 || (code === 400 && saysSession))) return problem("session", "no")
  if (status >= 400 && status < 500) return problem("other", "no")
  if (notSent.test(String(code))) return problem("connection", "no")
  if (message === "Not connected") return problem("connection", "no")
  if (/^(fetch failed|terminated|the server's process)/.test(message)) return problem("connection", "unknown")
  return problem("other", "unknown")
}
