/**
 * The journal of one execution: it gives the kept outcomes of steps, keeps those of new ones, and puts the run to sleep.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { OutcomeUnknown } from "../../../RunError.ts"
import { isJsonObject } from "../../../internal/json.ts"
import type { Journal, Step } from "../../../services/Journal.ts"
import type { KeptStep, OnUnknown, Wait } from "./engine.ts"
import type { Persist } from "./persist.ts"
import { type Claim, keyText, signalText, signalWake, type Tables, type Written } from "./tables.ts"

/** Why an execution stops before its run has ended. */
export type Stop =
  /** Another execution has begun, or the run was interrupted: nothing of this one counts. */
  | { readonly _tag: "Fenced" }
  /** The run is handed to another process: no new step begins. */
  | { readonly _tag: "Draining" }
  /** A person gave a step up. */
  | { readonly _tag: "GivenUp"; readonly step: string }
  /** Two pieces of work have one place. */
  | { readonly _tag: "Ambiguous"; readonly step: string }

/** Whether a run that stops so has failed: what had finished of it is undone. */
export const isFailure = (stop: Stop | undefined): boolean => stop?._tag === "GivenUp" || stop?._tag === "Ambiguous"

/** What the journal needs of the engine. */
export interface Host {
  readonly claim: Claim
  readonly tables: Tables
  /** Whether the run was to be woken by this name. */
  readonly isWoken: (wake: string) => Effect.Effect<boolean>
  readonly onUnknown: OnUnknown
  readonly persist: Persist
  readonly now: Effect.Effect<number>
}

/** The journal of an execution, and what became of it. */
export interface Execution {
  readonly journal: Journal
  /** What the run waits for, by what wakes it. */
  readonly waits: ReadonlyMap<string, Wait>
  /** Completed when the execution has to stop at once. */
  readonly stopped: Deferred.Deferred<Stop>
  readonly stop: () => Stop | undefined
  /** Lets the steps that are under way end, and begins no other. */
  readonly drain: () => void
  readonly decide: (wait: Omit<Wait, "wake">) => Effect.Effect<Schema.Json>
  readonly ask: (wait: Omit<Wait, "wake">) => Effect.Effect<Schema.Json>
}

/** The name under which a decision is sent to a run. */
export const decisionName = (id: string): string => signalText(`~decision/${id}`)
/** The name under which a result is sent to a run that asks for it. */
export const resultName = (id: string): string => signalText(`~result/${id}`)

/** What is given to a run that asks for a result. */
export type Answered = { readonly result: Schema.Json } | { readonly givenUp: true }

/** Interrupts the fiber itself, so that nothing between here and the end of the run takes it for a failure to handle. */
const asleep: Effect.Effect<never> = Effect.interruptible(
  Effect.callback<never>(() => {
    const fiber = Fiber.getCurrent()!
    fiber.interruptUnsafe(fiber.id)
  })
)

/** How long a sleep may be, in milliseconds, that is not worth giving the process up. */
const shortSleep = 1000

/** What one execution knows. */
interface Desk {
  readonly host: Host
  readonly kept: Map<string, Pick<KeptStep, "state" | "value">>
  readonly begun: Set<string>
  readonly waits: Map<string, Wait>
  readonly stopped: Deferred.Deferred<Stop>
  stop: Stop | undefined
}

