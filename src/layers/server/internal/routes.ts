/** The routes of a server in Troupe's own terms: runners, runs, their events. */
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Predicate from "effect/Predicate"
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { RunEvent } from "../../../RunEvent.ts"
import type { Ended, Info } from "../../../services/Runs.ts"
import { byteLength } from "../../internal/bytes.ts"
import { answersOf, isWaiting, resume, waitingFor } from "./answers.ts"
import {
  answering,
  attach,
  begin,
  bodyOf,
  type Caller,
  type Edge,
  type Handler,
  type RouteOptions,
  runnerOf,
  runOf,
  sendInput,
  untilEnd,
  withCors
} from "./edge.ts"
import { billOf } from "./formats/usage.ts"
import { afterId, ndjson, sse, type Write } from "./lines.ts"
import { docsPage, openApi } from "./openApi.ts"
import { graphOf } from "./playground/graph.ts"
import { playground } from "./playground/routes.ts"
import { failureOf, ofRuns, type Problem, problemOf, refuse, tooLarge } from "./problem.ts"
import { json } from "./respond.ts"
import { fromClient, type ServedRunner } from "./served.ts"
import { traces } from "./traces.ts"
import { webSocket } from "./webSocket.ts"
import { admit, answersIn, giveUp, inSession, sessionOf, sessions } from "./sessions.ts"

type Request = HttpServerRequest.HttpServerRequest
type Answer = HttpServerResponse.HttpServerResponse
export type Route = HttpRouter.Route<never, Scope.Scope>
type Method = "GET" | "POST" | "DELETE"

/** Adds a route to those of a server. */
export type Add = (
  method: Method,
  path: `/${string}`,
  handler: Handler<Scope.Scope | HttpRouter.RouteContext>,
  options?: RouteOptions
) => void

/** The routes of Troupe's own interface. */
export const add = (edge: Edge, route: Add): void => {
  alive(edge, route)
  route("GET", "/openapi.json", () => Effect.succeed(json(openApi(edge))))
  route("GET", "/docs", () => Effect.succeed(docsPage(edge)))
  route("GET", "/runners", () => Effect.succeed(json({ runners: [...edge.runners.values()].map(described) })))
  route("POST", "/runners/:name", (request, caller) => run(edge, request, caller))
  route("POST", "/runners/:name/stream", (request, caller) => stream(edge, request, caller))
  route("GET", "/runners/:name/graph", () => graph(edge))
  route("GET", "/runs/:id", (_, caller) => Effect.map(givenRun(edge, caller), (info) => json(stateOf(info))))
  route("GET", "/runs/:id/stream", (request, caller) => follow(edge, request, caller))
  route("DELETE", "/runs/:id", (_, caller) => interrupt(edge, caller))
  route("POST", "/runs/:id/input", (request, caller) => input(edge, request, caller))
  route("GET", "/runs/:id/approvals", (_, caller) => approvals(edge, caller))
  route("POST", "/runs/:id/approvals", (request, caller) =>
    Effect.flatMap(bodyOf(edge, request), (body) => answered(edge, request, caller, body))
  )
  route("GET", "/approvals", (_, caller) => allApprovals(edge, caller))
  sessions(edge, route)
  webSocket(edge, route, askedIn)
  traces(edge, route)
  if (edge.settings.playground) playground(edge, route)
}

const alive = (edge: Edge, route: Add): void => {
  route("GET", "/health", () => Effect.succeed(json({ status: "ok" })), { isOpen: true })
  route("GET", "/ready", () => ready(edge), { isOpen: true })
}

const ready = (edge: Edge): Effect.Effect<Answer, Problem> =>
  edge.isClosing() || edge.places.isFull()
    ? refuse(503, "The server takes no requests now.", {}, { "retry-after": "5" })
    : Effect.succeed(json({ status: "ready" }))

const described = ({ description, inputSchema, name, outputSchema }: ServedRunner) => ({
  name,
  ...(description === undefined ? {} : { description }),
  input: inputSchema,
  ...(outputSchema === undefined ? {} : { output: outputSchema })
})

/** What a runner is made of: as much as its nested runs show. */
const graph = (edge: Edge) =>
  Effect.gen(function* () {
    const { runner } = yield* Effect.flatMap(param("name"), (name) => runnerOf(edge, name))
    if (!edge.settings.expose.includes("nested")) {
      return yield* refuse(403, 'This server does not show nested runs. Give it expose: ["nested"].')
    }
    return json({ graph: graphOf(runner) })
  })

const param = (name: string): Effect.Effect<string | undefined, never, HttpRouter.RouteContext> =>
  Effect.map(HttpRouter.params, (params) => params[name])

const givenRun = (edge: Edge, caller: Caller) => Effect.flatMap(param("id"), (id) => runOf(edge, caller, id))

