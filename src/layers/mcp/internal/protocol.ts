/**
 * What the two sides of an MCP connection say to each other: the program that holds the SDK's client (`sdkClient.ts`), in this
 * thread or in the I/O thread, and the Effects that use it. Types only; all of it can be sent to another thread, except
 * a server object in process.
 */
import type {
  OAuthClientInformationMixed,
  OAuthClientMetadata,
  OAuthTokens
} from "@modelcontextprotocol/sdk/shared/auth.js"
import type { ProcessEnd } from "../../internal/process/lineProcess.ts"

export type { ProcessEnd } from "../../internal/process/lineProcess.ts"

/** A server object in this process, such as the SDK's `McpServer` or `Server`. */
export interface InProcessServer {
  readonly connect: (transport: never) => Promise<void>
  readonly close?: (() => Promise<void>) | undefined
}

/** The part of an authorization that is kept between connections. */
export interface OAuthState {
  clientInformation?: OAuthClientInformationMixed | undefined
  tokens?: OAuthTokens | undefined
  codeVerifier?: string | undefined
}

/** How a client authorizes itself, secrets unwrapped. */
export interface OAuthSpec {
  readonly grant: "authorization_code" | "client_credentials"
  readonly redirectUrl: string | undefined
  readonly clientMetadataUrl: string | undefined
  readonly metadata: OAuthClientMetadata
  readonly scope: string | undefined
  /** Private addresses that the server may name. */
  readonly allowPrivate: boolean | ReadonlyArray<string>
  readonly requirePkce: boolean
  /** The issuer that the metadata may name other than the address of the authorization server. */
  readonly issuer: string | undefined
  readonly sendResource: boolean
  readonly state: OAuthState
}

/** How a server is reached, secrets unwrapped. */
export type Spec =
  | {
      readonly kind: "stdio"
      /** Of this connection only: what the server starts is known by it. */
      readonly id: string
      readonly command: string
      readonly args: ReadonlyArray<string>
      readonly env: Readonly<Record<string, string>>
      readonly cwd: string | undefined
      readonly graceMs: number
    }
  | {
      readonly kind: "http" | "sse" | "auto"
      readonly url: string
      readonly headers: Readonly<Record<string, string>>
      readonly oauth: OAuthSpec | undefined
    }
  | { readonly kind: "memory"; readonly server: InProcessServer }

/** The capabilities of the client. */
export interface Capabilities {
  readonly sampling?: { readonly tools?: {} }
  readonly elicitation?: { readonly form?: { readonly applyDefaults?: boolean }; readonly url?: {} }
  readonly roots?: { readonly listChanged?: boolean }
}

/** Said to the program. */
export type ToHost =
  | {
      readonly type: "open"
      readonly spec: Spec
      readonly client: { readonly name: string; readonly version: string }
      readonly capabilities: Capabilities
    }
  | {
      readonly type: "call"
      readonly id: number
      readonly method: string
      readonly params: unknown
      readonly progress: boolean
      readonly task: boolean
    }
  | { readonly type: "cancel"; readonly id: number; readonly reason: string }
  | { readonly type: "notify"; readonly method: string; readonly params?: Record<string, unknown> }
  | { readonly type: "answer"; readonly id: number; readonly result: unknown }
  | { readonly type: "refuse"; readonly id: number; readonly code: number; readonly message: string }
  /** The code that the authorization server gave, or the address that the user came back to. */
  | { readonly type: "authorized"; readonly code: string }
  | { readonly type: "unauthorized"; readonly message: string }
  | { readonly type: "close" }

/** Why something did not work, if the program knows it. */
export interface Problem {
  readonly message: string
  /** The system's code, the HTTP status or the JSON-RPC error code. */
  readonly code: string | undefined
  /**
   * `rejected`: the server answered with an error. `auth`: it wants authorization. `usage`: the program has to be
   * changed; the message says how. `invalid`: what was said is not what may be.
   */
  readonly kind: "rejected" | "connection" | "session" | "auth" | "usage" | "invalid" | "other"
  /** Whether the server may have acted on the request. */
  readonly executed: "no" | "unknown"
}

/** The server's own description. */
export interface ServerInfo {
  readonly name: string
  readonly version: string
  readonly capabilities: Readonly<Record<string, unknown>>
  readonly instructions: string | undefined
}

/** Said by the program. */
export type FromHost =
  | { readonly type: "opened"; readonly info: ServerInfo; readonly pid: number | undefined }
  | { readonly type: "openFailed"; readonly problem: Problem; readonly end: ProcessEnd | undefined }
  /** The user has to allow it at this address; `authorized` goes on. */
  | { readonly type: "authorize"; readonly url: string }
  | { readonly type: "oauth"; readonly state: OAuthState }
  | { readonly type: "result"; readonly id: number; readonly result: unknown }
  /** With `ends` it is the end of the connection too. */
  | { readonly type: "failed"; readonly id: number; readonly problem: Problem; readonly ends: boolean }
  | { readonly type: "progress"; readonly id: number; readonly progress: unknown }
  | { readonly type: "notification"; readonly method: string; readonly params: unknown }
  /** For the log: what a server sent that could not be used, or what the SDK noticed. */
  | { readonly type: "report"; readonly level: "warning" | "debug"; readonly message: string }
  /** `call`: the call that the question belongs to, if known. */
  | {
      readonly type: "ask"
      readonly id: number
      readonly method: string
      readonly params: unknown
      readonly call: number | undefined
    }
  | { readonly type: "askEnded"; readonly id: number }
  | { readonly type: "down"; readonly problem: Problem; readonly end: ProcessEnd | undefined }
  /** With the end of what its process wrote to stderr, if it is one. */
  | { readonly type: "closed"; readonly stderr: string | undefined }
