/** Everything that the routes of one server share: its runners and runs, who may call, what is under way, and its end. */
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Prompt from "effect/ai/Prompt"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { isSignedBy, sign } from "../../../internal/fingerprint.ts"
import * as Runner from "../../../Runner.ts"
import { CurrentSigning, type Signing } from "../../../services/Approver.ts"
import { type Ended, type Info, Runs, type RunsError, type Service as RunsService } from "../../../services/Runs.ts"
import { bodyText, depthOf, unreadableAs } from "../../internal/jsonBody.ts"
import { checked } from "./memoryLimits.ts"
import { make as memoryRuns } from "./memoryRuns.ts"
import { places, type Places, rates } from "./places.ts"
import { endOf } from "./ended.ts"
import { putLatest } from "./latest.ts"
import { ofRuns, problem, type Problem, refuse } from "./problem.ts"
import { respond } from "./respond.ts"
import type { ServedRunner } from "./served.ts"
import type { Settings } from "./settings.ts"
import { record, type Recordings, settle } from "./traceRecording.ts"

/** A run that clients of this server read. */
interface Attachment {
  readers: number
  /** How often the last of its readers has left. */
  left: number
  /** It goes on without a reader. */
  readonly isDetached: boolean
  /** Another server, or an earlier life of this one, has begun it. */
  readonly isForeign: boolean
}

/** One server. */
export interface Edge {
  readonly settings: Settings
  readonly runners: ReadonlyMap<string, ServedRunner>
  readonly runs: RunsService
  /**
   * Has the events of a run kept, where the program keeps traces. A run that goes on with an earlier one, `after`, belongs to its
   * session.
   */
  readonly record: (runId: string, session: string | undefined, after?: string) => Effect.Effect<void>
  /** The services of the runners. */
  readonly context: Context.Context<never>
  readonly signing: Signing
  readonly scope: Scope.Scope
  readonly places: Places
  readonly rate: (client: string) => Effect.Effect<void, Problem>
  readonly attached: Map<string, Attachment>
  /** The session that a run is a turn of, for the latest of them. */
  readonly sessionOf: (runId: string) => string | undefined
  /** Sessions that requests are about to begin. */
  readonly beginning: Set<{ readonly id: string }>
  /** How many messages wait for each run. */
  readonly inputs: Map<string, number>
  readonly isClosing: () => boolean
  /** Opens when the server takes nothing more. */
  readonly closing: Latch.Latch
  /** Opens when it has drained: what is still open then is closed. */
  readonly drained: Latch.Latch
  /** Takes nothing more, and waits for what is under way; after the deadline runs are interrupted. */
  readonly end: Effect.Effect<void>
  readonly active: { count: number; readonly none: Latch.Latch }
}

/** The client of a request. */
export interface Caller {
  /** The name that its token stands for; `undefined` where no token is asked for. */
  readonly name: string | undefined
}

/** Makes a server of what its context has. When the scope closes, it takes nothing more, and waits for what it does. */
export const make = (
  settings: Settings,
  runners: ReadonlyMap<string, ServedRunner>
): Effect.Effect<Edge, never, Scope.Scope> =>
  Effect.gen(function* () {
    // What is in it ends after the server has drained.
    const scope = yield* Effect.flatMap(Effect.scope, Scope.fork)
    const given = yield* Effect.context<never>()
    const runs = yield* Option.match(Context.getOption(given, Runs), {
      onNone: () => Scope.provide(memoryRuns(checked({ runs: settings.runs + 10_000 })), scope),
      onSome: Effect.succeed
    })
    const signing = given.mapUnsafe.get(CurrentSigning.key) === undefined ? processSigning() : yield* CurrentSigning
    let isClosing = false
    const [closing, drained] = [Latch.makeUnsafe(false), Latch.makeUnsafe(false)]
    const turns = new Map<string, string>()
    const recordings: Recordings = new Map()
    const end = yield* Effect.cached(
      Effect.suspend(() => {
        isClosing = true
        closing.openUnsafe()
        const settled = Effect.timeoutOrElse(settle(edge, recordings), { duration: grace, orElse: () => Effect.void })
        return Effect.andThen(
          Effect.ensuring(
            drain(edge),
            Effect.sync(() => drained.openUnsafe())
          ),
          settled
        )
      })
    )
    const edge: Edge = {
      record: (runId, session, after) => {
        const own = session ?? (after === undefined ? undefined : turns.get(after))
        if (own !== undefined) putLatest(turns, runId, own, kept)
        return record(edge, recordings, runId, own)
      },
      settings,
      runners: new Map([...runners].map(([name, served]) => [name, inTime(served, settings)])),
      runs,
      context: Context.add(given, CurrentSigning, signing),
      signing: signing ?? processSigning(),
      scope,
      places: places(settings),
      rate: rates(settings.rate),
      attached: new Map(),
      sessionOf: (runId) => turns.get(runId),
      beginning: new Set(),
      inputs: new Map(),
      isClosing: () => isClosing,
      closing,
      drained,
      end,
      active: { count: 0, none: Latch.makeUnsafe(true) }
    }
    yield* Effect.addFinalizer(() => end)
    return edge
  })