interface Asked {
  readonly runner: ServedRunner
  readonly input: unknown
  readonly isDetached: boolean
  readonly session?: string
}

const asked = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const name = yield* param("name")
    yield* runnerOf(edge, name)
    return yield* askedIn(edge, yield* bodyOf(edge, request), name, caller)
  })

const askedFields = new Set(["input", "session", "answers", "detached"])

/** The body of a request for a run: `{ input, session?, detached? }`, or `{ session, answers, detached? }`. */
const askedIn = (
  edge: Edge,
  body: unknown,
  name: string | undefined,
  caller: Caller
): Effect.Effect<Asked, Problem, Scope.Scope> =>
  Effect.gen(function* () {
    const runner = yield* runnerOf(edge, name)
    if (!Predicate.isObject(body)) return yield* refuse(400, "The body is not an object.")
    const fields = body as Readonly<Record<string, unknown>>
    const unknown = Object.keys(fields).find((key) => !askedFields.has(key))
    if (unknown !== undefined) return yield* refuse(400, `The body has an unknown field "${unknown.slice(0, 100)}".`)
    if ("input" in fields === "answers" in fields) {
      const problem = "input" in fields ? "The body has input and answers." : "The body has no input."
      return yield* refuse(400, problem, { part: "input" })
    }
    const { answers, detached = false, session } = fields
    if (typeof detached !== "boolean") return yield* refuse(400, "detached is not true or false.", { part: "detached" })
    const isNew = "input" in fields
    const input = isNew ? yield* runner.decode(fields["input"]) : undefined
    if (session === undefined) {
      if (isNew) return { runner, input, isDetached: detached }
      return yield* refuse(400, "Answers without a run go to a session. Name it.", { part: "session" })
    }
    const id = yield* sessionOf(edge, caller, session)
    if (!runner.isChat) return yield* refuse(400, "The runner takes no conversation.", { part: "session" })
    if (isNew) yield* admit(edge, caller, id)
    const turn = { ...runner, runner: yield* inSession(edge, runner.runner, id) }
    return {
      runner: turn,
      input: isNew ? input : yield* answersIn(edge, id, answers),
      isDetached: detached,
      session: id
    }
  })

const run = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const { input, isDetached, runner, session } = yield* asked(edge, request, caller)
    const runId = yield* begin(edge, { runner, input, caller, deltas: isDetached, isDetached, session })
    if (isDetached) return json({ runId, status: "running" }, 202, atRun(edge, runId))
    const ended = yield* untilEnd(edge, runId)
    return yield* answerOf(edge, ended)
  })

const atRun = ({ settings }: Edge, runId: string) => ({
  location: `${settings.prefix}/runs/${runId}`,
  "x-run-id": runId
})

/** What a run came to: `{ output, usage, steps, runId }`, what it waits for, or a problem. */
const answerOf = (edge: Edge, ended: Ended): Effect.Effect<Answer, Problem> => {
  if (ended._tag === "RunSuspended") return Effect.succeed(json(suspended(edge, ended), 202, atRun(edge, ended.runId)))
  if (ended._tag !== "RunCompleted") return Effect.fail(problemOf(ended, edge.settings.expose))
  const { output = null, runId } = ended
  const text = JSON.stringify({ output, ...billOf(ended), runId })
  if (byteLength(text) > edge.settings.answer) {
    return Effect.fail(tooLarge(edge.settings, { error: "AnswerTooLarge", runId }))
  }
  return Effect.succeed(
    HttpServerResponse.text(text, {
      contentType: "application/json",
      headers: { "cache-control": "no-store", "x-run-id": runId }
    })
  )
}

const suspended = (edge: Edge, ended: Extract<Ended, { readonly _tag: "RunSuspended" }>) => ({
  runId: ended.runId,
  status: "suspended",
  waitingFor: waitingFor(ended, edge.settings.expose),
  ...billOf(ended)
})

/** An input for a run under way, or answers to what a suspended run waits for. */
const input = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const body = yield* bodyOf(edge, request)
    if (Predicate.hasProperty(body, "answers")) return yield* answered(edge, request, caller, body.answers)
    if (!Predicate.hasProperty(body, "input")) {
      return yield* refuse(400, "The body has neither input nor answers.", { part: "input" })
    }
    const { delivery = "steer" } = body as { readonly delivery?: unknown }
    if (delivery !== "steer" && delivery !== "queue") {
      return yield* refuse(400, 'delivery is "steer" or "queue".', { part: "delivery" })
    }
    const { runId } = yield* givenRun(edge, caller)
    const prompt = yield* fromClient(body.input, Prompt.empty)
    return json({ runId, delivery: yield* sendInput(edge, runId, prompt, delivery) })
  })