/** Makes the journal of one execution. */
export const make = (host: Host, rootId: string): Execution => {
  const desk: Desk = {
    host,
    kept: new Map(host.claim.steps.map((step) => [step.key, step])),
    begun: new Set(),
    waits: new Map(),
    stopped: Deferred.makeUnsafe<Stop>(),
    stop: undefined
  }
  const given = (wait: Omit<Wait, "wake">, name: string): Effect.Effect<Schema.Json> =>
    Effect.flatMap(host.persist(host.tables.takeFirst(host.claim, name)), (value) =>
      value === undefined ? waitFor(desk, { ...wait, wake: signalWake(name, 0) }) : Effect.succeed(value)
    )
  return {
    journal: {
      rootId,
      run: (step, effect) => run(desk, asKept(step), effect),
      kept: ({ key }) =>
        Effect.sync(() => {
          const found = desk.kept.get(keyText(key))
          return found?.state === "done" ? Option.some(found.value) : Option.none()
        }),
      signal: (step, problemWith) => signal(desk, { ...step, key: keyText(step.key) }, problemWith),
      sleep: (step, duration) => sleep(desk, asKept(step), duration),
      earlier: (name) =>
        host.claim.steps.flatMap((step) =>
          step.kind === "decision" && step.name === keyText(name) && step.state === "done"
            ? [{ key: step.key, value: step.value }]
            : []
        ),
      hasFailed: () => isFailure(desk.stop),
      suspending: Effect.sync(() => desk.waits.size > 0 || desk.stop !== undefined),
      suspend: asleep
    },
    waits: desk.waits,
    stopped: desk.stopped,
    stop: () => desk.stop,
    drain: () => {
      desk.stop ??= { _tag: "Draining" }
    },
    decide: (wait) => given(wait, decisionName(wait.id)),
    ask: (wait) =>
      Effect.flatMap(given(wait, resultName(wait.id)), (json) =>
        isJsonObject(json) && json["result"] !== undefined
          ? Effect.succeed(json["result"])
          : halt(desk, { _tag: "GivenUp", step: wait.id })
      )
  }
}

/** A step under the key and the name that databases keep. */
const asKept = (step: Step): Step => ({ ...step, key: keyText(step.key), name: keyText(step.name) })

const halt = (desk: Desk, why: Stop): Effect.Effect<never> =>
  Effect.suspend(() => {
    desk.stop ??= why
    Deferred.doneUnsafe(desk.stopped, Effect.succeed(why))
    return asleep
  })

const waitFor = (desk: Desk, wait: Wait): Effect.Effect<never> =>
  Effect.suspend(() => {
    // By what wakes it: an approval and a signal may have one id.
    if (desk.stop === undefined) desk.waits.set(wait.wake, wait)
    return asleep
  })

type Outcome = Effect.Effect<Schema.Json, Schema.Json>

const outcomeOf = (desk: Desk, key: string, { state, value }: Pick<KeptStep, "state" | "value">): Outcome => {
  if (state === "done") return Effect.succeed(value)
  const isGivenUp = isJsonObject(value) && value["givenUp"] === true
  return isGivenUp
    ? halt(desk, { _tag: "GivenUp", step: key })
    : Effect.fail(isJsonObject(value) ? value["error"]! : null)
}

const run = (desk: Desk, step: Step, effect: Outcome): Outcome =>
  Effect.suspend(() => {
    const { begun, kept, stop } = desk
    // A run that has failed so gives what is kept, to know what had finished of it, and undoes that.
    if (stop !== undefined && !isFailure(stop)) return asleep
    const found = kept.get(step.key)
    const isAgain = begun.has(step.key)
    begun.add(step.key)
    if (isAgain && step.kind !== "decision") return halt(desk, { _tag: "Ambiguous", step: step.key })
    if (found?.state === "done" || found?.state === "failed") return outcomeOf(desk, step.key, found)
    if (stop !== undefined && step.kind !== "compensation") return asleep
    if (step.idempotent) return repeatable(desk, step, effect)
    return found === undefined ? once(desk, step, effect) : ask(desk, step, effect)
  })

/** A step that may run again unasked: its outcome is written, and nothing before. */
const repeatable = (desk: Desk, step: Step, effect: Outcome): Outcome =>
  runAndKeep(desk, step, effect, (state, value) => insert(desk, step, state, value))

/** A step that may not: its intent is written before, and its outcome after. */
const once = (desk: Desk, step: Step, effect: Outcome): Outcome =>
  Effect.andThen(
    insert(desk, step, "intent", null),
    runAndKeep(desk, step, effect, (state, value) => {
      const { claim, now, persist, tables } = desk.host
      return Effect.flatMap(now, (at) => persist(tables.finishStep(claim, step.key, state, value, at))).pipe(
        Effect.flatMap((written) => unless(desk, step.key, written === "taken" ? "fenced" : written))
      )
    })
  )