/** Of how many runs it is known which session they are turns of. */
const kept = 10_000

/** A runner whose runs take no longer than they may. */
const inTime = (served: ServedRunner, { timeMs }: Settings): ServedRunner => ({
  ...served,
  runner: Runner.withTimeout(served.runner, timeMs)
})

/** A secret that this process alone has: what it signs is worth nothing elsewhere, or after it. */
const processSigning = (): Signing => {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(32))
  const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
  return {
    sign: (payload) => sign(key, payload),
    verify: (payload, signature) => isSignedBy(key, payload, signature)
  }
}

/** How long answers may still be written once their runs were interrupted, and how long what has ended may be kept then. */
const grace = "2 seconds"

/** Waits for answers under way; after the deadline runs are interrupted, and their last events are written. */
const drain = (edge: Edge): Effect.Effect<void> => {
  const done = edge.active.none.await
  const interrupt = Effect.suspend(() => {
    const running = [...edge.attached].flatMap(([runId, { isDetached }]) => (isDetached ? [] : [runId]))
    return Effect.forEach(running, (runId) => Effect.ignore(edge.runs.interrupt(runId)), {
      concurrency: "unbounded",
      discard: true
    })
  })
  // The places of runs that are interrupted would otherwise go to requests that wait.
  const stop = Effect.andThen(edge.places.close, interrupt)
  return done.pipe(
    Effect.timeoutOrElse({
      duration: edge.settings.drainMs,
      orElse: () => Effect.andThen(stop, Effect.timeoutOrElse(done, { duration: grace, orElse: () => Effect.void }))
    })
  )
}

/** A handler of a route. */
export type Handler<R> = (
  request: HttpServerRequest.HttpServerRequest,
  caller: Caller
) => Effect.Effect<HttpServerResponse.HttpServerResponse, Problem, R>

/** How a route differs from others. */
export interface RouteOptions {
  /** It asks for no token. */
  readonly isOpen?: boolean
  /** How a problem is answered. Default: as RFC 9457 says. */
  readonly respond?: (given: Problem) => HttpServerResponse.HttpServerResponse
}

/** Answers a request: checks who calls, and makes an answer of every failure. */
export const answering =
  <R>(edge: Edge, handler: Handler<R>, { isOpen = false, respond: answer = respond }: RouteOptions = {}) =>
  (
    request: HttpServerRequest.HttpServerRequest
  ): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | Scope.Scope> =>
    Effect.gen(function* () {
      yield* enter(edge)
      const caller = yield* admitted(edge, request, isOpen)
      return yield* handler(request, caller)
    }).pipe(
      Effect.catchTag("Problem", (given) => Effect.succeed(answer(given))),
      Effect.catchDefect((defect) =>
        Effect.as(
          Effect.logError("A request of AgentServer failed unexpectedly", defect),
          answer(problem(500, "Something went wrong. The server's log says why."))
        )
      ),
      Effect.map((response) => withCors(edge, request, response))
    )

/** Counts a request until its answer is written. */
const enter = (edge: Edge): Effect.Effect<void, never, Scope.Scope> => {
  const { active } = edge
  return Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        active.count++
        active.none.closeUnsafe()
      }),
      () =>
        Effect.sync(() => {
          if (--active.count === 0) active.none.openUnsafe()
        })
    )
  )
}

const admitted = (
  edge: Edge,
  request: HttpServerRequest.HttpServerRequest,
  isOpen: boolean
): Effect.Effect<Caller, Problem> =>
  Effect.gen(function* () {
    const { settings } = edge
    if (edge.isClosing() && !isOpen) {
      return yield* refuse(503, "The server is ending.", {}, { "retry-after": "5", connection: "close" })
    }
    // No name or id has it, and not every store can be asked for it.
    if (request.originalUrl.includes("%00"))
      return yield* refuse(400, "The address has a character that is not allowed.")
    const host = hostOf(request)
    if (settings.hosts !== undefined && !settings.hosts.has(host.replace(/:\d+$/, ""))) {
      return yield* refuse(403, "This Host is not allowed.")
    }
    if (settings.checksOrigin) yield* sameOrigin(edge, request)
    if (isOpen) return { name: undefined }
    const address = Option.getOrElse(request.remoteAddress, () => "")
    const caller = yield* Effect.catch(authorized(settings, request), (refused) =>
      // Guesses of tokens are counted too, apart from the requests of those who have one.
      Effect.andThen(edge.rate(`401 ${address}`), Effect.fail(refused))
    )
    yield* edge.rate(caller.name ?? address)
    return caller
  })

