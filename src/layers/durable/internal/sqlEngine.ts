/**
 * The engine on SQL: our tables hold runs, steps and events; `cluster.ts` decides which process executes a run, and wakes
 * it. Loaded when a Layer of `Durable` is built, and not with `Durable`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { hash } from "../../../internal/fingerprint.ts"
import { toJson } from "../../../internal/json.ts"
import { messageOf } from "../../../internal/message.ts"
import { DurableError } from "../../../RunError.ts"
import { RunEvent } from "../../../RunEvent.ts"
import { missingEnds } from "./closing.ts"
import * as Cluster from "./cluster.ts"
import { clientFailure } from "../../../internal/suspension.ts"
import type { Answer, Ended, Kind, Ref, Service } from "./engine.ts"
import { hosting, prune } from "./hosting.ts"
import type { Answered } from "./journal.ts"
import * as Tables from "./tables.ts"

/** How the engine behaves, in milliseconds. */
export interface Settings extends Cluster.Timing {
  /** How long steps that are under way may take when a run is handed to another process. */
  readonly drain: number
  /** How long runs that have ended are kept; `undefined` keeps them. */
  readonly keep: number | undefined
}

/** The id of a run: made of its name and its key. */
export const idOf = ({ key, name }: Ref): string => hash([name, key]).slice(0, 32)

const unreachable = (key: string, cause: unknown): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: `the database failed: ${messageOf(cause)}`,
    remedy: "Check that it can be reached, and call again: what was done is not done twice"
  })

const unknownRun = ({ key, name }: Ref): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `there is no run of "${name}" with this key`,
    remedy: "Start it with run or submit, or check the key"
  })

const conflict = (run: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "key-conflict",
    key: run.key,
    problem: `"${run.name}" was started with this key and another input`,
    remedy: "Make the key of what tells two runs apart"
  })

const changed = (run: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "definition-changed",
    key: run.key,
    problem: `this run of "${run.name}" was started with another definition, and has not ended`,
    remedy: "Let a worker with that definition finish it, or interrupt it and start it under another key"
  })

/** Makes the engine. Everything that it starts ends with the scope. */
export const make = (sql: SqlClient.SqlClient, settings: Settings): Effect.Effect<Service, DurableError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Tables.migrate(sql)
    const tables = Tables.make(sql)
    const client = yield* Cluster.build(sql, settings, undefined)
    let latch = Latch.makeUnsafe(false)
    const nudges = {
      nudge: Effect.suspend(() => {
        const before = latch
        latch = Latch.makeUnsafe(false)
        return before.open
      }),
      /** Waits until something was written by this process, or a moment for other processes to write. */
      changes: Effect.suspend(() => Effect.raceFirst(latch.await, Effect.sleep(settings.poll)))
    }
    const hosts = yield* hosting(sql, settings, tables, nudges.nudge)
    return serviceOf({ tables, client, hosts, ...nudges })
  }).pipe(
    Effect.mapError((cause) => (cause instanceof DurableError ? cause : unreachable("", cause))),
    // The clock of a test does not move the leases of other processes.
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  )

interface Parts {
  readonly tables: Tables.Tables
  readonly client: Cluster.Node
  readonly hosts: Effect.Success<ReturnType<typeof hosting>>
  readonly nudge: Effect.Effect<unknown>
  readonly changes: Effect.Effect<unknown>
}

/** The name under which messages are sent to runs. */
const mailbox = "~inbox"

const attempts = { times: 3, schedule: Schedule.exponential(50) }

