/**
 * Config files in the form that MCP hosts share: `mcpServers`, by name. This file reads the file and Config, and asks the
 * program which servers and variables it approves.
 */
import * as fs from "node:fs"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { assertOptions, namesOf } from "../../../internal/definition.ts"
import { messageOf } from "../../../internal/message.ts"
import { oneLine } from "../../../internal/text.ts"
import { check, type ServerOptions, type Text } from "./config.ts"
import { type Entry, isOff, read } from "./configEntry.ts"
import { McpConfigError } from "./errors.ts"
import { isFields } from "./fields.ts"
import { parse } from "./jsonText.ts"

/** A server of a config file, for the program that decides whether to use it. Variables are not filled in. */
export interface FileServer {
  readonly name: string
  /** The command line, or the address, on one line and without characters that cannot be seen: for people. */
  readonly target: string
  /** Of a server that is a program. */
  readonly command: string | undefined
  readonly args: ReadonlyArray<string>
  readonly cwd: string | undefined
  /** `Redacted`, as the file may have keys in it. It can change which program runs (`PATH`, `NODE_OPTIONS`). */
  readonly env: Readonly<Record<string, Redacted.Redacted>>
  /** Of a server behind an address. */
  readonly url: string | undefined
  readonly headers: Readonly<Record<string, Redacted.Redacted>>
  /** The names of the variables that the server is given. */
  readonly variables: ReadonlyArray<string>
}

/** How far a config file is trusted. */
export interface FileOptions<R = never> {
  /**
   * The variables of Config and of the environment that the file may name; a server that names another one fails with
   * `McpConfigError`, and the variable is not read. Default: all. `[]`: none.
   */
  readonly variables?: ReadonlyArray<string> | undefined
  /**
   * Decides whether a server is used. Runs for each server that is not turned off, one after the other in the order of the
   * file, before a variable is read and before a program is started. A server that gets `false` is left out and logged as a
   * warning. Default: all servers are used.
   */
  readonly approve?: ((server: FileServer) => Effect.Effect<boolean, never, R>) | undefined
}

type Servers = Readonly<Record<string, ServerOptions>>

const usage = 'Use { "mcpServers": { "name": { "command": ... } } }'

/** A config file is small. */
const maxBytes = 1_048_576

/**
 * The servers of a config file. `${NAME}` and `${NAME:-default}` are filled in from Config.
 *
 * To use what it returns is to start the programs that the file names, with the variables that it names: see
 * {@link FileOptions} for a file that is not your own. Fails with `McpConfigError` when the file cannot be read or used.
 *
 * @example
 * import { Effect } from "effect"
 * import { Mcp } from "troupe"
 *
 * const names = Effect.map(Mcp.fromFile(".mcp.json", { variables: ["DOCS_TOKEN"] }), Object.keys)
 */
export const fromFile = <R = never>(
  file: string,
  options: FileOptions<R> = {}
): Effect.Effect<Servers, McpConfigError, R> => {
  assertOptions("Mcp.fromFile", options, known)
  return Effect.gen(function* () {
    const found: Array<readonly [string, ServerOptions]> = []
    const approved: Array<readonly [string, Entry]> = []
    for (const [name, written] of Object.entries(yield* entriesOf(file))) {
      if (isOff(written)) continue
      const label = `server "${oneLine(name)}"`
      const entry = yield* Effect.mapError(
        Effect.fromResult(read(written)),
        ({ problem, remedy }) => new McpConfigError({ file, problem: `${label} ${problem}`, remedy })
      )
      if (options.approve !== undefined && !(yield* options.approve(toFileServer(name, entry)))) {
        yield* Effect.logWarning(`${file}: ${label} is left out, because it was not approved`)
        continue
      }
      for (const warning of entry.warnings) yield* Effect.logWarning(`${file}: ${label}: ${warning}`)
      approved.push([name, entry])
    }
    for (const [name, entry] of approved) {
      const server = yield* toOptions({ file, name, variables: options.variables }, entry)
      yield* Effect.try({
        try: () => check(name, server),
        catch: (error) => new McpConfigError({ file, problem: oneLine(messageOf(error)), remedy: "Correct the file" })
      })
      found.push([name, server])
    }
    return Object.fromEntries(found)
  })
}

const known = namesOf<FileOptions>({ variables: true, approve: true })

