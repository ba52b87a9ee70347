/** Conversations that the store of the program keeps, as clients name them. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import type * as Prompt from "effect/ai/Prompt"
import type * as Scope from "effect/Scope"
import { isStorable } from "../../../internal/storable.ts"
import type { SessionConflict, StoreError } from "../../../RunError.ts"
import type * as Runner from "../../../Runner.ts"
import { type Info, type Service, SessionStore } from "../../../services/SessionStore.ts"
import * as Store from "../../../services/SessionStore.ts"
import { answersTo, waitingFor, type WaitingRun } from "./answers.ts"
import type { Caller, Edge } from "./edge.ts"
import { ofRuns, problem, type Problem, refuse } from "./problem.ts"
import { limitIn, mostListed, queryOf } from "./query.ts"
import { json } from "./respond.ts"
import type { Add } from "./routes.ts"
import type { ErasedRunner } from "./served.ts"

/** The routes of sessions. */
export const sessions = (edge: Edge, route: Add): void => {
  route("GET", "/sessions", (request, caller) => list(edge, request, caller))
  route("GET", "/sessions/:id", (_, caller) => read(edge, caller))
  route("DELETE", "/sessions/:id", (_, caller) => removed(edge, caller, Store.remove))
  route("DELETE", "/sessions/:id/waiting", (_, caller) => removed(edge, caller, Store.giveUp))
}

/** The store of sessions. Fails where the server has none. */
const storeOf = (edge: Edge): Effect.Effect<Service, Problem> =>
  Option.match(Context.getOption(edge.context, SessionStore), {
    onNone: () =>
      refuse(501, "This server has no SessionStore. Provide SessionStore.layerMemory or SessionStore.layerSql to it."),
    onSome: Effect.succeed
  })

/** True where the server has a store. */
export const hasStore = (edge: Edge): boolean => Option.isSome(Context.getOption(edge.context, SessionStore))

const maxId = 200

const prefixOf = ({ name }: Caller): string => (name === undefined ? "" : `${encodeURIComponent(name)}/`)

/** The session of a client: a client with a name has sessions of its own. */
export const sessionId = (caller: Caller, id: string): string => `${prefixOf(caller)}${id}`

/** True for a client without a name, where others may have one: it must not come to what is theirs. */
const isNameless = ({ settings }: Edge, { name }: Caller): boolean =>
  name === undefined && settings.bearer !== undefined

/** Whether a session is one that a client may see. */
export const ownSessions = (edge: Edge, caller: Caller): ((id: string) => boolean) => {
  const prefix = prefixOf(caller)
  return isNameless(edge, caller) ? (id) => !id.includes("/") : (id) => id.startsWith(prefix)
}

/** The session that a client writes as `id`. */
export const sessionOf = (edge: Edge, caller: Caller, id: unknown): Effect.Effect<string, Problem> => {
  if (typeof id !== "string" || id.trim() === "" || id.length > maxId || !isStorable(id)) {
    return refuse(400, `A session is a text of 1 to ${maxId} characters, without NUL.`, { part: "session" })
  }
  if (!isNameless(edge, caller) || !id.includes("/")) return Effect.succeed(sessionId(caller, id))
  return refuse(400, "A client without a name has sessions without a slash.", { part: "session" })
}

const ofStore = (error: { readonly _tag: string }): Problem =>
  error._tag === "SessionConflict"
    ? problem(409, "Another turn of the session is under way.", { error: error._tag }, { "retry-after": "1" })
    : problem(
        503,
        "The session cannot be read or written now. Try again later.",
        { error: error._tag },
        { "retry-after": "5" }
      )

/** Does something with the store. */
export const withStore = <A, E extends { readonly _tag: string }>(
  edge: Edge,
  effect: Effect.Effect<A, E, SessionStore>
): Effect.Effect<A, Problem> =>
  Effect.flatMap(storeOf(edge), (store) => Effect.mapError(Effect.provideService(effect, SessionStore, store), ofStore))

// A turn of a session is a run of an agent's kind. It is loaded when a client asks for one: the server itself knows no agent.
const Session = Effect.promise(() => import("../../../agents/Session.ts"))

/** The runner, each of whose runs is a turn of a session. */
export const inSession = (edge: Edge, runner: ErasedRunner, id: string): Effect.Effect<ErasedRunner, Problem> =>
  Effect.andThen(
    storeOf(edge),
    Effect.map(
      Session,
      ({ of }) => of(runner as Runner.Runner<Prompt.RawInput, unknown, unknown, never>, id) as ErasedRunner
    )
  )

/** The input of a turn that goes on with a suspended one: the answers of a client to what the session waits for. */
export const answersIn = (edge: Edge, id: string, given: unknown): Effect.Effect<Prompt.RawInput, Problem> =>
  Effect.gen(function* () {
    const waitingFor = yield* withStore(edge, Store.pending(id))
    const answers = yield* answersTo("session", { waitingFor }, given)
    return (yield* Session).answers(answers)
  })

/** Gives up the turn of a session that waits for what has these ids. A later turn stays. */
const giveUpTurn = (edge: Edge, id: string, waiting: ReadonlySet<string>): Effect.Effect<void, Problem> =>
  Effect.gen(function* () {
    const pending = yield* withStore(edge, Store.pending(id))
    if (pending.some((one) => waiting.has(one.id))) yield* withStore(edge, Store.giveUp(id))
  })

/**
 * Has a suspended run take no answers any more, through its session neither: there first, so that a client that tries again after
 * a refusal finds a run that waits.
 */
export const giveUp = (edge: Edge, { ended, runId }: WaitingRun): Effect.Effect<void, Problem> =>
  Effect.gen(function* () {
    const session = edge.sessionOf(runId)
    if (session !== undefined) yield* giveUpTurn(edge, session, new Set(ended.waitingFor.map(({ id }) => id)))
    yield* Effect.mapError(edge.runs.giveUp(runId), ofRuns)
  })

