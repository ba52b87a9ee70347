/**
 * Marks the calls of a module's top level as free of effects, so that a bundler leaves out what a program does not use: the
 * values of our modules are made by calls such as `Layer.effect(...)` and `Effect.fn(...)`, and make nothing happen.
 */
import { decode, encode } from "@jridgewell/sourcemap-codec"
import { parseAst } from "rolldown/parseAst"

interface Node {
  readonly type: string
  readonly start: number
  readonly [key: string]: unknown
}
const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

/** What is evaluated at another time. */
const isLater = ({ type }: Node): boolean =>
  type === "ArrowFunctionExpression" || type === "FunctionExpression" || type === "ClassBody"

/** Where calls begin that are made as a node is evaluated. */
const calls = (node: Node, found: Set<number>): void => {
  if (isLater(node)) return
  if (node.type === "CallExpression" || node.type === "NewExpression") found.add(node.start)
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) calls(child, found)
  }
}

/** The positions in an ES module before which a mark belongs: calls in initial values and in what classes extend. */
const callsOf = (source: string): ReadonlyArray<number> => {
  const found = new Set<number>()
  for (const statement of (parseAst(source) as unknown as { readonly body: ReadonlyArray<Node> }).body) {
    const declared = isNode(statement["declaration"]) ? statement["declaration"] : statement
    if (declared.type === "VariableDeclaration" || declared.type === "ClassDeclaration") calls(declared, found)
  }
  return [...found].toSorted((a, b) => a - b)
}

const mark = "/*#__PURE__*/ "

/** A map of sources, as far as it is changed. */
interface SourceMap {
  readonly mappings: string
}

/** The module with the marks, and its map for where they moved what comes after them. */
export const marked = <Map extends SourceMap>(
  source: string,
  map: Map
): { readonly source: string; readonly map: Map } => {
  const starts = callsOf(source)
  const lines = decode(map.mappings)
  let [out, at] = ["", 0]
  for (const start of starts.toReversed()) {
    const before = source.slice(0, start)
    const line = before.split("\n").length - 1
    const column = start - (before.lastIndexOf("\n") + 1)
    for (const segment of lines[line] ?? []) if (segment[0] >= column) segment[0] += mark.length
  }
  for (const start of starts) {
    out += source.slice(at, start) + mark
    at = start
  }
  return { source: out + source.slice(at), map: { ...map, mappings: encode(lines) } }
}
