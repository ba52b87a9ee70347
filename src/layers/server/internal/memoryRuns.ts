/** Runs that are kept in this process, with their events. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Prompt from "effect/ai/Prompt"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Inbox from "../../../Inbox.ts"
import { Refusal } from "../../../internal/refusal.ts"
import { CurrentState } from "../../../internal/runState.ts"
import { isTerminal, type RunEvent } from "../../../RunEvent.ts"
import * as Runner from "../../../Runner.ts"
import {
  type Ended,
  type FollowOptions,
  type Info,
  RunsError,
  type Service,
  type StartOptions,
  type Status
} from "../../../services/Runs.ts"
import type { Limits } from "./memoryLimits.ts"

/** Whether who follows a run only looks on: a paced run waits for it, and still for its clients while none of them reads. */
export const IsOnlooker: Context.Reference<boolean> = Context.Reference<boolean>("troupe/Runs/IsOnlooker", {
  defaultValue: () => false
})

interface Reader {
  /** The `seq` of the next event that it takes. */
  position: number
  readonly isOnlooker: boolean
  /** Closed while it waits for an event. */
  readonly news: Latch.Latch
}

/** A run that is kept. */
class Entry {
  readonly runner: string
  readonly inbox: Inbox.Inbox
  readonly options: StartOptions
  readonly readers = new Set<Reader>()
  readonly refusal = new Refusal()
  /** Closed while a paced run waits for its readers. */
  readonly room = Latch.makeUnsafe(true)
  /** Empty until it has begun. */
  runId = ""
  startedAt = 0
  readonly events: Array<RunEvent> = []
  /** The `seq` of the first of `events`. */
  firstSeq = 0
  nextSeq = 0
  bytes = 0
  /** How far the slowest reader of a paced run had come when the last one left. */
  read = 0
  /** Called when the run has its id. */
  begun: (() => void) | undefined
  fiber: Fiber.Fiber<unknown> | undefined
  ended: Ended | undefined
  endedAt = 0
  /** Runs the same runner again; kept only of a run that is suspended. */
  again: Again | undefined
  /** The id of the run that goes on with it; empty while that begins. */
  resumedAs: string | undefined
  /** Suspended, and given up since. */
  isGivenUp = false
  /** The run that this one goes on with, while this one runs. */
  resumes: Entry | undefined

  constructor(runner: string, options: StartOptions, inbox: Inbox.Inbox, resumes: Entry | undefined) {
    this.runner = runner
    this.options = options
    this.inbox = inbox
    this.resumes = resumes
  }
}

type Again = (answered: Prompt.Prompt, options: StartOptions) => Effect.Effect<string, RunsError>

