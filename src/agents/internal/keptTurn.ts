/** What a journal keeps of a model call: the provider's turn or its failure, and what was used in addition to the turn's own usage. */
import * as AiError from "effect/ai/AiError"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import { answeredBy, type AnsweredBy } from "../../internal/answeredBy.ts"
import { type Form, formOf } from "../../internal/journaled.ts"
import type { Moment } from "../../internal/bill.ts"
import type { RunState } from "../../internal/runState.ts"
import type { Charged } from "../../internal/budget.ts"
import { ChargedForm } from "../../internal/stepAccount.ts"
import type { Failed, Request } from "./modelCall.ts"
import { type AnyPart, type Call, Collector, type Turn } from "./turnCollector.ts"

/** What failed attempts, and runs that answered for the model, have used. */
export interface KeptSpent {
  readonly usage: Response.Usage | undefined
  /** `undefined` where it is not known. */
  readonly cost: number | undefined
  readonly steps: number
  /** What the budgets of the run were charged with for it; `undefined` where there were none. */
  readonly charged: Charged | undefined
}

/** A kept turn. */
export interface KeptTurn extends KeptSpent {
  readonly turn: Turn
}

/** A kept failure. */
export interface KeptFailure extends Failed, KeptSpent {}

/** What the run has used since a moment. The usage of the turn itself is counted by the loop. */
export const spentSince = ({ bill }: RunState, before: Moment, charged: Charged | undefined): KeptSpent => {
  const usage = bill.usageSince(before.usage)
  const isNone = (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0) === 0
  const steps = bill.steps - before.steps
  return isNone
    ? { usage: undefined, cost: undefined, steps, charged: undefined }
    : { usage, cost: bill.costSince(before.cost), steps, charged }
}

const spentFields = ({ charged, cost, steps, usage }: KeptSpent): SpentFields => ({
  ...(usage === undefined ? {} : { usage }),
  ...(cost === undefined ? {} : { cost }),
  steps,
  ...(charged === undefined ? {} : { charged })
})

/** Collects the answer as the provider gave it, where middleware changes it as it comes. */
export class RawAnswer {
  readonly request: Request
  /** Whether the model was called. */
  isBegun = false
  #collector: Collector | undefined

  constructor(request: Request) {
    const { hasCall, maxAnswerSize, watch } = request
    const begin = () => {
      this.isBegun = true
      this.#collector = watch?.see === undefined ? undefined : new Collector(hasCall, maxAnswerSize)
      watch?.onAttempt()
    }
    const see = watch?.see
    this.request = {
      ...request,
      watch: {
        isCurrent: () => watch?.isCurrent() ?? true,
        onDelta: () => watch?.onDelta(),
        onAttempt: begin,
        see:
          see === undefined
            ? undefined
            : (part) => {
                this.#collector?.push(part)
                return see(part)
              }
      }
    }
  }

  /** The answer; `undefined` where it is what the call gave. */
  get turn(): Turn | undefined {
    return this.#collector?.turn()
  }
}

/** The parts of a kept turn, as a provider gives them. */
export const partsOf = (turn: Turn): ReadonlyArray<AnyPart> => {
  const { content, finishReason, responseId, responseModel, usage } = turn
  const metadata = turn.answeredBy === undefined ? {} : answeredBy(turn.answeredBy)
  const head = { id: responseId, modelId: responseModel, timestamp: undefined, metadata }
  return [
    Response.makePart("response-metadata", head as Parameters<typeof Response.makePart<"response-metadata">>[1]),
    ...content,
    Response.makePart("finish", { reason: finishReason, usage, response: undefined })
  ]
}

/** A call that was refused, because its name or its arguments were cut, is so again. */
export const withRefusals = (turn: Turn, { calls }: Turn): Turn => {
  const refused = new Map(calls.flatMap((call) => (call.refused === undefined ? [] : [[call.id, call.refused]])))
  if (refused.size === 0) return turn
  return {
    ...turn,
    calls: turn.calls.map((call): Call => {
      const why = refused.get(call.id)
      return why === undefined ? call : { ...call, refused: why }
    })
  }
}

