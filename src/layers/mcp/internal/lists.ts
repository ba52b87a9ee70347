/**
 * Reads the lists of servers entry by entry: an entry is used as far as it fits, or left out with a sentence that says
 * why, and the others are used all the same.
 */
import { type Fields, given, isFields } from "./fields.ts"

/** A tool as its server describes it. */
export interface ToolInfo {
  readonly name: string
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly inputSchema: { readonly [key: string]: unknown }
  readonly outputSchema?: { readonly [key: string]: unknown } | undefined
  readonly annotations?:
    | {
        readonly title?: string | undefined
        readonly readOnlyHint?: boolean | undefined
        readonly destructiveHint?: boolean | undefined
        readonly idempotentHint?: boolean | undefined
        readonly openWorldHint?: boolean | undefined
      }
    | undefined
  readonly execution?: { readonly taskSupport?: "forbidden" | "optional" | "required" | undefined } | undefined
}

/** A resource that a server offers. */
export interface Resource {
  readonly server: string
  readonly uri: string
  readonly name: string
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly mimeType?: string | undefined
  readonly size?: number | undefined
}

/** A family of resources; `uriTemplate` is by RFC 6570. */
export interface ResourceTemplate extends Omit<Resource, "uri" | "size"> {
  readonly uriTemplate: string
}

/** A prompt that a server offers. */
export interface PromptInfo {
  readonly server: string
  readonly name: string
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly arguments?:
    | ReadonlyArray<{
        readonly name: string
        readonly description?: string | undefined
        readonly required?: boolean | undefined
      }>
    | undefined
}

/** The usable entries of a list, and one sentence for each entry that was left out. */
export interface Read<A> {
  readonly found: ReadonlyArray<A>
  readonly problems: ReadonlyArray<string>
}

/** Reads one entry of a list, and calls `misfit` for each field that does not fit. `undefined`: the entry is left out. */
type ReadEntry<A> = (fields: Fields, misfit: (field: string) => void) => A | undefined

const read = <A>(
  what: string,
  key: "name" | "uri" | "uriTemplate",
  list: ReadonlyArray<unknown>,
  entry: ReadEntry<A>
): Read<A> => {
  const found = new Map<string, A>()
  const problems: Array<string> = []
  for (const [at, raw] of list.entries()) {
    const id = isFields(raw) ? raw[key] : undefined
    if (!isFields(raw) || typeof id !== "string" || id === "") {
      problems.push(`${what} ${at + 1} of its list has no ${key} and is left out`)
      continue
    }
    // A list whose pages overlap, or whose cursor does not advance, gives an entry again.
    if (found.has(id)) continue
    const misfit = (field: string) => problems.push(`${what} "${id}": ${field} does not fit and is left out`)
    const one = entry(given(raw), misfit)
    if (one !== undefined) found.set(id, one)
  }
  return { found: [...found.values()], problems }
}

/** The given fields, without those of another type than they must have. */
const typed = (
  fields: Fields,
  types: Readonly<Record<string, "string" | "number" | "boolean">>,
  misfit: (field: string) => void
): Fields =>
  Object.fromEntries(
    Object.entries(fields).filter(([key, value]) => {
      const type = Object.hasOwn(types, key) ? types[key] : undefined
      if (type === undefined || typeof value === type) return true
      misfit(key)
      return false
    })
  )

/** Keywords of JSON Schema that hold schemas by name, and those that hold values. */
const byName = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"])
const literal = new Set(["const", "default", "examples", "enum"])

/** A schema without keywords that are `null`, or that hold what such a keyword cannot hold. */
const soundSchema = (schema: unknown, misfit: (field: string) => void, path: string): unknown => {
  if (Array.isArray(schema)) return schema.map((one, at) => soundSchema(one, misfit, `${path}.${at}`))
  if (!isFields(schema)) return schema
  const entries: Array<readonly [string, unknown]> = []
  for (const [key, value] of Object.entries(schema)) {
    const here = `${path}.${key}`
    const isList = key === "required" || key === "enum" || key === "examples"
    if (value === null && key !== "const" && key !== "default") continue
    if ((byName.has(key) && !isFields(value)) || (isList && !Array.isArray(value))) {
      // An empty list is how PHP writes an object without fields.
      if (!(Array.isArray(value) && value.length === 0)) misfit(here)
    } else if (literal.has(key)) entries.push([key, value])
    else if (key === "required") entries.push([key, (value as ReadonlyArray<unknown>).filter(isName)])
    else if (byName.has(key)) {
      const inner = Object.entries(value as Fields).map(
        ([name, one]) => [name, one === null ? true : soundSchema(one, misfit, `${here}.${name}`)] as const
      )
      entries.push([key, Object.fromEntries(inner)])
    } else entries.push([key, soundSchema(value, misfit, here)])
  }
  return Object.fromEntries(entries)
}

