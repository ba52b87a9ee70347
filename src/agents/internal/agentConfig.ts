/** Agents as data: reads JSON and YAML by schema, and says where something is wrong. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { parseJson } from "../../internal/json.ts"
import { messageOf } from "../../internal/message.ts"
import { cut, oneLine } from "../../internal/text.ts"
import { ConfigInvalid } from "../../RunError.ts"

const count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))
const names = Schema.Array(Schema.String)
const time = Schema.Union([Schema.String, Schema.Finite])

/** An agent as data: the fields of a file. */
export const AgentConfig = Schema.Struct({
  name: Schema.NonEmptyString,
  description: Schema.optionalKey(Schema.String),
  /** As `Models.layer` takes it, such as `openai:gpt-4.1-mini`. */
  model: Schema.optionalKey(Schema.NonEmptyString),
  instructions: Schema.optionalKey(Schema.String),
  /** By their names in the registry. */
  tools: Schema.optionalKey(names),
  use: Schema.optionalKey(names),
  middleware: Schema.optionalKey(names),
  /** The JSON Schema of the answer. */
  output: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  outputRepairs: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  maxSteps: Schema.optionalKey(count),
  onMaxSteps: Schema.optionalKey(Schema.Literals(["fail", "answer"])),
  maxToolCalls: Schema.optionalKey(count),
  maxToolCallsPerStep: Schema.optionalKey(count),
  onMaxToolCalls: Schema.optionalKey(Schema.Literals(["return", "fail"])),
  onLength: Schema.optionalKey(Schema.Literals(["fail", "accept"])),
  maxAnswerSize: Schema.optionalKey(count),
  toolConcurrency: Schema.optionalKey(count),
  toolTimeout: Schema.optionalKey(time),
  toolChoice: Schema.optionalKey(
    Schema.Union([Schema.Literals(["auto", "none", "required"]), Schema.Struct({ tool: Schema.String })])
  ),
  reasoning: Schema.optionalKey(
    Schema.Union([Schema.Literals(["none", "low", "medium", "high"]), Schema.Struct({ tokens: count })])
  ),
  cache: Schema.optionalKey(Schema.Union([Schema.Literal("auto"), Schema.Struct({ ttl: time })])),
  /** What one run may use; see `Runner.withBudget`. */
  budget: Schema.optionalKey(
    Schema.Struct({
      tokens: Schema.optionalKey(count),
      cost: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))),
      steps: Schema.optionalKey(count),
      toolCalls: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
      time: Schema.optionalKey(time)
    })
  ),
  /** How long one run may take. */
  timeout: Schema.optionalKey(time)
})
/** An agent as data. */
export interface AgentConfig extends Schema.Schema.Type<typeof AgentConfig> {}

/** Fields by the names that other programs have for them. */
const elsewhere: Readonly<Record<string, string>> = {
  system: "Write it as instructions",
  systemPrompt: "Write it as instructions",
  system_prompt: "Write it as instructions",
  prompt: "Write it as instructions",
  llm: "Write it as model",
  maxTurns: "Write it as maxSteps",
  max_turns: "Write it as maxSteps",
  outputSchema: "Write it as output",
  output_schema: "Write it as output",
  output_type: "Write it as output",
  features: "Write it as use"
}

type Path = ReadonlyArray<PropertyKey>

/** A config that was read, and the way to say that something in it is wrong. */
export interface ReadConfig {
  readonly config: AgentConfig
  /** Fails at a field or an item of a list. */
  readonly fail: (path: Path, problem: string, remedy: string) => Effect.Effect<never, ConfigInvalid>
}

/** The largest text that is read: an agent is a page. */
const maxText = 1_000_000

const decode = Schema.decodeUnknownResult(AgentConfig, { onExcessProperty: "error" })
const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

