/** How well the tools on offer fit a request, by their names, descriptions and parameters. Pure. */
import * as Tool from "effect/ai/Tool"
import { concept } from "./concepts.ts"
import { resolve, type Schema, str, strings, toSchema } from "./schema.ts"
import { roleOf } from "./source.ts"
import { identifierWords, keyStems, stem, stopWords } from "./text.ts"

/** A tool, and the stems it is matched by. */
export interface Offered {
  readonly name: string
  readonly description: string
  readonly schema: Schema
  readonly nameStems: ReadonlyArray<string>
  readonly descriptionStems: ReadonlyArray<string>
  readonly parameterStems: ReadonlyArray<string>
}

/** The parts of a tool that are matched with a request. */
export const offered = (tool: Tool.Any): Offered => {
  const schema = toSchema(Tool.getJsonSchema(tool))
  const properties = Object.entries(toSchema(resolve(schema, schema)["properties"]))
  const description = Tool.getDescription(tool) ?? str(schema, "description") ?? ""
  return {
    name: tool.name,
    description,
    schema,
    nameStems: identifierWords(tool.name)
      .filter((word) => !stopWords.has(word))
      .map(stem),
    descriptionStems: [...new Set(keyStems(description))],
    parameterStems: [
      ...new Set(
        properties
          .flatMap(([name, value]) => [
            ...identifierWords(name),
            ...keyStems(str(toSchema(value), "description") ?? "")
          ])
          .filter((word) => word.length > 2 && !stopWords.has(word))
          .map(stem)
      )
    ]
  }
}

/** Words of a tool's name that many names have. */
const common = new Set(
  "get set tool run do make handle call use fetch tool data info number text value ask".split(" ").map(stem)
)

/** How well a tool fits the stems of a request; 0 when it does not. `verb` is the stem of the word that commands. */
export const relevance = (
  tool: Offered,
  stems: ReadonlySet<string>,
  weight: (stem: string) => number,
  verb: string | undefined
): number => {
  let named = 0
  let described = 0
  let hits = 0
  const near = (item: string) => [...concept(item)].filter((other) => stems.has(other))
  const telling = tool.nameStems.filter((item) => !common.has(item)).length
  let matched = 0
  for (const item of new Set(tool.nameStems)) {
    const scale = common.has(item) ? 0.4 : 1
    if (stems.has(item)) {
      named += 2 * scale * weight(item)
      if (scale === 1) matched++
    } else if (near(item).length > 0) {
      named += 1.2 * scale * weight(item)
      if (scale === 1) matched += 0.7
    }
    if (item === verb && scale === 1) named += 1.5
  }
  // A name of which half is meant is half the evidence.
  if (telling > 0) named *= Math.sqrt(Math.max(0.25, matched / telling))
  const close = new Set<string>()
  for (const item of tool.descriptionStems) {
    if (tool.nameStems.includes(item)) continue
    if (stems.has(item)) {
      described += weight(item)
      hits++
    } else {
      const others = near(item)
      if (others.length > 0) described += 0.35 * weight(item)
      for (const other of others) close.add(other)
    }
  }
  for (const item of tool.parameterStems) if (stems.has(item)) described += 0.5 * weight(item)
  // One shared word of the description is chance, unless it is nearly all that the description says.
  const chance = hits < 2 && close.size < 2 && !(hits === 1 && tool.descriptionStems.length <= 3)
  return named === 0 && chance ? 0 : named + described
}

const looksUp =
  /\b(?:search|lookup|look up|retriev\w*|knowledge|find information|query|browse|wiki\w*|answers? (?:questions?|anything))\b/i
/** A tool that looks things up by a query, so that any question is for it. */
export const takesQuery = (tool: Offered): boolean => {
  if (!looksUp.test(`${identifierWords(tool.name).join(" ")} ${tool.description}`)) return false
  const root = resolve(tool.schema, tool.schema)
  const [only, ...others] = strings(root["required"])
  if (only === undefined || others.length > 0) return false
  const property = { name: only, description: "", required: true, siblings: [] }
  return /^(?:query|body|none)$/.test(roleOf(property, undefined))
}
