/**
 * HTML to Markdown, by turndown with rules of our own for what it flattens or drops. `HttpTools` runs this module in a worker
 * thread: there are pages small enough to send that take a parser minutes, or gigabytes.
 */
import TurndownService from "turndown"
import { childElements, type Element } from "./htmlElement.ts"
import { hiddenElements } from "./htmlHidden.ts"
import { tables } from "./htmlTables.ts"

/** The page, and the address that its links are relative to. */
export interface Page {
  readonly html: string
  readonly base: string
}

/** Elements that are not text of the page. */
const left = new Set(
  "SCRIPT STYLE NOSCRIPT IFRAME TITLE HEAD OBJECT CANVAS SVG TEMPLATE DATALIST NOEMBED NOFRAMES".split(" ")
)
/** Block elements that turndown does not know. */
const blocks = new Set("SUMMARY DETAILS LEGEND OPTGROUP DIALOG SEARCH".split(" "))

export default ({ base, html }: Page): string => {
  const service = new TurndownService({ bulletListMarker: "-", codeBlockStyle: "fenced", headingStyle: "atx" })
  const table = tables()
  const isHidden = hiddenElements()
  const rule = (
    name: string,
    names: string | ((element: Element) => boolean),
    replacement: (content: string, element: Element) => string
  ) => {
    const known = typeof names === "string" ? new Set(names.split(" ")) : undefined
    const filter = (node: unknown) =>
      typeof names === "string" ? known!.has((node as Element).nodeName.toUpperCase()) : names(node as Element)
    service.addRule(name, { filter, replacement: (content, node) => replacement(content, node as unknown as Element) })
  }
  rule("link", "A", (content, node) => {
    const href = addressOf(node.getAttribute("href"), base)
    return content.trim() === "" || href === undefined ? content : `[${content}](${href})`
  })
  rule("image", "IMG", (_, node) => {
    const src = addressOf(node.getAttribute("src"), base)
    const alt = node.getAttribute("alt") ?? ""
    return src === undefined ? alt : `![${alt}](${src})`
  })
  rule("refresh", "META", (_, node) => refreshOf(node, base))
  rule("block", (node) => blocks.has(node.nodeName), block)
  rule("deleted", "DEL S STRIKE", (content) => around("~~", content))
  rule("superscript", "SUP", (content) => script("^", superscripts, content))
  rule("subscript", "SUB", (content) => script("_", subscripts, content))
  rule("term", "DT", (content) => `\n\n${content.trim()}\n`)
  rule("definition", "DD", (content) => `\n: ${content.trim().replaceAll("\n", "\n  ")}\n`)
  rule("button", "BUTTON", (content) => ` ${content.trim()} `)
  rule("select", "SELECT", (_, node) => optionsOf(node, isHidden))
  rule("preformatted", "PRE", (content, node) => fenced(content, node, isHidden))
  rule("cell", "TH TD CAPTION", (content, node) => table.keep(content, node))
  rule("table", "TABLE", (content, node) => table.print(content, node))
  // The last rule is asked first.
  rule(
    "hidden",
    (node) => left.has(node.nodeName.toUpperCase()) || isHidden(node),
    () => ""
  )
  return service.turndown(html).trim()
}

const addressOf = (value: string | null, base: string): string | undefined => {
  if (value === null || !URL.canParse(value, base)) return undefined
  const url = new URL(value, base)
  return url.protocol === "http:" || url.protocol === "https:" ? url.href : undefined
}

const block = (content: string): string => `\n\n${content.trim()}\n\n`

const around = (mark: string, content: string): string =>
  content.trim() === "" ? content : `${mark}${content.trim()}${mark}`

const superscripts = new Map(
  Array.from("0⁰1¹2²3³4⁴5⁵6⁶7⁷8⁸9⁹+⁺-⁻−⁻=⁼(⁽)⁾nⁿiⁱ".match(/../gu)!, (pair) => [pair[0]!, pair[1]!])
)
const subscripts = new Map(
  Array.from("0₀1₁2₂3₃4₄5₅6₆7₇8₈9₉+₊-₋−₋=₌(₍)₎".match(/../gu)!, (pair) => [pair[0]!, pair[1]!])
)

/** A raised or lowered text: by the characters for that, or after a sign. A reference in brackets stays as it is. */
const script = (sign: string, characters: ReadonlyMap<string, string>, content: string): string => {
  const text = content.trim()
  if (text === "" || /^\\?\[/.test(text)) return content
  const small = Array.from(text, (character) => characters.get(character))
  if (small.every((character) => character !== undefined)) return small.join("")
  return Array.from(text).length === 1 ? `${sign}${text}` : `${sign}(${text})`
}

/** A page that sends its reader on is nearly empty otherwise. */
const refreshOf = (meta: Element, base: string): string => {
  if (meta.getAttribute("http-equiv")?.trim().toLowerCase() !== "refresh") return ""
  const [, given] = /^[\s\d.]*[;,]?\s*(?:url\s*=)?\s*(.*)$/is.exec(meta.getAttribute("content") ?? "") ?? []
  const target =
    given === undefined || given.trim() === "" ? undefined : given.trim().replace(/^(["'])(.*?)\1.*$/s, "$2")
  const address = target === undefined ? undefined : addressOf(target, base)
  return address === undefined || address === base ? "" : `\n\nThis page redirects to ${address}\n\n`
}

const optionsOf = (select: Element, isHidden: (element: Element) => boolean): string => {
  const options = Array.from(select.getElementsByTagName("option"))
    .filter((option) => !isHidden(option))
    .map((option) => (option.textContent ?? "").replace(/\s+/g, " ").trim())
    .filter((text) => text !== "")
  return options.length === 0 ? "" : ` [${options.join(" | ")}] `
}

/** Preformatted text, in a fence that is longer than any in it. */
const fenced = (content: string, pre: Element, isHidden: (element: Element) => boolean): string => {
  const text = plainText(pre, isHidden).replace(/\n$/, "")
  if (text.trim() === "") return block(content)
  const code = childElements(pre).find(({ nodeName }) => nodeName === "CODE")
  const classes = [pre, code, pre.parentNode].map((element) => element?.getAttribute?.("class") ?? "").join(" ")
  const language = /(?:^|\s)(?:lang|language|highlight-source)-([\w+#-]{1,30})/.exec(classes)?.[1] ?? ""
  const longest = (text.match(/^`{3,}/gm) ?? []).reduce((most, { length }) => Math.max(most, length), 2)
  const fence = "`".repeat(longest + 1)
  return `\n\n${fence}${language}\n${text}\n${fence}\n\n`
}

const plainText = (element: Element, isHidden: (element: Element) => boolean): string =>
  Array.from(element.childNodes, (node) => {
    if (node.nodeType === 3) return node.textContent ?? ""
    if (node.nodeType !== 1 || left.has(node.nodeName.toUpperCase()) || isHidden(node)) return ""
    return node.nodeName === "BR" ? "\n" : plainText(node, isHidden)
  }).join("")
