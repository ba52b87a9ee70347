/**
 * Conversations that outlive their runs: a runner whose every run is a turn of one session, kept in the `SessionStore` of
 * the program.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Prompt from "effect/ai/Prompt"
import { assertName, assertOneOf, assertOptions, countOf, invalid, namesOf } from "../internal/definition.ts"
import { decided, decidedHere, text } from "../internal/decided.ts"
import { promptIn, replayable } from "../internal/input.ts"
import { isStorable } from "../internal/storable.ts"
import type { RunState } from "../internal/runState.ts"
import { CurrentMail, Mail } from "../internal/inbox.ts"
import { formOf, journalOf } from "../internal/journaled.ts"
import { type InvalidApproval, SessionConflict, type SessionWaiting, StoreError } from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import * as Runner from "../Runner.ts"
import { Sandbox, type Service as SandboxService, type Snapshot, WorkspaceError } from "../services/Sandbox.ts"
import * as Step from "../Step.ts"
import { agreeTo, restoreIn } from "../Workspace.ts"
import { ConversationId } from "../services/CurrentRun.ts"
import { type Service, SessionStore } from "../services/SessionStore.ts"
import { steer, type WhenBusy, withSession } from "./internal/sessionQueue.ts"
import * as SessionTurn from "./internal/sessionTurn.ts"

/** What a session adds to the errors of its runner. */
export type Failure = StoreError | SessionConflict | SessionWaiting | InvalidApproval

/** Options of {@link of}. */
export interface Options {
  /**
   * What a turn that fails or is interrupted leaves in the session: nothing (`"discard"`, the default), or the steps that it
   * completed (`"keep"`), so that the next turn does not make their tool calls again.
   */
  readonly onFailure?: "discard" | "keep" | undefined
  /**
   * What a run does while a turn of the session is under way, in this process or another one:
   *
   * - `"queue"`, the default: it waits for its turn; runs of one process keep their order;
   * - `"steer"`: that turn takes its input before its next model call, and it returns what that turn returns. When the turn
   *   is another process's or another runner's, or ends before it takes the input, it waits for its own turn, and so does a
   *   durable run;
   * - `"interrupt"`: it interrupts that turn, which fails with `SessionConflict`, and takes its place;
   * - `"reject"`: it fails with `SessionConflict`.
   */
  readonly whenBusy?: WhenBusy | undefined
  /**
   * What happens to the files of the agent's `Sandbox` when the conversation goes back to an earlier turn: they stay as they are
   * (`"keep"`, the default), or {@link rewind} can put them back (`"rewind"`).
   */
  readonly files?: "keep" | undefined
}

/** Options of {@link of} for a session whose files can be put back. */
export interface RewindOptions extends Omit<Options, "files"> {
  readonly files: "rewind"
}

const known = namesOf<Options>({ onFailure: true, whenBusy: true, files: true })
/** Ids are keys of a database's index. */
const maxIdLength = 512

/**
 * Makes a runner whose runs are turns of session `id`: the conversation so far is read before a run and goes before its
 * input, and what the run adds to it is kept when it ends. It is the runner's own run, with its name, events and usage.
 *
 * Turns of one session happen one after the other, also those of several processes that share a database; different
 * sessions do not wait for each other. A turn is kept as a whole: one that fails, is interrupted or dies with its process
 * leaves nothing, unless `onFailure: "keep"` is set. Of an agent every message is kept, with tool calls and their results;
 * of another runner the input and the output, as texts.
 *
 * A turn that is suspended, because it waits for an approval, a tool that the caller runs or an event, is kept as well: go on
 * with {@link resume}, also in another process. Until then a new turn fails with `SessionWaiting`.
 *
 * With `files: "rewind"` each turn notes a snapshot of the files of the program's `Sandbox` before and after it, see
 * {@link rewind}; a turn fails with `WorkspaceError` when that cannot be done before it.
 *
 * It fails as its runner does, with `StoreError` when the store cannot be used, and with `SessionConflict` when the session
 * is not its own to go on with: also for a run of the session inside of its own turn, which would wait for itself. Throws
 * `InvalidDefinition` for an id that is empty, longer than 512 characters, or not one that databases keep (NUL, half a surrogate pair).
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Session, SessionStore } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer briefly." })
 * const chat = Session.of(clerk, "user-42")
 * const program = Effect.gen(function* () {
 *   yield* chat.run("My name is Ada.")
 *   return yield* chat.run("What is 2 + 40?")
 * }).pipe(Effect.provide([SessionStore.layerMemory, DemoModel.layer]))
 */
