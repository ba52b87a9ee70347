/** Where requests go and with what: read from options and Config, and refused at once where no request could be made. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Calling from "../../internal/model/calling.ts"
import { isSecretName } from "../../../internal/scrubber.ts"
import * as Servers from "./servers.ts"
import type { Connection } from "./asking.ts"
import type { Transport } from "./transport/select.ts"

/** How a model is reached, and requests to it are made. */
export interface EndpointOptions {
  /** The model's name as the server knows it, such as `gpt-4.1-mini`. An empty one is refused. */
  readonly model: string
  /** Default: `OPENAI_API_KEY` from Config. A server that is not OpenAI's own needs none. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Default: `OPENAI_BASE_URL` from Config, else `https://api.openai.com/v1`. An empty variable is an absent one. */
  readonly baseUrl?: string | undefined
  /**
   * How long an answer may take; of a stream, how long the server may be silent. A slow consumer does not count. Then the
   * request is aborted and counts as a lost connection. Default 10 minutes. Once a streamed answer is complete, what may
   * follow it, such as its usage, is waited for 5 seconds at most.
   */
  readonly timeout?: Duration.Input | undefined
  /** Retry policy for transient failures of requests. Default: twice more, with backoff and `retry-after`. */
  readonly retry?: Calling.Retry
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /** Further headers of every request. Give secret ones as `Redacted`: they are then kept out of every message. */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** The most bytes that one answer may have, decompressed. More fails the call. Default 256 MiB. */
  readonly maxAnswerBytes?: number | undefined
  /**
   * What carries the requests:
   *
   * - `"auto"` (default): Node's own `http` in Node, and the platform's `fetch` elsewhere, or where a program has replaced
   *   it, as tests do;
   * - `"node"`: `node:http` and `node:https`, on kept-alive sockets, by the proxies of `HTTP_PROXY`, `HTTPS_PROXY` and
   *   `NO_PROXY`, with the certificates of `NODE_EXTRA_CA_CERTS`;
   * - `"fetch"`, or a function such as `globalThis.fetch`;
   * - `Undici.transport` of `"troupe/Undici"`: the package `undici`, to be installed alongside this one.
   *
   * Under `Effect.runSync` the thread of `SyncEdge.layer` carries them, by any name; a function fails there. Answers,
   * errors and limits are the same by any of them.
   */
  readonly transport?: Transport | undefined
}

/** The names of {@link EndpointOptions}. */
export const endpointNames = {
  model: true,
  apiKey: true,
  baseUrl: true,
  timeout: true,
  retry: true,
  organization: true,
  project: true,
  headers: true,
  maxAnswerBytes: true,
  transport: true
} as const

/** A connection, and what is known of its server. */
export interface Connected {
  readonly connection: Connection
  /** True for OpenAI's own API. */
  readonly isOpenAi: boolean
  readonly server: { readonly address: string; readonly port: number }
  /** The server as errors may show it: no path, no query, no credentials. */
  readonly shown: string
  /** The same with its path. */
  readonly shownBaseUrl: string
  /** Secrets that errors must never show. */
  readonly secrets: ReadonlyArray<string>
}

const openaiUrl = "https://api.openai.com/v1"

/** An empty variable is an absent one. */
const filled = (value: string | undefined): string | undefined => {
  const text = value?.trim()
  return text === "" ? undefined : text
}

/** Fails for options that no request can be made with. */
export const refuse = (message: string): Effect.Effect<never, Config.ConfigError> =>
  Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message })))

/** The most bytes that one answer may have, unless an option says otherwise: 256 MiB. */
const defaultMaxAnswerBytes = 256 * 1024 * 1024

const noKey =
  "OPENAI_API_KEY is not set. Set it, give `apiKey` to OpenAi.layer, or set OPENAI_BASE_URL (or `baseUrl`) to a server that needs no key"

/** What signs requests in. */
export interface Signing {
  /** A client that has a key of its own, and sends it itself. */
  readonly client?: { readonly apiKey?: string | null | undefined } | undefined
  /** True where nothing is sent, so that no key is needed. One that is set is still removed as a secret. */
  readonly isReplay?: boolean | undefined
}

/**
 * Fails with `ConfigError` for an address, key, header, model or limit that no request can be made with, and for a
 * missing key, unless a client signs the requests in.
 */
