/** Messages of A2A as runs: new ones, further ones of a conversation, and answers to what a task waits for. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { jsonOrText } from "../../../internal/json.ts"
import type { Ended, Info } from "../../../services/Runs.ts"
import { answersOf, isWaiting, resume, type WaitingRun } from "./answers.ts"
import { newInput } from "./chatInput.ts"
import { file, taken, text, type UserPart } from "./chatParts.ts"
import { begin, type Caller, type Edge } from "./edge.ts"
import { putLatest } from "./latest.ts"
import { type Problem, problem, refuse } from "./problem.ts"
import type { ServedRunner } from "./served.ts"

const Id = Schema.String.check(Schema.isMaxLength(200))
const Part = Schema.Struct({
  text: Schema.optionalKey(Schema.String),
  raw: Schema.optionalKey(Schema.String),
  url: Schema.optionalKey(Schema.String),
  data: Schema.optionalKey(Schema.Json),
  mediaType: Schema.optionalKey(Schema.String),
  filename: Schema.optionalKey(Schema.String)
})
type Part = typeof Part.Type

/** A message of a client. */
export const MessageSchema = Schema.Struct({
  messageId: Id,
  contextId: Schema.optionalKey(Id),
  taskId: Schema.optionalKey(Id),
  role: Schema.String,
  parts: Schema.Array(Part)
})
/** A message of a client. */
export type MessageIn = typeof MessageSchema.Type

/** A message, and how it is answered. */
export interface Asked {
  readonly runner: ServedRunner
  readonly caller: Caller
  readonly message: MessageIn
  readonly isDetached: boolean
  readonly deltas: boolean
}

/** What a server knows of tasks apart from their runs. The oldest is forgotten first. */
export interface Conversations {
  /** The conversations of tasks. */
  readonly contexts: Map<string, string>
  /** The last task of each conversation, and the last one up to it that has an answer. */
  readonly lasts: Map<string, { readonly taskId: string; readonly answeredId: string | undefined }>
  /** Conversations of which a task begins. */
  readonly beginning: Set<string>
}

/** Knows nothing yet. */
export const conversations = (): Conversations => ({ contexts: new Map(), lasts: new Map(), beginning: new Set() })

const kept = 20_000

/** The run that a task has come to: the last of those that went on with one another. Fails for one of another client. */
export const runOf = (
  edge: Edge,
  { caller, runner }: Pick<Asked, "caller" | "runner">,
  taskId: string
): Effect.Effect<Info, Problem> =>
  Effect.gen(function* () {
    let info = yield* pollOf(edge, taskId)
    if (info.owner !== caller.name || info.runner !== runner.runner.name) return yield* unknownTask
    while (info.resumedAs !== undefined) info = yield* pollOf(edge, info.resumedAs)
    return info
  })

const unknownTask = refuse(404, "There is no such task, or it has expired.")

const pollOf = (edge: Edge, runId: string): Effect.Effect<Info, Problem> =>
  Effect.catch(edge.runs.poll(runId), ({ reason }) =>
    reason === "unknown-run" ? unknownTask : refuse(503, "The task cannot be read now.", {}, { "retry-after": "5" })
  )

/** Begins or goes on with the task of a message. */
export const begun = (
  edge: Edge,
  known: Conversations,
  asked: Asked
): Effect.Effect<{ readonly taskId: string; readonly runId: string }, Problem, Scope.Scope> => {
  const { message } = asked
  if (message.role !== "ROLE_USER") {
    return refuse(400, "A client sends messages of ROLE_USER.", { part: "message.role", kind: "shape" })
  }
  const { taskId = "" } = message
  return taskId === "" ? started(edge, known, asked) : answered(edge, asked, taskId)
}

const ofContext = { part: "message.contextId" }
const underWay = refuse(409, "Another task of the conversation is under way.", ofContext)

/** Begins a task: of a conversation that the runner takes, one after the other. */
const started = (edge: Edge, known: Conversations, asked: Asked) => {
  const { caller, deltas, isDetached, message, runner } = asked
  const contextId = (message.contextId ?? "") === "" ? globalThis.crypto.randomUUID() : message.contextId!
  const key = JSON.stringify([caller.name ?? null, runner.name, contextId])
  const begun = Effect.gen(function* () {
    const { answeredId, history } = yield* before(edge, known, asked, key)
    const input = runner.isChat ? yield* chatInput(edge, asked, history) : yield* dataInput(asked)
    const runId = yield* begin(edge, { runner, input, caller, deltas, isDetached })
    putLatest(known.contexts, runId, contextId, kept)
    putLatest(known.lasts, key, { taskId: runId, answeredId }, kept)
    return { taskId: runId, runId }
  })
  return Effect.suspend(() => {
    if (!runner.takesConversation) return begun
    if (known.beginning.has(key)) return underWay
    known.beginning.add(key)
    return Effect.ensuring(
      begun,
      Effect.sync(() => known.beginning.delete(key))
    )
  })
}

