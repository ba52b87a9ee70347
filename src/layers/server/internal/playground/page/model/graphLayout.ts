/** Places the parts of a runner on a plane: members in frames, in the order in which they work. */
import type { Graph, GraphMember } from "../../graph.ts"
import { cut } from "./format.ts"
import { type Handed, pathKey, type Span } from "./spans.ts"

/** How a node is drawn. */
export type Shape = "agent" | "function" | "tool" | "choice" | "point" | "frame"

/** A node. */
export interface Node {
  readonly shape: Shape
  /** The path below the root that its events have; `undefined` for what has no events. */
  readonly key: string | undefined
  readonly label: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** A line between two nodes. */
export interface Edge {
  readonly from: readonly [x: number, y: number]
  readonly to: readonly [x: number, y: number]
  /** Lit when this has run. */
  readonly key: string | undefined
  readonly isDotted: boolean
  /**
   * How far out a line goes around what is between its ends, on the side on which they are. One back from the last part to the
   * first is taken where that has run again.
   */
  readonly around: number | undefined
  readonly label: string
  /** Of a handoff: lit by its own key, and not by what has run. */
  readonly handoff?: { readonly key: string; readonly from: string; readonly to: string }
}

/** A picture. */
export interface Layout {
  readonly width: number
  readonly height: number
  readonly nodes: ReadonlyArray<Node>
  readonly edges: ReadonlyArray<Edge>
}

/** A part of the picture: edges come in at the middle of its top and go out at the middle of its bottom. */
interface Placed extends Layout {
  readonly key: string | undefined
}

const nodeHeight = 34
const gap = 18
const rowGap = 34
const padding = 14
const titleHeight = 26
const widest = 520
const charWidth = 7
const titleCharWidth = 6.4
/** How far a line back stands out. */
const loopWidth = 40

const widthOf = (label: string): number => Math.max(64, Math.ceil(cut(label, 28).length * charWidth) + 28)

const single = (shape: Shape, label: string, key: string | undefined): Placed => {
  const isPoint = shape === "point"
  const width = isPoint ? 14 : widthOf(label)
  const height = isPoint ? 14 : shape === "tool" ? 28 : nodeHeight
  const node: Node = { shape, key, label: cut(label, 28), x: 0, y: 0, width, height }
  return { key, width, height, nodes: [node], edges: [] }
}

const moved = ({ edges, nodes }: Layout, dx: number, dy: number): Pick<Layout, "nodes" | "edges"> => ({
  nodes: nodes.map((node) => ({ ...node, x: node.x + dx, y: node.y + dy })),
  edges: edges.map((edge) => ({
    ...edge,
    from: [edge.from[0] + dx, edge.from[1] + dy] as const,
    to: [edge.to[0] + dx, edge.to[1] + dy] as const,
    around: edge.around === undefined ? undefined : edge.around + dx
  }))
})

/** A line of parts next to each other, or several lines where it would be too wide. */
interface Row {
  readonly parts: ReadonlyArray<{ readonly part: Placed; readonly x: number; readonly y: number }>
  readonly width: number
  readonly height: number
}

const rowOf = (parts: ReadonlyArray<Placed>): Row => {
  const placed: Array<{ part: Placed; x: number; y: number }> = []
  let x = 0
  let y = 0
  let height = 0
  let width = 0
  let line: Array<{ part: Placed; x: number; y: number }> = []
  const endLine = (): void => {
    placed.push(...line)
    width = Math.max(width, x - gap)
    line = []
  }
  for (const part of parts) {
    if (line.length > 0 && x + part.width > widest) {
      endLine()
      x = 0
      y += height + gap
      height = 0
    }
    line.push({ part, x, y })
    x += part.width + gap
    height = Math.max(height, part.height)
  }
  endLine()
  // Each line stands in the middle.
  const ends = new Map<number, number>()
  for (const one of placed) ends.set(one.y, Math.max(ends.get(one.y) ?? 0, one.x + one.part.width))
  const centred = placed.map((one) => ({ ...one, x: one.x + (width - (ends.get(one.y) ?? width)) / 2 }))
  return { parts: centred, width, height: y + height }
}

interface Link {
  readonly isDotted?: boolean
  /** Stands once, next to the first of several lines. */
  readonly label?: string
}

/** Rows below each other. Every part of a row is linked with every part of the next one. */
const stack = (rows: ReadonlyArray<ReadonlyArray<Placed>>, links: ReadonlyArray<Link> = []): Layout => {
  const laid = rows.filter((row) => row.length > 0).map(rowOf)
  const width = Math.max(0, ...laid.map((row) => row.width))
  const nodes: Array<Node> = []
  const edges: Array<Edge> = []
  let y = 0
  let above: ReadonlyArray<readonly [x: number, y: number]> = []
  laid.forEach((row, index) => {
    const left = (width - row.width) / 2
    const tops = row.parts.map((one) => [left + one.x + one.part.width / 2, y + one.y] as const)
    const { isDotted = false, label = "" } = links[index - 1] ?? {}
    row.parts.forEach(({ part }, i) => {
      above.forEach((from, j) => {
        const isFirst = i === 0 && j === 0
        edges.push({ from, to: tops[i]!, key: part.key, isDotted, around: undefined, label: isFirst ? label : "" })
      })
    })
    for (const one of row.parts) {
      const inner = moved(one.part, left + one.x, y + one.y)
      nodes.push(...inner.nodes)
      edges.push(...inner.edges)
    }
    above = row.parts.map((one) => [left + one.x + one.part.width / 2, y + one.y + one.part.height] as const)
    y += row.height + rowGap
  })
  return { width, height: Math.max(0, y - rowGap), nodes, edges }
}

/** Puts parts below a picture. */
const below = (inner: Layout, parts: ReadonlyArray<Placed>): Layout =>
  parts.length === 0 ? inner : stack([[{ ...inner, key: undefined }], parts])

/** Adds a line back from the last part to the first, which may run again. */
const looped = (inner: Layout, first: Placed | undefined, label: string): Layout => {
  const solid = inner.nodes.filter(({ shape }) => shape !== "frame")
  const [top, bottom] = [solid[0], solid.at(-1)]
  if (first === undefined || top === undefined || bottom === undefined || top === bottom) return inner
  const side = (node: Node) => [node.x + node.width, node.y + node.height / 2] as const
  const back: Edge = { from: side(bottom), to: side(top), key: first.key, isDotted: true, around: inner.width, label }
  // On both sides, so that the parts stay in the middle.
  const wide = loopWidth + label.length * titleCharWidth
  const { edges, nodes } = moved({ ...inner, edges: [...inner.edges, back] }, wide, 0)
  return { width: inner.width + wide * 2, height: inner.height, nodes, edges }
}

/** How many lines of handoffs stand next to each other; further ones lie upon the last. */
const maxLanes = 12
const laneWidth = 14

/** The lanes of lines that must not lie upon each other, the shortest lines next to the parts. */
const lanesOf = (lines: ReadonlyArray<readonly [top: number, bottom: number]>): ReadonlyArray<number> => {
  const lanes: Array<Array<readonly [number, number]>> = []
  const chosen = lines.map(() => 0)
  const bySize = lines.map((line, index) => [line[1] - line[0], index] as const).toSorted(([a], [b]) => a - b)
  for (const [, index] of bySize) {
    const [top, bottom] = lines[index]!
    const free = lanes.findIndex((lane) => lane.every((one) => one[1] < top || bottom < one[0]))
    const lane = Math.min(free < 0 ? lanes.length : free, maxLanes - 1)
    ;(lanes[lane] ??= []).push([top, bottom])
    chosen[index] = lane
  }
  return chosen
}

/** Members below each other, with a line for each handoff: on the right to those below, on the left to those above. */
const peers = (graph: Graph, parts: ReadonlyArray<Placed>, path: ReadonlyArray<string>): Layout => {
  const width = Math.max(0, ...parts.map((part) => part.width))
  let height = 0
  const rows = parts.map((part) => {
    const row = moved(part, (width - part.width) / 2, height)
    height += part.height + rowGap
    return row
  })
  const heads = new Map(graph.members.map(({ name }, index) => [name, rows[index]!.nodes[0]!]))
  const arcs = (graph.handoffs ?? []).flatMap(({ from, to }) => {
    const [start, end] = [heads.get(from), heads.get(to)]
    if (start === undefined || end === undefined) return []
    const isDown = start.y <= end.y
    // What goes out does not meet what comes in.
    const y = (node: Node, part: number) => node.y + Math.min(node.height, nodeHeight) * part
    const [y1, y2] = isDown ? [y(start, 0.7), y(end, 0.3)] : [y(start, 0.3), y(end, 0.7)]
    return [{ start, end, isDown, y1, y2, handoff: { key: pathKey([...path, from, to]), from, to } }]
  })
  const side = (isDown: boolean): { readonly edges: ReadonlyArray<Edge>; readonly width: number } => {
    const own = arcs.filter((arc) => arc.isDown === isDown)
    const lanes = lanesOf(own.map(({ y1, y2 }) => [Math.min(y1, y2), Math.max(y1, y2)] as const))
    const edges = own.map(({ end, handoff, start, y1, y2 }, index): Edge => {
      const x = (node: Node) => (isDown ? node.x + node.width : node.x)
      const out = lanes[index]! * laneWidth
      const around = isDown ? width + out : -out
      return { from: [x(start), y1], to: [x(end), y2], key: undefined, isDotted: true, around, label: "", handoff }
    })
    return { edges, width: own.length === 0 ? 0 : loopWidth + Math.max(...lanes) * laneWidth }
  }
  const [left, right] = [side(false), side(true)]
  const inner: Layout = {
    width,
    height: Math.max(0, height - rowGap),
    nodes: rows.flatMap(({ nodes }) => nodes),
    edges: [...rows.flatMap(({ edges }) => edges), ...left.edges, ...right.edges]
  }
  return { ...inner, width: width + left.width + right.width, ...moved(inner, left.width, 0) }
}

const framed = (label: string, key: string, inner: Layout): Placed => {
  const title = cut(label, 60)
  const width = Math.max(inner.width, Math.ceil(title.length * titleCharWidth)) + padding * 2
  const height = inner.height + padding * 2 + titleHeight
  const frame: Node = { shape: "frame", key, label: title, x: 0, y: 0, width, height }
  const { edges, nodes } = moved(inner, (width - inner.width) / 2, padding + titleHeight)
  return { key, width, height, nodes: [frame, ...nodes], edges }
}

/** Places a runner. */
export const layoutOf = (graph: Graph): Layout => {
  const margin = 16
  const placed = runner(graph, [])
  const { edges, nodes } = moved(placed, margin, margin)
  return { width: placed.width + margin * 2, height: placed.height + margin * 2, nodes, edges }
}

const runner = (graph: Graph, path: ReadonlyArray<string>): Placed => {
  const key = pathKey(path)
  const name = path.at(-1) ?? graph.name
  if (graph.kind === "function" || graph.kind === "event") return single("function", name, key)
  if (graph.kind === "agent" || graph.kind === "orchestrator") return agent(graph, name, path)
  const note = graph.note === undefined ? "" : ` (${graph.note})`
  return framed(`${name} · ${graph.kind}${note}`, key, members(graph, path))
}

const member = ({ name, runner: inner }: GraphMember, path: ReadonlyArray<string>): Placed =>
  inner === undefined ? single("function", name, pathKey([...path, name])) : runner(inner, [...path, name])

const agent = (graph: Graph, name: string, path: ReadonlyArray<string>): Placed => {
  const own = single("agent", name, pathKey(path))
  if (graph.members.length === 0) return own
  const tools = graph.members.map((one) =>
    one.runner === undefined
      ? single("tool", one.name, pathKey([...path, one.name]))
      : // In paths, a runner that is used as a tool has its own name and not the tool's.
        runner(one.runner, [...path, one.runner.name])
  )
  return { key: own.key, ...stack([[own], tools], [{ isDotted: true }]) }
}

const point = (): Placed => single("point", "", undefined)

const members = (graph: Graph, path: ReadonlyArray<string>): Layout => {
  const of = (one: GraphMember): Placed =>
    one.role === "gate" ? single("choice", one.name, undefined) : member(one, path)
  const all = graph.members.map(of)
  switch (graph.kind) {
    case "chain":
      return stack(all.map((one) => [one]))
    case "evaluator-optimizer":
    case "conversation": {
      const label = graph.kind === "conversation" ? "answer" : "revise"
      return looped(stack(all.map((one) => [one])), all[0], label)
    }
    case "fallback":
      return stack(
        all.map((one) => [one]),
        all.map(() => ({ isDotted: true, label: "on failure" }))
      )
    case "team":
      return stack([all.slice(0, 1), all.slice(1)], [{ isDotted: true, label: "tasks" }])
    case "handoffs":
      return peers(graph, all, path)
    case "plan-execute-evaluate": {
      const stage = (...roles: ReadonlyArray<string>) =>
        all.filter((_, index) => roles.includes(graph.members[index]!.role ?? "worker"))
      const stages = [stage("planner"), stage("worker", "executor"), stage("evaluator")]
      const judged = stage("evaluator").length > 0 ? looped(stack(stages), all[0], "plan again") : stack(stages)
      return below(judged, stage("combine"))
    }
    default: {
      const isLast = (_: Placed, index: number) => graph.members[index]!.role === "combine"
      const branches = all.filter((one, index) => !isLast(one, index))
      const start = graph.kind === "router" ? single("choice", "?", undefined) : point()
      return stack([[start], branches, all.filter(isLast)])
    }
  }
}

/** What ran, where the runner itself is not known: the runs, tools and handoffs of a trace. */
export const graphOfRun = (root: Span, handed: Iterable<Handed> = []): Graph => graphOf(root, [...handed])

const graphOf = (root: Span, handed: ReadonlyArray<Handed>): Graph => {
  const inner = new Map<string, Array<Span>>()
  const tools = new Set<string>()
  for (const child of root.children) {
    if (child.kind === "tool") tools.add(child.label)
    if (child.kind !== "run") continue
    const same = inner.get(child.label)
    if (same === undefined) inner.set(child.label, [child])
    else same.push(child)
  }
  const key = pathKey(root.path)
  const handoffs = handed.filter(({ path }) => pathKey(path) === key).map(({ from, to }) => ({ from, to }))
  // Their runs may be hidden.
  for (const name of handoffs.flatMap(({ from, to }) => [from, to])) if (!inner.has(name)) inner.set(name, [])
  const runs = [...inner].map(([name, spans]): GraphMember =>
    spans.length === 0 ? { name } : { name, runner: graphOf(merged(spans), handed) }
  )
  if (handoffs.length > 0) return { name: root.label, kind: "handoffs", members: runs, handoffs }
  const own = [...tools].filter((name) => !inner.has(name)).map((name): GraphMember => ({ name }))
  const isPlain = runs.length === 0 && own.length === 0
  const kind = isPlain && root.steps === 0 ? "function" : own.length > 0 || isPlain ? "agent" : "gather"
  return { name: root.label, kind, members: [...own, ...runs] }
}

/** Runs with one path, as one. */
const merged = (spans: ReadonlyArray<Span>): Span => ({
  ...spans[0]!,
  steps: Math.max(...spans.map(({ steps }) => steps)),
  children: spans.flatMap(({ children }) => children)
})