const isName = (value: unknown): value is string => typeof value === "string"

/** A schema of a tool's arguments or structure, which are objects. */
const objectSchema = (schema: unknown, misfit: (field: string) => void, path: string): Fields | undefined => {
  if (schema === undefined || schema === true) return undefined
  if (isFields(schema)) return soundSchema(schema, misfit, path) as Fields
  if (!(Array.isArray(schema) && schema.length === 0)) misfit(path)
  return undefined
}

const takesObjects = ({ type }: Fields): boolean =>
  type === undefined || type === "object" || (Array.isArray(type) && type.includes("object"))

const toolTexts = { title: "string", description: "string" } as const
const hints = {
  title: "string",
  readOnlyHint: "boolean",
  destructiveHint: "boolean",
  idempotentHint: "boolean",
  openWorldHint: "boolean"
} as const

const readTool: ReadEntry<ToolInfo> = (fields, misfit) => {
  const { annotations, execution, inputSchema, outputSchema, ...rest } = fields
  const input = objectSchema(inputSchema, misfit, "inputSchema") ?? {}
  if (!takesObjects(input)) misfit("inputSchema.type")
  const output = objectSchema(outputSchema, misfit, "outputSchema")
  const support = isFields(execution) ? execution["taskSupport"] : undefined
  const isSupport = support === "forbidden" || support === "optional" || support === "required"
  return {
    ...(typed(rest, toolTexts, misfit) as { readonly name: string }),
    inputSchema: { ...input, type: "object" },
    ...(output === undefined ? {} : { outputSchema: output }),
    ...(isFields(annotations)
      ? { annotations: typed(given(annotations), hints, (field) => misfit(`annotations.${field}`)) }
      : {}),
    ...(isSupport ? { execution: { taskSupport: support } } : {})
  }
}

/** Reads a list of tools. A schema that is missing takes any arguments. */
export const readTools = (list: ReadonlyArray<unknown>): Read<ToolInfo> => read("tool", "name", list, readTool)

const texts = { name: "string", title: "string", description: "string", mimeType: "string" } as const

/** Reads a list of resources; one without a name is known by its address. */
export const readResources = (list: ReadonlyArray<unknown>, server: string): Read<Resource> =>
  read("resource", "uri", list, (fields, misfit) => {
    const sound = typed(fields, { ...texts, size: "number" }, misfit) as { readonly uri: string }
    return { name: sound.uri, ...sound, server }
  })

/** Reads a list of families of resources. */
export const readTemplates = (list: ReadonlyArray<unknown>, server: string): Read<ResourceTemplate> =>
  read("resource template", "uriTemplate", list, (fields, misfit) => {
    const sound = typed(fields, texts, misfit) as { readonly uriTemplate: string }
    return { name: sound.uriTemplate, ...sound, server }
  })

/** Reads a list of prompts. */
export const readPrompts = (list: ReadonlyArray<unknown>, server: string): Read<PromptInfo> =>
  read("prompt", "name", list, (fields, misfit) => {
    const { arguments: args, ...rest } = typed(fields, texts, misfit) as {
      readonly name: string
      readonly arguments?: unknown
    }
    if (args === undefined) return { ...rest, server }
    if (!Array.isArray(args)) {
      misfit("arguments")
      return { ...rest, server }
    }
    const sound = args.flatMap((one: unknown, at) => {
      if (!isFields(one) || typeof one["name"] !== "string") {
        misfit(`arguments.${at}`)
        return []
      }
      const types = { name: "string", description: "string", required: "boolean" } as const
      const argument = typed(given(one), types, (field) => misfit(`arguments.${at}.${field}`))
      return [argument as { readonly name: string }]
    })
    return { ...rest, arguments: sound, server }
  })

/** A few of the sentences about what could not be used, as one. */
export const summary = (problems: ReadonlyArray<string>): string => {
  const most = 5
  const rest = problems.length - most
  return `${problems.slice(0, most).join("; ")}${rest > 0 ? `; and ${rest} more` : ""}`
}
