/**
 * Brings what servers send to the form that the SDK reads, which refuses a whole message for one odd field. A field that
 * is `null` counts as not given, a field that does not fit is left out, and a failure keeps its reason.
 */
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js"
import { given, isFields, parsed } from "./fields.ts"
import { maxMessageBytes } from "./limits.ts"

type Types = typeof import("@modelcontextprotocol/sdk/types.js")
type Auth = typeof import("@modelcontextprotocol/sdk/shared/auth.js")

/** What it needs of the SDK. */
export interface IncomingParts extends Pick<
  Auth,
  | "OAuthMetadataSchema"
  | "OpenIdProviderDiscoveryMetadataSchema"
  | "OAuthProtectedResourceMetadataSchema"
  | "OAuthTokensSchema"
  | "OAuthClientInformationFullSchema"
> {
  readonly types: Types
}

/** Readers of what one server sends. */
export interface Incoming {
  /** The messages of a parsed value: one, or those of a batch. What is not a message is reported. */
  readonly messages: (value: unknown) => ReadonlyArray<JSONRPCMessage>
  /** Reports a text that is not JSON, and fails the request that it answers where the text says which. */
  readonly unreadable: (text: string) => ReadonlyArray<JSONRPCMessage>
  /** Makes a reader of lines, which also reads a message that is spread over several lines. */
  readonly lines: () => (line: string) => ReadonlyArray<JSONRPCMessage>
  /** The same transport, with sound messages. `sent` gets the id of each request that is sent. */
  readonly transport: (inner: Transport, sent: (id: string | number) => void) => Transport
  /** A JSON document of an authorization server, by the address that it came from. */
  readonly authorization: (document: unknown, url: string) => unknown
}

/** Takes one sentence about something that could not be used. */
type Report = (problem: string) => void
type Fields = Record<string, unknown>

const jsonrpc = "2.0"
const internalError = -32603
/** How many characters of a message that cannot be used are shown. */
const shownChars = 200

const isId = (id: unknown): id is string | number => typeof id === "string" || Number.isSafeInteger(id)

const shown = (value: unknown): string => {
  try {
    const text = (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value))).trim()
    return text.length > shownChars ? `${text.slice(0, shownChars)}...` : text
  } catch {
    return "a value that is nested too deeply"
  }
}

// -- fields -----------------------------------------------------------------------------------------------------------

interface Schema {
  readonly safeParse: (value: unknown) => {
    readonly success: boolean
    readonly error?: { readonly issues: ReadonlyArray<{ readonly path: ReadonlyArray<PropertyKey> }> }
  }
}

/** How many fields are left out of one value. */
const maxMisfits = 50

/** Leaves out the fields that do not fit. A required one that is missing stays missing, for the SDK to refuse. */
const fitted = (schema: Schema, value: Fields, subject: string, report: Report): Fields => {
  // A value that is nested too deeply cannot be copied.
  if (schema.safeParse(value).success) return value
  const fields = structuredClone(value)
  for (let round = 0; round < maxMisfits; round++) {
    const path = schema.safeParse(fields).error?.issues[0]?.path
    const key = path?.at(-1)
    if (path === undefined || key === undefined) return fields
    let parent: unknown = fields
    for (const step of path.slice(0, -1)) parent = (parent as Record<PropertyKey, unknown>)[step]
    if (Array.isArray(parent) && typeof key === "number") parent.splice(key, 1)
    else if (isFields(parent) && Object.hasOwn(parent, key)) delete (parent as Record<PropertyKey, unknown>)[key]
    else return fields
    report(`${subject}: ${path.map(String).join(".")} does not fit and is left out`)
  }
  return fields
}

const withMeta = (fields: { readonly [key: string]: unknown }, types: Types): Fields => {
  const { _meta, ...rest } = fields
  if (!isFields(_meta)) return rest
  const meta: Fields = { ..._meta }
  const task = meta[types.RELATED_TASK_META_KEY]
  if (!isId(meta["progressToken"])) delete meta["progressToken"]
  if (!isFields(task) || typeof task["taskId"] !== "string") delete meta[types.RELATED_TASK_META_KEY]
  return { ...rest, _meta: meta }
}

// -- messages ---------------------------------------------------------------------------------------------------------

