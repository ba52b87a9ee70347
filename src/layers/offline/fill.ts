/**
 * Fills a JSON schema from a text. `find` gives what the text says, or nothing; `force` always gives a value of the
 * right shape. Pure; recursion ends at 12 levels.
 */
import { fitNumber, force, type Found, found, maxDepth, propertyOf, record } from "./force.ts"
import { best, matching, mentioned } from "./classify.ts"
import { enumeration } from "./facts.ts"
import { isWritten, pickNumber } from "./numbers.ts"
import { candidates, labelled, labelledFact, pickString } from "./slots.ts"
import { free, type Property, roleOf, type Source, take } from "./source.ts"
import { choices, num, resolve, type Schema, str, strings, toSchema, typeOf, variants } from "./schema.ts"
import { fitString } from "./strings.ts"
import { composeItems, composeText, measure, truth } from "./compose.ts"
import { identifierWords, sentences, stem, words } from "./text.ts"
import { facts as factsOf } from "./facts.ts"

/** What the text says for `schema`; `undefined` when it says nothing. */
export const find = (
  input: Schema,
  property: Property,
  source: Source,
  depth: number,
  strict = false
): Found | undefined => {
  const schema = resolve(input, source.root)
  if (depth > maxDepth) return undefined
  const listed = choices(schema, source.root)
  if (listed !== undefined) {
    if (listed.length === 1) return property.required ? found(listed[0]?.value) : undefined
    const about = `${property.name} ${property.description}`
    if (source.mode === "arguments") {
      const named = mentioned(listed, strict ? (labelled(property, { ...source, used: [] }) ?? "") : source.text)
      return named === undefined ? undefined : found(named.value)
    }
    return strict ? undefined : found(best(listed, source.text, about, source.instructions)?.value)
  }
  const branches = variants(schema, source.root)
  if (branches.length > 1) {
    for (const branch of branches.toSorted((a, b) => specificity(b) - specificity(a))) {
      if (typeOf(branch) === "null") continue
      const used = source.used.length
      const result = find(branch, property, source, depth + 1, strict)
      if (result !== undefined) return result
      source.used.length = used
    }
    return branches.some((branch) => typeOf(branch) === "null") && source.mode === "output" && !strict
      ? found(null)
      : undefined
  }
  switch (typeOf(schema)) {
    case "number":
    case "integer": {
      const measured = source.mode === "output" ? measure(property, schema, source) : undefined
      const value = pickNumber(property, schema, source, strict || measured?.certain === true)
      if (value !== undefined) return found(value)
      return strict || measured === undefined ? undefined : found(fitNumber(measured.value, schema))
    }
    case "boolean": {
      if (strict) return undefined
      const value = source.mode === "output" ? truth(property, source) : flag(property, source)
      return value === undefined ? undefined : found(value)
    }
    case "null":
      return property.required ? found(null) : undefined
    case "array":
      return strict ? undefined : findArray(schema, property, source, depth)
    case "object":
      return strict ? undefined : findObject(schema, property, source, depth)
    default: {
      if (strict) {
        const role = roleOf(property, str(schema, "format"))
        if (role !== "none" && source.mode === "arguments") return undefined
        const value = typedRole.test(role)
          ? labelledFact(role, str(schema, "format"), property, source)
          : labelled(property, source)
        const fitted = value === undefined ? undefined : fitString(value, schema)
        return fitted === undefined ? undefined : found(fitted)
      }
      const value =
        (source.mode === "output" ? composeText(property, schema, source) : undefined) ??
        pickString(property, schema, source)
      if (value === undefined) return undefined
      const more = source.mode === "output" ? source.text.slice(0, 2_000) : ""
      if (source.mode === "arguments" && str(schema, "pattern") !== undefined) {
        const exact = fitString(value, schema)
        return exact !== undefined && (exact === value || source.text.includes(exact)) ? found(exact) : undefined
      }
      const fitted = fitString(value, schema, more)
      return fitted === undefined ? undefined : found(fitted)
    }
  }
}

const typedRole = /^(?:date|time|email|url|phone|currency)$/

const specificity = (schema: Schema): number => {
  const type = typeOf(schema)
  return type === "object"
    ? 3
    : type === "array"
      ? 2.5
      : type === "number" || type === "integer"
        ? 2
        : type === "boolean"
          ? 1
          : type === "null"
            ? -1
            : str(schema, "format") !== undefined
              ? 2.2
              : 0.5
}

