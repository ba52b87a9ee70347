/**
 * Takes out of requests and answers what no file may hold: secret headers, their values wherever they occur, and texts
 * that look like keys. In a stream a secret is found across events too. Pure.
 */
import * as Regex from "effect/RegExp"
import { decoded } from "../../../../internal/percent.ts"

/** What stands in a secret's place. */
export const redacted = "[redacted]"

/** Says nothing of a request: how it travels, or who traces it. It would change with every recording. */
const noise =
  /^(host|connection|keep-alive|content-length|transfer-encoding|accept-encoding|accept-language|user-agent|traceparent|tracestate|b3|x-b3-.*|x-stainless-.*|sec-fetch-.*|date|server|via|age|vary|alt-svc|cf-.*|report-to|nel|strict-transport-security|x-content-type-options|x-envoy-.*|.*-processing-ms|x-request-id|request-id)$/

const secretName = /key|token|auth|secret|cookie|password|credential|session|signature|^openai-(organization|project)$/i
/** Named after tokens of another kind. */
const harmless = /^x-ratelimit-|^x-should-retry$/

/** Shorter ones, such as "ollama", are no secrets, and removing them would spoil texts. */
const shortest = 8
/** What stands in a secret's place is none itself, although a key may be given as that. */
const isSecretText = (text: string): boolean =>
  (text.length >= shortest || /^sk-./.test(text)) && !redacted.includes(text)

const patterns: ReadonlyArray<RegExp> = [
  // Keys of OpenAI and those who copy it, and what servers show of them.
  /\bsk-(?=[\w-]*\d)[\w-]{20,}/g,
  /\bsk-[\w-]*\*{3,}[\w-]*/g,
  /(?<=\bBearer\s+)[\w.~+/=-]{16,}/gi,
  // Organizations and projects, which error messages name.
  /\borg-(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}\b/g,
  /\bproj_(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}\b/g
]

