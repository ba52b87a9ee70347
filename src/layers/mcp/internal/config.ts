/** How servers are defined: options, their checks, and what a connection needs of them. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import {
  assertName,
  assertOneOf,
  assertOptions,
  durationOf,
  namesOf,
  numberOf,
  timerOf
} from "../../../internal/definition.ts"
import { decoded } from "../../../internal/percent.ts"
import * as Scrubber from "../../../internal/scrubber.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import { rule as addressRule } from "../../internal/addresses.ts"
import { revealed, revealedAll } from "../../internal/revealed.ts"
import type { McpConnectError } from "./errors.ts"
import type { InProcessServer, OAuthState, Spec } from "./protocol.ts"

/** A text that may be secret. */
export type Text = string | Redacted.Redacted

/** Options of every server. */
export interface CommonOptions {
  /** Only these tools; `*` stands for any characters. Default: all. */
  readonly allow?: ReadonlyArray<string> | undefined
  /** None of these tools; wins over `allow`. */
  readonly deny?: ReadonlyArray<string> | undefined
  /**
   * Whether the others are connected where this one cannot be: that is logged, the server has no tools, and it is tried
   * again as after a lost connection. Default `false`: the Layer fails with `McpConnectError`.
   */
  readonly optional?: boolean | undefined
  /**
   * Whether what the server says of its tools counts: that one only reads, destroys nothing, or may be called again. Policies
   * and calls that a lost connection cut short go by it. Default `false`: a tool counts as destructive, and no call is made
   * again. Set it for a server whose author you trust as your own program.
   */
  readonly trustHints?: boolean | undefined
  /** How long a request may go without an answer or a sign of progress; then it is cancelled. Default 60 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * How long a request may take in all, however often the server reports progress, without the time in which the server
   * waits for an answer of ours. Default: five times `timeout`.
   */
  readonly maxDuration?: Duration.Input | undefined
  /** How long connecting may take, without the time in which a user is asked. Default 30 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * How many characters of text and structure a tool's result may have; a longer one is refused. Default 1,000,000. A
   * message of any kind may have 10 MiB.
   */
  readonly maxChars?: number | undefined
  /** How many tools of this server an agent is given; the others are left out with a notice. Default 500. */
  readonly maxTools?: number | undefined
  /**
   * How many characters the names, descriptions and schemas of these tools may have together; tools that do not fit are left
   * out with a notice. Default 400,000.
   */
  readonly maxDefinitionChars?: number | undefined
  /**
   * The definitions that the program accepts, by the tools' names, as `Mcp.pins` gives them. A tool with another definition
   * counts as changed; one without a pin is accepted as it is when it is first called.
   */
  readonly pinned?: Readonly<Record<string, string>> | undefined
  /**
   * What happens to a tool whose definition is not the pinned one, or changes after the tool was called: it is left out
   * (`"refuse"`, default), each call needs an approval (`"ask"`), or it is used (`"accept"`). There is a `ToolNotice` event
   * and a warning in the log in any case.
   */
  readonly onChange?: "refuse" | "ask" | "accept" | undefined
  /** Retry policy for a lost connection. Default: without an end, with backoff from 200 ms to 30 seconds. */
  readonly reconnect?: Schedule.Schedule<unknown, McpConnectError> | "none" | undefined
  /** How long a request waits for a lost connection to come back. Default 10 seconds. */
  readonly patience?: Duration.Input | undefined
}

/** A server that is a program: its process is started, and ended with the scope. */
export interface StdioOptions extends CommonOptions {
  readonly command: string
  readonly args?: ReadonlyArray<Text> | undefined
  /**
   * Added to the few variables that every server gets (`PATH`, `HOME` and the like) and to `TROUPE_SERVER`, by which
   * its processes are found and ended; nothing else is passed on.
   */
  readonly env?: Readonly<Record<string, Text>> | undefined
  readonly cwd?: string | undefined
  /** How long the process may take to end by itself before SIGTERM, and again before SIGKILL. Default 1 second. */
  readonly grace?: Duration.Input | undefined
}

/** Where tokens are kept between runs; a JSON text. */
export interface OAuthStore {
  readonly load: Effect.Effect<Redacted.Redacted | undefined>
  readonly save: (state: Redacted.Redacted) => Effect.Effect<void>
}

