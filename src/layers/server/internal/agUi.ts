/** `/ag-ui/NAME`: the protocol of CopilotKit and other front ends, version 1.0. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import { jsonOrText } from "../../../internal/json.ts"
import type { WaitingFor } from "../../../services/Waiting.ts"
import { answersOf, resume } from "./answers.ts"
import { type Item, newInput } from "./chatInput.ts"
import { file, taken, text, type UserPart } from "./chatParts.ts"
import { begin, bodyOf, type Caller, type Edge, runnerOf } from "./edge.ts"
import { agUiEvents } from "./formats/agUi.ts"
import { dataEvent } from "./lines.ts"
import { historyOf, messageId, ownRun, runOfMessage } from "./ownMessages.ts"
import { type Problem, reading, refuse } from "./problem.ts"
import { type Add, respondWith } from "./routes.ts"
import { foreignTool, type ServedRunner } from "./served.ts"

/** The route. */
export const agUi = (edge: Edge, route: Add): void => {
  route("POST", "/ag-ui/:name", (request, caller) => run(edge, request, caller))
}

const Source = Schema.Struct({
  type: Schema.String,
  value: Schema.String,
  mimeType: Schema.optionalKey(Schema.String)
})
const Part = Schema.Struct({
  type: Schema.String,
  text: Schema.optionalKey(Schema.String),
  source: Schema.optionalKey(Source)
})
type Part = typeof Part.Type
const Call = Schema.Struct({ id: Schema.String })
const Message = Schema.Struct({
  id: Schema.String,
  role: Schema.Literals(["user", "assistant", "tool", "system", "developer", "reasoning", "activity"]),
  content: Schema.optionalKey(Schema.Json),
  toolCalls: Schema.optionalKey(Schema.Array(Call)),
  toolCallId: Schema.optionalKey(Schema.String),
  error: Schema.optionalKey(Schema.String)
})
type Message = typeof Message.Type
const Resume = Schema.Struct({
  interruptId: Schema.String,
  status: Schema.Literals(["resolved", "cancelled"]),
  payload: Schema.optionalKey(Schema.Json)
})
type Resume = typeof Resume.Type

/** `state` and `forwardedProps` are the client's own, and reach no runner. */
const Body = Schema.Struct({
  threadId: Schema.String,
  runId: Schema.String,
  messages: Schema.Array(Message),
  tools: Schema.optionalKey(Schema.Array(Schema.Struct({ name: Schema.String }))),
  context: Schema.optionalKey(Schema.Array(Schema.Struct({ description: Schema.String, value: Schema.String }))),
  resume: Schema.optionalKey(Schema.Array(Resume))
})
type Body = typeof Body.Type
const decode = reading(Body)
const decodeParts = Schema.decodeUnknownOption(Schema.Array(Part))

interface Asked {
  readonly runner: ServedRunner
  readonly caller: Caller
  readonly body: Body
}

const run = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    const { name } = yield* HttpRouter.params
    const runner = yield* runnerOf(edge, name)
    if (!runner.isChat) return yield* refuse(400, `"${runner.name}" takes no text.`)
    const given = yield* bodyOf(edge, request)
    const body = yield* decode(given)
    const tools = (body.tools ?? []).map((tool) => tool.name)
    const foreign = foreignTool(runner, tools)
    if (foreign !== undefined) {
      return yield* refuse(400, foreign.detail, { part: `tools[${foreign.index}]`, kind: "tools" })
    }
    const runId = yield* started(edge, { runner, caller, body })
    const write = agUiEvents({
      expose: edge.settings.expose,
      threadId: body.threadId,
      runId: body.runId,
      messages: (given as { readonly messages: ReadonlyArray<unknown> }).messages,
      idOf: (id) => messageId(edge, id)
    })
    const failed = ({ detail }: Problem) => dataEvent({ type: "RUN_ERROR", message: detail })
    return respondWith(edge, { runId, from: 0, write, failed })
  })

