/** The structure of a runner, for drawing it. `Runner` holds one in every definition. */

import type * as Tool from "effect/ai/Tool"
import type * as Schema from "effect/Schema"

/** How the members of a runner work together. */
export type Kind =
  | "function"
  | "agent"
  | "chain"
  | "router"
  | "parallel"
  | "hedge"
  | "fallback"
  | "evaluator-optimizer"
  | "plan-execute-evaluate"
  | "orchestrator"
  | "handoffs"
  | "gather"
  | "team"
  | "event"
  | "conversation"

/** The part of a runner that is drawn. `Runner.Runner` has this form. */
export interface Drawable {
  readonly name: string
  readonly description?: string | undefined
  readonly definition: { readonly structure: () => Structure }
}

/** One of the runners or functions that a runner is made of. */
export interface Member {
  /** The name that it has in the paths of events. */
  readonly name: string
  /** Its role, such as "evaluator"; absent if the kind implies it. */
  readonly role?: string | undefined
  /** The runner; a plain function or tool has none. */
  readonly runner?: Drawable | undefined
  /** The tools of an agent, or those that a source of tools is known to have. They are not drawn. */
  readonly tools?: (() => ReadonlyArray<Tool.Any>) | undefined
  /** The JSON schema of a tool's parameters. It is not drawn: it tells versions of a definition apart. */
  readonly parameters?: (() => Schema.Json) | undefined
  /** The name of the member that a tool hands the conversation over to. */
  readonly handsOffTo?: string | undefined
}

export interface Structure {
  readonly kind: Kind
  /** A few words on how it is set, such as "quorum of 2". */
  readonly note?: string | undefined
  /** In the order in which they work. */
  readonly members: ReadonlyArray<Member>
  /** How it is set beyond its members, such as an agent's instructions. It is not drawn: it tells versions apart. */
  readonly traits?: (() => Schema.Json) | undefined
}

/** The tools of the agents in a runner. What these tools call themselves is theirs to say. */
export const toolsWithin = (runner: Drawable, seen: Set<Drawable> = new Set()): ReadonlyArray<Tool.Any> => {
  if (seen.has(runner)) return []
  seen.add(runner)
  return runner.definition.structure().members.flatMap((member) => {
    if (member.tools !== undefined) return member.tools()
    return member.runner === undefined ? [] : toolsWithin(member.runner, seen)
  })
}

/** Who may hand the conversation over to whom in a workflow of handoffs: by the tools that each member has for it. */
export const handoffsOf = ({
  kind,
  members
}: Structure): ReadonlyArray<{ readonly from: string; readonly to: string }> => {
  if (kind !== "handoffs") return []
  return members.flatMap(({ name: from, runner }) => {
    const targets = new Set(runner?.definition.structure().members.map(({ handsOffTo }) => handsOffTo))
    return members.flatMap(({ name: to }) => (targets.has(to) ? [{ from, to }] : []))
  })
}

const noMembers: Structure = { kind: "function", members: [] }

/** The structure of a function: nothing is known of it. */
export const aFunction = (): Structure => noMembers

/** What a workflow without a description is good for, by its members; `undefined` where they do not say it. */
export const describe = ({ kind, members }: Structure): string | undefined => {
  if (kind === "agent" || kind === "orchestrator" || members.length === 0) return undefined
  const parts = members.map(({ name, runner }) =>
    runner?.description === undefined ? name : `${name} (${runner.description})`
  )
  return `A ${kind} of: ${parts.join(", ")}`
}
