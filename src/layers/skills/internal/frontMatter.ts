/**
 * SKILL.md as text: its front matter checked by the rules of the specification, and written. YAML is read as texts,
 * lists and maps only, without anchors, aliases and tags, so that nothing in it can grow. It touches no file.
 */
import * as path from "node:path"
import { isAlias, isMap, isScalar, LineCounter, type Node, parseDocument, stringify, visit, type YAMLMap } from "yaml"
import { oneLine } from "../../../internal/text.ts"
import { InvalidSkill } from "../../../services/Skills.ts"
import type { Draft, Skill } from "../../../services/Skills.ts"

/** The most that a front matter may have, in characters. The descriptions of a valid one need far less. */
const maxFrontMatter = 16 * 1024

/** A SKILL.md that was read. Without `skill` it cannot be used. */
export interface Parsed {
  readonly skill: Omit<Skill, "location"> | undefined
  readonly body: string
  /** The line on which the body starts, counted from 1. */
  readonly bodyLine: number
  readonly problems: ReadonlyArray<InvalidSkill>
}

type Severity = InvalidSkill["severity"]
type Say = (severity: Severity, line: number | undefined, problem: string, remedy: string) => void

/** Reads a SKILL.md. `file` is its path, whose folder must have the skill's name. */
export const parse = (text: string, file: string): Parsed => {
  const problems: Array<InvalidSkill> = []
  const say: Say = (severity, line, problem, remedy) => {
    problems.push(new InvalidSkill({ file, ...(line === undefined ? {} : { line }), severity, problem, remedy }))
  }
  const lines = text.replace(/^\uFEFF/, "").split("\n")
  const none = { skill: undefined, body: "", bodyLine: 1, problems }
  if (lines[0]!.trimEnd() !== "---") {
    say("error", 1, "it does not start with front matter", "Make the first line --- and end the front matter with ---")
    return none
  }
  const end = lines.findIndex((line, index) => index > 0 && line.trimEnd() === "---")
  if (end === -1) {
    say("error", 1, "its front matter does not end", "Put a line with --- after the last field")
    return none
  }
  const yaml = lines.slice(1, end).join("\n")
  if (yaml.length > maxFrontMatter) {
    say("error", 1, `its front matter is longer than ${maxFrontMatter} characters`, "Move text into the body")
    return none
  }
  const fields = tryYaml(yaml, say)
  const skill = fields === undefined ? undefined : check(fields, path.basename(path.dirname(file)), say)
  const body = lines.slice(end + 1)
  const first = body.findIndex((line) => line.trim() !== "")
  return {
    skill: problems.some(({ severity }) => severity === "error") ? undefined : skill,
    body: body.join("\n").trim(),
    bodyLine: end + 2 + Math.max(0, first),
    problems
  }
}

interface Field {
  readonly value: unknown
  readonly line: number
}

/** The parser goes down into nested values by calling itself. */
const tryYaml = (yaml: string, say: Say): ReadonlyMap<string, Field> | undefined => {
  try {
    return parseYaml(yaml, say)
  } catch {
    say("error", 2, "its front matter is nested too deeply", "Write one field on a line, as `name: value`")
    return undefined
  }
}

