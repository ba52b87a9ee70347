/**
 * Tools that are known only when an agent runs, and that may change while it runs, such as those of an MCP server. The
 * agent asks its sources before every step.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import { assertOptions, namesOf } from "./internal/definition.ts"
import type * as AgentTool from "./AgentTool.ts"

const TypeId = "~troupe/ToolSource"

/** Where an agent gets tools from at each step. `Services` is what asking takes; the agent needs it too. */
export interface ToolSource<out Services> {
  readonly [TypeId]: typeof TypeId
  /** Shows in diagrams of the agent. */
  readonly name: string
  /** @internal The keys of the services that the tools come from. */
  readonly from: ReadonlyArray<string>
  /** @internal The names that no other source may give. */
  readonly names: ReadonlyArray<string>
  /** @internal */
  readonly list: List<Services>
  /** @internal Tools that it is known to give, for those who ask whose results can be in an agent's. */
  readonly holds: () => ReadonlyArray<Tool.Any>
}

/**
 * Returns the tools of now. `taken` are the names that the agent's other tools have, which these must not have. Asked
 * before each step: it must be quick, and it cannot fail, so a source that is out of reach gives what it last knew.
 */
export type List<Services> = (
  taken: ReadonlySet<string>
) => Effect.Effect<ReadonlyArray<AgentTool.AgentTool<string, never>>, never, Services>

/** Any source of tools. */
export type Any = ToolSource<unknown>
/** The services that source `T` needs. */
export type Services<T> = T extends ToolSource<infer R> ? R : never

/** True for a source of tools. */
export const isToolSource = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/** Options of {@link make}. */
export interface Options<R> {
  /** The service that the tools come from. An agent that is a service keeps the one that its Layer was built with. */
  readonly from?: Context.Key<R, unknown> | undefined
  /**
   * Names that this source may give tools. They are taken for the agent's other sources, also in a step in which this one
   * gives no such tool. Default: none.
   */
  readonly names?: ReadonlyArray<string> | undefined
}

/**
 * Makes a source of tools, for the `tools` of an agent. A source that gives two tools one name, or a name that is taken,
 * is a defect of the run: `InvalidDefinition`.
 *
 * Nothing is known of the tools before they are listed. So an agent with such a source that is another agent's tool counts as one that
 * reads text of others, for `afterUntrusted` of `Approvals.layerPolicy`, unless `trusted.tools` has the name of the source.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Agent, AgentTool, ToolSource } from "troupe"
 *
 * const clock = AgentTool.fromFunction("clock", { description: "Tells the time", execute: () => "noon" })
 * const open = { now: true }
 * const tools = ToolSource.make("desk", () => Effect.sync(() => (open.now ? [clock] : [])))
 * const agent = Agent.make("agent", { tools: [tools] })
 */
export const make = <R = never>(name: string, list: List<R>, options: Options<R> = {}): ToolSource<R> => {
  assertOptions(`source of tools "${name}"`, options, known)
  return {
    [TypeId]: TypeId,
    name,
    from: options.from === undefined ? [] : [options.from.key],
    names: options.names ?? [],
    list,
    // What says nothing of itself reads what others wrote.
    holds: () => [Tool.make(name)]
  }
}

const known = namesOf<Options<unknown>>({ from: true, names: true })

/** @internal The source as one that is known to give these tools. */
export const holding = <R>(self: ToolSource<R>, holds: () => ReadonlyArray<Tool.Any>): ToolSource<R> => ({
  ...self,
  holds
})