/** Refuses a page of another origin, unless the settings name it. */
export const sameOrigin = (
  { settings }: Edge,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<void, Problem> => {
  const { origin } = request.headers
  return origin === undefined || settings.cors.has(origin) || hostIn(origin) === hostOf(request)
    ? Effect.void
    : refuse(403, "This Origin is not allowed.")
}

const hostOf = (request: HttpServerRequest.HttpServerRequest): string =>
  (request.headers["host"] ?? hostIn(request.originalUrl) ?? "").toLowerCase()

const hostIn = (url: string): string | undefined => (URL.canParse(url) ? new URL(url).host : undefined)

const authorized = (
  { bearer }: Settings,
  { headers }: HttpServerRequest.HttpServerRequest
): Effect.Effect<Caller, Problem> => {
  if (bearer === undefined) return Effect.succeed({ name: undefined })
  const [, token] = /^Bearer +(\S+) *$/i.exec(headers["authorization"] ?? "") ?? []
  const unauthorized = (detail: string, challenge: string) =>
    refuse(401, detail, {}, { "www-authenticate": `Bearer${challenge}` })
  if (token === undefined) return unauthorized("The request has no bearer token.", "")
  return Effect.suspend(() => {
    const accepted = bearer(Redacted.make(token))
    return Effect.isEffect(accepted) ? accepted : Effect.succeed(accepted)
  }).pipe(
    Effect.flatMap((accepted) =>
      accepted === false
        ? unauthorized("The bearer token is not accepted.", ' error="invalid_token"')
        : Effect.succeed({ name: accepted === true ? undefined : accepted })
    )
  )
}

/** What pages of other origins may read: nothing, unless the settings name them. */
export const withCors = (
  { settings }: Edge,
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse => {
  const { origin } = request.headers
  if (origin === undefined || !settings.cors.has(origin)) return response
  return HttpServerResponse.setHeaders(response, {
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "x-run-id, location, retry-after",
    vary: "Origin"
  })
}

/** The JSON of a request's body. */
export const bodyOf = (
  { settings }: Edge,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<unknown, Problem> => {
  const type = request.headers["content-type"] ?? ""
  if (!/^application\/(?:[\w.+-]+\+)?json\b/i.test(type)) {
    return refuse(415, "The body is not declared as JSON. Send content-type: application/json.")
  }
  const unreadable = unreadableAs(request.headers)
  if (unreadable !== undefined) return refuse(415, `The body is ${unreadable}.`, {}, { "accept-encoding": "identity" })
  const tooLarge = problem(413, `The body is larger than ${settings.body} bytes.`)
  if (Number(request.headers["content-length"] ?? 0) > settings.body) return Effect.fail(tooLarge)
  return bodyText(request).pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.fromInputUnsafe(settings.body)),
    Effect.mapError((why) => {
      if (why === "too large") return tooLarge
      return problem(400, why === "unreadable" ? "The body cannot be read." : "The body is not in UTF-8, as JSON is.")
    }),
    Effect.flatMap(parsed)
  )
}

/** How deep the JSON of a client may be nested. */
const maxDepth = 100

/** JSON of a client that is not nested too deep. */
export const parsed = (text: string): Effect.Effect<unknown, Problem> => {
  if (depthOf(text) > maxDepth) return refuse(400, `The body is nested deeper than ${maxDepth} levels.`)
  try {
    return Effect.succeed(JSON.parse(text))
  } catch {
    return refuse(400, "The body is not JSON.")
  }
}

/** The runner of a name. */
export const runnerOf = (edge: Edge, name: string | undefined): Effect.Effect<ServedRunner, Problem> => {
  const found = name === undefined ? undefined : edge.runners.get(name)
  return found === undefined ? refuse(404, "There is no such runner.") : Effect.succeed(found)
}

/** A run that the caller may see. Of any other there is said that it is not there. */
export const runOf = (edge: Edge, caller: Caller, runId: string | undefined): Effect.Effect<Info, Problem> =>
  Effect.flatMap(Effect.mapError(edge.runs.poll(runId ?? ""), ofRuns), (info) =>
    info.owner === caller.name ? Effect.succeed(info) : refuse(404, "There is no such run, or it has expired.")
  )

/** How many messages of clients may wait for one run. */
const maxInputs = 64

/** Fails where no further message may wait for a run. */
export const admitInput = (edge: Edge, runId: string): Effect.Effect<void, Problem> =>
  (edge.inputs.get(runId) ?? 0) < maxInputs
    ? Effect.void
    : refuse(429, `${maxInputs} messages wait for the run, and no more are taken.`, {}, { "retry-after": "5" })

/** Sends a message to a run under way. It waits until it is known what became of it. */
export const sendInput = (
  edge: Edge,
  runId: string,
  prompt: Prompt.Prompt,
  delivery: "steer" | "queue"
): Effect.Effect<"delivered" | "undelivered", Problem> =>
  Effect.flatMap(
    Effect.suspend(() => admitInput(edge, runId)),
    () => {
      edge.inputs.set(runId, (edge.inputs.get(runId) ?? 0) + 1)
      const left = Effect.sync(() => {
        const others = (edge.inputs.get(runId) ?? 1) - 1
        if (others === 0) edge.inputs.delete(runId)
        else edge.inputs.set(runId, others)
      })
      return Effect.ensuring(Effect.mapError(edge.runs.input(runId, prompt, delivery), ofRuns), left)
    }
  )

/** A run to begin. */
export interface Begin {
  readonly runner: ServedRunner
  readonly input: unknown
  readonly caller: Caller
  /** Whether its text is wanted as it comes. */
  readonly deltas: boolean
  /** Whether it goes on when its client has hung up. */
  readonly isDetached: boolean
  /** The session that it is a turn of. */
  readonly session?: string | undefined
}

/** Begins a run when there is a place for it. Unless it is detached, it ends with the scope of the request. */
export const begin = (edge: Edge, options: Begin): Effect.Effect<string, Problem, Scope.Scope> => {
  const { caller, deltas, input, isDetached, runner, session } = options
  const paced = deltas && !isDetached
  const begun = edge.runs.start(runner.runner, input, { owner: caller.name, detached: isDetached, deltas, paced })
  return startIn(edge, isDetached, begun, (runId) => edge.record(runId, session))
}

/** Starts a run, or one that goes on with another, in a place. */
export const startIn = (
  edge: Edge,
  isDetached: boolean,
  start: Effect.Effect<string, RunsError>,
  record: (runId: string) => Effect.Effect<void>
): Effect.Effect<string, Problem, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      // Only what begins is interrupted: a run that has begun has a place and, unless it is detached, an end.
      const begun = Effect.gen(function* () {
        const started = Effect.provideContext(start, edge.context)
        const runId = yield* restore(Effect.mapError(started, ofRuns))
        yield* record(runId)
        edge.attached.set(runId, { readers: 0, left: 0, isDetached, isForeign: false })
        return runId
      })
      if (!isDetached) {
        yield* restore(edge.places.hold)
        const runId = yield* begun
        yield* attach(edge, runId)
        return runId
      }
      const free = yield* edge.places.take(restore)
      const runId = yield* Effect.onError(begun, () => free)
      const leave = Effect.sync(() => edge.attached.delete(runId))
      yield* Effect.forkIn(
        Effect.ensuring(Effect.ignore(untilEnd(edge, runId)), Effect.andThen(free, leave)),
        edge.scope
      )
      return runId
    })
  )

