/**
 * One execution of a run: claims it, runs it with its journal, and says how it ended, that it sleeps, or nothing when
 * another execution has it now.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import { areThere } from "../../../internal/compensation.ts"
import { messageOf } from "../../../internal/message.ts"
import { encodeError, toJson } from "../../../internal/json.ts"
import { DurableError } from "../../../RunError.ts"
import { RunEvent } from "../../../RunEvent.ts"
import type { Ended, Execute, OnUnknown, Wait } from "./engine.ts"
import { missingEnds } from "./closing.ts"
import { EventLog } from "./eventLog.ts"
import * as Journal from "./journal.ts"
import type { Nudges } from "./nudges.ts"
import type { Persist } from "./persist.ts"
import { recording } from "./recording.ts"
import type { Claim, Tables } from "./tables.ts"

/** What this process executes for a definition. */
export interface Program {
  readonly execute: Execute
  readonly onUnknown: OnUnknown
  /** Completed when the services that it uses are about to end. */
  readonly closing: Deferred.Deferred<void>
  /** One for each of its executions, completed when that has ended. */
  readonly active: Set<Deferred.Deferred<void>>
}

/** What an execution needs of its surroundings. */
export interface Surroundings {
  readonly tables: Tables
  /** Names the process in the table of runs. */
  readonly worker: string
  /** The program of the definition in this process. Waits until there is one. */
  readonly program: Effect.Effect<Program>
  /** Whether the engine was to wake this execution by this name. */
  readonly isWoken: (wake: string) => Effect.Effect<boolean>
  readonly persist: Persist
  /** Has the engine wake this execution by these names, and gives the run up until then. */
  readonly sleep: (wakes: ReadonlyArray<string>) => Effect.Effect<"ready" | "asleep">
  /** Called after each write that others wait for. */
  readonly nudge: Nudges["nudge"]
  /** How long steps that are under way may take when the run is handed to another process, in milliseconds. */
  readonly drainMillis: number
  /** Whether the engine is about to end, and maybe what runs use with it. */
  readonly isClosing: () => boolean
}

type Verdict =
  | { readonly _tag: "Ended"; readonly ended: Ended }
  | { readonly _tag: "Asleep"; readonly waits: ReadonlyArray<Wait> }
  | { readonly _tag: "Elsewhere" }

/** Executes a run until it has ended, sleeps, or is another's. */
export const execute = (runId: string, on: Surroundings): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (true) {
      const now = yield* Clock.currentTimeMillis
      const program = yield* on.program
      const claim = yield* on.persist(on.tables.claim(runId, on.worker, now))
      if (claim === undefined) return
      const ended = Deferred.makeUnsafe<void>()
      program.active.add(ended)
      const verdict = yield* Effect.ensuring(
        once(claim, program, on),
        Effect.sync(() => {
          program.active.delete(ended)
          Deferred.doneUnsafe(ended, Effect.void)
        })
      )
      const goesOn = yield* settle(claim, verdict, on)
      if (!goesOn) return
    }
  })

/** Writes the verdict. True when the run is to be executed again at once. */
const settle = (claim: Claim, verdict: Verdict, on: Surroundings): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    // The process that has the run now goes on with it. If the engine still asks this one, the next claim decides.
    if (verdict._tag === "Elsewhere") return yield* Effect.as(Effect.sleep(500), true)
    if (verdict._tag === "Ended") {
      const { ended } = verdict
      yield* on.persist(on.tables.setRun(claim, { state: stateOf(ended), ended: JSON.stringify(ended) }, now))
      yield* on.nudge(claim.run.id)
      return false
    }
    const { waits } = verdict
    const slept = yield* on.persist(on.tables.setRun(claim, { state: "suspended", waits: JSON.stringify(waits) }, now))
    yield* on.nudge(claim.run.id)
    if (!slept) return true
    return (yield* on.sleep(waits.map(({ wake }) => wake))) === "ready"
  })

