/**
 * What undoes the finished parts of a run that fails. A part that finishes leaves a hook with its run; a run that succeeds, or is
 * interrupted, leaves its hooks with the run around it, and one that fails runs them, the last first.
 *
 * A run that is made again must not fail before the parts that had finished are there again: what fails at once would otherwise
 * interrupt a branch that is still being made again, and nothing would undo what that had done. So a journal keeps which hooks there
 * were, and a failure that interrupts others waits for those among them.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { memoize } from "effect/Function"
import * as Schema from "effect/Schema"
import { CurrentJournal, type Journal, none } from "../services/Journal.ts"
import { CurrentRun } from "../services/CurrentRun.ts"
import { CurrentAttempt } from "./attempts.ts"
import { usageLeft } from "./bill.ts"
import { CurrentMail } from "./inbox.ts"
import { type Form, formOf, keep, note } from "./journaled.ts"
import { CurrentPlace, type Place, placeIn } from "./place.ts"
import { isWaiting, wentOn } from "./resumption.ts"
import { CurrentState, type Hook, type RunState } from "./runState.ts"
import { charging, chargedLeft, costLeft, restore, type Used, usedSince } from "./stepAccount.ts"

/** Where a part of a run is: its place, and those of the runs around it, the innermost first. */
type Trail = ReadonlyArray<string>

const scopeOf = (state: RunState, place: Place): string => `${state.info.runId}/${place.prefix}`

const trailOf = (state: RunState, place: Place): Trail => {
  const trail = [scopeOf(state, place)]
  for (let one = state; one.parent !== undefined && one.begunAt !== undefined; one = one.parent) {
    trail.push(scopeOf(one.parent, one.begunAt))
  }
  return trail
}

/** Whether a part is in one of these places. */
const isIn = (trail: Trail, scopes: ReadonlyArray<string>): boolean =>
  trail.some((at) => scopes.some((scope) => at.startsWith(scope)))

const Registration = formOf(Schema.Struct({ n: Schema.Int, at: Schema.Array(Schema.String) }))
type Registered = ReturnType<typeof Registration.decode>

/** The name under which a journal keeps that a part has finished. */
const registration = "compensation"

interface Waiter {
  readonly scopes: ReadonlyArray<string> | undefined
  readonly there: Deferred.Deferred<void>
}

/** The hooks that earlier executions had, and that are not there again. */
class Missing {
  readonly earlier = new Map<string, Registered>()
  readonly #missing: Map<string, Registered>
  #waiters: Array<Waiter> = []

  constructor(journal: Journal) {
    for (const { key, value } of journal.earlier?.(registration) ?? []) {
      this.earlier.set(key, Registration.decode(value))
    }
    this.#missing = new Map(this.earlier)
  }

  /** A hook is there, or those of branches that do not count will not come. */
  remove(test: (key: string, trail: Trail) => boolean): void {
    for (const [key, { at }] of this.#missing) if (test(key, at)) this.#missing.delete(key)
    this.#waiters = this.#waiters.filter(({ scopes, there }) => {
      if (this.isMissing(scopes)) return true
      Deferred.doneUnsafe(there, Effect.void)
      return false
    })
  }

  isMissing(scopes: ReadonlyArray<string> | undefined): boolean {
    if (this.#missing.size === 0) return false
    return scopes === undefined || [...this.#missing.values()].some(({ at }) => isIn(at, scopes))
  }

  until(scopes: ReadonlyArray<string> | undefined): Effect.Effect<void> {
    const there = Deferred.makeUnsafe<void>()
    this.#waiters.push({ scopes, there })
    return Deferred.await(there)
  }
}

const missingOf = memoize((journal: Journal) => new Missing(journal))

/** Waits until every hook is there again that earlier executions of the run had, in these scopes or in all. */
export const areThere = (journal: Journal, scopes?: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (journal.earlier === undefined) return Effect.void
    const missing = missingOf(journal)
    return missing.isMissing(scopes) ? missing.until(scopes) : Effect.void
  })

/** Waits until the hooks are there again that earlier executions had at these places, or within them. */
export const thereAgain = (places: ReadonlyArray<Place>): Effect.Effect<void> =>
  Effect.flatMap(CurrentJournal, (journal) =>
    journal === none || journal.earlier === undefined
      ? Effect.void
      : areThere(
          journal,
          places.map((place) => scopeOf(place.state, place))
        )
  )

/**
 * Counts what work had used whose failure is kept. The work itself begins again only where parts of it had finished, until their
 * hooks are there.
 */
export const restored = <R>(
  journal: Journal,
  place: Place,
  state: RunState,
  used: Used,
  work: Effect.Effect<unknown, unknown, R>
): Effect.Effect<void, never, R> => {
  const count = (left: Used) => Effect.tap(wentOn(state), () => Effect.sync(() => restore(state, left)))
  const isWhole = journal.earlier === undefined || !missingOf(journal).isMissing([scopeOf(state, place)])
  if (isWhole) return count(used)
  const { bill } = state
  const left = charging(state, (charged) => {
    const before = bill.moment
    return Effect.map(Effect.raceFirst(Effect.exit(work), thereAgain([place])), (): Used => {
      const again = usedSince(bill, before, charged())
      const cost = costLeft(used.cost, again.cost)
      return {
        usage: usageLeft(used.usage, again.usage),
        ...(cost === undefined ? {} : { cost }),
        steps: used.steps - again.steps,
        ...(used.charged === undefined ? {} : { charged: chargedLeft(used.charged, again.charged) })
      }
    })
  })
  return Effect.flatMap(left, count)
}

