/** Runs steps through the journal around a run, and reads what is kept of them. */
import { invalid } from "./definition.ts"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { CurrentJournal, type Journal, none, type Step } from "../services/Journal.ts"
import { toJson } from "./json.ts"
import { messageOf } from "./message.ts"
import { CurrentState, type RunState } from "./runState.ts"
import { CurrentAccount, restore, StepAccount, withoutUsed, withUsed } from "./stepAccount.ts"

/** The journal around a fiber; `undefined` where nothing is kept. */
export const journalOf = (fiber: Fiber.Fiber<unknown, unknown>): Journal | undefined => {
  const journal = fiber.getRef(CurrentJournal)
  return journal === none ? undefined : journal
}

/** How a value is kept. */
export interface Form<A> {
  /** The value as JSON; `undefined` for one that is not kept. */
  readonly encode: (value: A) => Schema.Json | undefined
  /** Throws for JSON that it did not make. */
  readonly decode: (json: Schema.Json) => A
}

/** The form of a schema. */
export const formOf = <S extends Schema.Top>(schema: S): Form<S["Type"]> => {
  // The schemas of ours need no services, and those of users are of `Step.run`, which takes no others.
  const codec = Schema.toCodecJson(schema) as unknown as Schema.Codec<S["Type"], Schema.Json>
  const encode = Schema.encodeSync(codec)
  return { encode: (value) => toJson(encode(value)), decode: Schema.decodeSync(codec) }
}

/** The form of a value that is JSON as it is. */
export const plain: Form<Schema.Json> = { encode: (value) => value, decode: (json) => json }

/** Ends a step of which nothing is kept. */
const notKept = new Error("nothing is kept of this step")

/** A kept outcome that was not written by this program, or by another version of it. */
const decodeWith = <A>({ decode }: Form<A>, json: Schema.Json, { key }: Step): Effect.Effect<A> => {
  try {
    return Effect.succeed(decode(json))
  } catch (error) {
    return Effect.die(
      invalid(
        `step "${key}"`,
        `what is kept of it does not fit: ${messageOf(error)}`,
        "Have the version of the program that began the run finish it, or begin it again under another key"
      )
    )
  }
}

/**
 * Returns the kept outcome of a step, or runs `effect` and keeps it. The outcome of an effect that ran here is passed on as it was.
 * A failure that has no form is not kept. What runs inside of it have used is kept alongside it, and counted when it is given again.
 */
export const keep = <A, E, R>(
  journal: Journal,
  step: Step,
  effect: Effect.Effect<A, E, R>,
  success: Form<A>,
  failure?: Form<E>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const state = fiber.getRef(CurrentState)
    // A model call counts itself, with its failed attempts.
    const isCounted = state !== undefined && hasRuns(step)
    const account = isCounted ? new StepAccount(state, fiber.getRef(CurrentAccount)) : undefined
    let live: Exit.Exit<A, E> | undefined
    const own = Effect.matchCauseEffect(effect, {
      onSuccess: (value) => {
        live = Exit.succeed(value)
        const json = success.encode(value)
        return json === undefined ? Effect.die(notKept) : Effect.succeed(withUsed(json, account?.used))
      },
      onFailure: (cause): Effect.Effect<never, Schema.Json> => {
        if (Cause.hasInterrupts(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        live = Exit.failCause(cause)
        const [reason, ...others] = cause.reasons
        const json =
          failure === undefined || reason === undefined || others.length > 0 || !Cause.isFailReason(reason)
            ? undefined
            : failure.encode(reason.error)
        return json === undefined ? Effect.die(notKept) : Effect.fail(withUsed(json, account?.used))
      }
    })
    const given = <B>(form: Form<B>, json: Schema.Json): Effect.Effect<B> => {
      const { outcome, used } = withoutUsed(json)
      if (used !== undefined && state !== undefined) restore(state, used)
      return decodeWith(form, outcome, step)
    }
    return Effect.matchCauseEffect(journal.run(step, insideOf(step, own, state, account)), {
      onSuccess: (json): Effect.Effect<A, E> =>
        live !== undefined && Exit.isSuccess(live) ? live : given(success, json),
      onFailure: (cause): Effect.Effect<A, E> => {
        const reason = cause.reasons.find((one) => Cause.isFailReason(one))
        const isOurs = cause.reasons.some((one) => Cause.isDieReason(one) && one.defect === notKept)
        if (live !== undefined && (isOurs || (reason !== undefined && Exit.isFailure(live)))) return live
        if (reason === undefined || failure === undefined) return Effect.failCause(cause as Cause.Cause<never>)
        return Effect.flatMap(given(failure, reason.error), Effect.fail)
      }
    })
  })

const hasRuns = ({ kind }: Step): boolean => kind === "tool" || kind === "effect" || kind === "compensation"

/** The effect of a step as it runs for the first time: nothing is kept inside of it, and a budget whose time is over ends it. */
const insideOf = (
  { kind }: Step,
  own: Effect.Effect<Schema.Json, Schema.Json, unknown>,
  state: RunState | undefined,
  account: StepAccount | undefined
): Effect.Effect<Schema.Json, Schema.Json> => {
  const context = Context.make(CurrentJournal, none).pipe(Context.add(CurrentAccount, account))
  const inside = Effect.suspend(() => {
    state?.addNewStep()
    return Effect.provideContext(own, context) as Effect.Effect<Schema.Json, Schema.Json>
  })
  // What is undone is undone, also where the run has failed by its budget.
  if (state === undefined || kind === "decision" || kind === "compensation") return inside
  return Effect.suspend(() => state.budget?.begins(state.info, kind)?.halt ?? inside)
}

/**
 * Returns the kept decision, or makes it and keeps it. Where the journal can be looked into, it is made outside of any step, so that
 * what decides can have steps of its own and can sleep.
 */
export const decide = <A, E, R>(
  journal: Journal,
  step: Pick<Step, "key" | "name">,
  effect: Effect.Effect<A, E, R>,
  form: Form<A>
): Effect.Effect<A, E, R> => {
  const whole: Step = { ...step, kind: "decision", idempotent: true }
  if (journal.kept === undefined) return keep(journal, whole, effect, form)
  return Effect.flatMap(journal.kept(whole), (known) =>
    Option.isSome(known)
      ? decodeWith(form, known.value, whole)
      : Effect.tap(effect, (value) => note(journal, whole, form.encode(value)))
  )
}

/** Keeps what a decision came to. Returns what is kept, which is another where that was decided before. */
export const note = (
  journal: Journal,
  step: Pick<Step, "key" | "name">,
  json: Schema.Json | undefined
): Effect.Effect<Schema.Json | undefined> =>
  json === undefined
    ? Effect.succeed(undefined)
    : Effect.orDie(journal.run({ ...step, kind: "decision", idempotent: true }, Effect.succeed(json)))

/** What is kept of a decision; `undefined` where it was not made, or the journal cannot be looked into. */
export const keptOf = (journal: Journal, step: Pick<Step, "key" | "name">): Effect.Effect<Schema.Json | undefined> =>
  journal.kept === undefined
    ? Effect.succeed(undefined)
    : Effect.map(journal.kept({ ...step, kind: "decision", idempotent: true }), Option.getOrUndefined)
