/** Converts the bytes of a response to text: decompressed within a limit, decoded, without tags. */
import * as zlib from "node:zlib"
import { isHiddenByStyle } from "./htmlHidden.ts"

const { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync } = zlib

/** The bytes as they were before they were compressed. Throws for an unknown coding, broken data, or too much of it. */
export const decompress = (bytes: Uint8Array, encoding: string, maxOutputLength: number): Uint8Array => {
  const codings = encoding
    .toLowerCase()
    .split(",")
    .map((coding) => coding.trim())
    .filter((coding) => coding !== "" && coding !== "identity")
  // An empty body has no coding, also when its header names one.
  if (bytes.length === 0) return bytes
  if (codings.length > 2) throw new Error("it is compressed too often")
  return codings.reduceRight((data, coding) => {
    switch (coding) {
      case "gzip":
      case "x-gzip":
        return gunzipSync(data, { maxOutputLength })
      case "deflate":
        // Some servers leave the header of zlib out.
        return (data[0]! & 0x0f) === 8
          ? inflateSync(data, { maxOutputLength })
          : inflateRawSync(data, { maxOutputLength })
      case "br":
        return brotliDecompressSync(data, { maxOutputLength })
      case "zstd":
        // It is not requested, but some servers send it.
        return zlib.zstdDecompressSync(data, { maxOutputLength })
      default:
        throw new Error(`its coding "${coding.slice(0, 30)}" is unknown`)
    }
  }, bytes)
}

/** The charset by the bytes at the start of a text. */
const marks = { fffe: "utf-16le", feff: "utf-16be", efbbbf: "utf-8" } as const
const markOf = (bytes: Uint8Array): string | undefined => {
  const start = Buffer.from(bytes.subarray(0, 3)).toString("hex")
  return Object.entries(marks).find(([mark]) => start.startsWith(mark))?.[1]
}

/**
 * The text in the charset that its mark, its type or the page itself names; UTF-8 when they name none that is known.
 */
export const decode = (bytes: Uint8Array, contentType: string): string => {
  const named = /charset\s*=\s*"?([\w-]+)/i.exec(contentType)?.[1]
  const inPage = /<meta[^>]{0,200}?charset\s*=\s*["']?([\w-]+)/i.exec(
    Buffer.from(bytes.subarray(0, 1024)).toString("latin1")
  )
  try {
    return new TextDecoder(markOf(bytes) ?? named ?? inPage?.[1] ?? "utf-8").decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}

/** The title of a page. */
export const titleOf = (html: string): string | undefined => {
  const head = html.slice(0, 100_000)
  const start = head.search(/<title[\s>]/i)
  if (start === -1) return undefined
  const from = head.indexOf(">", start) + 1
  const to = head.indexOf("<", from)
  const title = from === 0 || to === -1 ? "" : unescape(head.slice(from, to)).replace(/\s+/g, " ").trim()
  return title === "" ? undefined : title.slice(0, 300)
}

const entities: Readonly<Record<string, string>> = { amp: "&", gt: ">", lt: "<", nbsp: " ", quot: '"' }
const unescape = (text: string): string =>
  text.replace(
    /&(?:(\w{2,4})|#(\d{1,7})|#x([\da-f]{1,6}));/gi,
    (all, name?: string, decimal?: string, hex?: string) => {
      if (name !== undefined) return entities[name.toLowerCase()] ?? all
      const code = Number.parseInt(decimal ?? hex!, decimal === undefined ? 16 : 10)
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : ""
    }
  )

/** Tags that, if not closed, are opened again in every following block. */
const formatting: ReadonlySet<string> = new Set("a b big code em font i nobr s small strike strong tt u".split(" "))
/** Tags that need not be closed. */
const loose: ReadonlySet<string> = new Set(
  "area base br col dd dt embed hr img input li link meta option p param source tbody td tfoot th thead tr track wbr".split(
    " "
  )
)

/**
 * True for a page that a parser makes far more of than there is: tags inside of each other to no end, or formatting that
 * is never closed. Looks at each tag once.
 */
export const isWild = (html: string): boolean => {
  let depth = 0
  let unclosed = 0
  for (let at = html.indexOf("<"); at !== -1; at = html.indexOf("<", at + 1)) {
    const [, slash, given] = /^<(\/?)([a-z][a-z0-9]*)/i.exec(html.slice(at, at + 12)) ?? []
    const name = given?.toLowerCase()
    if (name === undefined || loose.has(name)) continue
    const change = slash === "/" ? -1 : 1
    depth = Math.max(0, depth + change)
    if (formatting.has(name)) unclosed = Math.max(0, unclosed + change)
    if (depth > 256 || unclosed > 32) return true
  }
  return false
}

/** Elements whose content is not text of the page. */
const left: ReadonlySet<string> = new Set("script style noscript template iframe object canvas svg".split(" "))

/**
 * The text of a page without its tags, in time that grows with its length: for pages that are too much for a parser. What
 * an attribute hides is left out, as far as tags tell where it ends.
 */
export const withoutTags = (html: string): string => {
  const parts: Array<string> = []
  const lower = html.toLowerCase()
  let at = 0
  while (at < html.length) {
    const open = html.indexOf("<", at)
    if (open === -1) break
    parts.push(html.slice(at, open), " ")
    at = endOf(lower, open)
  }
  parts.push(html.slice(at))
  return unescape(parts.join(""))
    .replace(/[^\S\n]+/g, " ")
    .replace(/ ?\n[\n ]*/g, "\n")
    .trim()
}

/** Where a tag ends; for a comment, and for an element that is not shown, where that ends. The page is in lower case. */
const endOf = (lower: string, open: number): number => {
  const after = (text: string, from: number) => {
    const found = lower.indexOf(text, from)
    // What is never closed hides the rest.
    return found === -1 ? lower.length : found + text.length
  }
  if (lower.startsWith("<!--", open)) return after("-->", open)
  const close = after(">", open + 1)
  const name = /^<([a-z][a-z0-9]*)/.exec(lower.slice(open, open + 20))?.[1]
  if (name === undefined) return close
  if (left.has(name)) return after(">", after(`</${name}`, open))
  const tag = lower.slice(open, Math.min(close, open + 2000))
  return !loose.has(name) && isHiddenByTag(tag) ? afterElement(lower, name, close) : close
}

/** True for the tag of an element that cannot be seen. */
const isHiddenByTag = (tag: string): boolean => {
  const style = /\sstyle\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*))/.exec(tag)
  if (style !== null && isHiddenByStyle(unescape(style[1] ?? style[2] ?? style[3] ?? ""))) return true
  return /\shidden(?![\w-])(?!\s*=\s*["']?until-found)/.test(tag.replace(/"[^"]*"|'[^']*'/g, '""'))
}

/** Where an element ends, others of its name in it counted. */
const afterElement = (lower: string, name: string, from: number): number => {
  const tags = new RegExp(`<(/?)${name}(?![a-z0-9])[^>]*>?`, "g")
  tags.lastIndex = from
  let depth = 1
  for (let found = tags.exec(lower); found !== null; found = tags.exec(lower)) {
    depth += found[1] === "/" ? -1 : 1
    if (depth === 0) return tags.lastIndex
  }
  return lower.length
}