export function of<A, E, R>(
  runner: Runner.Runner<Prompt.RawInput, A, E, R>,
  id: string,
  options: RewindOptions
): Runner.Runner<
  Prompt.RawInput,
  A,
  E | StoreError | SessionConflict | SessionWaiting | InvalidApproval | WorkspaceError,
  R | SessionStore | Sandbox
>
export function of<A, E, R>(
  runner: Runner.Runner<Prompt.RawInput, A, E, R>,
  id: string,
  options?: Options
): Runner.Runner<
  Prompt.RawInput,
  A,
  // Not `Failure`: it has an error of an agent too, and for unions that overlap an editor shows the name of neither.
  E | StoreError | SessionConflict | SessionWaiting | InvalidApproval,
  R | SessionStore
>
export function of<A, E, R>(
  runner: Runner.Runner<Prompt.RawInput, A, E, R>,
  id: string,
  options: Options | RewindOptions = {}
): Runner.Runner<Prompt.RawInput, A, E | Failure | WorkspaceError, R | SessionStore | Sandbox> {
  return options.files === "rewind" ? make(runner, id, options, noted) : make(runner, id, options, Effect.undefined)
}

/** A snapshot before a turn, and what takes the one after it, which the turn does not fail by. */
const noted = Effect.flatMap(Sandbox, ({ snapshots }: SandboxService) => {
  const take = Effect.map(snapshots.take, ({ id }) => id)
  // A durable run that is made again finds what its tools have written before.
  return Effect.map(decidedHere("files", take, text), (before) => ({
    before,
    take: Effect.match(take, { onSuccess: (id): string | undefined => id, onFailure: () => undefined })
  }))
})

const make = <A, E, R, E2, R2>(
  runner: Runner.Runner<Prompt.RawInput, A, E, R>,
  id: string,
  options: Options | RewindOptions,
  files: Effect.Effect<SessionTurn.Turn["files"], E2, R2>
): Runner.Runner<Prompt.RawInput, A, E | E2 | Failure, R | R2 | SessionStore> => {
  assertSession(runner, id, options)
  const { onFailure = "discard", whenBusy = "queue" } = options
  const { definition } = runner
  const isAgent = definition.structure().kind === "agent"
  // Only turns that are kept step by step look at events.
  const underWay = new Map<string, SessionTurn.Turn>()
  const takeTurn = (store: Service, input: Prompt.RawInput, state: RunState) => {
    const session = { id, store, onFailure, isAgent, runner }
    const { path, runId } = state.info
    return withSession(store, id, whenBusy, (hold, restore) =>
      Effect.gen(function* () {
        const key = yield* keyOf(state)
        const found = yield* SessionTurn.find(session, hold, key)
        const { given, own } = yield* SessionTurn.begin(session, found, input, path)
        const { isWhole = false, messages: kept = [] } = found.earlier ?? {}
        const noted = isWhole ? undefined : yield* files
        const turn: SessionTurn.Turn = { session, hold, found, key, own, state, files: noted, kept }
        const run = Effect.suspend(() => definition.body(given, state))
        underWay.set(runId, turn)
        return yield* listening(
          (mail, exit) => hold.listens({ key: definition, mail, exit }),
          (listens) => SessionTurn.take(turn, listens(Effect.provideService(run, ConversationId, id)), restore)
        ).pipe(Effect.ensuring(Effect.sync(() => underWay.delete(runId))))
      })
    )
  }
  const body = (given: Prompt.RawInput, state: RunState): Effect.Effect<A, E | E2 | Failure, R | R2 | SessionStore> =>
    Effect.flatMap(SessionStore, (store) => {
      const input = replayable(given)
      const own = Effect.suspend(() => takeTurn(store, input, state))
      return whenBusy === "steer" ? steeringOr(own, { store, id, definition, input }) : own
    })
  const onEvent = (event: RunEvent): Effect.Effect<void> => {
    const turn = event._tag === "StepCompleted" ? underWay.get(event.runId) : undefined
    return turn === undefined ? Effect.void : SessionTurn.keepSteps(turn)
  }
  const observers = isAgent && onFailure === "keep" ? [...definition.observers, onEvent] : definition.observers
  return Runner.fromDefinition(runner.name, runner.description, { ...definition, session: id, observers, body })
}

/** A message to a session. */
interface Message {
  readonly store: Service
  readonly id: string
  readonly definition: object
  readonly input: Prompt.RawInput
}

