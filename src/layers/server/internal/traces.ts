/** Runs that the store of the program keeps, as clients may look at them. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Schema from "effect/Schema"
import { Status } from "../../../services/Runs.ts"
import type { Query, Run, Service } from "../../../services/TraceStore.ts"
import type { Caller, Edge } from "./edge.ts"
import { clientJson } from "./lines.ts"
import { problem, type Problem, refuse } from "./problem.ts"
import { countIn, limitIn, mostListed, queryOf } from "./query.ts"
import { json } from "./respond.ts"
import type { Add } from "./routes.ts"
import { ownSessions, sessionId } from "./sessions.ts"
import { storeIn } from "./traceRecording.ts"

/** The routes of traces. */
export const traces = (edge: Edge, route: Add): void => {
  route("GET", "/traces", (request, caller) => list(edge, request, caller))
  route("GET", "/traces/:id", (request, caller) => read(edge, request, caller))
}

const storeOf = (edge: Edge): Effect.Effect<Service, Problem> => {
  const store = storeIn(edge)
  return store === undefined
    ? refuse(501, "This server has no TraceStore. Provide TraceStore.layerMemory or TraceStore.layerSql to it.")
    : Effect.succeed(store)
}

const unavailable = (): Problem =>
  problem(503, "The traces cannot be read now. Try again later.", { error: "StoreError" }, { "retry-after": "5" })

/**
 * A trace has no owner but its session. Clients with a name see the runs of their sessions. Where clients have no names, only
 * a server of this machine shows traces.
 */
const allowed = (edge: Edge, caller: Caller): Effect.Effect<(run: Run) => boolean, Problem> => {
  const isNameless = caller.name === undefined
  if (isNameless && !edge.settings.isLocal) {
    return refuse(403, "Clients of this server have no names, so none sees traces. Give it a bearer that names them.")
  }
  const isOwn = ownSessions(edge, caller)
  return Effect.succeed(({ session }) => (session === undefined ? isNameless : isOwn(session)))
}

const isStatus = Schema.is(Status)

/** How many runs are looked at for a list: those of other clients may stand between them. */
const mostSeen = 5000

/** Runs of the client, the newest first. */
const ownRuns = (store: Service, query: Query & { readonly limit: number }, mayBeSeen: (run: Run) => boolean) =>
  Effect.gen(function* () {
    const own: Array<Run> = []
    let { before } = query
    for (let seen = 0; own.length < query.limit && seen < mostSeen; seen += mostListed) {
      const page = yield* Effect.mapError(store.runs({ ...query, before, limit: mostListed }), unavailable)
      own.push(...page.filter(mayBeSeen))
      if (page.length < mostListed) break
      before = page.at(-1)!.runId
    }
    return own.slice(0, query.limit)
  })

const list = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    const store = yield* storeOf(edge)
    const mayBeSeen = yield* allowed(edge, caller)
    const query = queryOf(request)
    const status = query.get("status")
    if (status !== null && !isStatus(status)) {
      return yield* refuse(400, "There is no such status.", { part: "status" })
    }
    const session = query.get("session")
    const asked = {
      runner: query.get("runner") ?? undefined,
      session: session === null ? undefined : sessionId(caller, session),
      before: query.get("before") ?? undefined,
      status: status ?? undefined,
      limit: limitIn(query)
    }
    return json({ runs: (yield* ownRuns(store, asked, mayBeSeen)).map(shown) })
  })

const shown = ({ bytes: _bytes, message: _message, ...run }: Run) => run

const pageSize = 500
/** No run has as many events, and every store can count to it. */
const maxSeq = 2 ** 31 - 1

/** The events of a run, as clients may see them, a page at a time. */
const read = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    const store = yield* storeOf(edge)
    const mayBeSeen = yield* allowed(edge, caller)
    const { id = "" } = yield* HttpRouter.params
    const from = countIn(queryOf(request), "from", { otherwise: 0, least: 0, most: maxSeq })
    const eventsFrom = (seq: number, most: number) => Effect.mapError(store.events(id, seq, most), unavailable)
    const events = yield* eventsFrom(from, pageSize)
    const [begun] = from === 0 ? events : yield* eventsFrom(0, 1)
    if (begun === undefined || events.length === 0) return yield* unknownTrace
    if (caller.name !== undefined) {
      const at = { since: Math.floor(begun.at), until: begun.at + 1 }
      const own = yield* Effect.mapError(store.runs({ runner: begun.path[0]!, ...at, limit: 1000 }), unavailable)
      if (!own.some((run) => run.runId === id && mayBeSeen(run))) return yield* unknownTrace
    }
    const write = clientJson(edge.settings.expose)
    const seen = events.flatMap((event) => {
      const text = write(event)
      return text === undefined ? [] : [JSON.parse(text) as unknown]
    })
    const next = events.length < pageSize ? {} : { next: from + pageSize }
    return json({ runId: id, events: seen, ...next })
  })

const unknownTrace = refuse(404, "There is no such trace.")
