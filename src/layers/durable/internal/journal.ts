/**
 * The journal of one execution: it gives the kept outcomes of steps, keeps those of new ones, and puts the run to sleep.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { CurrentJournal, type Journal, none, type Step } from "../../../services/Journal.ts"
import type { KeptStep, Wait } from "./engine.ts"
import type { Claim, Tables, Written } from "./tables.ts"

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

/** What the journal needs of the engine. */
export interface Host {
  readonly claim: Claim
  readonly tables: Tables
  /** The value that was given for a wait. */
  readonly given: (wake: string) => Effect.Effect<Option.Option<Schema.Json>>
  /** Runs a statement until it succeeds. */
  readonly persist: <A>(statement: Effect.Effect<A, unknown>) => Effect.Effect<A>
  readonly now: Effect.Effect<number>
  /** Wakes the run at this time. */
  readonly wakeAt: (name: string, until: number) => Effect.Effect<void>
}

/** The journal of an execution, and what became of it. */
export interface Execution {
  readonly journal: Journal
  /** What the run waits for, by id. */
  readonly waits: ReadonlyMap<string, Wait>
  /** Completed when the execution has to stop at once. */
  readonly stopped: Deferred.Deferred<Stop>
  readonly stop: () => Stop | undefined
  /** Lets the steps that are under way end, and begins no other. */
  readonly drain: () => void
  readonly decide: (wait: Omit<Wait, "wake">) => Effect.Effect<Schema.Json>
}

/** Interrupts the fiber itself, so that nothing between here and the end of the run takes it for a failure to handle. */
const asleep: Effect.Effect<never> = Effect.interruptible(
  Effect.callback<never>(() => {
    const fiber = Fiber.getCurrent()!
    fiber.interruptUnsafe(fiber.id)
  })
)

/** How long a sleep may be that is not worth giving the process up. */
const shortSleep = 1000