/** Whether the text switches something on or off; `undefined` when it does not say. */
const flag = (property: Property, source: Source): boolean | undefined => {
  const wanted = identifierWords(property.name)
    .filter((word) => word.length > 2 && !/^(?:is|has|should|enable|enabled|include|use|with|allow|flag)$/.test(word))
    .map(stem)
  if (/^(?:is[ _-]?)?(?:on|enabled?|active|state|power)$/i.test(property.name)) {
    if (/\b(?:off|disable|deactivate|stop)\b/i.test(source.text)) return false
    if (/\b(?:on|enable|activate|start)\b/i.test(source.text)) return true
  }
  if (wanted.length === 0) return undefined
  const list = words(source.text.slice(0, 10_000))
  for (const [i, word] of list.entries()) {
    if (!wanted.includes(stem(word))) continue
    const before = list.slice(Math.max(0, i - 4), i).join(" ")
    const behind = list.slice(i + 1, i + 4).join(" ")
    if (
      /\b(?:without|no|not|don't|do not|doesn't|disable|disabled|skip|never|exclude|excluding|non|off|isn't|aren't)\b/.test(
        before
      )
    )
      return false
    return !/^(?:is |should be |to |= )?(?:off|false|no|disabled|not)\b/.test(behind)
  }
  return undefined
}

const findObject = (schema: Schema, property: Property, source: Source, depth: number): Found | undefined => {
  const properties = Object.entries(toSchema(schema["properties"]))
  const required = new Set(strings(schema["required"]))
  const names = properties.map(([name]) => name)
  const values = new Map<string, unknown>()
  const described = properties.map(([name, value]) => {
    const own = toSchema(value)
    return { name, own, of: propertyOf(name, own, required.has(name), names, source) }
  })
  // First what the text ties to a name, so that nothing else takes it.
  for (const strict of [true, false]) {
    for (const { name, own, of } of described) {
      if (values.has(name)) continue
      const result = find(own, of, source, depth + 1, strict)
      if (result !== undefined) values.set(name, result.value)
    }
  }
  const open = schema["additionalProperties"]
  if (properties.length === 0 && typeof open === "object" && source.mode === "output") {
    for (const [key, value] of pairs(source.text)) {
      const result = find(
        toSchema(open),
        { name: key, description: "", required: true, siblings: [] },
        { ...source, text: value, facts: factsOf(value, 0), used: [], mode: "arguments" },
        depth + 1
      )
      if (result !== undefined) values.set(key, result.value)
    }
  }
  if (source.mode === "arguments") {
    for (const name of required) {
      if (values.has(name)) continue
      const own = described.find((item) => item.name === name)
      const fallback = own === undefined ? undefined : byDefault(resolve(own.own, source.root))
      if (fallback === undefined) return undefined
      values.set(name, fallback.value)
    }
    if (values.size === 0 && names.length > 0 && depth > 0)
      return property.required && required.size === 0 ? found({}) : undefined
  }
  return found(record(values))
}

/** What a required property is when the text does not name it: its default, or off for a switch. */
const byDefault = (schema: Schema): Found | undefined =>
  "default" in schema ? found(schema["default"]) : typeOf(schema) === "boolean" ? found(false) : undefined

