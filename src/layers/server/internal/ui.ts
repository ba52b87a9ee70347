/** `/ui/NAME`: the stream that `useChat` of the AI SDK reads, and the messages that it sends. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import type { Info } from "../../../services/Runs.ts"
import type * as Runner from "../../../Runner.ts"
import { answersOf, resume } from "./answers.ts"
import { type Item, newInput } from "./chatInput.ts"
import { file, taken, text, type UserPart } from "./chatParts.ts"
import { begin, bodyOf, type Caller, type Edge, runnerOf } from "./edge.ts"
import { uiChunks, uiHeaders } from "./formats/ui.ts"
import { dataEvent } from "./lines.ts"
import { historyOf, messageId, ownRun, runOfMessage } from "./ownMessages.ts"
import { type Problem, reading, refuse } from "./problem.ts"
import { type Add, respondWith } from "./routes.ts"
import type { ServedRunner } from "./served.ts"

/** The route. */
export const ui = (edge: Edge, route: Add): void => {
  route("POST", "/ui/:name", (request, caller) => chat(edge, request, caller))
  // `useChat` with `resume` asks for the stream of its chat. No stream goes on: a run ends when its client hangs up.
  route("GET", "/ui/:name/:id/stream", () =>
    Effect.gen(function* () {
      const { name } = yield* HttpRouter.params
      yield* runnerOf(edge, name)
      return HttpServerResponse.empty({ status: 204 })
    })
  )
}

const Part = Schema.Struct({
  type: Schema.String,
  text: Schema.optionalKey(Schema.String),
  url: Schema.optionalKey(Schema.String),
  mediaType: Schema.optionalKey(Schema.String),
  filename: Schema.optionalKey(Schema.String),
  toolCallId: Schema.optionalKey(Schema.String),
  state: Schema.optionalKey(Schema.String),
  output: Schema.optionalKey(Schema.Json),
  errorText: Schema.optionalKey(Schema.String),
  providerMetadata: Schema.optionalKey(Schema.Json),
  approval: Schema.optionalKey(
    Schema.Struct({
      id: Schema.String,
      approved: Schema.optionalKey(Schema.Boolean),
      reason: Schema.optionalKey(Schema.String)
    })
  )
})
type Part = typeof Part.Type

const Message = Schema.Struct({
  id: Schema.String,
  role: Schema.Literals(["user", "assistant", "system"]),
  parts: Schema.Array(Part)
})
type Message = typeof Message.Type

const Body = Schema.Struct({
  id: Schema.optionalKey(Schema.String),
  messages: Schema.Array(Message),
  trigger: Schema.optionalKey(Schema.String)
})
const decode = reading(Body)

const chat = (edge: Edge, request: HttpServerRequest.HttpServerRequest, caller: Caller) =>
  Effect.gen(function* () {
    const { name } = yield* HttpRouter.params
    const runner = yield* runnerOf(edge, name)
    if (!runner.isChat) return yield* refuse(400, `"${runner.name}" takes no text.`)
    const { messages } = yield* Effect.flatMap(bodyOf(edge, request), decode)
    const runId = yield* started(edge, { runner, caller, messages })
    const context = { expose: edge.settings.expose, idOf: (id: string) => messageId(edge, id) }
    return respondWith(edge, {
      runId,
      from: 0,
      write: uiChunks(context),
      failed: ({ detail }) => dataEvent({ type: "error", errorText: detail }),
      end: "data: [DONE]\n\n",
      headers: uiHeaders
    })
  })

interface Asked {
  readonly runner: ServedRunner
  readonly caller: Caller
  readonly messages: ReadonlyArray<Message>
}

const started = (edge: Edge, asked: Asked) =>
  Effect.gen(function* () {
    const { caller, messages, runner } = asked
    const last = messages.at(-1)
    if (last?.role === "assistant") return yield* resumed(edge, asked, last, messages.length - 1)
    const { after, history } = yield* known(edge, asked)
    const items = yield* Effect.forEach(messages.slice(after), (message, index) =>
      itemsOf(edge, message, `messages[${after + index}]`)
    )
    const input = yield* newInput({ edge, runner, caller, history }, items.flat())
    return yield* begin(edge, { runner, input, caller, deltas: true, isDetached: false })
  })

