/** Which recording a request is, and how one that is not recorded differs from those that are. */
import * as Predicate from "effect/Predicate"
import { createHash } from "node:crypto"
import { textOfJson } from "../../../../internal/json.ts"
import type { HttpRequest } from "../../../../services/HttpTransport.ts"
import { ofRequest, textOf } from "./body.ts"
import type { Difference } from "./errors.ts"
import type { Exchange, RequestBody } from "./format.ts"
import type { Scrubber } from "./scrub.ts"

/** A request as it is compared: scrubbed, without headers. */
export interface ComparedRequest {
  readonly method: string
  readonly origin: string
  /** Path and query. The host is not compared: it may be a gateway, or a server of a test. */
  readonly path: string
  readonly body: RequestBody | undefined
  /** The same for requests that are the same. */
  readonly key: string
}

const asked = (method: string, url: string, body: RequestBody | undefined): ComparedRequest => {
  const { origin, pathname, search } = new URL(url)
  const path = `${pathname}${search}`
  return { method, origin, path, body, key: `${method} ${path}\n${JSON.stringify(sorted(body))}` }
}

/** A recorded request. */
export const ofRecorded = ({ body, method, url }: Exchange["request"]): ComparedRequest => asked(method, url, body)

/** Learns the secrets of a request, from its address, its headers and its body. */
export const learnFrom = ({ body, headers, url }: HttpRequest, scrubber: Scrubber): void => {
  scrubber.learnFrom({ url, headers: Object.entries(headers) })
  if (body !== undefined) scrubber.learnFromText(typeof body === "string" ? body : textOf([body]))
}

/** A request that is made. What is secret in it is learned first. */
export const ofMade = (request: HttpRequest, secrets: ReadonlyArray<string>, scrubber: Scrubber): ComparedRequest => {
  scrubber.learn(secrets)
  learnFrom(request, scrubber)
  return asked(request.method, scrubber.url(request.url), ofRequest(request.body, scrubber))
}

/** A short name, the same in every process and release. */
export const hash = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 16)

/** With the fields of objects in the order of their names, which means nothing in JSON. */
const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)])
  )
}

const longest = 80

/** The text around the place where two texts part. */
const around = (text: string, from: number): string => {
  if (text.length <= longest) return text
  const start = from < longest / 2 ? 0 : from - longest / 4
  const end = start + longest
  return `${start > 0 ? "…" : ""}${text.slice(start, end)}${end < text.length ? "…" : ""}`
}

const difference = (at: string, recorded: unknown, got: unknown): Difference => {
  const [a, b] = [textOfJson(recorded), textOfJson(got)]
  let parted = 0
  while (parted < a.length && a[parted] === b[parted]) parted++
  // Quoted, so that the whole is one line.
  const show = (value: unknown, text: string) =>
    typeof value === "string" ? JSON.stringify(around(text, parted)) : around(text, parted)
  return { at, recorded: show(recorded, a), got: show(got, b) }
}

const lacking = (at: string, recorded: unknown, got: unknown): Difference => {
  const show = (value: unknown) => around(JSON.stringify(value), 0)
  return recorded === undefined ? { at, got: show(got) } : { at, recorded: show(recorded) }
}

const walk = (at: string, recorded: unknown, got: unknown, found: Array<Difference>): void => {
  if (recorded === undefined || got === undefined) {
    if (recorded !== got) found.push(lacking(at, recorded, got))
  } else if (Array.isArray(recorded) && Array.isArray(got)) {
    for (let index = 0; index < Math.max(recorded.length, got.length); index++) {
      walk(`${at}[${index}]`, recorded[index], got[index], found)
    }
  } else if (Predicate.isReadonlyObject(recorded) && Predicate.isReadonlyObject(got)) {
    for (const key of new Set([...Object.keys(recorded), ...Object.keys(got)])) {
      const name = /^[\w$-]+$/.test(key) ? `${at}.${key}` : `${at}[${JSON.stringify(key)}]`
      walk(name, ownOf(recorded, key), ownOf(got, key), found)
    }
  } else if (recorded !== got) found.push(difference(at, recorded, got))
}

const ownOf = (value: Readonly<Record<string, unknown>>, key: string): unknown =>
  Object.hasOwn(value, key) ? value[key] : undefined

const contentOf = (body: RequestBody | undefined): unknown =>
  body === undefined ? undefined : "json" in body ? body.json : "text" in body ? body.text : body

/** Every place where `got` is not as `recorded`. */
export const differences = (recorded: ComparedRequest, got: ComparedRequest): ReadonlyArray<Difference> => {
  const found: Array<Difference> = []
  if (recorded.method !== got.method) found.push(difference("method", recorded.method, got.method))
  if (recorded.path !== got.path) found.push(difference("path", recorded.path, got.path))
  walk("body", contentOf(recorded.body), contentOf(got.body), found)
  return found
}

/** How far apart two requests are. A different path outweighs all differences of the body. */
export const distance = (found: ReadonlyArray<Difference>): number =>
  found.reduce((sum, { at }) => sum + (at === "method" || at === "path" ? 1000 : 1), 0)
