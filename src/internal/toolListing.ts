/** How a source of tools asks others, and the conversation that it is asked for: its tools can depend on what was said. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import type { AgentTool, Any } from "../AgentTool.ts"
import type { Any as Source } from "../ToolSource.ts"

/** Tools as a source lists them. */
export type Listed = ReadonlyArray<AgentTool<string, never>>

/** One run of an agent, as its sources see it: the same object at each step. */
export interface Listing {
  readonly messages: () => ReadonlyArray<Prompt.Message>
}

/** Set by the agent loop while it asks its sources. */
export const ListedFor: Context.Reference<Listing> = Context.Reference<Listing>("troupe/internal/ListedFor", {
  defaultValue: () => ({ messages: () => [] })
})

/** The lists of all: the tools at hand, then those of each source, which is asked with the names that those before it have taken. */
export const listAll = Effect.fnUntraced(function* (
  own: ReadonlyArray<Any>,
  sources: ReadonlyArray<Source>,
  taken: ReadonlySet<string>
): Effect.fn.Return<ReadonlyArray<Listed>, never, unknown> {
  const names = new Set([...taken, ...own.map(({ name }) => name)])
  // What the tools need, the agent needs.
  const lists: Array<Listed> = [own as Listed]
  for (const source of sources) {
    for (const name of source.names) names.delete(name)
    const list = yield* source.list(names)
    for (const { name } of list) names.add(name)
    lists.push(list)
  }
  return lists
})
