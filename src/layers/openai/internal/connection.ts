/** Where requests go and with what: read from options and Config, and refused at once where no request could be made. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isSecretName } from "../../../internal/scrubber.ts"
import * as Servers from "./servers.ts"
import type { Connection } from "./asking.ts"

/** The options that say where and how. */
export interface Place {
  readonly model: string
  readonly apiKey?: Redacted.Redacted | undefined
  readonly baseUrl?: string | undefined
  readonly timeout?: Duration.Input | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  readonly maxAnswerBytes?: number | undefined
}

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

/**
 * Fails with `ConfigError` for an address, key, header, model or limit that no request can be made with, and for a
 * missing key, unless a client signs the requests in.
 */
export const connect = (
  place: Place,
  client?: { readonly apiKey?: string | null | undefined }
): Effect.Effect<Connected, Config.ConfigError> =>
  Effect.gen(function* () {
    // Programs in JavaScript give what the environment does not have.
    if (typeof place.model !== "string" || place.model.trim() === "") {
      return yield* refuse('`model` is empty: give OpenAi.layer the name of a model, such as "gpt-4.1-mini"')
    }
    const { baseUrl, url } = yield* addressOf(place)
    const isOpenAi = Servers.isOpenAi(url.hostname)
    // A client has a key of its own, and sends it itself.
    const key = client === undefined ? yield* keyOf(place, isOpenAi) : undefined
    const known = client === undefined ? key : client.apiKey
    const { headers, secrets } = yield* headersOf(place)
    const timeout = Option.getOrUndefined(Duration.fromInput(place.timeout ?? "10 minutes"))
    if (timeout === undefined || !Duration.isPositive(timeout)) {
      return yield* refuse('`timeout` is not a duration above 0: use milliseconds, or a text such as "30 seconds"')
    }
    const { maxAnswerBytes = defaultMaxAnswerBytes } = place
    if (!(maxAnswerBytes > 0)) return yield* refuse("`maxAnswerBytes` is not a number of bytes above 0")
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

const addressOf = (place: Place) =>
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

const keyOf = (place: Place, isOpenAi: boolean) =>
  Effect.gen(function* () {
    const given = place.apiKey ?? (yield* Config.withDefault(Config.Redacted("OPENAI_API_KEY"), undefined))
    const key = given === undefined ? undefined : filled(Redacted.value(given))
    if (key === undefined && isOpenAi) {
      return yield* refuse(given === undefined ? noKey : "the API key is empty: set `apiKey` or OPENAI_API_KEY")
    }
    if (key !== undefined && !isHeaderValue(key)) {
      return yield* refuse("the API key holds characters that no HTTP header can: check `apiKey` or OPENAI_API_KEY")
    }
    return key
  })

/** Headers by one spelling of their names, or a caller's own authorization would be added to ours; and their secrets. */
const headersOf = (place: Place) =>
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
