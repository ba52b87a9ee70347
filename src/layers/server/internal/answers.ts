/** What suspended runs wait for, and the answers of clients to it. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { InvalidApproval } from "../../../RunError.ts"
import { type Client, type Exposed, waitingForClient } from "../../../RunEvent.ts"
import * as Runner from "../../../Runner.ts"
import type { Decision } from "../../../services/Approver.ts"
import type { Ended, Info } from "../../../services/Runs.ts"
import type { WaitingFor } from "../../../services/Waiting.ts"
import { type Caller, type Edge, startIn } from "./edge.ts"
import { problem, type Problem, refuse } from "./problem.ts"

interface Waiting {
  readonly waitingFor: ReadonlyArray<WaitingFor>
}

/** What a run or a session waits for, as its client may see it. */
export const waitingFor = (
  { waitingFor }: Waiting,
  expose: ReadonlyArray<Exposed>
): Extract<Client, { readonly _tag: "Suspended" }>["waitingFor"] =>
  waitingFor.map((one) => waitingForClient(one, new Set(expose)))

/** What an approval says over HTTP. */
const Approval = Schema.Struct({
  approved: Schema.Boolean,
  reason: Schema.optionalKey(Schema.String),
  /** Arguments in place of the model's. */
  params: Schema.optionalKey(Schema.Json)
})
const decodeApproval = Schema.decodeUnknownOption(Approval)

const decisionOf = (value: unknown): Decision | undefined => {
  const decoded = decodeApproval(value)
  if (decoded._tag === "None") return undefined
  const { approved, params, reason } = decoded.value
  if (!approved) return { _tag: "Denied", reason: reason ?? "The user did not approve." }
  return params === undefined ? { _tag: "Approved" } : { _tag: "Approved", params }
}

/** The answers of a client to what a run waits for. */
export const answersOf = (ended: Ended, given: unknown): Effect.Effect<Record<string, Runner.Answer>, Problem> =>
  ended._tag === "RunSuspended" ? answersTo("run", ended, given) : refuse(409, "The run does not wait for answers.")

/** The answers of a client, by the ids of what is waited for: decisions for approvals, results and values for the rest. */
export const answersTo = (
  subject: "run" | "session",
  { waitingFor }: Waiting,
  given: unknown
): Effect.Effect<Record<string, Runner.Answer>, Problem> => {
  if (waitingFor.length === 0) return refuse(409, `The ${subject} does not wait for answers.`)
  if (!Predicate.isObject(given) || Object.keys(given).length === 0) {
    return refuse(400, "answers is not an object with an answer for each id.", { part: "answers" })
  }
  const answers: Array<readonly [string, Runner.Answer]> = []
  for (const [id, value] of Object.entries(given as Readonly<Record<string, unknown>>)) {
    const waiting = waitingFor.find((one) => one.id === id)
    const part = `answers.${id.slice(0, 200)}`
    if (waiting === undefined) return refuse(400, `The ${subject} does not wait for "${id.slice(0, 200)}".`, { part })
    if (waiting.kind !== "approval") {
      answers.push([id, value as Schema.Json])
      continue
    }
    const decision = decisionOf(value)
    if (decision === undefined) {
      return refuse(400, "An approval is { approved, reason?, params? }.", { part })
    }
    answers.push([id, decision])
  }
  return Effect.succeed(Object.fromEntries(answers))
}

/** A run that waits for answers. */
export interface WaitingRun extends Info {
  readonly ended: Extract<Ended, { readonly _tag: "RunSuspended" }>
}

/** Whether a run waits for answers: it is suspended, none has been given, and it was not given up. */
export const isWaiting = (info: Info): info is WaitingRun =>
  info.ended?._tag === "RunSuspended" && info.resumedAs === undefined && info.status === "suspended"

/** Goes on with a suspended run. */
export const resume = (
  edge: Edge,
  info: Info,
  answers: Readonly<Record<string, Runner.Answer>>,
  {
    caller,
    deltas,
    isDetached = false
  }: { readonly caller: Caller; readonly deltas: boolean; readonly isDetached?: boolean }
): Effect.Effect<string, Problem, Scope.Scope> =>
  Effect.gen(function* () {
    if (!isWaiting(info)) return yield* refuse(409, "The run does not wait for answers.")
    const { transcript } = info.ended
    if (transcript === undefined) return yield* refuse(409, "The run cannot be resumed.")
    const answered = yield* Effect.try({
      try: () => Runner.answer(transcript, answers),
      catch: (error) =>
        error instanceof InvalidApproval
          ? problem(400, `The answer to ${error.approvalId} does not count: ${error.problem}.`, { part: "answers" })
          : problem(400, "The answers do not fit the run.", { part: "answers" })
    })
    const options = { owner: caller.name, deltas, paced: deltas && !isDetached }
    return yield* startIn(edge, isDetached, edge.runs.resume(info.runId, answered, options), (runId) =>
      edge.record(runId, undefined, info.runId)
    )
  })
