/** A client of A2A 1.0 over JSON-RPC: the card of an agent, and its tasks as runs. */
import * as Effect from "effect/Effect"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { elsewhere } from "../../../internal/elsewhere.ts"
import { formOf } from "../../../internal/journaled.ts"
import { always } from "../../../internal/runnerSchemas.ts"
import type { RunState } from "../../../internal/runState.ts"
import { aFunction } from "../../../internal/structure.ts"
import { noUsage } from "../../../internal/usage.ts"
import * as Runner from "../../../Runner.ts"
import type { Options, RemoteAgent } from "../RemoteAgent.ts"
import { RemoteAgentError } from "./a2aError.ts"
import { charge, defaultLimit, priceOf, send, texts, usageOf } from "./remoteHttp.ts"

const Part = Schema.Struct({ text: Schema.optionalKey(Schema.String), data: Schema.optionalKey(Schema.Json) })
const Message = Schema.Struct({ parts: Schema.optionalKey(Schema.Array(Part)) })
const Artifact = Schema.Struct({ artifactId: Schema.String, parts: Schema.optionalKey(Schema.Array(Part)) })
const Status = Schema.Struct({ state: Schema.String, message: Schema.optionalKey(Message) })
const Metadata = Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.Json)))
const Task = Schema.Struct({
  id: Schema.String,
  status: Status,
  artifacts: Schema.optionalKey(Schema.Array(Artifact)),
  metadata: Metadata
})
type Task = typeof Task.Type
const Result = Schema.Struct({
  task: Schema.optionalKey(Task),
  message: Schema.optionalKey(Message),
  statusUpdate: Schema.optionalKey(Schema.Struct({ status: Status, metadata: Metadata })),
  artifactUpdate: Schema.optionalKey(Schema.Struct({ artifact: Artifact, append: Schema.optionalKey(Schema.Boolean) }))
})
type Result = typeof Result.Type
const Rpc = Schema.Struct({
  result: Schema.optionalKey(Schema.Json),
  error: Schema.optionalKey(Schema.Struct({ code: Schema.Finite, message: Schema.String }))
})
const Card = Schema.Struct({
  name: Schema.String,
  description: Schema.optionalKey(Schema.String),
  supportedInterfaces: Schema.Array(
    Schema.Struct({ url: Schema.String, protocolBinding: Schema.String, protocolVersion: Schema.String })
  ),
  capabilities: Schema.optionalKey(Schema.Struct({ streaming: Schema.optionalKey(Schema.Boolean) }))
})
const decodeCard = Schema.decodeUnknownOption(Schema.fromJsonString(Card))
const decodeRpc = Schema.decodeUnknownOption(Schema.fromJsonString(Rpc))
const decodeResult = Schema.decodeUnknownOption(Result)
const decodeTask = Schema.decodeUnknownOption(Task)
const decodeUsage = Schema.decodeUnknownOption(Response.Usage)

interface Target {
  readonly agent: string
  readonly url: string
  readonly streams: boolean
  readonly limit: number
  readonly options: Options
}

type Reason = RemoteAgentError["reason"]

const errorOf = (agent: string, reason: Reason, detail: string, more: Partial<RemoteAgentError> = {}) =>
  new RemoteAgentError({ agent, reason, detail, ...more })

const fail = (target: Target, reason: Reason, detail: string, more: Partial<RemoteAgentError> = {}) =>
  Effect.fail(errorOf(target.agent, reason, detail, more))