/** Gives the input to the turn that is under way, and ends as it does; `own`, a turn of its own, where none takes it. */
const steeringOr = <A, E, R>(
  own: Effect.Effect<A, E, R>,
  { definition, id, input, store }: Message
): Effect.Effect<A, E | SessionConflict, R> =>
  Effect.withFiber((fiber) => {
    // A durable run that is made again could not know that another turn has taken its input.
    const prompt = journalOf(fiber) === undefined ? promptIn(input) : undefined
    if (prompt === undefined) return own
    return Effect.flatMap(steer(store, id, definition, prompt), (exit): Effect.Effect<A, E | SessionConflict, R> => {
      if (exit === undefined) return own
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) {
        return Effect.fail(new SessionConflict({ session: id, reason: "interrupted", expectedSeq: 0 }))
      }
      // The turn was one of the same runner.
      return exit as Exit.Exit<A, E>
    })
  })

/**
 * Names a turn in its durable run: a run that is made again takes it once. Another run under the same key, in another database
 * or after the first one was removed, takes turns of its own. `undefined` in any other run.
 */
const keyOf = (state: RunState): Effect.Effect<string | undefined> =>
  Effect.withFiber((fiber) =>
    journalOf(fiber) === undefined ? Effect.undefined : decided(state, "session", randomId, text)
  )

const randomId = Effect.sync((): string => globalThis.crypto.randomUUID())

type Same = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** The run of a turn takes messages that steer it: by the inbox that it has, or by one of its own. */
const listening = <A, E, R>(
  begins: (mail: Mail, exit: Deferred.Deferred<Exit.Exit<unknown, unknown>>) => void,
  turn: (listens: Same) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const exit = Deferred.makeUnsafe<Exit.Exit<unknown, unknown>>()
    const outer = fiber.getRef(CurrentMail)
    const mail = outer ?? new Mail()
    const whole = (listens: Same) =>
      Effect.onExit(turn(listens), (how) => Effect.sync(() => Deferred.doneUnsafe(exit, Effect.succeed(how))))
    begins(mail, exit)
    if (outer !== undefined) return whole((run) => run)
    mail.open()
    const close = Effect.sync(() => mail.close())
    return whole((run) => Effect.ensuring(Effect.provideService(run, CurrentMail, mail), close))
  })

/**
 * An input for a session that waits: the answers, by the ids of what it waits for, as `Runner.answer` takes them. For `stream`
 * and `result`; {@link resume} runs with it. What is not answered goes on waiting.
 *
 * @example
 * import { Stream } from "effect"
 * import { Agent, Approvals, RunEvent, Session } from "troupe"
 *
 * const chat = Session.of(Agent.make("clerk", {}), "user-42")
 * const text = (id: string) => RunEvent.text(chat.stream(Session.answers({ [id]: Approvals.approve })))
 */
export const answers = (given: Readonly<Record<string, Runner.Answer>>): Prompt.RawInput => SessionTurn.bringing(given)

/**
 * Goes on with the suspended turn of a session: `chat.run` with answers, by the ids of `SessionStore.pending`. It is the same
 * turn, at the members that wait. Fails with `InvalidApproval` for an id that nothing waits for.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Approvals, Session, SessionStore } from "troupe"
 *
 * const chat = Session.of(Agent.make("clerk", {}), "user-42")
 * const program = Effect.gen(function* () {
 *   const waiting = yield* SessionStore.pending("user-42")
 *   const approved = Object.fromEntries(waiting.map(({ id }) => [id, Approvals.approve]))
 *   return yield* Session.resume(chat, approved)
 * })
 */
export const resume = <A, E, R>(
  chat: Runner.Runner<Prompt.RawInput, A, E, R>,
  given: Readonly<Record<string, Runner.Answer>>
): Effect.Effect<A, E, R> => chat.run(answers(given))

/** Options of {@link rewind}. */
export interface RewindTo {
  /** The number of the turn, from 1, before which the conversation and the files are to be. */
  readonly before: number
  /** True when the user has been asked already. Default `false`: the approver around is asked. */
  readonly approved?: boolean | undefined
}

/**
 * A runner that goes back in a session with `files: "rewind"`: it puts the files back as they were before turn `before`, and copies
 * the turns before it to the new session `to`, as `SessionStore.fork` does. It gives the paths that it changed.
 *
 * The files are put back first, and only when they are as a turn of the session left or found them: when a person changed
 * them meanwhile it fails with `WorkspaceError` and changes nothing. It asks the approver around, see `Workspace.restore`, and
 * its stream has the event `FilesRestored`. Fails with `SessionConflict` when `to` exists already or `from` does not.
 *
 * @example
 * import { Effect } from "effect"
 * import { Approvals, Session } from "troupe"
 *
 * const program = Session.rewind("user-42", "user-42-again", { before: 3 }).run().pipe(
 *   Effect.provide(Approvals.layer(() => Effect.succeed(Approvals.approve)))
 * )
 */
