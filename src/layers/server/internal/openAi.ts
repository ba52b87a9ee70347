/** `/v1`: each runner as a model of OpenAI, for chat completions and responses. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { jsonOrText } from "../../../internal/json.ts"
import { fork, remove } from "../../../services/SessionStore.ts"
import { byteLength } from "../../internal/bytes.ts"
import { resume } from "./answers.ts"
import { type Item, type Turn, turnOf } from "./chatInput.ts"
import { file, taken, text, type UserPart as Part } from "./chatParts.ts"
import { type ChatMessage, ChatRequest, type InputItem, ResponsesRequest, type UserPart } from "./chatSchemas.ts"
import { begin, bodyOf, type Caller, type Edge, runOf, runnerOf } from "./edge.ts"
import { endOf } from "./ended.ts"
import { cannotAnswer, chatChunks, chatCompletion, finishReasonOf, openAiError } from "./formats/chat.ts"
import { clientCalls } from "./formats/calls.ts"
import { responseEvents, wholeResponse } from "./formats/responses.ts"
import { dataEvent } from "./lines.ts"
import { ofRuns, type Problem, problem, problemOf, reading, refuse, tooLarge } from "./problem.ts"
import { json } from "./respond.ts"
import { type Add, respondWith } from "./routes.ts"
import { foreignTool, type ServedRunner } from "./served.ts"
import { admit, hasStore, historyOf, inSession, sessionId, withStore } from "./sessions.ts"

type Request = HttpServerRequest.HttpServerRequest
type Answer = HttpServerResponse.HttpServerResponse

/** The routes. */
export const openAi = (edge: Edge, route: Add): void => {
  const options = { respond: asOpenAi }
  route("GET", "/v1/models", () => Effect.succeed(json({ object: "list", data: models(edge) })), options)
  route("GET", "/v1/models/:name", () => Effect.map(namedModel(edge), json), options)
  route("POST", "/v1/chat/completions", (request, caller) => chat(edge, request, caller), options)
  route("POST", "/v1/responses", (request, caller) => responses(edge, request, caller), options)
}

/** A problem in the form that clients of OpenAI read. */
const asOpenAi = ({ detail, fields, headers, status }: Problem): Answer => {
  const code = fields["error"] ?? fields["kind"] ?? null
  const param = fields["part"] ?? null
  const type = status === 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error"
  return json(
    openAiError(detail, type, typeof code === "string" ? code : null, typeof param === "string" ? param : null),
    status,
    headers
  )
}

/** Runners that take a text. */
const models = ({ runners }: Edge) =>
  [...runners.values()].flatMap(({ isChat, name }) => (isChat ? [modelNamed(name)] : []))

const modelNamed = (name: string) => ({ id: name, object: "model", created: 0, owned_by: "troupe" })

const namedModel = (edge: Edge) =>
  Effect.gen(function* () {
    const { name = "" } = yield* HttpRouter.params
    return modelNamed((yield* modelOf(edge, name)).name)
  })

const decodeChat = reading(ChatRequest)
const decodeResponses = reading(ResponsesRequest)

const modelOf = (edge: Edge, name: string): Effect.Effect<ServedRunner, Problem> =>
  Effect.flatMap(
    Effect.mapError(runnerOf(edge, name), () =>
      problem(404, `There is no model "${name.slice(0, 100)}". GET /v1/models lists what there is.`, {
        error: "model_not_found",
        part: "model"
      })
    ),
    (runner) => (runner.isChat ? Effect.succeed(runner) : refuse(400, `"${name}" takes no text.`, { part: "model" }))
  )

const toolsFit = (
  runner: ServedRunner,
  tools: ChatRequest["tools"],
  choice: Schema.Json | undefined
): Effect.Effect<void, Problem> => {
  const names = (tools ?? []).map((tool) => tool.name ?? tool.function?.name ?? "")
  const foreign = foreignTool(runner, names)
  if (foreign !== undefined) return refuse(400, foreign.detail, { part: "tools", kind: "tools" })
  if (choice === undefined || choice === null || choice === "auto") return Effect.void
  return refuse(400, "The runner chooses its tools itself.", { part: "tool_choice" })
}