/** Waits for the end of a run. */
export const untilEnd = (edge: Edge, runId: string): Effect.Effect<Ended, Problem> =>
  Effect.mapError(endOf(edge.runs.follow(runId, { from: "now" }), runId), ofRuns)

/** Has the run end with the scope, if no other client reads it then and it is not detached. */
export const attach = (edge: Edge, runId: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        const known = edge.attached.get(runId)
        if (known === undefined) edge.attached.set(runId, { readers: 1, left: 0, isDetached: true, isForeign: true })
        else known.readers++
      }),
      () => Effect.suspend(() => leave(edge, runId))
    )
  )

const leave = (edge: Edge, runId: string): Effect.Effect<void> => {
  const known = edge.attached.get(runId)
  if (known === undefined || --known.readers > 0) return Effect.void
  if (known.isDetached) return Effect.sync(() => known.isForeign && edge.attached.delete(runId))
  const left = ++known.left
  const end = Effect.suspend(() => {
    // A client that came back meanwhile has all of the time again.
    if (known.readers > 0 || known.left > left) return Effect.void
    edge.attached.delete(runId)
    return Effect.ignore(edge.runs.interrupt(runId))
  })
  const { reconnectMs } = edge.settings
  if (reconnectMs === 0) return end
  return Effect.asVoid(Effect.forkIn(Effect.delay(end, reconnectMs), edge.scope))
}
