/**
 * Counts what a durable run uses in the run that asks for it, and in its budgets: from the time on that it asked, once in all runs of
 * one root, and also where the run that asks is made again.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { decided } from "../../../internal/decided.ts"
import { formOf } from "../../../internal/journaled.ts"
import type { RunState } from "../../../internal/runState.ts"
import { decodeUsed, spend, type Used, UsedForm, usedLeft } from "../../../internal/stepAccount.ts"
import type { DurableError } from "../../../RunError.ts"
import type { Ref, Service } from "./engine.ts"

const before = formOf(Schema.NullOr(UsedForm))

/** The most that each durable run had used, as far as it is counted in the runs of a root. */
const counted = new WeakMap<RunState, Map<string, Used>>()

const countedIn = (state: RunState): Map<string, Used> => {
  let root = state
  while (root.parent !== undefined) root = root.parent
  const known = counted.get(root) ?? new Map<string, Used>()
  counted.set(root, known)
  return known
}

/** What is to be called with what the run has used; `undefined` where nothing is counted, as no run or budget is around the call. */
export const counting = (
  engine: Service,
  ref: Ref,
  state: RunState
): Effect.Effect<((json: Schema.Json) => void) | undefined, DurableError> =>
  Effect.suspend(() => {
    if (state.parent === undefined && state.budget === undefined) return Effect.undefined
    const soFar = Effect.map(engine.used(ref), (json) => (json === undefined ? null : decodeUsed(json)))
    return Effect.map(decided(state, "used", soFar, before), (first) => {
      const known = countedIn(state)
      const id = JSON.stringify([ref.name, ref.key])
      return (json: Schema.Json) => {
        const used = decodeUsed(json)
        const fresh = usedLeft(used, furthest(known.get(id), first ?? undefined))
        if (fresh === undefined) return
        known.set(id, used)
        spend(state, fresh)
      }
    })
  })

/** What is counted: what other calls of the root have, or what was used before this one. */
const furthest = (one: Used | undefined, other: Used | undefined): Used | undefined =>
  one !== undefined && other !== undefined && usedLeft(one, other) === undefined ? other : (one ?? other)