const started = (edge: Edge, asked: Asked) =>
  Effect.gen(function* () {
    const { body, caller, runner } = asked
    const { messages } = body
    if (body.resume !== undefined && body.resume.length > 0) return yield* resumed(edge, asked, body.resume)
    if (messages.at(-1)?.role === "tool") return yield* answered(edge, asked)
    const { after, history } = yield* known(edge, asked)
    const calls = ownCalls(edge, messages)
    const items = yield* Effect.forEach(messages.slice(after), (message, index) =>
      itemsOf(edge, calls, message, `messages[${after + index}]`)
    )
    const input = yield* newInput({ edge, runner, caller, history }, withContext(items.flat(), body.context ?? []))
    return yield* begin(edge, { runner, input, caller, deltas: true, isDetached: false })
  })

/** What a page says of itself is text of its user, before the last message. */
const withContext = (items: ReadonlyArray<Item>, context: NonNullable<Body["context"]>): ReadonlyArray<Item> => {
  const last = items.at(-1)
  if (context.length === 0 || last?._tag !== "User") return items
  const said = context.map(({ description, value }) => text(`${description}: ${value}`))
  return [...items.slice(0, -1), { ...last, parts: [...said, ...last.parts] }]
}

/** The run of an id that this server gave: that of a message, with a number at its end. */
const runOfId = (edge: Edge, id: string): { readonly runId: string; readonly index: number } | undefined => {
  const [, own, index] = /^(.+)-(\d{1,9})$/.exec(id) ?? []
  const runId = own === undefined ? undefined : runOfMessage(edge, own)
  return runId === undefined ? undefined : { runId, index: Number(index) }
}

/** The calls in messages of this server. */
const ownCalls = (edge: Edge, messages: ReadonlyArray<Message>): ReadonlySet<string> =>
  new Set(
    messages.flatMap(({ id, role, toolCalls = [] }) =>
      role === "assistant" && runOfId(edge, id) !== undefined ? toolCalls.map((call) => call.id) : []
    )
  )

/** The conversation up to the last answer whose run is kept, as this server has it; and where the client's messages go on. */
const known = (edge: Edge, asked: Asked) =>
  Effect.gen(function* () {
    const { messages } = asked.body
    const nothing = { history: Prompt.empty, after: 0 }
    const at = messages.findLastIndex(({ role }) => role === "assistant")
    if (at < 0) return nothing
    const history = yield* historyOf(edge, asked, messages[at]!.id.replace(/-\d{1,9}$/, ""))
    return history === undefined ? nothing : { history, after: at + 1 }
  })

/** Goes on with the run whose interrupts are answered. */
const resumed = (edge: Edge, asked: Asked, entries: ReadonlyArray<Resume>) =>
  Effect.gen(function* () {
    const runId = runOfId(edge, entries[0]!.interruptId)?.runId
    const info = yield* waitingRun(edge, asked, runId, "resume[0]")
    const answers: Array<readonly [string, unknown]> = []
    for (const [index, { interruptId, payload = null, status }] of entries.entries()) {
      const part = `resume[${index}]`
      const at = runOfId(edge, interruptId)
      const waiting = at?.runId === info.runId ? info.ended.waitingFor[at.index] : undefined
      if (waiting === undefined) {
        return yield* refuse(400, "The run does not wait for this.", { part, kind: "approval" })
      }
      const answer = status === "resolved" ? payload : cancelled(waiting)
      if (answer === undefined) return yield* refuse(400, "An event is not cancelled.", { part })
      answers.push([waiting.id, answer])
    }
    const given = yield* answersOf(info.ended, Object.fromEntries(answers))
    return yield* resume(edge, info, given, { caller: asked.caller, deltas: true })
  })

const cancelled = ({ kind }: WaitingFor): unknown => {
  if (kind === "approval") return { approved: false }
  return kind === "client-tool" ? { error: "The user cancelled the call." } : undefined
}

