/**
 * Brings what servers send to the form that the SDK reads, which refuses a whole message for one odd field. A field that
 * is `null` counts as not given, a field that does not fit is left out, and a failure keeps its reason.
 */
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js"

/** What it needs of the SDK. */
export interface IncomingParts {
  readonly types: typeof import("@modelcontextprotocol/sdk/types.js")
  readonly OAuthMetadataSchema: typeof import("@modelcontextprotocol/sdk/shared/auth.js").OAuthMetadataSchema
  readonly OpenIdProviderDiscoveryMetadataSchema: typeof import("@modelcontextprotocol/sdk/shared/auth.js").OpenIdProviderDiscoveryMetadataSchema
  readonly OAuthProtectedResourceMetadataSchema: typeof import("@modelcontextprotocol/sdk/shared/auth.js").OAuthProtectedResourceMetadataSchema
  readonly OAuthTokensSchema: typeof import("@modelcontextprotocol/sdk/shared/auth.js").OAuthTokensSchema
  readonly OAuthClientInformationFullSchema: typeof import("@modelcontextprotocol/sdk/shared/auth.js").OAuthClientInformationFullSchema
}

/** Readers of what one server sends. */
export interface Incoming {
  /** The messages of a parsed value: one, or those of a batch. What is not a message is reported. */
  readonly messages: (value: unknown) => ReadonlyArray<JSONRPCMessage>
  /** Reports a text that is not JSON, and fails the request that it answers where the text says which. */
  readonly unreadable: (text: string) => ReadonlyArray<JSONRPCMessage>
  /** Makes a reader of lines, which also reads a message that is spread over several lines. */
  readonly lines: () => (line: string) => ReadonlyArray<JSONRPCMessage>
  /** The same transport, with sound messages. */
  readonly transport: (inner: Transport) => Transport
  /** A JSON document of an authorization server, by the address that it came from. */
  readonly authorization: (document: unknown, url: string) => unknown
}