/** Reads a card, and makes a runner of the agent. */
export const agentOf = (url: string, options: Options): Effect.Effect<RemoteAgent, RemoteAgentError> =>
  Effect.gen(function* () {
    if (!URL.canParse(url) || !/^https?:/.test(url)) {
      return yield* Effect.fail(errorOf(url, "unsupported", "The url is not an http: or https: address."))
    }
    const at = url.endsWith(".json") ? url : `${url.replace(/\/$/, "")}/.well-known/agent-card.json`
    const limit = options.limit ?? defaultLimit
    const asking: Target = { agent: url, url: at, streams: false, limit, options }
    const text = yield* request(asking, undefined, "application/json").pipe(
      Effect.flatMap((response) => wholeText(asking, response)),
      Effect.timeoutOrElse({
        duration: "30 seconds",
        orElse: () => fail(asking, "unreachable", "The card did not come within 30 seconds.")
      })
    )
    const card = decodeCard(text)
    if (card._tag === "None") return yield* fail(asking, "unreadable", "Its card is not one of A2A 1.0.")
    const { capabilities, description, name } = card.value
    const origins = new Set([new URL(url).origin, ...(options.origins ?? [])])
    const speaks = card.value.supportedInterfaces.filter(
      (one) => one.protocolBinding === "JSONRPC" && /^1(\.|$)/.test(one.protocolVersion) && URL.canParse(one.url)
    )
    const found = speaks.find((one) => origins.has(new URL(one.url).origin))
    if (found === undefined) {
      const origin = speaks[0] === undefined ? undefined : new URL(speaks[0].url).origin
      const detail =
        origin === undefined
          ? "It does not speak A2A 1.0 over JSON-RPC."
          : `Its card names an address at ${origin}. To allow that, give RemoteAgent.connect origins: ["${origin}"].`
      return yield* Effect.fail(errorOf(name, "unsupported", detail))
    }
    return runnerOf(
      { agent: name, url: found.url, streams: capabilities?.streaming === true, limit, options },
      description
    )
  })

const forms = { output: formOf(Schema.String), error: formOf(RemoteAgentError) }

const runnerOf = (target: Target, description: string | undefined): RemoteAgent =>
  Runner.fromDefinition<string, string, RemoteAgentError, never>(target.agent, description, {
    body: (input, state) => elsewhere(state, forms, run(target, input, state)),
    input: always(Schema.String),
    output: always(Schema.String),
    observers: [],
    structure: aFunction
  })

const request = (target: Target, body: object | undefined, accept: string) =>
  Effect.flatMap(
    send(
      target.options,
      {
        url: target.url,
        accept,
        headers: { "a2a-version": "1.0" },
        body: body === undefined ? undefined : JSON.stringify(body)
      },
      () => errorOf(target.agent, "unreachable", "It did not answer.")
    ),
    (response) => (response.ok ? Effect.succeed(response) : refused(target, response.status))
  )

const refused = (target: Target, status: number) => {
  if (status === 401 || status === 403) return fail(target, "unauthorized", `It answered with ${status}.`, { status })
  const reason = status === 429 || status === 503 ? "busy" : status < 500 ? "refused" : "failed"
  return fail(target, reason, `It answered with ${status}.`, { status })
}

/** The text of an answer as it comes, up to the limit. */
const textsOf = (target: Target, response: globalThis.Response): Stream.Stream<string, RemoteAgentError> =>
  texts(response, target.limit, (reason, detail) => errorOf(target.agent, reason, detail))

const wholeText = (target: Target, response: globalThis.Response) => Stream.mkString(textsOf(target, response))

/** The result in an answer of JSON-RPC. */
const resultIn = (target: Target, text: string): Effect.Effect<unknown, RemoteAgentError> => {
  const rpc = decodeRpc(text)
  if (rpc._tag === "None") return fail(target, "unreadable", "The answer is not one of JSON-RPC.")
  const { error, result } = rpc.value
  return error === undefined
    ? Effect.succeed(result)
    : fail(target, "refused", `It refused (${error.code}): ${error.message.slice(0, 500)}`)
}

const call = (method: string, params: object) => ({ jsonrpc: "2.0", id: 1, method, params })

const ask = (target: Target, method: string, params: object) =>
  request(target, call(method, params), "application/json").pipe(
    Effect.flatMap((response) => wholeText(target, response)),
    Effect.flatMap((text) => resultIn(target, text))
  )

const textOf = (parts: ReadonlyArray<typeof Part.Type> = []): string =>
  parts.map(({ data, text }) => text ?? (data === undefined ? "" : JSON.stringify(data))).join("")

