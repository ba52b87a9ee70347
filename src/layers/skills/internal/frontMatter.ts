/**
 * SKILL.md as text: read by the leniency that the specification asks of clients, and written by its rules. A skill that can
 * be read and has a description is used; what the specification does not allow is a warning.
 */
import * as path from "node:path"
import { stringify } from "yaml"
import { oneLine, stripControls } from "../../../internal/text.ts"
import { type Draft, InvalidSkill, type Skill } from "../../../services/Skills.ts"
import { type Field, type Fields, readFields, type Report, shown } from "./yamlFields.ts"

/** The longest front matter, in characters. The descriptions of a valid one need far less. */
const maxFrontMatter = 16 * 1024
/** How many characters of a name and of a description are used. The specification allows 64 and 1024. */
const maxName = 200
const maxDescription = 4096

/** A SKILL.md that was read. Without `skill` it cannot be used. */
export interface Parsed {
  readonly skill: Omit<Skill, "location"> | undefined
  readonly body: string
  /** The line on which the body starts, counted from 1. */
  readonly bodyLine: number
  readonly problems: ReadonlyArray<InvalidSkill>
}

/** Reads a SKILL.md. `file` is its path, whose folder should have the skill's name. */
export const parse = (text: string, file: string): Parsed => {
  const problems: Array<InvalidSkill> = []
  const report: Report = (severity, line, problem, remedy) => {
    problems.push(new InvalidSkill({ file, ...(line === undefined ? {} : { line }), severity, problem, remedy }))
  }
  const lines = text.replace(/^\uFEFF/, "").split("\n")
  const end = endOfFrontMatter(lines, report)
  const fields = end === undefined ? undefined : readFields(lines.slice(1, end).join("\n"), report)
  if (end === undefined || fields === undefined) return { skill: undefined, body: "", bodyLine: 1, problems }
  const skill = skillOf(fields, path.basename(path.dirname(file)), report)
  const body = lines.slice(end + 1)
  const first = body.findIndex((line) => line.trim() !== "")
  return {
    skill: problems.some(({ severity }) => severity === "error") ? undefined : skill,
    body: body.join("\n").trim(),
    bodyLine: end + 2 + Math.max(0, first),
    problems
  }
}

/** The index of the line that ends the front matter. */
const endOfFrontMatter = (lines: ReadonlyArray<string>, report: Report): number | undefined => {
  if (lines[0]!.trimEnd() !== "---") {
    const remedy = "Make the first line --- and end the front matter with ---"
    report("error", 1, "it does not start with front matter", remedy)
    return undefined
  }
  const end = lines.findIndex((line, index) => index > 0 && line.trimEnd() === "---")
  if (end === -1) {
    report("error", 1, "its front matter does not end", "Put a line with --- after the last field")
    return undefined
  }
  if (lines.slice(1, end).join("\n").length <= maxFrontMatter) return end
  report("error", 1, `its front matter is longer than ${maxFrontMatter} characters`, "Move text into the body")
  return undefined
}

const known = new Set(["name", "description", "license", "compatibility", "metadata", "allowed-tools"])

const skillOf = (fields: Fields, folder: string, report: Report): Omit<Skill, "location"> => {
  const name = nameOf(fields.get("name"), folder, report)
  if (name === "") report("error", 2, "neither its name nor its folder's can be read", nameRemedy)
  const description = descriptionOf(fields.get("description"), report)
  const compatibility = compatibilityOf(fields.get("compatibility"), report)
  for (const [field, { line }] of fields) {
    if (known.has(field)) continue
    const remedy = "Put it below metadata, or remove it"
    report("warning", line, `the specification has no field ${shown(field)}`, remedy)
  }
  const license = optionalText(fields.get("license"), "license", report)
  const metadata = metadataOf(fields.get("metadata"), report)
  const allowedTools = toolsOf(optionalText(fields.get("allowed-tools"), "allowed-tools", report))
  return { name, description, license, compatibility, metadata, allowedTools }
}

const nameRemedy = "Use 1 to 64 lowercase letters, digits and single hyphens between them, as in `pdf-forms`"

