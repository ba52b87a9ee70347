/** What an editor asks for, and the answers. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Store from "../../../../services/SessionStore.ts"
import { codes, type Handlers, type Peer, refuse, type RpcFailure } from "./rpc.ts"
import { Initialize, ListSessions, OfSession, OpenSession, Prompt, protocolVersion, reader } from "./schema.ts"
import { listed } from "./serverList.ts"
import { isSessionId, type Sessions, unknownSession, withStore } from "./serverSessions.ts"
import { cancel, type ServedAgent, take, takesConversation } from "./serverTurn.ts"
import { historyUpdates } from "./updates.ts"

/** What is served. */
export interface Served {
  readonly name: string
  readonly version: string
  readonly runner: ServedAgent
  readonly sessions: Sessions
  readonly scope: Scope.Scope
  /** The other side, once it is there. */
  readonly peer: () => Peer<never>
}

const initialize = reader(Initialize)
const openSession = reader(OpenSession)
const ofSession = reader(OfSession)
const listSessions = reader(ListSessions)
const prompt = reader(Prompt)

/** The handlers of what an editor sends. */
export const handlers = (served: Served): Pick<Handlers<never>, "request" | "notification"> => ({
  request: (method, params) => {
    switch (method) {
      case "initialize":
        return Effect.flatMap(initialize(params), () => initialized(served))
      case "authenticate":
        return Effect.succeed({})
      case "session/new":
        return Effect.flatMap(inFolder(params), (given) => opened(served, given))
      case "session/load":
        return Effect.flatMap(inFolder(params), (given) => loaded(served, given))
      case "session/list":
        return Effect.flatMap(listSessions(params), listed)
      case "session/close":
        return Effect.flatMap(ofSession(params), ({ sessionId }) => closed(served, sessionId))
      case "session/prompt":
        return Effect.flatMap(prompt(params), (given) =>
          Effect.flatMap(served.sessions.get(given.sessionId), (session) =>
            take({ runner: served.runner, peer: served.peer(), session, scope: served.scope }, given.prompt)
          )
        )
      default:
        return refuse(codes.unknownMethod, `There is no "${method.slice(0, 100)}" here.`)
    }
  },
  notification: (method, params) =>
    method !== "session/cancel"
      ? Effect.void
      : ofSession(params).pipe(
          Effect.flatMap(({ sessionId }) => served.sessions.get(sessionId)),
          // Further messages must not wait for the end of the run.
          Effect.flatMap((session) => Effect.forkIn(cancel(session), served.scope)),
          Effect.ignore
        )
})

const initialized = ({ name, runner, version }: Served): Effect.Effect<object> =>
  Effect.map(Effect.serviceOption(Store.SessionStore), (store) => ({
    protocolVersion,
    agentCapabilities: {
      loadSession: Option.isSome(store),
      promptCapabilities: { image: takesConversation(runner), audio: false, embeddedContext: true },
      mcpCapabilities: { http: false, sse: false },
      sessionCapabilities: { close: {}, ...(Option.isSome(store) ? { list: {} } : {}) }
    },
    agentInfo: { name, version },
    authMethods: []
  }))

type Given = typeof OpenSession.Type

/** The folder of a session is known by its whole path, on whichever system the editor is. */
const inFolder = (params: unknown): Effect.Effect<Given, RpcFailure> =>
  Effect.flatMap(openSession(params), (given) =>
    /^(?:[\\/]|[A-Za-z]:[\\/])/.test(given.cwd)
      ? Effect.succeed(given)
      : refuse(codes.invalidParams, "cwd is not an absolute path.")
  )

const opened = ({ sessions }: Served, given: Given): Effect.Effect<object, RpcFailure> =>
  Effect.gen(function* () {
    yield* withoutServers(given)
    const { id } = yield* sessions.open(given.cwd)
    return { sessionId: id }
  })

/** The servers of an editor are not connected to: an agent has the tools that its program gives it. */
const withoutServers = ({ mcpServers }: Given): Effect.Effect<void> =>
  mcpServers === undefined || mcpServers === null || mcpServers.length === 0
    ? Effect.void
    : Effect.logWarning(`The editor has ${mcpServers.length} MCP servers for the agent, which are left out.`)

/** Goes on with a conversation that the store keeps, and shows it again. */
const loaded = (served: Served, given: Given): Effect.Effect<object, RpcFailure> =>
  Effect.gen(function* () {
    const { cwd, sessionId = "" } = given
    yield* withoutServers(given)
    if (!isSessionId(sessionId)) return yield* unknownSession
    const history = yield* withStore(Store.history(sessionId)).pipe(
      Effect.catchTag("StoreError", () => refuse(codes.internal, "The session cannot be read now."))
    )
    if (history.content.length === 0) return yield* unknownSession
    yield* served.sessions.open(cwd, sessionId)
    const peer = served.peer()
    for (const update of historyUpdates(history)) yield* peer.notify("session/update", { sessionId, update })
    return {}
  })

const closed = ({ sessions }: Served, id: string): Effect.Effect<object> =>
  Effect.suspend(() => {
    const session = sessions.close(id)
    return session === undefined ? Effect.succeed({}) : Effect.as(cancel(session), {})
  })