/** The first sessions of a client after `after`. Those of other clients may stand between them. */
const listOwn = (edge: Edge, caller: Caller, limit: number, after = ""): Effect.Effect<ReadonlyArray<Info>, Problem> =>
  Effect.gen(function* () {
    const isOwn = ownSessions(edge, caller)
    const own: Array<Info> = []
    let last = `${prefixOf(caller)}${after}`
    while (own.length < limit) {
      const page = yield* withStore(edge, Store.list({ limit: Math.min(limit, mostListed), after: last }))
      own.push(...page.filter(({ id }) => isOwn(id)))
      // Those of a client with a name stand together.
      const isLast = page.length === 0 || (caller.name !== undefined && !isOwn(page.at(-1)!.id))
      if (isLast) break
      last = page.at(-1)!.id
    }
    return own.slice(0, limit)
  })

/**
 * Refuses a further session to a client that has as many as it may. One that a request is about to begin counts until the end
 * of the request, and one of a run under way until the end of the run.
 */
export const admit = (edge: Edge, caller: Caller, id: string): Effect.Effect<void, Problem, Scope.Scope> => {
  const { perClient } = edge.settings.sessions
  if (perClient === undefined) return Effect.void
  return Effect.gen(function* () {
    const store = yield* storeOf(edge)
    // Without its records: whether it is there is all that counts.
    const known = yield* Effect.mapError(store.read(id, Number.MAX_SAFE_INTEGER), ofStore)
    if (known !== undefined) return
    const kept = yield* listOwn(edge, caller, perClient)
    const beginning = { id }
    yield* Effect.acquireRelease(
      Effect.suspend(() => {
        const running = [...edge.attached.keys()].flatMap((runId) => edge.sessionOf(runId) ?? [])
        const begun = [...running, ...[...edge.beginning].map((one) => one.id)].filter(ownSessions(edge, caller))
        const others = new Set([...kept.map((one) => one.id), ...begun])
        others.delete(id)
        if (others.size < perClient) return Effect.succeed(edge.beginning.add(beginning))
        return refuse(429, `There are ${perClient} sessions, and no more are kept. DELETE one of /sessions first.`)
      }),
      () => Effect.sync(() => edge.beginning.delete(beginning))
    )
  })
}

/** How often idle sessions are looked for, at least and at most. Milliseconds. */
const often = 10
const seldom = 60 * 60 * 1000

/** Removes sessions that are idle, in the background of the scope, where the settings say so. */
export const pruneIdle = (edge: Edge): Effect.Effect<void, never, Scope.Scope> => {
  const { idleMs } = edge.settings.sessions
  const store = Option.getOrUndefined(Context.getOption(edge.context, SessionStore))
  if (idleMs === undefined || store === undefined) return Effect.void
  const prune = Effect.catchCause(store.prune(Duration.millis(idleMs)), (cause) =>
    Effect.logWarning("Idle sessions of AgentServer cannot be removed", cause)
  )
  const wait = Math.min(Math.max(idleMs / 10, often), seldom)
  return Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.delay(prune, wait))))
}

/** The conversation of a session so far. */
export const historyOf = (edge: Edge, id: string): Effect.Effect<Prompt.Prompt, Problem> =>
  withStore(edge, Store.history(id))

const list = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    yield* storeOf(edge)
    if (caller.name === undefined && !edge.settings.isLocal) {
      return yield* refuse(
        403,
        "Clients of this server have no names. Ask for a session by its id, /sessions/ID, or give the server a bearer that names them."
      )
    }
    const prefix = prefixOf(caller)
    const query = queryOf(request)
    const own = yield* listOwn(edge, caller, limitIn(query), query.get("after") ?? "")
    return json({ sessions: own.map((info) => shown(info, prefix)) })
  })

const shown = ({ createdAt, id, turns, updatedAt, waiting }: Info, prefix: string) => ({
  id: id.slice(prefix.length),
  turns,
  createdAt,
  updatedAt,
  waiting
})

/** The session of the address: as the client writes it, and as the store has it. */
const given = (edge: Edge, caller: Caller) =>
  Effect.flatMap(HttpRouter.params, ({ id = "" }) =>
    Effect.map(sessionOf(edge, caller, id), (session) => ({ id, session }))
  )

/** What the user and the assistant said, without tool calls, results or reasoning, and what a suspended turn waits for. */
const read = (edge: Edge, caller: Caller) =>
  Effect.gen(function* () {
    yield* storeOf(edge)
    const { id, session } = yield* given(edge, caller)
    const history = yield* historyOf(edge, session)
    const pending = yield* withStore(edge, Store.pending(session))
    if (history.content.length + pending.length === 0) return yield* refuse(404, "The session does not exist.")
    return json({
      id,
      messages: history.content.flatMap(textOf),
      waitingFor: waitingFor({ waitingFor: pending }, edge.settings.expose)
    })
  })

const textOf = (message: Prompt.Message): ReadonlyArray<{ readonly role: string; readonly text: string }> => {
  if (message.role !== "user" && message.role !== "assistant") return []
  const parts: ReadonlyArray<Prompt.Part> = message.content
  const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
  return text === "" ? [] : [{ role: message.role, text }]
}

/** Removes a session, or its turn that waits. */
const removed = (
  edge: Edge,
  caller: Caller,
  by: (id: string) => Effect.Effect<void, SessionConflict | StoreError, SessionStore>
) =>
  Effect.gen(function* () {
    yield* storeOf(edge)
    const { session } = yield* given(edge, caller)
    yield* withStore(edge, by(session))
    return HttpServerResponse.empty({ status: 204 })
  })
