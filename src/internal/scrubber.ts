/**
 * Removes secrets from text: those that are known, in the spellings that servers and addresses give them, values that
 * stand next to a secret name, and what looks like a key. The one scrubber of cassettes, MCP connections and errors.
 * Takes linear time for any text.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Regex from "effect/RegExp"
import { decoded } from "./percent.ts"

/** The kind of a name: headers and parameters have few names, so more of them count as secret. */
export type NameKind = "header" | "parameter" | "field"

/** Part of a text, from the first character to the one after the last. */
export type Range = readonly [from: number, to: number]

/** The parts of a request or a response that can hold secrets. */
export interface Head {
  readonly url: string
  readonly headers: Iterable<readonly [string, string]>
}

/** Options of {@link make}. */
export interface Options {
  /** The placeholder of a secret. Default `"[redacted]"`. */
  readonly mark?: string | undefined
  /** Further names of headers whose values are secret, in any case. */
  readonly names?: Iterable<string> | undefined
  /** The fewest characters of a known secret. Default 8: shorter ones, such as "ollama", occur in too many texts. */
  readonly shortest?: number | undefined
}

/** Finds and removes secrets. It learns them while it is used; what was learned is found from then on. */
export interface Scrubber {
  readonly mark: string
  /** Adds secrets. Their Base64 is secret too. */
  readonly learn: (texts: Iterable<string>) => void
  /** Adds the secrets of an address and of headers, found by their names. */
  readonly learnFrom: (head: Head) => void
  /** Adds the values that a text, such as a body, gives to secret names. */
  readonly learnFromText: (text: string) => void
  readonly isSecretName: (name: string, place: NameKind) => boolean
  /** Where secrets are, in order and apart. */
  readonly find: (text: string) => ReadonlyArray<Range>
  /** The text without secrets. */
  readonly text: (text: string) => string
}

// -- names ------------------------------------------------------------------------------------------------------------

/** Names of headers and parameters that say more of how a request is counted and kept than who makes it. */
const plainNames = /rate-?limit|^x-should-retry$|^idempotency-key$/
const secretPart =
  /key|token|auth|secret|cookie|passw|passphrase|credential|session|signature|jwt|^openai-(?:organization|project)$/
const parameterEnd = /(?:key|token|auth|secret|session|signature|cookie|credential)$/
const secretWords = new Set(
  "pass pwd passwd password passwords passcode passphrase secret secrets token credential credentials authorization bearer cookie cookies jwt apikey otp csrf xsrf".split(
    " "
  )
)
const secretEnd = /(?:token|password|passwd|passphrase|secret|apikey|accesskey|privatekey|secretkey|authkey|sessionid)$/
const secretKey =
  /(?:^|-)(?:api|access|private|secret|signing|encryption|auth|account|subscription|license|master|service|shared|storage|ssh|deploy|webhook|admin|client)-?key(?:$|-)|(?:^|-)session-(?:id|key)(?:$|-)/
/** Said of a secret, and not the secret itself. */
const aboutSecret =
  /-(?:type|types|count|counts|limit|limits|name|names|url|uri|endpoint|in|at|expires|expiry|expiration|ttl|policy|hint|length|format|status|enabled|required|scope|scopes|method|methods|supported|budget|usage|algorithm)$/
/** Says where a list goes on. */
const pageToken = /(?:^|-)(?:page|next|continuation|cursor|sync)-token$/
/** Names that mean a secret in an address or a form, and something else elsewhere. */
const weakWords = new Set("key code session auth sid sig hmac assertion verifier".split(" "))

/** `apiKey`, `API_KEY` and `x-api-key` as words with hyphens between them. */
const wordsOf = (name: string): string =>
  name
    .slice(0, 100)
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")

const isStrong = (words: string): boolean =>
  !aboutSecret.test(words) &&
  !pageToken.test(words) &&
  (secretKey.test(words) || words.split("-").some((word) => secretWords.has(word) || secretEnd.test(word)))

const isWeak = (words: string): boolean => words.split("-").some((word) => weakWords.has(word))

