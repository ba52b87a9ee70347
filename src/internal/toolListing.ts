/** The conversation that a source of tools is asked for: its tools can depend on what was said. */
import * as Context from "effect/Context"
import type * as Prompt from "effect/ai/Prompt"

/** One run of an agent, as its sources see it: the same object at each step. */
export interface Listing {
  readonly messages: () => ReadonlyArray<Prompt.Message>
}

/** Set by the agent loop while it asks its sources. */
export const ListedFor: Context.Reference<Listing> = Context.Reference<Listing>("troupe/internal/ListedFor", {
  defaultValue: () => ({ messages: () => [] })
})
