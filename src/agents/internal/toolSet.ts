/** The tools of an agent by name, and as the model is shown them. Internal to the agents; it runs no tool. */
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as AgentTool from "../../AgentTool.ts"
import { shown, validate } from "../../internal/toolDefinition.ts"
import { type Handoff, HandsOff, markOf } from "../../internal/toolMarks.ts"
import { InvalidDefinition } from "../../RunError.ts"

/** Tools, each with its name. */
export interface ToolSet {
  readonly byName: ReadonlyMap<string, Tool.Any | AgentTool.Any>
  /** All tools as the model's side of effect/ai takes them; `undefined`: there is none. */
  readonly shown: Toolkit.WithHandler<Record<string, Tool.Any>> | undefined
  /** The tools that hand the conversation over. */
  readonly handoffs: ReadonlyArray<Handoff & { readonly name: string }>
}

/** A set of no tools. */
export const none: ToolSet = { byName: new Map(), shown: undefined, handoffs: [] }

/** Adds tools to a set. Throws `InvalidDefinition` for a name that is there already, or that providers refuse. */
export const add = (subject: string, set: ToolSet, tools: ReadonlyArray<Tool.Any | AgentTool.Any>): ToolSet => {
  if (tools.length === 0) return set
  const byName = new Map(set.byName)
  for (const entry of tools) {
    const tool = AgentTool.isAgentTool(entry) ? entry.tool : entry
    validate(tool)
    if (byName.has(tool.name)) {
      throw new InvalidDefinition({
        subject,
        problem: `it has two tools named "${tool.name}"`,
        remedy: "Rename one of them"
      })
    }
    byName.set(tool.name, entry)
  }
  const handoffs = [...byName].flatMap(([name, entry]) => {
    const handoff = AgentTool.isAgentTool(entry) ? markOf(entry.tool, HandsOff) : undefined
    return handoff === undefined ? [] : [{ ...handoff, name }]
  })
  return { byName, shown: show(byName), handoffs }
}

/** What the model is shown of a set without the tools called `hidden`. */
export const shownWithout = (set: ToolSet, hidden: ReadonlySet<string>): ToolSet["shown"] => {
  const left = [...set.byName].filter(([name]) => !hidden.has(name))
  return left.length === 0 ? undefined : show(new Map(left))
}

/** effect/ai's side of the tools: it shows them to the model and is told to run none. */
const show = (byName: ToolSet["byName"]): Toolkit.WithHandler<Record<string, Tool.Any>> => ({
  tools: Object.fromEntries(
    [...byName].map(([key, entry]) => [key, shown(AgentTool.isAgentTool(entry) ? entry.tool : entry)])
  ),
  handle: () => Effect.die(new Error("tools are run by the agent loop"))
})
