/**
 * Makes a string fit a JSON schema's `format`, `pattern`, `minLength` and `maxLength`, changing it as little as it can.
 * Pure and deterministic.
 */
import { validator } from "./libraries.ts"
import { num, type Schema, str, strings } from "./schema.ts"
import { hash, wellFormed } from "./text.ts"

const compiled = new Map<string, RegExp | undefined>()

/** The pattern as an expression; `undefined` when it is not one. */
export const regex = (pattern: string): RegExp | undefined => {
  if (compiled.has(pattern)) return compiled.get(pattern)
  let out: RegExp | undefined
  try {
    out = new RegExp(pattern, "u")
  } catch {
    try {
      out = new RegExp(pattern)
    } catch {
      out = undefined
    }
  }
  if (compiled.size > 500) compiled.clear()
  compiled.set(pattern, out)
  return out
}

const patterns = (schema: Schema): ReadonlyArray<RegExp> =>
  [str(schema, "pattern"), ...strings(schema["allPatterns"])].flatMap((pattern) => {
    const expression = pattern === undefined ? undefined : regex(pattern)
    return expression === undefined ? [] : [expression]
  })

const length = (text: string): number => [...text].length

const lengthFits = (text: string, schema: Schema): boolean =>
  length(text) >= (num(schema, "minLength") ?? 0) && text.length <= (num(schema, "maxLength") ?? Infinity)

/** A value for a format when the text has none: one that nobody takes for a finding. */
const placeholder = (format: string, seed: string): string | undefined => {
  switch (format) {
    case "date":
      return "1970-01-01"
    case "date-time":
      return "1970-01-01T00:00:00.000Z"
    case "time":
      return "00:00:00Z"
    case "duration":
      return "PT0S"
    case "email":
    case "idn-email":
      return "unknown@example.invalid"
    case "uri":
    case "iri":
    case "url":
    case "uri-reference":
    case "iri-reference":
    case "uri-template":
      return "https://example.invalid/"
    case "uuid":
      return uuid(seed)
    case "ipv4":
      return "0.0.0.0"
    case "ipv6":
      return "::"
    case "hostname":
    case "idn-hostname":
      return "example.invalid"
    case "json-pointer":
      return ""
    case "relative-json-pointer":
      return "0"
    case "regex":
      return ".*"
    default:
      return undefined
  }
}