/** The name that a skill is used under: without characters that cannot be seen, or else that of its folder. */
const nameOf = (field: Field | undefined, folder: string, report: Report): string => {
  const byFolder = cut(oneLine(folder), maxName)
  if (field === undefined) {
    report("warning", 2, "it has no name, and that of its folder is used", "Add `name: ...` to the front matter")
    return byFolder
  }
  if (field.value.type !== "text") {
    const problem = "its name is not a text, and that of its folder is used"
    report("warning", field.line, problem, "Write it on one line: `name: ...`")
    return byFolder
  }
  const name = field.value.text.trim().normalize("NFKC")
  const problem = nameProblem(name)
  if (problem !== undefined) report("warning", field.line, problem, nameRemedy)
  else if (name !== folder.normalize("NFKC")) {
    const problem = `its name is "${shown(name)}" and its folder's is "${shown(folder)}"`
    report("warning", field.line, problem, "Make them the same")
  }
  return cut(oneLine(name), maxName) || byFolder
}

const descriptionOf = (field: Field | undefined, report: Report): string => {
  const remedy = "Say in a few sentences what it does and when to use it"
  if (field === undefined) {
    report("error", 2, "it has no description", "Add `description: ...` to the front matter")
    return ""
  }
  const isText = field.value.type === "text"
  if (!isText) {
    const problem = "its description is not a text and is used as it is written"
    report("warning", field.line, problem, "Put it in quotes, on one line: `description: '...'`")
  }
  const text = field.value.type === "text" ? field.value.text.trim() : field.source
  const description = oneLine(text)
  const length = lengthOf(text)
  if (description === "") report("error", field.line, "its description is empty", remedy)
  else if (length > maxDescription) {
    const problem = `its description has ${length} characters; it may have 1024, and ${maxDescription} are used`
    report("warning", field.line, problem, remedy)
  } else if (length > 1024) {
    report("warning", field.line, `its description has ${length} characters, and may have 1024`, remedy)
  }
  return cut(description, maxDescription)
}

const optionalText = (field: Field | undefined, name: string, report: Report): string | undefined => {
  if (field === undefined) return undefined
  if (field.value.type === "text") return field.value.isNull ? undefined : field.value.text.trim()
  report("warning", field.line, `its ${name} is not a text`, `Write it on one line: \`${name}: ...\``)
  return undefined
}

const compatibilityOf = (field: Field | undefined, report: Report): string | undefined => {
  const text = optionalText(field, "compatibility", report)
  if (text === undefined) return undefined
  const length = lengthOf(text)
  if (length >= 1 && length <= 500) return stripControls(text)
  const problem = `its compatibility has ${length} characters, and may have 1 to 500`
  report("warning", field!.line, problem, "Shorten it, or leave it out")
  return undefined
}

const metadataOf = (field: Field | undefined, report: Report): Readonly<Record<string, string>> => {
  if (field === undefined) return {}
  const { value } = field
  if (value.type === "text" && value.isNull) return {}
  if (value.type !== "fields") {
    const remedy = "Write one `key: value` on each line below it, indented"
    report("warning", field.line, "its metadata does not map keys to values", remedy)
    return {}
  }
  const texts: Array<readonly [string, string]> = []
  for (const [key, { line, value: one }] of value.fields) {
    if (one.type === "text") texts.push([key, one.text])
    else report("warning", line, `its metadata ${shown(key)} is not a text`, "Metadata maps texts to texts")
  }
  return Object.fromEntries(texts)
}

/** Tools apart from one another: spaces and commas separate them, but not in brackets, as in `Bash(git add:*)`. */
const toolsOf = (text: string | undefined): ReadonlyArray<string> => text?.match(/(?:\([^()]*\)?|[^\s,()]|\))+/g) ?? []

/** At most so many characters, none of them halved. */
const cut = (text: string, most: number): string =>
  text.length <= most ? text : Array.from(text).slice(0, most).join("").trim()

const lengthOf = (text: string): number => Array.from(text).length

/** The rule of the specification that a name breaks; `undefined` for a valid name. */
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