/** A run of the caller that waits. */
const waitingRun = (edge: Edge, asked: Asked, runId: string | undefined, part: string) =>
  Effect.gen(function* () {
    if (runId === undefined) {
      return yield* refuse(400, "It answers what this server did not ask for.", { part, kind: "tool-result" })
    }
    const info = yield* ownRun(edge, asked, runId)
    const ended = info?.ended
    if (info === undefined || ended?._tag !== "RunSuspended") {
      return yield* refuse(409, "The run does not wait for anything. Send a message of the user.", { part })
    }
    return { ...info, ended }
  })

/** Goes on with the run that asked for the calls that the last messages answer. */
const answered = (edge: Edge, asked: Asked) =>
  Effect.gen(function* () {
    const { messages } = asked.body
    const start = messages.findLastIndex(({ role }) => role !== "tool") + 1
    const asking = messages.findLast(({ role }) => role === "assistant")
    const runId = asking === undefined ? undefined : runOfId(edge, asking.id)?.runId
    const info = yield* waitingRun(edge, asked, runId, `messages[${start}]`)
    const answers = messages.slice(start).flatMap((message): ReadonlyArray<readonly [string, unknown]> => {
      const waiting = info.ended.waitingFor.find(
        (one) => one.kind === "client-tool" && one.toolCallId === message.toolCallId
      )
      return waiting === undefined ? [] : [[waiting.id, resultOf(message)]]
    })
    const given = yield* answersOf(info.ended, Object.fromEntries(answers))
    return yield* resume(edge, info, given, { caller: asked.caller, deltas: true })
  })

/** A result: JSON where it is, otherwise the text. */
const resultOf = ({ content = null, error }: Message): Schema.Json => {
  if (error !== undefined) return { error }
  return typeof content === "string" ? jsonOrText(content) : content
}

const partsOf = (content: Schema.Json | undefined): ReadonlyArray<Part> | undefined => {
  if (content === undefined || content === null) return []
  if (typeof content === "string") return [{ type: "text", text: content }]
  const parts = decodeParts(content)
  return parts._tag === "Some" ? parts.value : undefined
}

/**
 * A message as a client may write it. Of an answer only its text counts, calls and results only where they are ours; what a
 * front end keeps of reasoning and activities is left out.
 */
const itemsOf = (
  edge: Edge,
  calls: ReadonlySet<string>,
  message: Message,
  at: string
): Effect.Effect<ReadonlyArray<Item>, Problem> => {
  const { content, id, role, toolCallId = "", toolCalls = [] } = message
  if (role === "reasoning" || role === "activity") return Effect.succeed([])
  if (role === "tool") {
    return calls.has(toolCallId)
      ? Effect.succeed([])
      : refuse(400, "It is the result of a call that this server has no record of.", { part: at, kind: "tool-result" })
  }
  const parts = partsOf(content)
  if (parts === undefined) return refuse(400, "The content is not a text or a list of parts.", { part: at })
  const said = parts.flatMap((part) => (part.type === "text" ? [part.text ?? ""] : [])).join("\n")
  if (role === "system" || role === "developer") return Effect.succeed([{ _tag: "System", text: said, at }])
  if (role === "assistant") {
    return toolCalls.length > 0 && runOfId(edge, id) === undefined
      ? refuse(400, "It is a call that this server has no record of.", { part: at, kind: "tool-call" })
      : Effect.succeed([{ _tag: "Assistant", text: said, at }])
  }
  return Effect.map(
    Effect.forEach(parts, (part, index) => taken(userPart(part), `${at}.content[${index}]`)),
    (found) => [{ _tag: "User", parts: found, at }]
  )
}

const userPart = ({ source, text: said = "", type }: Part): UserPart | undefined =>
  type === "text" ? text(said) : source === undefined ? undefined : fileOf(source)

const fileOf = ({ mimeType, type, value }: typeof Source.Type): UserPart | undefined => {
  if (type === "data") return file(`data:${mimeType ?? "application/octet-stream"};base64,${value}`)
  return type === "url" ? file(value, mimeType) : undefined
}
