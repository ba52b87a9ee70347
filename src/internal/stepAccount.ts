/** What the runs inside of a kept step have used: a journal keeps it with the outcome, so that it is counted when the run is made again. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import { Bill, type Moment, usageLeft } from "./bill.ts"
import { type Charged, Ledger } from "./budget.ts"
import { isJsonObject, toJson } from "./json.ts"
import type { RunState } from "./runState.ts"

/** What was used of each limit of a budget. */
const ChargedForm = Schema.Struct({
  tokens: Schema.Finite,
  cost: Schema.Finite,
  steps: Schema.Int,
  toolCalls: Schema.Int
})

/** What runs have used, as it is kept. */
export const UsedForm = Schema.Struct({
  usage: Response.Usage,
  /** Absent where it is not known, and in what earlier versions kept. */
  cost: Schema.optionalKey(Schema.Finite),
  steps: Schema.Int,
  charged: Schema.optionalKey(ChargedForm)
})
/** What runs have used. */
export type Used = typeof UsedForm.Type
const codec = Schema.toCodecJson(UsedForm)

/** What a run has used since a moment. */
export const usedSince = (bill: Bill, before: Moment, charged: Charged | undefined): Used => ({
  usage: bill.usageSince(before.usage),
  ...costField(bill.costSince(before.cost)),
  steps: bill.steps - before.steps,
  ...(charged === undefined ? {} : { charged })
})

const costField = (cost: number | undefined): { readonly cost?: number } => (cost === undefined ? {} : { cost })

const encode = Schema.encodeSync(codec)
/** What was used, as it is kept. */
export const encodeUsed = (used: Used): Schema.Json => toJson(encode(used))
/** Reads what {@link encodeUsed} made. Throws for anything else. */
export const decodeUsed = Schema.decodeUnknownSync(codec)

/** Counts what the runs inside of one part of a run, such as a step, use. It is counted in the run as well. */
export class StepAccount {
  readonly state: RunState
  readonly bill: Bill
  readonly ledger: Ledger | undefined

  /** `outer` is the account of what the new one's work is a part of, where there is one of the same run. */
  constructor(state: RunState, outer?: StepAccount) {
    const { bill, ledger = state.budget } = outer?.state === state ? outer : { bill: state.bill, ledger: undefined }
    this.state = state
    this.bill = new Bill(bill)
    this.ledger = ledger === undefined ? undefined : Ledger.tally(ledger, state.info)
  }

  /** What was used; `undefined` where no run has begun. */
  get used(): Used | undefined {
    const { cost, steps, usage } = this.bill
    if (steps === 0) return undefined
    return { usage, ...costField(cost), steps, ...(this.ledger === undefined ? {} : { charged: this.ledger.used }) }
  }
}

/** The account of the part of a run that the fiber works for. It counts only for runs that begin in that run. */
export const CurrentAccount: Context.Reference<StepAccount | undefined> = Context.Reference<StepAccount | undefined>(
  "troupe/internal/StepAccount",
  { defaultValue: () => undefined }
)

const key = "~used"

/** The outcome of a step with what its runs have used. Without any it is the outcome itself. */
export const withUsed = (json: Schema.Json, used: Used | undefined): Schema.Json =>
  used === undefined && !isMarked(json) ? json : { [key]: used === undefined ? null : encodeUsed(used), outcome: json }

/** The outcome that {@link withUsed} was given, and what is to be counted for it. */
export const withoutUsed = (json: Schema.Json): { readonly outcome: Schema.Json; readonly used: Used | undefined } => {
  if (!isMarked(json)) return { outcome: json, used: undefined }
  const used = json[key] ?? null
  return { outcome: json["outcome"] ?? null, used: used === null ? undefined : decodeUsed(used) }
}

const isMarked = (json: Schema.Json): json is Schema.JsonObject => isJsonObject(json) && key in json

/**
 * Does a part of a run's own work, and gives what its budgets were charged with in it, by a function to be called when it has
 * ended; `undefined` where there are none.
 */
export const charging = <A, E, R>(
  state: RunState,
  f: (charged: () => Charged | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const { budget, info } = state
    if (budget === undefined) return f(() => undefined)
    const tally = Ledger.tally(budget, info)
    return state.within(
      tally,
      f(() => tally.used)
    )
  })

/** What is left of a cost without a part of it; `undefined` where that is not known. */
export const costLeft = (whole: number | undefined, part: number | undefined): number | undefined =>
  whole === undefined ? undefined : whole - (part ?? 0)

/** What is left of `whole` without `part` of it. */
export const chargedLeft = (whole: Charged, part: Charged | undefined): Charged => ({
  tokens: whole.tokens - (part?.tokens ?? 0),
  cost: whole.cost - (part?.cost ?? 0),
  steps: whole.steps - (part?.steps ?? 0),
  toolCalls: whole.toolCalls - (part?.toolCalls ?? 0)
})

/** Counts in a run what was used before the run was made again. */
export const restore = ({ bill, budget }: RunState, { charged, cost, steps, usage }: Used): void => {
  bill.addUsage(usage, cost)
  bill.addStep(steps)
  if (charged !== undefined) budget?.restore(charged)
}

/** Counts in a run what was used elsewhere on its behalf. A budget that it goes beyond is exceeded. */
export const spend = (state: RunState, used: Used): void => {
  restore(state, used)
  state.budget?.exceedBeyond(state.info.path)
}

/** What is left of `whole` without a part of it that was counted before; `undefined` where `whole` has not caught up with that yet. */
export const usedLeft = (whole: Used, part: Used | undefined): Used | undefined => {
  if (part === undefined) return whole
  const usage = usageLeft(whole.usage, part.usage)
  const steps = whole.steps - part.steps
  if (steps < 0 || tokensIn(whole.usage) < tokensIn(part.usage)) return undefined
  return {
    usage,
    ...costField(costLeft(whole.cost, part.cost)),
    steps,
    ...(whole.charged === undefined ? {} : { charged: chargedLeft(whole.charged, part.charged) })
  }
}

const tokensIn = ({ inputTokens, outputTokens }: Response.Usage): number =>
  (inputTokens.total ?? 0) + (outputTokens.total ?? 0)
