/** One turn of a session: the conversation so far is read before the run, and what is new is added after it. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Prompt from "effect/ai/Prompt"
import { answerText, promptIn } from "../../internal/input.ts"
import { encodeOutput } from "../../internal/runnerSchemas.ts"
import type { RunState } from "../../internal/runState.ts"
import { type Said, transcriptIn } from "../../internal/runTranscript.ts"
import { isWaiting } from "../../internal/resumption.ts"
import { isAsleep } from "../../internal/sleep.ts"
import * as Suspension from "../../internal/suspension.ts"
import { InvalidApproval, RunSuspended, type SessionConflict, SessionWaiting, type StoreError } from "../../RunError.ts"
import {
  messagesOf,
  type Record,
  type Service,
  suspendedIn,
  transcriptOf,
  version
} from "../../services/SessionStore.ts"
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
  /** What an earlier execution of this durable run has kept of the turn. */
  readonly earlier: { readonly isWhole: boolean; readonly messages: Messages } | undefined
}

/** Reads the session that is held. `key` names the turn in its durable run. */
export const find = (
  { id, store }: Session,
  { seq }: Hold,
  key: string | undefined
): Effect.Effect<Found, StoreError> =>
  seq === 0
    ? Effect.succeed({ history: [], turn: 1, suspended: undefined, earlier: undefined })
    : Effect.flatMap(store.read(id, 0), (stored) => {
        const records = stored?.records ?? []
        const earlier = key === undefined ? undefined : earlierIn(records, key)
        if (earlier !== undefined) return Effect.succeed(earlier)
        const last = records.at(-1)
        const suspended = suspendedIn(records)
        const turn = (last?.turn ?? 0) + (suspended === undefined ? 1 : 0)
        const messages = messagesOf(records)
        // The process of a turn that is kept step by step may have died in the middle of one.
        const history = last?.status === "partial" ? settled(messages) : Effect.succeed(messages)
        return Effect.map(history, (history) => ({ history, turn, suspended, earlier: undefined }))
      })

/** The session as an earlier execution of a durable run found it, where that has kept the turn, or is the last to have kept of it. */
const earlierIn = (records: ReadonlyArray<Record>, key: string): Found | undefined => {
  const own = records.filter((record) => record.key === key)
  const last = own.at(-1)
  if (last === undefined) return undefined
  const isWhole = last.status === "completed"
  if (!isWhole && (last.status !== "partial" || records.at(-1) !== last)) return undefined
  const history = messagesOf(records.slice(0, records.indexOf(own[0]!)))
  return { history, turn: last.turn, suspended: undefined, earlier: { isWhole, messages: messagesOf(own) } }
}

/** The answers that an input stands for. */
const answersIn = new WeakMap<object, Suspension.Answers>()

/** An input that brings answers to what the session waits for. */
export const bringing = (answers: Suspension.Answers): Prompt.Prompt => {
  const input = Prompt.fromMessages([])
  answersIn.set(input, answers)
  return input
}

/** What the run of a turn is given, and what the turn adds to the conversation for it. */
interface Begun {
  readonly given: Prompt.RawInput
  readonly own: Messages
}

/**
 * Begins the turn. While the session waits, it can only go on: with answers, or with the transcript of its suspended turn and
 * answers in it.
 */
export const begin = (
  { id }: Session,
  { history, suspended, turn }: Found,
  input: Prompt.RawInput,
  path: ReadonlyArray<string>
): Effect.Effect<Begun, SessionWaiting | InvalidApproval> =>
  Effect.suspend((): Effect.Effect<Begun, SessionWaiting | InvalidApproval> => {
    const answers = typeof input === "string" ? undefined : answersIn.get(input)
    const prompt = promptIn(input)
    if (suspended === undefined && answers === undefined) {
      const own = newIn(prompt?.content ?? [], history)
      // What a turn had waited for that has been answered, or given up, is not done once more.
      if (turn > 1 && Suspension.waitingAt(prompt) !== undefined) return Effect.fail(answeredAlready(own, path))
      return Effect.succeed({ given: prompt === undefined ? input : Prompt.fromMessages([...history, ...own]), own })
    }
    const transcript = suspended === undefined ? Prompt.empty : transcriptOf(history, suspended)
    const own = suspended?.input?.content ?? []
    if (answers !== undefined) {
      const problem = Suspension.problemOf(transcript, answers)
      if (problem !== undefined) return Effect.fail(new InvalidApproval({ ...problem, path }))
      if (suspended !== undefined) return Effect.succeed({ given: Suspension.answer(transcript, answers), own })
    }
    if (prompt !== undefined && suspended !== undefined && isAnswered(prompt, transcript)) {
      return Effect.succeed({ given: prompt, own })
    }
    return Effect.fail(new SessionWaiting({ session: id, waitingFor: Suspension.pending(transcript) }))
  })

/**
 * What an input adds to the conversation. A workflow whose member the session is goes on with all that was said, and so does a
 * client that keeps the conversation too: it is not said twice.
 */
const newIn = (given: Messages, history: Messages): Messages =>
  history.length > 0 && given.length > history.length && startsWith(given, history)
    ? given.slice(history.length)
    : given

const answeredAlready = (messages: Messages, path: ReadonlyArray<string>): InvalidApproval => {
  const responses = messages.flatMap((message) =>
    message.role === "tool" ? message.content.filter((part) => part.type === "tool-approval-response") : []
  )
  const approvalId = responses.at(-1)?.approvalId ?? path.join("/")
  return new InvalidApproval({
    path,
    approvalId,
    reason: "unknown",
    problem: "the session does not wait for it any more"
  })
}

