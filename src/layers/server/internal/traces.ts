/** Runs that the store of the program keeps, as clients may look at them. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type { Run, Service, Status } from "../../../services/TraceStore.ts"
import type { Caller, Edge } from "./edge.ts"
import { clientJson } from "./lines.ts"
import { problem, type Problem, refuse } from "./problem.ts"
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
  const { name } = caller
  if (name !== undefined) {
    const prefix = `${encodeURIComponent(name)}/`
    return Effect.succeed(({ session }) => session?.startsWith(prefix) === true)
  }
  const isOwn = ownSessions(edge, caller)
  return edge.settings.isLocal
    ? Effect.succeed(({ session }) => session === undefined || isOwn(session))
    : refuse(403, "Clients of this server have no names, so none sees traces. Give it a bearer that names them.")
}

const statuses: ReadonlySet<string> = new Set(["running", "completed", "failed", "interrupted", "suspended"])

const list = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    const store = yield* storeOf(edge)
    const mayBeSeen = yield* allowed(edge, caller)
    const query = new URL(request.url, "http://localhost").searchParams
    const status = query.get("status")
    if (status !== null && !statuses.has(status))
      return yield* refuse(400, "There is no such status.", { part: "status" })
    const text = (name: string) => {
      const value = query.get(name)
      return value === null ? {} : { [name]: name === "session" ? sessionId(caller, value) : value }
    }
    const limit = Math.min(Math.max(Math.trunc(Number(query.get("limit") ?? 50)) || 50, 1), 200)
    const runs = yield* Effect.mapError(
      store.runs({
        ...text("runner"),
        ...text("session"),
        ...text("before"),
        ...(status === null ? {} : { status: status as Status }),
        limit
      }),
      unavailable
    )
    return json({ runs: runs.filter(mayBeSeen).map(shown) })
  })

const shown = ({ bytes: _bytes, message: _message, ...run }: Run) => run

const pageSize = 500
/** No run has as many events, and every store can count to it. */
const maxSeq = 2 ** 31 - 1

/** The events of a run, as clients may see them; at most 5000. */
const read = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    const store = yield* storeOf(edge)
    const mayBeSeen = yield* allowed(edge, caller)
    const { id = "" } = yield* HttpRouter.params
    const asked = Number(new URL(request.url, "http://localhost").searchParams.get("from") ?? 0)
    const from = Math.min(Math.max(Math.trunc(asked) || 0, 0), maxSeq)
    const first = yield* Effect.mapError(store.events(id, from, pageSize), unavailable)
    if (first.length === 0) return yield* refuse(404, "There is no such trace.")
    if (caller.name !== undefined) {
      const own = yield* Effect.mapError(store.runs({ runner: first[0]!.path[0]!, limit: 1000 }), unavailable)
      if (!own.some((run) => run.runId === id && mayBeSeen(run))) return yield* refuse(404, "There is no such trace.")
    }
    const write = clientJson(edge.settings.expose)
    const events = first.flatMap((event) => {
      const text = write(event)
      return text === undefined ? [] : [JSON.parse(text) as unknown]
    })
    const next = first.length < pageSize ? {} : { next: from + pageSize }
    return json({ runId: id, events, ...next })
  })