/** What has come of a task. */
interface Progress {
  taskId: string | undefined
  status: typeof Status.Type | undefined
  /** The text of each artifact. */
  readonly artifacts: Map<string, string>
  /** The answer of an agent that makes no task. */
  message: string | undefined
  metadata: Readonly<Record<string, Schema.Json>>
}

/** Emits the text of the agent as one step. */
const stepOf = ({ bill, events }: RunState) => {
  let first: number | undefined
  let attempt = 1
  return {
    begin: Effect.suspend(() => {
      bill.addStep()
      return events.emit({ _tag: "StepStarted", step: 1 })
    }),
    text: (delta: string) =>
      Effect.suspend(() => {
        if (delta === "") return Effect.void
        first ??= events.nextSeq
        return events.emit({ _tag: "TextDelta", step: 1, delta })
      }),
    /** What has come is void. */
    restart: Effect.suspend(() => {
      if (first === undefined) return Effect.void
      const discardFrom = first
      first = undefined
      attempt++
      const reason = "The agent began its output again."
      return events.emit({ _tag: "StepRetried", step: 1, attempt, discardFrom, reason })
    }),
    end: (metadata: Progress["metadata"]) =>
      Effect.suspend(() => {
        const said = decodeUsage(metadata["usage"])
        const usage = said._tag === "Some" ? usageOf(said.value) : noUsage
        const cost = numberOf(metadata["cost"])
        charge(bill, { usage, cost, steps: Math.trunc(Math.min(numberOf(metadata["steps"]) ?? 0, 10_000)) })
        return events.emit({ _tag: "StepCompleted", step: 1, finishReason: "stop", usage, ...priceOf(cost) })
      })
  }
}
type Step = ReturnType<typeof stepOf>

const numberOf = (json: Schema.Json | undefined): number | undefined => (typeof json === "number" ? json : undefined)

const run = (target: Target, input: string, state: RunState): Effect.Effect<string, RemoteAgentError> => {
  const progress: Progress = {
    taskId: undefined,
    status: undefined,
    artifacts: new Map(),
    message: undefined,
    metadata: {}
  }
  const step = stepOf(state)
  return Effect.gen(function* () {
    yield* step.begin
    yield* target.streams ? streamed(target, input, progress, step) : asked(target, input, progress, step)
    yield* settled(target, progress, step)
    const output = yield* outputOf(target, progress)
    yield* step.end(progress.metadata)
    return output
  }).pipe(Effect.onInterrupt(() => cancel(target, progress)))
}

/** Ends a task whose run is interrupted, as far as the agent can be reached. */
const cancel = (target: Target, { status, taskId }: Progress): Effect.Effect<void> =>
  taskId === undefined || isSettled(status?.state)
    ? Effect.void
    : Effect.ignore(Effect.timeout(ask(target, "CancelTask", { id: taskId }), "5 seconds"))

const messageOf = (input: string) => ({
  message: { messageId: globalThis.crypto.randomUUID(), role: "ROLE_USER", parts: [{ text: input }] }
})

const asked = (target: Target, input: string, progress: Progress, step: Step) =>
  Effect.flatMap(ask(target, "SendMessage", messageOf(input)), (result) => take(target, progress, step, result))

const streamed = (target: Target, input: string, progress: Progress, step: Step) =>
  Effect.gen(function* () {
    const body = call("SendStreamingMessage", messageOf(input))
    const response = yield* request(target, body, "text/event-stream")
    if (!/^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "")) {
      const result = yield* Effect.flatMap(wholeText(target, response), (text) => resultIn(target, text))
      return yield* take(target, progress, step, result)
    }
    let data = ""
    const lines = Stream.splitLines(textsOf(target, response))
    yield* Stream.runForEach(Stream.concat(lines, Stream.succeed("")), (line) => {
      if (line.startsWith("data:")) data += (data === "" ? "" : "\n") + line.slice(5).replace(/^ /, "")
      if (line !== "" || data === "") return Effect.void
      const text = data
      data = ""
      return Effect.flatMap(resultIn(target, text), (result) => take(target, progress, step, result))
    })
  })