/** Makes the journal of one execution. */
export const make = (host: Host, rootId: string): Execution => {
  const { claim, now, persist, tables } = host
  const kept = new Map(claim.steps.map((step) => [step.key, step]))
  const begun = new Set<string>()
  const waits = new Map<string, Wait>()
  const stopped = Deferred.makeUnsafe<Stop>()
  let stop: Stop | undefined

  const halt = (why: Stop): Effect.Effect<never> =>
    Effect.suspend(() => {
      stop ??= why
      Deferred.doneUnsafe(stopped, Effect.succeed(why))
      return asleep
    })
  const waitFor = (wait: Wait): Effect.Effect<never> =>
    Effect.suspend(() => {
      waits.set(wait.id, wait)
      return asleep
    })

  const outcomeOf = (step: KeptStep): Effect.Effect<Schema.Json, Schema.Json> => {
    if (step.state === "done") return Effect.succeed(step.value)
    const isGivenUp = isObject(step.value) && step.value["givenUp"] === true
    return isGivenUp ? halt({ _tag: "GivenUp", step: step.key }) : Effect.fail(step.value)
  }

  const unless = (step: string, written: Written): Effect.Effect<void> =>
    written === "written" ? Effect.void : halt(written === "fenced" ? { _tag: "Fenced" } : { _tag: "Ambiguous", step })

  /** Runs the step, and keeps its outcome before anything sees it. */
  const runAndKeep = (
    effect: Effect.Effect<Schema.Json, Schema.Json>,
    keep: (state: "done" | "failed", value: string) => Effect.Effect<void>
  ): Effect.Effect<Schema.Json, Schema.Json> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(Effect.provideService(effect, CurrentJournal, none))), (exit) => {
        if (Exit.isSuccess(exit)) return Effect.andThen(keep("done", JSON.stringify(exit.value)), exit)
        const error = Exit.findErrorOption(exit)
        return Option.isNone(error) ? exit : Effect.andThen(keep("failed", JSON.stringify(error.value)), exit)
      })
    )

  const insert = (step: Step, state: KeptStep["state"], value: string | null) =>
    Effect.flatMap(now, (at) =>
      persist(tables.insertStep(claim, { key: step.key, kind: step.kind, name: step.name, state }, value, at))
    ).pipe(Effect.flatMap((written) => unless(step.key, written)))

  /** A step that may run again unasked: its outcome is written, and nothing before. */
  const repeatable = (step: Step, effect: Effect.Effect<Schema.Json, Schema.Json>) =>
    runAndKeep(effect, (state, value) => insert(step, state, value))

  /** A step that may not: its intent is written before, and its outcome after. */
  const once = (step: Step, effect: Effect.Effect<Schema.Json, Schema.Json>) =>
    Effect.andThen(
      insert(step, "intent", null),
      runAndKeep(effect, (state, value) =>
        Effect.flatMap(now, (at) => persist(tables.finishStep(claim, step.key, state, value, at))).pipe(
          Effect.flatMap((written) => unless(step.key, written === "taken" ? "fenced" : written))
        )
      )
    )

  /** An earlier execution began the step, and did not say what became of it. */
  const ask = (step: Step, effect: Effect.Effect<Schema.Json, Schema.Json>) =>
    Effect.flatMap(now, (at) => persist(tables.askStep(claim, step.key, at))).pipe(
      Effect.flatMap((found) => {
        if (found === undefined) return once(step, effect)
        if (found.state === "done" || found.state === "failed") return outcomeOf(found)
        const wake = `answer/${step.key}/${found.epoch}`
        return waitFor({ kind: "outcome", id: step.key, name: step.name, wake })
      })
    )

  const begin = (key: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (stop !== undefined) return asleep
      if (begun.has(key)) return halt({ _tag: "Ambiguous", step: key })
      begun.add(key)
      return Effect.void
    })

  const run: Journal["run"] = (step, effect) =>
    Effect.andThen(
      begin(step.key),
      Effect.suspend(() => {
        const found = kept.get(step.key)
        if (found?.state === "done" || found?.state === "failed") return outcomeOf(found)
        if (step.idempotent) return repeatable(step, effect)
        return found === undefined ? once(step, effect) : ask(step, effect)
      })
    )

  /** The value of a wait, kept as a step once it is there. */
  const decide = (wait: Wait): Effect.Effect<Schema.Json> =>
    Effect.suspend(() => {
      const key = `${wait.kind}:${wait.id}`
      const found = kept.get(key)
      if (found !== undefined) return Effect.succeed(found.value)
      if (stop !== undefined) return asleep
      return Effect.flatMap(
        host.given(wait.wake),
        Option.match({
          onNone: () => waitFor(wait),
          onSome: (value) => {
            if (begun.has(key)) return Effect.succeed(value)
            begun.add(key)
            const step: Step = { key, kind: "decision", name: wait.name, idempotent: true }
            return Effect.as(insert(step, "done", JSON.stringify(value)), value)
          }
        })
      )
    })

  const signal = (name: string): Effect.Effect<Schema.Json> =>
    decide({ kind: "signal", id: name, name, wake: `signal/${name}` })

  const sleep = (key: string, millis: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      const step: Step = { key, kind: "decision", name: "sleep", idempotent: true }
      const until = Number(
        yield* Effect.orDie(
          run(
            step,
            Effect.map(now, (at) => at + millis)
          )
        )
      )
      const left = until - (yield* now)
      if (left <= 0) return
      if (left <= shortSleep) return yield* Effect.sleep(left)
      yield* host.wakeAt(key, until)
      return yield* waitFor({ kind: "sleep", id: key, name: "sleep", wake: `DurableClock/${key}`, until })
    })

  return {
    journal: Object.assign(
      {
        rootId,
        run,
        suspending: Effect.sync(() => waits.size > 0 || stop !== undefined),
        suspend: asleep
      },
      { signal, sleep }
    ),
    waits,
    stopped,
    stop: () => stop,
    drain: () => {
      stop ??= { _tag: "Draining" }
    },
    decide: (wait) => decide({ ...wait, wake: `decision/${wait.id}` })
  }
}

const isObject = (json: Schema.Json): json is Schema.JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)
