/** Tasks of A2A (version 1.0), out of runs and their events. */
import type { RunEvent } from "../../../../RunEvent.ts"
import type { Ended, Info } from "../../../../services/Runs.ts"
import { dataEvent } from "../lines.ts"
import { failureOf } from "../problem.ts"
import { textOf } from "./answer.ts"
import { billOf } from "./usage.ts"

/** What a task is known by. */
export interface TaskContext {
  readonly taskId: string
  readonly contextId: string
  readonly isCanceled: boolean
  /** What a suspended run waits for, as its client may see it. */
  readonly waiting: (ended: Extract<Ended, { readonly _tag: "RunSuspended" }>) => ReadonlyArray<unknown>
}

const outputPart = (output: unknown): object =>
  typeof output === "string"
    ? { text: output, mediaType: "text/plain" }
    : { data: output, mediaType: "application/json" }

const artifactOf = (parts: ReadonlyArray<object>) => ({ artifactId: "output", name: "output", parts })

const stateOf = (ended: Ended | undefined, isCanceled: boolean): string => {
  if (isCanceled) return "TASK_STATE_CANCELED"
  switch (ended?._tag) {
    case undefined:
      return "TASK_STATE_WORKING"
    case "RunCompleted":
      return "TASK_STATE_COMPLETED"
    case "RunFailed":
      return "TASK_STATE_FAILED"
    case "RunInterrupted":
      return "TASK_STATE_CANCELED"
    case "RunSuspended":
      return "TASK_STATE_INPUT_REQUIRED"
  }
}

const partsOf = (ended: Ended | undefined, context: TaskContext): ReadonlyArray<object> | undefined => {
  if (context.isCanceled) return undefined
  if (ended?._tag === "RunFailed") return [{ text: failureOf(ended).detail }]
  if (ended?._tag !== "RunSuspended") return undefined
  return [
    {
      text: "The task waits for answers. Send a message with this task's id and a data part: { answers: { ID: ... } }."
    },
    { data: { waitingFor: context.waiting(ended) }, mediaType: "application/json" }
  ]
}

/** The status of a task. `at` is in milliseconds since the epoch. */
const statusOf = (ended: Ended | undefined, context: TaskContext, at: number): object => {
  const { contextId, isCanceled, taskId } = context
  const parts = partsOf(ended, context)
  const messageId = `${taskId}-status`
  return {
    state: stateOf(ended, isCanceled),
    timestamp: new Date(at).toISOString(),
    ...(parts === undefined ? {} : { message: { messageId, taskId, contextId, role: "ROLE_AGENT", parts } })
  }
}

/** A task as it is now. */
export const taskOf = (info: Pick<Info, "ended" | "startedAt">, context: TaskContext): object => {
  const { ended, startedAt } = info
  return {
    id: context.taskId,
    contextId: context.contextId,
    status: statusOf(ended, context, ended?.at ?? startedAt),
    artifacts:
      ended?._tag === "RunCompleted" && ended.output !== undefined ? [artifactOf([outputPart(ended.output)])] : [],
    history: [],
    ...(ended === undefined ? {} : { metadata: billOf(ended) })
  }
}

/**
 * Writes the events of a task: itself, its output as it is written, and its end. The output is the text of the last step: with
 * the first text of another step, and where a retry makes text void, the client begins again with it.
 */
export const taskEvents = (
  context: TaskContext,
  envelope: (result: object) => object
): ((event: RunEvent) => string) => {
  const { contextId, taskId } = context
  let isBegun = false
  let said = ""
  /** Whether the client has text that is not part of the output. */
  let isStale = false
  const artifact = (parts: ReadonlyArray<object>, append: boolean, lastChunk: boolean): object => ({
    artifactUpdate: { taskId, contextId, artifact: artifactOf(parts), append, lastChunk }
  })
  const reset = (): ReadonlyArray<object> => {
    isStale = isStale || said !== ""
    said = ""
    return []
  }
  const output = (value: unknown): ReadonlyArray<object> => {
    if (value === undefined) return []
    const isWhole = typeof value === "string" && textOf(value) === said && !isStale
    return [isWhole ? artifact([{ text: "" }], true, true) : artifact([outputPart(value)], false, true)]
  }
  const ended = (event: Ended): ReadonlyArray<object> => [
    ...(event._tag === "RunCompleted" ? output(event.output) : []),
    { statusUpdate: { taskId, contextId, status: statusOf(event, context, event.at), metadata: billOf(event) } }
  ]
  const resultsOf = (event: RunEvent): ReadonlyArray<object> => {
    switch (event._tag) {
      case "StepStarted":
      case "StepRetried":
      case "TurnReplaced":
      case "RunRetried":
        return reset()
      case "TextDelta": {
        if (event.delta === "") return []
        const append = said !== ""
        said += event.delta
        isStale = false
        return [artifact([{ text: event.delta, mediaType: "text/plain" }], append, false)]
      }
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return ended(event)
      default:
        return []
    }
  }
  return (event) => {
    if (event.path.length > 1) return ""
    const first = isBegun ? [] : [{ task: taskOf({ ended: undefined, startedAt: event.at }, context) }]
    isBegun = true
    return [...first, ...resultsOf(event)].map((result) => dataEvent(envelope(result))).join("")
  }
}