/** Forgets the hooks of branches that do not count: those of a race that have not won. */
export const forget = (losers: ReadonlyArray<Place>): Effect.Effect<void> =>
  Effect.map(CurrentJournal, (journal) => {
    if (losers.length === 0) return
    const scopes = losers.map((place) => scopeOf(place.state, place))
    losers[0]!.state.dropHooks(({ trail }) => isIn(trail, scopes))
    if (journal !== none && journal.earlier !== undefined) missingOf(journal).remove((_, trail) => isIn(trail, scopes))
  })

let count = 0

/** Leaves a hook with the run of `fiber`, whose journal keeps that it is there. */
const leave = (
  fiber: Fiber.Fiber<unknown, unknown>,
  state: RunState,
  part: Pick<Hook, "key" | "name" | "undo">
): Effect.Effect<void> => {
  const journal = fiber.getRef(CurrentJournal)
  const trail = trailOf(state, placeIn(state, fiber.getRef(CurrentPlace)))
  const add = (n: number) => state.addHook({ ...part, trail, n })
  if (journal === none) {
    add(++count)
    return Effect.void
  }
  const step = { key: `${part.key}/finished`, name: registration }
  const missing = missingOf(journal)
  const before = missing.earlier.get(step.key)
  const own = before ?? { n: missing.earlier.size, at: trail }
  missing.earlier.set(step.key, own)
  add(own.n)
  missing.remove((key) => key === step.key)
  return before === undefined ? Effect.asVoid(note(journal, step, Registration.encode(own))) : Effect.void
}

/** Does a part of a run, and leaves a hook that undoes it. Nothing comes between the end of the part and its hook. */
export const finishing = <A, E, R, R2>(
  state: RunState,
  name: string,
  keyOf: (place: Place) => string,
  work: Effect.Effect<A, E, R>,
  undo: (output: A) => Effect.Effect<unknown, never, R2>
): Effect.Effect<A, E, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(work), (output) =>
      Effect.withFiber((fiber) => {
        // The services of the part, which is over by then, in what belongs to the run that fails.
        const services = fiber.context as Context.Context<R2>
        const whole = Effect.withFiber((here) =>
          Effect.provideContext(
            Effect.suspend(() => undo(output)),
            services.pipe(
              Context.add(CurrentState, here.getRef(CurrentState)),
              Context.add(CurrentRun, here.getRef(CurrentRun)),
              Context.add(CurrentPlace, here.getRef(CurrentPlace)),
              Context.add(CurrentJournal, here.getRef(CurrentJournal)),
              Context.add(CurrentAttempt, undefined),
              Context.add(CurrentMail, undefined)
            )
          )
        )
        const key = keyOf(placeIn(state, fiber.getRef(CurrentPlace)))
        return Effect.as(leave(fiber, state, { key, name, undo: whole }), output)
      })
    )
  )

const nothing: Form<null> = { encode: () => null, decode: () => null }

/**
 * Runs the hooks of a run, the last first, each once. One that dies does not keep the others from running; its defect is then that of
 * the run as well.
 */
export const undo = (state: RunState): Effect.Effect<void> =>
  Effect.suspend(() => {
    const hooks = state.takeHooks()
    if (hooks.length === 0) return Effect.void
    const defects: Array<Cause.Reason<never>> = []
    const one = (hook: Hook) =>
      Effect.withFiber((fiber) => {
        const journal = fiber.getRef(CurrentJournal)
        const work = Effect.as(hook.undo, null)
        const step = { key: `${hook.key}/undone`, kind: "compensation", name: hook.name, idempotent: false } as const
        return journal === none ? work : keep(journal, step, work, nothing)
      })
    const all = Effect.forEach(
      hooks,
      (hook) =>
        Effect.catchCause(one(hook), (cause) => {
          // A run that is handed to another process, or sleeps, goes on with the others there.
          if (Cause.hasInterrupts(cause)) return Effect.failCause(cause)
          defects.push(...cause.reasons)
          return Effect.succeed(null)
        }),
      { discard: true }
    )
    return Effect.uninterruptible(
      Effect.andThen(
        all,
        Effect.suspend(() => (defects.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(defects))))
      )
    )
  })

/** Ends a run: what it had finished is undone where it has failed, and is otherwise a part of the run around it. */
export const end = (state: RunState, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  state.hasHooks
    ? Effect.flatMap(CurrentJournal, ({ hasFailed }) => {
        if (hasFailed?.() === true ? state.parent === undefined : isFailed(exit)) return undo(state)
        return Effect.sync(() => state.passHooks())
      })
    : Effect.void

const isFailed = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause) && !isWaiting(Cause.squash(exit.cause))