/** `key: value` lines. */
const pairs = (text: string): ReadonlyArray<readonly [string, string]> =>
  [
    ...text
      .slice(0, 20_000)
      .matchAll(
        /^[ \t]*(?:[-*•][ \t]+)?["'*]*([\p{L}][\p{L}\p{N} _-]{0,40}?)["'*]*[ \t]*[:=][ \t]*(\S[^\n]{0,400})$/gmu
      )
  ]
    .slice(0, 50)
    .map((match) => [match[1] ?? "", match[2] ?? ""])

const findArray = (schema: Schema, property: Property, source: Source, depth: number): Found | undefined => {
  const tuple = schema["prefixItems"]
  if (Array.isArray(tuple)) {
    const values: Array<unknown> = []
    for (const [i, item] of tuple.entries()) {
      const result = find(
        toSchema(item),
        { ...property, name: `${property.name} ${i}`, required: true },
        source,
        depth + 1
      )
      if (result === undefined) return undefined
      values.push(result.value)
    }
    return found(values)
  }
  const items = likeliest(resolve(toSchema(schema["items"]), source.root), source.root)
  const max = num(schema, "maxItems") ?? 1_000
  const singular: Property = {
    ...property,
    name: property.name.replace(/ies$/, "y").replace(/(?<!s)s$/, ""),
    required: true
  }
  const listed = choices(items, source.root)
  let values: Array<unknown> = []
  if (listed !== undefined) {
    const chosen =
      source.mode === "arguments"
        ? listed.filter((choice) => mentioned([choice], source.text) !== undefined)
        : matching(listed, source.text, property.name, source.instructions)
    values = chosen.map((choice) => choice.value)
  } else {
    const type = typeOf(items)
    if (type === "number" || type === "integer") {
      values = [
        ...source.given.splice(0),
        ...free(source.facts.numbers, source)
          .filter(
            (fact) =>
              !source.facts.dates.some(
                (date) => isWritten(date.text) && date.start <= fact.start && fact.end <= date.end
              )
          )
          .map((fact) => take(fact, source)?.value)
      ]
      if (type === "integer") values = values.filter((value) => Number.isInteger(value))
      values = values.map((value) => fitNumber(value as number, items))
    } else if (type === "object" || (type === undefined && "properties" in items)) {
      values = objects(items, singular, source, depth)
    } else if (type === "string" || type === undefined) {
      const role = roleOf(singular, str(items, "format"))
      const typed = candidates(role, str(items, "format"), source, singular)
      const texts =
        typed.length > 0
          ? typed.map((fact) => take(fact, source)?.text ?? fact.text)
          : source.mode === "output"
            ? composeItems(property, items, source)
            : listItems(source, property)
      values = [...new Set(texts)].flatMap((text) => {
        const fitted = fitString(text, items, source.mode === "output" ? source.text.slice(0, 500) : "")
        return fitted === undefined ? [] : [fitted]
      })
    } else {
      const result = find(items, singular, source, depth + 1)
      values = result === undefined ? [] : [result.value]
    }
  }
  if (values.length === 0 && source.mode === "arguments") return undefined
  return found(values.slice(0, max))
}

/** The one branch of a union that is neither null nor one of the numbers that JSON has no digits for. */
const likeliest = (schema: Schema, root: Schema): Schema => {
  if (choices(schema, root) !== undefined) return schema
  const [only, ...others] = variants(schema, root).filter((branch) => {
    const listed = choices(branch, root)
    return typeOf(branch) !== "null" && listed?.every(({ value }) => notFinite.has(value)) !== true
  })
  return only === undefined || others.length > 0 ? schema : only
}
const notFinite = new Set<unknown>(["NaN", "Infinity", "-Infinity"])

const listItems = (source: Source, property: Property): ReadonlyArray<string> => {
  const quotes = free(source.facts.quotes, source)
  if (quotes.length > 1) return quotes.map((fact) => take(fact, source)?.text ?? "")
  const items = enumeration(source.text)
  if (items.length > 0) {
    const head =
      /^.*?\b(?:items?|tags?|labels?|for|with|to|of|list|buy|add|sort|join)\s+(?=\S)/i.exec(items[0] ?? "")?.[0] ?? ""
    return items
      .map((item, i) => (i === 0 && items.length > 1 ? item.slice(head.length) : item).replace(/[.?!]+$/, "").trim())
      .filter((item) => item !== "")
  }
  const only = pickString({ ...property, required: true, siblings: [] }, {}, source)
  return only === undefined ? [] : [only]
}

/** One object for each list item or sentence that says something for it. */
const objects = (items: Schema, property: Property, source: Source, depth: number): Array<unknown> => {
  if (depth > 6) return []
  if (source.mode === "output" && /finding|issue|problem|suggest|observ|violation|comment/i.test(property.name)) {
    return source
      .findings()
      .slice(0, 20)
      .flatMap((finding) => {
        const text = `line ${finding.line}: ${finding.message}`
        const inner: Source = {
          ...source,
          text,
          facts: factsOf(text, 0),
          used: [],
          findings: () => [finding],
          answer: () => finding.message
        }
        const result = find(items, property, inner, depth + 1)
        return result === undefined ? [] : [force(items, property, inner, depth + 1, result)]
      })
  }
  const listed = enumeration(source.text, true)
  const pieces = listed.length > 0 ? listed : sentences(source.text.slice(0, 20_000)).map((sentence) => sentence.text)
  const out: Array<unknown> = []
  for (const piece of pieces.slice(0, 50)) {
    // A piece has to say every required property; otherwise it is no item.
    const inner: Source = { ...source, mode: "arguments", text: piece, facts: factsOf(piece, 0), used: [], given: [] }
    const result = find(items, { ...property, required: true }, inner, depth + 1)
    if (result !== undefined && Object.keys(toSchema(result.value)).length > 0)
      out.push(
        source.mode === "output"
          ? force(items, property, { ...inner, mode: "output" }, depth + 1, result)
          : result.value
      )
  }
  return out
}
