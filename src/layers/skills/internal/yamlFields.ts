/**
 * The fields of a front matter. YAML is read as texts, lists and maps only, without anchors, aliases and tags, so that
 * nothing in it can grow.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type ParsedNode,
  visit,
  type YAMLMap
} from "yaml"
import { oneLine } from "../../../internal/text.ts"
import type { InvalidSkill } from "../../../services/Skills.ts"

/** Reports a problem of a file. An `error` keeps the skill from being used. */
export type Report = (
  severity: InvalidSkill["severity"],
  line: number | undefined,
  problem: string,
  remedy: string
) => void

/** The value of a field: a text, fields below it, or something else, such as a list. */
export type Value =
  /** `isNull`: it is written as YAML's `null`, and counts as absent where a value is optional. */
  | { readonly type: "text"; readonly text: string; readonly isNull: boolean }
  | { readonly type: "fields"; readonly fields: Fields }
  | { readonly type: "other" }

/** One field. */
export interface Field {
  readonly value: Value
  /** Counted from 1, in the file. */
  readonly line: number
  /** The text of the file, on one line. */
  readonly source: string
}

/** Fields by their names. */
export type Fields = ReadonlyMap<string, Field>

/** A text of a file that may be hostile, short enough for a message. */
export const shown = (text: string, most = 80): string => oneLine(text).slice(0, most)

/** The fields of a front matter, or `undefined` for what is not one. */
export const readFields = (yaml: string, report: Report): Fields | undefined => {
  try {
    const read = parse(yaml)
    const { error } = read
    if (error === undefined) return fieldsOf(read, report)
    // Clients of the specification read a value with a colon in it as if it stood in quotes.
    const quoted = parse(quoteValues(yaml))
    if (quoted.error !== undefined) {
      report("error", error.line, `its front matter is not YAML: ${error.message}`, error.remedy)
      return undefined
    }
    const problem = `its front matter is not YAML and was read as if its values were in quotes: ${error.message}`
    report("warning", error.line, problem, error.remedy)
    return fieldsOf(quoted, report)
  } catch {
    // The parser calls itself for nested values.
    report("error", 2, "its front matter is nested too deeply", "Write one field on a line, as `name: value`")
    return undefined
  }
}

interface Read {
  readonly yaml: string
  readonly contents: ParsedNode | null
  readonly lineOf: (offset: number) => number
  readonly error: { readonly line: number; readonly message: string; readonly remedy: string } | undefined
}

const parse = (yaml: string): Read => {
  const counter = new LineCounter()
  // The YAML starts on the second line of the file.
  const lineOf = (offset: number) => Math.max(1, counter.linePos(offset).line) + 1
  const document = parseDocument(yaml, {
    schema: "failsafe",
    // The library's own check takes quadratic time.
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: counter
  })
  const [error] = document.errors
  if (error === undefined) return { yaml, contents: document.contents, lineOf, error }
  const remedy =
    error.code === "BLOCK_AS_IMPLICIT_KEY"
      ? 'Put the value in quotes: a text with ": " in it needs them'
      : "Write one field on a line as `name: value`, with values in quotes that have special characters"
  const message = shown(error.message.split(/[;\n]/)[0]!, 200)
  return { yaml, contents: document.contents, lineOf, error: { line: lineOf(error.pos[0]), message, remedy } }
}

/** One line with a field, of the front matter or of its metadata, and its value. */
const fieldLine = /^( *)([\w-]+)(: +)(\S.*)$/

/** The longest value that is put in quotes, in characters. */
const maxQuoted = 4096

/**
 * The same YAML with quotes around each value that is not YAML by itself, with the lines that it goes on for. Other values
 * stay as they are.
 */