/** A UUID of version 8 (RFC 9562) made from `seed` alone. */
export const uuid = (seed: string): string => {
  const hex = [0, 1, 2, 3]
    .map((i) =>
      Number.parseInt(hash(`${i}:${seed}`), 36)
        .toString(16)
        .padStart(8, "0")
    )
    .join("")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

const formatFits = (text: string, format: string | undefined): boolean => {
  if (format === undefined) return true
  if (format === "email")
    return (
      /^[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+$/.test(
        text
      ) && valid(text, format)
    )
  if (format === "date-time" || format === "date") return valid(text, format) && !Number.isNaN(Date.parse(text))
  if (format === "uri" || format === "url")
    return (
      /^[a-z][a-z0-9+.-]*:[\w\-.~:/?#[\]@!$&'()*+,;=%]*$/i.test(text) &&
      !/%(?![0-9a-f]{2})/i.test(text) &&
      valid(text, "uri")
    )
  return valid(text, format)
}

const valid = (text: string, format: string): boolean => {
  const Validator = validator()
  return new Validator({ type: "string", format }, "2020-12").validate(text).valid
}

/** True when `text` is an instance of the string schema. */
export const fits = (text: string, schema: Schema): boolean =>
  lengthFits(text, schema) &&
  formatFits(text, str(schema, "format")) &&
  patterns(schema).every((expression) => expression.test(text))

/** `text` cut or padded to the lengths asked for. `more` is what to go on with when it is too short. */
const toLength = (text: string, schema: Schema, more: string): string => {
  const min = num(schema, "minLength") ?? 0
  const max = num(schema, "maxLength") ?? Infinity
  let out = text
  if (out.length > max) {
    const cut = wellFormed(out.slice(0, max))
    const space = cut.lastIndexOf(" ")
    out = space >= Math.max(min, max * 0.6) ? cut.slice(0, space) : cut
  }
  if (length(out) < min) {
    const rest = more.trim()
    if (out === "" && rest === "") out = "unknown"
    if (length(out) < min && rest !== "" && rest !== out) out = `${out}${out === "" ? "" : " "}${rest}`
    if (out.length > max || length(out) > min + 400)
      out = wellFormed(out.slice(0, Math.min(max, Math.max(min * 2, 400))))
    if (length(out) < min) out = out.padEnd(out.length + min - length(out), ".")
    if (out.length > max) out = wellFormed(out.slice(0, max)).padEnd(Math.min(max, min), ".")
  }
  return out
}

/** The closest string to `text` that the schema takes; `undefined` when none was found. */
export const fitString = (text: string, schema: Schema, more = ""): string | undefined => {
  const plain = toLength(wellFormedAll(text), schema, more)
  if (fits(plain, schema)) return plain
  const expressions = patterns(schema)
  const format = str(schema, "format")
  const stand = format === undefined ? undefined : placeholder(format, text)
  if (stand !== undefined) {
    if (fits(stand, schema)) return stand
    const others = ["1970-01-01T00:00:00Z", "00000000-0000-4000-8000-000000000000", "about:blank", "a@b.co", "::1", "/"]
    return others.find((other) => fits(other, schema)) ?? fromPattern(schema)
  }
  if (expressions.length === 0) return format === undefined ? undefined : fits("", schema) ? "" : undefined
  const tokens = `${text} ${more}`.slice(0, 4_000).split(/\s+/)
  for (const token of tokens) {
    for (const candidate of [token, token.replace(/^\W+|\W+$/g, ""), token.toLowerCase(), token.toUpperCase()]) {
      if (candidate !== "" && fits(candidate, schema)) return candidate
    }
  }
  const slug = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, num(schema, "maxLength") ?? 60)
  for (const candidate of [
    slug,
    slug.replaceAll("-", "_"),
    slug.replaceAll("-", ""),
    slug.replaceAll("-", "").toUpperCase()
  ]) {
    if (fits(candidate, schema)) return candidate
  }
  return fromPattern(schema)
}

const wellFormedAll = (text: string): string => text.replace(/\p{Surrogate}/gu, "\uFFFD")

/** A string that the pattern matches, made by walking the pattern with more and more repetitions. */
const fromPattern = (schema: Schema): string | undefined => {
  const source = str(schema, "pattern")
  if (source === undefined) return undefined
  const min = num(schema, "minLength") ?? 0
  for (const extra of [0, 1, 2, 3, min, min + 1, 8, 16]) {
    for (const pick of [0, 1, 2]) {
      const made = generate(source, extra, pick)
      if (made === undefined) continue
      for (const candidate of [made, made.padEnd(min, "a"), made.padEnd(min, "0")])
        if (fits(candidate, schema)) return candidate
    }
  }
  return undefined
}

/** Walks the subset of regular expressions without look-around and back references. */
const generate = (source: string, extra: number, pick: number): string | undefined => {
  let at = 0
  let steps = 0
  const alternatives = (): string => {
    const options: Array<string> = []
    let current = ""
    while (at < source.length && source[at] !== ")") {
      if (++steps > 2_000) throw new Error("too long")
      if (source[at] === "|") {
        options.push(current)
        current = ""
        at++
        continue
      }
      current += repeated()
    }
    options.push(current)
    return options[Math.min(pick, options.length - 1)] ?? ""
  }
  const repeated = (): string => {
    const once = atom()
    const quantifier = /^(?:[*+?]|\{(\d+)(,(\d*))?\})\??/.exec(source.slice(at, at + 24))
    if (quantifier === null) return once
    at += quantifier[0].length
    const symbol = quantifier[0][0]
    const low = symbol === "*" || symbol === "?" ? 0 : symbol === "+" ? 1 : Number(quantifier[1])
    const high =
      symbol === "?"
        ? 1
        : symbol === "*" || symbol === "+"
          ? Infinity
          : quantifier[2] === undefined
            ? low
            : quantifier[3]
              ? Number(quantifier[3])
              : Infinity
    const count = Math.min(high, Math.max(low, extra), 1_000)
    return once.repeat(count)
  }
  const atom = (): string => {
    const char = source[at++] ?? ""
    if (char === "^" || char === "$") return ""
    if (char === ".") return "a"
    if (char === "(") {
      const kind = /^\?(?:[:=!]|<[=!]|<[^>]*>)/.exec(source.slice(at, at + 40))?.[0]
      if (kind !== undefined) at += kind.length
      const inner = alternatives()
      at++
      return kind !== undefined && /^\?<?[=!]$/.test(kind) ? "" : inner
    }
    if (char === "[") return set()
    if (char === "\\") return escape(source[at++] ?? "")
    return char
  }
  const escape = (char: string): string => {
    if (char === "d") return "0"
    if (char === "w") return "a"
    if (char === "s") return " "
    if (char === "D" || char === "S") return "a"
    if (char === "W") return "-"
    if (char === "b" || char === "B") return ""
    if (char === "n") return "\n"
    if (char === "t") return "\t"
    if (char === "p" || char === "P") {
      const name = /^\{([^}]*)\}/.exec(source.slice(at))
      at += name?.[0].length ?? 0
      return /^(?:N|Nd|Number)/.test(name?.[1] ?? "") ? "0" : (name?.[1] ?? "").startsWith("Lu") ? "A" : "a"
    }
    if (char === "u" || char === "x") {
      const hex = (char === "u" ? /^(?:\{([0-9a-f]+)\}|([0-9a-f]{4}))/i : /^([0-9a-f]{2})/i).exec(source.slice(at))
      at += hex?.[0].length ?? 0
      return hex === null ? char : String.fromCodePoint(Number.parseInt(hex[1] ?? hex[2] ?? "61", 16))
    }
    return char
  }
  const set = (): string => {
    const start = at - 1
    while (at < source.length && (source[at] !== "]" || at === start + 1)) at += source[at] === "\\" ? 2 : 1
    at++
    const expression = regex(`^${source.slice(start, at)}$`)
    if (expression === undefined) throw new Error("not a set")
    const found = [..."a0A-_ 1bBx.:/+@#zZ9%$,;!?*=~é", ...source.slice(start + 1, at - 1)].find((c) =>
      expression.test(c)
    )
    if (found === undefined) throw new Error("empty set")
    return found
  }
  try {
    return alternatives()
  } catch {
    return undefined
  }
}
