/**
 * A tool that fetches a page from the web and returns it as Markdown or text. It connects to public addresses only and reads
 * no more than its limits. The toolkit holds the definition; the Layer does the I/O, through the I/O thread at both edges.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { assertOptions, countOf, durationOf, namesOf } from "../../internal/definition.ts"
import { oneLine, stripControls } from "../../internal/text.ts"
import type { HttpFailure, HttpResponse } from "../../services/HttpTransport.ts"
import { isSync, SyncBridge } from "../../services/SyncBridge.ts"
import { hostRule, type Rule, rule } from "../internal/addresses.ts"
import { unattached } from "../internal/io/bridge.ts"
import * as Pool from "../internal/io/pool.ts"
import { decode, decompress, isWild, titleOf, withoutTags } from "./internal/body.ts"

/** Why a page was not fetched. */
export class HttpToolError extends Schema.TaggedError<HttpToolError>()("HttpToolError", {
  url: Schema.String,
  reason: Schema.Literals([
    "Url",
    "Domain",
    "Private",
    "Network",
    "Timeout",
    "Redirects",
    "Type",
    "TooLarge",
    "Encoding",
    "Edge"
  ]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.url}: ${this.detail}`
  }
}

/** Fetches a page. */
export const FetchUrl = Tool.make("fetch_url", {
  description: "Fetches a web page or a text file by its address. HTML comes as Markdown",
  parameters: Schema.Struct({
    url: Schema.String.check(Schema.isMaxLength(4096)).annotate({ description: "Starts with http:// or https://" })
  }),
  success: Schema.Struct({
    url: Schema.String.annotate({ description: "Where it was found in the end" }),
    status: Schema.Int,
    contentType: Schema.String,
    title: Schema.optional(Schema.String),
    content: Schema.String,
    truncated: Schema.Boolean.annotate({ description: "True when there is more than is shown" })
  }),
  failure: HttpToolError,
  failureMode: "return"
})
  .annotate(Tool.Readonly, true)
  .annotate(Tool.OpenWorld, true)

/** The tool that fetches. */
export const toolkit = Toolkit.make(FetchUrl)

/** Options of {@link layer}. */
export interface Options {
  /**
   * The hosts that may be fetched from, redirects included: `example.com` is that host, `*.example.com` all hosts below it.
   * Default: all. A model that reads secrets and fetches any address can send the one by the other, so name the hosts where
   * you can.
   */
  readonly domains?: ReadonlyArray<string> | undefined
  /** How long one call may take, redirects and all. Default: 20 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How many bytes are read, and how many they may become when decompressed. Default: 2 MiB. */
  readonly maxBytes?: number | undefined
  /** How many characters of the page one call returns. Default: 50,000. */
  readonly maxChars?: number | undefined
  /** How many redirects are followed. Default: 5. */
  readonly maxRedirects?: number | undefined
  /**
   * Addresses that are not on the public internet: refused (`false`, default), allowed, or allowed in these ranges
   * (`["10.0.0.0/8", "::1"]`).
   */
  readonly allowPrivate?: boolean | ReadonlyArray<string> | undefined
  /** The `User-Agent` of requests. Default: `troupe`. */
  readonly userAgent?: string | undefined
}

const known = namesOf<Options>({
  domains: true,
  timeout: true,
  maxBytes: true,
  maxChars: true,
  maxRedirects: true,
  allowPrivate: true,
  userAgent: true
})

/**
 * A handler for {@link toolkit}. Throws `InvalidDefinition` for a range that is not one, and for a domain that is not a host.
 *
 * A host's name is looked up once, all of its addresses are checked, and the connection goes to one of those, so that a
 * name cannot lead to another address a moment later. Redirects are followed here, each checked in the same way. Only http
 * and https, no credentials, `GET` only; no cookies, no proxy. The body is cut at `maxBytes`; a compressed one that is or
 * becomes larger is refused. Interruption and the timeout abort the request on the wire.
 *
 * Pages are converted to Markdown in a worker thread, for 5 seconds and in 256 MB at most; one that is too much for that is
 * returned as text without its tags. Tables, lists, code and what is struck out or raised stay recognisable. Text that the
 * page hides from its readers is left out, as far as its elements and its own simple style rules show it. A page that only
 * redirects its reader is a sentence with the address.
 *
 * Under `Effect.runSync` the tool needs `SyncEdge.layer`, and fails with a message that says so.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, HttpTools, OpenAi } from "troupe"
 *
 * const reader = Agent.make("reader", { toolkit: HttpTools.toolkit })
 * const answer = reader.run("Summarise https://example.com").pipe(
 *   Effect.provide([OpenAi.layer({ model: "gpt-4.1-mini" }), HttpTools.layer({ timeout: "10 seconds" })])
 * )
 */
export const layer = (options: Options = {}): Layer.Layer<Tool.HandlersFor<typeof toolkit.tools>> => {
  assertOptions("HttpTools.layer", options, known)
  const { maxBytes = 2 * 1024 * 1024, maxChars = 50_000, maxRedirects = 5, userAgent = "troupe" } = options
  countOf("HttpTools.layer", "maxBytes", maxBytes)
  countOf("HttpTools.layer", "maxChars", maxChars)
  countOf("HttpTools.layer", "maxRedirects", maxRedirects, 0)
  const settings: Settings = {
    allowed: rule(options.allowPrivate ?? false),
    isListed: hostRule(options.domains),
    domains: options.domains ?? [],
    maxBytes,
    maxChars,
    maxRedirects,
    userAgent
  }
  const timeout = durationOf("HttpTools.layer", "timeout", options.timeout ?? "20 seconds")
  const acquire = Effect.sync(() =>
    Pool.make({ ...Pool.defaults, size: 2, graceMs: 0, resourceLimits: { maxOldGenerationSizeMb: 256 } })
  )
  return toolkit.toLayer(
    Effect.map(
      Effect.acquireRelease(acquire, (pool) => Effect.sync(() => pool.close())),
      (pool) =>
        toolkit.of({
          fetch_url: ({ url }) =>
            Effect.gen(function* () {
              const bridge = yield* SyncBridge
              if (bridge === undefined && (yield* isSync)) return yield* fail(url, "Edge", edge)
              return yield* Effect.timeoutOrElse(Effect.scoped(fetchPage(url, bridge ?? unattached, settings, pool)), {
                duration: timeout,
                orElse: () => Effect.fail(fail(url, "Timeout", `it took longer than ${Duration.format(timeout)}`))
              })
            })
        })
    )
  )
}

const edge = "Effect.runSync cannot wait for the network; provide SyncEdge.layer, or use Effect.runPromise"

interface Settings {
  readonly allowed: Rule
  readonly isListed: Rule
  readonly domains: ReadonlyArray<string>
  readonly maxBytes: number
  readonly maxChars: number
  readonly maxRedirects: number
  readonly userAgent: string
}

const fail = (url: string, reason: HttpToolError["reason"], detail: string): HttpToolError =>
  new HttpToolError({ url: url.slice(0, 500), reason, detail })

const fetchPage = (given: string, bridge: SyncBridge, settings: Settings, pool: Pool.Pool) =>
  Effect.gen(function* () {
    let address = given
    for (let hop = 0; hop <= settings.maxRedirects; hop++) {
      const url = yield* parse(address)
      if (!settings.isListed(url.hostname)) {
        const detail = `only these hosts may be fetched from: ${settings.domains.slice(0, 50).join(", ") || "none"}`
        return yield* fail(url.href, "Domain", detail)
      }
      const response = yield* connect(url, yield* resolve(url, bridge, settings), bridge, settings)
      const location = headerOf(response, "location")
      if (!redirects.has(response.status) || location === undefined) return yield* read(url, response, settings, pool)
      if (!URL.canParse(location, url.href))
        return yield* fail(address, "Redirects", "it redirects to something that is not an address")
      address = new URL(location, url.href).href
    }
    return yield* fail(given, "Redirects", `it redirects more than ${settings.maxRedirects} times`)
  })

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

const headerOf = (response: HttpResponse, name: string): string | undefined =>
  response.headers.find(([key]) => key.toLowerCase() === name)?.[1]

const parse = (address: string): Effect.Effect<URL, HttpToolError> => {
  if (!URL.canParse(address))
    return Effect.fail(fail(address, "Url", "it is not an address; begin it with http:// or https://"))
  const url = new URL(address)
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return Effect.fail(fail(address, "Url", "only http and https can be fetched"))
  }
  if (url.username !== "" || url.password !== "") {
    url.username = ""
    url.password = ""
    return Effect.fail(fail(url.href, "Url", "an address with a user name or a password is not fetched"))
  }
  url.hash = ""
  return Effect.succeed(url)
}

/** The addresses of the URL's host. Fails if any of them is not allowed: the name is not a public one then. */
const resolve = (
  url: URL,
  bridge: SyncBridge,
  { allowed }: Settings
): Effect.Effect<ReadonlyArray<string>, HttpToolError> => {
  const host = url.hostname.replace(/^\[|\]$/g, "")
  return bridge.resolve(host).pipe(
    Effect.mapError((failure) => networkError(url, failure)),
    Effect.flatMap((addresses) => {
      if (addresses.length === 0) return Effect.fail(fail(url.href, "Network", "its host has no address"))
      if (addresses.every(allowed)) return Effect.succeed(addresses)
      return Effect.fail(
        fail(url.href, "Private", "its host is not on the public internet, and cannot be fetched from")
      )
    })
  )
}

/** Codes of a connection that was not made: another address of the host may do. */
const neverMade: ReadonlySet<string | undefined> = new Set([
  "ECONNREFUSED",
  "EADDRNOTAVAIL",
  "EAFNOSUPPORT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT"
])

const connect = (url: URL, addresses: ReadonlyArray<string>, bridge: SyncBridge, { userAgent }: Settings) => {
  const headers = {
    accept: "text/html,text/markdown,text/plain,application/json;q=0.9,*/*;q=0.1",
    "accept-encoding": "gzip, deflate, br",
    "user-agent": userAgent
  }
  const request = (address: string) => bridge.fetch({ method: "GET", url: url.href, headers, address })
  const [first, ...others] = addresses.slice(0, 4)
  return others
    .reduce(
      (tried, address) =>
        Effect.catch(tried, (failure) => (neverMade.has(failure.code) ? request(address) : Effect.fail(failure))),
      request(first!)
    )
    .pipe(Effect.mapError((failure) => networkError(url, failure)))
}

const networkError = (url: URL, { code, message }: HttpFailure): HttpToolError =>
  fail(url.href, "Network", `it cannot be reached: ${code ?? message}`)

const read = (url: URL, response: HttpResponse, settings: Settings, pool: Pool.Pool) =>
  Effect.gen(function* () {
    const { maxBytes, maxChars } = settings
    const contentType = (headerOf(response, "content-type") ?? "").trim()
    const type = contentType.split(";")[0]!.trim().toLowerCase()
    const isHtml = type === "text/html" || type === "application/xhtml+xml"
    if (!isHtml && type !== "" && !textual.test(type)) {
      return yield* fail(url.href, "Type", `it is ${type}, and only text can be read`)
    }
    const chunks: Array<Uint8Array> = []
    let length = 0
    yield* response.body.pipe(
      Stream.takeUntil((chunk) => {
        chunks.push(chunk)
        return (length += chunk.length) > maxBytes
      }),
      Stream.runDrain,
      Effect.mapError((failure) => networkError(url, failure))
    )
    const raw = Buffer.concat(chunks)
    const encoding = headerOf(response, "content-encoding") ?? ""
    const plain = encoding === "" || encoding.toLowerCase() === "identity"
    if (!plain && length > maxBytes) return yield* fail(url.href, "TooLarge", `it has more than ${maxBytes} bytes`)
    const bytes = plain
      ? raw.subarray(0, maxBytes)
      : yield* Effect.try({
          try: () => decompress(raw, encoding, maxBytes),
          catch: (cause) => {
            const { code, message } = cause as NodeJS.ErrnoException
            return code === "ERR_BUFFER_TOO_LARGE"
              ? fail(url.href, "TooLarge", `it has more than ${maxBytes} bytes when it is decompressed`)
              : fail(url.href, "Encoding", `it cannot be decompressed: ${code ?? message}`)
          }
        })
    const text = decode(bytes, contentType)
    if (!isHtml && text.slice(0, 8192).includes("\0")) return yield* fail(url.href, "Type", "it is not text")
    const title = isHtml ? titleOf(text) : undefined
    const content = stripControls(isHtml ? yield* toMarkdown(text, url, pool) : text)
    return {
      url: url.href,
      status: response.status,
      contentType,
      ...(title === undefined ? {} : { title: oneLine(title) }),
      content: content.slice(0, maxChars),
      truncated: length > maxBytes || (isHtml && text.length > maxHtml) || content.length > maxChars
    }
  })

const textual = /^text\/|[/+](json|xml|yaml|markdown)$|^application\/(javascript|x-ndjson|x-yaml|toml|rtf|sql|graphql)$/

/** Where the converter is, in the sources and in a build. */
const converter = new URL(
  `./internal/htmlToMarkdown${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
  import.meta.url
)

/** How many characters of a page the parser is given: it costs about a microsecond and a hundred bytes for each. */
const maxHtml = 1024 * 1024

const toMarkdown = (page: string, url: URL, pool: Pool.Pool): Effect.Effect<string> => {
  const html = page.slice(0, maxHtml)
  if (isWild(html)) return Effect.sync(() => withoutTags(page))
  return pool
    .call({
      tool: FetchUrl.name,
      module: converter.href,
      export: "default",
      params: { html, base: url.href },
      context: {},
      progress: () => Effect.void
    })
    .pipe(
      Effect.timeout("5 seconds"),
      Effect.map((markdown) => (typeof markdown === "string" ? markdown : withoutTags(html))),
      // Too much for the parser, or a bundle without the converter's file.
      Effect.catch(() => Effect.sync(() => withoutTags(page)))
    )
}