const quoteValues = (yaml: string): string => {
  const lines = yaml.split("\n").map((line) => line.trimEnd())
  const made: Array<string> = []
  while (made.length < lines.length) {
    const at = made.length
    const [, indent, key, colon, first] = fieldLine.exec(lines[at]!) ?? []
    if (first === undefined) {
      made.push(lines[at]!)
      continue
    }
    const isBlock = /^[|>]/.test(first)
    const more = lines.slice(at + 1, endOf(lines, at + 1, indent!.length, isBlock))
    if (isBlock) {
      made.push(lines[at]!, ...more)
      continue
    }
    const value = [first, ...more].map((line) => line.trim()).join(" ")
    const isBad = value.length <= maxQuoted && !isYaml([lines[at]!, ...more])
    if (!isBad) made.push(lines[at]!)
    // The lines that it went on for become empty, so that the numbers of lines do not change.
    else made.push(`${indent}${key}${colon}'${value.replaceAll("'", "''")}'`, ...more.map(() => ""))
  }
  return made.join("\n")
}

/** Where the lines end that a value goes on for: those that are indented further, and empty ones in a block of text. */
const endOf = (lines: ReadonlyArray<string>, from: number, indent: number, isBlock: boolean): number => {
  const belongs = (line: string) => line.search(/\S/) > indent || (isBlock && line === "")
  let end = from
  while (end < lines.length && belongs(lines[end]!)) end++
  return end
}

const isYaml = (lines: ReadonlyArray<string>): boolean => {
  const text = lines.join("\n")
  try {
    return parse(text).error === undefined
  } catch {
    return false
  }
}

const fieldsOf = ({ contents, lineOf, yaml }: Read, report: Report): Fields | undefined => {
  if (!isMap(contents)) {
    report("error", 2, "its front matter has no fields", "Give it at least a name and a description")
    return undefined
  }
  const refused = findRefused(contents)
  if (refused !== undefined) {
    const { range } = refused.node
    const line = range === undefined || range === null ? undefined : lineOf(range[0])
    report("error", line, `its front matter has ${refused.what}`, "Write the values out")
    return undefined
  }
  return entries(contents, { yaml, lineOf, report, above: "" })
}

/** Anchors, aliases and tags mean more than they say. */
const findRefused = (root: YAMLMap): { readonly node: Node; readonly what: string } | undefined => {
  let found: { readonly node: Node; readonly what: string } | undefined
  visit(root, {
    Node: (_key, node) => {
      if (isAlias(node)) found = { node, what: `the alias *${shown(node.source)}` }
      else if (node.anchor !== undefined) found = { node, what: `the anchor &${shown(node.anchor)}` }
      else if (node.tag !== undefined && !/^(!|tag:yaml\.org,2002:(str|seq|map))$/.test(node.tag)) {
        found = { node, what: `the tag ${shown(node.tag)}` }
      }
      return found === undefined ? undefined : visit.BREAK
    }
  })
  return found
}

interface Place {
  readonly yaml: string
  readonly lineOf: (offset: number) => number
  readonly report: Report
  /** The path of the field that they are below. */
  readonly above: string
}

const entries = (map: YAMLMap, place: Place): Fields => {
  const { above, lineOf, report, yaml } = place
  const fields = new Map<string, Field>()
  for (const { key, value } of map.items) {
    const line = isScalar(key) ? lineOf(key.range![0]) : undefined
    if (!isScalar(key) || line === undefined) {
      report("warning", undefined, "its front matter has a field whose name is not a text", "Name fields with words")
      continue
    }
    const name = String(key.value)
    if (fields.has(name)) {
      const problem = `it has the field ${shown(above + name)} twice, and the first one is used`
      report("warning", line, problem, "Remove one of them")
      continue
    }
    const range = (value as Node | null)?.range
    const source = range === undefined || range === null ? "" : oneLine(yaml.slice(range[0], range[1]))
    fields.set(name, { line, source, value: valueOf(value, { ...place, above: `${name}.` }) })
  }
  return fields
}

const valueOf = (node: unknown, place: Place): Value => {
  if (isMap(node)) return { type: "fields", fields: entries(node as YAMLMap, place) }
  if (isSeq(node)) return { type: "other" }
  const text = isScalar(node) ? String(node.value ?? "") : ""
  const isPlain = !isScalar(node) || node.type === "PLAIN" || node.type === undefined
  return { type: "text", text, isNull: isPlain && /^(|~|null|Null|NULL)$/.test(text) }
}
