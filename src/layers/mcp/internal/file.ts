/** Config files in the form that MCP hosts share: `mcpServers`, by name. It reads the file and Config. */
import * as fs from "node:fs"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { check, type ServerOptions, type Text } from "./config.ts"
import { McpConfigError } from "./errors.ts"

const Texts = Schema.Record(Schema.String, Schema.String)
const Names = Schema.Array(Schema.String)
/** Keys that other hosts add, such as `alwaysAllow`, are theirs. */
const Entry = Schema.Struct({
  type: Schema.optional(Schema.String),
  command: Schema.optional(Schema.String),
  args: Schema.optional(Schema.Array(Schema.String)),
  env: Schema.optional(Texts),
  cwd: Schema.optional(Schema.String),
  url: Schema.optional(Schema.String),
  headers: Schema.optional(Texts),
  disabled: Schema.optional(Schema.Boolean),
  allow: Schema.optional(Names),
  deny: Schema.optional(Names),
  /** Milliseconds. */
  timeout: Schema.optional(Schema.Finite)
})
const Entries = Schema.Record(Schema.String, Entry)
const File = Schema.Struct({ mcpServers: Schema.optional(Entries), servers: Schema.optional(Entries) })
const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(File))

type Servers = Readonly<Record<string, ServerOptions>>

/** The servers of a config file. `${NAME}` and `${NAME:-default}` are filled in from Config. */
export const fromFile = (file: string): Effect.Effect<Servers, McpConfigError> =>
  Effect.gen(function* () {
    const fail = (problem: string, remedy: string) => new McpConfigError({ file, problem, remedy })
    const text = yield* Effect.try({
      try: () => fs.readFileSync(file, "utf8").replace(/^\ufeff/, ""),
      catch: (error) =>
        fail(`it cannot be read: ${error instanceof Error ? error.message : String(error)}`, "Check the path")
    })
    const { mcpServers, servers } = yield* Effect.mapError(decode(text), (error) =>
      fail(`it is no config of MCP servers: ${error.message}`, 'Use { "mcpServers": { "name": { "command": ... } } }')
    )
    const entries = mcpServers ?? servers
    if (entries === undefined) {
      return yield* fail('it has no "mcpServers"', 'Use { "mcpServers": { "name": { "command": ... } } }')
    }
    const found: Record<string, ServerOptions> = {}
    for (const [name, entry] of Object.entries(entries)) {
      if (entry.disabled === true) continue
      const options = yield* toOptions(file, name, entry)
      yield* Effect.try({
        try: () => check(name, options),
        catch: (error) => fail(error instanceof Error ? error.message : String(error), "Mend it")
      })
      found[name] = options
    }
    return found
  })

const variable = /\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g

const toOptions = (
  file: string,
  name: string,
  entry: typeof Entry.Type
): Effect.Effect<ServerOptions, McpConfigError> =>
  Effect.gen(function* () {
    const fail = (problem: string, remedy: string) =>
      new McpConfigError({ file, problem: `server "${name}" ${problem}`, remedy })
    const fill = (text: string): Effect.Effect<string, McpConfigError> =>
      Effect.gen(function* () {
        let filled = ""
        let from = 0
        for (const match of text.matchAll(variable)) {
          const [all, key, otherwise] = match
          const value = yield* Effect.mapError(Config.option(Config.String(key!)), (error) =>
            fail(`needs the variable ${key}: ${error.message}`, "Set it")
          )
          const given = Option.getOrElse(value, () => otherwise)
          if (given === undefined) return yield* fail(`needs the variable ${key}, which is not set`, "Set it")
          filled += text.slice(from, match.index) + given
          from = match.index + all.length
        }
        return filled + text.slice(from)
      })
    /** A text that something is filled in to may be a key. */
    const hide = (text: string): Effect.Effect<Text, McpConfigError> =>
      Effect.map(fill(text), (filled) =>
        text.search(variable) === -1 ? filled : Redacted.make(filled, { label: text })
      )
    // Environments and headers are where keys are.
    const fillAll = (texts: Readonly<Record<string, string>> | undefined) =>
      Effect.map(
        Effect.forEach(Object.entries(texts ?? {}), ([key, text]) =>
          Effect.map(fill(text), (value) => [key, Redacted.make(value)] as const)
        ),
        (pairs) => Object.fromEntries(pairs)
      )
    const { allow, deny, timeout } = entry
    const common = { allow, deny, timeout }
    if (entry.command !== undefined) {
      return {
        ...common,
        command: yield* fill(entry.command),
        args: yield* Effect.forEach(entry.args ?? [], hide),
        env: yield* fillAll(entry.env),
        cwd: entry.cwd === undefined ? undefined : yield* fill(entry.cwd)
      }
    }
    if (entry.url === undefined) return yield* fail("has neither a command nor a url", "Give it one of them")
    const type = entry.type ?? "auto"
    const transport = type === "sse" ? "sse" : /^(streamable-?)?http$/i.test(type) ? "http" : "auto"
    return { ...common, url: yield* hide(entry.url), transport, headers: yield* fillAll(entry.headers) }
  })