/** The conversation up to the last answer whose run is kept, as this server has it; and where the client's messages go on. */
const known = (edge: Edge, asked: Asked) =>
  Effect.gen(function* () {
    const { messages } = asked
    const at = messages.findLastIndex(({ role }) => role === "assistant")
    const history = at < 0 ? undefined : yield* historyOf(edge, asked, messages[at]!.id)
    return history === undefined ? { history: Prompt.empty, after: 0 } : { history, after: at + 1 }
  })

const isTool = ({ type }: Part): boolean => type === "dynamic-tool" || type.startsWith("tool-")

/** Goes on with the run that the last message is of: with results of its tools, and approvals. */
const resumed = (edge: Edge, asked: Asked, message: Message, index: number) =>
  Effect.gen(function* () {
    const part = `messages[${index}]`
    const runId = runOfMessage(edge, message.id)
    if (runId === undefined) {
      return yield* refuse(400, "The last message is an answer that this server did not give.", { part })
    }
    const info = yield* ownRun(edge, asked, runId)
    if (info?.ended?._tag !== "RunSuspended") {
      return yield* refuse(409, "The run of the last answer does not wait for anything. Send a message of the user.", {
        part
      })
    }
    const given = message.parts.flatMap((one) => (isTool(one) ? answerOf(info, one) : []))
    const answers: Readonly<Record<string, Runner.Answer>> = yield* answersOf(info.ended, Object.fromEntries(given))
    return yield* resume(edge, info, answers, { caller: asked.caller, deltas: true })
  })

/** The answer in a part of a tool, by the id of what is waited for. */
const answerOf = (info: Info, part: Part): ReadonlyArray<readonly [id: string, answer: unknown]> => {
  if (info.ended?._tag !== "RunSuspended") return []
  const { approval, errorText, output, state, toolCallId } = part
  return info.ended.waitingFor.flatMap((waiting): ReadonlyArray<readonly [string, unknown]> => {
    if (waiting.kind === "event" || waiting.toolCallId !== toolCallId) return []
    if (waiting.kind === "client-tool") {
      if (state === "output-available") return [[waiting.id, output ?? null]]
      return state === "output-error" ? [[waiting.id, { error: errorText ?? "The tool failed." }]] : []
    }
    if (approval?.id !== waiting.id || approval.approved === undefined) return []
    const { approved, reason } = approval
    return [[waiting.id, reason === undefined ? { approved } : { approved, reason }]]
  })
}

/** A message as a client may write it. Of an answer only its text counts, and tools only where the answer is ours. */
const itemsOf = (edge: Edge, message: Message, at: string): Effect.Effect<ReadonlyArray<Item>, Problem> => {
  const texts = message.parts.flatMap((part) => (part.type === "text" ? [part.text ?? ""] : []))
  if (message.role === "system") {
    return Effect.succeed([{ _tag: "System", text: texts.join("\n"), at }])
  }
  const options = message.parts.findIndex(({ providerMetadata }) => providerMetadata !== undefined)
  if (options >= 0) {
    return refuse(400, "It has provider options.", { part: `${at}.parts[${options}]`, kind: "options" })
  }
  const tool = message.parts.findIndex(isTool)
  if (message.role === "assistant") {
    if (tool >= 0 && runOfMessage(edge, message.id) === undefined) {
      const approves = message.parts[tool]!.approval !== undefined
      return refuse(400, "It is a call that this server has no record of.", {
        part: `${at}.parts[${tool}]`,
        kind: approves ? "approval" : "tool-result"
      })
    }
    return Effect.succeed([{ _tag: "Assistant", text: texts.join(""), at }])
  }
  return Effect.map(
    Effect.forEach(message.parts, (part, index) => taken(userPart(part), `${at}.parts[${index}]`)),
    (parts) => [{ _tag: "User", parts, at }]
  )
}

const userPart = ({ filename, mediaType, text: said = "", type, url = "" }: Part): UserPart | undefined =>
  type === "text" ? text(said) : type === "file" ? file(url, mediaType, filename) : undefined
