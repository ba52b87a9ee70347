/**
 * Work that another program does for a run, such as a task of an agent elsewhere. Budgets count what it has used, and a durable run
 * keeps what it came to, so that it is not asked for again when the run goes on.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Charged, Ledger } from "./budget.ts"
import { type Form, formOf, journalOf, keep } from "./journaled.ts"
import { begunAt, type RunState } from "./runState.ts"
import { noUsage } from "./usage.ts"
import { charging, CurrentAccount, restore, type Used, UsedForm, usedSince } from "./stepAccount.ts"

/** How the outcome is kept. */
export interface Forms<A, E> {
  readonly output: Form<A>
  readonly error: Form<E>
}

/** What the work came to, and what it has used. */
interface Outcome<A, E> {
  readonly result: Result.Result<A, E>
  readonly used: Used
}

/** Does the work, which notes in the run's bill what it has used, or gives what it came to when it was done before. */
export const elsewhere = <A, E>(state: RunState, forms: Forms<A, E>, work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.withFiber((fiber) => {
    let over: Ledger | undefined
    const done: Effect.Effect<Outcome<A, E>> = charging(state, (charged) => {
      const before = state.bill.moment
      return Effect.map(Effect.result(Effect.provideService(work, CurrentAccount, undefined)), (result) => {
        over = charge(state, usedSince(state.bill, before, undefined), charged())
        return { result, used: usedSince(state.bill, before, charged()) }
      })
    })
    const given = ({ result }: Outcome<A, E>): Effect.Effect<A, E> => over?.halt ?? Effect.fromResult(result)
    const journal = journalOf(fiber)
    if (journal === undefined) return Effect.flatMap(done, given)
    const name = "elsewhere"
    return begunAt(fiber, state, "step", name, (key) => {
      let isNew = false
      const first = Effect.suspend(() => {
        isNew = true
        return done
      })
      const kept = keep(journal, { key, kind: "effect", name, idempotent: false }, first, outcomeForm(forms))
      return Effect.flatMap(kept, (outcome) => {
        if (!isNew) restore(state, outcome.used)
        return given(outcome)
      })
    })
  })

/** Charges the run's budgets with what the work itself has used, without the runs in it; returns the ledger that it went beyond. */
const charge = (
  { budget, info }: RunState,
  { cost, steps, usage }: Used,
  inside: Charged | undefined
): Ledger | undefined => {
  const tokens = (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0) - (inside?.tokens ?? 0)
  const own = Math.max(0, (cost ?? 0) - (inside?.cost ?? 0))
  if (budget === undefined) return undefined
  budget.restore({ tokens: 0, cost: 0, steps: Math.max(0, steps - (inside?.steps ?? 0)), toolCalls: 0 })
  if (tokens <= 0 && own === 0) return budget.exceedBeyond(info.path)
  return budget.charge({ tokens: Math.max(0, tokens), cost: own, isUnpriced: cost === undefined }, info.path)
}

const Kept = Schema.Struct({
  output: Schema.optionalKey(Schema.Json),
  error: Schema.optionalKey(Schema.Json),
  used: UsedForm
})
const keptForm = formOf(Kept)
const isKept = Schema.is(Schema.toEncoded(Schema.toCodecJson(Kept)))

const outcomeForm = <A, E>({ error, output }: Forms<A, E>): Form<Outcome<A, E>> => ({
  encode: ({ result, used }) => {
    const json = Result.isSuccess(result) ? output.encode(result.success) : error.encode(result.failure)
    return json === undefined
      ? undefined
      : keptForm.encode({ [Result.isSuccess(result) ? "output" : "error"]: json, used })
  },
  decode: (json) => {
    // An answer to a run that did not know whether it was done is the output alone.
    if (!isKept(json)) return { result: Result.succeed(output.decode(json)), used: nothing }
    const kept = keptForm.decode(json)
    const result =
      kept.error === undefined
        ? Result.succeed(output.decode(kept.output ?? null))
        : Result.fail(error.decode(kept.error))
    return { result, used: kept.used }
  }
})

const nothing: Used = { usage: noUsage, steps: 0 }