/** Makes the engine. Runs end with the scope. */
export const make = (limits: Limits): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const kept = new Kept(limits)
    const starting = (entry: Entry, run: Effect.Effect<unknown>) => startIn(scope, kept, entry, run)
    if (limits.expiryMs < Number.MAX_SAFE_INTEGER) {
      const sweep = Effect.map(Clock.currentTimeMillis, (now) => kept.expire(now))
      yield* Effect.forkScoped(Effect.forever(Effect.delay(sweep, Math.max(1000, limits.expiryMs / 2))))
    }
    const begin = <I, A, E, R>(
      runner: Runner.Runner<I, A, E, R>,
      input: I,
      options: StartOptions,
      resumes: Entry | undefined
    ): Effect.Effect<string, RunsError, R> =>
      Effect.flatMap(Inbox.make, (inbox) =>
        Effect.contextWith((context: Context.Context<R>) => {
          const entry = new Entry(runner.name, options, inbox, resumes)
          const again: Again = (answered, next) =>
            // A suspended run goes on with its own transcript, also where its runner takes another input.
            Effect.provideContext(begin(runner, answered as typeof input, { ...options, ...next }, entry), context)
          return starting(entry, Effect.provideContext(pump(kept, entry, runner, input, again), context))
        })
      )
    return {
      start: (runner, input, options = {}) => begin(runner, input, options, undefined),
      follow: (runId, options) => follow(kept, runId, options),
      poll: (runId) => Effect.map(kept.find(runId), infoOf),
      list: Effect.sync(() => kept.all().map(infoOf).toReversed()),
      input: (runId, prompt, delivery) =>
        Effect.flatMap(kept.find(runId), ({ ended, inbox }) =>
          ended === undefined ? inbox[delivery](prompt) : notListening(runId)
        ),
      interrupt: (runId) => Effect.flatMap(kept.find(runId), interrupted),
      giveUp: (runId) =>
        Effect.map(kept.find(runId), (entry) => {
          entry.isGivenUp ||= entry.ended?._tag === "RunSuspended" && entry.resumedAs === undefined
        }),
      resume: (runId, answered, options = {}) =>
        Effect.flatMap(kept.find(runId), (entry) => {
          const { again } = entry
          if (again === undefined || entry.isGivenUp || entry.resumedAs !== undefined) return notWaiting(runId, entry)
          // Before the run begins, so that of two answers only one counts.
          entry.resumedAs = ""
          return Effect.onExit(again(answered, options), (exit) =>
            Effect.sync(() => {
              // Unless it has refused the answers already.
              if (entry.resumedAs === "") entry.resumedAs = Exit.isSuccess(exit) ? exit.value : undefined
            })
          )
        })
    }
  })

const interrupted = ({ fiber }: Entry): Effect.Effect<void> =>
  fiber === undefined ? Effect.void : Fiber.interrupt(fiber)

const refuse = (reason: RunsError["reason"], runId: string, problem: string, remedy: string) =>
  Effect.fail(new RunsError({ reason, runId, problem, remedy }))

const notListening = (runId: string) =>
  refuse("not-listening", runId, "it takes no input", "Start a run with the conversation so far and the new input")

const notWaiting = (runId: string, entry: Entry) =>
  entry.resumedAs === undefined
    ? refuse("not-waiting", runId, "it does not wait for answers", "Only a suspended run is resumed")
    : refuse("not-waiting", runId, "it has been resumed already", "Follow the run that went on")

const infoOf = (entry: Entry): Info => ({
  runId: entry.runId,
  runner: entry.runner,
  status: statusOf(entry),
  owner: entry.options.owner,
  startedAt: entry.startedAt,
  firstSeq: entry.firstSeq,
  nextSeq: entry.nextSeq,
  ended: entry.ended,
  resumedAs: entry.resumedAs === "" ? undefined : entry.resumedAs
})

const statusOf = ({ ended, isGivenUp }: Entry): Status => {
  switch (ended?._tag) {
    case undefined:
      return "running"
    case "RunCompleted":
      return "completed"
    case "RunFailed":
      return "failed"
    case "RunSuspended":
      return isGivenUp ? "interrupted" : "suspended"
    case "RunInterrupted":
      return "interrupted"
  }
}

/** Every run that is kept, the oldest first, and what they take. */
class Kept {
  readonly limits: Limits
  readonly #runs = new Map<string, Entry>()
  #starting = 0
  #bytes = 0

  constructor(limits: Limits) {
    this.limits = limits
  }