/** The conversation so far, as the server has recorded it: up to the last task that has an answer. */
const before = (edge: Edge, known: Conversations, asked: Asked, key: string) =>
  Effect.gen(function* () {
    const last = known.lasts.get(key)
    if (last === undefined || !asked.runner.takesConversation) return { answeredId: undefined, history: Prompt.empty }
    const info = yield* lastRun(edge, asked, last.taskId)
    if (info.ended === undefined) return yield* underWay
    if (isWaiting(info)) {
      const detail = "The last task of the conversation waits for answers. Send them with its taskId, or cancel it."
      return yield* refuse(409, detail, ofContext)
    }
    const answeredId = info.ended._tag === "RunCompleted" ? last.taskId : last.answeredId
    if (answeredId === undefined) return { answeredId, history: Prompt.empty }
    const { ended } = answeredId === last.taskId ? info : yield* lastRun(edge, asked, answeredId)
    return { answeredId, history: ended?._tag === "RunCompleted" ? promptOf(ended) : Prompt.empty }
  })

const promptOf = ({ transcript }: Ended): Prompt.Prompt =>
  transcript === undefined ? Prompt.empty : Prompt.make(transcript.content as Prompt.RawInput)

/** The run of a task of a conversation. A conversation whose runs are not kept does not begin again unsaid. */
const lastRun = (edge: Edge, asked: Asked, taskId: string) =>
  Effect.catch(runOf(edge, asked, taskId), (given) =>
    given.status === 404
      ? refuse(409, "The conversation is not kept any more. Send the message without its contextId.", ofContext)
      : Effect.fail(given)
  )

const chatInput = (edge: Edge, { caller, message, runner }: Asked, history: Prompt.Prompt) =>
  Effect.gen(function* () {
    const parts = yield* Effect.forEach(message.parts, (part, index) =>
      taken(userPart(part), `message.parts[${index}]`, notTaken)
    )
    if (parts.length === 0) return yield* refuse(400, "The message has no part.", { part: "message.parts" })
    return yield* newInput({ edge, runner, caller, history }, [{ _tag: "User", parts, at: "message" }])
  })

const userPart = ({ data, filename, mediaType, raw, text: said, url = "" }: Part): UserPart | undefined => {
  if (said !== undefined) return text(said)
  if (data !== undefined) return text(JSON.stringify(data))
  const name = filename === "" ? undefined : filename
  if (raw === undefined) return file(url, mediaType, name)
  return file(`data:${mediaType ?? "application/octet-stream"};base64,${raw}`, undefined, name)
}
const notTaken = "A part is a text, data, or a file that is in it or at an https: address."

/** The input of a runner that does not take a text: a part of data, or JSON in a text. */
const dataInput = ({ message, runner }: Asked): Effect.Effect<unknown, Problem> => {
  const [part] = message.parts
  const value = message.parts.length === 1 && part !== undefined ? valueOf(part) : undefined
  return value === undefined
    ? refuse(400, `"${runner.name}" takes one part with data.`, { part: "message.parts", kind: "shape" })
    : runner.decode(value)
}

const valueOf = ({ data, text: said }: Part): Schema.Json | undefined =>
  data !== undefined || said === undefined ? data : jsonOrText(said)

/** Goes on with a task that waits. */
const answered = (edge: Edge, asked: Asked, taskId: string) =>
  Effect.gen(function* () {
    const { caller, deltas, isDetached, message } = asked
    const info = yield* runOf(edge, asked, taskId)
    if (!isWaiting(info)) {
      return yield* refuse(409, "The task takes no message now. Send one without its taskId.", {
        part: "message.taskId"
      })
    }
    const given = yield* answersOf(info.ended, yield* answersIn(info.ended, message.parts))
    const runId = yield* resume(edge, info, given, { caller, deltas, isDetached })
    return { taskId, runId }
  })

/** `{ answers: { ID: ... } }`; where one thing is waited for, the answer to it may stand alone. */
const answersIn = (ended: WaitingRun["ended"], parts: ReadonlyArray<Part>): Effect.Effect<unknown, Problem> => {
  const [part] = parts
  const value = part === undefined ? undefined : valueOf(part)
  if (Predicate.hasProperty(value, "answers")) return Effect.succeed(value.answers)
  const [only] = ended.waitingFor
  return value === undefined || only === undefined || ended.waitingFor.length > 1
    ? Effect.fail(problem(400, "The answers are a data part: { answers: { ID: ... } }.", { part: "message.parts" }))
    : Effect.succeed({ [only.id]: value })
}