/** Authorization by OAuth 2.1, as the MCP specification has it: discovery, registration, PKCE, refresh. */
export interface OAuthOptions {
  /** None: the client registers itself, where the server allows it. */
  readonly clientId?: string | undefined
  readonly clientSecret?: Redacted.Redacted | undefined
  readonly clientName?: string | undefined
  readonly scope?: string | undefined
  /** The address of a document that describes the client, which is then its id where the server knows such. */
  readonly clientMetadataUrl?: string | undefined
  /** Where the user comes back to. */
  readonly redirectUrl?: string | undefined
  /**
   * Sends the user to the address, which is an http or https one with a `state` that cannot be guessed. Returns the whole
   * address that the user came back to, or only its `code`. Of a whole address `state` and `iss` are verified, and a login
   * that does not match fails; with only the code, compare the `state` of both addresses yourself. None: the client
   * credentials grant, which needs `clientId` and `clientSecret`.
   */
  readonly authorize?: ((url: URL) => Effect.Effect<string | URL, unknown>) | undefined
  /**
   * Addresses that are not on the public internet and that the server may name for its authorization: all, or those of the
   * ranges in CIDR notation. Default: none, except that a server on this machine may name addresses of this machine, and
   * one on a private network addresses of private networks.
   */
  readonly allowPrivate?: boolean | ReadonlyArray<string> | undefined
  /**
   * Whether the authorization server has to publish that it supports PKCE with S256, as the MCP specification wants it. PKCE is
   * used in any case. Default `true`. Set it to `false` only for a provider that is known to support PKCE and does not say so
   * in its metadata, such as Microsoft Entra ID.
   */
  readonly requirePkce?: boolean | undefined
  /**
   * The issuer that the authorization server's metadata name, where it is not the address that the MCP server names for it.
   * Compared as a text; `{name}` in it stands for one part of the path in the `iss` of an answer. Microsoft Entra ID has
   * `"https://login.microsoftonline.com/{tenantid}/v2.0"` for all tenants. Default: metadata of another issuer are refused.
   */
  readonly issuer?: string | undefined
  /**
   * Whether the authorization server is sent the address of the MCP server, so that tokens are for that one only (RFC 8707).
   * Default `true`. Microsoft Entra ID refuses such requests, and goes by `scope`.
   */
  readonly sendResource?: boolean | undefined
  /** Default: tokens are kept as long as the Layer. */
  readonly store?: OAuthStore | undefined
}

/** A server behind an address. */
export interface HttpOptions extends CommonOptions {
  /** Errors show where it leads, without its query; of a `Redacted` one only the host. */
  readonly url: Text
  /** `"auto"` (default): streamable HTTP, and the older SSE where the server knows only that. */
  readonly transport?: "auto" | "http" | "sse" | undefined
  readonly headers?: Readonly<Record<string, Text>> | undefined
  /** A bearer token. */
  readonly token?: Redacted.Redacted | undefined
  readonly oauth?: OAuthOptions | undefined
}

/** A server object in this process; a function makes one for each connection. Not on the sync edge. */
export interface InProcessOptions extends CommonOptions {
  readonly server: InProcessServer | (() => InProcessServer)
}

/** How a server is reached. */
export type ServerOptions = StdioOptions | HttpOptions | InProcessOptions

/** `fetch` takes no password in an address. */
const basicAuth = (options: HttpOptions): Record<string, string> => {
  const { password, username } = new URL(revealed(options.url))
  if (username === "" && password === "") return {}
  // Text that is not percent-encoded is taken as it is.
  const pair = [username, password].map(decoded).join(":")
  return { Authorization: `Basic ${Buffer.from(pair).toString("base64")}` }
}

const addressOf = (options: HttpOptions): string => {
  const url = new URL(revealed(options.url))
  url.username = ""
  url.password = ""
  return url.href
}

const headersOf = (options: HttpOptions): Record<string, string> => ({
  ...basicAuth(options),
  ...revealedAll(options.headers),
  ...(options.token === undefined ? {} : { Authorization: `Bearer ${Redacted.value(options.token)}` })
})