const textOf = (file: string): string => {
  const { size } = fs.statSync(file)
  const text = size > maxBytes ? undefined : fs.readFileSync(file, "utf8")
  if (text === undefined || text.length > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`)
  return text.replace(/^\ufeff/, "")
}

/** The entries of a file, by name, as they are written. */
const entriesOf = (file: string): Effect.Effect<Readonly<Record<string, unknown>>, McpConfigError> =>
  Effect.gen(function* () {
    const fail = (problem: string, remedy: string) => new McpConfigError({ file, problem, remedy })
    const text = yield* Effect.try({
      try: () => textOf(file),
      catch: (error) => fail(`it cannot be read: ${messageOf(error)}`, "Check the path")
    })
    const content = yield* Effect.try({
      try: () => parse(text),
      catch: (error) => fail(`it is not JSON: ${messageOf(error)}`, "Correct that line")
    })
    const { mcpServers, servers } = isFields(content) ? content : {}
    if (mcpServers != null && servers != null) return yield* fail('it has both "mcpServers" and "servers"', "Keep one")
    const entries = mcpServers ?? servers
    if (entries == null) return yield* fail('it has no "mcpServers"', usage)
    if (!isFields(entries)) return yield* fail('its "mcpServers" is not an object', usage)
    return entries
  })

const placeholder = /\$\{([^}]*)(\}?)/g
const variable = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/

const hasPlaceholder = (text: string): boolean => text.includes("${")

const toFileServer = (name: string, entry: Entry): FileServer => {
  const { args, command, cwd, env, headers, url } = entry
  const texts = [command ?? "", cwd ?? "", url ?? "", ...args, ...Object.values(env), ...Object.values(headers)]
  const inside = texts.flatMap((text) => [...text.matchAll(placeholder)].map((match) => match[1]!))
  const named = inside.flatMap((text) => variable.exec(text)?.[1] ?? [])
  const hidden = (record: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(record).map(([key, text]) => [key, Redacted.make(text)]))
  return {
    name,
    target: oneLine(command === undefined ? (url ?? "") : [command, ...args].join(" ")),
    command,
    args,
    cwd,
    env: hidden(env),
    url,
    headers: hidden(headers),
    variables: [...new Set(named)]
  }
}

interface Filling {
  readonly file: string
  readonly name: string
  readonly variables: ReadonlyArray<string> | undefined
}

const problemIn = ({ file, name }: Filling, problem: string, remedy: string): McpConfigError =>
  new McpConfigError({ file, problem: `server "${oneLine(name)}" ${problem}`, remedy })

/** The value of a variable. What Config does not have may be set to the empty text: Config treats that as missing. */
const valueOf = Effect.fnUntraced(function* (filling: Filling, key: string, otherwise: string | undefined) {
  if (filling.variables !== undefined && !filling.variables.includes(key)) {
    return yield* problemIn(
      filling,
      `names the variable ${key}, which this program does not give to it`,
      `Add "${key}" to variables if the server may have it`
    )
  }
  const value = yield* Effect.mapError(Config.option(Config.String(key)), (error) =>
    problemIn(filling, `needs the variable ${key}: ${oneLine(error.message)}`, "Set it")
  )
  const empty = process.env[key] === "" ? "" : undefined
  const given = Option.getOrUndefined(value) || (otherwise ?? Option.getOrElse(value, () => empty))
  if (given === undefined) return yield* problemIn(filling, `needs the variable ${key}, which is not set`, "Set it")
  return given
})

const fill = Effect.fnUntraced(function* (filling: Filling, text: string) {
  let filled = ""
  let from = 0
  for (const match of text.matchAll(placeholder)) {
    const [all, inside = "", close] = match
    const [, key, otherwise] = variable.exec(inside) ?? []
    if (close === "" || key === undefined) {
      const shown = oneLine(all).slice(0, 80)
      const remedy = "Use ${NAME} or ${NAME:-default}, with a variable of the environment"
      return yield* problemIn(filling, `has ${shown}, which cannot be filled in`, remedy)
    }
    filled += text.slice(from, match.index) + (yield* valueOf(filling, key, otherwise))
    from = match.index + all.length
  }
  return filled + text.slice(from)
})

/** A text that something is filled in to may be a key. */
const hide = (filling: Filling, text: string): Effect.Effect<Text, McpConfigError> =>
  Effect.map(fill(filling, text), (filled) => (hasPlaceholder(text) ? Redacted.make(filled, { label: text }) : filled))

/** Environments and headers are where keys are. */
const fillAll = (filling: Filling, texts: Readonly<Record<string, string>>) =>
  Effect.map(
    Effect.forEach(Object.entries(texts), ([key, text]) =>
      Effect.map(fill(filling, text), (value) => [key, Redacted.make(value)] as const)
    ),
    (pairs): Readonly<Record<string, Redacted.Redacted>> => Object.fromEntries(pairs)
  )

const toOptions = (filling: Filling, entry: Entry): Effect.Effect<ServerOptions, McpConfigError> =>
  Effect.gen(function* () {
    const { allow, command, cwd, deny, timeout, transport, url } = entry
    const common = { allow, deny, timeout }
    if (command !== undefined) {
      return {
        ...common,
        command: yield* fill(filling, command),
        args: yield* Effect.forEach(entry.args, (text) => hide(filling, text)),
        env: yield* fillAll(filling, entry.env),
        cwd: cwd === undefined ? undefined : yield* fill(filling, cwd)
      }
    }
    return {
      ...common,
      url: yield* hide(filling, url ?? ""),
      transport,
      headers: yield* fillAll(filling, entry.headers)
    }
  })
