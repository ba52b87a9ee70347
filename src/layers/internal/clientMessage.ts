/**
 * What a client sees of a run that failed. Clients are not the operators of the server: what says where the server's
 * parts are or how it is set up stays in its log.
 */
import * as Predicate from "effect/Predicate"
import { toJson } from "../../internal/json.ts"
import { stripControls } from "../../internal/text.ts"
import * as RunError from "../../RunError.ts"

const longest = 4000

/** Addresses, hosts, paths, settings, system codes and keys: a message with one of them is meant for operators. */
const internals: ReadonlyArray<RegExp> = [
  /\b[a-z][a-z0-9+.-]*:\/\//i,
  /\b\d{1,3}(?:\.\d{1,3}){3}\b/,
  /(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?<![\w:])(?:[0-9a-f]{1,4}:){0,6}:(?::?[0-9a-f]{1,4}){1,7}(?![\w:])/i,
  /\b[a-z](?:[\w-]|\.(?=\w))*:\d{2,5}\b/i,
  /\blocalhost\b|\b[\w-]+\.(?:internal|local|localdomain|lan|corp|intranet|svc)\b/i,
  /(?<![\w.:/<-])~?(?:\/[\w.@+~-]+){2,}|\b[a-z]:\\|\\\\[\w.-]+\\/i,
  /\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:URL|URI|HOST|PORT|KEY|TOKEN|SECRET|PASSWORD|DSN|PATH|DIR)\b/,
  /\b(?:ECONN\w+|ENOTFOUND|ENOENT|EACCES|EPERM|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EADDR\w+|EAI_\w+|EPIPE)\b/,
  /\bBearer\s+\S{6,}|\b(?:sk|pk|rk|ghp|gho|xox[a-z])[-_]\w{8,}/
]

/** Whether a text says something about the inside of the server. */
const isInternal = (text: string): boolean => internals.some((pattern) => pattern.test(text))

/** Errors of Effect and of this library whose words are about the server's parts. */
const withheld = new Set(
  `
    AiError HttpClientError HttpServerError PlatformError SqlError ConfigError SchemaError RpcClientError
    SocketError SocketServerError WorkerError PersistenceError KeyValueStoreError UnknownError
    McpConnectError McpCallError McpToolFailed McpConfigError ModuleToolFailed WorkerCrashed ModuleUnusable
    InvalidSkill InvalidSkills SkillError HttpToolError ShellToolError FileToolError CassetteNotFound
    CassetteInvalid CassetteInUse CassetteUnavailable RequestNotRecorded UnusedRecordings UnusedTurns
    UnexpectedCall ForeignInput BranchDefect ListenError RouteNotFound InvalidPlan
  `
    .trim()
    .split(/\s+/)
)

const at = (path: ReadonlyArray<string>): string => `"${path.join(" > ")}"`

/** The description of a run's failure for clients: what happened, without advice that only an operator can follow. */
const aboutRun = (error: object): string | undefined => {
  if (error instanceof RunError.ModelError) {
    const again = error.isRetryable ? " Try again later." : ""
    return `${at(error.path)} step ${error.step}: the model call failed (${error.reason.reason._tag}).${again}`
  }
  if (error instanceof RunError.RunTimedOut) {
    return `${at(error.path)} did not end within ${error.durationMs} ms and was interrupted. Give it less to do.`
  }
  if (error instanceof RunError.MaxStepsExceeded) {
    return `${at(error.path)} did not finish in ${error.maxSteps} steps. Give it less to do.`
  }
  if (error instanceof RunError.InvalidOutput) return `${at(error.path)} gave an answer that does not fit its schema.`
  if (error instanceof RunError.OutputTruncated) return `${at(error.path)} was cut off. Ask for a shorter answer.`
  if (error instanceof RunError.ModelRefused) return `${at(error.path)}: the model refused to answer. Change the input.`
  if (error instanceof RunError.EmptyTurn) return `${at(error.path)}: the model gave no answer. Try again.`
  if (error instanceof RunError.ToolError) {
    const tools = [...new Set(error.failures.map(({ tool }) => `"${tool}"`))]
    return `${at(error.path)} step ${error.step}: a tool failed: ${tools.join(", ")}.`
  }
  if (error instanceof RunError.InvalidApproval && error.reason === "invalid") {
    return `The answer to ${error.approvalId} does not count: ${error.problem.replace(/\.$/, "")}. Answer it again.`
  }
  if (error instanceof RunError.RunSuspended) {
    const what = error.waitingFor.map((one) =>
      one.kind === "approval"
        ? `approval of "${one.tool}"`
        : one.kind === "client-tool"
          ? `the result of "${one.tool}"`
          : `the event "${one.name}"`
    )
    return `${at(error.path)} waits for ${[...new Set(what)].join(", ")}, which cannot be given over MCP.`
  }
  return undefined
}

const runErrors = Object.values(RunError).filter((value) => typeof value === "function" && "fields" in value)
const isRunError = (error: object): boolean =>
  runErrors.some((one) => typeof one === "function" && error instanceof (one as new (...args: never) => object))

/** The failures of the branches or steps of a workflow. */
const aboutParts = (error: object, depth: number): string | undefined => {
  if (!("failures" in error) || !Array.isArray(error.failures)) return undefined
  const parts = (error.failures as ReadonlyArray<unknown>).slice(0, 20).map((failure) => {
    if (!Predicate.isObject(failure)) return "failed."
    const name = "branch" in failure ? failure.branch : "step" in failure ? failure.step : ""
    const inner = "error" in failure ? describe(failure.error, depth + 1) : undefined
    return `"${String(name)}" failed${inner === undefined ? "" : `: ${inner.replace(/\.$/, "")}`}.`
  })
  return parts.join(" ")
}

const workflowErrors = new Set(["ParallelError", "StepsFailed"])
const notAccepted = new Set(["NotAccepted", "PlanNotAccepted"])

const describe = (error: unknown, depth: number): string | undefined => {
  if (!Predicate.isObject(error)) return typeof error === "string" ? plain(error) : undefined
  const tag = "_tag" in error ? String(error._tag) : ""
  const own = aboutRun(error)
  if (own !== undefined) return own
  // `syscall`: an error of the operating system.
  if (withheld.has(tag) || isRunError(error) || "syscall" in error || depth > 4) return undefined
  if (workflowErrors.has(tag)) return aboutParts(error, depth)
  if (notAccepted.has(tag)) return "No result was accepted."
  const message = "message" in error ? String(error.message) : JSON.stringify(toJson(error))
  // A message that holds a stack, as some libraries' do, is cut before it.
  return plain(message.split(/\n\s+at (?!\[)/)[0]!) ?? (message.trim() === "" && tag !== "" ? tag : undefined)
}

const plain = (text: string): string | undefined => {
  const said = stripControls(text).trim().slice(0, longest)
  return said === "" || isInternal(said) ? undefined : said
}

/**
 * The message for a client about what a run failed with; `undefined` when that is only for the log. Errors of the application are
 * sent in their own words, unless these say something about the inside of the server.
 */
export const clientMessage = (error: unknown): string | undefined => {
  const message = describe(error, 0)
  return message === undefined || isInternal(message) ? undefined : message
}