/** Whether what is called so is secret. */
export const isSecretName = (name: string, place: NameKind): boolean => {
  const lower = name.toLowerCase()
  if (plainNames.test(lower)) return false
  const words = wordsOf(name)
  if (isStrong(words)) return true
  if (place === "header") return isWeak(words) || secretPart.test(lower)
  return place === "parameter" && words.split("-").some((word) => weakWords.has(word) || parameterEnd.test(word))
}

/** A value that is a key by its looks: a long mix of characters, or a long number in hexadecimal. */
const looksRandom = (value: string): boolean =>
  /^[\w.~+/=-]{20,}$/.test(value)
    ? /\d/.test(value) && /[a-z]/.test(value) && /[A-Z]/.test(value)
    : /^[0-9a-fA-F]{32,}$/.test(value)

/** Whether the value of a field is secret: by the name, or by a name that may be secret and a value that looks like it. */
export const isSecretField = (name: string, value: string): boolean =>
  isSecretName(name, "field") || (isWeak(wordsOf(name)) && looksRandom(value))

// -- what looks like a key --------------------------------------------------------------------------------------------

const hasDigit = (text: string): boolean => /\d/.test(text)
const always = (): boolean => true

/** Each pattern takes all characters that a key may have, so that what was looked at once is not looked at again. */
const patterns: ReadonlyArray<readonly [RegExp, (match: string) => boolean]> = [
  // OpenAI, Anthropic, OpenRouter and others who copy the form; also as servers mask it.
  [/\bsk-[\w*-]{3,}/g, (key) => /\*{3}/.test(key) || (key.length >= 16 && hasDigit(key))],
  [/\b(?:gsk|hf|npm|ek|r8|dop_v1|shpat|shpss|lin_api|glc|tvly|fc|e2b)[_-][A-Za-z0-9_-]{20,}/g, hasDigit],
  [/\b(?:xai|pplx|pypi|glpat|glptt|sntrys|nvapi)-[\w-]{20,}/g, hasDigit],
  // GitHub, Slack, Stripe, SendGrid.
  [/\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}/g, always],
  [/\bxox[abeoprs]-[\w-]{10,}|\bxapp-[\w-]{10,}/g, always],
  [/\b(?:[rs]k_(?:live|test)|whsec)_\w{16,}/g, always],
  [/\bSG\.[\w-]{16,64}\.[\w-]{16,}/g, always],
  // AWS, Google, Telegram.
  [/\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b/g, always],
  [/\bAIza[\w-]{30,}|\bya29\.[\w.-]{20,}|\bGOCSPX-[\w-]{20,}/g, always],
  [/(?<=\/bot)\d+:[\w-]+|\b\d{6,12}:[A-Za-z0-9_-]{30,}/g, always],
  // Organizations and projects of OpenAI, which error messages name.
  [/\b(?:org-|proj_)[A-Za-z0-9]{16,}\b/g, hasDigit],
  // JSON Web Tokens, signed or encrypted.
  [/\beyJ[\w.-]{16,}/g, (token) => token.split(".").some((part, at, all) => isTokenPart(part, at, all))],
  // Credentials of an address.
  [/(?<=:\/\/)[^\s/?#"'<>]+(?=@)/g, always],
  [/(?<=\bBearer[ \t]{1,5})[\w.~+/=-]{8,}/gi, (token) => token.length >= 16 || hasDigit(token)],
  [/(?<=\bBasic[ \t]{1,5})[\w+/=-]{12,}/gi, (text) => /[A-Z\d=]/.test(text)]
]

const isTokenPart = (part: string, at: number, all: ReadonlyArray<string>): boolean =>
  /(?:^|-)eyJ/.test(part) && ((all[at + 1]?.startsWith("eyJ") === true && at + 2 < all.length) || all.length - at >= 5)

const privateKeyStart = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----/g
const privateKeyEnd = /-----END [A-Z ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----/g

/** Private keys, up to their last line, or to the end of a text that was cut. */
const privateKeys = (text: string, found: Array<Range>): void => {
  privateKeyStart.lastIndex = 0
  for (let start = privateKeyStart.exec(text); start !== null; start = privateKeyStart.exec(text)) {
    privateKeyEnd.lastIndex = privateKeyStart.lastIndex
    const end = privateKeyEnd.exec(text)
    const to = end === null ? text.length : privateKeyEnd.lastIndex
    found.push([start.index, to])
    privateKeyStart.lastIndex = to
  }
}

// -- values next to a name ----------------------------------------------------------------------------------------------

/** A value next to a name. */
interface Named {
  readonly name: string
  readonly place: NameKind
  readonly from: number
  readonly to: number
  /** The value without its escapes. */
  readonly value: string
}

const inJson = /"([\w.$@[\] -]{1,64})\\{0,15}"\s{0,20}:\s{0,20}(\\{0,15})"/g

/** Where a text in JSON ends, which may stand in a text of JSON itself, as its `escapes` before each quote tell. */
const endOfText = (text: string, from: number, escapes: number): number => {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 1)) {
    let before = 0
    while (at - before > from && text[at - before - 1] === "\\") before++
    if (before <= escapes || before % (2 * (escapes + 1)) === escapes) return at - Math.min(before, escapes)
  }
  return text.length
}

