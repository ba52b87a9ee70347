/** Messages that this server gave its clients: their ids are signed, so that it knows its own when they come back. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import type { Info } from "../../../services/Runs.ts"
import type { Caller, Edge } from "./edge.ts"
import type { ServedRunner } from "./served.ts"

/** The id of the message that a run gives, signed. */
export const messageId = ({ signing }: Edge, runId: string): string =>
  `msg_${runId}_${signing.sign(["message", runId]).slice(0, 32)}`

/** The run of a message of ours; `undefined` for any other message. */
export const runOfMessage = (edge: Edge, id: string): string | undefined => {
  const runId = /^msg_([\w.~-]{1,200})_[0-9a-f]{32}$/.exec(id)?.[1]
  return runId !== undefined && messageId(edge, runId) === id ? runId : undefined
}

/** Who asks, and for which runner: a run of another one is not theirs to go on with. */
export interface Asking {
  readonly caller: Caller
  readonly runner: ServedRunner
}

/** A run of the caller and the runner, as far as it is kept. */
export const ownRun = (edge: Edge, { caller, runner }: Asking, runId: string): Effect.Effect<Info | undefined> =>
  edge.runs.poll(runId).pipe(
    Effect.map((info) => (info.owner === caller.name && info.runner === runner.runner.name ? info : undefined)),
    Effect.catch(() => Effect.succeed(undefined))
  )

/** The conversation up to the answer with this id, as this server has it; `undefined` where its run is not kept. */
export const historyOf = (edge: Edge, asking: Asking, id: string): Effect.Effect<Prompt.Prompt | undefined> =>
  Effect.gen(function* () {
    const runId = runOfMessage(edge, id)
    const info = runId === undefined ? undefined : yield* ownRun(edge, asking, runId)
    const transcript = info?.ended?._tag === "RunCompleted" ? info.ended.transcript : undefined
    return transcript === undefined ? undefined : Prompt.make(transcript.content as Prompt.RawInput)
  })