/** The fields of a front matter with their lines, or `undefined` for what is no front matter. */
const parseYaml = (yaml: string, say: Say): ReadonlyMap<string, Field> | undefined => {
  const counter = new LineCounter()
  // The text starts on the second line of the file.
  const lineOf = (offset: number) => Math.max(1, counter.linePos(offset).line) + 1
  const document = parseDocument(yaml, {
    schema: "failsafe",
    // The library's own check takes quadratic time.
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: counter
  })
  const [error] = document.errors
  if (error !== undefined) {
    const remedy =
      error.code === "BLOCK_AS_IMPLICIT_KEY"
        ? 'Put the value in quotes: a text with ": " in it needs them'
        : "Write one field on a line as `name: value`, with values in quotes that have special characters"
    say(
      "error",
      lineOf(error.pos[0]),
      `its front matter is no YAML: ${shown(error.message.split(/[;\n]/)[0]!, 200)}`,
      remedy
    )
    return undefined
  }
  const root = document.contents
  if (!isMap(root)) {
    say("error", 2, "its front matter has no fields", "Give it at least a name and a description")
    return undefined
  }
  const refused = findRefused(root)
  if (refused !== undefined) {
    const line = refused.node.range === undefined ? undefined : lineOf(refused.node.range![0])
    say("error", line, `its front matter has ${refused.what}`, "Write the values out")
    return undefined
  }
  return entries(root, lineOf, say, "")
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

const entries = (
  map: YAMLMap,
  lineOf: (offset: number) => number,
  say: Say,
  above: string
): ReadonlyMap<string, Field> => {
  const fields = new Map<string, Field>()
  for (const { key, value } of map.items) {
    const line = isScalar(key) ? lineOf(key.range![0]) : undefined
    if (!isScalar(key) || line === undefined) {
      say("error", undefined, "its front matter has a field whose name is no text", "Name fields with words")
      continue
    }
    const name = String(key.value)
    if (fields.has(name)) say("error", line, `it has the field ${shown(above + name)} twice`, "Remove one of them")
    fields.set(name, {
      line,
      value: isScalar(value)
        ? String(value.value ?? "")
        : isMap(value)
          ? entries(value, lineOf, say, `${name}.`)
          : value
    })
  }
  return fields
}

const known = new Set(["name", "description", "license", "compatibility", "metadata", "allowed-tools"])

const check = (fields: ReadonlyMap<string, Field>, folder: string, say: Say): Omit<Skill, "location"> | undefined => {
  const text = (field: string, severity: Severity): string | undefined => {
    const found = fields.get(field)
    if (found === undefined || typeof found.value === "string") return (found?.value as string | undefined)?.trim()
    say(severity, found.line, `its ${field} is no text`, `Write it on one line: \`${field}: ...\``)
    return undefined
  }
  for (const field of ["name", "description"]) {
    if (!fields.has(field)) say("error", 2, `it has no ${field}`, `Add \`${field}: ...\` to the front matter`)
  }
  const name = text("name", "error")?.normalize("NFKC")
  if (name !== undefined) {
    const problem = nameProblem(name)
    const line = fields.get("name")!.line
    if (problem !== undefined) say("error", line, problem, nameRemedy)
    else if (name !== folder.normalize("NFKC")) {
      say("error", line, `its name is "${shown(name)}" and its folder's is "${shown(folder)}"`, "Make them the same")
    }
  }
  const description = text("description", "error")
  if (description !== undefined) {
    const problem = descriptionProblem(description)
    if (problem !== undefined) {
      say("error", fields.get("description")!.line, problem, "Say in a few sentences what it does and when to use it")
    }
  }
  let compatibility = text("compatibility", "warning")
  if (compatibility !== undefined && (compatibility === "" || lengthOf(compatibility) > 500)) {
    const problem = `its compatibility has ${lengthOf(compatibility)} characters, and may have 1 to 500`
    say("warning", fields.get("compatibility")!.line, problem, "Shorten it, or leave it out")
    compatibility = undefined
  }
  for (const [field, { line }] of fields) {
    if (known.has(field)) continue
    say("warning", line, `the specification has no field ${shown(field)}`, "Put it below metadata, or remove it")
  }
  const allowed = text("allowed-tools", "warning")
  return {
    name: name ?? "",
    description: oneLine(description ?? ""),
    license: text("license", "warning"),
    compatibility,
    metadata: metadataOf(fields.get("metadata"), say),
    allowedTools: allowed === undefined || allowed === "" ? [] : allowed.split(/\s+/)
  }
}

const metadataOf = (field: Field | undefined, say: Say): Readonly<Record<string, string>> => {
  if (field === undefined || field.value === "") return {}
  if (!(field.value instanceof Map)) {
    say("warning", field.line, "its metadata is no map", "Write one `key: value` on each line below it, indented")
    return {}
  }
  const texts: Array<readonly [string, string]> = []
  for (const [key, { line, value }] of field.value as ReadonlyMap<string, Field>) {
    if (typeof value === "string") texts.push([key, value])
    else say("warning", line, `its metadata ${shown(key)} is no text`, "Metadata maps texts to texts")
  }
  return Object.fromEntries(texts)
}

/** Texts of a hostile file must not fill a screen. */
const shown = (text: string, most = 80): string => oneLine(text).slice(0, most)

const lengthOf = (text: string): number => [...text].length

const nameRemedy = "Use 1 to 64 lowercase letters, digits and single hyphens between them, as in `pdf-forms`"

/** What is wrong with a name; `undefined`: nothing. */
export const nameProblem = (name: string): string | undefined => {
  const length = lengthOf(name)
  if (length === 0) return "its name is empty"
  if (length > 64) return `its name has ${length} characters`
  const is = `its name "${shown(name)}"`
  if (name !== name.toLowerCase()) return `${is} has capitals`
  if (!/^[\p{L}\p{N}-]+$/u.test(name)) return `${is} has other characters than letters, digits and hyphens`
  if (name.startsWith("-") || name.endsWith("-")) return `${is} begins or ends with a hyphen`
  return name.includes("--") ? `${is} has two hyphens in a row` : undefined
}

const descriptionProblem = (description: string): string | undefined => {
  const length = lengthOf(description)
  if (description.trim() === "") return "its description is empty"
  return length > 1024 ? `its description has ${length} characters, and may have 1024` : undefined
}

/** The SKILL.md of a draft. */
export const print = (draft: Draft): string => {
  const { allowedTools = [], body, compatibility, description, license, metadata = {}, name } = draft
  const fields = {
    name,
    description,
    ...(license === undefined ? {} : { license }),
    ...(compatibility === undefined ? {} : { compatibility }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(allowedTools.length === 0 ? {} : { "allowed-tools": allowedTools.join(" ") })
  }
  return `---\n${stringify(fields, { lineWidth: 0, aliasDuplicateObjects: false })}---\n\n${body.trim()}\n`
}
