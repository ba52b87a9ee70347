/** Puts a provider's own search of the web in the place of a tool that stands for it. */
import type * as Tool from "effect/ai/Tool"
import { memoize } from "effect/Function"
import * as Lacking from "../../../internal/lacking.ts"
import { markOf, type Search, SearchesWeb } from "../../../internal/toolMarks.ts"
import * as Problems from "./problems.ts"

/** The search of a provider, by what is asked of it and the other tools of the request; `undefined` where it has none. */
export type Own = (search: Search, others: ReadonlyArray<Tool.Any>) => Tool.Any | undefined

/** No search. */
export const none: Own = () => undefined

/**
 * The tools as a model is sent them: the search of its provider, otherwise what the program has in its place. The same list for
 * the same tools. Throws `Lacking` where there is neither.
 */
export const resolver = (model: string, own: Own): ((tools: ReadonlyArray<Tool.Any>) => ReadonlyArray<Tool.Any>) =>
  memoize((tools) => resolved(tools, model, own))

const resolved = (tools: ReadonlyArray<Tool.Any>, model: string, own: Own): ReadonlyArray<Tool.Any> => {
  if (tools.every((tool) => markOf(tool, SearchesWeb) === undefined)) return tools
  return tools.map((tool) => {
    const search = markOf(tool, SearchesWeb)
    if (search === undefined) return tool
    const provided = own(
      search,
      tools.filter((other) => other !== tool)
    )
    if (provided === undefined && !search.hasFallback)
      throw new Problems.Lacking("web_search", Lacking.noSearch(`the model ${model}`))
    return provided ?? tool
  })
}
