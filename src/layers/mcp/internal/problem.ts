/** What an error of the SDK means. It names nothing outside of its function: the I/O thread runs it from its text. */
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
  if (error instanceof UnauthorizedError || code === 401 || code === 403) return problem("auth", "no")
  if (error instanceof types.McpError) {
    // Servers use the same code for errors of their own.
    const isLost = /: (Connection closed|the connection was lost before the answer came)$/.test(message)
    if (error.code !== types.ErrorCode.ConnectionClosed || !isLost) return problem("rejected", "unknown")
    return { ...problem("connection", "unknown"), message: "the server closed the connection" }
  }
  if (hasSession && (code === 404 || (code === 400 && /session/i.test(message)))) return problem("session", "no")
  const status = typeof code === "number" ? code : Number(/\(HTTP (\d+)\)/.exec(message)?.[1])
  if (status >= 400 && status < 500) return problem("other", "no")
  if (notSent.test(String(code))) return problem("connection", "no")
  if (message === "Not connected") return problem("connection", "no")
  if (/^(fetch failed|terminated|the server's process)/.test(message)) return problem("connection", "unknown")
  return problem("other", "unknown")
}
