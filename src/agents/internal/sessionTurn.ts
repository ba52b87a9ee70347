/** One turn of a session: the conversation so far is read before the run, and what is new is added after it. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Prompt from "effect/ai/Prompt"
import { toPrompt } from "../../internal/input.ts"
import { encodeOutput } from "../../internal/runnerSchemas.ts"
import type { RunState } from "../../internal/runState.ts"
import { type Said, transcriptIn } from "../../internal/runTranscript.ts"
import { isWaiting } from "../../internal/resumption.ts"
import type { SessionConflict, StoreError } from "../../RunError.ts"
import { messagesOf, type Record, type Service, suspendedIn, version } from "../../services/SessionStore.ts"
import type { Hold, Restore } from "./sessionQueue.ts"
import { settled } from "./transcript.ts"

type Messages = ReadonlyArray<Prompt.Message>

/** What a turn needs to know of its session. */
export interface Session {
  readonly id: string
  readonly store: Service
  readonly onFailure: "discard" | "keep"
  /** False for a runner that is not an agent: of it the input and the output are kept. */
  readonly isAgent: boolean
  readonly runner: unknown
}

/** A session as a turn finds it. */
export interface Found {
  readonly history: Messages
  /** The number of the turn that begins. */
  readonly turn: number
  /** The suspended turn, whose messages go on from `history`. */
  readonly suspended: Record | undefined
}

/** Reads the session that is held. */
export const find = ({ id, store }: Session, { seq }: Hold): Effect.Effect<Found, StoreError> =>
  seq === 0
    ? Effect.succeed({ history: [], turn: 1, suspended: undefined })
    : Effect.flatMap(store.read(id, 0), (stored) => {
        const records = stored?.records ?? []
        const last = records.at(-1)
        const suspended = suspendedIn(records)
        const turn = (last?.turn ?? 0) + (suspended === undefined ? 1 : 0)
        const messages = messagesOf(records)
        // The process of a turn that is kept step by step may have died in the middle of one.
        const history = last?.status === "partial" ? settled(messages) : Effect.succeed(messages)
        return Effect.map(history, (history) => ({ history, turn, suspended }))
      })

/** The conversation that the run goes on from; `undefined` for an input that is not a conversation. */
export const inputOf = (history: Messages, input: Prompt.RawInput): Prompt.Prompt | undefined => {
  try {
    return Prompt.fromMessages([...history, ...toPrompt(input).content])
  } catch {
    return undefined
  }
}

/** A turn under way. */
export interface Turn {
  readonly session: Session
  readonly hold: Hold
  readonly found: Found
  readonly input: Prompt.RawInput
  readonly state: RunState
  /** What was added of it so far, step by step. */
  kept: Messages
}

/** Runs `run`, and adds what it says to the session. */
export const take = <A, E, R>(
  turn: Turn,
  run: Effect.Effect<A, E, R>,
  restore: Restore
): Effect.Effect<A, E | StoreError | SessionConflict, R> =>
  Effect.flatMap(Effect.exit(restore(Effect.raceFirst(run, turn.hold.ended))), (exit) =>
    Effect.flatMap(addedBy(turn, exit), (messages) => {
      const isContinued = turn.kept.length > 0 && startsWith(messages, turn.kept)
      const added = isContinued ? messages.slice(turn.kept.length) : messages
      if (added.length === 0) return exit
      return Effect.flatMap(add(turn, endingOf(exit), added, isContinued), () => exit)
    })
  )

/** Adds the steps that the turn has completed by now. When that cannot be done, the end of the turn does it. */
export const keepSteps = (turn: Turn): Effect.Effect<void> => {
  const said = turn.state.transcript?.said
  // A step without a tool call is the last one.
  if (said === undefined || said.messages.at(-1)?.role !== "tool") return Effect.void
  const messages = newMessages(turn, said)
  const isContinued = startsWith(messages, turn.kept)
  const added = isContinued ? messages.slice(turn.kept.length) : messages
  return Effect.ignore(
    Effect.map(add(turn, "partial", added, isContinued && turn.kept.length > 0), () => {
      turn.kept = messages
    })
  )
}

const add = (
  { found, hold, session, state: { info } }: Turn,
  status: Record["status"],
  messages: Messages,
  continues: boolean
): Effect.Effect<void, StoreError | SessionConflict> =>
  Effect.flatMap(Clock.currentTimeMillis, (at) => {
    const { path, runId } = info
    const content = Prompt.fromMessages(messages)
    const record: Record = { v: version, turn: found.turn, status, at, runId, path, continues, messages: content }
    const { owner, seq: expectedSeq } = hold
    const release = status !== "partial"
    const addition = { expectedSeq, records: [record], owner, release }
    return Effect.map(session.store.append(session.id, addition), (seq) => {
      hold.seq = seq
      hold.isGivenBack = release
    })
  })

const endingOf = (exit: Exit.Exit<unknown, unknown>): Exclude<Record["status"], "partial"> => {
  if (Exit.isSuccess(exit)) return "completed"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  return isWaiting(Cause.squash(exit.cause)) ? "suspended" : "failed"
}

/** The messages that a turn adds. None for one that leaves nothing. */
const addedBy = (turn: Turn, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Messages> => {
  const { found, input, session, state } = turn
  const nothing = Effect.succeed<Messages>([])
  if (Exit.isFailure(exit) && endingOf(exit) === "suspended") {
    const waiting = transcriptIn(Cause.squash(exit.cause))?.content ?? []
    const { history } = found
    return Effect.succeed(startsWith(waiting, history) ? waiting.slice(history.length) : waiting)
  }
  if (!session.isAgent) {
    return Exit.isSuccess(exit)
      ? Effect.succeed([...toPrompt(input).content, ...answerOf(session.runner, exit.value)])
      : nothing
  }
  const said = state.transcript?.said
  if (said === undefined) return nothing
  if (Exit.isSuccess(exit)) return Effect.succeed(newMessages(turn, said))
  if (session.onFailure === "discard" || said.messages.length <= said.given) return nothing
  return settled(newMessages(turn, said))
}

/** What is new in a conversation that goes on from the history. */
const newMessages = ({ found: { history }, input }: Turn, { given, messages }: Said): Messages =>
  startsWith(messages, history)
    ? messages.slice(history.length)
    : // A middleware changed what the run was given.
      [...toPrompt(input).content, ...messages.slice(given)]

const answerOf = (runner: unknown, output: unknown): Messages => {
  if (output === undefined) return []
  const text = typeof output === "string" ? output : JSON.stringify(encodeOutput(runner, output))
  return [Prompt.assistantMessage({ content: [Prompt.textPart({ text })] })]
}

const startsWith = (messages: Messages, start: Messages): boolean =>
  messages.length >= start.length &&
  start.every((message, index) => message === messages[index] || Equal.equals(message, messages[index]))