const chat = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const body = yield* Effect.flatMap(bodyOf(edge, request), decodeChat)
    const runner = yield* modelOf(edge, body.model)
    if ((body.n ?? 1) !== 1) return yield* refuse(400, "There is one choice only.", { part: "n" })
    if (body.logprobs === true) return yield* refuse(400, "There are no log probabilities.", { part: "logprobs" })
    if ((body.modalities ?? []).some((one) => one !== "text")) {
      return yield* refuse(400, "A runner answers with text.", { part: "modalities" })
    }
    yield* formatFits(body.response_format?.type, "response_format")
    yield* toolsFit(runner, body.tools, body.tool_choice ?? undefined)
    const items = yield* Effect.forEach(body.messages, (message, index) => chatItems(message, `messages[${index}]`))
    const turn = yield* turnOf({ edge, runner, caller, history: Prompt.empty }, items.flat())
    const stream = body.stream === true
    const runId = yield* startTurn(edge, { runner, caller, turn, stream })
    const context = {
      model: body.model,
      includeUsage: body.stream_options?.include_usage === true,
      signing: edge.signing
    }
    if (stream) {
      const failed = (given: Problem) => dataEvent(openAiError(given.detail, "server_error", null))
      return respondWith(edge, { runId, from: 0, write: chatChunks(context), failed, end: "data: [DONE]\n\n" })
    }
    const { ended, finish } = yield* whole(edge, runId)
    return json(chatCompletion(ended, finishReasonOf(finish), context), 200, { "x-run-id": runId })
  })

const formatFits = (type: string | undefined, part: string): Effect.Effect<void, Problem> =>
  type === undefined || type === "text"
    ? Effect.void
    : refuse(400, "The runner decides the form of its output. Give it an output schema on the server.", { part })

interface Starting {
  readonly runner: ServedRunner
  readonly caller: Caller
  readonly turn: Turn
  readonly stream: boolean
}

const startTurn = (
  edge: Edge,
  { caller, runner, stream, turn }: Starting
): Effect.Effect<string, Problem, Scope.Scope> =>
  turn._tag === "Resume"
    ? resume(edge, turn.info, turn.answers, { caller, deltas: stream })
    : begin(edge, { runner, input: turn.input, caller, deltas: stream, isDetached: false })

/** The end of a run that a client can be given, and why its last model call ended. */
const whole = (edge: Edge, runId: string) =>
  Effect.gen(function* () {
    let finish: string | undefined
    const events = Stream.tap(edge.runs.follow(runId), (event) =>
      Effect.sync(() => {
        if (event._tag === "StepCompleted" && event.path.length === 1) finish = event.finishReason
      })
    )
    const ended = yield* Effect.mapError(endOf(events, runId), ofRuns)
    if (ended._tag === "RunCompleted") {
      const size = byteLength(JSON.stringify(ended.output ?? null))
      if (size > edge.settings.answer) {
        return yield* Effect.fail(tooLarge(edge.settings, { error: "AnswerTooLarge" }))
      }
      return { ended, finish }
    }
    if (clientCalls(ended, edge.signing) !== undefined) return { ended, finish: undefined }
    if (ended._tag === "RunSuspended") {
      return yield* refuse(409, cannotAnswer(runId), { error: "RunSuspended" })
    }
    return yield* Effect.fail<Problem>(problemOf(ended, edge.settings.expose))
  })

const joined = (content: string | ReadonlyArray<{ readonly text: string }>): string =>
  typeof content === "string" ? content : content.map((part) => part.text).join("")

const spoken = (content: string | ReadonlyArray<object> | null | undefined): string =>
  typeof content === "string"
    ? content
    : (content ?? []).map((part) => ("text" in part ? part.text : "refusal" in part ? part.refusal : "")).join("")

const partsOf = (content: string | ReadonlyArray<UserPart>, at: string): Effect.Effect<ReadonlyArray<Part>, Problem> =>
  typeof content === "string"
    ? Effect.succeed([text(content)])
    : Effect.forEach(content, (part, index) => partOf(part, `${at}.content[${index}]`))

const partOf = (part: UserPart, at: string): Effect.Effect<Part, Problem> => {
  if ("text" in part) return Effect.succeed(text(part.text))
  const url = urlOf(part)
  if (url === undefined) {
    const detail = `A part of type "${part.type.slice(0, 100)}" is not taken as it is. Send texts, and images and files by their address or their data.`
    return taken(undefined, at, detail)
  }
  const name = "file" in part ? part.file.filename : "filename" in part ? part.filename : undefined
  return taken(file(url, undefined, name ?? undefined), at, "A file is at a data: or an https: address.")
}