  all(): ReadonlyArray<Entry> {
    return [...this.#runs.values()]
  }

  find(runId: string): Effect.Effect<Entry, RunsError> {
    return Effect.suspend(() => {
      const entry = this.#runs.get(runId)
      if (entry !== undefined) return Effect.succeed(entry)
      return refuse("unknown-run", runId, "this server does not know the run", "It may have expired: start it again")
    })
  }

  /** Makes room for one more run; false when all that are kept still run. */
  reserve(): boolean {
    while (this.#runs.size + this.#starting >= this.limits.runs) if (!this.#forgetOldest()) return false
    this.#starting++
    return true
  }

  release(): void {
    this.#starting--
  }

  begin(entry: Entry): void {
    this.#runs.set(entry.runId, entry)
  }

  /** Adds an event, and drops old ones beyond the limits. */
  append(entry: Entry, event: RunEvent): void {
    if (entry.events.length === 0) entry.firstSeq = event.seq
    entry.events.push(event)
    entry.nextSeq = event.seq + 1
    this.#grow(entry, sizeOf(event))
    while (entry.events.length > this.limits.events) this.#drop(entry)
    while (this.#bytes > this.limits.bytes && this.#forgetOldest()) continue
    while (this.#bytes > this.limits.bytes && entry.events.length > 1) this.#drop(entry)
  }

  expire(now: number): void {
    for (const entry of this.#runs.values()) {
      if (entry.ended !== undefined && now - entry.endedAt >= this.limits.expiryMs) this.#forget(entry)
    }
  }

  #grow(entry: Entry, bytes: number): void {
    entry.bytes += bytes
    this.#bytes += bytes
  }

  #drop(entry: Entry): void {
    this.#grow(entry, -sizeOf(entry.events.shift()!))
    entry.firstSeq = entry.events[0]?.seq ?? entry.nextSeq
  }

  #forgetOldest(): boolean {
    for (const entry of this.#runs.values()) {
      if (entry.ended === undefined) continue
      this.#forget(entry)
      return true
    }
    return false
  }

  #forget(entry: Entry): void {
    this.#runs.delete(entry.runId)
    this.#bytes -= entry.bytes
    entry.bytes = 0
  }
}

/** About how many bytes an event takes. Deltas, of which there are most, are not written out for it. */
const sizeOf = (event: RunEvent): number =>
  200 +
  (event._tag === "TextDelta" || event._tag === "ReasoningDelta"
    ? 2 * event.delta.length
    : 2 * JSON.stringify(event).length)

/** Runs the pump in the scope of the engine, and gives the id once the run has one. */
const startIn = (scope: Scope.Scope, kept: Kept, entry: Entry, run: Effect.Effect<unknown>) =>
  Effect.suspend(() => {
    if (!kept.reserve()) {
      const problem = `${kept.limits.runs} runs are kept, and all of them run`
      return refuse("full", "", problem, "Start it later, or raise the limit of runs")
    }
    const begun = Deferred.makeUnsafe<string, RunsError>()
    entry.begun = () => Deferred.doneUnsafe(begun, Exit.succeed(entry.runId))
    const ended = Effect.sync(() => {
      entry.fiber = undefined
      // Nothing happens where it has begun.
      Deferred.doneUnsafe(begun, refuse("engine", "", "the run ended before it began", "The log says why"))
    })
    return Effect.forkIn(Effect.ensuring(run, ended), scope).pipe(
      Effect.tap((fiber) => Effect.sync(() => (entry.fiber = fiber))),
      Effect.andThen(Deferred.await(begun)),
      // Given up before it began: no one knows the run.
      Effect.onInterrupt(() => interrupted(entry)),
      Effect.ensuring(Effect.sync(() => kept.release()))
    )
  })

/** Runs the runner and keeps its events. It never fails: its end is its terminal event. */
const pump = <I, A, E, R>(
  kept: Kept,
  entry: Entry,
  runner: Runner.Runner<I, A, E, R>,
  input: I,
  again: Again
): Effect.Effect<unknown, never, R> => {
  // An observer is given the terminal event of an interrupted run too, which a stream that is ended is not.
  const observed = Runner.onEvent(runner, (event) =>
    Effect.map(Clock.currentTimeMillis, (now) => keep(kept, entry, event, now, again))
  )
  const run =
    entry.options.deltas === false
      ? observed.result(input)
      : Effect.provideService(
          Stream.runForEach(observed.stream(input), () => pace(kept, entry)),
          Runner.StreamBuffer,
          Math.min(16, kept.limits.ahead)
        )
  // A run that is started inside of another one is not a part of it.
  return Effect.provideService(Effect.exit(Inbox.listen(run, entry.inbox)), CurrentState, undefined)
}