/** A failure in the form that the SDK passes on: with a number as code and a text as message. */
const errorOf = (error: unknown): Fields => {
  if (!isFields(error)) return { code: internalError, message: shown(error) }
  const { code, data, message } = error
  const number = typeof code === "string" && /^-?\d{1,9}$/.test(code) ? Number(code) : code
  const isKnown = Number.isSafeInteger(number)
  const isMissing = message === undefined || message === null || message === ""
  const said = isMissing ? "the server gave no reason" : typeof message === "string" ? message : shown(message)
  return {
    code: isKnown ? number : internalError,
    message: isKnown || code === undefined || code === null ? said : `${shown(code)}: ${said}`,
    ...(data === undefined || data === null ? {} : { data })
  }
}

const requestOf = ({ id, method, params }: { readonly [key: string]: unknown }, types: Types): JSONRPCMessage => {
  if (id !== undefined && id !== null && !isId(id)) throw new Error("its id is neither a text nor an integer")
  // The `ttl` of a task is `null` where it has none.
  const isTask = String(method).startsWith("notifications/tasks/")
  const fields = isFields(params) && !isTask ? given(params) : params
  const rest = isFields(fields) ? { method, params: withMeta(fields, types) } : { method }
  return (isId(id) ? { jsonrpc, id, ...rest } : { jsonrpc, ...rest }) as JSONRPCMessage
}

/** The sound form of a message. Throws an error that says why a value is not a message. */
const messageOf = (value: unknown, types: Types): JSONRPCMessage => {
  if (!isFields(value)) throw new Error("it is not an object")
  const { error, id, method, params, result } = value
  const hasNull = isFields(params) && Object.values(params).includes(null)
  if (!hasNull && types.JSONRPCMessageSchema.safeParse(value).success) return value as unknown as JSONRPCMessage
  if (typeof method === "string") return requestOf(value, types)
  if (error !== undefined && error !== null) {
    const failure = errorOf(error)
    if (!isId(id)) throw new Error(`it is an error without the id of a request: ${shown(failure["message"])}`)
    return { jsonrpc, id, error: failure } as unknown as JSONRPCMessage
  }
  if (!("result" in value)) throw new Error("it is neither a request nor an answer")
  if (!isId(id)) throw new Error("it is an answer without the id of a request")
  // Before protocol 2024-11-05 a tool's result had this field.
  const fields = isFields(result) ? result : result === null || result === undefined ? {} : { toolResult: result }
  return { jsonrpc, id, result: withMeta(fields, types) }
}

const readMessages = (value: unknown, types: Types, report: Report): ReadonlyArray<JSONRPCMessage> =>
  (Array.isArray(value) ? (value as ReadonlyArray<unknown>) : [value]).flatMap((one) => {
    try {
      return [messageOf(one, types)]
    } catch (error) {
      report(`the server sent something that is not a message (${(error as Error).message}): ${shown(one)}`)
      return []
    }
  })

const readUnreadable = (text: string, report: Report): ReadonlyArray<JSONRPCMessage> => {
  report(`the server sent something that is not JSON: ${shown(text)}`)
  const id = /^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,15})\s*,\s*"(?:result|error)"/.exec(text)?.[1]
  if (id === undefined) return []
  const error = { code: internalError, message: `the server's answer is not JSON: ${shown(text)}` }
  return [{ jsonrpc, id: Number(id), error }]
}

// -- lines ------------------------------------------------------------------------------------------------------------

/** Counts the brackets that are open over the lines of a text. */
const bracketCounter = () => {
  let open = 0
  let isInText = false
  return (line: string): number => {
    for (let at = 0; at < line.length; at++) {
      const char = line[at]
      if (isInText) {
        if (char === "\\") at++
        else if (char === '"') isInText = false
      } else if (char === '"') isInText = true
      else if (char === "{" || char === "[") open++
      else if (char === "}" || char === "]") open--
    }
    return open
  }
}

const lineReader = ({ messages, unreadable }: Pick<Incoming, "messages" | "unreadable">, report: Report) => {
  /** A message that began on an earlier line. */
  let begun = ""
  let count = bracketCounter()
  const end = (): string => {
    const text = begun
    begun = ""
    count = bracketCounter()
    return text
  }
  return (line: string): ReadonlyArray<JSONRPCMessage> => {
    if (line.trim() === "") return []
    const whole = parsed(line)
    if (whole !== undefined && (begun === "" || (isFields(whole) && "jsonrpc" in whole))) {
      return [...(begun === "" ? [] : unreadable(end())), ...messages(whole)]
    }
    if (begun === "" && !line.trimStart().startsWith("{")) return unreadable(line)
    const isFirst = begun === ""
    begun += `${line}\n`
    if (count(line) > 0 && begun.length <= maxMessageBytes) {
      if (isFirst) report(`the server sent a message that does not end on its line: ${shown(begun)}`)
      return []
    }
    const text = end()
    const all = parsed(text)
    return all === undefined ? unreadable(text) : messages(all)
  }
}