/** Makes the readers. `report` gets one sentence about each thing that could not be used. */
export const incoming = (parts: IncomingParts, report: (problem: string) => void): Incoming => {
  type Fields = Record<string, unknown>
  interface Schema {
    readonly safeParse: (value: unknown) => {
      readonly success: boolean
      readonly error?: { readonly issues: ReadonlyArray<{ readonly path: ReadonlyArray<PropertyKey> }> }
    }
  }
  const { types } = parts
  const internalError = -32603
  const maxChars = 10 * 1024 * 1024
  const shownChars = 200

  const isFields = (value: unknown): value is Fields =>
    typeof value === "object" && value !== null && !Array.isArray(value)
  const isId = (id: unknown): id is string | number => typeof id === "string" || Number.isSafeInteger(id)
  /** The fields that are given: `null` counts as not given. */
  const given = (fields: Fields): Fields =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
  const shown = (value: unknown): string => {
    try {
      const text = (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value))).trim()
      return text.length > shownChars ? `${text.slice(0, shownChars)}...` : text
    } catch {
      return "a value that is nested too deeply"
    }
  }

  /** Leaves out the fields that do not fit. A required one that is missing stays missing, for the SDK to refuse. */
  const fitted = (schema: Schema, value: Fields, subject: string): Fields => {
    // The text of a deep value would overflow the stack, which is the SDK's to refuse.
    if (schema.safeParse(value).success) return value
    const fields = structuredClone(value)
    for (let round = 0; round < 50; round++) {
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

  const withMeta = (fields: Fields): Fields => {
    const { _meta, ...rest } = fields
    if (!isFields(_meta)) return rest
    const meta = { ..._meta }
    const task = meta[types.RELATED_TASK_META_KEY]
    if (!isId(meta["progressToken"])) delete meta["progressToken"]
    if (!isFields(task) || typeof task["taskId"] !== "string") delete meta[types.RELATED_TASK_META_KEY]
    return { ...rest, _meta: meta }
  }

  /** A failure in the form that the SDK passes on: with a number as code and a text as message. */
  const errorOf = (error: unknown): Fields => {
    if (!isFields(error)) return { code: internalError, message: shown(error) }
    const { code, data, message } = error
    const number = typeof code === "string" && /^-?\d{1,9}$/.test(code) ? Number(code) : code
    const known = Number.isSafeInteger(number)
    const missing = message === undefined || message === null || message === ""
    const said = missing ? "the server gave no reason" : typeof message === "string" ? message : shown(message)
    return {
      code: known ? number : internalError,
      message: known || code === undefined || code === null ? said : `${shown(code)}: ${said}`,
      ...(data === undefined || data === null ? {} : { data })
    }
  }

  const messageOf = (value: unknown): JSONRPCMessage => {
    if (!isFields(value)) throw new Error("it is not an object")
    const { error, id, method, params, result } = value
    const hasNull = isFields(params) && Object.values(params).includes(null)
    if (!hasNull && types.JSONRPCMessageSchema.safeParse(value).success) return value as unknown as JSONRPCMessage
    const jsonrpc = "2.0"
    if (typeof method === "string") {
      if (id !== undefined && id !== null && !isId(id)) throw new Error("its id is neither a text nor an integer")
      // The `ttl` of a task is `null` where it has none.
      const fields = isFields(params) && !method.startsWith("notifications/tasks/") ? given(params) : params
      const rest = isFields(fields) ? { method, params: withMeta(fields) } : { method }
      return (isId(id) ? { jsonrpc, id, ...rest } : { jsonrpc, ...rest }) as JSONRPCMessage
    }
    if (error !== undefined && error !== null) {
      const failure = errorOf(error)
      if (!isId(id)) throw new Error(`it is an error without the id of a request: ${shown(failure["message"])}`)
      return { jsonrpc, id, error: failure } as JSONRPCMessage
    }
    if (!("result" in value)) throw new Error("it is neither a request nor an answer")
    if (!isId(id)) throw new Error("it is an answer without the id of a request")
    // Before protocol 2024-11-05 a tool's result had this field.
    const fields = isFields(result) ? result : result === null || result === undefined ? {} : { toolResult: result }
    return { jsonrpc, id, result: withMeta(fields) } as JSONRPCMessage
  }

  const messages = (value: unknown): ReadonlyArray<JSONRPCMessage> =>
    (Array.isArray(value) ? (value as ReadonlyArray<unknown>) : [value]).flatMap((one) => {
      try {
        return [messageOf(one)]
      } catch (error) {
        report(`the server sent something that is not a message (${(error as Error).message}): ${shown(one)}`)
        return []
      }
    })

  const unreadable = (text: string): ReadonlyArray<JSONRPCMessage> => {
    report(`the server sent something that is not JSON: ${shown(text)}`)
    const id = /^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,15})\s*,\s*"(?:result|error)"/.exec(text)?.[1]
    if (id === undefined) return []
    const error = { code: internalError, message: `the server's answer is not JSON: ${shown(text)}` }
    return [{ jsonrpc: "2.0", id: Number(id), error }]
  }

  const lines = () => {
    /** A message that began on an earlier line, and how many of its brackets are open. */
    let begun = ""
    let open = 0
    let inText = false
    const scan = (line: string) => {
      for (let at = 0; at < line.length; at++) {
        const char = line[at]
        if (inText) {
          if (char === "\\") at++
          else if (char === '"') inText = false
        } else if (char === '"') inText = true
        else if (char === "{" || char === "[") open++
        else if (char === "}" || char === "]") open--
      }
    }
    const reset = (): string => {
      const text = begun
      begun = ""
      open = 0
      inText = false
      return text
    }
    const parsed = (text: string): { readonly value: unknown } | undefined => {
      try {
        return { value: JSON.parse(text) }
      } catch {
        return undefined
      }
    }
    return (line: string): ReadonlyArray<JSONRPCMessage> => {
      if (line.trim() === "") return []
      const whole = parsed(line)
      if (whole !== undefined && (begun === "" || (isFields(whole.value) && "jsonrpc" in whole.value))) {
        return [...(begun === "" ? [] : unreadable(reset())), ...messages(whole.value)]
      }
      if (begun === "" && !line.trimStart().startsWith("{")) return unreadable(line)
      const isFirst = begun === ""
      begun += `${line}\n`
      scan(line)
      if (open > 0 && begun.length <= maxChars) {
        if (isFirst) report(`the server sent a message that does not end on its line: ${shown(begun)}`)
        return []
      }
      const text = reset()
      const all = parsed(text)
      return all === undefined ? unreadable(text) : messages(all.value)
    }
  }

  const initialized = (result: Fields, asked: unknown): Fields => {
    const { capabilities, protocolVersion, serverInfo, ...rest } = given(result)
    const about = isFields(serverInfo) ? given(serverInfo) : {}
    const text = (value: unknown): string => (typeof value === "object" ? "" : String(value ?? ""))
    const sound = {
      ...rest,
      protocolVersion: typeof protocolVersion === "string" ? protocolVersion : asked,
      capabilities: isFields(capabilities)
        ? Object.fromEntries(
            Object.entries(given(capabilities))
              .filter(([, value]) => value !== false)
              .map(([key, value]) => [key, isFields(value) ? given(value) : {}])
          )
        : {},
      serverInfo: { ...about, name: text(about["name"]), version: text(about["version"]) }
    }
    try {
      return fitted(types.InitializeResultSchema, sound, "the server's answer to initialize")
    } catch {
      // A value that is nested too deeply, for the SDK to refuse.
      return sound
    }
  }

  const transport = (inner: Transport): Transport => {
    /** The request to initialize, while it waits for its answer. */
    let asked: { readonly id: unknown; readonly version: unknown } | undefined
    const outer: Transport = {
      start: () => {
        const hearing: Pick<Transport, "onclose" | "onerror" | "onmessage"> = {
          onclose: () => outer.onclose?.(),
          onerror: (error) => outer.onerror?.(error),
          onmessage: (value, extra) => {
            for (const message of messages(value)) {
              if (asked !== undefined && "result" in message && String(message.id) === String(asked.id)) {
                const result = initialized(message.result, asked.version) as typeof message.result
                asked = undefined
                outer.onmessage?.({ ...message, result }, extra)
              } else outer.onmessage?.(message, extra)
            }
          }
        }
        Object.assign(inner, hearing)
        return inner.start()
      },
      send: (message, options) => {
        if ("method" in message && message.method === "initialize" && "id" in message) {
          asked = { id: message.id, version: message.params?.["protocolVersion"] }
        }
        return inner.send(message, options)
      },
      close: () => inner.close(),
      setProtocolVersion: (version) => inner.setProtocolVersion?.(version)
    }
    return Object.defineProperty(outer, "sessionId", { get: () => inner.sessionId })
  }

  const authorization = (document: unknown, url: string): unknown => {
    if (!isFields(document)) return document
    const fields = given(document)
    const schema =
      "access_token" in fields
        ? parts.OAuthTokensSchema
        : "authorization_endpoint" in fields
          ? url.includes("openid-configuration")
            ? parts.OpenIdProviderDiscoveryMetadataSchema
            : parts.OAuthMetadataSchema
          : "client_id" in fields
            ? parts.OAuthClientInformationFullSchema
            : "resource" in fields
              ? parts.OAuthProtectedResourceMetadataSchema
              : undefined
    return schema === undefined ? fields : fitted(schema, fields, "the authorization server's answer")
  }

  return { messages, unreadable, lines, transport, authorization }
}