const stateOf = (ended: Ended) =>
  ended._tag === "Output" ? "completed" : ended._tag === "Interrupted" ? "interrupted" : "failed"

/** Runs the program once, from its start, with what is kept. */
const once = (claim: Claim, program: Program, on: Surroundings): Effect.Effect<Verdict> =>
  Effect.gen(function* () {
    const { persist, tables } = on
    const host: Journal.Host = {
      claim,
      tables,
      isWoken: on.isWoken,
      onUnknown: program.onUnknown,
      persist,
      now: Clock.currentTimeMillis
    }
    const execution = Journal.make(host, `run_${claim.run.id}`)
    const kept = yield* persist(keptEvents(tables, claim, claim.lastSeq))
    const recorded = recording(kept)
    let used: () => Schema.Json | undefined = () => undefined
    const write = (first: number, events: ReadonlyArray<RunEvent>) =>
      Effect.tap(persist(tables.addEvents(claim, first, events.map(encodeEvent), used())), (isWritten) => {
        if (isWritten) recorded.written(events)
        return on.nudge(claim.run.id)
      })
    const log = new EventLog(write, kept, claim.run.generation)
    const start = {
      input: claim.run.input,
      journal: execution.journal,
      decide: execution.decide,
      ask: execution.ask,
      onEvent: (event: RunEvent) => note(event, { claim, execution, log }, on),
      measure: (measured: typeof used) => {
        used = measured
      },
      recordBy: recorded.by
    }
    const fiber = Effect.runFork(Effect.suspend(() => program.execute(start)))
    const flushing = Effect.runFork(Effect.forever(Effect.andThen(Effect.sleep(50), log.flush)))
    const halted = Effect.flatMap(Deferred.await(execution.stopped), (stop) => {
      // What had finished of a run that fails is undone, so it has to be there first.
      const there = Journal.isFailure(stop) ? areThere(execution.journal) : Effect.void
      return Effect.andThen(there, Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber)))
    })
    const closing = Effect.as(Deferred.await(program.closing), undefined)
    const exit = yield* Effect.raceAllFirst([Fiber.await(fiber), halted, closing]).pipe(
      Effect.flatMap((exit) =>
        exit === undefined
          ? Effect.andThen(Effect.uninterruptible(handOver({ claim, fiber, execution, log }, on)), Fiber.await(fiber))
          : Effect.succeed(exit)
      ),
      Effect.onInterrupt(() => handOver({ claim, fiber, execution, log }, on)),
      Effect.ensuring(Effect.andThen(Fiber.interrupt(flushing), log.flush))
    )
    const verdict = verdictOf(exit, execution, claim, log)
    if (verdict._tag === "Ended" && verdict.ended._tag !== "Interrupted" && !log.isClosed) {
      const kept = yield* persist(keptEvents(tables, claim))
      const now = yield* Clock.currentTimeMillis
      for (const event of missingEnds(kept, rootOf(claim), verdict.ended, now)) log.add(event)
      yield* log.flush
    }
    return verdict
  })

const encodeEvent = (event: RunEvent): Schema.Json => toJson(Schema.encodeSync(RunEvent)(event))

/** As they were written: they are compared, and go nowhere. */
const keptEvents = (
  tables: Tables,
  { run }: Claim,
  lastSeq?: number
): Effect.Effect<ReadonlyArray<RunEvent>, SqlError> =>
  Effect.map(tables.allEvents(run.id, lastSeq), (events) => events as unknown as ReadonlyArray<RunEvent>)

/** A run that goes to sleep, or to another process, has not ended, so what its runners say of that is not kept. */
const note = (
  event: RunEvent,
  { claim, execution, log }: Pick<UnderWay, "claim" | "execution" | "log">,
  on: Surroundings
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const stop = execution.stop()
    const goesOn = execution.waits.size > 0 || stop !== undefined
    if (goesOn && (event._tag === "RunInterrupted" || event._tag === "RunSuspended")) return Effect.void
    // What the run uses may be closing with this process. What fails by itself fails again elsewhere.
    if (event._tag === "RunFailed" && (stop?._tag === "Draining" || on.isClosing())) log.stop()
    const adding = Effect.suspend(() => {
      log.add(event)
      return log.isFull ? Effect.asVoid(log.flush) : Effect.void
    })
    return log.leavesOpen(event) ? Effect.andThen(closeNested(claim, log, on, event.at), adding) : adding
  })

