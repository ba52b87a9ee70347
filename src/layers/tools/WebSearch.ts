/** A search of the web for agents on any model: that of the model's provider where it has one, otherwise one of the program's own. */
import * as Schema from "effect/Schema"
import * as AgentTool from "../../AgentTool.ts"
import { assertOptions, countOf, kindOf, namesOf } from "../../internal/definition.ts"
import type { ServicesOf } from "../../internal/toolFunction.ts"
import { type Location, type Search, SearchesWeb } from "../../internal/toolMarks.ts"
import { InvalidDefinition } from "../../RunError.ts"

export type { Location } from "../../internal/toolMarks.ts"

/** What a search asks for. */
export interface Query {
  readonly query: string
}

/** How the web is searched. */
export interface Options {
  /** Only pages of these domains, such as `effect.website`. A provider that cannot be asked for that counts as one without a search. */
  readonly allowedDomains?: ReadonlyArray<string> | undefined
  /** No pages of these domains. A provider that cannot be asked for that counts as one without a search. */
  readonly blockedDomains?: ReadonlyArray<string> | undefined
  /** How often one answer may search, at providers that take a limit. Default: as the provider has it. */
  readonly maxUses?: number | undefined
  /** About where the user is, for results that depend on it. */
  readonly location?: Location | undefined
}

/**
 * {@link Options}, with what searches where the model's provider does not: a function of the query, which returns anything that has
 * a JSON form, or a tool, whose name, parameters and function it then has.
 */
export interface WithFallback<F> extends Options {
  readonly fallback: F
}

const description = "Search the web. Returns pages that are about the query."
const parameters = Schema.Struct({ query: Schema.String })

/**
 * A tool that searches the web. OpenAI (the Responses API), Claude, Gemini and Grok search themselves: their calls and results are
 * `ToolCalled` and `ToolCompleted` events with `providerExecuted`, and the sources are in the transcript. On other models the
 * `fallback` searches. Without one the run fails before a request with a `ModelError`, whose reason is an `InvalidRequestError` with
 * `parameter: "web_search"`; a `Fallback` of models passes such a model over.
 *
 * Interrupting a run interrupts the fallback as any tool. Throws `InvalidDefinition` for a fallback that is neither a function nor a
 * tool.
 *
 * @example
 * import { Agent, WebSearch } from "troupe"
 *
 * const search = WebSearch.tool({
 *   fallback: async ({ query }) => (await fetch(`http://localhost:8888/search?format=json&q=${encodeURIComponent(query)}`)).json()
 * })
 * const researcher = Agent.make("researcher", { instructions: "Name your sources.", tools: [search] })
 */
export const tool: {
  (options?: Options & { readonly fallback?: undefined }): AgentTool.AgentTool<string, never>
  <R>(options: WithFallback<AgentTool.AgentTool<string, R>>): AgentTool.AgentTool<string, R>
  <Out>(options: WithFallback<(query: Query) => Out>): AgentTool.AgentTool<string, ServicesOf<Out>>
} = (options: Options & { readonly fallback?: Fallback | undefined } = {}): AgentTool.AgentTool<string, never> => {
  assertOptions("WebSearch.tool", options, known)
  if (options.maxUses !== undefined) countOf("WebSearch.tool", "maxUses", options.maxUses)
  const { fallback, ...asked } = options
  const search: Search = { ...asked, hasFallback: fallback !== undefined }
  const own = toolOf(fallback)
  // The services are those of the fallback, as the types above say.
  return { ...own, tool: own.tool.annotate(SearchesWeb, search) } as AgentTool.AgentTool<string, never>
}

const known = namesOf<WithFallback<unknown>>({
  allowedDomains: true,
  blockedDomains: true,
  maxUses: true,
  location: true,
  fallback: true
})

type Fallback = AgentTool.Any | ((query: Query) => unknown)

const unasked = (): never => {
  throw new Error("the model's provider searches the web itself, and did not do so")
}

const toolOf = (fallback: Fallback | undefined): AgentTool.Any => {
  if (AgentTool.isAgentTool(fallback)) return fallback
  if (fallback !== undefined && typeof fallback !== "function") {
    throw new InvalidDefinition({
      subject: "WebSearch.tool",
      problem: `its fallback is ${kindOf(fallback)}`,
      remedy: "Give it a function of the query, or a tool such as AgentTool.fromFunction makes"
    })
  }
  return AgentTool.fromFunction("web_search", {
    description,
    parameters,
    hints: { readOnly: true },
    execute: fallback ?? unasked
  })
}
