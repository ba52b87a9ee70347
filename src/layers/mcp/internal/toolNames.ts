/**
 * The names of servers' tools: which tools a list of names and patterns takes, and what agents call them. A name
 * depends on its own server's list and on how the servers are called, not on what other servers list.
 */
import { createHash } from "node:crypto"

/** Which tools are taken, by names in which `*` stands for any characters. */
export interface Filter {
  readonly allow?: ReadonlyArray<string> | undefined
  readonly deny?: ReadonlyArray<string> | undefined
}

/** Whether a name fits a pattern. Takes linear time. */
export const matches = (pattern: string, name: string): boolean => {
  const [first = "", ...others] = pattern.split("*")
  if (others.length === 0) return name === pattern
  const last = others.pop()!
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  const end = name.length - last.length
  let at = first.length
  for (const part of others) {
    // The first place is as good as any other: what follows has the most room then.
    const found = name.indexOf(part, at)
    if (found === -1 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

/** Whether a tool with these names is taken. A pattern of `deny` that fits any of them refuses it. */
export const passes = ({ allow, deny }: Filter, names: ReadonlyArray<string>): boolean => {
  const isIn = (patterns: ReadonlyArray<string>) =>
    patterns.some((pattern) => names.some((name) => matches(pattern, name)))
  return (allow === undefined || isIn(allow)) && !isIn(deny ?? [])
}

/** How long a name may be that providers take. */
const longest = 64

const mark = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 6)

/** A name with a mark that only this tool of this server has. */
const marked = (name: string, identity: string): string =>
  `${name.slice(0, longest - 7).replace(/_+$/, "")}_${mark(identity)}`

/** A name that providers accept. A name without an accepted character gets a mark. */
export const clean = (name: string): string => {
  const safe = name.replace(/[^a-zA-Z0-9_-]/g, "_")
  if (!/[a-zA-Z0-9]/.test(safe)) return `tool_${mark(name)}`
  return safe.length > longest ? marked(safe, name) : safe
}

/** A tool by the names that its server and the program give. */
export interface Named {
  readonly server: string
  readonly tool: string
}

/** What {@link nameAll} needs to know. */
export interface Naming {
  /** The names of all servers, also of those that have none of these tools. */
  readonly servers: ReadonlyArray<string>
  readonly prefix: "collision" | "always"
  /** Names that other tools have. */
  readonly taken: ReadonlySet<string>
}

/**
 * Names tools, one name for each, in their order. A prefixed name belongs to the server whose name is its longest prefix;
 * a tool of another server that would get it is distinguished by a mark. Within one server, tools whose names can stay as they
 * are go first.
 */
export const nameAll = (tools: ReadonlyArray<Named>, { prefix, servers, taken }: Naming): ReadonlyArray<string> => {
  const prefixes = servers.map((server) => [server, `${clean(server)}_`] as const)
  const isOfAnother = (name: string, server: string): boolean => {
    const own = `${clean(server)}_`
    const length = name.startsWith(own) ? own.length : 0
    return prefixes.some(
      ([other, start]) =>
        other !== server && name.startsWith(start) && (start.length > length || (start === own && other < server))
    )
  }
  const owners = new Map<string, Set<string>>()
  for (const { server, tool } of tools) owners.set(clean(tool), (owners.get(clean(tool)) ?? new Set()).add(server))
  const wanted = tools.map(({ server, tool }): string => {
    const own = clean(tool)
    const isFree = owners.get(own)?.size === 1 && !taken.has(own) && !isOfAnother(own, server)
    return prefix === "collision" && isFree ? own : clean(`${server}_${tool}`)
  })
  const used = new Set(taken)
  const names: Array<string> = []
  const give = (index: number, name: string): void => {
    names[index] = name
    used.add(name)
  }
  const isAsGiven = (index: number): boolean => {
    const { server, tool } = tools[index]!
    const name = wanted[index]!
    return name === tool || (name === `${server}_${tool}` && !isOfAnother(name, server))
  }
  const order = [...tools.keys()].sort((a, b) => Number(isAsGiven(b)) - Number(isAsGiven(a)))
  for (const index of order) {
    const { server, tool } = tools[index]!
    const name = wanted[index]!
    if (!used.has(name) && !(name !== tool && isOfAnother(name, server))) {
      give(index, name)
      continue
    }
    let other = marked(name, JSON.stringify([server, tool]))
    for (let n = 2; used.has(other); n++) other = marked(name, JSON.stringify([server, tool, n]))
    give(index, other)
  }
  return names
}
