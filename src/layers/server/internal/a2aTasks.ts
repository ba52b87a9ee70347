/** Messages of A2A as runs: new ones, further ones of a conversation, and answers to what a task waits for. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { jsonOrText } from "../../../internal/json.ts"
import type { Ended, Info } from "../../../services/Runs.ts"
import { answersOf, resume } from "./answers.ts"
import { turnOf } from "./chatInput.ts"
import { file, text, type UserPart } from "./chatParts.ts"
import { begin, type Caller, type Edge } from "./edge.ts"
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

/** The end of a conversation. */
interface Last {
  readonly taskId: string
  /** The last task before it that has an answer. */
  readonly answeredId: string | undefined
}

interface Task {
  readonly contextId: string
  isCanceled: boolean
}

/** What a server knows of tasks apart from their runs. The oldest is forgotten first. */
export interface Conversations {
  readonly contextOf: (taskId: string) => string
  readonly isCanceled: (taskId: string) => boolean
  readonly cancel: (taskId: string) => void
  /** Remembers the last task of a conversation. */
  readonly add: (key: string, contextId: string, last: Last) => void
  /** The last task of a conversation. */
  readonly lastOf: (key: string) => Last | undefined
  /** The run that a task has come to: the last of those that went on with one another. Fails for one of another client. */
  readonly runOf: (
    edge: Edge,
    who: { readonly caller: Caller; readonly runner: ServedRunner },
    taskId: string
  ) => Effect.Effect<Info, Problem>
}

const kept = 20_000

const put = <A>(map: Map<string, A>, key: string, value: A): void => {
  map.delete(key)
  map.set(key, value)
  if (map.size > kept) map.delete(map.keys().next().value!)
}

/** Keeps which task belongs to which conversation. */
export const conversations = (): Conversations => {
  const tasks = new Map<string, Task>()
  const lasts = new Map<string, Last>()
  return {
    contextOf: (taskId) => tasks.get(taskId)?.contextId ?? taskId,
    isCanceled: (taskId) => tasks.get(taskId)?.isCanceled === true,
    cancel: (taskId) => {
      put(tasks, taskId, { contextId: tasks.get(taskId)?.contextId ?? taskId, isCanceled: true })
    },
    add: (key, contextId, last) => {
      put(tasks, last.taskId, { contextId, isCanceled: false })
      put(lasts, key, last)
    },
    lastOf: (key) => lasts.get(key),
    runOf: (edge, { caller, runner }, taskId) =>
      Effect.gen(function* () {
        let info = yield* pollOf(edge, taskId)
        if (info.owner !== caller.name || info.runner !== runner.runner.name) return yield* unknownTask
        while (info.resumedAs !== undefined) info = yield* pollOf(edge, info.resumedAs)
        return info
      })
  }
}

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
  return taskId === "" ? started(edge, known, asked) : answered(edge, known, asked, taskId)
}

const started = (edge: Edge, known: Conversations, asked: Asked) =>
  Effect.gen(function* () {
    const { caller, deltas, isDetached, message, runner } = asked
    const contextId = message.contextId === undefined || message.contextId === "" ? newId() : message.contextId
    const key = JSON.stringify([caller.name ?? null, runner.name, contextId])
    const history = yield* historyOf(edge, known, asked, key)
    const input = runner.isChat ? yield* chatInput(edge, asked, history) : yield* dataInput(asked)
    const answeredId = yield* answeredIn(edge, known, asked, key)
    const runId = yield* begin(edge, { runner, input, caller, deltas, isDetached })
    known.add(key, contextId, { taskId: runId, answeredId })
    return { taskId: runId, runId }
  })

/** The last task of a conversation that has an answer. */
const answeredIn = (edge: Edge, known: Conversations, asked: Asked, key: string) =>
  Effect.gen(function* () {
    const last = known.lastOf(key)
    if (last === undefined) return undefined
    const info = yield* Effect.catch(known.runOf(edge, asked, last.taskId), () => Effect.succeed(undefined))
    return info?.ended?._tag === "RunCompleted" ? last.taskId : last.answeredId
  })

const newId = (): string => globalThis.crypto.randomUUID()

