/**
 * One text for one JSON value, and its hash. Synchronous and without Node, because transcripts are answered where neither a
 * promise nor Node may be there.
 */
import { timingSafeEqual } from "effect/crypto/Mac"
import * as Hex from "effect/encoding/Hex"
import type * as Schema from "effect/Schema"
import { hmacSha256, sha256 } from "./sha256.ts"

/** How deep a value may be nested to be shown and compared in full: as deep as `toJson` goes. */
const maxDepth = 64

/** The value, when it is JSON and not nested deeper than 64 levels; otherwise `undefined`. */
export const exactJson = (value: unknown, depth = 0): Schema.Json | undefined => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined
  if (typeof value !== "object" || depth >= maxDepth) return undefined
  if (!isPlain(value)) return undefined
  const isExact = Object.values(value).every((item) => item === undefined || exactJson(item, depth + 1) !== undefined)
  return isExact ? (value as Schema.Json) : undefined
}

const isPlain = (value: object): boolean => {
  if (Array.isArray(value)) return !value.includes(undefined)
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && !("toJSON" in value)
}

/** The same text for equal values, in any order of the fields of their objects. */
export const canonical = (json: Schema.Json): string => {
  if (Array.isArray(json)) return `[${json.map(canonical).join(",")}]`
  if (typeof json !== "object" || json === null) return JSON.stringify(json)
  const fields = Object.entries(json as Schema.JsonObject)
    .filter(([, value]) => value !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return `{${fields.map(([key, value]) => `${JSON.stringify(key)}:${canonical(value!)}`).join(",")}}`
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** SHA-256 of the value, as 64 hexadecimal digits. */
export const hash = (json: Schema.Json): string => Hex.encode(sha256(bytesOf(canonical(json))))

/**
 * 128 bits of the value, as 32 hexadecimal digits, at a tenth of the cost of {@link hash}. It tells values apart where a mistake does no
 * harm: someone who tries can find two values with the same digits.
 */
export const mark = (json: Schema.Json): string => {
  const text = canonical(json)
  let a = 0x67452301
  let b = 0x4efcdab8
  let c = 0x18badcfe
  let d = 0x10325476
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    a = b ^ Math.imul(a ^ code, 0x23a97b4f)
    b = c ^ Math.imul(b ^ code, 0x6a09e667)
    c = d ^ Math.imul(c ^ code, 0x3c6ef373)
    d = a ^ Math.imul(d ^ code, 0x510e527f)
  }
  const mixed = (n: number, by: number): string =>
    (Math.imul(n ^ (n >>> 15) ^ by, 0x2c1b3c6d) >>> 0).toString(16).padStart(8, "0")
  return mixed(a, d) + mixed(b, a) + mixed(c, b) + mixed(d, c)
}

/** 53 bits of a text, in 11 letters and digits (cyrb53): ids of one conversation do not meet. */
export const digest = (text: string): string => {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    high = Math.imul(high ^ code, 2654435761)
    low = Math.imul(low ^ code, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return (4294967296 * (2097151 & low) + (high >>> 0)).toString(36).padStart(11, "0")
}

/** HMAC-SHA-256 of the value under a key, as 64 hexadecimal digits. */
export const sign = (key: string, json: Schema.Json): string =>
  Hex.encode(hmacSha256(bytesOf(key), bytesOf(canonical(json))))

/** Whether `signature` is that of the value under the key. The time it takes does not depend on the signature. */
export const isSignedBy = (key: string, json: Schema.Json, signature: string): boolean =>
  timingSafeEqual(bytesOf(sign(key, json)), bytesOf(signature))
