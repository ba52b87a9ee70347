/**
 * Tools that the model finds: a source of tools around others, of which the model sees a search tool and what it has found. An agent
 * with hundreds of tools sends a few of them, and picks among a few.
 *
 * What was found stays, in the order in which it was found, so that a request begins as the one before it did. It is known by the
 * conversation: a run that goes on from a transcript has the tools that it had.
 */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import { memoize } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AgentTool from "../AgentTool.ts"
import { assertOptions, assertText, countOf, invalid, kindOf } from "../internal/definition.ts"
import { listAll, type Listed, ListedFor } from "../internal/toolListing.ts"
import { Deferred } from "../internal/toolMarks.ts"
import * as ModelInfo from "../services/ModelInfo.ts"
import * as ToolSource from "../ToolSource.ts"
import { type Indexed, indexOf, search } from "./internal/toolIndex.ts"

/** Options of {@link make}. */
export interface Options {
  /** The names of tools that are always shown. Default: none. */
  readonly always?: ReadonlyArray<string> | undefined
  /** How many tools one search adds at most. Default 5. */
  readonly max?: number | undefined
  /** The name of the search tool. Default `"search_tools"`. */
  readonly name?: string | undefined
  /**
   * Whether the provider searches, where the model has a tool search of its own (`ModelInfo.toolSearch`: newer models of OpenAI by the
   * Responses API, and of Anthropic by `AiSdk`). All tools are sent then, and the model is shown those of `always` and what
   * it has found. Default false: the search is ours for every model.
   */
  readonly provider?: boolean | undefined
  /** What the tools are for, for the model: "tools for GitHub and Slack". It is part of the search tool's description. */
  readonly about?: string | undefined
}

type Member = AgentTool.Any | ToolSource.Any
type ServicesOf<T> = AgentTool.Services<T> | ToolSource.Services<T>

/**
 * Makes the source, for the `tools` of an agent. The model is shown the tools of `always`, the search tool, and from the next step
 * on what it has found. A search is by words, in names, descriptions and parameters.
 *
 * Throws `InvalidDefinition` for a `max` that is not a whole number from 1, and for what is neither a tool nor a source of tools.
 *
 * @example
 * import { Agent, Mcp, ToolSearch } from "troupe"
 *
 * const found = ToolSearch.make([Mcp.tools()], { always: ["me"], max: 5 })
 * const agent = Agent.make("agent", { tools: [found] })
 */
export const make = <const T extends ReadonlyArray<Member>>(
  tools: T,
  options: Options = {}
): ToolSource.ToolSource<ServicesOf<T[number]>> => {
  const settings = settingsOf(tools, options)
  const own = tools.filter((one) => AgentTool.isAgentTool(one))
  const sources = tools.filter((one) => ToolSource.isToolSource(one))
  const known = new WeakMap<object, Cache>()
  const foundIn = finder(settings.name)
  const list = (taken: ReadonlySet<string>): Effect.Effect<Listed, never, unknown> =>
    Effect.gen(function* () {
      const listed = yield* ListedFor
      const given = yield* listAll(own, sources, new Set([...taken, settings.name]))
      const info = settings.provider ? yield* ModelInfo.get : undefined
      if (info?.toolSearch === true) return deferred(settings, given.flat())
      const found = foundIn(listed.messages())
      const before = known.get(listed)
      const isSame =
        before !== undefined &&
        before.given.length === given.length &&
        before.given.every((one, at) => one === given[at]) &&
        before.found.length === found.length
      if (isSame) return before.shown
      const shown = shownOf(settings, given.flat(), found)
      known.set(listed, { given, found, shown })
      return shown
    })
  return {
    ...ToolSource.make("found tools", list as ToolSource.List<ServicesOf<T[number]>>, {
      names: [settings.name, ...sources.flatMap(({ names }) => names)]
    }),
    from: sources.flatMap(({ from }) => from),
    holds: () => [...own.map(({ tool }) => tool), ...sources.flatMap(({ holds }) => holds())]
  }
}

interface Settings {
  readonly name: string
  readonly max: number
  readonly always: ReadonlyArray<string>
  readonly provider: boolean
  readonly about: string | undefined
}

interface Cache {
  readonly given: ReadonlyArray<Listed>
  readonly found: ReadonlyArray<string>
  readonly shown: Listed
}