/** Where the file of a part is; `undefined` for a part of another kind. */
const urlOf = (part: UserPart): string | undefined => {
  if ("image_url" in part) return typeof part.image_url === "string" ? part.image_url : part.image_url.url
  if ("file" in part) return part.file.file_data
  return "file_data" in part ? part.file_data : "file_url" in part ? part.file_url : undefined
}

const chatItems = (message: ChatMessage, at: string): Effect.Effect<ReadonlyArray<Item>, Problem> => {
  switch (message.role) {
    case "system":
    case "developer":
      return Effect.succeed([{ _tag: "System", text: joined(message.content), at }])
    case "user":
      return Effect.map(partsOf(message.content, at), (parts) => [{ _tag: "User", parts, at }])
    case "tool":
      return Effect.succeed([{ _tag: "Result", id: message.tool_call_id, output: outputOf(message.content), at }])
    case "assistant": {
      const calls = (message.tool_calls ?? []).map((call, index): Item => ({
        _tag: "Call",
        call: { id: call.id, name: call.function.name, arguments: call.function.arguments },
        at: `${at}.tool_calls[${index}]`
      }))
      return Effect.succeed([{ _tag: "Assistant", text: spoken(message.content), at }, ...calls])
    }
  }
}

/** A result: JSON where it is, otherwise the text. */
const outputOf = (content: string | ReadonlyArray<{ readonly text: string }>): Schema.Json =>
  jsonOrText(joined(content))

const responses = (edge: Edge, request: Request, caller: Caller) =>
  Effect.gen(function* () {
    const body = yield* Effect.flatMap(bodyOf(edge, request), decodeResponses)
    const runner = yield* modelOf(edge, body.model)
    if (body.background === true) {
      return yield* refuse(400, "There are no background responses. POST /runners/NAME takes detached runs.", {
        part: "background"
      })
    }
    for (const part of ["conversation", "prompt"] as const) {
      if ((body[part] ?? null) !== null) {
        return yield* refuse(
          400,
          "Conversations and prompts are not kept here. Send the input, or previous_response_id.",
          {
            part
          }
        )
      }
    }
    yield* formatFits(body.text?.format?.type, "text.format")
    yield* toolsFit(runner, body.tools, body.tool_choice ?? undefined)
    const said = typeof body.input === "string" ? [{ role: "user" as const, content: body.input }] : body.input
    const items = (yield* Effect.forEach(said, (item, index) => inputItems(item, `input[${index}]`))).flat()
    const instructions: ReadonlyArray<Item> =
      (body.instructions ?? "") === "" ? [] : [{ _tag: "System", text: body.instructions!, at: "instructions" }]
    const previous = body.previous_response_id ?? null
    const before = yield* previousOf(edge, caller, previous, items)
    const turn = yield* turnOf({ edge, runner, caller, history: before.history }, [
      ...instructions,
      ...before.calls,
      ...items
    ])
    const stream = body.stream === true
    const stored = turn._tag === "New" && body.store !== false && hasStore(edge)
    const kept = stored ? yield* keptTurn(edge, caller, runner, before.session) : { runner, idOf, forget: Effect.void }
    const begun = startTurn(edge, { runner: kept.runner, caller, turn, stream })
    const runId = yield* Effect.onError(begun, () => kept.forget)
    const metadata = body.metadata ?? {}
    const context = { model: body.model, previous, idOf: kept.idOf, metadata, signing: edge.signing }
    if (stream) {
      const failed = (given: Problem) =>
        `event: error\ndata: ${JSON.stringify({ type: "error", code: null, message: given.detail, param: null })}\n\n`
      return respondWith(edge, { runId, from: 0, write: responseEvents(context), failed })
    }
    const { ended, finish } = yield* whole(edge, runId)
    return json(wholeResponse(ended, finish, context), 200, { "x-run-id": runId })
  })

const idOf = (runId: string): string => `resp_${runId}`

