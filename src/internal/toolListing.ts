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

/**
 * The lists of sources, each of which is asked with the names that are taken for it: those given, those of the lists before it, and
 * those that others have reserved. A name that two have reserved is for neither of them.
 */
export const listSources = Effect.fnUntraced(function* (
  names: Iterable<string>,
  sources: ReadonlyArray<Source>
): Effect.fn.Return<ReadonlyArray<Listed>, never, unknown> {
  const given = new Set(names)
  const reserved = new Map<string, number>()
  for (const { names } of sources) for (const name of names) reserved.set(name, (reserved.get(name) ?? 0) + 1)
  const taken = new Set([...given, ...reserved.keys()])
  const lists: Array<Listed> = []
  for (const source of sources) {
    const own = source.names.filter((name) => !given.has(name) && reserved.get(name) === 1)
    for (const name of own) taken.delete(name)
    const list = yield* source.list(taken)
    for (const name of own) taken.add(name)
    for (const { name } of list) {
      given.add(name)
      taken.add(name)
    }
    lists.push(list)
  }
  return lists
})

/** The lists of all: the tools at hand, and then those of each source. */
export const listAll = (
  own: ReadonlyArray<Any>,
  sources: ReadonlyArray<Source>,
  taken: ReadonlySet<string>
): Effect.Effect<ReadonlyArray<Listed>, never, unknown> =>
  // What the tools need, the agent needs.
  Effect.map(listSources([...taken, ...own.map(({ name }) => name)], sources), (lists) => [own as Listed, ...lists])