const settingsOf = (tools: ReadonlyArray<unknown>, options: Options): Settings => {
  const subject = "tool search"
  const { about, always = [], max = 5, name = "search_tools", provider = false } = options
  assertOptions(subject, options, new Set(["always", "max", "name", "provider", "about"]))
  assertText(subject, "name", name)
  assertText(subject, "about", about)
  countOf(subject, "max", max)
  if (!Array.isArray(tools))
    throw invalid(subject, `its tools are ${kindOf(tools)}, not a list`, "Write ToolSearch.make([Mcp.tools()])")
  const other = tools.findIndex((one) => !AgentTool.isAgentTool(one) && !ToolSource.isToolSource(one))
  if (other >= 0) {
    throw invalid(
      subject,
      `tools[${other}] is ${kindOf(tools[other])}, neither a tool nor a source of tools`,
      "Give it tools of AgentTool, or sources such as Mcp.tools()"
    )
  }
  return { name, max, always, provider, about }
}

/** The tools that are shown: those that always are, the search tool, and what was found. */
const shownOf = (settings: Settings, all: Listed, found: ReadonlyArray<string>): Listed => {
  const byName = new Map(all.map((tool) => [tool.name, tool]))
  const always = settings.always.flatMap((name) => byName.get(name) ?? [])
  const later = found.flatMap((name) => (settings.always.includes(name) ? [] : (byName.get(name) ?? [])))
  return [...always, searchTool(settings, all), ...later]
}

/** All tools, for the provider's search: those that are always shown first, the others marked. */
const deferred = ({ always }: Settings, all: Listed): Listed => {
  const byName = new Map(all.map((tool) => [tool.name, tool]))
  const shown = always.flatMap((name) => byName.get(name) ?? [])
  return [...shown, ...all.flatMap((tool) => (always.includes(tool.name) ? [] : [marked(tool)]))]
}

/** The same for the same tool: a definition that is another one would be sent again. */
const marked = memoize((tool: Listed[number]): Listed[number] => ({
  ...tool,
  tool: tool.tool.annotate(Deferred, true)
}))

/** Made once for each list of tools: a definition that is another one would be sent again. */
const searchTool = ({ about, max, name }: Settings, all: Listed): Listed[number] => {
  let index: ReadonlyArray<Indexed> | undefined
  const what = about === undefined ? "" : ` There are ${about}.`
  return AgentTool.fromFunction(name, {
    description: `Find more tools.${what} Say what you want to do. The tools that are found can be called from the next step on`,
    parameters: Schema.Struct({
      query: Schema.String.annotate({ description: "What the tool is to do, in a few words" })
    }),
    hints: { readOnly: true, idempotent: true, openWorld: false },
    execute: ({ query }) => {
      index ??= indexOf(all.map(describe))
      const tools = search(index, query, max).map(({ description, name }) => ({ name, description }))
      return tools.length === 0 ? { tools, hint: "Nothing was found. Search with other words." } : { tools }
    }
  })
}

const describe = ({ tool }: AgentTool.Any) => ({
  name: tool.name,
  description: (tool.description ?? "").slice(0, 500),
  parameters: Tool.isProviderDefined(tool) ? "" : namesIn(Tool.getJsonSchema(tool))
})

/** The names and descriptions of parameters. */
const namesIn = (schema: unknown): string => {
  const properties: unknown = Predicate.hasProperty(schema, "properties") ? schema.properties : undefined
  if (!Predicate.isObject(properties)) return ""
  return Object.entries(properties)
    .map(([name, field]) =>
      Predicate.hasProperty(field, "description") ? `${name} ${String(field.description)}` : name
    )
    .join(" ")
    .slice(0, 1000)
}

/** Makes a reader of the tools that a search found in a conversation, and of those that were called in it, in their order. */
const finder = (searchName: string) => {
  const namesFound = memoize((message: Prompt.Message) => namesOf(message, searchName))
  return (messages: ReadonlyArray<Prompt.Message>): ReadonlyArray<string> => {
    const found = new Set(messages.flatMap(namesFound))
    found.delete(searchName)
    return [...found]
  }
}

const namesOf = (message: Prompt.Message, searchName: string): ReadonlyArray<string> => {
  if (message.role === "assistant") {
    return message.content.flatMap((part) => (part.type === "tool-call" && part.name !== searchName ? [part.name] : []))
  }
  if (message.role !== "tool") return []
  return message.content.flatMap((part) => {
    const isFound = part.type === "tool-result" && part.name === searchName
    const tools: unknown = isFound && Predicate.hasProperty(part.result, "tools") ? part.result.tools : undefined
    return Array.isArray(tools)
      ? tools.flatMap((one: unknown) =>
          Predicate.hasProperty(one, "name") && typeof one.name === "string" ? [one.name] : []
        )
      : []
  })
}