/** Goes on with a suspended run: as a stream for who asks for one, as JSON otherwise. */
const answered = (edge: Edge, request: Request, caller: Caller, given: unknown) =>
  Effect.gen(function* () {
    const info = yield* givenRun(edge, caller)
    if (info.ended === undefined) return yield* refuse(409, "The run does not wait for answers.")
    const answers = yield* answersOf(info.ended, given)
    const deltas = wantsLines(request) || /\btext\/event-stream\b/i.test(request.headers["accept"] ?? "")
    const runId = yield* resume(edge, info, answers, { caller, deltas })
    if (deltas) return streamed(edge, request, runId, 0)
    return yield* answerOf(edge, yield* untilEnd(edge, runId))
  })

const approvals = (edge: Edge, caller: Caller) =>
  Effect.map(givenRun(edge, caller), (info) =>
    json({ runId: info.runId, waitingFor: isWaiting(info) ? waitingFor(info.ended, edge.settings.expose) : [] })
  )

/** What the runs of a client wait for. Clients without a name cannot be distinguished, so each asks by the id of its run. */
const allApprovals = (edge: Edge, { name }: Caller) =>
  Effect.gen(function* () {
    if (name === undefined && !edge.settings.isLocal) {
      return yield* refuse(
        403,
        "Clients of this server have no names. Ask for the approvals of a run, /runs/ID/approvals, or give the server a bearer that names them."
      )
    }
    const infos = yield* Effect.mapError(edge.runs.list, ofRuns)
    const own = infos.filter((info) => info.owner === name).filter(isWaiting)
    return json({
      runs: own.map(({ ended, runId, runner }) => ({
        runId,
        runner,
        waitingFor: waitingFor(ended, edge.settings.expose)
      }))
    })
  })

const stateOf = ({ ended, resumedAs, runId, runner, startedAt, status }: Info): Schema.JsonObject => ({
  runId,
  runner,
  status,
  startedAt,
  ...(resumedAs === undefined ? {} : { resumedAs }),
  ...(ended === undefined
    ? {}
    : {
        ...billOf(ended),
        durationMs: ended.durationMs,
        ...(ended._tag === "RunCompleted"
          ? { output: ended.output ?? null }
          : status === "failed"
            ? { error: failureOf(ended).error, detail: failureOf(ended).detail }
            : {})
      })
})

const interrupt = (edge: Edge, caller: Caller) =>
  Effect.gen(function* () {
    const info = yield* givenRun(edge, caller)
    if (isWaiting(info)) yield* giveUp(edge, info)
    else yield* Effect.mapError(edge.runs.interrupt(info.runId), ofRuns)
    return HttpServerResponse.empty({ status: 204 })
  })

/** Streams a run: a new one, or the one that `Last-Event-ID` names, from there on. */
const stream = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const name = yield* param("name")
    const runner = yield* runnerOf(edge, name)
    const last = request.headers["last-event-id"]
    if (last !== undefined) {
      const { from, info } = yield* resumption(edge, caller, last)
      if (info.runner !== runner.runner.name) return yield* refuse(404, "There is no such run, or it has expired.")
      return yield* following(edge, request, info, from)
    }
    const { input, isDetached, runner: turn, session } = yield* asked(edge, request, caller)
    const runId = yield* begin(edge, { runner: turn, input, caller, deltas: true, isDetached, session })
    return streamed(edge, request, runId, 0)
  })

const resumption = (edge: Edge, caller: Caller, last: string) =>
  Effect.gen(function* () {
    const at = afterId(last)
    if (at === undefined) return yield* refuse(400, "Last-Event-ID is not one of this server.")
    return { info: yield* runOf(edge, caller, at.runId), from: at.from }
  })

const follow = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const info = yield* givenRun(edge, caller)
    const last = request.headers["last-event-id"]
    const at = last === undefined ? undefined : afterId(last)
    if (last !== undefined && at?.runId !== info.runId) {
      return yield* refuse(400, "Last-Event-ID is not one of this run.")
    }
    return yield* following(edge, request, info, at?.from ?? info.firstSeq)
  })

/** How many events a client may have seen that are not known here yet, of a run that goes on in another process. */
const underWay = 1000

/** Goes on with a run. A client that has seen the end is answered with 204, so that an `EventSource` stops asking. */
const following = (edge: Edge, request: Request, info: Info, from: number) =>
  Effect.gen(function* () {
    if (from < info.firstSeq) {
      return yield* refuse(410, "The events from there on are not kept any more. Ask for the state of the run.")
    }
    if (info.ended !== undefined && from === info.ended.seq + 1) return HttpServerResponse.empty({ status: 204 })
    if (from > (info.ended?.seq ?? info.nextSeq + underWay)) {
      return yield* refuse(400, "Last-Event-ID is after the last event of the run.")
    }
    yield* attach(edge, info.runId)
    return streamed(edge, request, info.runId, from)
  })