// -- the greeting -----------------------------------------------------------------------------------------------------

const textOf = (value: unknown): string => (typeof value === "object" ? "" : String(value ?? ""))

/** A result of `initialize` that the SDK takes; `asked` is the version of the protocol that was asked for. */
const greetingOf = (result: Fields, asked: unknown, types: Types, report: Report): Fields => {
  const { capabilities, protocolVersion, serverInfo, ...rest } = given(result)
  const about = isFields(serverInfo) ? given(serverInfo) : {}
  const declared = isFields(capabilities)
    ? Object.entries(given(capabilities)).filter(([, value]) => value !== false)
    : []
  const sound = {
    ...rest,
    protocolVersion: typeof protocolVersion === "string" ? protocolVersion : asked,
    capabilities: Object.fromEntries(declared.map(([key, value]) => [key, isFields(value) ? given(value) : {}])),
    serverInfo: { ...about, name: textOf(about["name"]), version: textOf(about["version"]) }
  }
  try {
    return fitted(types.InitializeResultSchema, sound, "the server's answer to initialize", report)
  } catch {
    // A value that is nested too deeply, for the SDK to refuse.
    return sound
  }
}

const soundTransport = (
  inner: Transport,
  messages: Incoming["messages"],
  greeting: (result: Fields, asked: unknown) => Fields,
  sent: (id: string | number) => void
): Transport => {
  /** The request to initialize, while it waits for its answer. */
  let asked: { readonly id: unknown; readonly version: unknown } | undefined
  const sound = (message: JSONRPCMessage): JSONRPCMessage => {
    if (asked === undefined || !("result" in message) || String(message.id) !== String(asked.id)) return message
    const result = greeting(message.result, asked.version) as typeof message.result
    asked = undefined
    return { ...message, result }
  }
  const outer: Transport = {
    start: () => {
      const listeners: Pick<Transport, "onclose" | "onerror" | "onmessage"> = {
        onclose: () => outer.onclose?.(),
        onerror: (error) => outer.onerror?.(error),
        onmessage: (value, extra) => {
          for (const message of messages(value)) outer.onmessage?.(sound(message), extra)
        }
      }
      Object.assign(inner, listeners)
      return inner.start()
    },
    send: (message, options) => {
      if ("method" in message && message.method === "initialize" && "id" in message) {
        asked = { id: message.id, version: message.params?.["protocolVersion"] }
      }
      if ("method" in message && "id" in message) sent(message.id)
      return inner.send(message, options)
    },
    close: () => inner.close(),
    setProtocolVersion: (version) => inner.setProtocolVersion?.(version)
  }
  return Object.defineProperty(outer, "sessionId", { get: () => inner.sessionId })
}

// -- authorization ----------------------------------------------------------------------------------------------------

const documentSchema = (fields: object, url: string, parts: IncomingParts): Schema | undefined => {
  if ("access_token" in fields) return parts.OAuthTokensSchema
  if ("authorization_endpoint" in fields) {
    return url.includes("openid-configuration")
      ? parts.OpenIdProviderDiscoveryMetadataSchema
      : parts.OAuthMetadataSchema
  }
  if ("client_id" in fields) return parts.OAuthClientInformationFullSchema
  return "resource" in fields ? parts.OAuthProtectedResourceMetadataSchema : undefined
}

/** Makes the readers. `report` gets one sentence about each thing that could not be used. */
export const incoming = (parts: IncomingParts, report: Report): Incoming => {
  const { types } = parts
  const messages = (value: unknown) => readMessages(value, types, report)
  const unreadable = (text: string) => readUnreadable(text, report)
  return {
    messages,
    unreadable,
    lines: () => lineReader({ messages, unreadable }, report),
    transport: (inner, sent) =>
      soundTransport(inner, messages, (result, asked) => greetingOf(result, asked, types, report), sent),
    authorization: (document, url) => {
      if (!isFields(document)) return document
      const fields = given(document)
      const schema = documentSchema(fields, url, parts)
      return schema === undefined ? fields : fitted(schema, fields, "the authorization server's answer", report)
    }
  }
}
