/** Requests for what a model lacks: refused before they are sent, with an error that names it. */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { type CallSettings, CurrentSettings, type ModelInfo } from "../services/ModelInfo.ts"

/** Names what a model lacks, and how the call was made. */
export interface Lacked {
  readonly module: string
  readonly method: string
  /** Such as `reasoning`, `cache` or `tools`. */
  readonly what: string
  readonly description: string
}

/** The reason of an error of a request for what the model lacks. */
export const reasonOf = ({ description, what }: Pick<Lacked, "description" | "what">): AiError.InvalidRequestError =>
  // Metadata is typed by what programs declare of providers.
  new AiError.InvalidRequestError({ parameter: what, description, metadata: { troupe: { lacks: what } } })

/** The error of a request for what the model lacks. It is not retried; another model of a `Fallback` is asked. */
export const errorOf = ({ method, module, ...lacked }: Lacked): AiError.AiError =>
  AiError.make({ module, method, reason: reasonOf(lacked) })

/** What the model lacks that an error says was asked of it; `undefined` for any other error. */
export const lackedBy = ({ reason }: AiError.AiError): string | undefined => {
  if (reason._tag !== "InvalidRequestError") return undefined
  const own: unknown = Predicate.hasProperty(reason.metadata, "troupe") ? reason.metadata.troupe : undefined
  return Predicate.hasProperty(own, "lacks") && typeof own.lacks === "string" ? own.lacks : undefined
}

/** The setting that a model has to be able to follow, as it would otherwise do another thing than asked; `undefined` for none. */
export const demanded = ({ cache, reasoning }: CallSettings): "reasoning" | "cache" | undefined =>
  reasoning !== undefined && reasoning !== "none" ? "reasoning" : typeof cache === "object" ? "cache" : undefined

/** Fails where the settings ask for something of a model whose Layer does not read them. */
export const refuseUnread = (
  module: string,
  info: ModelInfo | undefined,
  model: string | undefined
): Effect.Effect<void, AiError.AiError> =>
  info?.readsSettings === true
    ? Effect.void
    : Effect.flatMap(CurrentSettings, (settings) => {
        const what = demanded(settings)
        if (what === undefined) return Effect.void
        const name = model === undefined ? "this model" : `the model ${model}`
        const description = `${name} does not take \`${what}\`: its Layer reads no settings of a call. Use another model, or leave out \`${what}\``
        return Effect.fail(errorOf({ module, method: "step", what, description }))
      })