/** Ends the runs that are open inside of one that ends: of a job that slept and was cancelled it was only kept that it slept. */
const closeNested = (claim: Claim, log: EventLog, on: Surroundings, now: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* log.flush
    const kept = yield* on.persist(keptEvents(on.tables, claim))
    for (const event of missingEnds(kept, rootOf(claim), { _tag: "Interrupted" }, now)) {
      if (event.path.length > 1) log.add(event)
    }
  })

const rootOf = ({ run }: Claim) => ({ runId: `run_${run.id}`, name: run.name })

/** An execution under way. */
interface UnderWay {
  readonly claim: Claim
  readonly fiber: Fiber.Fiber<Schema.Json, Schema.Json>
  readonly execution: Journal.Execution
  readonly log: EventLog
}

/**
 * The engine interrupts an execution when the run was interrupted, and when another process gets it. In the first case
 * everything is interrupted at once. In the second the steps under way may end, so that their outcomes are kept.
 */
const handOver = ({ claim, execution, fiber, log }: UnderWay, on: Surroundings): Effect.Effect<void> =>
  Effect.gen(function* () {
    const now = yield* Effect.option(on.tables.find(claim.run.id))
    const isOurs = now._tag === "Some" && now.value?.epoch === claim.epoch && now.value.state === "running"
    if (isOurs) {
      execution.drain()
      yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), on.drainMillis)
    }
    yield* Fiber.interrupt(fiber)
    const ended = yield* Fiber.await(fiber)
    if (!isOurs || isInterrupted(ended)) return
    // What ended while it was handed over has ended.
    const verdict = verdictOf(ended, execution, claim, log)
    if (verdict._tag === "Ended") yield* settle(claim, verdict, on)
  })

const isInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)

const verdictOf = (
  exit: Exit.Exit<Schema.Json, Schema.Json>,
  execution: Journal.Execution,
  claim: Claim,
  log: EventLog
): Verdict => {
  const stop = execution.stop()
  if (stop?._tag === "Fenced" || log.isStopped) return { _tag: "Elsewhere" }
  if (stop?._tag === "GivenUp" || stop?._tag === "Ambiguous") {
    return { _tag: "Ended", ended: { _tag: "Error", error: encodeError(refusal(claim, stop)) } }
  }
  if (Exit.isSuccess(exit)) return { _tag: "Ended", ended: { _tag: "Output", output: exit.value } }
  if (Cause.hasInterruptsOnly(exit.cause)) {
    if (stop !== undefined) return { _tag: "Elsewhere" }
    return execution.waits.size > 0
      ? { _tag: "Asleep", waits: [...execution.waits.values()] }
      : { _tag: "Ended", ended: { _tag: "Interrupted" } }
  }
  const error = Exit.findErrorOption(exit)
  return {
    _tag: "Ended",
    ended:
      error._tag === "Some"
        ? { _tag: "Error", error: error.value }
        : { _tag: "Defect", message: messageOf(Cause.squash(exit.cause)) }
  }
}

const refusal = ({ run }: Claim, stop: { readonly _tag: "GivenUp" | "Ambiguous"; readonly step: string }) =>
  stop._tag === "GivenUp"
    ? new DurableError({
        reason: "given-up",
        key: run.key,
        problem: `the step "${stop.step}" was given up: its outcome is not known`,
        remedy: "Start the run under another key when it is to be made again"
      })
    : new DurableError({
        reason: "engine",
        key: run.key,
        problem: `two pieces of work have the same place, "${stop.step}", so it is not known which outcome is whose`,
        remedy: "Give runs that start at once in a function names of their own, with Runner.named"
      })
