/**
 * Steps of your own in a durable run: an effect whose outcome is kept, so that it does not happen again when the run goes on after
 * a crash. In any other run they just run.
 *
 * A durable run is made again from its beginning, and its steps give what they gave. What is in no step runs again: it must give
 * the same each time, which excludes the clock, random numbers and what others can change. Model calls and tools of agents are
 * steps by themselves.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { finishing } from "./internal/compensation.ts"
import { time } from "./internal/decided.ts"
import { assertFunction, assertName, assertOptions, durationOf, invalid } from "./internal/definition.ts"
import { type Form, formOf, journalOf, keep } from "./internal/journaled.ts"
import { messageOf } from "./internal/message.ts"
import { begunAt, CurrentState } from "./internal/runState.ts"
import { NotDurable } from "./RunError.ts"
import type { Journal } from "./services/Journal.ts"

/** The schemas of what an effect succeeds and fails with. */
export interface Schemas<A, E> {
  readonly success: Schema.Codec<A, unknown>
  readonly error: Schema.Codec<E, unknown>
}

/**
 * Runs an effect once in a durable run: its outcome, success or typed failure, is kept as JSON by its schema, and given again when
 * the run is made again. `name` says what it does; the same name in a loop counts on. In a run that is not durable, and outside of
 * runs, the effect just runs.
 *
 * The effect is at-least-once: where the process ends after it was done and before that was kept, it runs again, unless the engine
 * asks first. Interrupting it keeps nothing, and neither does a defect. Inside of it nothing is kept: steps, and agents, that it
 * runs are part of it. A value that does not fit its schema is a defect. Of two steps of one name that begin at once, or of two
 * runs of one name, the later one is a defect, `InvalidDefinition`, in a durable run: which of them is first can be another the next
 * time.
 *
 * `compensate` undoes the effect where the run that it is part of fails later, as `Runner.withCompensation` says.
 *
 * @example
 * import { Effect, Random, Schema } from "effect"
 * import { Runner, Step } from "troupe"
 *
 * const draw = Runner.make("draw", {
 *   run: (names: ReadonlyArray<string>) =>
 *     Effect.map(Step.run("winner", Schema.Int, Random.nextIntBetween(0, names.length - 1)), (index) => names[index])
 * })
 */
export const run: {
  <A, R, R2 = never>(
    name: string,
    schema: Schema.Codec<A, unknown>,
    effect: Effect.Effect<A, never, R>,
    options?: Options<A, R2>
  ): Effect.Effect<A, never, R | R2>
  <A, E, R, R2 = never>(
    name: string,
    schemas: Schemas<A, E>,
    effect: Effect.Effect<A, E, R>,
    options?: Options<A, R2>
  ): Effect.Effect<A, E, R | R2>
} = ((
  name: string,
  schema: Schema.Codec<unknown, unknown> | Schemas<unknown, unknown>,
  effect: Effect.Effect<unknown, unknown, unknown>,
  options: Options<unknown, unknown> = {}
): Effect.Effect<unknown, unknown, unknown> => {
  assertNamed(name)
  assertOptions(`step "${name}"`, options, known)
  const { compensate } = options
  if (compensate !== undefined) assertFunction(`step "${name}"`, "compensate", compensate)
  const { error, success } = formsOf(schema)
  return Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    const state = fiber.getRef(CurrentState)
    const work = (key: string) =>
      journal === undefined
        ? effect
        : keep(journal, { key, kind: "effect", name, idempotent: false }, effect, success, error)
    const whole = (key: string) =>
      compensate === undefined || state === undefined
        ? work(key)
        : finishing(
            state,
            name,
            (place) => (journal === undefined ? place.key(`${name}/part`) : `${key}/part`),
            work(key),
            compensate
          )
    return journal === undefined ? whole("") : begun(journal, name, whole)
  })
}) as typeof run

/** Options of {@link run}. */
export interface Options<in A, out R> {
  /** Undoes the effect, of which it is given the outcome, when the run that it is part of fails after it. */
  readonly compensate?: ((value: A) => Effect.Effect<unknown, never, R>) | undefined
}

const known: ReadonlySet<string> = new Set(["compensate"])

const assertNamed = (name: string): void => assertName("a step", name, 'Give it one: Step.run("name", schema, effect)')

const formsOf = <A, E>(
  schema: Schema.Codec<A, unknown> | Schemas<A, E>
): { readonly success: Form<A>; readonly error: Form<E> | undefined } =>
  Schema.isSchema(schema)
    ? { success: formOf(schema), error: undefined }
    : { success: formOf(schema.success), error: formOf(schema.error) }

/** Begins a step at the current place. */
const begun = <A, E, R>(
  journal: Journal,
  name: string,
  f: (key: string) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const state = fiber.getRef(CurrentState)
    if (state === undefined) return f(`${journal.rootId ?? ""}/${name}`)
    return begunAt(fiber, state, "step", name, f)
  })

/**
 * Waits until `Durable.signal` sends something under this name, and gives it, decoded by the schema. A durable run sleeps
 * meanwhile, without a process. What does not fit the schema is a defect. Fails with `NotDurable` in a run that is not durable, in
 * a tool, and in another step.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Runner, Step } from "troupe"
 *
 * const order = Runner.make("order", {
 *   run: (id: string) =>
 *     Effect.map(Step.signal("paid", Schema.Struct({ amount: Schema.Finite })), ({ amount }) => `${id}: ${amount}`)
 * })
 */
export const signal = <A>(name: string, schema: Schema.Codec<A, unknown>): Effect.Effect<A, NotDurable> => {
  assertNamed(name)
  const { decode } = formOf(schema)
  const problemWith = (payload: Schema.Json): string | undefined => {
    try {
      decode(payload)
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  }
  return Effect.withFiber((fiber): Effect.Effect<A, NotDurable> => {
    const journal = journalOf(fiber)
    const wait = journal?.signal
    if (journal === undefined || wait === undefined) return Effect.fail(new NotDurable({ signal: name }))
    return begun(journal, name, (key) =>
      Effect.flatMap(wait({ key, kind: "effect", name, idempotent: true }, problemWith), (payload) => {
        const problem = problemWith(payload)
        if (problem === undefined) return Effect.succeed(decode(payload))
        const remedy = "Send what fits the schema of Step.signal, to a new run"
        return Effect.die(invalid(`signal "${name}"`, problem, remedy))
      })
    )
  })
}

/**
 * Waits. A durable run sleeps meanwhile, without a process, and the time counts from the first time on that it was made; any other
 * run waits in its process. A number is milliseconds. Throws `InvalidDefinition` for what is not a duration.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Runner, Step } from "troupe"
 *
 * const reminder = Agent.make("reminder", { instructions: "Write a reminder." })
 * const patient = Runner.make("patient", {
 *   run: (about: string) => Effect.andThen(Step.sleep("before reminding", "3 days"), reminder.run(about))
 * })
 */
export const sleep = (name: string, duration: Duration.Input): Effect.Effect<void> => {
  assertNamed(name)
  const whole = durationOf(`step "${name}"`, "duration", duration) ?? Duration.zero
  return Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    if (journal === undefined) return Effect.sleep(whole)
    const { sleep } = journal
    return begun(journal, name, (key) => {
      const step = { key, kind: "effect", name, idempotent: true } as const
      if (sleep !== undefined) return sleep(step, whole)
      const deadline = Effect.map(Clock.currentTimeMillis, (now) => now + Duration.toMillis(whole))
      return Effect.flatMap(keep(journal, step, deadline, time), (until) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, until - now)))
      )
    })
  })
}
