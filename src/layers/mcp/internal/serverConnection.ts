/**
 * A server as agents see it: one connection that comes back when it is lost, requests that say what became of them, and
 * the list of tools, kept up to date.
 */
import { randomUUID } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { stripControls } from "../../../internal/text.ts"
import * as Spans from "../../../internal/telemetry.ts"
import type { Answers, Question } from "./asking.ts"
import * as Config from "./config.ts"
import * as Definitions from "./definitions.ts"
import { McpCallError, McpConnectError } from "./errors.ts"
import * as Lifeline from "./lifeline.ts"
import * as Limits from "./limits.ts"
import { summary, type ToolInfo } from "./lists.ts"
import { listAll, type Paging } from "./paging.ts"
import type { CallFailed, CallOptions } from "./pendingCalls.ts"
import type { Capabilities, ServerInfo } from "./protocol.ts"
import * as Session from "./session.ts"
import * as ToolList from "./toolList.ts"
import * as UserAuthorization from "./userAuthorization.ts"

/** How a request is made. */
export interface RequestOptions extends Pick<CallOptions, "onProgress" | "task"> {
  /**
   * Made once more when the connection was lost under it. A request that the server has not acted on, as it did not know
   * our session, is made once more in any case.
   */
  readonly again: boolean
}

/** Handlers for what servers ask and notify. */
export interface Client {
  readonly name: string
  readonly version: string
  readonly capabilities: Capabilities
  readonly ask: (server: string, question: Question) => Effect.Effect<unknown, string>
  readonly notified: (server: string, method: string, params: unknown) => Effect.Effect<void>
}

/** A connected server. */
export interface Server {
  readonly name: string
  readonly options: Config.ServerOptions
  /** The definitions of its tools when they were accepted. */
  readonly definitions: Definitions.Definitions
  /** The server's own description; while it is not connected, that of its last connection. */
  readonly info: Effect.Effect<ServerInfo>
  /** Its process, if it is one and runs. */
  readonly pid: Effect.Effect<number | undefined>
  readonly connected: Effect.Effect<boolean>
  /** The tools of now; the last known ones while they cannot be asked for. */
  readonly tools: Effect.Effect<ReadonlyArray<ToolInfo>>
  readonly request: (
    method: string,
    subject: string,
    params: unknown,
    options: RequestOptions
  ) => Effect.Effect<unknown, McpCallError>
  /** All pages of a list, its entries not read yet. A method that the server does not have gives an empty list. */
  readonly list: (method: string, key: string) => Effect.Effect<ReadonlyArray<unknown>, McpCallError>
  /** Logs what of an answer could not be used. */
  readonly warn: (problems: ReadonlyArray<string>) => Effect.Effect<void>
  readonly notify: (method: string, params?: Record<string, unknown>) => Effect.Effect<void>
}

/** The description of an optional server that has not been connected yet. */
const unknownInfo: ServerInfo = { name: "", version: "", capabilities: {}, instructions: undefined }

/** How many characters of a warning are logged. */
const shownProblems = 2000

/** How many characters of the end of a process's stderr are shown. */
const shownStderr = 8192

/** Takes secrets and characters that cannot be seen out of a text. */
type Scrub = (text: string) => string

const connectErrorOf = (name: string, options: Config.ServerOptions, scrub: Scrub) => {
  const transport = Config.transportOf(options)
  const cwd = "command" in options ? options.cwd : undefined
  return ({ problem, end }: Session.Down): McpConnectError =>
    new McpConnectError({
      server: name,
      transport,
      target: Config.targetOf(options),
      // The system says the same of a command and of a directory that are not there.
      problem: scrub(problem.message) + (problem.code === "ENOENT" && cwd !== undefined ? `, in ${cwd}` : ""),
      reason: problem.kind === "auth" ? "unauthorized" : problem.kind === "usage" ? "usage" : "failed",
      exitCode: end?.exitCode,
      signal: end?.signal,
      stderr: end === undefined ? undefined : scrub(end.stderr).slice(-shownStderr)
    })
}

