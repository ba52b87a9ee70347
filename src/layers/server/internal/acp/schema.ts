/** What ACP's other side sends, as far as it is read here. What is not known is left out, so that a newer side can be read too. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { codes, failure, type RpcFailure } from "./rpc.ts"

/** The version of the protocol that is spoken here. */
export const protocolVersion = 1

const maybe = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

/** Reads the params or the result of a message. Fails with what an agent or editor is answered. */
export const reader = <A, I>(schema: Schema.Codec<A, I>): ((value: unknown) => Effect.Effect<A, RpcFailure>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (value) =>
    Effect.mapError(decode(value), (error) =>
      failure(codes.invalidParams, `The message does not fit the protocol: ${error.message.slice(0, 500)}`)
    )
}

/** A piece of content. Images and audio are base64. */
export const Content = Schema.Struct({
  type: Schema.String,
  text: maybe(Schema.String),
  data: maybe(Schema.String),
  mimeType: maybe(Schema.String),
  uri: maybe(Schema.String),
  name: maybe(Schema.String),
  resource: maybe(
    Schema.Struct({
      uri: Schema.String,
      text: maybe(Schema.String),
      blob: maybe(Schema.String),
      mimeType: maybe(Schema.String)
    })
  )
})
/** A piece of content. */
export type Content = typeof Content.Type

const ToolContent = Schema.Struct({
  type: Schema.String,
  content: maybe(Content),
  path: maybe(Schema.String),
  terminalId: maybe(Schema.String)
})

/** A tool call, or what has changed about one. */
export const ToolCall = Schema.Struct({
  toolCallId: Schema.String,
  title: maybe(Schema.String),
  name: maybe(Schema.String),
  kind: maybe(Schema.String),
  status: maybe(Schema.String),
  content: maybe(Schema.Array(ToolContent)),
  rawInput: Schema.optionalKey(Schema.Unknown),
  rawOutput: Schema.optionalKey(Schema.Unknown)
})
/** A tool call, or what has changed about one. */
export type ToolCall = typeof ToolCall.Type

/** The tag of an update. */
export const Tagged = Schema.Struct({ sessionUpdate: Schema.String })
/** A piece of a message. */
export const Chunk = Schema.Struct({ content: Content })
/** A plan. */
export const Plan = Schema.Struct({
  entries: Schema.Array(
    Schema.Struct({ content: Schema.String, priority: maybe(Schema.String), status: maybe(Schema.String) })
  )
})

/** A notification about a session. */
export const SessionUpdate = Schema.Struct({ sessionId: Schema.String, update: Schema.Unknown })

/** What an agent says of itself. */
export const Initialized = Schema.Struct({
  protocolVersion: Schema.Finite,
  authMethods: maybe(Schema.Array(Schema.Struct({ id: Schema.String, name: maybe(Schema.String) }))),
  agentInfo: maybe(Schema.Struct({ name: Schema.String, version: maybe(Schema.String) }))
})
/** A session that an agent has made. */
export const NewSession = Schema.Struct({ sessionId: Schema.String })

const count = maybe(Schema.Finite)
/** The end of a turn. Usage is not in the stable protocol, and there all the same where an agent knows it. */
export const Prompted = Schema.Struct({
  stopReason: Schema.String,
  usage: maybe(
    Schema.Struct({
      inputTokens: count,
      outputTokens: count,
      thoughtTokens: count,
      cachedReadTokens: count,
      cachedWriteTokens: count
    })
  )
})
/** The end of a turn. */
export type Prompted = typeof Prompted.Type

/** A question whether a tool may be called. */
export const Permission = Schema.Struct({
  sessionId: Schema.String,
  toolCall: ToolCall,
  options: Schema.Array(Schema.Struct({ optionId: Schema.String, name: Schema.String, kind: Schema.String }))
})
/** A question whether a tool may be called. */
export type Permission = typeof Permission.Type
/** The answer to it. */
export const Permitted = Schema.Struct({
  outcome: Schema.Struct({ outcome: Schema.String, optionId: maybe(Schema.String) })
})

/** An agent wants to read a file of its client. */
export const ReadFile = Schema.Struct({ path: Schema.String, line: count, limit: count })
/** An agent wants to write a file of its client. */
export const WriteFile = Schema.Struct({ path: Schema.String, content: Schema.String })
/** An agent wants its client to run a command. */
export const CreateTerminal = Schema.Struct({
  command: Schema.String,
  args: maybe(Schema.Array(Schema.String)),
  env: maybe(Schema.Array(Schema.Struct({ name: Schema.String, value: Schema.String }))),
  cwd: maybe(Schema.String),
  outputByteLimit: count
})
/** A command that runs. */
export const Terminal = Schema.Struct({ terminalId: Schema.String })

/** An editor begins. */
export const Initialize = Schema.Struct({ protocolVersion: Schema.Finite })
/** An editor makes a session, or goes on with one. */
export const OpenSession = Schema.Struct({
  cwd: Schema.String,
  sessionId: Schema.optionalKey(Schema.String),
  mcpServers: maybe(Schema.Array(Schema.Unknown))
})
/** An editor asks which sessions there are, of all folders or of one. */
export const ListSessions = Schema.Struct({ cwd: maybe(Schema.String), cursor: maybe(Schema.String) })
/** An editor sends a message. */
export const Prompt = Schema.Struct({ sessionId: Schema.String, prompt: Schema.Array(Content) })
/** An editor names a session. */
export const OfSession = Schema.Struct({ sessionId: Schema.String })