export const connect = (
  place: EndpointOptions,
  { client, isReplay = false }: Signing
): Effect.Effect<Connected, Config.ConfigError> =>
  Effect.gen(function* () {
    // Programs in JavaScript give what the environment does not have.
    if (typeof place.model !== "string" || place.model.trim() === "") {
      return yield* refuse('`model` is empty: give OpenAi.layer the name of a model, such as "gpt-4.1-mini"')
    }
    const { baseUrl, url } = yield* addressOf(place)
    const isOpenAi = Servers.isOpenAi(url.hostname)
    const key = client === undefined ? yield* keyOf(place, isOpenAi && !isReplay) : undefined
    const known = client === undefined ? key : client.apiKey
    const { headers, secrets } = yield* headersOf(place)
    const timeout = Option.getOrUndefined(Duration.fromInput(place.timeout ?? "10 minutes"))
    if (timeout === undefined || !Duration.isPositive(timeout)) {
      return yield* refuse('`timeout` is not a duration above 0: use milliseconds, or a text such as "30 seconds"')
    }
    const { maxAnswerBytes = defaultMaxAnswerBytes } = place
    if (typeof maxAnswerBytes !== "number" || !(maxAnswerBytes > 0))
      return yield* refuse("`maxAnswerBytes` is not a number of bytes above 0")
    return {
      connection: {
        baseUrl,
        apiKey: key === undefined ? undefined : Redacted.make(key),
        organization: place.organization,
        project: place.project,
        headers,
        timeout,
        maxAnswerBytes
      },
      isOpenAi,
      server: { address: url.hostname, port: Number(url.port || (url.protocol === "http:" ? 80 : 443)) },
      shown: `${url.protocol}//${url.host}`,
      shownBaseUrl: `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}`,
      // Shorter keys, such as "ollama", are not secrets, and removing them would spoil messages.
      secrets: [...(typeof known === "string" ? [known] : []), ...secrets].filter((one) => one.length >= 8)
    }
  })

const addressOf = (place: EndpointOptions) =>
  Effect.gen(function* () {
    const configured = Config.String("OPENAI_BASE_URL").pipe(Config.withDefault(""))
    const baseUrl = filled(place.baseUrl ?? (yield* configured)) ?? openaiUrl
    const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      return yield* refuse(
        "the base URL of the model's server is not an http or https address: check `baseUrl` or OPENAI_BASE_URL"
      )
    }
    if (url.username !== "" || url.password !== "") {
      return yield* refuse(
        `the base URL of ${url.host} holds credentials: give them as \`apiKey\` or in \`headers\` instead`
      )
    }
    return { baseUrl, url }
  })

const keyOf = (place: EndpointOptions, isNeeded: boolean) =>
  Effect.gen(function* () {
    const given = place.apiKey ?? (yield* Config.withDefault(Config.Redacted("OPENAI_API_KEY"), undefined))
    const key = given === undefined ? undefined : filled(Redacted.value(given))
    if (key === undefined && isNeeded) {
      return yield* refuse(given === undefined ? noKey : "the API key is empty: set `apiKey` or OPENAI_API_KEY")
    }
    if (key !== undefined && !isHeaderValue(key)) {
      return yield* refuse("the API key holds characters that no HTTP header can: check `apiKey` or OPENAI_API_KEY")
    }
    return key
  })

/** Headers by one spelling of their names, or a caller's own authorization would be added to ours; and their secrets. */
const headersOf = (place: EndpointOptions) =>
  Effect.gen(function* () {
    const headers: Record<string, string> = {}
    const secrets: Array<string> = []
    for (const [name, given] of Object.entries(place.headers ?? {})) {
      const value = Redacted.isRedacted(given) ? Redacted.value(given) : given
      if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || typeof value !== "string" || !isHeaderValue(value)) {
        return yield* refuse(`the header ${JSON.stringify(name)} is not one that HTTP can carry: check \`headers\``)
      }
      headers[name.toLowerCase()] = value
      if (Redacted.isRedacted(given) || isSecretName(name, "header")) secrets.push(value)
    }
    return { headers, secrets }
  })

// eslint-disable-next-line no-control-regex
const isHeaderValue = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