const reasonOf = ({ problem, timedOut }: CallFailed): McpCallError["reason"] => {
  if (timedOut) return "timeout"
  if (problem.kind === "connection" || problem.kind === "session") {
    return problem.executed === "no" ? "unavailable" : "lost"
  }
  return problem.kind === "auth" ? "unauthorized" : problem.kind === "invalid" ? "invalid" : "rejected"
}

const callErrorOf = (name: string, scrub: Scrub) => (failed: CallFailed, method: string, subject: string) => {
  const { code, executed, message } = failed.problem
  const problem = scrub(message.slice(0, 2 * Limits.maxErrorChars)).slice(0, Limits.maxErrorChars)
  return new McpCallError({ server: name, method, subject, reason: reasonOf(failed), executed, problem, code })
}

/** The parts of a server's connection. */
interface Parts {
  readonly name: string
  readonly options: Config.ServerOptions
  readonly client: Client
  readonly scrub: Scrub
  readonly paging: Paging
  readonly tools: ToolList.ToolList
  readonly user: UserAuthorization.UserAuthorization
}

const partsOf = Effect.fnUntraced(function* (name: string, options: Config.ServerOptions, client: Client) {
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "60 seconds")
  const maxDuration =
    options.maxDuration === undefined
      ? Duration.times(timeout, Limits.durationPerTimeout)
      : Duration.fromInputUnsafe(options.maxDuration)
  const scrubber = Config.scrubberOf(options)
  const scrub: Scrub = (text) => stripControls(scrubber.text(text))
  const warn: Server["warn"] = (problems) =>
    problems.length === 0
      ? Effect.void
      : Effect.logWarning(`MCP server "${name}": ${scrub(summary(problems)).slice(0, shownProblems)}`)
  const paging: Paging = { times: { timeout, maxDuration }, warn }
  const user = yield* UserAuthorization.make("url" in options ? options.oauth : undefined, scrubber)
  const parts: Parts = { name, options, client, scrub, paging, tools: ToolList.make(paging), user }
  return parts
})

/** Handlers for what the server asks and reports in one session. */
const answersOf = (parts: Parts, on: Pick<Answers, "ended" | "closed">): Answers => {
  const { client, name, scrub, tools, user } = parts
  return {
    ...on,
    capabilities: client.capabilities,
    ask: (question) => client.ask(name, question),
    notified: (method, params) => {
      if (method === "notifications/tools/list_changed") tools.changed()
      return client.notified(name, method, params)
    },
    reported: (level, message) => {
      const said = `MCP server "${name}": ${scrub(message)}`
      return level === "warning" ? Effect.logWarning(said) : Effect.logDebug(said)
    },
    authorize: user.ask,
    saveAuth: user.save
  }
}

const connect = (parts: Parts): Effect.Effect<Lifeline.Lifeline, never, Scope.Scope> => {
  const { client, name, options, scrub, tools, user } = parts
  const connectError = connectErrorOf(name, options, scrub)
  let lastStderr: string | undefined
  const open = Effect.fnUntraced(function* (ended: () => void) {
    lastStderr = undefined
    const spec = yield* Effect.try({
      try: () => Config.specOf(options, user.state(), randomUUID()),
      catch: (error): Session.Down => ({
        problem: { message: String(error), code: undefined, kind: "other", executed: "unknown" },
        end: undefined
      })
    })
    const closed = (stderr: string | undefined) => {
      lastStderr = stderr
    }
    const session = yield* Session.connect(spec, client, answersOf(parts, { ended, closed }))
    yield* tools.first(session)
    return session
  })
  // What a process that had to be stopped has said is known once it is closed.
  const stopped = () =>
    lastStderr === undefined ? undefined : { exitCode: undefined, signal: undefined, stderr: lastStderr }
  return Lifeline.make({
    open,
    user,
    reconnect: options.reconnect,
    connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? "30 seconds"),
    error: ({ end, problem }) => connectError({ problem, end: end ?? stopped() }),
    gone: ({ problem }) => Effect.logDebug(`MCP server "${name}" is gone: ${scrub(problem.message)}`)
  })
}

