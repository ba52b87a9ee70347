/** What a runner is made of, as data that a page can draw. */
import { type Drawable, handoffsOf, type Kind } from "../../../../internal/structure.ts"

/** A runner and its members. */
export interface Graph {
  readonly name: string
  readonly kind: Kind
  readonly note?: string
  readonly description?: string
  /** In the order in which they work. */
  readonly members: ReadonlyArray<GraphMember>
  /** Of handoffs: which member may hand the conversation over to which. */
  readonly handoffs?: ReadonlyArray<{ readonly from: string; readonly to: string }>
  /** It has members that are not listed, because it is nested too deep or there are too many. */
  readonly isCut?: true
}

/** A member: a runner, or a function or tool, of which nothing more is known. */
export interface GraphMember {
  /** The name that it has in the paths of events. */
  readonly name: string
  readonly role?: string
  /** The name of the member that a tool hands the conversation over to. */
  readonly handsOffTo?: string
  readonly runner?: Graph
}

/** A runner may be nested in itself, and no page shows more. */
const maxDepth = 12
const maxMembers = 400

/** Describes a runner. */
export const graphOf = (runner: Drawable): Graph => {
  let left = maxMembers
  const describe = (one: Drawable, depth: number): Graph => {
    const structure = one.definition.structure()
    const { kind, members, note } = structure
    const shown = depth >= maxDepth ? [] : members.slice(0, left)
    left -= shown.length
    return {
      name: one.name,
      kind,
      ...(note === undefined ? {} : { note }),
      ...(one.description === undefined ? {} : { description: one.description.slice(0, 500) }),
      members: shown.map(({ handsOffTo, name, role, runner }) => ({
        name,
        ...(role === undefined ? {} : { role }),
        ...(handsOffTo === undefined ? {} : { handsOffTo }),
        ...(runner === undefined ? {} : { runner: describe(runner, depth + 1) })
      })),
      ...(kind === "handoffs" ? { handoffs: handoffsOf({ ...structure, members: shown }) } : {}),
      ...(shown.length < members.length ? { isCut: true } : {})
    }
  }
  return describe(runner, 0)
}