/** Reads a text of JSON or YAML. */
export const read = (file: string, text: string): Effect.Effect<ReadConfig, ConfigInvalid> =>
  Effect.gen(function* () {
    if (text.length > maxText) {
      const problem = `it has ${text.length} characters, and the limit is ${maxText}`
      return yield* new ConfigInvalid({ file, problem, remedy: "Write one agent in a file" })
    }
    const value = parseJson(text) ?? (yield* yamlOf(file, text))
    const fail: ReadConfig["fail"] = (path, problem, remedy) =>
      Effect.flatMap(placeOf(text, path), (place) => new ConfigInvalid({ file, ...place, problem, remedy }))
    const decoded = decode(value)
    if (decoded._tag === "Success") return { config: decoded.success, fail }
    const [issue] = issuesOf(decoded.failure.issue).issues
    const path = (issue?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
    return yield* fail(path, ...problemOf(value, path, issue?.message ?? "it does not fit"))
  })

/** What is wrong at a path, and the next step. */
const problemOf = (value: unknown, path: Path, message: string): readonly [problem: string, remedy: string] => {
  const field = path.map(String).join(".")
  const last = String(path.at(-1) ?? "")
  if (path.length === 0) return ["it is not an agent", "Write at least a name, such as name: clerk"]
  if (/excess property|unexpected key/i.test(message)) {
    const known = `Its fields are: ${Object.keys(AgentConfig.fields).join(", ")}`
    return [`there is no field ${field}`, elsewhere[last] ?? known]
  }
  if (/missing key/i.test(message)) return [`${field} is missing`, `Write ${last}: with a value`]
  const found = shown(path.reduce<unknown>(inside, value))
  return [`${field} is ${found}`, cut(oneLine(message), 300)]
}

const inside = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<PropertyKey, unknown>>)[key] : undefined

const shown = (value: unknown): string => cut(oneLine(JSON.stringify(value) ?? "nothing"), 60)

/** Loaded when a text is not JSON, or something is wrong in it. */
const yaml = Effect.promise(() => import("yaml"))

const parse = (text: string) =>
  Effect.map(yaml, ({ LineCounter, parseDocument }) => {
    const lines = new LineCounter()
    // The core schema makes texts, numbers, lists and maps, and nothing that runs.
    const document = parseDocument(text, { schema: "core", prettyErrors: false, lineCounter: lines })
    return { document, lines }
  })

const yamlOf = (file: string, text: string): Effect.Effect<unknown, ConfigInvalid> =>
  Effect.flatMap(parse(text), ({ document, lines }) => {
    const [error] = document.errors
    if (error !== undefined) {
      const { col, line } = lines.linePos(error.pos[0])
      const problem = `it is neither YAML nor JSON: ${cut(oneLine(error.message), 300)}`
      const remedy = "Put a value with special characters, such as a colon, in quotes"
      return new ConfigInvalid({ file, line, column: col, problem, remedy })
    }
    return Effect.try({
      // Aliases could make a small text large.
      try: (): unknown => document.toJS({ maxAliasCount: 20 }),
      catch: (cause) =>
        new ConfigInvalid({ file, problem: messageOf(cause), remedy: "Write the values out, without anchors" })
    })
  })

/** Where a path is in the text: its value, or the nearest field around it. Counted from 1. */
const placeOf = (text: string, path: Path): Effect.Effect<{ readonly line?: number; readonly column?: number }> =>
  Effect.map(parse(text), ({ document, lines }) => {
    for (let length = path.length; length >= 0; length--) {
      const range = rangeIn(document.contents, path.slice(0, length))
      if (range === undefined) continue
      const { col, line } = lines.linePos(range)
      return { line: Math.max(1, line), column: Math.max(1, col) }
    }
    return {}
  })

interface Node {
  readonly range?: readonly [start: number, ...more: ReadonlyArray<number>] | null | undefined
  readonly items?: ReadonlyArray<unknown> | undefined
}
interface Pair {
  readonly key: Node & { readonly value?: unknown }
  readonly value: Node | null
}

/** Where the name of a field, or an item of a list, begins. */
const rangeIn = (root: unknown, path: Path): number | undefined => {
  let node = root as Node | null
  let at = node?.range?.[0]
  for (const part of path) {
    const items = node?.items
    if (items === undefined) return undefined
    const pair = (items as ReadonlyArray<Partial<Pair>>).find(
      ({ key }) => key !== undefined && String(key.value) === part
    )
    const item = typeof part === "number" || /^\d+$/.test(String(part)) ? (items[Number(part)] as Node) : undefined
    if (pair === undefined && item === undefined) return undefined
    at = pair === undefined ? item!.range?.[0] : pair.key!.range?.[0]
    node = pair === undefined ? item! : (pair.value ?? null)
  }
  return at
}
