/**
 * A server as agents see it: one connection that comes back when it is lost, requests that say what became of them, and
 * the list of tools, kept up to date.
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { stripControls } from "../../../internal/text.ts"
import * as Spans from "../../../internal/telemetry.ts"
import * as Config from "./config.ts"
import * as Definitions from "./definitions.ts"
import { McpCallError, McpConnectError } from "./errors.ts"
import type { Fields } from "./fields.ts"
import * as Limits from "./limits.ts"
import { readTools, summary, type ToolInfo } from "./lists.ts"
import type { Capabilities, OAuthState, ServerInfo } from "./protocol.ts"
import * as Session from "./session.ts"
import type { CallFailed } from "./pendingCalls.ts"
import type { Answers, Question } from "./asking.ts"

/** How a request is made. */
export interface RequestOptions {
  /**
   * Made once more when the connection was lost under it. A request that the server has not acted on, as it did not know
   * our session, is made once more in any case.
   */
  readonly again: boolean
  readonly onProgress?: ((progress: unknown) => Effect.Effect<void>) | undefined
  readonly task?: boolean | undefined
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
  /** What its tools were when they were accepted. */
  readonly definitions: Definitions.Definitions
  /** What the server says about itself; while it is not connected, what it said in its last connection. */
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
  readonly notify: (method: string, params?: unknown) => Effect.Effect<void>
}

interface Up {
  readonly session: Session.Session
  readonly scope: Scope.Closeable
}
type State =
  | { readonly _tag: "Up"; readonly up: Up }
  | { readonly _tag: "Down"; readonly next: Deferred.Deferred<Up, McpConnectError> }

/** What is known of an optional server that has not been connected yet. */
const unknownInfo: ServerInfo = { name: "", version: "", capabilities: {}, instructions: undefined }

/** How long a list of tools that failed is not asked for again. Milliseconds. */
const refreshPause = 30_000

/** How many characters of a warning are logged. */
const shownProblems = 2000

const isUnknownMethod = ({ problem }: CallFailed): boolean => problem.kind === "rejected" && problem.code === "-32601"

/** How many characters of the end of a process's stderr are shown. */
const shownStderr = 8192

const defaultReconnect = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("30 seconds")])

