/** Requests for what a model lacks: refused before they are sent, with an error that names it. */
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { type CallSettings, CurrentSettings, type ModelInfo } from "../services/ModelInfo.ts"
import { markOf, SearchesWeb } from "./toolMarks.ts"

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

/** Whether a tool is the search of a provider and has nothing that searches in its place. */
export const isSearchAlone = (tool: Tool.Any): boolean => markOf(tool, SearchesWeb)?.hasFallback === false

/** What is said of a model without a search of its own. */
export const noSearch = (model: string): string =>
  `${model} has no search of the web that it could be asked for. Use another model, or give WebSearch.tool a fallback that searches`

/** What is wrong with the tools of a request to a model whose provider runs none itself; `undefined` for nothing. */
export const unrunnable = (
  tools: ReadonlyArray<Tool.Any>,
  model: string
): Pick<Lacked, "what" | "description"> | undefined => {
  if (tools.some(isSearchAlone)) return { what: "web_search", description: noSearch(model) }
  const provided = tools.find(Tool.isProviderDefined)
  if (provided === undefined) return undefined
  const description = `${model} does not run the tool ${provided.id}, which is of a provider. Use a model of that provider, or a tool of your own`
  return { what: provided.providerName, description }
}

/** Fails where something is asked of a model whose Layer reads no settings: reasoning, a time in the cache, its provider's search. */
export const refuseUnread = (
  module: string,
  info: ModelInfo | undefined,
  model: string | undefined,
  tools: ReadonlyArray<Tool.Any>
): Effect.Effect<void, AiError.AiError> =>
  info?.readsSettings === true
    ? Effect.void
    : Effect.flatMap(CurrentSettings, (settings) => {
        const name = model === undefined ? "this model" : `the model ${model}`
        const fail = (what: string, description: string) =>
          Effect.fail(errorOf({ module, method: "step", what, description }))
        if (tools.some(isSearchAlone)) return fail("web_search", noSearch(name))
        const what = demanded(settings)
        if (what === undefined) return Effect.void
        return fail(
          what,
          `${name} does not take \`${what}\`: its Layer reads no settings of a call. Use another model, or leave out \`${what}\``
        )
      })
