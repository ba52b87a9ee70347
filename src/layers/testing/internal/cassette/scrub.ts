/**
 * Removes from requests and answers what no file may hold, by the scrubber that all of us share, and what only says
 * how a message travelled. In a stream a secret is found across events too.
 */
import * as Scrubbing from "../../../../internal/scrubber.ts"

/** The placeholder of a secret. */
export const redacted = "[redacted]"

/** Says nothing of a request: how it travels, or who traces it. It would change with every recording. */
const noise =
  /^(host|connection|keep-alive|content-length|transfer-encoding|accept-encoding|accept-language|user-agent|traceparent|tracestate|b3|x-b3-.*|x-stainless-.*|sec-fetch-.*|date|server|via|age|vary|alt-svc|cf-.*|report-to|nel|strict-transport-security|x-content-type-options|x-envoy-.*|.*-processing-ms|x-request-id|request-id)$/

/** Requests and answers as a cassette holds them. */
export class Scrubber {
  readonly #names: ReadonlySet<string>
  readonly #own: (text: string) => string
  readonly #secrets: Scrubbing.Scrubber

  /** `names`: further secret headers. `own`: what the user changes of each text. */
  constructor(names: ReadonlyArray<string>, own: ((text: string) => string) | undefined) {
    this.#names = new Set(names.map((name) => name.toLowerCase()))
    this.#own = own ?? ((text) => text)
    this.#secrets = Scrubbing.make({ mark: redacted, names })
  }

  /** Learns secrets; from then on they are found everywhere. */
  learn(texts: Iterable<string>): void {
    this.#secrets.learn(texts)
  }

  /** Learns the secrets of a request or a response: values of secret headers and query parameters. */
  learnFrom(head: Scrubbing.Head): void {
    this.#secrets.learnFrom(head)
  }

  /** Learns the values that a body gives to secret names. */
  learnFromText(text: string): void {
    this.#secrets.learnFromText(text)
  }

  /** A text without secrets, and then as the user wants it. */
  text(text: string): string {
    return this.#own(this.bare(text))
  }

  /** A text without secrets. */
  bare(text: string): string {
    return this.#secrets.text(text)
  }

  /** An address without credentials and secret parameters. */
  url(address: string): string {
    if (!URL.canParse(address)) return this.text(address)
    const url = new URL(address)
    url.username = ""
    url.password = ""
    url.hash = ""
    for (const name of new Set(url.searchParams.keys())) {
      if (this.#secrets.isSecretName(name, "parameter")) url.searchParams.set(name, "redacted")
    }
    return this.text(url.href)
  }

  /** Headers by name, in the order of their names; those that concern only the transport are left out. */
  headers(headers: Iterable<readonly [string, string]>): Readonly<Record<string, string>> {
    const safe = new Map<string, string>()
    for (const [name, value] of headers) {
      const lower = name.toLowerCase()
      if (noise.test(lower) && !this.#names.has(lower)) continue
      const before = safe.get(lower)
      const isSecret = this.#secrets.isSecretName(lower, "header")
      // What HTTP cannot carry could not be replayed.
      const one = isSecret ? redacted : this.text(value).replace(/[^\t\x20-\x7e\x80-\xff]/g, "?")
      safe.set(lower, before === undefined || before === redacted ? one : `${before}, ${one}`)
    }
    return Object.fromEntries([...safe].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** The lines of a stream, one for one. A secret that comes in pieces, event by event, is taken out of the pieces. */
  lines(lines: ReadonlyArray<string>): ReadonlyArray<string> {
    const safe = [...lines]
    const events = lines.map(eventOf)
    const texts = new Map<string, Array<Piece>>()
    for (const event of events)
      if (event !== undefined) collect(event.holder, "value", { root: event.holder, path: "", owner: "" }, texts)
    const changed = new Set<object>()
    for (const pieces of texts.values()) {
      const found = this.#secrets.find(pieces.map(({ holder, key }) => holder[key] as string).join(""))
      if (found.length === 0) continue
      let at = 0
      for (const { holder, key, root } of pieces) {
        const text = holder[key] as string
        const rest = Scrubbing.cut(text, at, found, redacted)
        if (rest !== text) {
          holder[key] = rest
          changed.add(root)
        }
        at += text.length
      }
    }
    events.forEach((event, index) => {
      if (event === undefined || !changed.has(event.holder)) return
      safe[index] = `${event.before}${JSON.stringify(event.holder["value"])}${event.after}`
    })
    return safe.map((line) => this.text(line))
  }
}

type Holder = Record<string, unknown>

interface Piece {
  readonly holder: Holder
  readonly key: string
  /** The event that it is in. */
  readonly root: Holder
}

interface Event {
  readonly before: string
  readonly holder: Holder
  readonly after: string
}

/** A line of server-sent events, or of JSON lines, that holds JSON. */
const eventOf = (line: string): Event | undefined => {
  const match = /^(data:\s*)?(\{.*\})(\s*)$/.exec(line)
  if (match === null) return undefined
  try {
    return { before: match[1] ?? "", holder: { value: JSON.parse(match[2]!) as unknown }, after: match[3]! }
  } catch {
    return undefined
  }
}

/** Where a value stands. */
interface Where {
  /** The event that it is in. */
  readonly root: Holder
  readonly path: string
  /** The fields that say which of several things it belongs to. */
  readonly owner: string
}

/**
 * The texts of an event by their place. Fields that say which of several things a piece belongs to, such as the index of
 * a tool call, are a part of the place.
 */
const collect = (holder: Holder, key: string, { owner, path, root }: Where, texts: Map<string, Array<Piece>>): void => {
  const value = holder[key]
  if (typeof value === "string") {
    const place = `${path}${owner}`
    const pieces = texts.get(place)
    if (pieces === undefined) texts.set(place, [{ holder, key, root }])
    else pieces.push({ holder, key, root })
  } else if (typeof value === "object" && value !== null) {
    const inner = value as Holder
    const mine = ["type", "index", "item_id", "output_index", "content_index"]
      .flatMap((name) => {
        const mark = inner[name]
        return typeof mark === "string" || typeof mark === "number" ? [`${name}=${mark}`] : []
      })
      .join()
    const all = mine === "" ? owner : `${owner}|${mine}`
    for (const name of Object.keys(inner)) collect(inner, name, { root, path: `${path}/${name}`, owner: all }, texts)
  }
}