const unescaped = (text: string): string => {
  try {
    return JSON.parse(`"${text}"`) as string
  } catch {
    return text
  }
}

const namedInJson = (text: string, isSecret: (name: string) => boolean, found: Array<Named>): void => {
  inJson.lastIndex = 0
  for (let match = inJson.exec(text); match !== null; match = inJson.exec(text)) {
    const name = match[1]!
    if (!isSecret(name)) {
      // The quote that ends one text may begin a name.
      inJson.lastIndex -= 1
      continue
    }
    const from = inJson.lastIndex
    const to = endOfText(text, from, match[2]!.length)
    inJson.lastIndex = to
    // The tokens of an answer's log probabilities.
    if (name === "token" && /^\\{0,15}"\s{0,20},\s{0,20}\\{0,15}"(?:logprob|bytes|id)/.test(text.slice(to, to + 80)))
      continue
    found.push({ name, place: "field", from, to, value: unescaped(text.slice(from, to)) })
  }
}

const inAddress = /[?&;]([\w.%[\]+-]{1,64})=([^&\s"'<>\\#;]+)/g
const inForm = /(?:^|&)([\w.%[\]+-]{1,64})=([^&\s"'<>]+)/g

const namedInAddress = (text: string, isSecret: (name: string) => boolean, found: Array<Named>): void => {
  const isForm = /^[\w.%[\]+-]{1,64}=\S*$/.test(text)
  for (const match of text.matchAll(isForm ? inForm : inAddress)) {
    const to = match.index + match[0].length
    const value = match[2]!
    const name = decoded(match[1]!)
    if (!isSecret(name)) continue
    found.push({
      name,
      place: "parameter",
      from: to - value.length,
      to,
      value: decoded(value.replaceAll("+", " "))
    })
  }
}

const inMultipart = /\bname="([^"\r\n]{1,64})"/g
const partEnd = /\r?\n--/g

const namedInMultipart = (text: string, isSecret: (name: string) => boolean, found: Array<Named>): void => {
  if (!/^\s*--/.test(text)) return
  inMultipart.lastIndex = 0
  for (let match = inMultipart.exec(text); match !== null; match = inMultipart.exec(text)) {
    const name = match[1]!
    if (!isSecret(name)) continue
    const head = /\r?\n\r?\n/.exec(text.slice(inMultipart.lastIndex, inMultipart.lastIndex + 1000))
    if (head === null) continue
    const from = inMultipart.lastIndex + head.index + head[0].length
    partEnd.lastIndex = from
    const to = partEnd.exec(text)?.index ?? text.length
    inMultipart.lastIndex = to
    found.push({ name, place: "parameter", from, to, value: text.slice(from, to) })
  }
}

// -- known secrets ----------------------------------------------------------------------------------------------------

const percentOf = (character: string): string =>
  [...new TextEncoder().encode(character)]
    .map((byte) => {
      const hex = byte.toString(16).padStart(2, "0")
      return `%(?:25){0,2}${hex.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)}`
    })
    .join("")

/** How a text may be written in JSON: in a text of JSON that is in a text of JSON, and so on. The text itself is first. */
const inTexts = (text: string): ReadonlyArray<string> => {
  const spellings = [text]
  for (let level = 0; level < 4; level++) {
    const next = JSON.stringify(spellings.at(-1)!).slice(1, -1)
    if (next === spellings.at(-1)) break
    spellings.push(next)
  }
  return spellings
}

/** How a character may be written in an address or a form, which may be a part of another one. */
const spelling = (character: string): string =>
  `(?:${character === " " ? "[ +]" : Regex.escape(character)}|${percentOf(character)})`

const base64Spelling = (character: string): string =>
  character === "+" ? "(?:[+-]|%2[bB])" : character === "/" ? "(?:[/_]|%2[fF])" : character

/** What the Base64 of any text holds that holds this one: it depends on how many bytes stand before it. */
const base64Of = (secret: string): ReadonlyArray<string> => {
  const bytes = new TextEncoder().encode(secret)
  return [0, 1, 2].flatMap((skipped) => {
    const whole = bytes.subarray(skipped, skipped + Math.floor((bytes.length - skipped) / 3) * 3)
    return whole.length < 6 ? [] : [Base64.encode(whole)]
  })
}

const isBase64 = (character: string | undefined): boolean => character !== undefined && /[\w+/-]/.test(character)

/** The secret part of a header's value: not the scheme, and of cookies neither names nor attributes. */
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
      const pair = Base64.decodeString(credentials)
      if (pair._tag === "Failure") return [credentials]
      const [user = "", ...password] = pair.success.split(":")
      // A short user name occurs in too many texts.
      return [credentials, pair.success, password.join(":"), ...(user.length < 8 ? [] : [user])]
    }
    default:
      return [value]
  }
}