const keep = (kept: Kept, entry: Entry, event: RunEvent, now: number, again: Again): void => {
  const isFirst = entry.runId === ""
  if (isFirst) {
    entry.runId = event.runId
    entry.startedAt = now
    kept.begin(entry)
  }
  kept.append(entry, event)
  entry.refusal.read(event)
  if (isTerminal(event) && event.runId === entry.runId) {
    entry.ended = event
    entry.endedAt = now
    if (event._tag === "RunSuspended") entry.again = again
    // It can be answered again.
    if (entry.resumes !== undefined && entry.refusal.isOne) entry.resumes.resumedAs = undefined
    entry.resumes = undefined
  }
  if (isFirst) {
    entry.begun?.()
    // It holds all that the run was begun with, the request of a client too.
    entry.begun = undefined
  }
  for (const { news } of entry.readers) news.openUnsafe()
}

const slowest = (entry: Entry): number => {
  let least = Number.POSITIVE_INFINITY
  let isRead = false
  for (const { isOnlooker, position } of entry.readers) {
    least = Math.min(least, position)
    isRead ||= !isOnlooker
  }
  return isRead ? least : Math.min(least, entry.read)
}

/** Waits until a paced run is not too far ahead of its slowest reader. */
const pace = (kept: Kept, entry: Entry): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (entry.options.paced !== true || entry.ended !== undefined) return Effect.void
    if (entry.nextSeq - slowest(entry) < kept.limits.ahead) return Effect.void
    entry.room.closeUnsafe()
    return Effect.andThen(entry.room.await, pace(kept, entry))
  })

const follow = (kept: Kept, runId: string, { from = 0 }: FollowOptions = {}): Stream.Stream<RunEvent, RunsError> =>
  Stream.unwrap(
    Effect.flatMap(Effect.all([kept.find(runId), IsOnlooker]), ([entry, isOnlooker]) => {
      const first = from === "now" ? (entry.ended?.seq ?? entry.nextSeq) : from
      const reader: Reader = { position: first, isOnlooker, news: Latch.makeUnsafe(false) }
      const open = Effect.acquireRelease(
        Effect.sync(() => entry.readers.add(reader)),
        () => Effect.sync(() => leave(entry, reader))
      )
      return Effect.as(open, Stream.fromPull(Effect.succeed(take(entry, reader))))
    })
  )

const leave = (entry: Entry, reader: Reader): void => {
  entry.readers.delete(reader)
  if (!reader.isOnlooker) entry.read = Math.max(entry.read, reader.position)
  entry.room.openUnsafe()
}

/** All events from the reader's position on; waits for the next one. What was given before has been read by then. */
const take = (
  entry: Entry,
  reader: Reader
): Effect.Effect<Arr.NonEmptyReadonlyArray<RunEvent>, RunsError | Cause.Done> => {
  let given = reader.position
  const pull: ReturnType<typeof take> = Effect.suspend(() => {
    if (reader.position !== given) {
      reader.position = given
      entry.room.openUnsafe()
    }
    if (given < entry.firstSeq) {
      const problem = `the events before ${entry.firstSeq} are not kept any more`
      return refuse("events-lost", entry.runId, problem, `Follow it from ${entry.firstSeq}, or from "now"`)
    }
    const next = entry.events.slice(given - entry.firstSeq)
    if (Arr.isReadonlyArrayNonEmpty(next)) {
      given = next.at(-1)!.seq + 1
      return Effect.succeed(next)
    }
    if (entry.ended !== undefined) return Cause.done()
    reader.news.closeUnsafe()
    return Effect.andThen(reader.news.await, pull)
  })
  return pull
}
