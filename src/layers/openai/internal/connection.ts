/** Where requests go and with what: read from options and Config, and refused at once where no request could be made. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isSecretName } from "../../../internal/scrubber.ts"
import type { Connection } from "./transport.ts"

/** The options that say where and how. */
export interface Place {
  readonly apiKey?: Redacted.Redacted | undefined
  readonly baseUrl?: string | undefined
  readonly timeout?: Duration.Input | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** A connection, and what is known of its server. */
export interface Connected {
  readonly connection: Connection
  /** True for OpenAI's own API. */
  readonly isOpenAi: boolean
  readonly server: { readonly address: string; readonly port: number }
  /** The server as errors may show it: no path, no query, no credentials. */
  readonly shown: string
  /** What errors must never show. */
  readonly secrets: ReadonlyArray<string>
}

const openaiUrl = "https://api.openai.com/v1"

/** An empty variable is an absent one. */
const filled = (value: string | undefined): string | undefined => {
  const text = value?.trim()
  return text === "" ? undefined : text
}

const refuse = (message: string): Effect.Effect<never, Config.ConfigError> =>
  Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message })))

/**
 * Fails with `ConfigError` for an address, key, header or timeout that no request can be made with, and for a missing
 * key.
 */
export const connect = (place: Place): Effect.Effect<Connected, Config.ConfigError> =>
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
    const isOpenAi = url.hostname === "api.openai.com"
    const wanted = Config.Redacted("OPENAI_API_KEY")
    const given = place.apiKey ?? (yield* Config.withDefault(wanted, undefined))
    const key = given === undefined ? undefined : filled(Redacted.value(given))
    // Says which variable is missing, and where it was looked for.
    if (key === undefined && isOpenAi) {
      if (place.apiKey === undefined && given === undefined) yield* wanted
      return yield* refuse("the API key is empty: set `apiKey` or OPENAI_API_KEY")
    }
    const headers = place.headers ?? {}
    if (key !== undefined && !isHeaderValue(key)) {
      return yield* refuse("the API key holds characters that no HTTP header can: check `apiKey` or OPENAI_API_KEY")
    }
    for (const [name, value] of Object.entries(headers)) {
      if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || !isHeaderValue(value)) {
        return yield* refuse(`the header ${JSON.stringify(name)} is not one that HTTP can carry: check \`headers\``)
      }
    }
    const timeout = Option.getOrUndefined(Duration.fromInput(place.timeout ?? "10 minutes"))
    if (timeout === undefined || !Duration.isPositive(timeout)) {
      return yield* refuse('`timeout` is no time to wait: use milliseconds above 0, or a text such as "30 seconds"')
    }
    const secret = Object.entries(headers).flatMap(([name, value]) => (isSecretName(name, "header") ? [value] : []))
    return {
      connection: {
        baseUrl,
        apiKey: key === undefined ? undefined : Redacted.make(key),
        organization: place.organization,
        project: place.project,
        // In one spelling, or a caller's own authorization would be added to ours where headers are merged by name.
        headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
        timeout
      },
      isOpenAi,
      server: { address: url.hostname, port: Number(url.port || (url.protocol === "http:" ? 80 : 443)) },
      shown: `${url.protocol}//${url.host}`,
      // Shorter ones, such as "ollama", are no secrets, and removing them would spoil messages.
      secrets: [...(key === undefined ? [] : [key]), ...secret].filter((one) => one.length >= 8)
    }
  })

// eslint-disable-next-line no-control-regex
const isHeaderValue = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
