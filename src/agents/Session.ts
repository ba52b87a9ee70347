/**
 * Conversations that outlive their runs: a runner whose every run is a turn of one session, kept in the `SessionStore` of
 * the program.
 */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import { assertName, assertOptions } from "../internal/definition.ts"
import { replayable } from "../internal/input.ts"
import type { RunState } from "../internal/runState.ts"
import { InvalidDefinition, type SessionConflict, type StoreError } from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import * as Runner from "../Runner.ts"
import { ConversationId } from "../services/CurrentRun.ts"
import { SessionStore } from "../services/SessionStore.ts"
import { type WhenBusy, withSession } from "./internal/sessionQueue.ts"
import * as SessionTurn from "./internal/sessionTurn.ts"

/** What a session adds to the errors of its runner. */
export type Failure = StoreError | SessionConflict

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
   * - `"interrupt"`: it interrupts that turn, which fails with `SessionConflict`, and takes its place;
   * - `"reject"`: it fails with `SessionConflict`.
   */
  readonly whenBusy?: WhenBusy | undefined
}

const known: ReadonlySet<string> = new Set(["onFailure", "whenBusy"])
/** Ids are keys of a database's index. */
const maxIdLength = 512

const assertOneOf = (subject: string, option: string, value: unknown, values: ReadonlyArray<string>): void => {
  if (value === undefined || (typeof value === "string" && values.includes(value))) return
  throw new InvalidDefinition({
    subject,
    problem: `${option} is ${JSON.stringify(value)}`,
    remedy: `Use one of: ${values.join(", ")}`
  })
}

/**
 * Makes a runner whose runs are turns of session `id`: the conversation so far is read before a run and goes before its
 * input, and what the run adds to it is kept when it ends. It is the runner's own run, with its name, events and usage.
 *
 * Turns of one session happen one after the other, also those of several processes that share a database; different
 * sessions do not wait for each other. A turn is kept as a whole: one that fails, is interrupted or dies with its process
 * leaves nothing, unless `onFailure: "keep"` is set. Of an agent every message is kept, with tool calls and their results;
 * of another runner the input and the output, as texts.
 *
 * It fails as its runner does, with `StoreError` when the store cannot be used, and with `SessionConflict` when the session
 * is not its own to go on with: also for a run of the session inside of its own turn, which would wait for itself. Throws
 * `InvalidDefinition` for an id that is empty or longer than 512 characters.
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
export const of = <A, E, R>(
  runner: Runner.Runner<Prompt.RawInput, A, E, R>,
  id: string,
  options: Options = {}
): Runner.Runner<Prompt.RawInput, A, E | Failure, R | SessionStore> => {
  assertSession(runner, id, options)
  const { onFailure = "discard", whenBusy = "queue" } = options
  const { definition } = runner
  const isAgent = definition.structure().kind === "agent"
  // Only turns that are kept step by step look at events.
  const underWay = new Map<string, SessionTurn.Turn>()
  const body = (given: Prompt.RawInput, state: RunState): Effect.Effect<A, E | Failure, R | SessionStore> =>
    Effect.flatMap(SessionStore, (store) => {
      const input = replayable(given)
      const session = { id, store, onFailure, isAgent, runner }
      return withSession(store, id, whenBusy, (hold, restore) =>
        Effect.flatMap(SessionTurn.find(session, hold), (found) => {
          const turn: SessionTurn.Turn = { session, hold, found, input, state, kept: [] }
          const prompt = SessionTurn.inputOf(found.history, input)
          const run = Effect.provideService(
            Effect.suspend(() => definition.body(prompt ?? input, state)),
            ConversationId,
            id
          )
          const { runId } = state.info
          underWay.set(runId, turn)
          return Effect.ensuring(
            SessionTurn.take(turn, run, restore),
            Effect.sync(() => underWay.delete(runId))
          )
        })
      )
    })
  const onEvent = (event: RunEvent): Effect.Effect<void> => {
    const turn = event._tag === "StepCompleted" ? underWay.get(event.runId) : undefined
    return turn === undefined ? Effect.void : SessionTurn.keepSteps(turn)
  }
  const observers = isAgent && onFailure === "keep" ? [...definition.observers, onEvent] : definition.observers
  return Runner.fromDefinition(runner.name, runner.description, { ...definition, session: id, observers, body })
}

const assertSession = (runner: unknown, id: unknown, options: Options): void => {
  const subject = `session ${JSON.stringify(id)}`
  if (!Runner.isRunner(runner)) {
    throw new InvalidDefinition({
      subject,
      problem: "what it is made of is not a runner",
      remedy: "Give it one: Session.of(agent, id)"
    })
  }
  assertName("a session", id, 'Give it an id: Session.of(agent, "user-42")')
  if (String(id).length > maxIdLength) {
    throw new InvalidDefinition({
      subject: `session "${String(id).slice(0, 40)}..."`,
      problem: `its id has ${String(id).length} characters`,
      remedy: `Use at most ${maxIdLength}`
    })
  }
  assertOptions(subject, options, known)
  assertOneOf(subject, "onFailure", options.onFailure, ["discard", "keep"])
  assertOneOf(subject, "whenBusy", options.whenBusy, ["queue", "interrupt", "reject"])
}
