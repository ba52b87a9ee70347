/** What a runner is made of, lit where a run goes through it. */
import type { VNode } from "preact"
import type { Graph } from "../../graph.ts"
import { duration } from "../model/format.ts"
import { type Edge, graphOfRun, layoutOf, type Node } from "../model/graphLayout.ts"
import type { RunModel } from "../model/run.ts"
import { type Handed, type Seen, statusOf } from "../model/spans.ts"
import { statusName } from "./parts.tsx"

interface Props {
  /** `undefined` where the server does not have the runner, or has not answered yet. */
  readonly graph: Graph | { readonly problem: string } | undefined
  readonly runs: ReadonlyArray<RunModel>
}

/** The graph of a runner, with what became of each part in the runs. */
export const GraphView = ({ graph, runs }: Props): VNode => {
  const root = runs.at(-1)?.root
  const isKnown = graph !== undefined && !("problem" in graph)
  const drawn = isKnown ? graph : root === undefined ? undefined : graphOfRun(root, handedIn(runs).values())
  return (
    <div class="graph">
      {drawn === undefined ? (
        <p class="hint">What a run goes through is shown here.</p>
      ) : (
        <Picture graph={drawn} seen={seenIn(runs)} handed={handedIn(runs)} />
      )}
      {graph !== undefined && "problem" in graph && <p class="hint">{graph.problem}</p>}
      {!isKnown && drawn !== undefined && (
        <p class="hint">Drawn from the events of the run: what did not run is not here.</p>
      )}
      {isKnown && graph.isCut === true && <p class="hint">It has more parts than are shown.</p>}
    </div>
  )
}

/** The runs of a turn as one. */
const seenIn = (runs: ReadonlyArray<RunModel>): ReadonlyMap<string, Seen> => {
  const all = new Map<string, Seen>()
  for (const [index, { seen }] of runs.entries()) {
    // What a run waited for is answered where it went on.
    const isLast = index === runs.length - 1
    for (const [key, given] of seen) {
      const one = isLast ? given : { ...given, count: given.count - given.waiting, waiting: 0 }
      const known = all.get(key)
      all.set(
        key,
        known === undefined
          ? one
          : {
              count: known.count + one.count,
              open: known.open + one.open,
              failed: known.failed + one.failed,
              interrupted: known.interrupted + one.interrupted,
              waiting: known.waiting + one.waiting,
              ms: known.ms + one.ms
            }
      )
    }
  }
  return all
}

/** The handoffs of the runs of a turn. */
const handedIn = (runs: ReadonlyArray<RunModel>): ReadonlyMap<string, Handed> =>
  new Map(runs.flatMap(({ handed }) => [...handed]))

interface PictureProps {
  readonly graph: Graph
  readonly seen: ReadonlyMap<string, Seen>
  readonly handed: ReadonlyMap<string, Handed>
}

const Picture = ({ graph, handed, seen }: PictureProps): VNode => {
  const { edges, height, nodes, width } = layoutOf(graph)
  return (
    <svg
      viewBox={`0 0 ${width} ${height}`}
      style={{ maxWidth: `${width}px` }}
      role="img"
      aria-label={`${graph.name}, a ${graph.kind} of ${graph.members.map(({ name }) => name).join(", ")}`}
    >
      <defs>
        <marker
          id="arrow"
          viewBox="0 0 8 8"
          refX="7"
          refY="4"
          markerWidth="8"
          markerHeight="8"
          markerUnits="userSpaceOnUse"
          orient="auto"
        >
          <path d="M0 0.8 L7 4 L0 7.2" class="head" />
        </marker>
      </defs>
      {nodes
        .filter(({ shape }) => shape === "frame")
        .map((node) => (
          <NodeView node={node} seen={seen} />
        ))}
      {edges.map((edge) => (
        <EdgeView edge={edge} isTaken={isTaken(edge, seen, handed)} />
      ))}
      {nodes
        .filter(({ shape }) => shape !== "frame")
        .map((node) => (
          <NodeView node={node} seen={seen} />
        ))}
    </svg>
  )
}

interface NodeProps {
  readonly node: Node
  readonly seen: ReadonlyMap<string, Seen>
}

const NodeView = ({ node, seen }: NodeProps): VNode => {
  const { height, key, label, shape, width, x, y } = node
  const own = key === undefined ? undefined : seen.get(key)
  const status = own === undefined ? "unused" : statusOf(own)
  const facts =
    own === undefined
      ? "not run"
      : `${statusName(statusOf(own))}` +
        (own.count > 1 ? `, ${own.count} times` : "") +
        (own.count > 0 ? `, ${duration(own.ms)}` : "")
  const middle = x + width / 2
  const isFrame = shape === "frame"
  return (
    <g class={`node ${shape} ${key === undefined ? "plain" : status}`} data-key={key}>
      <title>{label === "" ? facts : `${label}: ${facts}`}</title>
      {shape === "point" ? (
        <circle cx={middle} cy={y + height / 2} r={5} />
      ) : shape === "choice" ? (
        <path
          d={`M${middle} ${y} L${x + width} ${y + height / 2} L${middle} ${y + height} L${x} ${y + height / 2} Z`}
        />
      ) : (
        <rect x={x} y={y} width={width} height={height} rx={shape === "tool" ? height / 2 : isFrame ? 10 : 6} />
      )}
      {label !== "" && (
        <text x={isFrame ? x + 14 : middle} y={isFrame ? y + 22 : y + height / 2} class={isFrame ? "title" : "name"}>
          {label}
        </text>
      )}
      {own !== undefined && own.count > 1 && !isFrame && (
        <text x={x + width - 2} y={y - 4} class="times">
          ×{own.count}
        </text>
      )}
    </g>
  )
}

const isTaken = (
  { around, handoff, key }: Edge,
  seen: ReadonlyMap<string, Seen>,
  handed: ReadonlyMap<string, Handed>
): boolean => {
  if (handoff !== undefined) return handed.has(handoff.key)
  const own = key === undefined ? undefined : seen.get(key)
  return own !== undefined && (around === undefined || own.count + own.open > 1)
}

/** Where the handles of a curve around are: it comes three quarters of the way to them. */
const handleOf = ({ around, from: [x1], to: [x2] }: Edge): number => {
  if (around === undefined) return 0
  const isRight = around >= Math.max(x1, x2)
  const side = isRight ? Math.max(x1, x2) : Math.min(x1, x2)
  return side + ((around - side + (isRight ? 16 : -16)) * 4) / 3
}

const EdgeView = ({ edge, isTaken }: { readonly edge: Edge; readonly isTaken: boolean }): VNode => {
  const [x1, y1] = edge.from
  const [x2, y2] = edge.to
  const bend = Math.max(10, (y2 - y1) / 2)
  const { handoff } = edge
  const out = handleOf(edge)
  const line =
    edge.around === undefined
      ? `M${x1} ${y1} C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2 - 1}`
      : `M${x1} ${y1} C${out} ${y1} ${out} ${y2} ${x2 + (out > x2 ? 1 : -1)} ${y2}`
  return (
    <g class={`edge${isTaken ? " taken" : ""}${edge.isDotted ? " dotted" : ""}`}>
      {handoff !== undefined && (
        <title>{`${handoff.from} ${isTaken ? "handed" : "may hand"} over to ${handoff.to}`}</title>
      )}
      <path d={line} marker-end="url(#arrow)" />
      {edge.label !== "" && (
        <text x={edge.around === undefined ? (x1 + x2) / 2 + 6 : edge.around + 20} y={(y1 + y2) / 2 + 4}>
          {edge.label}
        </text>
      )}
    </g>
  )
}