const take = (
  target: Target,
  progress: Progress,
  step: Step,
  given: unknown
): Effect.Effect<void, RemoteAgentError> => {
  const decoded = decodeResult(given)
  if (decoded._tag === "None") return fail(target, "unreadable", "The answer is not one of A2A.")
  return takeResult(progress, step, decoded.value)
}

const takeResult = (progress: Progress, step: Step, result: Result): Effect.Effect<void> => {
  const { artifactUpdate, message, statusUpdate, task } = result
  if (task !== undefined) return takeTask(progress, step, task)
  if (message !== undefined) {
    progress.message = textOf(message.parts)
    return step.text(progress.message)
  }
  if (statusUpdate !== undefined) {
    progress.status = statusUpdate.status
    progress.metadata = { ...progress.metadata, ...statusUpdate.metadata }
  }
  if (artifactUpdate === undefined) return Effect.void
  const { append = false, artifact } = artifactUpdate
  return put(progress, step, artifact, append)
}

const takeTask = (progress: Progress, step: Step, task: Task): Effect.Effect<void> => {
  progress.taskId = task.id
  progress.status = task.status
  progress.metadata = { ...progress.metadata, ...task.metadata }
  return Effect.forEach(task.artifacts ?? [], (artifact) => put(progress, step, artifact, false), { discard: true })
}

/** Adds to an artifact, or puts another in its place; text that was emitted is then void. */
const put = (progress: Progress, step: Step, artifact: typeof Artifact.Type, append: boolean): Effect.Effect<void> => {
  const { artifacts } = progress
  const text = textOf(artifact.parts)
  const before = artifacts.get(artifact.artifactId)
  artifacts.set(artifact.artifactId, append ? `${before ?? ""}${text}` : text)
  if (append || before === undefined) return step.text(text)
  if (before === text) return Effect.void
  return Effect.andThen(step.restart, step.text([...artifacts.values()].join("")))
}

const states: Readonly<Record<string, Reason | "completed">> = {
  TASK_STATE_COMPLETED: "completed",
  TASK_STATE_FAILED: "failed",
  TASK_STATE_REJECTED: "failed",
  TASK_STATE_CANCELED: "canceled",
  TASK_STATE_INPUT_REQUIRED: "asked",
  TASK_STATE_AUTH_REQUIRED: "asked"
}

const isSettled = (state: string | undefined): boolean => state !== undefined && states[state] !== undefined

/** Asks once a second until the task no longer works. */
const settled = (target: Target, progress: Progress, step: Step): Effect.Effect<void, RemoteAgentError> =>
  Effect.suspend(() => {
    const { message, status, taskId } = progress
    if (message !== undefined || isSettled(status?.state)) return Effect.void
    if (taskId === undefined) return fail(target, "unreachable", "The answer ended without a task or a message.")
    return Effect.gen(function* () {
      yield* Effect.sleep("1 second")
      const task = decodeTask(yield* ask(target, "GetTask", { id: taskId }))
      if (task._tag === "None") return yield* fail(target, "unreadable", "The answer is not a task.", { taskId })
      yield* takeTask(progress, step, task.value)
      return yield* settled(target, progress, step)
    })
  })

/** The output of a task that has ended, or why it has none. */
const outputOf = (target: Target, { artifacts, message, status, taskId }: Progress) => {
  if (message !== undefined) return Effect.succeed(message)
  const state = states[status?.state ?? ""]
  const said = textOf(status?.message?.parts).slice(0, 2000)
  // An agent without artifacts has its answer in the last message.
  if (state === "completed") return Effect.succeed(artifacts.size === 0 ? said : [...artifacts.values()].join("\n\n"))
  const detail = said === "" ? `Its task ended as ${status?.state ?? "unknown"}.` : `Its task says: ${said}`
  return fail(target, state ?? "unreadable", detail, taskId === undefined ? {} : { taskId })
}
