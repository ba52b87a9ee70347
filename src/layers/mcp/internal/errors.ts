/** The tagged errors of MCP connections. */
import * as Schema from "effect/Schema"

/** A server could not be connected: it is not there, refuses, speaks no MCP, or its process ended. */
export class McpConnectError extends Schema.TaggedError<McpConnectError>()("McpConnectError", {
  server: Schema.String,
  transport: Schema.Literals(["stdio", "http", "sse", "auto", "memory"]),
  /** The command line, or the address. */
  target: Schema.String,
  problem: Schema.String,
  /** `unauthorized`: the server wants authorization. `usage`: this program cannot reach it in this way. */
  reason: Schema.Literals(["failed", "unauthorized", "usage"]),
  exitCode: Schema.optional(Schema.Int),
  signal: Schema.optional(Schema.String),
  /** The end of what the process wrote to stderr. */
  stderr: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const how =
      this.exitCode !== undefined
        ? ` The process ended with exit code ${this.exitCode}.`
        : this.signal !== undefined
          ? ` The process was ended by ${this.signal}.`
          : ""
    const stderr = this.stderr?.trim() ?? ""
    const said = stderr === "" ? "" : ` The end of its stderr:\n${stderr}`
    const next =
      this.reason === "usage"
        ? ""
        : this.reason === "unauthorized"
          ? " Give it a token, headers or oauth."
          : this.transport === "stdio"
            ? " Run the command by hand to see why."
            : " Check the address and that the server runs."
    return `MCP server "${this.server}" (${this.target}) could not be connected: ${this.problem}.${how}${next}${said}`
  }
}

/** A request to a server failed. A model sees it as the tool's result. */
export class McpCallError extends Schema.TaggedError<McpCallError>()("McpCallError", {
  server: Schema.String,
  /** Such as `tools/call`. */
  method: Schema.String,
  /** The tool, the prompt or the address asked for. */
  subject: Schema.String,
  /**
   * `rejected`: the server answered with an error. `timeout`: it did not answer in time. `lost`: the connection ended.
   * `unavailable`: there is no connection now. `unauthorized`: it wants authorization. `invalid`: the arguments or the
   * answer do not fit.
   */
  reason: Schema.Literals(["rejected", "timeout", "lost", "unavailable", "unauthorized", "invalid"]),
  /** `no`: the server has not acted on it. `unknown`: it may have. */
  executed: Schema.Literals(["no", "unknown"]),
  problem: Schema.String,
  code: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const what = this.subject === "" ? this.method : `"${this.subject}"`
    if (this.reason === "rejected" || this.reason === "invalid") return `${what} of "${this.server}": ${this.problem}`
    const outcome =
      this.executed === "no"
        ? "not executed"
        : this.reason === "timeout"
          ? "its outcome is unknown, the call was cancelled"
          : "its outcome is unknown, and it was not executed again"
    return `${what} of "${this.server}": ${outcome}: ${this.problem}`
  }
}

/** A tool ran and says that it failed. The message is what it said. */
export class McpToolFailed extends Schema.TaggedError<McpToolFailed>()("McpToolFailed", {
  server: Schema.String,
  tool: Schema.String,
  text: Schema.String
}) {
  override get message(): string {
    return this.text === "" ? `the tool "${this.tool}" of "${this.server}" failed and gave no reason` : this.text
  }
}

/** A config file cannot be read or does not say how its servers are reached. */
export class McpConfigError extends Schema.TaggedError<McpConfigError>()("McpConfigError", {
  file: Schema.String,
  problem: Schema.String,
  remedy: Schema.String
}) {
  override get message(): string {
    return `${this.file}: ${this.problem}. ${this.remedy}.`
  }
}