/** Those of all ways to reach a server. */
const known = namesOf<StdioOptions & HttpOptions & InProcessOptions>({
  allow: true,
  deny: true,
  optional: true,
  trustHints: true,
  timeout: true,
  maxDuration: true,
  connectTimeout: true,
  maxChars: true,
  maxTools: true,
  maxDefinitionChars: true,
  pinned: true,
  onChange: true,
  reconnect: true,
  patience: true,
  command: true,
  args: true,
  env: true,
  cwd: true,
  grace: true,
  url: true,
  transport: true,
  headers: true,
  token: true,
  oauth: true,
  server: true
})
const knownOfOAuth = namesOf<OAuthOptions>({
  clientId: true,
  clientSecret: true,
  clientName: true,
  scope: true,
  clientMetadataUrl: true,
  redirectUrl: true,
  authorize: true,
  allowPrivate: true,
  requirePkce: true,
  issuer: true,
  sendResource: true,
  store: true
})

/** Throws `InvalidDefinition` for options that can never work, or that are not understood. */
export const check = (name: string, options: ServerOptions): void => {
  const subject = `MCP server "${name}"`
  const problem = (what: string, remedy: string) => new InvalidDefinition({ subject, problem: what, remedy })
  assertName(subject, name, "Give it one: it shows in tools' names and errors")
  assertOptions(subject, options, known)
  assertOneOf(subject, "onChange", options.onChange, ["refuse", "ask", "accept"])
  const ways = ["command", "url", "server"].filter((key) => Predicate.hasProperty(options, key) && options[key] != null)
  if (ways.length !== 1) {
    const said = ways.length === 0 ? "it says not how it is reached" : `it has both ${ways.join(" and ")}`
    throw problem(said, "Give it one of command, url and server")
  }
  for (const key of ["timeout", "maxDuration", "connectTimeout", "patience", "grace"]) {
    const input = Predicate.hasProperty(options, key) ? options[key] : undefined
    if (input !== undefined) durationOf(subject, key, input as Duration.Input)
  }
  for (const key of ["maxChars", "maxTools", "maxDefinitionChars"] as const) {
    const limit = options[key]
    if (limit !== undefined) numberOf(subject, key, limit)
  }
  if ("url" in options) {
    assertOneOf(subject, "transport", options.transport, ["auto", "http", "sse"])
    if (options.oauth !== undefined) assertOptions(`oauth of ${subject}`, options.oauth, knownOfOAuth)
    if (!/^https?:$/.test(URL.parse(revealed(options.url))?.protocol ?? "")) {
      throw problem("its url is not a web address", 'Write it in full: "https://host/mcp"')
    }
    const { oauth } = options
    if (oauth !== undefined && oauth.authorize === undefined && (!oauth.clientId || oauth.clientSecret === undefined)) {
      throw problem("its oauth has no way to authorize", "Give it authorize, or clientId and clientSecret")
    }
    if (oauth?.authorize !== undefined && oauth.redirectUrl === undefined) {
      throw problem("its oauth has no redirectUrl", "Say where the user comes back to")
    }
    addressRule(oauth?.allowPrivate ?? false, subject)
  } else if ("command" in options) {
    if (options.command.trim() === "") throw problem("its command is empty", "Name the program that starts the server")
    const texts = [options.command, ...(options.args ?? []), ...Object.entries(options.env ?? {}).flat()]
    if (texts.some((text) => String(revealed(text)).includes("\0"))) {
      throw problem("its command, args or env hold a zero byte", "Take it out")
    }
  }
}

/** The kind of connection, for errors. */
export const transportOf = (options: ServerOptions): Spec["kind"] =>
  "url" in options ? (options.transport ?? "auto") : "command" in options ? "stdio" : "memory"

/** The description of the server, without secrets. */
export const targetOf = (options: ServerOptions): string => {
  if ("url" in options) {
    const url = new URL(revealed(options.url))
    return `${url.origin}${Redacted.isRedacted(options.url) ? "/<redacted>" : url.pathname}`
  }
  if ("command" in options)
    return scrubberOf(options).text([options.command, ...(options.args ?? []).map(String)].join(" "))
  return "in process"
}

