/** The tools of an agent, by name and as the model sees them. */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as JsonSchema from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../AgentTool.ts"
import { canonical } from "../../internal/fingerprint.ts"
import { formOf, journalOf } from "../../internal/journaled.ts"
import { toJson } from "../../internal/json.ts"
import { invalid, kindOf } from "../../internal/definition.ts"
import { forModel, validate } from "../../internal/toolDefinition.ts"
import { listSources } from "../../internal/toolListing.ts"
import { type Handoff, HandsOff, markOf } from "../../internal/toolMarks.ts"
import type { InvalidDefinition } from "../../RunError.ts"
import { isRunner } from "../../Runner.ts"
import * as ToolSource from "../../ToolSource.ts"

/** Tools, each with its name. */
export interface ToolSet {
  readonly byName: ReadonlyMap<string, Tool.Any | AgentTool.Any>
  /** All tools, as `effect/ai` takes them to show them to a model; `undefined` without tools. */
  readonly forModel: Toolkit.WithHandler<Record<string, Tool.Any>> | undefined
  /** The tools that hand the conversation over. */
  readonly handoffs: ReadonlyArray<Handoff & { readonly name: string }>
}

/** A set of no tools. */
export const none: ToolSet = { byName: new Map(), forModel: undefined, handoffs: [] }

/** Adds tools to a set. Throws `InvalidDefinition` for a name that is there already, or that providers refuse. */
export const add = (subject: string, set: ToolSet, tools: ReadonlyArray<Tool.Any | AgentTool.Any>): ToolSet => {
  if (tools.length === 0) return set
  const byName = new Map(set.byName)
  for (const entry of tools) {
    const tool = AgentTool.isAgentTool(entry) ? entry.tool : entry
    validate(tool)
    const other = byName.get(tool.name)
    if (other !== undefined) throw twice(subject, tool.name, [other, entry])
    byName.set(tool.name, entry)
  }
  const handoffs = [...byName].flatMap(([name, entry]) => {
    const handoff = AgentTool.isAgentTool(entry) ? markOf(entry.tool, HandsOff) : undefined
    return handoff === undefined ? [] : [{ ...handoff, name }]
  })
  return { byName, forModel: show(byName), handoffs }
}

/** A set, the lists of its sources, and their tools in the order in which the model sees them. */
export interface Sourced {
  readonly lists: ReadonlyArray<ReadonlyArray<AgentTool.Any>>
  readonly tools: ReadonlyArray<AgentTool.Any>
  readonly set: ToolSet
}

/** What the step before had: the tools of the sources, and what the model was offered of them, where that is kept. */
export interface Before {
  readonly sourced: Sourced | undefined
  readonly offer: Offer | undefined
}

/**
 * Adds the tools that sources give now. Where each of them gives the list that it gave before, the set is the same. Throws
 * as {@link add} does.
 */
export const fromSources = Effect.fnUntraced(function* (
  subject: string,
  tools: ToolSet,
  sources: ReadonlyArray<ToolSource.Any>,
  { offer, sourced: before }: Before
): Effect.fn.Return<Sourced, never, unknown> {
  const lists = yield* listSources(tools.byName.keys(), sources)
  const isSame = before?.lists.length === lists.length && lists.every((list, index) => list === before.lists[index])
  if (isSame && offer?.tools === undefined) return before
  const ordered = inOrder(lists.flat(), offer?.tools ?? before?.tools)
  if (isSame && ordered.every((tool, index) => tool === before.tools[index])) return before
  return { lists, tools: ordered, set: add(subject, tools, ordered) }
})

/** A tool of a source, as the model sees it. */
const Shown = Schema.Struct({ name: Schema.String, description: Schema.String, parameters: Schema.Json })

/** What of a set can change from step to step, as a journal keeps it. */
const Offer = Schema.Struct({
  /** The tools of sources; `undefined` for those of the step before. */
  tools: Schema.optional(Schema.Array(Shown)),
  /** Tools of handoffs that are not offered. */
  hidden: Schema.Array(Schema.String)
})
/** What of a set can change from step to step. */
export type Offer = typeof Offer.Type

/** How an offer is kept. */
export const offerForm = formOf(Offer)

/** What is offered in a step. A list that is that of the step before is not said again. */
export const offerOf = ({ set, tools: listed }: Sourced, before: Offer | undefined): Effect.Effect<Offer> =>
  Effect.withFiber((fiber) =>
    Effect.map(
      Effect.filter(set.handoffs, ({ isOffered }) => Effect.map(isOffered, (yes) => !yes)),
      (hidden) => {
        const offer = { hidden: hidden.map(({ name }) => name) }
        if (journalOf(fiber) === undefined) return offer
        const tools = listed.map(({ tool }) => ({
          name: tool.name,
          description: tool.description ?? "",
          parameters: Tool.isProviderDefined(tool) ? {} : toJson(Tool.getJsonSchema(tool))
        }))
        return before?.tools !== undefined && canonical(toJson(before.tools)) === canonical(toJson(tools))
          ? offer
          : { tools, ...offer }
      }
    )
  )

/**
 * The tools of a step that was offered them. One that its source does not give any more is there still, for calls whose results
 * are known; another call of it fails.
 */