const isAnswered = (prompt: Prompt.Prompt, transcript: Prompt.Prompt): boolean =>
  prompt.content.length > transcript.content.length &&
  Suspension.waitingAt(prompt) !== undefined &&
  startsWith(prompt.content, transcript.content)

/** A turn under way. */
export interface Turn {
  readonly session: Session
  readonly hold: Hold
  readonly found: Found
  /** Names the turn in its durable run. */
  readonly key: string | undefined
  /** The messages of its input, which it adds to the conversation. */
  readonly own: Messages
  readonly state: RunState
  /** The snapshot before the turn, and what takes another one; `undefined` for a session without files. */
  readonly files: { readonly before: string; readonly take: Effect.Effect<string | undefined> } | undefined
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
    Effect.flatMap(isAsleep(exit), (asleep) => {
      // The durable run takes the turn again, or has taken it before.
      if (asleep || turn.found.earlier?.isWhole === true) return exit
      const suspended = suspensionOf(exit)
      if (suspended !== undefined) return Effect.andThen(addSuspended(turn, suspended), exit)
      return Effect.flatMap(addedBy(turn, exit), (messages) => {
        const isContinued = turn.kept.length > 0 && startsWith(messages, turn.kept)
        const added = isContinued ? messages.slice(turn.kept.length) : messages
        if (added.length === 0) return exit
        const fields = { status: endingOf(exit), messages: Prompt.fromMessages(added), continues: isContinued }
        return Effect.andThen(add(turn, fields), exit)
      })
    })
  )

/** The transcript of a suspended run that can go on. */
const suspensionOf = (exit: Exit.Exit<unknown, unknown>): Prompt.Prompt | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  if (!(error instanceof RunSuspended)) return transcriptIn(isWaiting(error) ? error : undefined)
  return error.blockedBy === undefined ? error.transcript : undefined
}

const addSuspended = (turn: Turn, { content }: Prompt.Prompt) => {
  const { found, own } = turn
  const follows = startsWith(content, found.history)
  return add(turn, {
    status: "suspended",
    messages: Prompt.fromMessages(follows ? content.slice(found.history.length) : content),
    continues: false,
    follows,
    input: Prompt.fromMessages(own)
  })
}

/** Adds the steps that the turn has completed by now. When that cannot be done, the end of the turn does it. */
export const keepSteps = (turn: Turn): Effect.Effect<void> => {
  const said = turn.state.transcript?.said
  // A step without a tool call is the last one.
  if (said === undefined || said.messages.at(-1)?.role !== "tool") return Effect.void
  const messages = newMessages(turn, said)
  if (turn.found.earlier?.isWhole === true || startsWith(turn.kept, messages)) return Effect.void
  const isContinued = startsWith(messages, turn.kept)
  const added = isContinued ? messages.slice(turn.kept.length) : messages
  return Effect.ignore(
    Effect.map(
      add(turn, {
        status: "partial",
        messages: Prompt.fromMessages(added),
        continues: isContinued && turn.kept.length > 0
      }),
      () => {
        turn.kept = messages
      }
    )
  )
}

type Fields = Pick<Record, "status" | "messages" | "continues" | "follows" | "input">

/** The snapshots of a turn for its record. What is kept step by step has the second one when it ends. */
const filesOf = ({ files, kept }: Turn, { status }: Fields): Effect.Effect<Pick<Record, "files">> => {
  if (files === undefined) return Effect.succeed({})
  const { before, take } = files
  if (status === "partial") return Effect.succeed(kept.length === 0 ? { files: { before } } : {})
  return Effect.map(take, (after) => ({ files: after === undefined ? { before } : { before, after } }))
}

const add = (turn: Turn, fields: Fields): Effect.Effect<void, StoreError | SessionConflict> =>
  Effect.flatMap(Effect.all([Clock.currentTimeMillis, filesOf(turn, fields)]), ([at, files]) => {
    const { found, hold, key, session, state } = turn
    const { path, runId } = state.info
    const place = key === undefined ? {} : { key }
    const record: Record = { v: version, turn: found.turn, at, runId, path, ...place, ...fields, ...files }
    const { owner, seq: expectedSeq } = hold
    const release = fields.status !== "partial"
    const addition = { expectedSeq, records: [record], owner, release }
    return Effect.map(session.store.append(session.id, addition), (seq) => {
      hold.seq = seq
      hold.isGivenBack = release
    })
  })

const endingOf = (exit: Exit.Exit<unknown, unknown>): "completed" | "failed" | "interrupted" => {
  if (Exit.isSuccess(exit)) return "completed"
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"
}

/** The messages that a turn adds. None for one that leaves nothing. */
const addedBy = (turn: Turn, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Messages> => {
  const { own, session, state } = turn
  const said = session.isAgent ? state.transcript?.said : undefined
  if (said === undefined) {
    return Effect.succeed(Exit.isSuccess(exit) ? [...own, ...answerOf(session.runner, exit.value)] : [])
  }
  if (Exit.isSuccess(exit)) return Effect.succeed(newMessages(turn, said))
  if (session.onFailure === "discard" || said.messages.length <= said.given) return Effect.succeed([])
  return settled(newMessages(turn, said))
}

/** What is new in a conversation that goes on from the history. */
const newMessages = ({ found: { history }, own }: Turn, { given, messages }: Said): Messages =>
  startsWith(messages, history)
    ? messages.slice(history.length)
    : // A middleware changed what the run was given.
      [...own, ...messages.slice(given)]

const answerOf = (runner: unknown, output: unknown): Messages => {
  if (output === undefined) return []
  const text = typeof output === "string" ? output : JSON.stringify(encodeOutput(runner, output))
  return [answerText(text)]
}

const startsWith = (messages: Messages, start: Messages): boolean =>
  messages.length >= start.length &&
  start.every((message, index) => message === messages[index] || Equal.equals(message, messages[index]))
