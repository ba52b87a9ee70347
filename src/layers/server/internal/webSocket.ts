/**
 * The events of a run over a WebSocket. The first message of the client is what it would post; then come the events, one a
 * message. Later messages: `{ "input" }` for the run under way, `{ "interrupt": true }`, and `{ "seen": SEQ }`, after
 * which the server is never more than some events ahead of what the client has seen.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Predicate from "effect/Predicate"
import * as Prompt from "effect/ai/Prompt"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import {
  admitInput,
  type Begin,
  begin,
  type Caller,
  type Edge,
  parsed,
  runnerOf,
  sameOrigin,
  sendInput
} from "./edge.ts"
import { byteLength } from "../../internal/bytes.ts"
import { clientJson } from "./lines.ts"
import { bodyOf, ofRuns, type Problem, problem, refuse, tooLarge } from "./problem.ts"
import type { Add } from "./routes.ts"
import { fromClient } from "./served.ts"

type Request = HttpServerRequest.HttpServerRequest

/** Reads the first message. */
type Asked = (
  edge: Edge,
  body: unknown,
  name: string | undefined,
  caller: Caller
) => Effect.Effect<Pick<Begin, "input" | "isDetached" | "runner" | "session">, Problem, Scope.Scope>

/** The route. */
export const webSocket = (edge: Edge, route: Add, asked: Asked): void => {
  route("GET", "/runners/:name/ws", (request, caller) =>
    Effect.gen(function* () {
      const { name } = yield* HttpRouter.params
      yield* runnerOf(edge, name)
      // A page of another origin may open a WebSocket without being asked first, so its origin counts everywhere.
      yield* sameOrigin(edge, request)
      yield* handshake(request)
      return yield* talk(edge, request, caller, (body) => asked(edge, body, name, caller))
    })
  )
}

/** Refuses here, in words of the server, what asks for a WebSocket and is not a whole handshake. */
const handshake = ({ headers }: Request): Effect.Effect<void, Problem> => {
  const { upgrade = "" } = headers
  if (upgrade.toLowerCase() !== "websocket") return Effect.void
  const isWhole =
    /^[+/0-9A-Za-z]{22}==$/.test(headers["sec-websocket-key"] ?? "") && headers["sec-websocket-version"] === "13"
  return isWhole
    ? Effect.void
    : refuse(400, "The handshake has no key, or is of another version than 13.", {}, { "sec-websocket-version": "13" })
}

/** How many events a client that says what it has seen may have before it. */
const ahead = 64

const talk = (edge: Edge, request: Request, caller: Caller, asked: (body: unknown) => ReturnType<Asked>) =>
  Effect.gen(function* () {
    const socket = yield* Effect.mapError(request.upgrade, () =>
      problem(
        426,
        "This address is for WebSockets. POST to /runners/NAME/stream for a stream over HTTP.",
        {},
        { upgrade: "websocket" }
      )
    )
    const writer = yield* socket.writer
    const gone = () => Effect.interrupt
    const write = (text: string) => Effect.catch(writer.write(text), gone)
    const conversation = Effect.gen(function* () {
      const pull = yield* Effect.catch(Socket.readerString(socket), gone)
      const take = Effect.catch(pull, gone)
      const [first, ...more] = yield* inTime(edge, take)
      const { input, isDetached, runner, session } = yield* Effect.flatMap(messageOf(edge, first), asked)
      const runId = yield* begin(edge, { runner, input, caller, deltas: true, isDetached, session })
      const pacing = paced()
      const listen = Effect.gen(function* () {
        for (const text of more) yield* heed(edge, runId, pacing, text)
        for (;;) for (const text of yield* take) yield* heed(edge, runId, pacing, text)
      })
      yield* Effect.raceFirst(send(edge, runId, pacing, write), listen)
    })
    const closed = yield* Effect.raceFirst(
      Effect.as(
        Effect.catch(conversation, (given) => write(JSON.stringify({ _tag: "Problem", ...bodyOf(given) }))),
        1000
      ),
      // What goes on without this server, such as a detached run that is kept elsewhere, is not waited for.
      Effect.as(edge.drained.await, 1001)
    )
    yield* Effect.ignore(writer.write(new Socket.CloseEvent(closed)))
    return HttpServerResponse.empty()
  })

/** How long a client may take to say what it wants. */
const patience = "30 seconds"

/** The first message. A server that ends does not wait for it. */
const inTime = <A>(edge: Edge, take: Effect.Effect<A>): Effect.Effect<A, Problem> =>
  Effect.raceFirst(
    Effect.timeoutOrElse(take, {
      duration: patience,
      orElse: () => refuse(408, `No message came within ${patience}.`)
    }),
    Effect.andThen(edge.closing.await, refuse(503, "The server is ending."))
  )

const messageOf = ({ settings }: Edge, text: string): Effect.Effect<unknown, Problem> =>
  text.length > settings.body ? refuse(413, `The message is larger than ${settings.body} bytes.`) : parsed(text)

interface Pacing {
  seen: number | undefined
  readonly room: Latch.Latch
}

const paced = (): Pacing => ({ seen: undefined, room: Latch.makeUnsafe(true) })

/** Does what a message of the client asks for. */
const heed = (edge: Edge, runId: string, pacing: Pacing, text: string): Effect.Effect<void, Problem> =>
  Effect.gen(function* () {
    const body = yield* messageOf(edge, text)
    if (Predicate.hasProperty(body, "seen") && typeof body.seen === "number") {
      pacing.seen = Math.max(pacing.seen ?? 0, body.seen)
      pacing.room.openUnsafe()
    } else if (Predicate.hasProperty(body, "interrupt") && body.interrupt === true) {
      yield* Effect.mapError(edge.runs.interrupt(runId), ofRuns)
    } else if (Predicate.hasProperty(body, "input")) {
      const prompt = yield* fromClient(body.input, Prompt.empty)
      yield* admitInput(edge, runId)
      // Its answer comes when the message is taken, and other messages must not wait for that.
      yield* Effect.forkIn(Effect.ignore(sendInput(edge, runId, prompt, "steer")), edge.scope, {
        startImmediately: true
      })
    } else {
      return yield* refuse(400, "A message has input, seen or interrupt.")
    }
  })

const send = (edge: Edge, runId: string, pacing: Pacing, write: (text: string) => Effect.Effect<void>) => {
  const json = clientJson(edge.settings.expose)
  let left = edge.settings.answer
  return Stream.runForEach(edge.runs.follow(runId), (event) =>
    Effect.suspend((): Effect.Effect<void, Problem> => {
      const text = json(event)
      if (text === undefined) return Effect.void
      left -= byteLength(text)
      if (left < 0) return Effect.fail(tooLarge(edge.settings))
      const sent = write(text)
      if (pacing.seen === undefined || event.seq - pacing.seen < ahead) return sent
      pacing.room.closeUnsafe()
      return Effect.andThen(sent, pacing.room.await)
    })
  ).pipe(Effect.mapError((error) => (error._tag === "RunsError" ? ofRuns(error) : error)))
}
