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

const childrenOf = (node: Node): ReadonlyArray<Node> =>
  Object.values(node).flatMap((value) => [value].flat().filter(isNode))

/** Where calls begin that are made as a node is evaluated. */
const calls = (node: Node, found: Set<number>): void => {
  if (isLater(node)) return
  if (node.type === "CallExpression" || node.type === "NewExpression") found.add(node.start)
  for (const child of childrenOf(node)) calls(child, found)
}

/** Whether a bundler cannot know that evaluating a node has no effect: it reads properties of values, which could be getters. */
const reads = (node: Node, namespaces: ReadonlySet<unknown>): boolean => {
  if (isLater(node)) return false
  if (node.type === "SpreadElement") return true
  if (node.type === "MemberExpression") return !namespaces.has((node["object"] as Node)["name"])
  // What is called without an effect is read without one.
  const { callee } = node
  return childrenOf(node).some(
    (child) => (child !== callee || child.type === "CallExpression") && reads(child, namespaces)
  )
}

/** A text that is put into a module. */
interface Insertion {
  readonly at: number
  readonly text: string
}

const mark = "/*#__PURE__*/ "

/**
 * What belongs into an ES module: marks before calls in initial values and in what classes extend, and around those that read
 * properties a function that is marked.
 */
const insertions = (source: string): ReadonlyArray<Insertion> => {
  const { body } = parseAst(source) as unknown as { readonly body: ReadonlyArray<Node> }
  const namespaces = new Set(
    body.flatMap((statement) =>
      statement.type === "ImportDeclaration"
        ? childrenOf(statement).flatMap((one) =>
            one.type === "ImportNamespaceSpecifier" ? [(one["local"] as Node)["name"]] : []
          )
        : []
    )
  )
  const found: Array<Insertion> = []
  for (const statement of body) {
    const declared = isNode(statement["declaration"]) ? statement["declaration"] : statement
    if (declared.type !== "VariableDeclaration" && declared.type !== "ClassDeclaration") continue
    const starts = new Set<number>()
    calls(declared, starts)
    for (const at of starts) found.push({ at, text: mark })
    const values =
      declared.type === "ClassDeclaration"
        ? [declared["superClass"]]
        : (declared["declarations"] as ReadonlyArray<Node>).map(({ id, init }) =>
            // A class in a function would have no name, which an uncaught error is shown by.
            (id as Node).type !== "Identifier"
              ? undefined
              : isNode(init) && init.type === "ClassExpression"
                ? init["superClass"]
                : init
          )
    for (const value of values) {
      if (!isNode(value) || !reads(value, namespaces)) continue
      found.push({ at: value.start, text: `${mark}(() => (` }, { at: value["end"] as number, text: "))()" })
    }
  }
  // Of two at one place the one that is around the other comes first.
  return found.toSorted((a, b) => a.at - b.at || b.text.length - a.text.length)
}

/** A map of sources, as far as it is changed. */
interface SourceMap {
  readonly mappings: string
}

/** The module with the marks, and its map for where they moved what comes after them. */
export const marked = <Map extends SourceMap>(
  source: string,
  map: Map
): { readonly source: string; readonly map: Map } => {
  const inserted = insertions(source)
  const lines = decode(map.mappings)
  let [out, at] = ["", 0]
  for (const { at: start, text } of inserted.toReversed()) {
    const before = source.slice(0, start)
    const line = before.split("\n").length - 1
    const column = start - (before.lastIndexOf("\n") + 1)
    for (const segment of lines[line] ?? []) if (segment[0] >= column) segment[0] += text.length
  }
  for (const { at: start, text } of inserted) {
    out += source.slice(at, start) + text
    at = start
  }
  return { source: out + source.slice(at), map: { ...map, mappings: encode(lines) } }
}