/** The secrets that a scrubber has learned, and where they stand in a text. */
interface KnownSecrets {
  readonly add: (text: string) => void
  readonly has: (text: string) => boolean
  readonly find: (text: string, found: Array<Range>) => void
}

const rangeOf = (match: RegExpExecArray): Range => [match.index, match.index + match[0].length]

/** Matches each of the secrets in any spelling. The longer first: one secret may be a part of another. */
const spellingsOf = (secrets: ReadonlyArray<string>): RegExp =>
  new RegExp(
    secrets.flatMap((secret) => inTexts(secret).map((text) => Array.from(text, spelling).join(""))).join("|"),
    "g"
  )

/** Matches the Base64 of what holds one of the secrets; `undefined` where all are too short. */
const base64SpellingsOf = (secrets: ReadonlyArray<string>): RegExp | undefined => {
  const encoded = secrets.flatMap(base64Of)
  if (encoded.length === 0) return undefined
  const any = encoded.map((one) => Array.from(one, base64Spelling).join("")).join("|")
  return new RegExp(`(?:${any})(?:[\\w+/-]|%2[bBfF])*(?:=|%3[dD]){0,2}`, "g")
}

const findBase64 = (text: string, pattern: RegExp, found: Array<Range>): void => {
  let last = 0
  for (const match of text.matchAll(pattern)) {
    let from = match.index
    while (from > last && isBase64(text[from - 1])) from--
    last = match.index + match[0].length
    found.push([from, last])
  }
}

const knownSecrets = (shortest: number): KnownSecrets => {
  const secrets = new Set<string>()
  let patterns: { readonly plain: RegExp; readonly base64: RegExp | undefined } | undefined

  const prepare = () => {
    const all = [...secrets].sort((a, b) => b.length - a.length)
    return { plain: spellingsOf(all), base64: base64SpellingsOf(all) }
  }

  /** How many characters at the end are the beginning of a secret: an answer may be lost in the middle of one. */
  const beginningAtEnd = (text: string): number => {
    for (const secret of secrets) {
      for (let length = Math.min(secret.length - 1, text.length); length >= Math.max(shortest, 8); length--) {
        if (text.endsWith(secret.slice(0, length))) return length
      }
    }
    return 0
  }

  return {
    add: (text) => {
      secrets.add(text)
      patterns = undefined
    },
    has: (text) => secrets.has(text),
    find: (text, found) => {
      if (secrets.size === 0) return
      patterns ??= prepare()
      for (const match of text.matchAll(patterns.plain)) found.push(rangeOf(match))
      if (patterns.base64 !== undefined) findBase64(text, patterns.base64, found)
      const begun = beginningAtEnd(text)
      if (begun > 0) found.push([text.length - begun, text.length])
    }
  }
}