/** The secrets of an address, encoded and decoded. */
const ofAddress = ({ url }: HttpOptions): ReadonlyArray<string> => {
  const { password, pathname, search, searchParams, username } = new URL(revealed(url))
  const path = Redacted.isRedacted(url) ? [pathname, decoded(pathname)] : []
  const written = search.slice(1).split("&")
  const values = [...written.map((pair) => pair.slice(pair.indexOf("=") + 1)), ...searchParams.values()]
  const pair = username === "" ? [] : [`${decoded(username)}:${decoded(password)}`]
  return [...path, password, decoded(password), ...pair, ...values]
}

/** Shorter values, such as "1", occur in too many texts. */
const shortestSecret = 4

/** Removes what is secret from the texts of a connection: what the options hold, and what looks like a secret. */
export const scrubberOf = (options: ServerOptions): Scrubber.Scrubber => {
  const scrubber = Scrubber.make({ mark: "<redacted>", shortest: shortestSecret })
  if ("url" in options) {
    const headers = Object.entries(headersOf(options))
    scrubber.learnFrom({ url: revealed(options.url), headers })
    scrubber.learn(headers.map(([, value]) => value))
    scrubber.learn(ofAddress(options))
    if (options.oauth?.clientSecret !== undefined) scrubber.learn([Redacted.value(options.oauth.clientSecret)])
  } else if ("command" in options) {
    const given = [...(options.args ?? []), ...Object.values(options.env ?? {})]
    scrubber.learn(given.filter(Redacted.isRedacted).map(revealed))
  }
  return scrubber
}

/** The secrets of an authorization. */
export const secretsOfAuth = ({ clientInformation, codeVerifier, tokens }: OAuthState): ReadonlyArray<string> =>
  [
    tokens?.access_token,
    tokens?.refresh_token,
    tokens?.id_token,
    clientInformation?.client_secret,
    codeVerifier
  ].filter((secret) => typeof secret === "string")

/** The settings of a connection. */
export const specOf = (options: ServerOptions, auth: OAuthState, id: string): Spec => {
  if ("url" in options) {
    const { oauth } = options
    return {
      kind: options.transport ?? "auto",
      url: addressOf(options),
      headers: headersOf(options),
      oauth: oauth === undefined ? undefined : oauthOf(oauth, auth)
    }
  }
  if ("command" in options) {
    return {
      kind: "stdio",
      id,
      command: options.command,
      args: (options.args ?? []).map(revealed),
      env: revealedAll(options.env),
      cwd: options.cwd,
      graceMs: timerOf("an MCP server", "grace", options.grace ?? "1 second")
    }
  }
  return { kind: "memory", server: typeof options.server === "function" ? options.server() : options.server }
}

const oauthOf = (
  oauth: OAuthOptions,
  auth: OAuthState
): NonNullable<Extract<Spec, { readonly url: string }>["oauth"]> => {
  const isUser = oauth.authorize !== undefined
  const grant = isUser ? "authorization_code" : "client_credentials"
  const secret = oauth.clientSecret === undefined ? undefined : Redacted.value(oauth.clientSecret)
  const clientInformation =
    oauth.clientId === undefined
      ? auth.clientInformation
      : { client_id: oauth.clientId, ...(secret === undefined ? {} : { client_secret: secret }) }
  return {
    grant,
    redirectUrl: oauth.redirectUrl,
    clientMetadataUrl: oauth.clientMetadataUrl,
    scope: oauth.scope,
    allowPrivate: oauth.allowPrivate ?? false,
    requirePkce: oauth.requirePkce ?? true,
    issuer: oauth.issuer,
    sendResource: oauth.sendResource ?? true,
    metadata: {
      client_name: oauth.clientName ?? "troupe",
      redirect_uris: oauth.redirectUrl === undefined ? [] : [oauth.redirectUrl],
      grant_types: isUser ? ["authorization_code", "refresh_token"] : ["client_credentials"],
      response_types: isUser ? ["code"] : [],
      token_endpoint_auth_method: secret === undefined ? "none" : "client_secret_basic",
      ...applicationType(oauth.redirectUrl),
      ...(oauth.scope === undefined ? {} : { scope: oauth.scope })
    },
    state: { ...auth, clientInformation }
  }
}

/**
 * Servers of OpenID Connect take a client for one on the web, which comes back by https only, unless it says otherwise.
 */
const applicationType = (redirectUrl: string | undefined): { readonly application_type?: "web" | "native" } =>
  redirectUrl === undefined ? {} : { application_type: redirectUrl.startsWith("https:") ? "web" : "native" }
