/** Suspends runs that are not agents: workflows with members that wait, and runs that wait for an event. */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import { RunSuspended } from "../RunError.ts"
import { CurrentSigning } from "../services/Approver.ts"
import type { WaitingFor } from "../services/Waiting.ts"
import { promptIn } from "./input.ts"
import { blockedHere, notedBy, within } from "./resumption.ts"
import type { RunState } from "./runState.ts"
import { type EventRequest, noteRun, refusalOf, type RunWaits, type Saved } from "./suspension.ts"

/** A member that waits, by the name that its workflow has for it. */
export interface WaitingMember {
  readonly key: string
  readonly error: RunSuspended
}

/** What a workflow needs to know to go on, as JSON; or why it cannot be kept. */
export type Kept = { readonly state: Schema.Json } | { readonly problem: string }

/** Suspends a workflow whose members wait. `input` is what it was given, or the messages of the run that went on. */
export const suspend = (
  state: RunState,
  input: unknown,
  kept: Kept,
  members: readonly [WaitingMember, ...ReadonlyArray<WaitingMember>]
): Effect.Effect<never, RunSuspended> => {
  const { path, runId } = state.info
  // What blocks around the workflow does not keep the workflow itself from going on.
  const inner = members.find(({ error: { blockedBy } }) => (blockedBy?.path.length ?? 0) > path.length)?.error.blockedBy
  const blockedBy = inner ?? ("problem" in kept ? { path, reason: kept.problem } : undefined)
  const waits: RunWaits = {
    _tag: "Members",
    id: `${runId}/members`,
    state: "state" in kept ? kept.state : null,
    members: members.map(({ error, key }) => ({
      key,
      at: error.path.slice(path.length),
      transcript: error.transcript
    })),
    blocked: blockedBy?.reason
  }
  const [first, ...others] = members.flatMap(({ error }) => error.waitingFor)
  return failWith(state, input, waits, [first!, ...others], blockedBy)
}

/** Suspends a run that waits for an event. */
export const suspendForEvent = (
  state: RunState,
  input: unknown,
  request: EventRequest
): Effect.Effect<never, RunSuspended> =>
  failWith(state, input, { _tag: "Event", request }, [{ kind: "event", ...request }], undefined)

const failWith = (
  state: RunState,
  input: unknown,
  waits: RunWaits,
  waitingFor: readonly [WaitingFor, ...ReadonlyArray<WaitingFor>],
  blockedBy: RunSuspended["blockedBy"]
): Effect.Effect<never, RunSuspended> =>
  Effect.withFiber((fiber) => {
    const { path } = state.info
    const blocked = blockedBy ?? blockedHere(fiber, state)
    return Effect.fail(
      new RunSuspended({
        path,
        waitingFor: [...waitingFor],
        ...(blocked === undefined ? {} : { blockedBy: blocked }),
        spent: state.bill.spent(),
        transcript: noteRun(promptIn(input)?.content ?? [], waits, notedBy(fiber, state))
      })
    )
  })

/** Runs `effect` so that a member which was suspended goes on in it. */
export const goOn = <A, E, R>(effect: Effect.Effect<A, E, R>, member: Saved["members"][number], { info }: RunState) =>
  within(effect, { target: [...info.path, ...member.at], transcript: member.transcript, taken: false }, info.path)

/** Why a transcript does not count for the run that is to go on with it; `undefined` where it does. */
export const refusal = (transcript: Prompt.Prompt) =>
  Effect.withFiber((fiber) => Effect.succeed(refusalOf(transcript.content, fiber.getRef(CurrentSigning))))
