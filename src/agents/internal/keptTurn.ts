/** What a journal keeps of a model call: the provider's turn or its failure, and what was used in addition to the turn's own usage. */
import * as AiError from "effect/ai/AiError"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import { answeredBy } from "../../internal/answeredBy.ts"
import { type Form, formOf } from "../../internal/journaled.ts"
import type { Moment } from "../../internal/bill.ts"
import type { RunState } from "../../internal/runState.ts"
import type { Charged } from "../../internal/budget.ts"
import { UsedForm, usedSince } from "../../internal/stepAccount.ts"
import type { Failed, Request } from "./modelCall.ts"
import { type AnyPart, type Call, Collector, type Turn } from "./turnCollector.ts"

const Spent = Schema.Struct({ ...UsedForm.fields, usage: Schema.optionalKey(Response.Usage) })
/** What failed attempts, and runs that answered for the model, have used; without usage where they have used no tokens. */
export interface KeptSpent extends Schema.Schema.Type<typeof Spent> {}

/** A kept turn. */
export interface KeptTurn extends KeptSpent {
  readonly turn: Turn
}

/** A kept failure. */
export interface KeptFailure extends Failed, KeptSpent {}

/** What the run has used since a moment. The usage of the turn itself is counted by the loop. */
export const spentSince = ({ bill }: RunState, before: Moment, charged: Charged | undefined): KeptSpent => {
  const used = usedSince(bill, before, charged)
  const { inputTokens, outputTokens } = used.usage
  return (inputTokens.total ?? 0) + (outputTokens.total ?? 0) === 0 ? { steps: used.steps } : used
}

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

const TurnForm = formOf(
  Schema.Struct({
    ...Spent.fields,
    content: Schema.Array(Response.Part()),
    finishReason: Response.FinishReason,
    turnUsage: Response.Usage,
    responseId: Schema.optionalKey(Schema.String),
    responseModel: Schema.optionalKey(Schema.String),
    answeredBy: Schema.optionalKey(Schema.Struct({ provider: Schema.String, model: Schema.String })),
    refused: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  })
)

const isCall = (part: Response.AnyPart): part is Response.ToolCallPart<string, unknown> =>
  part.type === "tool-call" && !part.providerExecuted

/** How a turn is kept. */
export const keptTurn: Form<KeptTurn> = {
  encode: ({ turn, ...spent }) => {
    const { calls, content, finishReason, responseId, responseModel } = turn
    const refused = calls.flatMap((call) => (call.refused === undefined ? [] : [[call.id, call.refused] as const]))
    return TurnForm.encode({
      ...spent,
      // A collector keeps no part that is an error.
      content: content as ReadonlyArray<Response.Part<{}>>,
      finishReason,
      turnUsage: turn.usage,
      ...(responseId === undefined ? {} : { responseId }),
      ...(responseModel === undefined ? {} : { responseModel }),
      ...(turn.answeredBy === undefined ? {} : { answeredBy: turn.answeredBy }),
      ...(refused.length === 0 ? {} : { refused: Object.fromEntries(refused) })
    })
  },
  decode: (json) => {
    const { answeredBy, content, finishReason, refused, responseId, responseModel, turnUsage, ...spent } =
      TurnForm.decode(json)
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
      answeredBy
    }
    return { ...spent, turn }
  }
}

const FailureForm = formOf(Schema.Struct({ ...Spent.fields, error: AiError.AiError, attempts: Schema.Int }))

/** How the failure of a call is kept. Of the exchange with the server only what the error itself says. */
export const keptFailure: Form<KeptFailure> = {
  encode: (failure) => FailureForm.encode({ ...failure, error: withoutHttp(failure.error) }),
  decode: FailureForm.decode
}

/** Headers of a server are not kept: they can be secrets. */
const withoutHttp = (error: AiError.AiError): AiError.AiError => {
  const { reason } = error
  if (!("http" in reason) || reason.http === undefined) return error
  const bare = Object.assign(Object.create(Object.getPrototypeOf(reason) as object) as AiError.AiErrorReason, reason)
  Object.defineProperty(bare, "http", { value: undefined, enumerable: true })
  return AiError.make({ module: error.module, method: error.method, reason: bare })
}