const serviceOf = ({ changes, client, hosts, nudge, tables }: Parts): Service => {
  const live = Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  const ask = <A>(key: string, statement: Effect.Effect<A, SqlError>): Effect.Effect<A, DurableError> =>
    live(Effect.mapError(Effect.retry(statement, attempts), (cause) => unreachable(key, cause)))
  const now = live(Clock.currentTimeMillis)
  /** A call of the engine, whose failures are defects. */
  const call = (key: string, effect: Effect.Effect<void>): Effect.Effect<void, DurableError> =>
    live(Effect.catchDefect(effect, (cause) => Effect.fail(unreachable(key, cause))))

  const find = (ref: Ref) => ask(ref.key, tables.find(idOf(ref)))
  const known = (ref: Ref): Effect.Effect<Tables.RunRow, DurableError> =>
    Effect.flatMap(find(ref), (run) => (run === undefined ? Effect.fail(unknownRun(ref)) : Effect.succeed(run)))
  const nodeFor = (fingerprint: string): Cluster.Node => hosts.nodeOf(fingerprint) ?? client
  const start = (run: Tables.RunRow) =>
    call(run.key, Cluster.start(nodeFor(run.fingerprint), run.fingerprint, Tables.executionIdOf(run)))
  const give = (run: Tables.RunRow, wake: string, value: unknown) =>
    call(
      run.key,
      Cluster.give(nodeFor(run.fingerprint), run.fingerprint, Tables.executionIdOf(run), wake, value as Schema.Json)
    )

  /** Ends the events of a run that no process ends. */
  const close = (run: Tables.RunRow): Effect.Effect<void, DurableError> =>
    Effect.gen(function* () {
      const kept: Array<RunEvent> = []
      for (let next = 0; ;) {
        const more = yield* ask(run.key, tables.events(run.id, next))
        if (more.length === 0) break
        kept.push(...(yield* readable(more)))
        next += more.length
      }
      const root = { runId: `run_${run.id}`, name: run.name }
      const own = missingEnds(kept, root, run.ended ?? { _tag: "Interrupted" }, yield* now)
      const [first] = own
      if (first === undefined) return
      yield* ask(run.key, tables.closeEvents(run.id, first.seq, own.map(encodeEvent)))
    })

  const submit: Service["submit"] = (kind, key, input) =>
    Effect.gen(function* () {
      const id = idOf({ name: kind.name, key })
      const at = yield* now
      const inputHash = hash(input)
      const row = {
        id,
        name: kind.name,
        key,
        fingerprint: kind.fingerprint,
        input,
        inputHash,
        createdAt: at,
        updatedAt: at
      }
      yield* ask(key, tables.create(row))
      const run = yield* known({ name: kind.name, key })
      if (run.inputHash !== inputHash) return yield* conflict(run)
      if (run.ended !== undefined) return id
      if (run.fingerprint !== kind.fingerprint) return yield* changed(run)
      // Also for a run that is there: the process that kept it may have ended before it could start it.
      if (run.state === "queued") yield* start(run)
      return id
    })

  const ended = (ref: Ref): Effect.Effect<Ended, DurableError> =>
    Effect.flatMap(known(ref), (run) =>
      run.ended === undefined ? Effect.andThen(live(changes), ended(ref)) : Effect.succeed(run.ended)
    )

  return {
    submit,
    host: (kind, execute, onUnknown) =>
      live(Effect.mapError(hosts.add(kind, execute, onUnknown), (cause) => unreachable("", cause))),
    schedule: (name, cron, run) =>
      live(Effect.mapError(hosts.schedule(name, cron, run), (cause) => unreachable("", cause))),
    find,
    get: known,
    byId: (id) => ask("", tables.find(id)),
    last: (ref) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        const last = yield* ask(ref.key, tables.lastSeqOf(run.id))
        return last < 0 ? undefined : (yield* readable(yield* ask(ref.key, tables.events(run.id, last)))).at(-1)
      }),
    post: (ref, message) =>
      Effect.gen(function* () {
        const { id } = yield* known(ref)
        const seq = yield* ask(ref.key, tables.sendSignal(id, mailbox, message))
        yield* live(nudge)
        while (true) {
          const isOver = (yield* known(ref)).ended !== undefined
          if (yield* ask(ref.key, tables.isTaken(id, mailbox, seq))) return true
          if (isOver) return false
          yield* live(changes)
        }
      }),
    mail: (id, take) =>
      Effect.gen(function* () {
        const begun = new Set<number>()
        while (true) {
          for (const { seq, value } of yield* ask("", tables.sent(id, mailbox))) {
            if (begun.has(seq)) continue
            begun.add(seq)
            const done = Effect.andThen(ask("", tables.take(id, mailbox, seq)), live(nudge))
            yield* Effect.forkChild(
              Effect.flatMap(take(value), (isTaken) => (isTaken ? Effect.ignore(done) : Effect.void))
            )
          }
          yield* live(changes)
        }
      }).pipe(Effect.retry(Schedule.spaced("1 second")), Effect.orDie),
    isServed: ({ fingerprint }: Kind) => {
      const group = Cluster.groupOf(fingerprint)
      return Effect.mapError(
        Effect.map(client.runners.getRunners, (runners) =>
          runners.some(([runner, isHealthy]) => isHealthy && runner.groups.includes(group))
        ),
        (cause) => unreachable("", cause)
      )
    },
    ended,
    interrupt: (ref) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        const at = yield* now
        if (!(yield* ask(ref.key, tables.interrupt(run.id, at)))) return
        // A process that executes it says so itself, with what was under way.
        if (run.state !== "running") yield* close(run)
        yield* live(nudge)
        yield* call(ref.key, Cluster.interrupt(nodeFor(run.fingerprint), run.fingerprint, Tables.executionIdOf(run)))
      }),
    signal: (ref, signal, value) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        if (run.ended !== undefined) return yield* hasEnded(ref, run)
        const seq = yield* ask(ref.key, tables.sendSignal(run.id, signal, value))
        yield* give(run, `signal/${signal}/${seq}`, null)
      }),
    decide: (ref, id, value) =>
      Effect.flatMap(known(ref), (run) => Effect.andThen(give(run, `decision/${id}`, value), live(nudge))),
    answer: (ref, step, answer) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        const wait = run.waits.find(({ id, kind }) => kind === "client-tool" && id === step)
        if (wait !== undefined) return yield* Effect.andThen(give(run, wait.wake, resultOf(answer)), live(nudge))
        const question = (yield* ask(ref.key, tables.stepsOf(run.id))).find(({ key }) => key === step)
        const at = yield* now
        const isAnswered =
          question?.state === "unknown" && (yield* ask(ref.key, tables.answerStep(run.id, question, answer, at)))
        if (!isAnswered) return yield* notAsked(ref, step)
        yield* give(run, `answer/${step}/${question.epoch}`, null)
      }),
    retry: (ref) =>
      Effect.gen(function* () {
        const before = yield* known(ref)
        const at = yield* now
        if (yield* ask(ref.key, tables.isUndone(before.id))) return yield* wasUndone(ref)
        if (!(yield* ask(ref.key, tables.requeue(before.id, at)))) return yield* notEnded(ref, before)
        yield* start(yield* known(ref))
      }),
    events: (ref, from) => eventsOf(ref, from, { known, ask, tables, close, changes: live(changes) }),
    steps: (ref) => Effect.flatMap(known(ref), (run) => ask(ref.key, tables.stepsOf(run.id))),
    list: (query) => ask("", tables.list(query)),
    prune: (before) => Effect.mapError(live(prune(tables, client, before)), (cause) => unreachable("", cause))
  }
}