/** Whether the client asks for lines of JSON instead of server-sent events. */
const wantsLines = (request: Request): boolean =>
  /\bapplication\/(?:x-)?ndjson\b/i.test(request.headers["accept"] ?? "")

const streamed = (edge: Edge, request: Request, runId: string, from: number): Answer => {
  const isLines = wantsLines(request)
  const { expose } = edge.settings
  const write = isLines ? ndjson(expose) : sse(runId, expose)
  const failed = (given: Problem): string => {
    const body = JSON.stringify({ status: given.status, detail: given.detail })
    return isLines ? `${JSON.stringify({ _tag: "Lost", detail: given.detail })}\n` : `event: lost\ndata: ${body}\n\n`
  }
  return respondWith(edge, { runId, from, write, failed, isLines })
}

/** How the events of a run are written to a client. */
export interface Writing {
  readonly runId: string
  readonly from: number
  readonly write: Write
  /** What is written in place of events that cannot come. */
  readonly failed: (given: Problem) => string
  readonly isLines?: boolean
  /** What is written after the last event. */
  readonly end?: string
  readonly headers?: Readonly<Record<string, string>>
}

const encoder = new TextEncoder()

/** The answer that a run's events are. It waits for its client, and the run waits with it. */
export const respondWith = (edge: Edge, options: Writing): Answer => {
  const { end, failed, from, headers, isLines, runId, write } = options
  let left = edge.settings.answer
  const bounded = (text: string): string => {
    left -= byteLength(text)
    return text
  }
  const lines: Stream.Stream<string> = edge.runs.follow(runId, { from }).pipe(
    Stream.map((event: RunEvent) => bounded(write(event))),
    Stream.filter((text) => text !== ""),
    Stream.takeWhile(() => left >= 0),
    Stream.catch((error) => Stream.succeed(failed(ofRuns(error))))
  )
  const closing = Stream.suspend(() =>
    left < 0 ? Stream.succeed(failed(tooLarge(edge.settings))) : Stream.fromIterable(end === undefined ? [] : [end])
  )
  const kept = isLines === true ? lines : Stream.merge(lines, heartbeat, { haltStrategy: "left" })
  // A run that is followed may be silent for long, and the head of an answer is sent with the first of its body.
  const opening = isLines !== true && from > 0 ? Stream.concat(Stream.succeed(": \n\n"), kept) : kept
  const bytes = Stream.concat(opening, closing).pipe(
    Stream.mapArray((texts) => [encoder.encode(texts.join(""))] as [Uint8Array])
  )
  return HttpServerResponse.stream(bytes, {
    contentType: isLines === true ? "application/x-ndjson" : "text/event-stream",
    headers: {
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
      "x-run-id": runId,
      ...headers
    }
  })
}

/** A comment now and then, so that no one on the way takes a silent connection for a dead one. */
const heartbeat: Stream.Stream<string> = Stream.map(Stream.drop(Stream.tick("15 seconds"), 1), () => ": \n\n")

/** Every route of a server. `more` adds those of other protocols. */
export const routesOf = (edge: Edge, more: ReadonlyArray<(edge: Edge, route: Add) => void>) =>
  routesFrom(edge, [add, ...more])

/** The routes of a server that has no runners, and shows traces. */
export const traceRoutesOf = (edge: Edge) => routesFrom(edge, [alive, traces, playground])

const routesFrom = (edge: Edge, parts: ReadonlyArray<(edge: Edge, route: Add) => void>) => {
  const routes: Array<HttpRouter.Route<never, never>> = []
  const paths = new Set<`/${string}`>()
  const route: Add = (method, path, handler, options = {}) => {
    const at = `${edge.settings.prefix}${path}` as `/${string}`
    paths.add(at)
    routes.push(HttpRouter.route(method, at, answering(edge, handler, options)))
  }
  for (const part of parts) part(edge, route)
  if (edge.settings.cors.size > 0) {
    for (const path of paths) routes.push(HttpRouter.route("OPTIONS", path, (request) => preflight(edge, request)))
  }
  return routes
}

/** What SDKs send of their own is allowed too: a page that may call at all may send it. */
const allowedHeaders = ({ headers }: Request): string => {
  const asked = headers["access-control-request-headers"] ?? ""
  return /^[\w, -]{1,2000}$/.test(asked) ? asked : "authorization, content-type, last-event-id"
}

const preflight = (edge: Edge, request: Request): Effect.Effect<Answer> =>
  Effect.succeed(
    withCors(
      edge,
      request,
      HttpServerResponse.empty({
        status: 204,
        headers: {
          "access-control-allow-methods": "GET, POST, DELETE",
          "access-control-allow-headers": allowedHeaders(request),
          "access-control-max-age": "600"
        }
      })
    )
  )
