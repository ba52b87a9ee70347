/** One server of a config file as it is written, in the words of the several hosts that share the format. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { oneLine } from "../../../internal/text.ts"
import { type Fields, given, isFields } from "./fields.ts"

/** A server as the file says it, before variables are filled in. */
export interface Entry {
  readonly command?: string | undefined
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  readonly url?: string | undefined
  readonly transport: "auto" | "http" | "sse"
  readonly headers: Readonly<Record<string, string>>
  readonly allow?: ReadonlyArray<string> | undefined
  readonly deny?: ReadonlyArray<string> | undefined
  /** Milliseconds. */
  readonly timeout?: number | undefined
  /** What the user should know of the entry, such as keys that are not followed. */
  readonly warnings: ReadonlyArray<string>
}

/** Why an entry cannot be used. */
export interface Problem {
  readonly problem: string
  readonly remedy: string
}

type Read<A> = Result.Result<A, Problem>

const refuse = (problem: string, remedy: string): Result.Result<never, Problem> => Result.fail({ problem, remedy })

const Word = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean])
const Words = Schema.Record(Schema.String, Schema.NullOr(Word))
const Names = Schema.Array(Schema.String)
const optional = Schema.optional
const Written = Schema.Struct({
  type: optional(Schema.String),
  transport: optional(Schema.String),
  command: optional(Schema.String),
  args: optional(Schema.Array(Word)),
  env: optional(Words),
  cwd: optional(Schema.String),
  url: optional(Schema.String),
  httpUrl: optional(Schema.String),
  serverUrl: optional(Schema.String),
  headers: optional(Words),
  disabled: optional(Schema.Boolean),
  enabled: optional(Schema.Boolean),
  allow: optional(Names),
  includeTools: optional(Names),
  enabledTools: optional(Names),
  enabled_tools: optional(Names),
  tools: optional(Names),
  deny: optional(Names),
  excludeTools: optional(Names),
  disabledTools: optional(Names),
  disabled_tools: optional(Names),
  timeout: optional(Schema.Finite)
})
type Written = typeof Written.Type
const decode = Schema.decodeUnknownResult(Written)

/** Keys that say nothing about how the server is used. */
const remarks = new Set(["name", "title", "description", "icon"])

/** Keys that limit a server, or that it does not work without, and what to do instead. */
const refused: Readonly<Record<string, string>> = {
  envFile: "Write the variables in env",
  sandbox: "Start the server in a container, and remove the key",
  sandboxEnabled: "Start the server in a container, and remove the key"
}

/** Whether an entry is turned off, by either of the two keys for it. */
export const isOff = (entry: unknown): boolean =>
  isFields(entry) && (entry.disabled === true || entry.enabled === false)

/** Reads an entry that is not turned off. */
export const read = (entry: unknown): Read<Entry> =>
  Result.gen(function* () {
    const fields = yield* flat(entry)
    for (const [key, remedy] of Object.entries(refused)) {
      if (fields[key] !== undefined && fields[key] !== false)
        return yield* refuse(`has "${key}", which is not followed here`, remedy)
    }
    const written = yield* Result.mapError(decode(fields), ({ message }) => ({
      problem: `has a field that does not fit: ${oneLine(message).slice(0, 500)}`,
      remedy: "Correct it"
    }))
    const target = yield* targetOf(written)
    const texts = yield* textsOf(written)
    const allow = yield* single(written, ["allow", "includeTools", "enabledTools", "enabled_tools", "tools"])
    const deny = [written.deny, written.excludeTools, written.disabledTools, written.disabled_tools]
    return {
      ...target,
      ...texts,
      cwd: written.cwd,
      allow: allow?.[1],
      deny: deny.flatMap((names) => names ?? []),
      timeout: written.timeout,
      warnings: warningsOf(fields, written)
    }
  })

/** The fields of an entry, with those of a nested `transport` among them. */
const flat = (entry: unknown): Read<Fields> => {
  if (!isFields(entry)) return refuse("is not an object", 'Use { "command": ... } or { "url": ... }')
  const outer = given(entry)
  if (!isFields(outer.transport)) return Result.succeed(outer)
  const { transport, ...others } = outer
  const inner = given(transport as Fields)
  const both = Object.keys(inner).find((key) => others[key] !== undefined)
  if (both !== undefined) return refuse(`has "${both}" twice, once in its transport`, "Remove one of them")
  return Result.succeed({ ...others, ...inner })
}