/** Connects for as long as the scope is open. Fails when the server cannot be reached now. */
export const make = (
  name: string,
  options: Config.ServerOptions,
  client: Client
): Effect.Effect<Server, McpConnectError, Scope.Scope> =>
  Effect.gen(function* () {
    const timeout = Duration.fromInputUnsafe(options.timeout ?? "60 seconds")
    const maxDuration =
      options.maxDuration === undefined
        ? Duration.times(timeout, Limits.durationPerTimeout)
        : Duration.fromInputUnsafe(options.maxDuration)
    const connectTimeout = Duration.fromInputUnsafe(options.connectTimeout ?? "30 seconds")
    const patience = Duration.fromInputUnsafe(options.patience ?? "10 seconds")
    const scrubber = Config.scrubberOf(options)
    const scrub = (text: string) => stripControls(scrubber.text(text))
    const transport = Config.transportOf(options)
    const oauth = "url" in options ? options.oauth : undefined
    const cwd = "command" in options ? options.cwd : undefined
    const asConnectError = ({ problem, end }: Session.Down): McpConnectError =>
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

    let auth: OAuthState = yield* loadAuth(oauth)
    scrubber.learn(Config.secretsOfAuth(auth))
    let tools: ReadonlyArray<ToolInfo> = []
    let stale = false
    /** How many times the user is being asked, and has been. */
    let authorizing = 0
    let authorized = 0
    let lastStderr: string | undefined
    /** What is open: one connection at most, and one that is being closed. */
    const open = new Set<Scope.Closeable>()
    const close = (scope: Scope.Closeable) =>
      Effect.andThen(
        Scope.close(scope, Exit.void),
        Effect.sync(() => open.delete(scope))
      )
    let state: State = { _tag: "Down", next: Deferred.makeUnsafe() }

    const answers: Answers = {
      capabilities: client.capabilities,
      ask: (question) => client.ask(name, question),
      notified: (method, params) => {
        if (method === "notifications/tools/list_changed") stale = true
        return client.notified(name, method, params)
      },
      reported: (level, message) => {
        const said = `MCP server "${name}": ${scrub(message)}`
        return level === "warning" ? Effect.logWarning(said) : Effect.logDebug(said)
      },
      authorize: (url) => {
        if (oauth?.authorize === undefined)
          return Effect.fail("the server asks for a user, and its oauth has no authorize")
        const { authorize } = oauth
        authorizing++
        return Effect.suspend(() => authorize(new URL(url))).pipe(
          Effect.map(String),
          Effect.tap((answer) =>
            Effect.sync(() => scrubber.learn([answer, URL.parse(answer)?.searchParams.get("code") ?? answer]))
          ),
          Effect.mapError((error) => (error instanceof Error ? error.message : String(error))),
          Effect.ensuring(
            Effect.sync(() => {
              authorizing--
              authorized++
            })
          )
        )
      },
      saveAuth: (state) => {
        auth = state
        scrubber.learn(Config.secretsOfAuth(state))
        return oauth?.store?.save(Redacted.make(JSON.stringify(state))) ?? Effect.void
      },
      closed: (stderr) => {
        lastStderr = stderr
      },
      ended: () => {
        if (state._tag === "Up") state = { _tag: "Down", next: Deferred.makeUnsafe() }
      }
    }

    const failed = ({ problem, timedOut }: CallFailed, method: string, subject: string): McpCallError => {
      const isLost = problem.kind === "connection" || problem.kind === "session"
      const reason = timedOut
        ? "timeout"
        : isLost
          ? problem.executed === "no"
            ? "unavailable"
            : "lost"
          : problem.kind === "auth"
            ? "unauthorized"
            : problem.kind === "invalid"
              ? "invalid"
              : "rejected"
      const { code, executed, message } = problem
      const text = scrub(message.slice(0, 2 * Limits.maxErrorChars)).slice(0, Limits.maxErrorChars)
      return new McpCallError({ server: name, method, subject, reason, executed, problem: text, code })
    }

    const warn = (problems: ReadonlyArray<string>) =>
      problems.length === 0
        ? Effect.void
        : Effect.logWarning(`MCP server "${name}": ${scrub(summary(problems)).slice(0, shownProblems)}`)

    const listAll = Effect.fnUntraced(
      function* (session: Session.Session, method: string, key: string) {
        let found: ReadonlyArray<unknown> = []
        let chars = 0
        const seen = new Set<unknown>()
        const tooLong = (what: string) => {
          const problem = { ...ofText(`its list has more than ${what}`), kind: "invalid" } as const
          return Effect.fail<CallFailed>({ problem, timedOut: false })
        }
        let cursor: unknown
        do {
          seen.add(cursor)
          if (seen.size > Limits.maxPages) return yield* tooLong(`${Limits.maxPages} pages`)
          const params = cursor === undefined ? {} : { cursor }
          const page = (yield* session.request(method, params, { timeout, maxDuration })) as Fields
          const entries = page[key]
          chars += JSON.stringify(page).length
          if (chars > Limits.maxListChars) return yield* tooLong(`${Limits.maxListChars} characters`)
          if (Array.isArray(entries)) {
            found = found.concat(entries)
            if (found.length > Limits.maxListEntries) return yield* tooLong(`${Limits.maxListEntries} entries`)
          } else if (entries !== undefined && entries !== null) yield* warn([`its answer to ${method} holds no list`])
          cursor = page["nextCursor"]
          // A server whose cursors repeat has sent the whole list.
        } while (cursor !== undefined && cursor !== null && cursor !== "" && !seen.has(cursor))
        return found
      },
      Effect.timeoutOrElse({
        duration: maxDuration,
        orElse: () => {
          const message = `its list was not complete within ${Duration.format(maxDuration)}`
          return Effect.fail<CallFailed>({ problem: ofText(message), timedOut: true })
        }
      }),
      Effect.catchIf(isUnknownMethod, () => Effect.succeed<ReadonlyArray<unknown>>([]))
    )

    const listTools = (session: Session.Session): Effect.Effect<ReadonlyArray<ToolInfo>, CallFailed> =>
      session.info.capabilities["tools"] === undefined
        ? Effect.succeed([])
        : Effect.flatMap(listAll(session, "tools/list", "tools"), (entries) => {
            const { found, problems } = readTools(entries)
            return Effect.as(warn(problems), found)
          })

    /** The first list of a connection. A server that refuses to give it is asked again before the next step. */
    const firstTools = (session: Session.Session): Effect.Effect<ReadonlyArray<ToolInfo>, Session.Down> =>
      Effect.catch(listTools(session), ({ problem, timedOut }) => {
        const message = `tools/list: ${problem.message}`
        if (timedOut || problem.kind !== "rejected") {
          return Effect.fail<Session.Down>({ problem: { ...problem, message }, end: undefined })
        }
        stale = true
        return Effect.as(warn([`it has no tools for now: ${message}`]), [])
      })

    /** One attempt. What it has opened is closed again when it fails or is interrupted. */
    const establish: Effect.Effect<Up, McpConnectError> = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        open.add(scope)
        lastStderr = undefined
        const attempt = Effect.gen(function* () {
          const spec = yield* Effect.try({
            try: () => Config.specOf(options, auth, randomUUID()),
            catch: (error): Session.Down => ({ problem: ofText(String(error)), end: undefined })
          })
          const session = yield* Scope.provide(Session.connect(spec, client, answers), scope)
          stale = false
          tools = yield* firstTools(session)
          return session
        })
        // The time that the user takes is not the server's.
        const late: Effect.Effect<never, Session.Down> = Effect.suspend(() => {
          const before = authorized
          return Effect.flatMap(Effect.sleep(connectTimeout), () => {
            if (authorizing > 0 || authorized > before) return late
            const message = `it did not answer within ${Duration.format(connectTimeout)}`
            return Effect.fail<Session.Down>({ problem: ofText(message), end: undefined })
          })
        })
        const session = yield* restore(Effect.raceFirst(attempt, late)).pipe(
          Effect.onError(() => close(scope)),
          // What a process that had to be stopped has said is known now.
          Effect.mapError(({ end, problem }) =>
            asConnectError({
              problem,
              end:
                end ?? (lastStderr === undefined ? end : { exitCode: undefined, signal: undefined, stderr: lastStderr })
            })
          )
        )
        const up = { session, scope }
        const before = state
        state = { _tag: "Up", up }
        if (before._tag === "Down") Deferred.doneUnsafe(before.next, Effect.succeed(up))
        return up
      })
    )

    const reconnect = options.reconnect ?? defaultReconnect
    /** Tries again for as long as the options say. Fails with the last problem. */
    const comeBack = (why: McpConnectError): Effect.Effect<Up, McpConnectError> =>
      reconnect === "none"
        ? Effect.fail(why)
        : Effect.retry(Effect.delay(establish, "100 millis"), Schedule.jittered(reconnect))

    /** Waits for the end of a connection, and closes it. */
    const ended = Effect.fnUntraced(function* ({ scope, session }: Up) {
      const why = yield* session.down
      // It may have ended before it was known to be up.
      if (state._tag === "Up") state = { _tag: "Down", next: Deferred.makeUnsafe() }
      yield* Effect.uninterruptible(close(scope))
      yield* Effect.logDebug(`MCP server "${name}" is gone: ${scrub(why.problem.message)}`)
      return asConnectError(why)
    })

    const supervise = Effect.fnUntraced(function* (first: Result.Result<Up, McpConnectError>) {
      let current = first
      while (true) {
        const why = Result.isSuccess(current) ? yield* ended(current.success) : current.failure
        current = yield* Effect.result(comeBack(why))
        if (Result.isSuccess(current)) continue
        if (state._tag === "Down") Deferred.doneUnsafe(state.next, Effect.fail(current.failure))
        return
      }
    })

    yield* Effect.addFinalizer(() => Effect.forEach(open, close, { discard: true }))
    const first = yield* Effect.result(establish)
    if (Result.isFailure(first)) {
      if (options.optional !== true) return yield* Effect.fail(first.failure)
      yield* Effect.logWarning(`${first.failure.message} It is optional, so the other servers are used.`)
    }
    let info = Result.isSuccess(first) ? first.success.session.info : unknownInfo
    yield* Effect.forkScoped(supervise(first))

    /** The connection, when it is there within our patience. */
    const ready = (method: string, subject: string): Effect.Effect<Session.Session, McpCallError> =>
      Effect.suspend(() => {
        if (state._tag === "Up") return Effect.succeed(state.up.session)
        const unavailable = (problem: string) =>
          new McpCallError({ server: name, method, subject, reason: "unavailable", executed: "no", problem })
        return Deferred.await(state.next).pipe(
          Effect.mapBoth({ onSuccess: ({ session }) => session, onFailure: (error) => unavailable(error.message) }),
          Effect.timeoutOrElse({
            duration: patience,
            orElse: () =>
              Effect.fail(
                unavailable(`the connection was lost and did not come back within ${Duration.format(patience)}`)
              )
          })
        )
      })

    const request = <A>(
      method: string,
      subject: string,
      again: boolean,
      use: (session: Session.Session) => Effect.Effect<A, CallFailed>,
      isFirst = true
    ): Effect.Effect<A, McpCallError> =>
      Effect.flatMap(ready(method, subject), (session) =>
        Effect.catch(use(session), (failure): Effect.Effect<A, McpCallError> => {
          const error = failed(failure, method, subject)
          const isLost = error.reason === "lost" || error.reason === "unavailable"
          if (!isFirst || !isLost || !(again || error.executed === "no")) return Effect.fail(error)
          // What the first attempt may have done is not undone by a second one that was never made.
          return Effect.mapError(request(method, subject, again, use, false), (second) =>
            second.executed === "no" && error.executed === "unknown" ? error : second
          )
        })
      )

    const refresh = yield* Semaphore.make(1)
    let refreshAgainAt = 0
    return {
      name,
      options,
      definitions: Definitions.make(options.pinned, options.onChange),
      warn,
      info: Effect.sync(() => (info = state._tag === "Up" ? state.up.session.info : info)),
      pid: Effect.sync(() => (state._tag === "Up" ? state.up.session.pid : undefined)),
      connected: Effect.sync(() => state._tag === "Up"),
      tools: refresh.withPermits(1)(
        Effect.suspend(() => {
          if (!stale || state._tag === "Down") return Effect.succeed(tools)
          const { session } = state.up
          return Effect.flatMap(Clock.currentTimeMillis, (now) => {
            if (now < refreshAgainAt) return Effect.succeed(tools)
            stale = false
            return Effect.matchEffect(listTools(session), {
              onSuccess: (found) => Effect.sync(() => (tools = found)),
              onFailure: ({ problem, timedOut }) => {
                stale = true
                // A list that is refused, or that takes long, must not be fetched again at each step.
                if (timedOut || problem.kind === "invalid") refreshAgainAt = now + refreshPause
                return Effect.as(warn([`its tools stay as they were: tools/list: ${problem.message}`]), tools)
              }
            })
          })
        })
      ),
      request: (method, subject, params, { again, onProgress, task }) => {
        const excess = Limits.excess(params, Limits.maxDepth)
        if (excess !== undefined) {
          const problem = `the request is ${excess}`
          return Effect.fail(
            new McpCallError({ server: name, method, subject, reason: "invalid", executed: "no", problem })
          )
        }
        return Spans.mcpRequest(
          method,
          subject,
          request(method, subject, again, (session) =>
            session.request(method, params, { timeout, maxDuration, onProgress, task })
          )
        )
      },
      list: (method, key) =>
        Spans.mcpRequest(
          method,
          "",
          request(method, "", true, (session) => listAll(session, method, key))
        ),
      notify: (method, params) =>
        Effect.suspend(() => (state._tag === "Up" ? state.up.session.notify(method, params) : Effect.void))
    }
  })

const ofText = (message: string) => ({ message, code: undefined, kind: "other", executed: "unknown" }) as const

const loadAuth = (oauth: Config.OAuthOptions | undefined): Effect.Effect<OAuthState> =>
  Effect.map(oauth?.store?.load ?? Effect.succeed(undefined), (kept) => {
    if (kept === undefined) return {}
    try {
      return JSON.parse(Redacted.value(kept)) as OAuthState
    } catch {
      // Tokens that cannot be read are asked for again.
      return {}
    }
  })
