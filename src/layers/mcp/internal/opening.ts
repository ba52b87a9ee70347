/** Opens a connection: by the transport that the server's definition names, with authorization where it is asked for. */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { HttpTransports } from "./httpTransport.ts"
import * as Limits from "./limits.ts"
import type { Authorization } from "./oauthProvider.ts"
import type { Spec, ToHost } from "./protocol.ts"
import type { Questions } from "./questions.ts"
import type { Attempt, SdkConnection } from "./sdkConnection.ts"
import { processTransport } from "./stdioTransport.ts"

type Open = Extract<ToHost, { readonly type: "open" }>

/** The arguments of opening. */
export interface OpeningParts {
  readonly connection: SdkConnection
  readonly authorization: Authorization
  readonly transports: HttpTransports
  readonly questions: Questions
  /** Whether the connection is being closed. */
  readonly isClosing: () => boolean
}

/** A timeout is kept by the other side; the SDK wants one, and this is the longest. Milliseconds. */
export const longest = 2 ** 31 - 1

/** Opens the connection, and posts `opened` or `openFailed`. */
export const open = async (parts: OpeningParts, message: Open): Promise<void> => {
  const { authorization, connection, isClosing } = parts
  const { spec } = message
  if ("oauth" in spec && spec.oauth !== undefined) authorization.restore(spec.oauth.state)
  try {
    await connectByEither(parts, message)
    if (isClosing()) return
    connection.isUp = true
    const attempt = connection.attempt
    const info = attempt?.client.getServerVersion()
    connection.post({
      type: "opened",
      info: {
        name: info?.name ?? "",
        version: info?.version ?? "",
        capabilities: attempt?.client.getServerCapabilities() ?? {},
        instructions: attempt?.client.getInstructions()
      },
      pid: attempt?.process?.pid()
    })
  } catch (error) {
    await connection.attempt?.process?.close()
    connection.post({ type: "openFailed", problem: connection.problemOf(error), end: connection.processEnd() })
  }
}

/** Falls back to the older transport as the specification has it for servers that know only that. */
const connectByEither = async (parts: OpeningParts, message: Open): Promise<void> => {
  const { kind } = message.spec
  try {
    await connect(parts, message, kind === "sse" ? "sse" : "http")
  } catch (error) {
    const { code } = parts.connection.problemOf(error)
    const isOlder = kind === "auto" && (code === "400" || code === "404" || code === "405")
    if (!isOlder || parts.isClosing()) throw error
    await connect(parts, message, "sse").catch(() => {
      throw error
    })
  }
}

const connect = async (parts: OpeningParts, message: Open, kind: "http" | "sse"): Promise<void> => {
  const { authorization, connection, isClosing } = parts
  const client = makeClient(parts, message)
  const { attempt, transport } = transportOf(parts, client, message.spec, kind)
  connection.attempt = attempt
  try {
    await client.connect(connection.incoming.transport(transport, connection.relations.sent), { timeout: longest })
  } catch (error) {
    const pending = authorization.pending()
    await transport.close().catch(() => {})
    const isUnauthorized = error instanceof connection.sdk.UnauthorizedError
    if (!isUnauthorized || pending === undefined || isClosing()) throw error
    await pending
    if (isClosing()) throw error
    // A transport is started only once.
    return connect(parts, message, kind)
  }
}

const makeClient = ({ connection, questions }: OpeningParts, { capabilities, client: own }: Open): Client => {
  const { post, sdk } = connection
  const client = new sdk.Client({ ...own }, { capabilities })
  questions.handle(client, capabilities)
  client.fallbackNotificationHandler = async ({ method, params }) => post({ type: "notification", method, params })
  return Object.assign(client, {
    onclose: () => {
      const message = connection.attempt?.process?.offence() ?? "the connection was closed"
      connection.goDown({ message, code: undefined, kind: "connection", executed: "unknown" })
    },
    onerror: (error: Error) => {
      const problem = connection.problemOf(error)
      // An event source goes on by itself, but to the server that would be another client.
      const isLost = error instanceof sdk.SseError || /Maximum reconnection attempts/.test(error.message)
      if (isLost) connection.goDown({ ...problem, kind: "connection", executed: "unknown" })
      else connection.report("debug", problem.message)
    }
  })
}

interface Made {
  readonly attempt: Attempt
  readonly transport: Transport
}

const transportOf = (parts: OpeningParts, client: Client, spec: Spec, kind: "http" | "sse"): Made => {
  const { connection, transports } = parts
  const { incoming, relations, sdk } = connection
  if (spec.kind === "stdio") {
    const mark = `TROUPE_SERVER=${spec.id}`
    const process = processTransport(sdk, {
      ...spec,
      // The SDK's own list of what a server may know of our environment.
      env: { ...sdk.getDefaultEnvironment(), ...spec.env, TROUPE_SERVER: spec.id },
      mark,
      read: incoming.lines(),
      maxLineBytes: Limits.maxMessageBytes
    })
    return { attempt: { client, process, http: undefined }, transport: process }
  }
  if (spec.kind !== "memory") {
    const http = transports.make(spec, kind)
    return { attempt: { client, process: undefined, http }, transport: http as Transport }
  }
  const [ours, theirs] = sdk.InMemoryTransport.createLinkedPair()
  const send = theirs.send.bind(theirs)
  theirs.send = (message, options) => {
    const request = options?.relatedRequestId
    if (request !== undefined && "method" in message && "id" in message) relations.asked(message.id, request)
    return send(message, options)
  }
  const connected = spec.server.connect(theirs as never)
  const start = ours.start.bind(ours)
  ours.start = async () => {
    await connected
    await start()
  }
  return { attempt: { client, process: undefined, http: undefined }, transport: ours }
}