const Spent = {
  usage: Schema.optionalKey(Response.Usage),
  cost: Schema.optionalKey(Schema.Finite),
  steps: Schema.Int,
  charged: Schema.optionalKey(ChargedForm)
}
interface SpentFields {
  readonly usage?: Response.Usage
  readonly cost?: number
  readonly steps: number
  readonly charged?: Charged
}

const TurnForm = formOf(
  Schema.Struct({
    ...Spent,
    content: Schema.Array(Response.Part()),
    finishReason: Response.FinishReason,
    turnUsage: Response.Usage,
    responseId: Schema.optionalKey(Schema.String),
    responseModel: Schema.optionalKey(Schema.String),
    answeredBy: Schema.optionalKey(Schema.Struct({ provider: Schema.String, model: Schema.String })),
    refused: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  }) as unknown as Schema.Codec<KeptFields, unknown>
)

interface KeptFields extends SpentFields {
  readonly content: ReadonlyArray<Response.AnyPart>
  readonly finishReason: Response.FinishReason
  readonly turnUsage: Response.Usage
  readonly responseId?: string
  readonly responseModel?: string
  readonly answeredBy?: AnsweredBy
  readonly refused?: Readonly<Record<string, string>>
}

const isCall = (part: Response.AnyPart): part is Response.ToolCallPart<string, unknown> =>
  part.type === "tool-call" && !part.providerExecuted

/** How a turn is kept. */
export const keptTurn: Form<KeptTurn> = {
  encode: ({ turn, ...spent }) => {
    const { calls, content, finishReason, responseId, responseModel } = turn
    const refused = calls.flatMap((call) => (call.refused === undefined ? [] : [[call.id, call.refused] as const]))
    return TurnForm.encode({
      ...spentFields(spent),
      content,
      finishReason,
      turnUsage: turn.usage,
      ...(responseId === undefined ? {} : { responseId }),
      ...(responseModel === undefined ? {} : { responseModel }),
      ...(turn.answeredBy === undefined ? {} : { answeredBy: turn.answeredBy }),
      ...(refused.length === 0 ? {} : { refused: Object.fromEntries(refused) })
    })
  },
  decode: (json) => {
    const fields = TurnForm.decode(json)
    const { charged, content, cost, finishReason, refused, responseId, responseModel, steps, turnUsage, usage } = fields
    const calls = content.filter(isCall).map(({ id, name, params }): Call => ({
      id,
      name,
      params,
      ...(refused?.[id] === undefined ? {} : { refused: refused[id] })
    }))
    const text = content.reduce((text, part) => (part.type === "text" ? text + part.text : text), "")
    const hasFiles = content.some(({ type }) => type === "file")
    const turn: Turn = {
      content,
      text,
      calls,
      hasFiles,
      finishReason,
      usage: turnUsage,
      responseId,
      responseModel,
      answeredBy: fields.answeredBy
    }
    return { turn, usage, cost, steps, charged }
  }
}

const FailureForm = formOf(
  Schema.Struct({ ...Spent, error: AiError.AiError, attempts: Schema.Int }) as unknown as Schema.Codec<
    FailureFields,
    unknown
  >
)

interface FailureFields extends SpentFields {
  readonly error: AiError.AiError
  readonly attempts: number
}

/** How the failure of a call is kept. Of the exchange with the server only what the error itself says. */
export const keptFailure: Form<KeptFailure> = {
  encode: ({ attempts, error, ...spent }) =>
    FailureForm.encode({ ...spentFields(spent), attempts, error: withoutHttp(error) }),
  decode: (json) => {
    const { attempts, charged, cost, error, steps, usage } = FailureForm.decode(json)
    return { attempts, error, steps, usage, cost, charged }
  }
}

/** Headers of a server are not kept: they can be secrets. */
const withoutHttp = (error: AiError.AiError): AiError.AiError => {
  const { reason } = error
  if (!("http" in reason) || reason.http === undefined) return error
  const bare = Object.assign(Object.create(Object.getPrototypeOf(reason) as object) as AiError.AiErrorReason, reason)
  Object.defineProperty(bare, "http", { value: undefined, enumerable: true })
  return AiError.make({ module: error.module, method: error.method, reason: bare })
}