/** An earlier execution began the step, and did not say what became of it. */
const ask = (desk: Desk, step: Step, effect: Outcome): Outcome =>
  Effect.gen(function* () {
    const { claim, now, onUnknown, persist, tables } = desk.host
    const found = yield* persist(tables.askStep(claim, step.key, yield* now))
    if (found === undefined) return yield* once(desk, step, effect)
    if (found.state === "done" || found.state === "failed") return yield* outcomeOf(desk, step.key, found)
    const { key } = claim.run
    const question = new OutcomeUnknown({ run: claim.run.name, key, step: step.key, name: step.name })
    const answer = yield* onUnknown(question)
    if (answer !== undefined) {
      yield* persist(tables.answerStep(claim.run.id, step, answer, yield* now))
      // What was answered first counts, and that may have been from outside.
      return yield* ask(desk, step, effect)
    }
    // Who waits for the run sees nothing of it.
    yield* Effect.logWarning(question.message)
    const wake = `answer/${step.key}/${found.epoch}`
    return yield* waitFor(desk, { kind: "outcome", id: step.key, name: step.name, wake })
  })

/** Runs the step, and keeps its outcome before anything sees it. */
const runAndKeep = (
  desk: Desk,
  step: Step,
  effect: Outcome,
  keep: (state: "done" | "failed", value: string) => Effect.Effect<void>
): Outcome =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.exit(restore(effect)), (exit) => {
      const failed = Exit.findErrorOption(exit)
      if (Exit.isFailure(exit) && Option.isNone(failed)) return exit
      const [state, value] = Exit.isSuccess(exit)
        ? (["done", exit.value] as const)
        : (["failed", { error: Option.getOrNull(failed) }] as const)
      return Effect.andThen(keep(state, JSON.stringify(value)), () => {
        desk.kept.set(step.key, { state, value })
        return exit
      })
    })
  )

const unless = (desk: Desk, step: string, written: Written): Effect.Effect<void> =>
  written === "written"
    ? Effect.void
    : halt(desk, written === "fenced" ? { _tag: "Fenced" } : { _tag: "Ambiguous", step })

const insert = (desk: Desk, step: Step, state: KeptStep["state"], value: string | null): Effect.Effect<void> => {
  const { claim, now, persist, tables } = desk.host
  return Effect.flatMap(now, (at) =>
    persist(tables.insertStep(claim, { key: step.key, kind: step.kind, name: step.name, state }, value, at))
  ).pipe(Effect.flatMap((written) => unless(desk, step.key, written)))
}

/** Takes the next value that was sent under the name of the step, or waits for it. */
const signal = (
  desk: Desk,
  step: Step,
  problemWith: (payload: Schema.Json) => string | undefined
): Effect.Effect<Schema.Json> =>
  Effect.suspend(() => {
    if (desk.stop !== undefined) return asleep
    const found = desk.kept.get(step.key)
    if (found !== undefined) return Effect.succeed(found.value)
    const { claim, now, persist, tables } = desk.host
    const name = signalText(step.name)
    const taking = Effect.flatMap(now, (at) => persist(tables.takeSignal(claim, { ...step, name }, problemWith, at)))
    return taking.pipe(
      Effect.flatMap((taken): Effect.Effect<Schema.Json> => {
        if (taken._tag === "Fenced") return halt(desk, { _tag: "Fenced" })
        if (taken._tag === "None") {
          const wake = signalWake(name, taken.next)
          return waitFor(desk, { kind: "signal", id: step.name, name: step.name, wake })
        }
        desk.kept.set(step.key, { state: "done", value: taken.value })
        const refused = taken.problems.map((problem) => Effect.logWarning(`signal "${step.name}": ${problem}`))
        return Effect.as(Effect.all(refused, { discard: true }), taken.value)
      })
    )
  })

/** Sleeps until a time that is kept when it first begins. */
const sleep = (desk: Desk, step: Step, duration: Duration.Duration): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { claim, isWoken, now, persist, tables } = desk.host
    const end = Effect.map(now, (at) => at + Math.ceil(Duration.toMillis(duration)))
    const until = Number(yield* Effect.orDie(run(desk, { ...step, kind: "decision", idempotent: true }, end)))
    const left = until - (yield* now)
    if (left <= 0) return
    if (left <= shortSleep) return yield* Effect.sleep(left)
    const wake = `sleep/${step.key}`
    // The clock of the process that woke the run counts, also where the one of this process is late.
    if (yield* isWoken(wake)) return
    yield* persist(tables.wakeAt(claim.run, wake, until))
    return yield* waitFor(desk, { kind: "sleep", id: step.key, name: step.name, wake, until })
  })