/** The only one of several fields with the same meaning. */
const single = <K extends keyof Written>(
  written: Written,
  keys: ReadonlyArray<K>
): Read<readonly [K, NonNullable<Written[K]>] | undefined> => {
  const found = keys.flatMap((key) => {
    const value = written[key]
    return value === undefined ? [] : [[key, value as NonNullable<Written[K]>] as const]
  })
  if (found.length <= 1) return Result.succeed(found[0])
  return refuse(`has both ${found.map(([key]) => `"${key}"`).join(" and ")}`, "Give it one of them")
}

const kinds: Readonly<Record<string, "stdio" | Entry["transport"]>> = {
  stdio: "stdio",
  local: "stdio",
  http: "http",
  "streamable-http": "http",
  streamablehttp: "http",
  streamable_http: "http",
  sse: "sse",
  remote: "auto"
}

const targetOf = (written: Written): Read<Pick<Entry, "command" | "url" | "transport">> =>
  Result.gen(function* () {
    const { command } = written
    const way = yield* single(written, ["command", "url", "httpUrl", "serverUrl"])
    if (way === undefined) return yield* refuse("has neither a command nor a url", "Give it one of them")
    const type = yield* single(written, ["type", "transport"])
    const isHttp = way[0] === "httpUrl"
    if (type === undefined) {
      return command === undefined
        ? { url: way[1], transport: isHttp ? ("http" as const) : ("auto" as const) }
        : { command, transport: "auto" as const }
    }
    const kind = Object.entries(kinds).find(([name]) => name === type[1].toLowerCase())?.[1]
    const label = `${type[0]} "${oneLine(type[1]).slice(0, 80)}"`
    if (kind === undefined) return yield* refuse(`has the unknown ${label}`, 'Use "stdio", "http" or "sse"')
    if ((kind === "stdio") !== (command !== undefined) || (isHttp && kind === "sse")) {
      return yield* refuse(`has a ${way[0]}, but the ${label}`, "Make them fit each other")
    }
    return kind === "stdio" ? { command, transport: "auto" as const } : { url: way[1], transport: kind }
  })

const textsOf = (written: Written): Read<Pick<Entry, "args" | "env" | "headers">> =>
  Result.gen(function* () {
    const words = [
      ...(written.args ?? []),
      ...Object.values(written.env ?? {}),
      ...Object.values(written.headers ?? {})
    ]
    if (words.some((word) => typeof word === "number" && Number.isInteger(word) && !Number.isSafeInteger(word))) {
      return yield* refuse("has a number that is too large to be exact", "Write it in quotes")
    }
    const textsIn = (record: Written["env"]) =>
      Object.fromEntries(
        Object.entries(record ?? {}).flatMap(([key, word]) => (word === null ? [] : [[key, String(word)] as const]))
      )
    return { args: (written.args ?? []).map(String), env: textsIn(written.env), headers: textsIn(written.headers) }
  })

const shortest = 1000
const longest = 24 * 60 * 60 * 1000

const warningsOf = (fields: Fields, written: Written): ReadonlyArray<string> => {
  const isProgram = written.command !== undefined
  const misplaced = isProgram ? ["headers"] : ["args", "env", "cwd"]
  const isEmpty = (value: unknown) => typeof value === "object" && value !== null && Object.keys(value).length === 0
  const dropped = Object.keys(fields).filter(
    (key) =>
      !isEmpty(fields[key]) && (misplaced.includes(key) || !(Object.hasOwn(Written.fields, key) || remarks.has(key)))
  )
  const names = dropped.slice(0, 20).map((key) => oneLine(key).slice(0, 80))
  const { timeout } = written
  return [
    ...(names.length === 0 ? [] : [`these keys of it are not followed: ${names.join(", ")}`]),
    ...(timeout !== undefined && (timeout < shortest || timeout > longest)
      ? [`its timeout is ${timeout} milliseconds; is that the unit that was meant?`]
      : [])
  ]
}