/** How a character may be written inside of an address, a form, or JSON, which may be a text of JSON again. */
const spelling = (character: string): string => {
  if (/\w/.test(character)) return character
  const bytes = [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")
  const encoded = bytes.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
  const plain = character === " " ? "[ +]" : Regex.escape(character)
  const inJson = JSON.stringify(character).slice(1, -1)
  const escaped = inJson === character ? "" : `|\\\\+${Regex.escape(inJson.slice(1))}`
  return `(?:${plain}${escaped}|${encoded})`
}

/** What is secret in the value of a header: not the scheme, and of cookies neither names nor attributes. */
const secretsOf = (name: string, value: string): ReadonlyArray<string> => {
  const cookie = (pair: string) => pair.slice(pair.indexOf("=") + 1).trim()
  switch (name) {
    case "cookie":
      return value.split(";").map(cookie)
    case "set-cookie":
      return [cookie(value.split(";")[0]!)]
    case "authorization":
    case "proxy-authorization": {
      const credentials = value.replace(/^[\w-]+ +/, "")
      if (!/^basic /i.test(value)) return [credentials]
      const [user, ...password] = Buffer.from(credentials, "base64").toString().split(":")
      return [credentials, user!, password.join(":")]
    }
    default:
      return [value]
  }
}

/** What is needed of a request to find its secrets. */
export interface Head {
  readonly url: string
  readonly headers: Iterable<readonly [string, string]>
}

export class Scrubber {
  readonly #names: ReadonlySet<string>
  readonly #own: (text: string) => string
  readonly #secrets = new Set<string>()
  #pattern: RegExp | undefined

  constructor(names: ReadonlyArray<string>, own: ((text: string) => string) | undefined) {
    this.#names = new Set(names.map((name) => name.toLowerCase()))
    this.#own = own ?? ((text) => text)
  }

  #isSecret(name: string): boolean {
    return this.#names.has(name) || (secretName.test(name) && !harmless.test(name))
  }

  /** Learns secrets; from then on they are found everywhere. */
  learn(texts: Iterable<string>): void {
    for (const text of texts) {
      if (!isSecretText(text)) continue
      this.#secrets.add(text)
      this.#pattern = undefined
    }
  }

  /** Learns the secrets of a request or a response: values of secret headers and query parameters. */
  learnFrom({ headers, url }: Head): void {
    for (const [name, value] of headers) {
      const lower = name.toLowerCase()
      if (this.#isSecret(lower)) this.learn(secretsOf(lower, value))
    }
    if (!URL.canParse(url)) return
    const { password, searchParams, username } = new URL(url)
    this.learn([password, username].map(decoded))
    for (const [name, value] of searchParams) if (this.#isSecret(name.toLowerCase())) this.learn([value])
  }

  /** A text without secrets, and then as the user wants it. */
  text(text: string): string {
    return this.#own(this.bare(text))
  }

  /** A text without secrets. */
  bare(text: string): string {
    return cut(text, 0, this.#find(text))
  }

  /** An address without credentials and secret parameters. */
  url(address: string): string {
    if (!URL.canParse(address)) return this.text(address)
    const url = new URL(address)
    url.username = ""
    url.password = ""
    url.hash = ""
    for (const name of new Set(url.searchParams.keys())) {
      if (this.#isSecret(name.toLowerCase())) url.searchParams.set(name, "redacted")
    }
    return this.text(url.href)
  }

  /** Headers by name, in the order of their names; those that only tell how a message travels are left out. */
  headers(headers: Iterable<readonly [string, string]>): Readonly<Record<string, string>> {
    const safe = new Map<string, string>()
    for (const [name, value] of headers) {
      const lower = name.toLowerCase()
      if (noise.test(lower) && !this.#names.has(lower)) continue
      const before = safe.get(lower)
      // What HTTP cannot carry could not be replayed.
      const one = this.#isSecret(lower) ? redacted : this.text(value).replace(/[^\t\x20-\x7e\x80-\xff]/g, "?")
      safe.set(lower, before === undefined || before === redacted ? one : `${before}, ${one}`)
    }
    return Object.fromEntries([...safe].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** The lines of a stream, one for one. A secret that comes in pieces, event by event, is taken out of the pieces. */
  lines(lines: ReadonlyArray<string>): ReadonlyArray<string> {
    const safe = [...lines]
    const events = lines.map(eventOf)
    const texts = new Map<string, Array<Piece>>()
    for (const event of events) if (event !== undefined) collect(event.holder, "value", "", "", texts)
    const changed = new Set<object>()
    for (const pieces of texts.values()) {
      const found = this.#find(pieces.map(({ holder, key }) => holder[key] as string).join(""))
      if (found.length === 0) continue
      let at = 0
      for (const { holder, key, root } of pieces) {
        const text = holder[key] as string
        const rest = cut(text, at, found)
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

  /** Where secrets are, in order and apart. */
  #find(text: string): ReadonlyArray<Range> {
    if (this.#secrets.size > 0) {
      // The longer first: one secret may be a part of another.
      this.#pattern ??= new RegExp(
        [...this.#secrets]
          .sort((a, b) => b.length - a.length)
          .map((secret) => [...secret].map(spelling).join(""))
          .join("|"),
        "g"
      )
    }
    const found: Array<Range> = []
    for (const pattern of this.#pattern === undefined ? patterns : [this.#pattern, ...patterns]) {
      for (const match of text.matchAll(pattern)) found.push([match.index, match.index + match[0].length])
    }
    const begun = this.#beginningAtEnd(text)
    if (begun > 0) found.push([text.length - begun, text.length])
    const apart: Array<[from: number, to: number]> = []
    for (const [from, to] of found.sort(([a], [b]) => a - b)) {
      const last = apart.at(-1)
      if (last !== undefined && from < last[1]) last[1] = Math.max(last[1], to)
      else apart.push([from, to])
    }
    return apart
  }

  /** How many characters at the end are the beginning of a secret: an answer may be lost in the middle of one. */
  #beginningAtEnd(text: string): number {
    for (const secret of this.#secrets) {
      for (let length = Math.min(secret.length - 1, text.length); length >= shortest; length--) {
        if (text.endsWith(secret.slice(0, length))) return length
      }
    }
    return 0
  }
}

type Range = readonly [from: number, to: number]

/** What is left of a piece of a text, which begins at `at`, when the ranges of `found` go. */
const cut = (text: string, at: number, found: ReadonlyArray<Range>): string => {
  let safe = ""
  let done = 0
  for (const range of found) {
    const [from, to] = [range[0] - at, range[1] - at]
    if (to <= 0) continue
    if (from >= text.length) break
    // Of a secret in several pieces, the first says that it was there.
    if (from >= 0) safe += `${text.slice(done, from)}${redacted}`
    done = Math.min(to, text.length)
  }
  return safe + text.slice(done)
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

/**
 * The texts of an event by their place. Fields that say which of several things a piece belongs to, such as the index of
 * a tool call, are a part of the place.
 */
const collect = (
  holder: Holder,
  key: string,
  path: string,
  owner: string,
  texts: Map<string, Array<Piece>>,
  root: Holder = holder
): void => {
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
    for (const name of Object.keys(inner)) collect(inner, name, `${path}/${name}`, all, texts, root)
  }
}