/** The conversation so far, as the server has recorded it: up to the last task that has an answer. */
const historyOf = (edge: Edge, known: Conversations, asked: Asked, key: string) =>
  Effect.gen(function* () {
    const last = known.lastOf(key)
    if (last === undefined || !asked.runner.takesConversation) return Prompt.empty
    const { ended } = yield* lastRun(edge, known, asked, last.taskId)
    const part = "message.contextId"
    if (ended === undefined) return yield* refuse(409, "Another task of the conversation is under way.", { part })
    if (ended._tag === "RunCompleted") return promptOf(ended)
    if (ended._tag === "RunSuspended" && !known.isCanceled(last.taskId)) {
      const detail = "The last task of the conversation waits for answers. Send them with its taskId, or cancel it."
      return yield* refuse(409, detail, { part })
    }
    if (last.answeredId === undefined) return Prompt.empty
    const before = yield* lastRun(edge, known, asked, last.answeredId)
    return before.ended?._tag === "RunCompleted" ? promptOf(before.ended) : Prompt.empty
  })

const promptOf = ({ transcript }: Ended): Prompt.Prompt =>
  transcript === undefined ? Prompt.empty : Prompt.make(transcript.content as Prompt.RawInput)

/** The run of a task of a conversation. A conversation whose runs are not kept does not begin again unsaid. */
const lastRun = (edge: Edge, known: Conversations, asked: Asked, taskId: string) =>
  Effect.catch(known.runOf(edge, asked, taskId), (given) =>
    given.status === 404
      ? refuse(409, "The conversation is not kept any more. Send the message without its contextId.", {
          part: "message.contextId"
        })
      : Effect.fail(given)
  )

const chatInput = (edge: Edge, { caller, message, runner }: Asked, history: Prompt.Prompt) =>
  Effect.gen(function* () {
    const parts = yield* Effect.forEach(message.parts, (part, index) => userPart(part, `message.parts[${index}]`))
    if (parts.length === 0) return yield* refuse(400, "The message has no part.", { part: "message.parts" })
    const turn = yield* turnOf({ edge, runner, caller, history }, [{ _tag: "User", parts, at: "message" }])
    return turn._tag === "New" ? turn.input : yield* refuse(400, "The message is not one of the user.")
  })

const userPart = (part: Part, at: string): Effect.Effect<UserPart, Problem> => {
  const { data, filename, mediaType = "application/octet-stream", raw, url } = part
  const name = filename === "" ? undefined : filename
  const found =
    part.text !== undefined
      ? text(part.text)
      : data !== undefined
        ? text(JSON.stringify(data))
        : raw !== undefined
          ? file(`data:${mediaType};base64,${raw}`, undefined, name)
          : file(url ?? "", part.mediaType, name)
  return found === undefined
    ? refuse(400, "A part is a text, data, or a file that is in it or at an https: address.", {
        part: at,
        kind: "shape"
      })
    : Effect.succeed(found)
}

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

type Suspended = Extract<Ended, { readonly _tag: "RunSuspended" }>

/** Goes on with a task that waits. */
const answered = (edge: Edge, known: Conversations, asked: Asked, taskId: string) =>
  Effect.gen(function* () {
    const { caller, deltas, isDetached, message } = asked
    const info = yield* known.runOf(edge, asked, taskId)
    const { ended } = info
    if (known.isCanceled(taskId) || ended?._tag !== "RunSuspended") {
      return yield* refuse(409, "The task takes no message now. Send one without its taskId.", {
        part: "message.taskId"
      })
    }
    const given = yield* answersOf(ended, yield* answersIn(ended, message.parts))
    const runId = yield* resume(edge, info, given, { caller, deltas, isDetached })
    return { taskId, runId }
  })

/** `{ answers: { ID: ... } }`; where one thing is waited for, the answer to it may stand alone. */
const answersIn = (ended: Suspended, parts: ReadonlyArray<Part>): Effect.Effect<unknown, Problem> => {
  const [part] = parts
  const value = part === undefined ? undefined : valueOf(part)
  if (Predicate.hasProperty(value, "answers")) return Effect.succeed(value.answers)
  const [only] = ended.waitingFor
  return value === undefined || only === undefined || ended.waitingFor.length > 1
    ? Effect.fail(problem(400, "The answers are a data part: { answers: { ID: ... } }.", { part: "message.parts" }))
    : Effect.succeed({ [only.id]: value })
}