export const rewind = (
  from: string,
  to: string,
  options: RewindTo
): Runner.Runner<void, ReadonlyArray<string>, Failure | WorkspaceError, SessionStore | Sandbox> => {
  assertOptions("Session.rewind", options, knownOfRewind)
  countOf("Session.rewind", "before", options.before)
  return Runner.make("rewind", {
    description: `Goes back in session ${from}`,
    output: Schema.Array(Schema.String),
    run: () =>
      Effect.gen(function* () {
        // A durable run that goes on has decided, and gone back: it neither asks nor looks once more.
        const { expected, target } = yield* decidedHere("plan", planned(from, to, options), plans)
        return yield* Step.run("rewind", rewound, goBack({ from, to, target, expected }, options))
      })
  })
}

const knownOfRewind = namesOf<RewindTo>({ before: true, approved: true })

/** From which files to which a rewind goes, by their snapshots. */
const Plan = Schema.Struct({ expected: Schema.String, target: Schema.String })
const plans = formOf(Plan)

/** Looks where the session is and where it was, and asks. */
const planned = (
  from: string,
  to: string,
  { approved, before }: RewindTo
): Effect.Effect<typeof Plan.Type, Failure | WorkspaceError, SessionStore | Sandbox> =>
  Effect.gen(function* () {
    const store = yield* SessionStore
    const sandbox = yield* Sandbox
    const stored = yield* store.read(from, 0)
    const notes = (stored?.records ?? []).flatMap(({ files, turn }) =>
      files === undefined ? [] : [{ ...files, turn }]
    )
    const target = notes.find(({ turn }) => turn >= before)?.before ?? notes.at(-1)?.after
    if (target === undefined) {
      const detail = `session ${JSON.stringify(from)} has noted no files; make it with files: "rewind"`
      return yield* new WorkspaceError({ reason: "Unknown", detail })
    }
    if ((yield* store.read(to, 0)) !== undefined) {
      return yield* new SessionConflict({ session: to, reason: "exists", expectedSeq: 0 })
    }
    const seen = notes.flatMap(({ after, before }) => (after === undefined ? [before] : [before, after]))
    const now = yield* sandbox.snapshots.take
    const expected: Snapshot = seen.includes(now.id) ? now : { id: seen.at(-1)! }
    yield* agreeTo(sandbox, { id: target }, { expected, approved })
    return { expected: expected.id, target }
  })

/** How the outcome of a rewind is kept. */
const rewound = {
  success: Schema.Array(Schema.String),
  error: Schema.Union([StoreError, SessionConflict, WorkspaceError])
}

interface Back extends Schema.Schema.Type<typeof Plan> {
  readonly from: string
  readonly to: string
}

const goBack = (
  { expected, from, target, to }: Back,
  { before }: RewindTo
): Effect.Effect<ReadonlyArray<string>, StoreError | SessionConflict | WorkspaceError, SessionStore | Sandbox> =>
  Effect.gen(function* () {
    const store = yield* SessionStore
    const sandbox = yield* Sandbox
    const changes = yield* restoreIn(sandbox, { id: target }, { expected: { id: expected }, approved: true })
    yield* store.fork(from, to, before)
    return changes.map(({ path }) => path)
  })

const assertSession = (runner: unknown, id: unknown, options: Options | RewindOptions): void => {
  const subject = `session ${JSON.stringify(id)}`
  if (!Runner.isRunner(runner)) {
    throw invalid(subject, "what it is made of is not a runner", "Give it one: Session.of(agent, id)")
  }
  assertName("a session", id, 'Give it an id: Session.of(agent, "user-42")')
  if (String(id).length > maxIdLength) {
    throw invalid(
      `session "${String(id).slice(0, 40)}..."`,
      `its id has ${String(id).length} characters`,
      `Use at most ${maxIdLength}`
    )
  }
  if (!isStorable(String(id))) {
    throw invalid(
      subject,
      "its id has a NUL or half of a surrogate pair in it, which databases do not keep",
      "Use a text of whole characters, without NUL"
    )
  }
  assertOptions(subject, options, known)
  assertOneOf(subject, "onFailure", options.onFailure, ["discard", "keep"])
  assertOneOf(subject, "files", options.files, ["keep", "rewind"])
  assertOneOf(subject, "whenBusy", options.whenBusy, ["queue", "steer", "interrupt", "reject"])
}
