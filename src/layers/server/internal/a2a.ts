/** `/a2a/NAME` and `/.well-known/agent-card.json`: runners as agents of A2A 1.0, over JSON-RPC. A task is a run. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Info } from "../../../services/Runs.ts"
import { byteLength } from "../../internal/bytes.ts"
import { cardOf } from "./a2aCard.ts"
import {
  type Asked,
  begun,
  type Conversations,
  conversations,
  type MessageIn,
  MessageSchema,
  runOf
} from "./a2aTasks.ts"
import { isWaiting, waitingFor } from "./answers.ts"
import { attach, bodyOf, type Caller, type Edge, runnerOf, untilEnd } from "./edge.ts"
import { taskEvents, taskOf } from "./formats/a2a.ts"
import { dataEvent } from "./lines.ts"
import { ofRuns, problem, type Problem, reading, refuse, tooLarge } from "./problem.ts"
import { json } from "./respond.ts"
import { type Add, respondWith } from "./routes.ts"
import type { ServedRunner } from "./served.ts"
import { giveUp } from "./sessions.ts"

type Answer = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

/** The routes. */
export const a2a = (edge: Edge, route: Add): void => {
  const known = conversations()
  route("GET", "/.well-known/agent-card.json", (request) =>
    Effect.succeed(json(cardOf(edge, request, [...edge.runners.values()])))
  )
  route("GET", "/a2a/:name/.well-known/agent-card.json", (request) =>
    Effect.map(named(edge), (runner) => json(cardOf(edge, request, [runner])))
  )
  route("POST", "/a2a/:name", (request, caller) => call(edge, known, request, caller))
}

const named = (edge: Edge) => Effect.flatMap(HttpRouter.params, ({ name }) => runnerOf(edge, name))

const Rpc = Schema.Struct({
  jsonrpc: Schema.Literal("2.0"),
  id: Schema.optionalKey(Schema.Union([Schema.String, Schema.Finite, Schema.Null])),
  method: Schema.String,
  params: Schema.optionalKey(Schema.Json)
})
const decodeRpc = Schema.decodeUnknownEffect(Rpc)
const Send = Schema.Struct({
  message: MessageSchema,
  configuration: Schema.optionalKey(Schema.Struct({ returnImmediately: Schema.optionalKey(Schema.Boolean) }))
})
const decodeSend = reading(Send, "The parameters do not fit")
const decodeId = reading(Schema.Struct({ id: Schema.String }), "The parameters do not fit")

const invalidRequest = -32600
const parseError = -32700

/** The code of an error. Problems that say one keep it. */
const codeOf = ({ fields, status }: Problem): number => {
  const { code } = fields
  if (typeof code === "number") return code
  if (status === 400) return -32602
  if (status === 404) return -32001
  return status === 409 ? -32004 : -32603
}

/** A problem as an error of JSON-RPC. Overload keeps its status, so that clients and proxies wait. */
const failed = (id: unknown, given: Problem): Answer => {
  const { part } = given.fields
  const error = { code: codeOf(given), message: given.detail, ...(part === undefined ? {} : { data: [{ part }] }) }
  const status = given.status === 429 || given.status === 503 ? given.status : 200
  return json({ jsonrpc: "2.0", id: id ?? null, error }, status, given.headers)
}

interface Context {
  readonly edge: Edge
  readonly known: Conversations
  readonly caller: Caller
  readonly runner: ServedRunner
  readonly envelope: (result: object) => object
}

const call = (edge: Edge, known: Conversations, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const runner = yield* named(edge)
    const read = yield* Effect.result(bodyOf(edge, request))
    if (read._tag === "Failure") {
      const given = read.failure
      if (given.status !== 400) return yield* Effect.fail(given)
      return failed(null, { ...given, fields: { ...given.fields, code: parseError } })
    }
    const body = read.success
    const version = request.headers["a2a-version"] ?? "1.0"
    const rpc = yield* Effect.result(decodeRpc(body))
    if (rpc._tag === "Failure") {
      return failed(null, problem(400, "The body is not a request of JSON-RPC 2.0.", { code: invalidRequest }))
    }
    const { id = null, method, params } = rpc.success
    const envelope = (result: object) => ({ jsonrpc: "2.0", id, result })
    const context: Context = { edge, known, caller, runner, envelope }
    const answer = /^1(?:\.\d+)?$/.test(version)
      ? answerTo(context, method, params)
      : refuse(400, "This server speaks A2A 1.0.", { code: -32009 })
    return yield* Effect.catchTag(answer, "Problem", (given) => Effect.succeed(failed(id, given)))
  })