/** What a request is about, and whether it may be made again. */
interface About {
  readonly method: string
  readonly subject: string
  readonly again: boolean
}

/** Makes requests: in a session that is there within our patience, and once more where that is safe. */
const requesterOf = ({ name, options, scrub }: Parts, line: Lifeline.Lifeline) => {
  const patience = Duration.fromInputUnsafe(options.patience ?? "10 seconds")
  const callError = callErrorOf(name, scrub)
  const ready = ({ method, subject }: About): Effect.Effect<Session.Session, McpCallError> => {
    const unavailable = (problem: string) =>
      new McpCallError({ server: name, method, subject, reason: "unavailable", executed: "no", problem })
    const late = `the connection was lost and did not come back within ${Duration.format(patience)}`
    return line.next.pipe(
      Effect.mapError((error) => unavailable(error.message)),
      Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(unavailable(late)) })
    )
  }
  const request = <A>(
    about: About,
    use: (session: Session.Session) => Effect.Effect<A, CallFailed>,
    isFirst = true
  ): Effect.Effect<A, McpCallError> =>
    Effect.flatMap(ready(about), (session) =>
      Effect.catch(use(session), (failure): Effect.Effect<A, McpCallError> => {
        const error = callError(failure, about.method, about.subject)
        const isLost = error.reason === "lost" || error.reason === "unavailable"
        if (!isFirst || !isLost || !(about.again || error.executed === "no")) return Effect.fail(error)
        // What the first attempt may have done is not undone by a second one that was never made.
        return Effect.mapError(request(about, use, false), (second) =>
          second.executed === "no" && error.executed === "unknown" ? error : second
        )
      })
    )
  return request
}

const serverOf = (parts: Parts, line: Lifeline.Lifeline): Server => {
  const { name, options, paging, tools } = parts
  const request = requesterOf(parts, line)
  let info = Result.isSuccess(line.first) ? line.first.success.info : unknownInfo
  return {
    name,
    options,
    definitions: Definitions.make(options.pinned, options.onChange),
    warn: paging.warn,
    info: Effect.sync(() => (info = line.session()?.info ?? info)),
    pid: Effect.sync(() => line.session()?.pid),
    connected: Effect.sync(() => line.session() !== undefined),
    tools: tools.now(line.session),
    request: (method, subject, params, { again, onProgress, task }) => {
      const excess = Limits.excess(params, Limits.maxDepth)
      if (excess !== undefined) {
        const problem = `the request is ${excess}`
        return Effect.fail(
          new McpCallError({ server: name, method, subject, reason: "invalid", executed: "no", problem })
        )
      }
      const use = (session: Session.Session) => session.request(method, params, { ...paging.times, onProgress, task })
      return Spans.mcpRequest(method, subject, request({ method, subject, again }, use))
    },
    list: (method, key) => {
      const use = (session: Session.Session) => listAll(paging, session, method, key)
      return Spans.mcpRequest(method, "", request({ method, subject: "", again: true }, use))
    },
    notify: (method, params) => Effect.suspend(() => line.session()?.notify(method, params) ?? Effect.void)
  }
}

/** Connects for as long as the scope is open. Fails when the server cannot be reached now. */
export const make = (
  name: string,
  options: Config.ServerOptions,
  client: Client
): Effect.Effect<Server, McpConnectError, Scope.Scope> =>
  Effect.gen(function* () {
    const parts = yield* partsOf(name, options, client)
    const line = yield* connect(parts)
    if (Result.isFailure(line.first)) {
      if (options.optional !== true) return yield* Effect.fail(line.first.failure)
      yield* Effect.logWarning(`${line.first.failure.message} It is optional, so the other servers are used.`)
    }
    yield* line.supervise
    return serverOf(parts, line)
  })