/** The result of a tool that the client runs, as the run takes it. */
const resultOf = (answer: Answer): Answered => {
  switch (answer._tag) {
    case "Happened":
      return { result: answer.result }
    case "DidNotHappen":
      return { result: clientFailure("the client did not run it") }
    case "GiveUp":
      return { givenUp: true }
  }
}

const notAsked = ({ key }: Ref, step: string): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `no step "${step}" of this run waits for an answer`,
    remedy: "Durable.pending lists what a run waits for"
  })

const hasEnded = ({ key }: Ref, { state }: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `this run has ended (${state}), so it waits for nothing`,
    remedy: "Start another run under another key"
  })

const wasUndone = ({ key }: Ref): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: "what this run had finished was undone when it failed, so it cannot go on from there",
    remedy: "Start another run under another key"
  })

const notEnded = ({ key }: Ref, { state }: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: `this run is ${state}, so there is nothing to try again`,
    remedy: "Only a run that failed or was interrupted can be tried again"
  })

interface Reading {
  readonly known: (ref: Ref) => Effect.Effect<Tables.RunRow, DurableError>
  readonly ask: <A>(key: string, statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, DurableError>
  readonly tables: Tables.Tables
  readonly close: (run: Tables.RunRow) => Effect.Effect<void, DurableError>
  readonly changes: Effect.Effect<unknown>
}

interface Batch {
  readonly events: ReadonlyArray<RunEvent>
  /** The number of the next event; `undefined` after the last one. */
  readonly next: number | undefined
}

/** How often a run that was interrupted is looked at for events of the process that executed it. */
const lateLooks = 8

/** The events of a run from number `from` on, until it has ended. */
const eventsOf = (ref: Ref, from: number | "now", { ask, changes, close, known, tables }: Reading) => {
  const first = Effect.flatMap(known(ref), (run) =>
    from === "now" ? Effect.map(ask(ref.key, tables.lastSeqOf(run.id)), (last) => last + 1) : Effect.succeed(from)
  )
  const more = (next: number, looks: number): Effect.Effect<Batch, DurableError> =>
    Effect.gen(function* () {
      const run = yield* known(ref)
      const events = yield* ask(ref.key, tables.events(run.id, next))
      if (events.length > 0) return { events: yield* readable(events), next: next + events.length }
      if (run.ended !== undefined && (run.state !== "interrupted" || looks < 0)) return { events: [], next: undefined }
      // The process that executed it is gone too.
      if (run.ended !== undefined && looks === 0) yield* close(run)
      else yield* changes
      return yield* more(next, run.ended === undefined ? looks : looks - 1)
    })
  return Stream.unwrap(
    Effect.map(first, (start) =>
      Stream.flattenIterable(
        Stream.unfold(start as number | undefined, (next) =>
          next === undefined
            ? Effect.succeed(undefined)
            : Effect.map(
                more(next, lateLooks),
                ({ events, next }) => [events, events.some(isLast) ? undefined : next] as const
              )
        )
      )
    )
  )
}

const decodeEvent = Schema.decodeUnknownOption(RunEvent)
const encodeEvent = (event: RunEvent): Schema.Json => toJson(Schema.encodeSync(RunEvent)(event))

/** The events that can be read; what cannot be read is said. */
const readable = (events: ReadonlyArray<Schema.Json>): Effect.Effect<ReadonlyArray<RunEvent>> => {
  const read = events.map((event) => decodeEvent(event))
  const lost = read.filter(Option.isNone).length
  const said =
    lost === 0
      ? Effect.void
      : Effect.logWarning(`${lost} events of a durable run cannot be read: they are of another version, or torn`)
  return Effect.as(
    said,
    read.filter(Option.isSome).map(({ value }) => value)
  )
}

const isLast = (event: RunEvent): boolean =>
  event.path.length === 1 &&
  (event._tag === "RunCompleted" || event._tag === "RunFailed" || event._tag === "RunInterrupted")