export const offeredIn = (
  subject: string,
  own: ToolSet,
  { set, tools: now }: Sourced,
  { tools }: Offer,
  before: Offer | undefined
): ToolSet => {
  const offered = tools ?? before?.tools
  const isSame = offered?.length === now.length && offered.every(({ name }, index) => name === now[index]!.name)
  if (offered === undefined || isSame) return set
  const byName = new Map(now.map((tool) => [tool.name, tool]))
  return add(
    subject,
    own,
    offered.map((shown) => byName.get(shown.name) ?? goneTool(shown))
  )
}

const goneTool = ({ description, name, parameters }: typeof Shown.Type): AgentTool.Any =>
  AgentTool.make(
    name,
    "effect",
    Tool.dynamic(name, { description, parameters: parameters as JsonSchema.JsonSchema }),
    () => Effect.fail(`the tool "${name}" is not there any more`)
  )

/** The toolkit for the model without the tools called `hidden`. */
export const forModelWithout = (set: ToolSet, hidden: ReadonlySet<string>): ToolSet["forModel"] => {
  const left = [...set.byName].filter(([name]) => !hidden.has(name))
  return left.length === 0 ? undefined : show(new Map(left))
}

/** The choice among the tools that a model is shown: none can be forced that is not. */
export const choiceAmong = (
  choice: LanguageModel.ToolChoice<string>,
  shown: ToolSet["forModel"]
): LanguageModel.ToolChoice<string> => {
  if (choice === "auto" || choice === "none") return choice
  if (choice === "required") return shown === undefined ? "auto" : choice
  const isShown = (name: string) => shown !== undefined && Object.hasOwn(shown.tools, name)
  if ("tool" in choice) return isShown(choice.tool) ? choice : "auto"
  const oneOf = choice.oneOf.filter(isShown)
  return oneOf.length === 0 ? "auto" : { ...choice, oneOf }
}

/**
 * Throws `InvalidDefinition` for what is not a list of tools that carry their handlers, or not a toolkit, and says how to
 * make one of what was given.
 */
export const assertTools = (subject: string, tools: unknown, toolkit: unknown): void => {
  if (toolkit !== undefined && !(Predicate.hasProperty(toolkit, "tools") && Predicate.isObject(toolkit.tools))) {
    throw invalid(
      subject,
      `toolkit is ${kindOf(toolkit)}, not a toolkit`,
      "Make it with Toolkit.make(tool, ...) of effect/ai, or give tools that carry their handlers as tools"
    )
  }
  if (tools === undefined) return
  if (!Array.isArray(tools)) {
    const problem = Predicate.hasProperty(tools, "tools")
      ? "tools is a toolkit, not a list"
      : `tools is ${kindOf(tools)}, not a list`
    throw invalid(subject, problem, "Write tools: [a, b], or give tools of effect/ai as toolkit")
  }
  for (const [index, one] of tools.entries()) {
    if (AgentTool.isAgentTool(one) || ToolSource.isToolSource(one)) continue
    throw invalid(subject, `tools[${index}] ${whatIs(one)}`, howToMake(one))
  }
}

const isToolOfEffect = (one: unknown): one is Tool.Any =>
  Tool.isUserDefined(one) || Tool.isDynamic(one) || Predicate.hasProperty(one, "parametersSchema")

const whatIs = (one: unknown): string => {
  if (isRunner(one)) return `is a runner ("${one.name}"), not a tool`
  if (isToolOfEffect(one)) return `("${one.name}") does not carry its handler`
  return `is ${kindOf(one)}, not a tool that carries its handler`
}

const howToMake = (one: unknown): string => {
  if (Array.isArray(one)) return "Spread it: tools: [...AgentTool.background(runner), other]"
  if (isRunner(one)) return "Make it a tool with AgentTool.fromRunner"
  if (isToolOfEffect(one)) {
    return "Give it as toolkit: Toolkit.make(tool), and its handler by Layer; or make it with AgentTool.fromFunction"
  }
  return "Make it with AgentTool.fromFunction, of a runner with AgentTool.fromRunner, or give tools of effect/ai as toolkit"
}

const twice = (subject: string, name: string, entries: ReadonlyArray<Tool.Any | AgentTool.Any>): InvalidDefinition => {
  const runners = entries.flatMap((entry) =>
    AgentTool.isAgentTool(entry) && entry.runner !== undefined && entry.runner.name !== name
      ? [`"${entry.runner.name}"`]
      : []
  )
  const whose = runners.length === 0 ? "" : `, made of the name of the runner ${runners.join(" and of ")}`
  const remedy = runners.length === 0 ? "Rename one of them" : 'Give one of them another name: { name: "..." }'
  return invalid(subject, `it has two tools named "${name}"${whose}`, remedy)
}

/** New tools come after those of the step before, so that a request begins as the one before it. */
const inOrder = (
  tools: ReadonlyArray<AgentTool.Any>,
  before: ReadonlyArray<{ readonly name: string }> | undefined
): ReadonlyArray<AgentTool.Any> => {
  if (before === undefined) return tools
  const places = new Map(before.map(({ name }, place) => [name, place]))
  const placeOf = ({ name }: AgentTool.Any) => places.get(name) ?? places.size
  return tools.toSorted((a, b) => placeOf(a) - placeOf(b))
}

/** effect/ai's side of the tools: it shows them to the model and does not run them. */
const show = (byName: ToolSet["byName"]): Toolkit.WithHandler<Record<string, Tool.Any>> => ({
  tools: Object.fromEntries(
    [...byName].map(([key, entry]) => [key, forModel(AgentTool.isAgentTool(entry) ? entry.tool : entry)])
  ),
  handle: () => Effect.die(new Error("tools are run by the agent loop"))
})