const inputItems = (item: InputItem, at: string): Effect.Effect<ReadonlyArray<Item>, Problem> => {
  if ("call_id" in item) {
    return Effect.succeed([
      item.type === "function_call"
        ? { _tag: "Call", call: { id: item.call_id, name: item.name, arguments: item.arguments }, at }
        : { _tag: "Result", id: item.call_id, output: outputOf(item.output), at }
    ])
  }
  if (!("role" in item)) return otherItem(item.type, at)
  if (item.role === "assistant") return Effect.succeed([{ _tag: "Assistant", text: spoken(item.content), at }])
  if (item.role !== "user") return Effect.succeed([{ _tag: "System", text: spoken(item.content), at }])
  const content = item.content as string | ReadonlyArray<UserPart>
  return Effect.map(partsOf(content, at), (parts) => [{ _tag: "User", parts, at }])
}

/** What a model has thought is not gone on with. */
const otherItem = (type: string, at: string): Effect.Effect<ReadonlyArray<Item>, Problem> =>
  type === "reasoning"
    ? Effect.succeed([])
    : refuse(
        400,
        `An item of type "${type.slice(0, 100)}" is not taken as it is. Send messages, calls and their outputs whole.`,
        {
          part: at,
          kind: "shape"
        }
      )

interface Previous {
  readonly history: Prompt.Prompt
  /** The calls that results are for, where the client does not send them again. */
  readonly calls: ReadonlyArray<Item>
  /** The session of the response before, which a new turn goes on from. */
  readonly session: string | undefined
}

const nothing: Previous = { history: Prompt.empty, calls: [], session: undefined }

/** What the response before left: its conversation as this server has it, or the calls that it waits for. */
const previousOf = (
  edge: Edge,
  caller: Caller,
  previous: string | null,
  items: ReadonlyArray<Item>
): Effect.Effect<Previous, Problem> =>
  Effect.gen(function* () {
    if (previous === null) return nothing
    const calls = yield* callsBefore(edge, caller, items)
    if (calls.length > 0) return { ...nothing, calls }
    const gone = problem(404, "There is no such response, or it has expired.", {
      part: "previous_response_id",
      error: "previous_response_not_found"
    })
    const key = /^resp_([\w.~-]{1,200})$/.exec(previous)?.[1]
    if (key === undefined) return yield* Effect.fail(gone)
    const session = sessionId(caller, responseSession(key))
    if (hasStore(edge) && (yield* historyOf(edge, session)).content.length > 0) return { ...nothing, session }
    const { ended } = yield* Effect.mapError(runOf(edge, caller, key), () => gone)
    if (ended === undefined) {
      return yield* refuse(409, "The response before has not ended.", { part: "previous_response_id" })
    }
    const { transcript } = ended
    if (ended._tag !== "RunCompleted" || transcript === undefined) return yield* Effect.fail(gone)
    return { ...nothing, history: Prompt.make(transcript.content as Prompt.RawInput) }
  })

/** The calls that the first results are for, of the run that asked for them. */
const callsBefore = (
  edge: Edge,
  caller: Caller,
  items: ReadonlyArray<Item>
): Effect.Effect<ReadonlyArray<Item>, Problem> => {
  const [first] = items
  const runId = first?._tag === "Result" ? /^call_([\w.~-]{1,200})_\d+_[0-9a-f]+$/.exec(first.id)?.[1] : undefined
  if (runId === undefined) return Effect.succeed([])
  return Effect.map(runOf(edge, caller, runId), ({ ended }) =>
    (ended === undefined ? [] : (clientCalls(ended, edge.signing) ?? [])).map((call): Item => ({
      _tag: "Call",
      call,
      at: "previous_response_id"
    }))
  )
}

/** No name of a client begins with a colon as it stands in ids. */
const responseSession = (key: string): string => `:responses/${key}`

/** A turn that is kept in a session of its own, forked from that of the response before, and so for longer than its run. */
const keptTurn = (edge: Edge, caller: Caller, runner: ServedRunner, before: string | undefined) =>
  Effect.gen(function* () {
    const key = globalThis.crypto.randomUUID().replaceAll("-", "")
    const session = sessionId(caller, responseSession(key))
    yield* admit(edge, caller, session)
    const turn = yield* inSession(edge, runner.runner, session)
    if (before !== undefined) yield* withStore(edge, fork(before, session))
    // A turn that is not begun leaves nothing: no client knows its session.
    const forget = before === undefined ? Effect.void : Effect.ignore(withStore(edge, remove(session)))
    return { runner: { ...runner, runner: turn }, idOf: () => `resp_${key}`, forget }
  })