const answerTo = (context: Context, method: string, params: unknown): Effect.Effect<Answer, Problem, Scope.Scope> => {
  switch (method) {
    case "SendMessage":
      return send(context, params)
    case "SendStreamingMessage":
      return stream(context, params)
    case "GetTask":
      return Effect.map(given(context, params), ({ info, taskId }) => answered(context, taskId, info))
    case "CancelTask":
      return cancel(context, params)
    case "SubscribeToTask":
      return subscribe(context, params)
    case "GetExtendedAgentCard":
      return refuse(400, "There is no extended card.", { code: -32007 })
    default:
      return /PushNotification/.test(method)
        ? refuse(400, "This server sends no push notifications.", { code: -32003 })
        : refuse(400, "There is no such method.", { code: -32601 })
  }
}

const contextOf = ({ edge, known }: Context, taskId: string, info?: Info) => ({
  taskId,
  contextId: known.contexts.get(taskId) ?? taskId,
  isCanceled: info?.ended?._tag === "RunSuspended" && info.status === "interrupted",
  waiting: (ended: Parameters<typeof waitingFor>[0]) => waitingFor(ended, edge.settings.expose)
})

/** A task as it is now. */
const current = (context: Context, taskId: string, info: Info): object => taskOf(info, contextOf(context, taskId, info))

const answered = (context: Context, taskId: string, info: Info): Answer =>
  json(context.envelope(current(context, taskId, info)))

/** The run that a task has come to. */
const given = (context: Context, params: unknown) =>
  Effect.gen(function* () {
    const { id: taskId } = yield* decodeId(params)
    return { taskId, info: yield* runOf(context.edge, context, taskId) }
  })

const asked = (context: Context, message: MessageIn, more: Pick<Asked, "isDetached" | "deltas">): Asked => ({
  runner: context.runner,
  caller: context.caller,
  message,
  ...more
})

const send = (context: Context, params: unknown) =>
  Effect.gen(function* () {
    const { edge, known } = context
    const { configuration, message } = yield* decodeSend(params)
    const isDetached = configuration?.returnImmediately === true
    const { runId, taskId } = yield* begun(edge, known, asked(context, message, { isDetached, deltas: false }))
    if (!isDetached) yield* untilEnd(edge, runId)
    const info = yield* Effect.mapError(edge.runs.poll(runId), ofRuns)
    const task = current(context, taskId, info)
    return byteLength(JSON.stringify(task)) > edge.settings.answer
      ? yield* Effect.fail(tooLarge(edge.settings))
      : json(context.envelope({ task }))
  })

const stream = (context: Context, params: unknown) =>
  Effect.gen(function* () {
    const { message } = yield* decodeSend(params)
    const turn = asked(context, message, { isDetached: false, deltas: true })
    const { runId, taskId } = yield* begun(context.edge, context.known, turn)
    return streamed(context, taskId, runId, 0)
  })

const streamed = (context: Context, taskId: string, runId: string, from: number): Answer => {
  const write = taskEvents(contextOf(context, taskId), context.envelope)
  const { id } = context.envelope({}) as { readonly id: unknown }
  const lost = (given: Problem): string =>
    dataEvent({ jsonrpc: "2.0", id, error: { code: codeOf(given), message: given.detail } })
  return respondWith(context.edge, { runId, from, write, failed: lost })
}

const subscribe = (context: Context, params: unknown) =>
  Effect.gen(function* () {
    const { info, taskId } = yield* given(context, params)
    if (info.ended !== undefined) {
      return yield* refuse(409, "The task has ended or waits for an answer. Ask for it with GetTask.")
    }
    yield* attach(context.edge, info.runId)
    return streamed(context, taskId, info.runId, info.firstSeq)
  })

const notCancelable = -32002

const cancel = (context: Context, params: unknown) =>
  Effect.gen(function* () {
    const { runs } = context.edge
    const { info, taskId } = yield* given(context, params)
    if (info.ended !== undefined && !isWaiting(info)) {
      return yield* refuse(409, "The task has ended.", { code: notCancelable })
    }
    if (isWaiting(info)) yield* giveUp(context.edge, info)
    else yield* Effect.mapError(runs.interrupt(info.runId), ofRuns)
    const ended = yield* Effect.mapError(runs.poll(info.runId), ofRuns)
    // An answer that came first counts, and the task goes on with it.
    if (ended.status === "suspended") {
      return yield* refuse(409, "The task has just been answered and goes on. Cancel it again.", {
        code: notCancelable
      })
    }
    return answered(context, taskId, ended)
  })