const mayNameSecret = (name: string): boolean => {
  const words = wordsOf(name)
  return isStrong(words) || isWeak(words)
}

const namesSecretParameter = (name: string): boolean => isSecretName(name, "parameter")

/** The values that a text gives to names that are secret, or that may be and whose values look like it. */
const namedIn = (text: string, mark: string): ReadonlyArray<Named> => {
  const found: Array<Named> = []
  namedInJson(text, mayNameSecret, found)
  namedInAddress(text, namesSecretParameter, found)
  namedInMultipart(text, namesSecretParameter, found)
  return found.filter(({ name, place, value }) => {
    if (value === "" || value === "redacted" || value.includes(mark)) return false
    return isSecretName(name, place) || (isWeak(wordsOf(name)) && looksRandom(value))
  })
}

const findKeys = (text: string, found: Array<Range>): void => {
  for (const [pattern, isKey] of patterns) {
    for (const match of text.matchAll(pattern)) if (isKey(match[0])) found.push(rangeOf(match))
  }
}

/** The secrets of an address. A short user name occurs in too many texts. */
const secretsOfUrl = (url: string): ReadonlyArray<string> => {
  if (!URL.canParse(url)) return []
  const { password, searchParams, username } = new URL(url)
  const users = [username, decoded(username)].filter(({ length }) => length >= 8)
  const parameters = [...searchParams].flatMap(([name, value]) => (namesSecretParameter(name) ? [value] : []))
  return [password, decoded(password), ...users, ...parameters]
}

/** A scrubber that knows no secret yet. */
export const make = (options: Options = {}): Scrubber => {
  const mark = options.mark ?? "[redacted]"
  const shortest = options.shortest ?? 8
  const ownNames = new Set(Array.from(options.names ?? [], (name) => name.toLowerCase()))
  const known = knownSecrets(shortest)

  // The placeholder is not a secret, although a key may be given as that.
  const isMark = (text: string): boolean => mark.includes(text) || text.includes(mark) || text === "redacted"

  const isSecret = (name: string, place: NameKind): boolean =>
    (place === "header" && ownNames.has(name.toLowerCase())) || isSecretName(name, place)

  const learn: Scrubber["learn"] = (texts) => {
    for (const text of texts) {
      if ((text.length < shortest && !/^sk-./.test(text)) || isMark(text) || known.has(text)) continue
      known.add(text)
    }
  }

  const find: Scrubber["find"] = (text) => {
    const found: Array<Range> = []
    known.find(text, found)
    findKeys(text, found)
    privateKeys(text, found)
    for (const { from, to } of namedIn(text, mark)) found.push([from, to])
    return apart(found)
  }

  return {
    mark,
    learn,
    learnFrom: ({ headers, url }) => {
      for (const [name, value] of headers) {
        if (isSecret(name, "header")) learn(secretsOf(name.toLowerCase(), value))
      }
      learn(secretsOfUrl(url))
    },
    learnFromText: (text) =>
      // A word may occur anywhere; a key is not made of letters alone.
      learn(
        namedIn(text, mark)
          .map(({ value }) => value)
          .filter((value) => /[^A-Za-z ]/.test(value))
      ),
    isSecretName: isSecret,
    find,
    text: (text) => cut(text, 0, find(text), mark)
  }
}

const apart = (found: Array<Range>): ReadonlyArray<Range> => {
  const ranges: Array<[from: number, to: number]> = []
  for (const [from, to] of found.sort(([a], [b]) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && from < last[1]) last[1] = Math.max(last[1], to)
    else ranges.push([from, to])
  }
  return ranges
}

/** A piece of a text that begins at `at`, with the ranges of `found` replaced by `mark`. */
export const cut = (text: string, at: number, found: ReadonlyArray<Range>, mark: string): string => {
  let safe = ""
  let done = 0
  for (const range of found) {
    const [from, to] = [range[0] - at, range[1] - at]
    if (to <= 0) continue
    if (from >= text.length) break
    // Of a secret in several pieces, the first says that it was there.
    if (from >= 0) safe += `${text.slice(done, from)}${mark}`
    done = Math.min(to, text.length)
  }
  return safe + text.slice(done)
}
